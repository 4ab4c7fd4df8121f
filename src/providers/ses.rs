//! Amazon SES through API v2: each message unchanged (`Content.Raw`).
//!
//! SES has no idempotency key, so no request is repeated.
//!
//! Sources: the vendor's service model (`sesv2`), docs.aws.amazon.com/ses "Managing your sending limits", "Errors related to
//! the sending quotas", "API error codes", and "Common Error Types" of the API reference.

mod answer;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod signing;
mod sns;
mod webhook;

use std::sync::Arc;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use reqwest::Request;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use self::signing::{Keys, Signature};
use super::{
    Blocker, BoxFuture, Context, Holds, Outgoing, Probed, Provider, SecretUse, Server, ServerType, Signing, TypeInfo,
    api::{self, ApiServer, Vendor},
    http::{ApiClient, Call, Purpose, Reply},
    sanitize, structured,
    webhook::{Webhook, WebhookCredentials, read::REFERENCE},
};
use crate::dkim::Fields;
use crate::meta::{Duration, Key, LocalRef, Reason, pattern, secret::SecretValue};

/// Amazon SES by its API.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-kubernetes-validations" = [api::TIMEOUT_RULE]))]
pub struct Ses {
    /// The Secret: `accessKeyId` and `secretAccessKey`, and `sessionToken` for temporary credentials. When absent, the credentials of the machine or pod are used (web identity, container or instance role, environment), where the operator allows it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<LocalRef>,
    /// The region, whose identities, quota and reputation are used, like `eu-west-1`.
    #[schemars(length(min = 9, max = 32), regex(pattern = pattern::AWS_REGION))]
    pub region: String,
    /// The configuration set, which decides where events go; the identity's own when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64), regex(pattern = pattern::AWS_NAME))]
    pub configuration_set: Option<String>,
    /// The ARN of the sending identity, where another account owns it and has authorized this one (sending authorization).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 20, max = 512), regex(pattern = pattern::AWS_IDENTITY))]
    pub identity_arn: Option<String>,
    /// Whether an account in the sandbox, which can only send to verified addresses, is accepted; false when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allow_sandbox: Option<bool>,
    /// The API's address; the region's when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = pattern::ENDPOINT))]
    pub endpoint: Option<String>,
    /// How long to wait for an answer; 1s to 10m, 60s when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Duration>,
}

impl Ses {
    fn base(&self) -> String {
        let of_china = if self.region.starts_with("cn-") { ".cn" } else { "" };
        self.endpoint.clone().unwrap_or_else(|| format!("https://email.{}.amazonaws.com{of_china}", self.region))
    }

    /// The Secret's credentials; none where the machine's own are used.
    fn keys(&self, context: &Context) -> Result<Option<Keys>, Blocker> {
        let address = self.address();
        let Some(secret) = &self.secret_ref else {
            if context.permissions.ambient_credentials {
                return Ok(None);
            }
            let what = format!("No Secret is named, and this server may not use the machine's credentials ({address}).");
            let to_do = "Name a Secret with accessKeyId and secretAccessKey in secretRef.";
            return Err(Blocker::passing(Reason::NotAllowedByOperator, format!("{what} {to_do}")).for_person());
        };
        let text = |key: &str| context.secret_text(secret, key, &address);
        let token = if context.has_secret(secret, "sessionToken") { Some(text("sessionToken")?) } else { None };
        Ok(Some(Keys { id: text("accessKeyId")?, secret: text("secretAccessKey")?, token }))
    }
}

impl ServerType for Ses {
    const INFO: TypeInfo = TypeInfo {
        title: "Amazon SES, API v2",
        secret_keys: &[
            ("accessKeyId", "of an IAM user or role that is allowed ses:SendEmail, ses:SendRawEmail and ses:GetAccount"),
            ("secretAccessKey", "the secret key; without a Secret the machine's or pod's role is used, where the operator allows it"),
            ("sessionToken", "for temporary credentials only"),
        ],
        probe: "GetAccount: whether sending is enabled, and the account's quotas, which then apply in addition to limits.rates",
        carries: "each message unchanged (MIME), one per call; SES rewrites Message-ID and Date",
        signs: "Mailfleet, with `identity.dkim`, but for Date and Message-ID, which SES replaces; SES adds a signature of its own",
    };
}

impl Provider for Ses {
    fn secrets(&self) -> Vec<SecretUse> {
        let used = |key: &str, optional: bool| {
            self.secret_ref
                .iter()
                .map(move |secret| SecretUse { optional, ..SecretUse::of("spec.provider.ses.secretRef", secret, key) })
                .collect::<Vec<_>>()
        };
        [used("accessKeyId", false), used("secretAccessKey", false), used("sessionToken", true)].concat()
    }

    fn address(&self) -> String {
        api::address(&self.base())
    }

    fn signing(&self) -> Signing {
        Signing::Ours(&Fields::REDATED)
    }

    fn holds(&self) -> Holds {
        // docs.aws.amazon.com/ses, "Service quotas": 40 MB with attachments, after base64.
        Holds::megabytes(40)
    }

    fn build(&self, context: Context) -> Result<Arc<dyn Server>, Blocker> {
        let keys = self.keys(&context)?;
        let hidden: Vec<SecretValue> = keys.iter().flat_map(|keys| [Some(&keys.secret), keys.token.as_ref()]).flatten().cloned().collect();
        let api = ApiClient::new(&context, &self.base(), self.timeout, hidden)?;
        let signature = Signature::new(&self.region, keys.as_ref(), context.http.clone(), api.scrubber().clone());
        Ok(ApiServer::at(SesApi { spec: self.clone(), api: api.clone(), signature }, &context, api))
    }

    fn webhook(&self, server: &Key, credentials: &WebhookCredentials) -> Option<Result<Box<dyn Webhook>, Blocker>> {
        Some(webhook::SesWebhook::new(server, credentials).map(|webhook| Box::new(webhook) as _))
    }
}

struct SesApi {
    spec: Ses,
    api: ApiClient,
    signature: Signature,
}

impl Vendor for SesApi {
    /// The body of a message's call.
    type Item = Value;

    const SAID: &'static [&'static str] = answer::SAID;

    fn sign<'a>(&'a self, request: &'a mut Request, body: Option<&'a Bytes>, purpose: Purpose) -> BoxFuture<'a, Result<(), Blocker>> {
        Box::pin(async move {
            self.signature.sign(request, body).await.map_err(|why| {
                let what = format!("there are no usable credentials (`{}`)", sanitize::stable(&self.api.shown(&why)));
                let to_do = "Give the machine or pod a role, or name a Secret in secretRef.";
                self.api.fail(purpose, Reason::AuthenticationFailed, &what, to_do)
            })
        })
    }

    fn unanswered(&self, failure: Blocker) -> Blocker {
        answer::of_region(failure, &self.api.endpoint)
    }

    fn probe(&self) -> Call {
        Call::get("v2/email/account")
    }

    fn judge_probe(&self, reply: &Reply<'_>) -> Result<Probed, Blocker> {
        answer::of_probe(reply, self.allows_sandbox(), &self.api.endpoint)
    }

    fn prepare(&self, message: &Outgoing) -> Result<Value, String> {
        let reference = message.reference.map(|reference| reference.to_string()).unwrap_or_default();
        let labels = [
            ("mailfleet_campaign", message.run.campaign.as_str()),
            ("mailfleet_run", &message.run.run),
            ("mailfleet_message_id", &structured::message_id(message.content.own())),
            (REFERENCE, &reference),
        ];
        let tags = labels.iter().filter(|(_, value)| !value.is_empty());
        let mut body = json!({
            // The envelope's recipient; the message's own fields stay as they are.
            "Destination": {"ToAddresses": [*message.rcpt_to]},
            "Content": {"Raw": {"Data": STANDARD.encode(message.whole())}},
            "EmailTags": tags.map(|(name, value)| json!({"Name": name, "Value": tag_value(value)})).collect::<Vec<_>>(),
        });
        if let Some(set) = &self.spec.configuration_set {
            body["ConfigurationSetName"] = set.as_str().into();
        }
        if let Some(arn) = &self.spec.identity_arn {
            body["FromEmailAddressIdentityArn"] = arn.as_str().into();
        }
        Ok(body)
    }

    fn call(&self, items: &[Value]) -> Call {
        Call::post_json("v2/email/outbound-emails", items.first().unwrap_or(&Value::Null))
    }
}

impl SesApi {
    fn allows_sandbox(&self) -> bool {
        self.spec.allow_sandbox == Some(true)
    }
}

/// A tag's value takes ASCII letters, digits, `_` and `-`, 256 at most (the service model, `MessageTagValue`).
fn tag_value(value: &str) -> String {
    value.chars().map(|c| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' }).take(256).collect()
}
