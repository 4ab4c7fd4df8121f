//! Any other provider, through a small HTTP service that users write: the contract is docs/plugin/openapi.yaml.
//!
//! The contract asks a plugin not to execute a request with a known `Idempotency-Key` again, so a request whose answer was lost is
//! again.

mod webhook;

use std::{collections::BTreeMap, sync::Arc, time::Duration as StdDuration};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::{HeaderName, HeaderValue, header};
use reqwest::{Certificate, Url};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{
    Blocker, Context, Holds, Outgoing, Probed, Provider, Quota, Refusal, Scope, SecretUse, Server, ServerType, Signing, TypeInfo,
    api::{self, ApiServer, Vendor},
    http::{ApiClient, Call, Reply, own_client, pause},
    structured,
    verdict::{Judge, NotTaken, Said, Taken, Word},
    webhook::{Webhook, WebhookCredentials},
};
use crate::dkim::Fields;
use crate::meta::{Duration, Key, KeyRef, LocalRef, Rate, Reason, pattern, secret::SecretValue};

/// The version of the contract.
pub const CONTRACT: &str = "v1";

/// An HTTP service that sends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-kubernetes-validations" = [api::TIMEOUT_RULE]))]
pub struct Plugin {
    /// Where it listens; `/probe` and `/deliver` are appended. https, or http on this machine (a plugin beside Mailfleet in a pod).
    #[schemars(length(min = 1, max = 253), regex(pattern = pattern::ENDPOINT))]
    pub url: String,
    /// The Secret with `token`, which is sent as a bearer token (RFC 6750); none when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<LocalRef>,
    /// CA certificates (PEM) to trust, in a Secret; the system's when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_ref: Option<KeyRef>,
    /// Settings for the plugin, 64 entries at most, sent with each request.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "config_schema")]
    pub config: BTreeMap<String, String>,
    /// Messages that share a request; 1 to 1,000, 1 when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1000))]
    pub batch_size: Option<u32>,
    /// How long to wait for an answer; 1s to 10m, 60s when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Duration>,
}

fn config_schema(_: &mut SchemaGenerator) -> Schema {
    schemars::json_schema!({
        "type": "object",
        "maxProperties": 64,
        "additionalProperties": {"type": "string", "maxLength": 4096},
    })
}

impl ServerType for Plugin {
    const INFO: TypeInfo = TypeInfo {
        title: "Plugin, an HTTP service",
        secret_keys: &[("token", "the bearer token, where the plugin requires one")],
        probe: "POST /probe: what the plugin reports",
        carries: "each message unchanged (MIME in base64), batchSize per request",
        signs: "Mailfleet, with `identity.dkim`, but for Date and Message-ID, which the provider behind it may replace",
    };
}

impl Provider for Plugin {
    fn secrets(&self) -> Vec<SecretUse> {
        let token = self.secret_ref.iter().map(|secret| SecretUse::of("spec.provider.plugin.secretRef", secret, "token"));
        let ca =
            self.ca_ref.iter().map(|key| SecretUse { path: "spec.provider.plugin.caRef".to_owned(), key: key.clone(), optional: false });
        token.chain(ca).collect()
    }

    fn address(&self) -> String {
        api::address(&self.url)
    }

    fn has_envelope(&self) -> bool {
        true
    }

    fn signing(&self) -> Signing {
        Signing::Ours(&Fields::REDATED)
    }

    fn holds(&self) -> Holds {
        // The contract limits a request, in base64, to 64 MiB.
        Holds::megabytes(45)
    }

    fn build(&self, context: Context) -> Result<Arc<dyn Server>, Blocker> {
        let bearer = |secret| context.secret_header(secret, "token", &self.address(), |token| format!("Bearer {token}"));
        let (token, authorization) = self.secret_ref.as_ref().map(bearer).transpose()?.unzip();
        let hidden: Vec<SecretValue> = token.into_iter().collect();
        let api = match &self.ca_ref {
            None => ApiClient::new(&context, &self.url, self.timeout, hidden)?,
            Some(reference) => self.with_own_authority(&context, reference, hidden)?,
        };
        Ok(ApiServer::at(PluginApi { spec: self.clone(), name: context.name.clone(), authorization }, &context, api))
    }

    fn webhook(&self, server: &Key, credentials: &WebhookCredentials) -> Option<Result<Box<dyn Webhook>, Blocker>> {
        Some(webhook::PluginWebhook::new(server, credentials).map(|webhook| Box::new(webhook) as _))
    }
}

impl Plugin {
    fn with_own_authority(&self, context: &Context, reference: &KeyRef, hidden: Vec<SecretValue>) -> Result<ApiClient, Blocker> {
        let unfit = |what: &str| super::secret_failure(Reason::SecretInvalid, reference, what, &self.address());
        let pem = context
            .secrets
            .get(reference)
            .ok_or_else(|| super::secret_failure(Reason::SecretKeyNotFound, reference, "is missing", &self.address()))?;
        let found = Certificate::from_pem_bundle(pem.expose()).map_err(|_| unfit("is not a PEM certificate"))?;
        if found.is_empty() {
            return Err(unfit("contains no PEM certificate"));
        }
        let invalid =
            |why: String| Blocker::passing(Reason::InvalidSpec, format!("The url `{}` cannot be called: {why}.", self.url)).for_person();
        let url = Url::parse(&format!("{}/", self.url.trim_end_matches('/'))).map_err(|error| invalid(error.to_string()))?;
        let client = own_client(context.egress, &url, |builder| builder.tls_certs_only(found)).map_err(invalid)?;
        ApiClient::with_client(context, url, client, self.timeout, hidden)
    }
}

struct PluginApi {
    spec: Plugin,
    name: String,
    authorization: Option<HeaderValue>,
}

/// A message as the contract has it.
pub struct Item {
    message: Value,
    size: usize,
}

impl PluginApi {
    fn call(&self, path: &str, mut body: Value) -> Call {
        body["contract"] = CONTRACT.into();
        body["server"] = self.name.clone().into();
        body["config"] = json!(self.spec.config);
        Call::post_json(path, &body)
    }
}

/// The pause that a plugin asks for.
fn pause_of(said: &Value) -> Option<StdDuration> {
    said["retryAfterSeconds"].as_u64().map(pause)
}

/// The failure that a plugin names, in the contract's words.
fn failure(said: &Value, reply: &Reply<'_>) -> Blocker {
    let reason = match said["reason"].as_str().unwrap_or_default() {
        "AuthenticationFailed" => Reason::AuthenticationFailed,
        "PermissionDenied" => Reason::PermissionDenied,
        "AccountSuspended" => Reason::AccountSuspended,
        "QuotaExceeded" => Reason::QuotaExceeded,
        "Throttled" => Reason::Throttled,
        "SenderRefused" => Reason::SenderRefused,
        "NotFoundAtVendor" => Reason::NotFoundAtVendor,
        "ServiceNotAvailable" => Reason::ServiceNotAvailable,
        _ => Reason::SendFailed,
    };
    let what = format!("the plugin says `{}`", reply.stable(said["message"].as_str().unwrap_or("nothing more")));
    let failure = reply.fail_with(reason, &what, "What to do depends on the plugin; its log may say more.").after(pause_of(said));
    if said["needsPerson"].as_bool() == Some(true) { failure.for_person() } else { failure }
}

impl Vendor for PluginApi {
    type Item = Item;

    const SAID: &'static [&'static str] = &["/error/message", "/error"];
    const IS_IDEMPOTENT: bool = true;

    fn authorize(&self, call: Call) -> Call {
        call.with_some(header::AUTHORIZATION, self.authorization.clone())
    }

    fn probe(&self) -> Call {
        self.call("probe", json!({}))
    }

    fn judge_probe(&self, reply: &Reply<'_>) -> Result<Probed, Blocker> {
        match (reply.status(), reply.json["ready"].as_bool()) {
            (200, Some(true)) => {}
            (200, Some(false)) => return Err(failure(&reply.json["failure"], reply)),
            (200, None) => {
                let what = "the answer does not say whether the plugin is ready";
                return Err(reply.fail_with(Reason::ProtocolError, what, "Check url, and run `mailfleet plugin check`.").for_person());
            }
            _ => return Err(api::probe_failure(reply)),
        }
        let quota = |said: &Value| {
            let number = |name: &str| said[name].as_u64();
            let (messages, seconds) = (number("messages")?, number("perSeconds")?);
            let rate = Rate { messages: messages.clamp(1, 1_000_000_000), per: Duration::from_secs(seconds.clamp(1, 744 * 3600)) };
            Some(Quota { rate, used: number("used").unwrap_or(0) })
        };
        let quotas = reply.json["quotas"].as_array().into_iter().flatten().take(8).filter_map(quota).collect();
        Ok(Probed { quotas, ..Probed::default() })
    }

    fn batch_max(&self) -> usize {
        self.spec.batch_size.unwrap_or(1) as usize
    }

    fn size_max(&self) -> usize {
        // The contract limits a request to 64 MiB.
        60 << 20
    }

    fn size(&self, item: &Item) -> usize {
        item.size
    }

    fn prepare(&self, message: &Outgoing) -> Result<Item, String> {
        let content = STANDARD.encode(message.whole());
        let size = content.len() + 1024;
        let mut value = json!({
            "id": message.token.to_string(), "mailFrom": &*message.mail_from, "recipient": &*message.rcpt_to, "content": content,
            "campaign": message.run.campaign, "run": message.run.run, "messageId": structured::message_id(message.content.own()),
        });
        if let Some(reference) = message.reference {
            value["reference"] = reference.to_string().into();
        }
        Ok(Item { message: value, size })
    }

    fn call(&self, items: &[Item]) -> Call {
        let messages: Vec<Value> = items.iter().map(|item| item.message.clone()).collect();
        let key = HeaderValue::from_str(&Uuid::new_v4().to_string()).unwrap_or(HeaderValue::from_static("none"));
        self.call("deliver", json!({"messages": messages, "dryRun": false})).with(HeaderName::from_static("idempotency-key"), key)
    }
}

impl Judge for PluginApi {
    const PERMISSION: &'static str = "the access that it requires";

    fn taken(&self, reply: &Reply<'_>, asked: &[&Outgoing]) -> Option<Word> {
        let said = reply.json["outcomes"].as_array().filter(|said| said.len() == asked.len())?;
        let one = |message: &&Outgoing| {
            let id = message.token.to_string();
            // There are as many outcomes as messages, so none is named twice when each is there.
            let one = said.iter().find(|one| one["id"].as_str() == Some(&id))?;
            let words = one["reply"].as_str().unwrap_or_default();
            let kept = || format!("{} {}", reply.status(), reply.shown(words)).trim_end().to_owned();
            Some(match one["outcome"].as_str()? {
                "accepted" => Said::Taken(Taken::answered(reply, one["id"].as_str(), message, words)?),
                "rejected" => Said::NotTaken(NotTaken::Refused(Refusal::permanent(Scope::Recipient, kept()))),
                "deferred" => Said::NotTaken(NotTaken::Refused(Refusal::transient(Scope::Recipient, kept()).after(pause_of(one)))),
                "failed" => Said::NotTaken(match failure(&one["failure"], reply) {
                    // The campaign's address is at fault, and not the server.
                    cause if cause.reason == Reason::SenderRefused => {
                        let words = reply.shown(one["failure"]["message"].as_str().unwrap_or_default());
                        let kept = format!("{} {words}", reply.status());
                        NotTaken::Refused(Refusal::permanent(Scope::Sender, kept).because(cause))
                    }
                    failure => NotTaken::Failed(failure),
                }),
                "unknown" => Said::Unknown(failure(&one["failure"], reply)),
                _ => return None,
            })
        };
        asked.iter().map(one).collect::<Option<Vec<Said>>>().map(Word::Each)
    }

    fn refused(&self, _reply: &Reply<'_>, _asked: &[&Outgoing]) -> Option<NotTaken> {
        None
    }

    fn is_own_error(&self, reply: &Reply<'_>) -> bool {
        reply.json["error"]["message"].is_string() || reply.json["error"].is_string()
    }
}
