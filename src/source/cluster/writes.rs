//! One write: finalizer, status and events of one object, by requests to the API server.
//!
//! A status is written by server-side apply, which leaves what another manager owns: a condition of a restored status, a finalizer
//! of an export. So the result is compared with what was wanted, and corrected.

use std::{
    hash::{Hash as _, Hasher as _},
    sync::Arc,
    time::Duration,
};

use http::{HeaderValue, header::CONTENT_TYPE};
use kube::{
    Client,
    api::{ListParams, Patch, PatchParams},
    core::Request,
    runtime::events::Event,
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::{Value, json};
use siphasher::sip::SipHasher13;

use super::{
    events::{self, Publisher},
    request::{FIELD_MANAGER, REQUEST_TIMEOUT},
};
use crate::resources::{API_VERSION, Campaign, FINALIZER, GROUP, Key, Kind, Plan, SendingServer, VERSION};

type Requested = http::Request<Vec<u8>>;

/// A kind and the name of one of its objects.
pub(super) type Id = (&'static str, Key);

/// A status that becomes JSON when it is written, and is shared until then.
pub trait AsJson: Send + Sync {
    /// As it is written.
    fn as_json(&self) -> Value;
}

impl<T: Serialize + Send + Sync> AsJson for T {
    fn as_json(&self) -> Value {
        serde_json::to_value(self).unwrap_or_default()
    }
}

/// A status as it stands on an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct StatusVersion {
    /// The hash of the status, by [`hash_of`].
    pub hash: u64,
    /// The version of the object.
    pub resource_version: u64,
}

/// What is due of one object.
pub(super) struct Due {
    pub status: Option<Arc<dyn AsJson>>,
    /// Whether the finalizer is set or removed.
    pub finalizer: Option<bool>,
    pub events: Vec<Event>,
}

/// What is written of one object in one go.
pub(super) struct Write {
    pub id: Id,
    pub uid: String,
    pub due: Due,
}

/// The result of a write.
pub(super) struct Written {
    pub id: Id,
    pub uid: String,
    pub status: Option<StatusVersion>,
    pub finalizer: Option<bool>,
    pub result: Result<(), Failed>,
}

pub(super) enum Failed {
    /// The object was deleted, or another one has its name.
    Gone,
    /// To be retried, after the delay that the API server asked for, if any.
    Later { after: Option<Duration>, why: String, is_internal: bool },
    /// The API server refuses it.
    Refused { why: String, is_invalid: bool },
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
    #[serde(default)]
    status: Value,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct AnswerMetadata {
    uid: String,
    resource_version: String,
    #[serde(default)]
    finalizers: Vec<String>,
}

#[derive(Deserialize)]
struct Found {
    items: Vec<Answer>,
}

impl AnswerMetadata {
    fn version(&self) -> u64 {
        self.resource_version.parse().unwrap_or(0)
    }

    fn has_finalizer(&self) -> bool {
        self.finalizers.iter().any(|finalizer| finalizer == FINALIZER)
    }
}

/// Writes what is due of one object.
pub(super) async fn perform(client: Client, publisher: Publisher, write: Write) -> Written {
    let Write { id, uid, due: Due { status, finalizer, events } } = write;
    let mut written = Written { id, uid, status: None, finalizer: None, result: Ok(()) };
    let (kind, key) = (written.id.0, written.id.1.clone());
    // The finalizer is set before the status that says so, and removed after the status that says why.
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
    // It is removed even when the status cannot be written (too large, refused): nothing else would ever remove it.
    if finalizer == Some(false) && !matches!(written.result, Err(Failed::Gone)) {
        match set_finalizer(&client, &key, &written.uid, false).await {
            Ok(()) => written.finalizer = finalizer,
            Err(failed) if written.result.is_ok() => written.result = Err(failed),
            Err(_) => {}
        }
    }
    // Events are for people and may be lost; a status may not.
    if !matches!(written.result, Err(Failed::Gone)) {
        let regarding = events::regarding(kind, &key, &written.uid);
        for event in &events {
            if let Err(error) = publisher.publish(event, &regarding).await {
                tracing::debug!(error, kind, name = %key, "an event could not be written");
            }
        }
    }
    written
}

/// Sets an annotation of a campaign or a server.
///
/// # Errors
/// In words for people, when the object is not there or the API server refuses it.
pub async fn annotate<K: Kind>(client: &Client, key: &Key, name: &str, value: &str) -> Result<(), String> {
    let merge = json!({"metadata": {"annotations": {name: value}}});
    let resource = Request::new(path(K::KIND, &key.namespace));
    match ask::<Answer>(client, resource.patch(&key.name, &PatchParams::default(), &Patch::Merge(&merge))).await {
        Ok(_) => Ok(()),
        Err(Failed::Gone) => Err(format!("there is no {} {key} in the cluster; use --namespace for another namespace", K::KIND)),
        Err(Failed::Refused { why, .. } | Failed::Later { why, .. }) => Err(format!("{} {key} cannot be annotated: {why}", K::KIND)),
    }
}

async fn put_status(client: &Client, kind: &'static str, key: &Key, uid: &str, status: &Value) -> Result<StatusVersion, Failed> {
    let body = body(kind, key, uid, json!({}), Some(status));
    let resource = Request::new(path(kind, &key.namespace));
    let applied = resource.patch_subresource("status", &key.name, &PatchParams::apply(FIELD_MANAGER).force(), &Patch::Apply(&body));
    let answer = match ask::<Answer>(client, applied).await {
        Ok(answer) if !has_more(&answer.status, status) => answer,
        // Fields that others own were left, or were refused together with ours; and an object whose spec does not match the served
        // schema cannot be applied at all. Its status can be replaced as a whole.
        Ok(_) | Err(Failed::Later { is_internal: true, .. } | Failed::Refused { is_invalid: true, .. }) => {
            ask(client, replacement(&resource, key, uid, status)).await?
        }
        Err(failed) => return Err(failed),
    };
    Ok(StatusVersion { hash: hash_of(Some(status)), resource_version: answer.metadata.version() })
}

/// Replaces a status, whoever owns its fields.
fn replacement(resource: &Request, key: &Key, uid: &str, status: &Value) -> Result<Requested, kube::core::request::Error> {
    // With another UID the API server answers 409, as for any write to an object that is gone.
    let operations = json!([{"op": "replace", "path": "/metadata/uid", "value": uid}, {"op": "add", "path": "/status", "value": status}]);
    let parameters = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
    let mut request = resource.patch_subresource("status", &key.name, &parameters, &Patch::Merge(&operations))?;
    request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json-patch+json"));
    Ok(request)
}

/// Whether the stored value has anything that is not wanted, or in another order. Fields that the API server dropped do not count:
/// older CRDs do that, and no second write helps.
fn has_more(there: &Value, wanted: &Value) -> bool {
    match (there, wanted) {
        (Value::Object(there), Value::Object(wanted)) => {
            there.iter().any(|(name, value)| wanted.get(name).is_none_or(|wanted| has_more(value, wanted)))
        }
        (Value::Array(there), Value::Array(wanted)) => {
            there.len() != wanted.len() || there.iter().zip(wanted).any(|(there, wanted)| has_more(there, wanted))
        }
        (Value::Null, _) => false,
        (there, wanted) => there != wanted && there.as_f64().is_none_or(|there| Some(there) != wanted.as_f64()),
    }
}

async fn set_finalizer(client: &Client, key: &Key, uid: &str, wanted: bool) -> Result<(), Failed> {
    let metadata = if wanted { json!({"finalizers": [FINALIZER]}) } else { json!({}) };
    let body = body(Campaign::KIND, key, uid, metadata, None);
    let resource = Request::new(path(Campaign::KIND, &key.namespace));
    let applied = resource.patch(&key.name, &PatchParams::apply(FIELD_MANAGER).force(), &Patch::Apply(&body));
    match ask::<Answer>(client, applied).await {
        // Whoever applied an export owns it too, and our apply leaves it (kubernetes#99003).
        Ok(answer) if answer.metadata.has_finalizer() == wanted => Ok(()),
        Ok(answer) => merge_finalizers(client, &resource, key, uid, wanted, answer.metadata).await,
        // An object whose spec does not match the served schema cannot be applied; its metadata can be merged.
        Err(Failed::Later { is_internal: true, .. } | Failed::Refused { is_invalid: true, .. }) => {
            let there = look(client, &resource, &key.name).await?;
            merge_finalizers(client, &resource, key, uid, wanted, there).await
        }
        Err(failed) => Err(failed),
    }
}

/// The metadata of an object; by a list, which our permissions allow.
async fn look(client: &Client, resource: &Request, name: &str) -> Result<AnswerMetadata, Failed> {
    let request = resource.list(&ListParams::default().fields(&format!("metadata.name={name}")));
    let found: Found = ask(client, request).await?;
    found.items.into_iter().next().map(|answer| answer.metadata).ok_or(Failed::Gone)
}

/// A merge replaces the whole list, so it is bound to the version that was read.
async fn merge_finalizers(
    client: &Client,
    resource: &Request,
    key: &Key,
    uid: &str,
    wanted: bool,
    there: AnswerMetadata,
) -> Result<(), Failed> {
    let AnswerMetadata { uid: found, resource_version, mut finalizers } = there;
    if found != uid {
        return Err(Failed::Gone);
    }
    finalizers.retain(|finalizer| finalizer != FINALIZER);
    if wanted {
        finalizers.push(FINALIZER.to_owned());
    }
    let merge = json!({"metadata": {"uid": uid, "resourceVersion": resource_version, "finalizers": finalizers}});
    let parameters = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
    ask::<Answer>(client, resource.patch(&key.name, &parameters, &Patch::Merge(&merge))).await.map(|_| ())
}

fn body(kind: &str, key: &Key, uid: &str, mut metadata: Value, status: Option<&Value>) -> Value {
    // With the UID, a deleted object is not created again, and another of the same name is not changed.
    if let Some(metadata) = metadata.as_object_mut() {
        metadata.insert("name".to_owned(), (&*key.name).into());
        metadata.insert("namespace".to_owned(), (&*key.namespace).into());
        metadata.insert("uid".to_owned(), uid.into());
    }
    let mut body = json!({"apiVersion": API_VERSION, "kind": kind, "metadata": metadata});
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

/// Sends a request, and reads the answer.
async fn ask<T: DeserializeOwned>(client: &Client, request: Result<Requested, kube::core::request::Error>) -> Result<T, Failed> {
    let request = request.map_err(|error| Failed::Refused { why: error.to_string(), is_invalid: false })?;
    match tokio::time::timeout(REQUEST_TIMEOUT, client.request::<T>(request)).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(kube::Error::Api(status))) => {
            let after = status.details.as_ref().map(|details| details.retry_after_seconds).filter(|secs| *secs > 0);
            let after = after.map(|secs| Duration::from_secs(u64::from(secs.min(60))));
            match status.code {
                404 => Err(Failed::Gone),
                code @ (400 | 403 | 422) => Err(Failed::Refused { why: status.message.clone(), is_invalid: code == 422 }),
                code => Err(Failed::Later { after, why: status.message.clone(), is_internal: code == 500 }),
            }
        }
        Ok(Err(error)) => Err(Failed::away(error.to_string())),
        Err(_) => Err(Failed::away("the API server does not answer".to_owned())),
    }
}

/// A hash of a status that ignores the order of its fields.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_there_too_much_is_more() {
        let wanted = json!({"state": "Active", "count": 2.0, "conditions": [{"type": "Ready", "status": "True"}, {"type": "Probed", "status": "True"}]});
        for there in [
            wanted.clone(),
            json!({"state": "Active", "count": 2}),
            json!({"conditions": [{"type": "Ready"}, {"type": "Probed"}]}),
            Value::Null,
        ] {
            assert!(!has_more(&there, &wanted), "{there}");
        }
        for there in [
            json!({"state": "Inactive"}),
            json!({"state": "Active", "colour": "red"}),
            json!({"count": 3}),
            json!({"conditions": [{"type": "Ready", "status": "True"}, {"type": "Probed", "status": "True"}, {"type": "Stalled", "status": "True"}]}),
            json!({"conditions": [{"type": "Probed", "status": "True"}, {"type": "Ready", "status": "True"}]}),
        ] {
            assert!(has_more(&there, &wanted), "{there}");
        }
    }
}
