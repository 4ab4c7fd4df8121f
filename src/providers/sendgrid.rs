//! Twilio SendGrid through its Web API v3.
//!
//! Takes no MIME, so messages are taken apart. Messages with equal bodies share a call (`personalizations`, 1,000 at most);
//! each of them keeps its subject, fields and custom arguments.
//!
//! Sources: the vendor's OpenAPI document (`/v3/mail/send`, `/v3/scopes`), docs.sendgrid.com "Errors" and "Rate limits".

mod webhook;

use std::{collections::BTreeMap, sync::Arc};

use http::{HeaderName, HeaderValue, header};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::{
    Blocker, Context, Holds, Outgoing, Probed, Provider, Scope, SecretUse, Server, ServerType, Signing, TypeInfo,
    api::{self, ApiServer, Vendor},
    http::{Call, Reply},
    signing,
    structured::{Attachment, Mailbox, Structured},
    verdict::{Judge, NotTaken, Taken, Word},
    webhook::{Webhook, WebhookCredentials, read::REFERENCE},
};
use crate::meta::{Duration, Key, LocalRef, Reason, pattern};

/// SendGrid through its API.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-kubernetes-validations" = [api::TIMEOUT_RULE]))]
pub struct SendGrid {
    /// The Secret with `apiKey`: an API key with the permission Mail Send.
    pub secret_ref: LocalRef,
    /// Where the account's data is stored; `Global` when absent. `EU` is for subusers in the EU region.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<Region>,
    /// The subuser on whose behalf mail is sent, with a parent account's key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64), regex(pattern = pattern::LABEL))]
    pub subuser: Option<String>,
    /// Categories for all messages, 9 at most; the campaign's name is added.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 9), inner(length(min = 1, max = 255), regex(pattern = pattern::LABEL)), extend("x-kubernetes-list-type" = "set"))]
    pub categories: Vec<String>,
    /// The pool of dedicated IP addresses to send from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 2, max = 64), regex(pattern = pattern::LABEL))]
    pub ip_pool: Option<String>,
    /// Whether opens are tracked; the account's setting when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub track_opens: Option<bool>,
    /// Whether links are rewritten to track clicks; the account's setting when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub track_clicks: Option<bool>,
    /// Messages with equal bodies that share a call; 1 to 1,000, 100 when absent. A lost answer leaves no more than this unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1000))]
    pub batch_size: Option<u32>,
    /// The API's address; the region's when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = pattern::ENDPOINT))]
    pub endpoint: Option<String>,
    /// How long to wait for an answer; 1s to 10m, 60s when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Duration>,
}

/// Where SendGrid keeps the account's data.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Region {
    /// api.sendgrid.com.
    #[default]
    Global,
    /// api.eu.sendgrid.com.
    EU,
}

impl SendGrid {
    fn base(&self) -> &str {
        self.endpoint.as_deref().unwrap_or(match self.region.unwrap_or_default() {
            Region::Global => "https://api.sendgrid.com",
            Region::EU => "https://api.eu.sendgrid.com",
        })
    }
}

impl ServerType for SendGrid {
    const INFO: TypeInfo = TypeInfo {
        title: "SendGrid, Web API",
        secret_keys: &[("apiKey", "an API key with the permission Mail Send")],
        probe: "GET /v3/scopes: the key's permissions, `mail.send` among them",
        carries: "JSON; messages with equal bodies share a call, 1,000 at most",
        signs: "SendGrid; `identity.dkim` has no effect. Check in a delivered message that its signature (h=) covers List-Unsubscribe and List-Unsubscribe-Post, as RFC 8058 requires",
    };
}

impl Provider for SendGrid {
    fn secrets(&self) -> Vec<SecretUse> {
        vec![SecretUse::of("spec.provider.sendgrid.secretRef", &self.secret_ref, "apiKey")]
    }

    fn address(&self) -> String {
        api::address(self.base())
    }

    fn signing(&self) -> Signing {
        signing::MADE_BY_VENDOR
    }

    fn holds(&self) -> Holds {
        // docs.sendgrid.com, "Limitations": 30 MB with attachments.
        Holds::megabytes(30)
    }

    fn build(&self, context: Context) -> Result<Arc<dyn Server>, Blocker> {
        let (key, authorization) = context.secret_header(&self.secret_ref, "apiKey", &self.address(), |key| format!("Bearer {key}"))?;
        ApiServer::open(SendGridApi { spec: self.clone(), authorization }, &context, self.base(), self.timeout, vec![key])
    }

    fn webhook(&self, server: &Key, credentials: &WebhookCredentials) -> Option<Result<Box<dyn Webhook>, Blocker>> {
        Some(webhook::SendGridWebhook::new(server, credentials).map(|webhook| Box::new(webhook) as _))
    }
}

struct SendGridApi {
    spec: SendGrid,
    authorization: HeaderValue,
}

/// A message: what can be shared with others, and what is its own.
pub struct Item {
    shared: Value,
    files: Vec<Attachment>,
    own: Value,
    size: usize,
}

impl SendGridApi {
    fn shared(&self, message: &Structured, campaign: &str) -> Value {
        let mut shared = Map::new();
        shared.insert("from".to_owned(), mailbox(&message.from));
        match &message.reply_to[..] {
            [] => {}
            [one] => _ = shared.insert("reply_to".to_owned(), mailbox(one)),
            several => _ = shared.insert("reply_to_list".to_owned(), several.iter().map(mailbox).collect()),
        }
        // In the order that the vendor requires: text first.
        let bodies = [("text/plain", &message.text), ("text/html", &message.html)];
        let content = bodies.iter().filter_map(|(kind, body)| body.as_ref().map(|body| json!({"type": kind, "value": body})));
        shared.insert("content".to_owned(), content.collect());
        let mut categories = self.spec.categories.clone();
        // A test by hand belongs to no campaign.
        if !campaign.is_empty() && !categories.iter().any(|known| known == campaign) {
            categories.push(campaign.chars().take(255).collect());
        }
        if !categories.is_empty() {
            shared.insert("categories".to_owned(), categories.into());
        }
        if let Some(pool) = &self.spec.ip_pool {
            shared.insert("ip_pool_name".to_owned(), pool.clone().into());
        }
        let mut tracking = Map::new();
        if let Some(enable) = self.spec.track_opens {
            tracking.insert("open_tracking".to_owned(), json!({"enable": enable}));
        }
        if let Some(enable) = self.spec.track_clicks {
            tracking.insert("click_tracking".to_owned(), json!({"enable": enable, "enable_text": enable}));
        }
        if !tracking.is_empty() {
            shared.insert("tracking_settings".to_owned(), tracking.into());
        }
        shared.into()
    }
}

fn mailbox(mailbox: &Mailbox) -> Value {
    match &mailbox.name {
        Some(name) => json!({"email": mailbox.address, "name": name}),
        None => json!({"email": mailbox.address}),
    }
}

fn attachment(file: &Attachment) -> Value {
    let mut value = json!({
        "content": file.content.base64(),
        "type": file.content_type,
        "filename": file.name,
        "disposition": if file.is_inline { "inline" } else { "attachment" },
    });
    if let Some(id) = &file.content_id {
        value["content_id"] = id.clone().into();
    }
    value
}

impl Vendor for SendGridApi {
    type Item = Item;

    const SAID: &'static [&'static str] = &["/errors/0/field", "/errors/0/message"];

    fn authorize(&self, call: Call) -> Call {
        let subuser = self.spec.subuser.as_deref().and_then(|subuser| HeaderValue::from_str(subuser).ok());
        call.with(header::AUTHORIZATION, self.authorization.clone()).with_some(HeaderName::from_static("on-behalf-of"), subuser)
    }

    fn probe(&self) -> Call {
        Call::get("v3/scopes")
    }

    fn judge_probe(&self, reply: &Reply<'_>) -> Result<Probed, Blocker> {
        match reply.status() {
            200 => {}
            403 => {
                return Err(reply
                    .fail(Reason::PermissionDenied, "Give the API key the permission Mail Send, and check subuser.")
                    .for_person());
            }
            _ => return Err(api::probe_failure(reply)),
        }
        let may_send =
            reply.json.pointer("/scopes").and_then(Value::as_array).is_some_and(|scopes| scopes.iter().any(|scope| scope == "mail.send"));
        if may_send {
            return Ok(Probed::default());
        }
        Err(reply
            .fail_with(
                Reason::PermissionDenied,
                "the API key lacks the permission `mail.send`",
                "Give it Mail Send in SendGrid's settings, API Keys.",
            )
            .for_person())
    }

    fn batch_max(&self) -> usize {
        self.spec.batch_size.unwrap_or(100) as usize
    }

    fn size_max(&self) -> usize {
        // 30 MB with all attachments (docs.sendgrid.com, "Limitations"), JSON and base64 included.
        20 << 20
    }

    fn size(&self, item: &Item) -> usize {
        item.size
    }

    fn prepare(&self, message: &Outgoing) -> Result<Item, String> {
        let read = Structured::with_body(message, "SendGrid")?;
        let mut own = json!({"to": [mailbox(&read.to)], "subject": read.subject});
        // JSON cannot hold a field twice: joined, as RFC 9110 joins lists.
        let mut fields: BTreeMap<String, String> = BTreeMap::new();
        for (name, value) in &read.headers {
            fields.entry(name.clone()).and_modify(|known| *known = format!("{known}, {value}")).or_insert_with(|| value.clone());
        }
        if !read.message_id.is_empty() {
            fields.insert("Message-ID".to_owned(), format!("<{}>", read.message_id));
        }
        own["headers"] = json!(fields);
        own["custom_args"] =
            json!({"mailfleet_campaign": message.run.campaign, "mailfleet_run": message.run.run, "mailfleet_message_id": read.message_id});
        if let Some(reference) = message.reference {
            own["custom_args"][REFERENCE] = reference.to_string().into();
        }
        Ok(Item { shared: self.shared(&read, &message.run.campaign), files: read.attachments, own, size: message.content.len() * 2 })
    }

    fn fits(&self, first: &Item, next: &Item) -> bool {
        first.shared == next.shared && first.files == next.files
    }

    fn call(&self, items: &[Item]) -> Call {
        let mut body = items.first().map(|item| item.shared.clone()).unwrap_or_default();
        if let Some(files) = items.first().map(|item| &item.files).filter(|files| !files.is_empty()) {
            body["attachments"] = files.iter().map(attachment).collect();
        }
        body["personalizations"] = items.iter().map(|item| item.own.clone()).collect();
        Call::post_json("v3/mail/send", &body)
    }
}

impl Judge for SendGridApi {
    const PERMISSION: &'static str = "the permission Mail Send";

    fn taken(&self, reply: &Reply<'_>, _asked: &[&Outgoing]) -> Option<Word> {
        // A page is not from SendGrid, whatever its head contains.
        if reply.json.get("errors").is_some() || !(reply.is_empty() || reply.json.is_object()) {
            return None;
        }
        // One name for all; the OpenAPI document has a 202 without any.
        let named = reply.header("x-message-id").and_then(|id| reply.taken_under(id));
        named.or_else(|| Taken::bare(reply)).map(Word::Together)
    }

    fn refused(&self, reply: &Reply<'_>, _asked: &[&Outgoing]) -> Option<NotTaken> {
        if !matches!(reply.status(), 400 | 403) {
            return None;
        }
        let errors = reply.json["errors"].as_array().map(Vec::as_slice).unwrap_or_default();
        let fields: Vec<&str> = errors.iter().filter_map(|error| error["field"].as_str()).collect();
        let is_about = |names: &[&str]| fields.iter().any(|field| names.iter().any(|name| field.starts_with(name)));
        if is_about(&["from"]) || reply.mentions("sender identity") {
            return Some(reply.refuse_sender("Verify the From address or its domain in SendGrid (Sender Authentication)."));
        }
        if is_about(&["reply_to"]) {
            return Some(reply.refuse_sender("Correct the campaign's replyTo."));
        }
        if reply.mentions("subuser") {
            return reply.failed_for_person(Reason::NotFoundAtVendor, "Correct subuser.");
        }
        if is_about(&["ip_pool"]) {
            return reply.failed_for_person(Reason::NotFoundAtVendor, "Correct ipPool.");
        }
        let is_recipient = fields.iter().any(|field| field.starts_with("personalizations") && field.contains(".to"));
        match reply.status() {
            400 if is_recipient => Some(reply.refuse(Scope::Recipient)),
            400 if is_about(&["personalizations.", "content", "attachments", "subject", "headers"]) => Some(reply.refuse(Scope::Message)),
            _ => None,
        }
    }

    fn is_own_error(&self, reply: &Reply<'_>) -> bool {
        reply.json["errors"][0]["message"].is_string()
    }
}
