//! Postmark through its API.
//!
//! Takes no MIME, so messages are taken apart. Any 500 messages share a call (`/email/batch`), and each gets its own answer.
//!
//! Sources: the vendor's OpenAPI document, postmarkapp.com/developer "Email API" and "API error codes".

mod webhook;

use std::sync::Arc;

use http::{HeaderName, HeaderValue, header};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{
    Blocker, Context, Holds, Outgoing, Probed, Provider, Refusal, Scope, SecretUse, Server, ServerType, Signing, TypeInfo,
    api::{self, ApiServer, Vendor},
    http::{Call, Reply},
    signing,
    structured::{Attachment, Structured},
    verdict::{self, Judge, NotTaken, Said, Word},
    webhook::{Webhook, WebhookCredentials, read::REFERENCE},
};
use crate::meta::{Duration, Key, LocalRef, Reason, pattern};

/// Postmark through its API.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-kubernetes-validations" = [api::TIMEOUT_RULE]))]
pub struct Postmark {
    /// The Secret with `serverToken`: the API token of a Postmark server.
    pub secret_ref: LocalRef,
    /// The message stream; `outbound` (transactional) when absent. Campaigns belong in a broadcast stream.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64), regex(pattern = pattern::LABEL))]
    pub message_stream: Option<String>,
    /// Whether opens are tracked; the Postmark server's setting when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub track_opens: Option<bool>,
    /// Whether links are rewritten to track clicks; the Postmark server's setting when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub track_clicks: Option<bool>,
    /// Whether a sandbox server, which delivers nothing, is accepted; false when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allow_sandbox: Option<bool>,
    /// Messages that share a call; 1 to 500, 100 when absent. A lost answer leaves no more than this unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 500))]
    pub batch_size: Option<u32>,
    /// The API's address; Postmark's when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = pattern::ENDPOINT))]
    pub endpoint: Option<String>,
    /// How long to wait for an answer; 1s to 10m, 60s when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Duration>,
}

impl Postmark {
    fn base(&self) -> &str {
        self.endpoint.as_deref().unwrap_or("https://api.postmarkapp.com")
    }
}

impl ServerType for Postmark {
    const INFO: TypeInfo = TypeInfo {
        title: "Postmark, API",
        secret_keys: &[("serverToken", "the API token of a Postmark server")],
        probe: "GET /server: the token's server, and whether it is a sandbox",
        carries: "JSON; any messages share a call, 500 at most, and each gets its own answer",
        signs: "Postmark; `identity.dkim` has no effect. Check in a delivered message that its signature (h=) covers List-Unsubscribe and List-Unsubscribe-Post, as RFC 8058 requires",
    };
}

impl Provider for Postmark {
    fn secrets(&self) -> Vec<SecretUse> {
        vec![SecretUse::of("spec.provider.postmark.secretRef", &self.secret_ref, "serverToken")]
    }

    fn address(&self) -> String {
        api::address(self.base())
    }

    fn signing(&self) -> Signing {
        signing::MADE_BY_VENDOR
    }

    fn holds(&self) -> Holds {
        // postmarkapp.com/developer, "Email API": 10 MB with attachments.
        Holds::megabytes(10)
    }

    fn build(&self, context: Context) -> Result<Arc<dyn Server>, Blocker> {
        let (token, header) = context.secret_header(&self.secret_ref, "serverToken", &self.address(), str::to_owned)?;
        ApiServer::open(PostmarkApi { spec: self.clone(), token: header }, &context, self.base(), self.timeout, vec![token])
    }

    fn webhook(&self, server: &Key, credentials: &WebhookCredentials) -> Option<Result<Box<dyn Webhook>, Blocker>> {
        Some(webhook::webhook(server, credentials))
    }
}

struct PostmarkApi {
    spec: Postmark,
    token: HeaderValue,
}

/// A message as the API takes it.
pub struct Item {
    message: Value,
    files: Vec<Attachment>,
    size: usize,
}

impl Item {
    /// The message with its files.
    fn with_files(&self) -> Value {
        let mut message = self.message.clone();
        if !self.files.is_empty() {
            message["Attachments"] = self.files.iter().map(attachment).collect();
        }
        message
    }
}

impl PostmarkApi {
    /// Why one message was not taken, from Postmark's code and words.
    fn not_taken(code: u64, words: &str, reply: &Reply<'_>, asked: &[&Outgoing]) -> NotTaken {
        let kept = format!("{code} {}", reply.shown(words));
        let failure = |reason, to_do: &str| reply.fail_saying(&kept, reason, to_do);
        let failed = |reason, to_do: &str| NotTaken::Failed(failure(reason, to_do));
        let for_person = |reason, to_do: &str| NotTaken::Failed(failure(reason, to_do).for_person());
        let refused = |scope| NotTaken::Refused(Refusal::permanent(scope, kept.clone()));
        let sender = |to_do: &str| {
            let cause = failure(Reason::SenderRefused, to_do).for_person();
            NotTaken::Refused(Refusal::permanent(Scope::Sender, kept.clone()).because(cause))
        };
        match code {
            10 => for_person(Reason::AuthenticationFailed, "Correct serverToken in the Secret; it may have been revoked."),
            100 => failed(Reason::ServiceNotAvailable, "It is retried; check Postmark's status page."),
            300 if words.contains("'From'") => sender("Correct the campaign's from.address."),
            300 if words.contains("'ReplyTo'") => sender("Correct the campaign's replyTo."),
            300 if words.contains("'To'") => refused(Scope::Recipient),
            400 | 401 => sender("Verify the From address or its domain in Postmark (Sender Signatures)."),
            405 => failed(Reason::QuotaExceeded, "Buy credits, or wait for the next month."),
            406 => refused(Scope::Recipient),
            411 => refused(Scope::Message),
            412 => for_person(
                Reason::SandboxOnly,
                "The account is pending approval and can only send to its own domain: ask Postmark to approve it.",
            ),
            413 => for_person(Reason::AccountSuspended, "Ask Postmark why the account may not send."),
            429 => failed(Reason::Throttled, "Lower limits.rates or limits.connections."),
            1220..=1240 => for_person(Reason::NotFoundAtVendor, "Correct messageStream."),
            _ => verdict::known(reply, words, &kept, asked).unwrap_or_else(|| verdict::unclear(reply, words, kept.clone())),
        }
    }
}

/// Code and words of an answer in Postmark's form.
fn code_of(answer: &Value) -> Option<(u64, &str)> {
    Some((answer.get("ErrorCode")?.as_u64()?, answer.get("Message").and_then(Value::as_str).unwrap_or_default()))
}

/// Whether an answer is about another message of the call: they come in the order of the messages, and say to whom each was.
fn is_of_another(answer: &Value, message: &Outgoing, asked: &[&Outgoing]) -> bool {
    let to = answer["To"].as_str().unwrap_or_default();
    let address = to.rsplit_once('<').map_or(to, |(_, address)| address.trim_end_matches('>'));
    let is_to = |one: &&Outgoing| one.rcpt_to.eq_ignore_ascii_case(address);
    !is_to(&message) && asked.iter().any(is_to)
}

fn attachment(file: &Attachment) -> Value {
    let mut value = json!({"Name": file.name, "Content": file.content.base64(), "ContentType": file.content_type});
    if let Some(id) = &file.content_id {
        value["ContentID"] = format!("cid:{id}").into();
    }
    value
}

impl Vendor for PostmarkApi {
    type Item = Item;

    const SAID: &'static [&'static str] = &["/Message"];

    fn authorize(&self, call: Call) -> Call {
        call.with(HeaderName::from_static("x-postmark-server-token"), self.token.clone())
            .with(header::ACCEPT, HeaderValue::from_static("application/json"))
    }

    fn probe(&self) -> Call {
        Call::get("server")
    }

    fn judge_probe(&self, reply: &Reply<'_>) -> Result<Probed, Blocker> {
        if reply.status() != 200 {
            return Err(api::probe_failure(reply));
        }
        if reply.text("/DeliveryType").is_some_and(|kind| kind == "Sandbox") && self.spec.allow_sandbox != Some(true) {
            return Err(reply
                .fail_with(
                    Reason::SandboxOnly,
                    "the token belongs to a sandbox server, which delivers nothing",
                    "Use a live server's token, or set allowSandbox.",
                )
                .for_person());
        }
        Ok(Probed::default())
    }

    fn batch_max(&self) -> usize {
        self.spec.batch_size.unwrap_or(100) as usize
    }

    fn size_max(&self) -> usize {
        // 50 MB per call, JSON and base64 included.
        30 << 20
    }

    fn size(&self, item: &Item) -> usize {
        item.size
    }

    fn prepare(&self, message: &Outgoing) -> Result<Item, String> {
        let read = Structured::with_body(message, "Postmark")?;
        let mut headers: Vec<Value> = read.headers.iter().map(|(name, value)| json!({"Name": name, "Value": value})).collect();
        if !read.message_id.is_empty() {
            headers.push(json!({"Name": "Message-ID", "Value": format!("<{}>", read.message_id)}));
            // Without it, Postmark writes its own.
            headers.push(json!({"Name": "X-PM-KeepID", "Value": "true"}));
        }
        let mut value = json!({
            "From": Structured::full(&read.from),
            "To": Structured::full(&read.to),
            "Subject": read.subject,
            "Headers": headers,
            // Names of 20 characters and values of 80 at most.
            "Metadata": {"mailfleet_campaign": cut(&message.run.campaign), "mailfleet_run": cut(&message.run.run)},
            "MessageStream": self.spec.message_stream.as_deref().unwrap_or("outbound"),
        });
        if let Some(reference) = message.reference {
            value["Metadata"][REFERENCE] = reference.to_string().into();
        }
        if !read.reply_to.is_empty() {
            value["ReplyTo"] = read.reply_to.iter().map(Structured::full).collect::<Vec<_>>().join(", ").into();
        }
        if let Some(text) = &read.text {
            value["TextBody"] = text.clone().into();
        }
        if let Some(html) = &read.html {
            value["HtmlBody"] = html.clone().into();
        }
        if let Some(track) = self.spec.track_opens {
            value["TrackOpens"] = track.into();
        }
        if let Some(track) = self.spec.track_clicks {
            value["TrackLinks"] = if track { "HtmlAndText" } else { "None" }.into();
        }
        Ok(Item { message: value, files: read.attachments, size: message.content.len() * 2 })
    }

    fn call(&self, items: &[Item]) -> Call {
        match items {
            [one] => Call::post_json("email", &one.with_files()),
            several => Call::post_json("email/batch", &several.iter().map(Item::with_files).collect()),
        }
    }
}

impl Judge for PostmarkApi {
    const PERMISSION: &'static str = "permission to send";

    fn taken(&self, reply: &Reply<'_>, asked: &[&Outgoing]) -> Option<Word> {
        let said = |answer: &Value, message: &[&Outgoing]| match code_of(answer)? {
            (0, _) => reply.taken_under(answer.get("MessageID")?.as_str()?).map(Said::Taken),
            (code, words) => Some(Said::NotTaken(Self::not_taken(code, words, reply, message))),
        };
        let said: Option<Vec<Said>> = match (&reply.json, asked) {
            (Value::Array(answers), _) if answers.len() == asked.len() => {
                if answers.iter().zip(asked).any(|(answer, message)| is_of_another(answer, message, asked)) {
                    return None;
                }
                answers.iter().zip(asked.chunks(1)).map(|(answer, message)| said(answer, message)).collect()
            }
            (answer @ Value::Object(_), [_]) => said(answer, asked).map(|one| vec![one]),
            _ => None,
        };
        said.map(Word::Each)
    }

    fn refused(&self, reply: &Reply<'_>, asked: &[&Outgoing]) -> Option<NotTaken> {
        let (code, words) = code_of(&reply.json).filter(|(code, _)| *code != 0)?;
        // Where no code helps, the status may.
        let not_taken = Self::not_taken(code, words, reply, asked);
        Some(not_taken)
            .filter(|found| reply.status() == 422 || !matches!(found, NotTaken::Refused(refusal) if refusal.scope == Scope::Unclear))
    }

    fn is_own_error(&self, reply: &Reply<'_>) -> bool {
        code_of(&reply.json).is_some_and(|(code, _)| code != 0) && reply.json["Message"].is_string()
    }
}

fn cut(text: &str) -> String {
    text.chars().take(80).collect()
}
