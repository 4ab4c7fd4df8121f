//! Mailgun through its API: each message unchanged (`messages.mime`).
//!
//! Its batch call shares one MIME message between recipients and fills in variables; ours are already complete, so each has a
//! call of its own, and `limits.connections` says how many at a time.
//!
//! Sources: the vendor's OpenAPI document, documentation.mailgun.com "Sending messages" and "Errors".

mod webhook;

use std::sync::Arc;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::{HeaderName, HeaderValue, header};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    Blocker, Context, Holds, Outgoing, Probed, Provider, Scope, SecretUse, Server, ServerType, Signing, TypeInfo,
    api::{self, ApiServer, Vendor},
    http::{Call, Reply},
    signing, structured,
    verdict::{Judge, NotTaken, Word},
    webhook::{Webhook, WebhookCredentials},
};
use crate::dkim::Fields;
use crate::meta::{Duration, Key, LocalRef, Reason, pattern};

/// Mailgun through its API.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-kubernetes-validations" = [api::TIMEOUT_RULE]))]
pub struct Mailgun {
    /// The Secret with `apiKey`: an account's key, or a sending key of the domain (which cannot be probed without sending).
    pub secret_ref: LocalRef,
    /// The sending domain at Mailgun.
    #[schemars(length(min = 1, max = 253), regex(pattern = pattern::DOMAIN))]
    pub domain: String,
    /// Where the domain was created; `US` when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<api::Region>,
    /// The id of the subaccount on whose behalf mail is sent, with a parent account's key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64), regex(pattern = pattern::LABEL))]
    pub subaccount: Option<String>,
    /// Tags for all messages, 9 at most; the campaign's name is added.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 9), inner(length(min = 1, max = 128), regex(pattern = pattern::LABEL)), extend("x-kubernetes-list-type" = "set"))]
    pub tags: Vec<String>,
    /// The pool of dedicated IP addresses to send from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64), regex(pattern = pattern::LABEL))]
    pub ip_pool: Option<String>,
    /// Whether opens are tracked; the domain's setting when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub track_opens: Option<bool>,
    /// Whether links are rewritten to track clicks; the domain's setting when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub track_clicks: Option<bool>,
    /// Whether Mailgun delivers over TLS or not at all; over TLS where possible when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub require_tls: Option<bool>,
    /// The API's address; the region's when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = pattern::ENDPOINT))]
    pub endpoint: Option<String>,
    /// How long to wait for an answer; 1s to 10m, 60s when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Duration>,
}

impl Mailgun {
    fn base(&self) -> &str {
        self.endpoint.as_deref().unwrap_or(match self.region.unwrap_or_default() {
            api::Region::US => "https://api.mailgun.net",
            api::Region::EU => "https://api.eu.mailgun.net",
        })
    }
}

impl ServerType for Mailgun {
    const INFO: TypeInfo = TypeInfo {
        title: "Mailgun, API",
        secret_keys: &[("apiKey", "an API key of the account")],
        probe: "GET /v4/domains/DOMAIN: the domain, and whether it is active",
        carries: "each message unchanged (MIME), one per call",
        signs: "Mailfleet, with `identity.dkim`, but for Date and Message-ID, unless `trackOpens` or `trackClicks` is true; Mailgun adds a signature of its own. Switch tracking off for the domain, since it changes the body",
    };
}

impl Provider for Mailgun {
    fn secrets(&self) -> Vec<SecretUse> {
        vec![SecretUse::of("spec.provider.mailgun.secretRef", &self.secret_ref, "apiKey")]
    }

    fn address(&self) -> String {
        format!("{}, {}", api::address(self.base()), self.domain)
    }

    fn signing(&self) -> Signing {
        if self.track_opens == Some(true) || self.track_clicks == Some(true) {
            return signing::TRACKED;
        }
        Signing::Ours(&Fields::REDATED)
    }

    fn holds(&self) -> Holds {
        // documentation.mailgun.com, "Sending Messages": 25 MB with attachments.
        Holds::megabytes(25)
    }

    fn build(&self, context: Context) -> Result<Arc<dyn Server>, Blocker> {
        let (key, authorization) = context
            .secret_header(&self.secret_ref, "apiKey", &self.address(), |key| format!("Basic {}", STANDARD.encode(format!("api:{key}"))))?;
        ApiServer::open(MailgunApi { spec: self.clone(), authorization }, &context, self.base(), self.timeout, vec![key])
    }

    fn webhook(&self, server: &Key, credentials: &WebhookCredentials) -> Option<Result<Box<dyn Webhook>, Blocker>> {
        Some(webhook::MailgunWebhook::new(server, credentials).map(|webhook| Box::new(webhook) as _))
    }
}

struct MailgunApi {
    spec: Mailgun,
    authorization: HeaderValue,
}

/// A message, and the form's fields.
pub struct Item {
    content: Vec<u8>,
    fields: Vec<(&'static str, String)>,
}

impl Vendor for MailgunApi {
    type Item = Item;

    const SAID: &'static [&'static str] = &["/message", "/Error"];

    fn authorize(&self, call: Call) -> Call {
        let subaccount = self.spec.subaccount.as_deref().and_then(|id| HeaderValue::from_str(id).ok());
        call.with(header::AUTHORIZATION, self.authorization.clone())
            .with_some(HeaderName::from_static("x-mailgun-on-behalf-of"), subaccount)
    }

    fn probe(&self) -> Call {
        Call::get(format!("v4/domains/{}", self.spec.domain))
    }

    fn judge_probe(&self, reply: &Reply<'_>) -> Result<Probed, Blocker> {
        match reply.status() {
            200 => {}
            404 => return Err(reply.fail(Reason::NotFoundAtVendor, "Check domain and region: a domain is either US or EU.").for_person()),
            403 => {
                return Err(reply
                    .fail(
                        Reason::PermissionDenied,
                        "Use an API key of the account: a domain's sending key cannot be probed without sending.",
                    )
                    .for_person());
            }
            _ => return Err(api::probe_failure(reply)),
        }
        let state = reply.text("/domain/state").unwrap_or_default();
        match state.as_str() {
            "disabled" => {
                Err(reply.fail_with(Reason::AccountSuspended, "Mailgun has disabled the domain", "Ask Mailgun why.").for_person())
            }
            "unverified" => Err(reply
                .fail_with(Reason::SenderRefused, "the domain is not verified", "Set the DNS records that Mailgun's console shows for it.")
                .for_person()),
            _ => Ok(Probed::default()),
        }
    }

    fn prepare(&self, message: &Outgoing) -> Result<Item, String> {
        let yes_no = |yes: bool| if yes { "yes" } else { "no" }.to_owned();
        let mut fields = vec![("to", message.rcpt_to.to_string())];
        fields.extend(self.spec.tags.iter().map(|tag| ("o:tag", tag.clone())));
        if !message.run.campaign.is_empty() {
            fields.push(("o:tag", message.run.campaign.chars().take(128).collect()));
        }
        fields.extend(self.spec.track_opens.map(|track| ("o:tracking-opens", yes_no(track))));
        fields.extend(self.spec.track_clicks.map(|track| ("o:tracking-clicks", yes_no(track))));
        fields.extend(self.spec.require_tls.map(|required| ("o:require-tls", yes_no(required))));
        fields.extend(self.spec.ip_pool.clone().map(|pool| ("o:sending-ip-pool", pool)));
        let variables = [
            ("v:mailfleet_campaign", message.run.campaign.clone()),
            ("v:mailfleet_run", message.run.run.clone()),
            ("v:mailfleet_message_id", structured::message_id(message.content.own())),
            ("v:mailfleet_reference", message.reference.map(|reference| reference.to_string()).unwrap_or_default()),
        ];
        fields.extend(variables.into_iter().filter(|(_, value)| !value.is_empty()));
        Ok(Item { content: message.whole().into_owned(), fields })
    }

    fn call(&self, items: &[Item]) -> Call {
        let path = format!("v3/{}/messages.mime", self.spec.domain);
        let Some(item) = items.first() else { return Call::get(path) };
        let (boundary, body) = form(&item.fields, &item.content);
        let content_type = HeaderValue::from_str(&format!("multipart/form-data; boundary={boundary}"));
        Call::post(path, content_type.unwrap_or(HeaderValue::from_static("multipart/form-data")), body.into())
    }
}

impl Judge for MailgunApi {
    const PERMISSION: &'static str = "a role that can send";

    fn taken(&self, reply: &Reply<'_>, _asked: &[&Outgoing]) -> Option<Word> {
        reply.taken_as("/id").map(Word::Together)
    }

    fn refused(&self, reply: &Reply<'_>, asked: &[&Outgoing]) -> Option<NotTaken> {
        match reply.status() {
            _ if reply.mentions("for test purposes only") => {
                reply.failed_for_person(Reason::SandboxOnly, "Use a domain of your own, and upgrade the account.")
            }
            400 | 401 | 403 if reply.mentions("activate your mailgun account") => {
                reply.failed_for_person(Reason::SendingPaused, "Activate the account as Mailgun's email or console says.")
            }
            400 | 401 | 402 | 403 | 429 if reply.mentions_any(&["limit exceeded", "limit reached"]) => {
                reply.failed(Reason::QuotaExceeded, "Wait, or raise the limit at Mailgun.")
            }
            // The domain is the server's own, whoever the sender is.
            400 | 403 if reply.mentions_any(&["unverified", "not verified"]) => {
                reply.failed_for_person(Reason::SenderRefused, "Verify the domain at Mailgun, and send from it.")
            }
            400 | 403 if reply.mentions_any(&["'from'", "from parameter", "from address", "reply-to", "sender"]) => {
                Some(reply.refuse_sender("Correct the campaign's from.address and replyTo; the address must be in the Mailgun domain."))
            }
            400 if reply.mentions("'to'") || reply.words().starts_with("to parameter") || reply.names_recipient(asked) => {
                Some(reply.refuse(Scope::Recipient))
            }
            400 if reply.mentions_any(&["too big", "too large"]) => Some(reply.refuse(Scope::Message)),
            404 => reply.failed_for_person(Reason::NotFoundAtVendor, "Check domain and region: a domain is either US or EU."),
            _ => None,
        }
    }

    fn is_own_error(&self, reply: &Reply<'_>) -> bool {
        reply.json["message"].is_string() && reply.json.get("id").is_none()
    }
}

/// A form with a file (RFC 7578): its boundary, which does not occur in it, and its bytes.
fn form(fields: &[(&'static str, String)], message: &[u8]) -> (String, Vec<u8>) {
    let is_within = |boundary: &str| {
        memchr::memmem::find(message, boundary.as_bytes()).is_some() || fields.iter().any(|(_, value)| value.contains(boundary))
    };
    let mut number = 0_u32;
    let mut boundary = "mailfleet-0".to_owned();
    while is_within(&boundary) {
        number += 1;
        boundary = format!("mailfleet-{number}");
    }
    let mut body = Vec::with_capacity(message.len() + 1024);
    for (name, value) in fields {
        body.extend_from_slice(format!("--{boundary}\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n").as_bytes());
    }
    let head = "Content-Disposition: form-data; name=\"message\"; filename=\"message.eml\"\r\nContent-Type: message/rfc822";
    body.extend_from_slice(format!("--{boundary}\r\n{head}\r\n\r\n").as_bytes());
    body.extend_from_slice(message);
    body.extend_from_slice(format!("\r\n--{boundary}--\r\n").as_bytes());
    (boundary, body)
}
