//! Brevo (Sendinblue) through its API v3.
//!
//! Takes no MIME, so messages are taken apart. Messages from one sender without attachments share a call (`messageVersions`).
//! Brevo's template language applies to every message (help.brevo.com, "Brevo Template Language"): see `literal`.
//!
//! Sources: the vendor's OpenAPI document (`/smtp/email`, `/account`), developers.brevo.com, "Batch send" and "Error codes".

mod webhook;

use std::sync::Arc;

use http::{HeaderName, HeaderValue};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::{
    Blocker, Context, Holds, Outgoing, Probed, Provider, Scope, SecretUse, Server, ServerType, Signing, TypeInfo,
    api::{self, ApiServer, Vendor},
    http::{Call, Reply},
    literal::Language,
    signing,
    structured::{Attachment, Mailbox, Structured},
    verdict::{Judge, NotTaken, Said, Word},
    webhook::{Webhook, WebhookCredentials},
};
use crate::meta::{Duration, Key, LocalRef, Reason, pattern};

/// Brevo through its API.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-kubernetes-validations" = [api::TIMEOUT_RULE]))]
pub struct Brevo {
    /// The Secret with `apiKey`: an API key (not the SMTP key), also of a sub-account.
    pub secret_ref: LocalRef,
    /// Tags for all messages, 9 at most; the campaign's name is added.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 9), inner(length(min = 1, max = 64), regex(pattern = pattern::LABEL)), extend("x-kubernetes-list-type" = "set"))]
    pub tags: Vec<String>,
    /// Messages that share a call; 1 to 500, 50 when absent. A lost answer leaves no more than this unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 500))]
    pub batch_size: Option<u32>,
    /// The API's address; Brevo's when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = pattern::ENDPOINT))]
    pub endpoint: Option<String>,
    /// How long to wait for an answer; 1s to 10m, 60s when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Duration>,
}

impl Brevo {
    fn base(&self) -> &str {
        self.endpoint.as_deref().unwrap_or("https://api.brevo.com")
    }
}

impl ServerType for Brevo {
    const INFO: TypeInfo = TypeInfo {
        title: "Brevo, API",
        secret_keys: &[("apiKey", "an API key (v3), not the SMTP key")],
        probe: "GET /v3/account: the account, its credits, and whether it may send (Brevo allows 100 of these per hour)",
        carries: "JSON; messages from one sender share a call, 500 at most",
        signs: "Brevo; `identity.dkim` has no effect. Check in a delivered message that its signature (h=) covers List-Unsubscribe and List-Unsubscribe-Post, as RFC 8058 requires",
    };
}

impl Provider for Brevo {
    fn secrets(&self) -> Vec<SecretUse> {
        vec![SecretUse::of("spec.provider.brevo.secretRef", &self.secret_ref, "apiKey")]
    }

    fn address(&self) -> String {
        api::address(self.base())
    }

    fn signing(&self) -> Signing {
        signing::MADE_BY_VENDOR
    }

    fn holds(&self) -> Holds {
        // developers.brevo.com, "Send a transactional email": 20 MB with attachments, which have no id by which HTML could show them.
        Holds { inline: false, ..Holds::megabytes(20) }
    }

    fn build(&self, context: Context) -> Result<Arc<dyn Server>, Blocker> {
        let (key, header) = context.secret_header(&self.secret_ref, "apiKey", &self.address(), str::to_owned)?;
        ApiServer::open(BrevoApi { spec: self.clone(), key: header }, &context, self.base(), self.timeout, vec![key])
    }

    fn webhook(&self, server: &Key, credentials: &WebhookCredentials) -> Option<Result<Box<dyn Webhook>, Blocker>> {
        Some(webhook::webhook(server, credentials))
    }
}

/// Brevo interprets its template language, which is Django's, in every message: `{{ x }}`, `{% x %}` and `{# x #}`.
pub(super) const LANGUAGE: Language =
    Language { vendor: "Brevo", reads: |text| ["{{", "{%", "{#"].iter().any(|open| text.starts_with(open)) };

struct BrevoApi {
    spec: Brevo,
    key: HeaderValue,
}

/// A message: what a call has once, and what is its version's own.
pub struct Item {
    sender: Value,
    tags: Vec<String>,
    files: Vec<Attachment>,
    version: Map<String, Value>,
    size: usize,
}

fn mailbox(mailbox: &Mailbox) -> Value {
    match &mailbox.name {
        // 70 characters at most.
        Some(name) => json!({"email": mailbox.address, "name": name.chars().take(70).collect::<String>()}),
        None => json!({"email": mailbox.address}),
    }
}

/// `list-unsubscribe` as `List-Unsubscribe`, the only form that Brevo takes.
fn title_case(name: &str) -> String {
    let word = |word: &str| word.chars().enumerate().map(|(at, c)| if at == 0 { c.to_ascii_uppercase() } else { c }).collect::<String>();
    name.split('-').map(word).collect::<Vec<_>>().join("-")
}

impl Vendor for BrevoApi {
    type Item = Item;

    const SAID: &'static [&'static str] = &["/code", "/message"];
    const IS_IDEMPOTENT: bool = true;

    fn authorize(&self, call: Call) -> Call {
        call.with(HeaderName::from_static("api-key"), self.key.clone())
    }

    fn probe(&self) -> Call {
        Call::get("v3/account")
    }

    fn judge_probe(&self, reply: &Reply<'_>) -> Result<Probed, Blocker> {
        match reply.status() {
            200 => {}
            401 if reply.mentions("ip address") => {
                return Err(reply
                    .fail(Reason::PermissionDenied, "Allow this machine's IP address in Brevo (Security, Authorised IPs).")
                    .for_person());
            }
            _ => return Err(api::probe_failure(reply)),
        }
        if reply.json.pointer("/relay/enabled").and_then(Value::as_bool) == Some(false) {
            return Err(reply
                .fail_with(Reason::SendingPaused, "transactional mail is not enabled for the account", "Ask Brevo to activate it.")
                .for_person());
        }
        Ok(Probed::default())
    }

    fn batch_max(&self) -> usize {
        self.spec.batch_size.unwrap_or(50) as usize
    }

    fn size_max(&self) -> usize {
        10 << 20
    }

    fn size(&self, item: &Item) -> usize {
        item.size
    }

    fn prepare(&self, message: &Outgoing) -> Result<Item, String> {
        let mut read = Structured::with_body(message, "Brevo")?;
        LANGUAGE.guard(&mut read)?;
        let mut version = Map::new();
        version.insert("to".to_owned(), json!([mailbox(&read.to)]));
        version.insert("subject".to_owned(), read.subject.clone().into());
        if let Some(reply_to) = read.reply_to.first() {
            version.insert("replyTo".to_owned(), mailbox(reply_to));
        }
        if let Some(html) = &read.html {
            version.insert("htmlContent".to_owned(), html.clone().into());
        }
        if let Some(text) = &read.text {
            version.insert("textContent".to_owned(), text.clone().into());
        }
        let mut headers: Map<String, Value> = read.headers.iter().map(|(name, value)| (title_case(name), value.clone().into())).collect();
        let mut custom = json!({"campaign": message.run.campaign, "run": message.run.run, "messageId": read.message_id});
        if let Some(reference) = message.reference {
            custom["reference"] = reference.to_string().into();
        }
        headers.insert("X-Mailin-Custom".to_owned(), custom.to_string().into());
        if !read.message_id.is_empty() {
            headers.insert("Message-Id".to_owned(), format!("<{}>", read.message_id).into());
        }
        version.insert("headers".to_owned(), headers.into());
        let mut tags = self.spec.tags.clone();
        if !message.run.campaign.is_empty() {
            tags.push(message.run.campaign.clone());
        }
        read.without_inline("Brevo")?;
        Ok(Item { sender: mailbox(&read.from), tags, files: read.attachments, version, size: message.content.len() * 2 })
    }

    fn fits(&self, first: &Item, next: &Item) -> bool {
        let shape = |item: &Item| (item.version.contains_key("htmlContent"), item.version.contains_key("textContent"));
        first.sender == next.sender
            && first.tags == next.tags
            && first.files.is_empty()
            && next.files.is_empty()
            && shape(first) == shape(next)
    }

    fn call(&self, items: &[Item]) -> Call {
        let Some(first) = items.first() else { return Call::get("v3/smtp/email") };
        let mut body = Map::new();
        body.insert("sender".to_owned(), first.sender.clone());
        if !first.tags.is_empty() {
            body.insert("tags".to_owned(), first.tags.clone().into());
        }
        if let [only] = items {
            body.extend(only.version.clone());
            if !only.files.is_empty() {
                let file = |file: &Attachment| json!({"name": file.name, "content": file.content.base64()});
                body.insert("attachment".to_owned(), only.files.iter().map(file).collect());
            }
        } else {
            // What a version changes must also be present in the call itself.
            for name in ["subject", "htmlContent", "textContent"] {
                body.extend(first.version.get(name).map(|value| (name.to_owned(), value.clone())));
            }
            body.insert("headers".to_owned(), json!({}));
            body.insert("messageVersions".to_owned(), items.iter().map(|item| Value::from(item.version.clone())).collect());
        }
        let mut body = Value::from(body);
        // A request with a known key is not executed again, for 30 minutes (developers.brevo.com, "Batch email idempotency").
        body["headers"]["idempotencyKey"] = Uuid::new_v4().to_string().into();
        Call::post_json("v3/smtp/email", &body)
    }
}

impl Judge for BrevoApi {
    const PERMISSION: &'static str = "permission to send";

    fn taken(&self, reply: &Reply<'_>, asked: &[&Outgoing]) -> Option<Word> {
        let ids = reply.json.get("messageIds").and_then(Value::as_array);
        match (ids, asked) {
            (None, [_]) => reply.taken_as("/messageId").map(Word::Together),
            (None, _) => None,
            // A version has one recipient, and so one id.
            (Some(ids), _) => {
                let said = ids.iter().map(|id| reply.taken_under(id.as_str()?).map(Said::Taken));
                said.collect::<Option<Vec<Said>>>().map(Word::Each)
            }
        }
    }

    fn refused(&self, reply: &Reply<'_>, asked: &[&Outgoing]) -> Option<NotTaken> {
        let code = reply.text("/code").unwrap_or_default();
        match (reply.status(), code.as_str()) {
            (401, _) if reply.mentions("ip address") => {
                reply.failed_for_person(Reason::PermissionDenied, "Allow this machine's IP address in Brevo (Security, Authorised IPs).")
            }
            (402, _) | (_, "not_enough_credits") => reply.failed(Reason::QuotaExceeded, "Buy credits at Brevo, or wait for the next day."),
            (_, "account_under_validation") => {
                reply.failed_for_person(Reason::AccountSuspended, "Brevo is still reviewing the account; wait, or contact their support.")
            }
            (403, _) if reply.mentions("not yet activated") => {
                reply.failed_for_person(Reason::SendingPaused, "Ask Brevo to activate transactional mail.")
            }
            (400, _) if reply.mentions("sender") => Some(reply.refuse_sender("Verify the From address or its domain at Brevo (Senders).")),
            (400, _) if reply.mentions_any(&["replyto", "reply_to", "reply to"]) => {
                Some(reply.refuse_sender("Correct the campaign's replyTo."))
            }
            (400, "invalid_parameter") if is_about_to(reply.words()) || reply.names_recipient(asked) => {
                Some(reply.refuse(Scope::Recipient))
            }
            (400, "invalid_parameter" | "missing_parameter")
                if reply.mentions_any(&["subject", "content", "headers", "attachment", "too large"]) =>
            {
                Some(reply.refuse(Scope::Message))
            }
            _ => None,
        }
    }

    fn is_own_error(&self, reply: &Reply<'_>) -> bool {
        reply.json["code"].is_string() && reply.json["message"].is_string()
    }

    fn is_duplicate(&self, reply: &Reply<'_>) -> bool {
        matches!(reply.json["code"].as_str(), Some("duplicate_parameter" | "duplicate_request"))
            || reply.mentions("idempotency") && reply.mentions_any(&["duplicate", "already", "taken", "in use", "used"])
    }
}

/// Whether the words are about the field `to`: `email is not valid in to`, `to is not valid`.
fn is_about_to(words: &str) -> bool {
    let lower = words.to_ascii_lowercase();
    lower.ends_with(" in to") || lower.contains(" in to ") || lower.contains(": to ") || lower.contains("to.email")
}
