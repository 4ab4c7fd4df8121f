//! Elastic Email through its API v4.
//!
//! Takes no MIME, so messages are taken apart. Its bulk call shares one content between recipients; ours differ, so each has a
//! call of its own.
//!
//! Sources: the vendor's OpenAPI document (`/emails/transactional`, `/domains`), help.elasticemail.com.

mod webhook;

use std::sync::Arc;

use http::{HeaderName, HeaderValue};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::{
    Blocker, Context, Holds, Outgoing, Probed, Provider, Scope, SecretUse, Server, ServerType, Signing, TypeInfo,
    api::{self, ApiServer, Vendor},
    http::{Call, Reply},
    literal::Language,
    signing,
    structured::{Attachment, Structured},
    verdict::{Judge, NotTaken, Word},
    webhook::{Webhook, WebhookCredentials},
};
use crate::meta::{Duration, Key, LocalRef, Reason, pattern};

/// Elastic Email through its API.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-kubernetes-validations" = [api::TIMEOUT_RULE]))]
pub struct ElasticEmail {
    /// The Secret with `apiKey`: an API key (also of a subaccount) that can send and view domains.
    pub secret_ref: LocalRef,
    /// The channel, the vendor's label for reports; the campaign's name when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64), regex(pattern = pattern::LABEL))]
    pub channel: Option<String>,
    /// The pool of dedicated IP addresses to send from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64), regex(pattern = pattern::LABEL))]
    pub ip_pool: Option<String>,
    /// Whether opens are tracked; the account's setting when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub track_opens: Option<bool>,
    /// Whether links are rewritten to track clicks; the account's setting when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub track_clicks: Option<bool>,
    /// The API's address; Elastic Email's when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = pattern::ENDPOINT))]
    pub endpoint: Option<String>,
    /// How long to wait for an answer; 1s to 10m, 60s when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Duration>,
}

impl ElasticEmail {
    fn base(&self) -> &str {
        self.endpoint.as_deref().unwrap_or("https://api.elasticemail.com")
    }
}

impl ServerType for ElasticEmail {
    const INFO: TypeInfo = TypeInfo {
        title: "Elastic Email, API",
        secret_keys: &[("apiKey", "an API key that can send and view domains")],
        probe: "GET /v4/domains: the account's domains",
        carries: "JSON, one message per call",
        signs: "Elastic Email; `identity.dkim` has no effect. Check in a delivered message that its signature (h=) covers List-Unsubscribe and List-Unsubscribe-Post, as RFC 8058 requires",
    };
}

impl Provider for ElasticEmail {
    fn secrets(&self) -> Vec<SecretUse> {
        vec![SecretUse::of("spec.provider.elasticEmail.secretRef", &self.secret_ref, "apiKey")]
    }

    fn address(&self) -> String {
        api::address(self.base())
    }

    fn signing(&self) -> Signing {
        signing::MADE_BY_VENDOR
    }

    fn holds(&self) -> Holds {
        // elasticemail.com/developers: 20 MB with attachments; an attachment of API v4 has no id by which HTML could show it.
        Holds { inline: false, ..Holds::megabytes(20) }
    }

    fn build(&self, context: Context) -> Result<Arc<dyn Server>, Blocker> {
        let (key, header) = context.secret_header(&self.secret_ref, "apiKey", &self.address(), str::to_owned)?;
        ApiServer::open(ElasticEmailApi { spec: self.clone(), key: header }, &context, self.base(), self.timeout, vec![key])
    }

    fn webhook(&self, server: &Key, credentials: &WebhookCredentials) -> Option<Result<Box<dyn Webhook>, Blocker>> {
        Some(webhook::ElasticEmailWebhook::new(server, credentials).map(|webhook| Box::new(webhook) as _))
    }
}

/// Elastic Email interprets `{firstname}` as a merge field in every message.
pub(super) const LANGUAGE: Language = Language { vendor: "Elastic Email", reads: is_field };

/// Whether a merge field stands at the start: a name in braces, on one line.
fn is_field(text: &str) -> bool {
    let Some(inner) = text.strip_prefix('{').and_then(|rest| rest.split(['{', '}', '\r', '\n']).next()) else { return false };
    text[1 + inner.len()..].starts_with('}') && inner.trim_start().starts_with(|c: char| c.is_alphanumeric() || c == '_')
}

/// What comes back with events: words, of which the one with a mark is our reference.
fn postback(message: &Outgoing, message_id: &str) -> String {
    let reference = message.reference.map(|reference| format!("{}{reference}", webhook::MARK)).unwrap_or_default();
    format!("{} {} {message_id} {reference}", message.run.campaign, message.run.run).trim().to_owned()
}

struct ElasticEmailApi {
    spec: ElasticEmail,
    key: HeaderValue,
}

impl Vendor for ElasticEmailApi {
    /// The body of a message's call, and its files.
    type Item = (Value, Vec<Attachment>);

    const SAID: &'static [&'static str] = &["/Error", "/error", "/title"];

    fn authorize(&self, call: Call) -> Call {
        call.with(HeaderName::from_static("x-elasticemail-apikey"), self.key.clone())
    }

    fn probe(&self) -> Call {
        Call::get("v4/domains")
    }

    fn judge_probe(&self, reply: &Reply<'_>) -> Result<Probed, Blocker> {
        match reply.status() {
            200 => Ok(Probed::default()),
            _ if reply.mentions("access denied") || reply.status() == 403 => Err(reply
                .fail(Reason::PermissionDenied, "Let the API key view domains as well, so that it can be probed without sending.")
                .for_person()),
            _ => Err(api::probe_failure(reply)),
        }
    }

    fn prepare(&self, message: &Outgoing) -> Result<Self::Item, String> {
        let mut read = Structured::with_body(message, "Elastic Email")?;
        LANGUAGE.guard(&mut read)?;
        let bodies = [("HTML", &read.html), ("PlainText", &read.text)];
        let bodies: Vec<Value> = bodies
            .iter()
            .filter_map(|(kind, body)| body.as_ref().map(|body| json!({"ContentType": kind, "Content": body, "Charset": "utf-8"})))
            .collect();
        let mut headers: Map<String, Value> = read.headers.iter().map(|(name, value)| (name.clone(), value.clone().into())).collect();
        if !read.message_id.is_empty() {
            headers.insert("Message-ID".to_owned(), format!("<{}>", read.message_id).into());
        }
        let mut content = json!({
            "Body": bodies,
            "From": Structured::full(&read.from),
            "Subject": read.subject,
            "Headers": headers,
            // Comes back with events.
            "Postback": postback(message, &read.message_id),
        });
        if let Some(reply_to) = read.reply_to.first() {
            content["ReplyTo"] = Structured::full(reply_to).into();
        }
        read.without_inline("Elastic Email")?;
        let mut options = Map::new();
        let channel = self.spec.channel.as_ref().unwrap_or(&message.run.campaign);
        if !channel.is_empty() {
            options.insert("ChannelName".to_owned(), channel.clone().into());
        }
        options.extend(self.spec.ip_pool.clone().map(|pool| ("PoolName".to_owned(), pool.into())));
        options.extend(self.spec.track_opens.map(|track| ("TrackOpens".to_owned(), track.into())));
        options.extend(self.spec.track_clicks.map(|track| ("TrackClicks".to_owned(), track.into())));
        Ok((json!({"Recipients": {"To": [Structured::full(&read.to)]}, "Content": content, "Options": options}), read.attachments))
    }

    fn call(&self, items: &[Self::Item]) -> Call {
        let (mut body, files) = items.first().cloned().unwrap_or_default();
        if !files.is_empty() {
            let file =
                |file: &Attachment| json!({"BinaryContent": file.content.base64(), "Name": file.name, "ContentType": file.content_type});
            body["Content"]["Attachments"] = files.iter().map(file).collect();
        }
        Call::post_json("v4/emails/transactional", &body)
    }
}

impl Judge for ElasticEmailApi {
    const PERMISSION: &'static str = "permission to send by HTTP";

    fn taken(&self, reply: &Reply<'_>, _asked: &[&Outgoing]) -> Option<Word> {
        if reply.json.get("Error").is_some_and(|error| !error.is_null()) {
            return None;
        }
        reply.taken_as("/MessageID").or_else(|| reply.taken_as("/TransactionID")).map(Word::Together)
    }

    fn refused(&self, reply: &Reply<'_>, asked: &[&Outgoing]) -> Option<NotTaken> {
        // The vendor answers most refusals with 400, and explains them in words.
        match reply.status() {
            400 | 422 if reply.mentions_any(&["apikey", "api key"]) => {
                reply.failed_for_person(Reason::AuthenticationFailed, "Correct apiKey in the Secret; it may have been revoked.")
            }
            400 | 403 if reply.mentions_any(&["access denied", "permission"]) => {
                reply.failed_for_person(Reason::PermissionDenied, "Let the API key send by HTTP.")
            }
            400 | 402 | 422 if reply.mentions_any(&["credit", "limit"]) => {
                reply.failed(Reason::QuotaExceeded, "Buy credits or raise the limit at Elastic Email, or wait.")
            }
            400 | 403 | 422 if reply.mentions_any(&["suspended", "not active", "under review", "disabled"]) => {
                reply.failed_for_person(Reason::AccountSuspended, "Ask Elastic Email why the account may not send.")
            }
            400 | 422 if reply.mentions_any(&["recipient email", "recipient address", "invalid recipient", "suppress"]) => {
                Some(reply.refuse(Scope::Recipient))
            }
            400 | 422 if reply.mentions_any(&["sender", "from", "domain", "reply"]) => {
                Some(reply.refuse_sender("Verify the From address's domain at Elastic Email, and correct from.address and replyTo."))
            }
            400 | 422 if reply.names_recipient(asked) => Some(reply.refuse(Scope::Recipient)),
            _ => None,
        }
    }

    fn is_own_error(&self, reply: &Reply<'_>) -> bool {
        reply.json["Error"].is_string() || reply.json["error"].is_string()
    }
}
