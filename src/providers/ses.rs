//! Amazon SES through API v2: each message unchanged (`Content.Raw`).
//!
//! The vendor's SDK signs, serialises and finds credentials; requests go through our own client (`sdk`), so that egress,
//! timeouts and bounds hold as for every other type. The SDK's retries are off: whether a message is retried is up to the
//! dispatcher, and SES has no idempotency key.
//!
//! Sources: the vendor's service model (`sesv2`), docs.aws.amazon.com/ses "Managing your sending limits", "Errors related to
//! the sending quotas", "API error codes", and "Common Error Types" of the API reference.

mod answer;
mod sdk;

use std::sync::Arc;

use aws_sdk_sesv2::{
    Client,
    config::{
        AppName, BehaviorVersion, Config, Credentials, Region, SharedCredentialsProvider, StalledStreamProtectionConfig,
        retry::{ReconnectMode, RetryConfig},
    },
    primitives::Blob,
    types::{Destination, EmailContent, MessageTag, RawMessage},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::sync::OnceCell;

use self::sdk::{Chain, Way};
use super::{
    Blocker, BoxFuture, Context, Outcome, Outgoing, Probed, Provider, Refusal, Scope, SecretUse, Server, ServerType, TypeInfo, api,
    diagnose::Endpoint,
    http::{ApiClient, Purpose},
    single::{Single, SingleServer},
    structured,
    verdict::{self, Said, Taken, Verdict},
};
use crate::meta::{Duration, LocalRef, Reason, pattern, secret::SecretValue};

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

    /// The Secret's credentials, and which of them must not be shown; none where the machine's own are used.
    fn keys(&self, context: &Context) -> Result<(Option<Credentials>, Vec<SecretValue>), Blocker> {
        let address = self.address();
        let Some(secret) = &self.secret_ref else {
            if context.permissions.ambient_credentials {
                return Ok((None, Vec::new()));
            }
            let what = format!("No Secret is named, and this server may not use the machine's credentials ({address}).");
            let to_do = "Name a Secret with accessKeyId and secretAccessKey in secretRef.";
            return Err(Blocker::passing(Reason::NotAllowedByOperator, format!("{what} {to_do}")).for_person());
        };
        let text = |key: &str| context.secret_text(secret, key, &address);
        let (id, key) = (text("accessKeyId")?, text("secretAccessKey")?);
        let token = if context.has_secret(secret, "sessionToken") { Some(text("sessionToken")?) } else { None };
        let words = |value: &SecretValue| value.expose_text().unwrap_or_default().to_owned();
        let credentials = Credentials::new(words(&id), words(&key), token.as_ref().map(words), None, "Secret");
        Ok((Some(credentials), [Some(key), token].into_iter().flatten().collect()))
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

    fn build(&self, context: Context) -> Result<Arc<dyn Server>, Blocker> {
        let (credentials, hidden) = self.keys(&context)?;
        let api = ApiClient::new(&context, &self.base(), self.timeout, hidden)?;
        let chain = Chain(context.http.clone());
        Ok(SingleServer::open(SesApi { spec: self.clone(), api, credentials, chain, client: OnceCell::new() }, &context))
    }
}

struct SesApi {
    spec: Ses,
    api: ApiClient,
    /// From the Secret; none where the machine's own are used.
    credentials: Option<Credentials>,
    /// How the machine's own are fetched.
    chain: Chain,
    client: OnceCell<Client>,
}

impl SesApi {
    /// The SDK's client; the machine's credentials are looked up when first needed.
    async fn client(&self) -> &Client {
        self.client
            .get_or_init(|| async {
                let region = Region::new(self.spec.region.clone());
                let credentials = match &self.credentials {
                    Some(credentials) => Some(SharedCredentialsProvider::new(credentials.clone())),
                    None => sdk::of_the_machine(region.clone(), self.chain.clone()).await,
                };
                let mut config = Config::builder()
                    .behavior_version(BehaviorVersion::latest())
                    .region(region)
                    .endpoint_url(self.spec.base())
                    .http_client(Way { api: self.api.clone(), purpose: Purpose::Delivery })
                    .retry_config(RetryConfig::disabled().with_reconnect_mode(ReconnectMode::ReuseAllConnections))
                    .stalled_stream_protection(StalledStreamProtectionConfig::disabled());
                config.set_app_name(AppName::new("mailfleet").ok()).set_credentials_provider(credentials);
                Client::from_conf(config.build())
            })
            .await
    }

    async fn ask_account(&self) -> Result<Probed, Blocker> {
        let way = Way { api: self.api.clone(), purpose: Purpose::Probe };
        let asked = self.client().await.get_account().customize().config_override(Config::builder().http_client(way)).send().await;
        match asked {
            Ok(account) => answer::of_account(&account, self.spec.allow_sandbox == Some(true), &self.api.endpoint),
            Err(error) => match sdk::answer(error, &self.api, Purpose::Probe) {
                Ok(answer) => Err(answer::of_probe(&self.api.read(&answer, Purpose::Probe, answer::SAID))),
                Err(no_answer) => Err(answer::of_region(no_answer.failure, &self.api.endpoint)),
            },
        }
    }

    async fn send_message(&self, message: &Outgoing) -> Outcome {
        let unfit = |what: String| Refusal::permanent(Scope::Message, format!("550 5.6.0 not sent: {what}")).into();
        let raw = match RawMessage::builder().data(Blob::new(&message.content[..])).build() {
            Ok(raw) => raw,
            Err(error) => return unfit(error.to_string()),
        };
        let labels = [
            ("mailfleet_campaign", message.run.campaign.as_str()),
            ("mailfleet_run", &message.run.run),
            ("mailfleet_message_id", &structured::message_id(&message.content)),
        ];
        let tags = labels.into_iter().filter(|(_, value)| !value.is_empty());
        let tags = tags.filter_map(|(name, value)| MessageTag::builder().name(name).value(tag_value(value)).build().ok());
        let sent = self
            .client()
            .await
            .send_email()
            // The envelope's recipient; the message's own fields stay as they are.
            .destination(Destination::builder().to_addresses(&*message.rcpt_to).build())
            .content(EmailContent::builder().raw(raw).build())
            .set_configuration_set_name(self.spec.configuration_set.clone())
            .set_from_email_address_identity_arn(self.spec.identity_arn.clone())
            .set_email_tags(Some(tags.collect()))
            .send()
            .await;
        match sent {
            Ok(output) => output.message_id().and_then(|id| Taken::named(200, id, &self.api.shown(id))).map_or_else(
                || {
                    let failure = self.api.endpoint.sending(Reason::ProtocolError, answer::NOT_OURS, answer::BETWEEN);
                    Outcome::Unknown(failure)
                },
                |taken| Said::Taken(taken).into(),
            ),
            Err(error) => match sdk::answer(error, &self.api, Purpose::Delivery) {
                Ok(answer) => {
                    let reply = self.api.read(&answer, Purpose::Delivery, answer::SAID);
                    let answers = answer::Answers { allow_sandbox: self.spec.allow_sandbox == Some(true) };
                    match verdict::judge(&answers, &reply, &[message], false) {
                        Verdict::All(outcome) => outcome,
                        Verdict::Each(_) | Verdict::Singly => {
                            Outcome::Unknown(reply.fail_with(Reason::ProtocolError, answer::NOT_OURS, answer::BETWEEN))
                        }
                    }
                }
                Err(no_answer) if no_answer.may_have_arrived => Outcome::Unknown(no_answer.failure),
                Err(no_answer) => Outcome::ServerFailed(answer::of_region(no_answer.failure, &self.api.endpoint)),
            },
        }
    }
}

/// A tag's value takes ASCII letters, digits, `_` and `-`, 256 at most (the service model, `MessageTagValue`).
fn tag_value(value: &str) -> String {
    value.chars().map(|c| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' }).take(256).collect()
}

impl Single for SesApi {
    fn endpoint(&self) -> &Endpoint {
        &self.api.endpoint
    }

    fn probe(&self) -> BoxFuture<'_, Option<Result<Probed, Blocker>>> {
        Box::pin(async move { Some(self.ask_account().await) })
    }

    fn send<'a>(&'a self, message: &'a Outgoing) -> BoxFuture<'a, Outcome> {
        Box::pin(self.send_message(message))
    }
}
