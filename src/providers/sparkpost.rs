//! SparkPost (Bird) through its Transmissions API: each message unchanged (`email_rfc822`).
//!
//! A transmission shares one content between recipients; ours differ, so each has a call of its own. Substitutions are off:
//! otherwise `{{` in a message would be rewritten.
//!
//! Sources: the vendor's API Blueprint (`transmissions`, `account`), support docs "SMTP and REST API performance".

mod webhook;

use std::sync::Arc;

use http::{HeaderName, HeaderValue, header};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{
    Blocker, Context, Holds, Outgoing, Probed, Provider, Quota, Scope, SecretUse, Server, ServerType, Signing, TypeInfo,
    api::{self, ApiServer, Vendor},
    http::{Call, Reply},
    signing, structured,
    verdict::{Judge, NotTaken, Said, Word},
    webhook::{Webhook, WebhookCredentials, read::REFERENCE},
};
use crate::dkim::Fields;
use crate::meta::{Duration, Key, LocalRef, Rate, Reason, pattern};

/// SparkPost through its API.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-kubernetes-validations" = [api::TIMEOUT_RULE]))]
pub struct SparkPost {
    /// The Secret with `apiKey`: an API key with Transmissions: Read/Write and Account: Read.
    pub secret_ref: LocalRef,
    /// Where the account was created; `US` when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<api::Region>,
    /// The number of the subaccount on whose behalf mail is sent, with a parent account's key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 2_147_483_647))]
    pub subaccount: Option<u32>,
    /// The pool of dedicated IP addresses to send from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64), regex(pattern = pattern::LABEL))]
    pub ip_pool: Option<String>,
    /// Whether messages are transactional, for the vendor's suppression list; false when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transactional: Option<bool>,
    /// Whether opens are tracked; false when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub track_opens: Option<bool>,
    /// Whether links are rewritten to track clicks; false when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub track_clicks: Option<bool>,
    /// The API's address; the region's when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = pattern::ENDPOINT))]
    pub endpoint: Option<String>,
    /// How long to wait for an answer; 1s to 10m, 60s when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Duration>,
}

impl SparkPost {
    fn base(&self) -> &str {
        self.endpoint.as_deref().unwrap_or(match self.region.unwrap_or_default() {
            api::Region::US => "https://api.sparkpost.com",
            api::Region::EU => "https://api.eu.sparkpost.com",
        })
    }
}

impl ServerType for SparkPost {
    const INFO: TypeInfo = TypeInfo {
        title: "SparkPost, Transmissions API",
        secret_keys: &[("apiKey", "an API key with Transmissions: Read/Write and Account: Read")],
        probe: "GET /api/v1/account?include=usage: the account, its state and the day's limit",
        carries: "each message unchanged (MIME), one per call",
        signs: "Mailfleet, with `identity.dkim`, but for Date and Message-ID, unless `trackOpens` or `trackClicks` is true; SparkPost adds a signature of its own",
    };
}

impl Provider for SparkPost {
    fn secrets(&self) -> Vec<SecretUse> {
        vec![SecretUse::of("spec.provider.sparkpost.secretRef", &self.secret_ref, "apiKey")]
    }

    fn address(&self) -> String {
        api::address(self.base())
    }

    fn signing(&self) -> Signing {
        if self.track_opens == Some(true) || self.track_clicks == Some(true) {
            return signing::TRACKED;
        }
        Signing::Ours(&Fields::REDATED)
    }

    fn holds(&self) -> Holds {
        // developers.sparkpost.com, "Transmissions": a content of 20 MB.
        Holds::megabytes(20)
    }

    fn build(&self, context: Context) -> Result<Arc<dyn Server>, Blocker> {
        let (key, authorization) = context.secret_header(&self.secret_ref, "apiKey", &self.address(), str::to_owned)?;
        ApiServer::open(SparkPostApi { spec: self.clone(), authorization }, &context, self.base(), self.timeout, vec![key])
    }

    fn webhook(&self, server: &Key, credentials: &WebhookCredentials) -> Option<Result<Box<dyn Webhook>, Blocker>> {
        Some(webhook::webhook(server, credentials))
    }
}

struct SparkPostApi {
    spec: SparkPost,
    authorization: HeaderValue,
}

impl Vendor for SparkPostApi {
    type Item = Value;

    const SAID: &'static [&'static str] = &["/errors/0/code", "/errors/0/message", "/errors/0/description"];

    fn authorize(&self, call: Call) -> Call {
        call.with(header::AUTHORIZATION, self.authorization.clone())
    }

    fn probe(&self) -> Call {
        Call::get("api/v1/account?include=usage")
    }

    fn judge_probe(&self, reply: &Reply<'_>) -> Result<Probed, Blocker> {
        match reply.status() {
            200 => {}
            403 => {
                return Err(reply
                    .fail(Reason::PermissionDenied, "Give the API key Account: Read as well, so that it can be probed without sending.")
                    .for_person());
            }
            _ => return Err(api::probe_failure(reply)),
        }
        if let Some(status) = reply.text("/results/status").filter(|status| status != "active") {
            return Err(reply
                .fail_with(Reason::AccountSuspended, &format!("the account is {}", reply.stable(&status)), "Ask SparkPost why.")
                .for_person());
        }
        let number = |pointer: &str| reply.json.pointer(pointer).and_then(Value::as_u64);
        let day = number("/results/usage/day/limit").filter(|limit| *limit > 0).map(|messages| Quota {
            rate: Rate { messages, per: Duration::from_secs(24 * 3600) },
            used: number("/results/usage/day/used").unwrap_or(0),
        });
        Ok(Probed { quotas: day.into_iter().collect(), ..Probed::default() })
    }

    fn prepare(&self, message: &Outgoing) -> Result<Value, String> {
        let whole = message.whole();
        let content =
            std::str::from_utf8(&whole).map_err(|_| "550 5.6.0 not sent: SparkPost accepts messages in ASCII or UTF-8 only".to_owned())?;
        let mut metadata = json!({
            "mailfleet_campaign": message.run.campaign, "mailfleet_run": message.run.run,
            "mailfleet_message_id": structured::message_id(message.content.own()),
        });
        if let Some(reference) = message.reference {
            metadata[REFERENCE] = reference.to_string().into();
        }
        let mut options = json!({
            "perform_substitutions": false,
            "open_tracking": self.spec.track_opens.unwrap_or(false),
            "click_tracking": self.spec.track_clicks.unwrap_or(false),
            "transactional": self.spec.transactional.unwrap_or(false),
        });
        if let Some(pool) = &self.spec.ip_pool {
            options["ip_pool"] = pool.clone().into();
        }
        let mut body = json!({
            "options": options,
            "metadata": metadata,
            "recipients": [{"address": {"email": *message.rcpt_to}}],
            "content": {"email_rfc822": content},
        });
        if !message.run.campaign.is_empty() {
            // 64 bytes at most.
            body["campaign_id"] = message.run.campaign.chars().take(64).collect::<String>().into();
        }
        Ok(body)
    }

    fn call(&self, items: &[Value]) -> Call {
        let body = items.first().cloned().unwrap_or_default();
        Call::post_json("api/v1/transmissions", &body)
            .with_some(HeaderName::from_static("x-msys-subaccount"), self.spec.subaccount.map(HeaderValue::from))
    }
}

impl Judge for SparkPostApi {
    const PERMISSION: &'static str = "Transmissions: Read/Write";

    fn taken(&self, reply: &Reply<'_>, asked: &[&Outgoing]) -> Option<Word> {
        let count = |name: &str| reply.json["results"][name].as_u64();
        let named = reply.taken_as("/results/id")?;
        let one = u64::try_from(asked.len()).ok();
        match (count("total_accepted_recipients"), count("total_rejected_recipients")) {
            (accepted, Some(0)) if accepted == one => Some(Word::Together(named)),
            (Some(0), rejected) if rejected == one => Some(Word::Each(vec![Said::NotTaken(reply.refuse(Scope::Recipient))])),
            _ => None,
        }
    }

    fn refused(&self, reply: &Reply<'_>, asked: &[&Outgoing]) -> Option<NotTaken> {
        let code = reply.text("/errors/0/code").unwrap_or_default();
        match (reply.status(), code.as_str()) {
            (420, _) | (_, "2101" | "2102") => {
                reply.failed(Reason::QuotaExceeded, "Wait for the next day or hour, or raise the limit at SparkPost.")
            }
            (400 | 403 | 422, "7001" | "7002") => {
                Some(reply.refuse_sender("Set up and verify the From address's domain at SparkPost (Sending Domains)."))
            }
            (400 | 403 | 422, _) if reply.mentions("sending domain") => {
                Some(reply.refuse_sender("Set up and verify the From address's domain at SparkPost (Sending Domains)."))
            }
            (400 | 403 | 422, _) if reply.mentions("subaccount") => {
                reply.failed_for_person(Reason::NotFoundAtVendor, "Correct subaccount.")
            }
            (400 | 422, _) if reply.mentions_any(&["ip_pool", "ip pool"]) => {
                reply.failed_for_person(Reason::NotFoundAtVendor, "Correct ipPool.")
            }
            (400 | 403 | 422, _)
                if reply.mentions_any(&["suppress", "recipient address", "invalid recipient"]) || reply.names_recipient(asked) =>
            {
                Some(reply.refuse(Scope::Recipient))
            }
            (400 | 422, "1300" | "1902") if reply.mentions_any(&["email_rfc822", "content"]) => Some(reply.refuse(Scope::Message)),
            _ => None,
        }
    }

    fn is_own_error(&self, reply: &Reply<'_>) -> bool {
        reply.json["errors"][0]["message"].is_string()
    }
}
