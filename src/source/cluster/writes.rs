//! One write: finalizer, status and events of one object, by requests to the API server.

use std::{
    hash::{Hash as _, Hasher as _},
    sync::Arc,
    time::Duration,
};

use kube::{
    Client,
    api::{GetParams, Patch, PatchParams},
    core::Request,
    runtime::events::{Event, Recorder},
};
use serde::Deserialize;
use serde_json::{Value, json};
use siphasher::sip::SipHasher13;

use super::{FIELD_MANAGER, FINALIZER, REQUEST_TIMEOUT, events, objects::type_meta};
use crate::{
    resources::{Campaign, GROUP, Key, Kind as _, Plan, SendingServer, VERSION},
    source::sink::AsJson,
};

type Requested = http::Request<Vec<u8>>;

/// A kind and the name of one of its objects.
pub(super) type Id = (&'static str, Key);

/// What is written of one object in one go.
pub(super) struct Write {
    pub id: Id,
    pub uid: String,
    pub status: Option<Arc<dyn AsJson>>,
    pub finalizer: Option<bool>,
    pub events: Vec<Event>,
}

/// What came of it.
pub(super) struct Written {
    pub id: Id,
    pub uid: String,
    pub status: Option<(u64, u64)>,
    pub finalizer: Option<bool>,
    pub result: Result<(), Failed>,
}

pub(super) enum Failed {
    /// It is gone, or another one has its name.
    Gone,
    /// Try again, after so long where the API server says so.
    Later { after: Option<Duration>, why: String, is_internal: bool },
    /// The API server refuses it.
    Refused(String),
}

impl Failed {
    /// The API server cannot be reached.
    pub const fn away(why: String) -> Self {
        Self::Later { after: None, why, is_internal: false }
    }
}

#[derive(Deserialize)]
struct Answer {
    metadata: AnswerMetadata,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct AnswerMetadata {
    uid: String,
    resource_version: String,
    #[serde(default)]
    finalizers: Vec<String>,
}

/// Writes what is due of one object.
pub(super) async fn perform(client: Client, recorder: Recorder, write: Write) -> Written {
    let Write { id, uid, status, finalizer, events } = write;
    let mut written = Written { id, uid, status: None, finalizer: None, result: Ok(()) };
    let (kind, key) = (written.id.0, written.id.1.clone());
    // The finalizer comes before the status that says so, and goes after the status that says why.
    if finalizer == Some(true) {
        match set_finalizer(&client, &key, &written.uid, true).await {
            Ok(()) => written.finalizer = finalizer,
            Err(failed) => written.result = Err(failed),
        }
    }
    if let Some(status) = &status {
        match put_status(&client, kind, &key, &written.uid, &status.as_json()).await {
            Ok(done) => written.status = Some(done),
            Err(failed) => written.result = Err(failed),
        }
    }
    if finalizer == Some(false) && written.result.is_ok() {
        match set_finalizer(&client, &key, &written.uid, false).await {
            Ok(()) => written.finalizer = finalizer,
            Err(failed) => written.result = Err(failed),
        }
    }
    // Events are for people and may be lost; a status may not.
    if !matches!(written.result, Err(Failed::Gone)) {
        let regarding = events::regarding(kind, &key, &written.uid);
        for event in &events {
            let published = tokio::time::timeout(REQUEST_TIMEOUT, recorder.publish(event, &regarding)).await;
            if let Ok(Err(error)) = published {
                tracing::debug!(%error, kind, name = %key, "an event could not be written");
            }
        }
    }
    written
}

/// Sets an annotation of a campaign.
///
/// # Errors
/// In words for people, when the object is not there or the API server refuses it.
pub async fn annotate_campaign(client: &Client, key: &Key, name: &str, value: &str) -> Result<(), String> {
    let merge = json!({"metadata": {"annotations": {name: value}}});
    let resource = Request::new(path(Campaign::KIND, &key.namespace));
    match send(client, resource.patch(&key.name, &PatchParams::default(), &Patch::Merge(&merge))).await {
        Ok(_) => Ok(()),
        Err(Failed::Gone) => Err(format!("there is no campaign {key} in the cluster; --namespace chooses another")),
        Err(Failed::Refused(why) | Failed::Later { why, .. }) => Err(format!("campaign {key} cannot be annotated: {why}")),
    }
}

async fn put_status(client: &Client, kind: &'static str, key: &Key, uid: &str, status: &Value) -> Result<(u64, u64), Failed> {
    let body = body(kind, key, uid, json!({}), Some(status));
    let resource = Request::new(path(kind, &key.namespace));
    let applied = resource.patch_subresource("status", &key.name, &PatchParams::apply(FIELD_MANAGER).force(), &Patch::Apply(&body));
    let version = match send(client, applied).await {
        // An object whose spec does not fit the served schema cannot be applied to; its status can be merged.
        Err(Failed::Later { is_internal: true, .. }) => {
            let parameters = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
            send(client, resource.patch_subresource("status", &key.name, &parameters, &Patch::Merge(&body))).await?
        }
        sent => sent?,
    };
    Ok((hash_of(Some(status)), version))
}

async fn set_finalizer(client: &Client, key: &Key, uid: &str, wanted: bool) -> Result<(), Failed> {
    let metadata = if wanted { json!({"finalizers": [FINALIZER]}) } else { json!({}) };
    let body = body(Campaign::KIND, key, uid, metadata, None);
    let resource = Request::new(path(Campaign::KIND, &key.namespace));
    let applied = resource.patch(&key.name, &PatchParams::apply(FIELD_MANAGER).force(), &Patch::Apply(&body));
    match send(client, applied).await {
        // An object whose spec does not fit the served schema cannot be applied to; its metadata can be merged.
        Err(Failed::Later { is_internal: true, .. }) => merge_finalizers(client, &resource, key, uid, wanted).await,
        sent => sent.map(|_| ()),
    }
}

/// A merge replaces the whole list: it holds only for the version that was read.
async fn merge_finalizers(client: &Client, resource: &Request, key: &Key, uid: &str, wanted: bool) -> Result<(), Failed> {
    let AnswerMetadata { uid: there, resource_version, mut finalizers } =
        ask(client, resource.get(&key.name, &GetParams::default())).await?;
    if there != uid {
        return Err(Failed::Gone);
    }
    finalizers.retain(|finalizer| finalizer != FINALIZER);
    if wanted {
        finalizers.push(FINALIZER.to_owned());
    }
    let merge = json!({"metadata": {"uid": uid, "resourceVersion": resource_version, "finalizers": finalizers}});
    let parameters = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
    send(client, resource.patch(&key.name, &parameters, &Patch::Merge(&merge))).await.map(|_| ())
}

fn body(kind: &str, key: &Key, uid: &str, mut metadata: Value, status: Option<&Value>) -> Value {
    // With the UID an object that is gone is not made again, and another of the same name is not touched.
    if let Some(metadata) = metadata.as_object_mut() {
        metadata.insert("name".to_owned(), (&*key.name).into());
        metadata.insert("namespace".to_owned(), (&*key.namespace).into());
        metadata.insert("uid".to_owned(), uid.into());
    }
    let types = type_meta(kind);
    let mut body = json!({"apiVersion": types.api_version, "kind": types.kind, "metadata": metadata});
    if let (Some(body), Some(status)) = (body.as_object_mut(), status) {
        body.insert("status".to_owned(), status.clone());
    }
    body
}

fn path(kind: &str, namespace: &str) -> String {
    let plural = match kind {
        SendingServer::KIND => SendingServer::PLURAL,
        Plan::KIND => Plan::PLURAL,
        _ => Campaign::PLURAL,
    };
    format!("/apis/{GROUP}/{VERSION}/namespaces/{namespace}/{plural}")
}

/// Sends a request; the version of the object that it made.
async fn send(client: &Client, request: Result<Requested, kube::core::request::Error>) -> Result<u64, Failed> {
    Ok(ask(client, request).await?.resource_version.parse().unwrap_or(0))
}

async fn ask(client: &Client, request: Result<Requested, kube::core::request::Error>) -> Result<AnswerMetadata, Failed> {
    let request = request.map_err(|error| Failed::Refused(error.to_string()))?;
    match tokio::time::timeout(REQUEST_TIMEOUT, client.request::<Answer>(request)).await {
        Ok(Ok(answer)) => Ok(answer.metadata),
        Ok(Err(kube::Error::Api(status))) => {
            let after = status.details.as_ref().map(|details| details.retry_after_seconds).filter(|secs| *secs > 0);
            let after = after.map(|secs| Duration::from_secs(u64::from(secs.min(60))));
            match status.code {
                404 => Err(Failed::Gone),
                400 | 403 | 422 => Err(Failed::Refused(status.message.clone())),
                code => Err(Failed::Later { after, why: status.message.clone(), is_internal: code == 500 }),
            }
        }
        Ok(Err(error)) => Err(Failed::away(error.to_string())),
        Err(_) => Err(Failed::away("the API server gives no answer".to_owned())),
    }
}

/// A hash of a status in which the order of its fields does not count.
pub(super) fn hash_of(value: Option<&Value>) -> u64 {
    fn add(value: &Value, hasher: &mut SipHasher13) {
        match value {
            Value::Object(fields) => {
                // The API server sorts by name.
                let mut names: Vec<&String> = fields.keys().collect();
                names.sort();
                for name in names {
                    name.hash(hasher);
                    add(&fields[name], hasher);
                }
                1_u8.hash(hasher);
            }
            Value::Array(items) => {
                items.iter().for_each(|item| add(item, hasher));
                2_u8.hash(hasher);
            }
            other => other.to_string().hash(hasher),
        }
    }
    let mut hasher = SipHasher13::new();
    if let Some(value) = value {
        add(value, &mut hasher);
    }
    hasher.finish()
}
