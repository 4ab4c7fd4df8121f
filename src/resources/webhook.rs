//! `feedback.webhook` of a `SendingServer`: by what the vendor's calls are checked. Pure.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{KeyRef, pattern, rule::Rule};

/// How the vendor's webhook requests are authenticated, which arrive at `/feedback/NAMESPACE/NAME` of the public address. Which of the fields is
/// needed depends on the type: see docs/webhooks.md.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct WebhookSpec {
    /// Mailgun: the account's HTTP webhook signing key. SparkPost, Elastic Email, Postmark, Brevo and plugins: the secret that the
    /// vendor sends along, at least 16 characters. In a Secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<KeyRef>,
    /// Amazon SES: the ARN of the SNS topic. Its subscription is confirmed, and no other topic's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 20, max = 512), regex(pattern = pattern::AWS_TOPIC))]
    pub topic_arn: Option<String>,
    /// SendGrid: the verification key of the signed Event Webhook, base64.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 64, max = 1024), regex(pattern = pattern::BASE64))]
    pub public_key: Option<String>,
}

/// Which types have webhooks, and what each of them needs.
pub(super) const RULES: [Rule; 5] = [
    Rule::new(
        "!has(self.feedback) || !has(self.feedback.bounces) || has(self.identity) && has(self.identity.returnPath)",
        "bounces reach the listener only through a return path; name its domain in `identity.returnPath`",
    )
    .at(".feedback"),
    Rule::new(
        "!has(self.feedback) || !has(self.feedback.webhook) || has(self.provider.ses) || has(self.provider.sendgrid) || has(self.provider.mailgun) || has(self.provider.sparkpost) || has(self.provider.elasticEmail) || has(self.provider.postmark) || has(self.provider.brevo) || has(self.provider.plugin)",
        "this type of server has no webhook; remove this field",
    )
    .at(".feedback.webhook")
    .forbidden(),
    Rule::new(
        "!has(self.feedback) || !has(self.feedback.webhook) || has(self.provider.ses) == has(self.feedback.webhook.topicArn)",
        "`topicArn` is required for ses, and not allowed for other types",
    )
    .at(".feedback.webhook.topicArn"),
    Rule::new(
        "!has(self.feedback) || !has(self.feedback.webhook) || has(self.provider.sendgrid) == has(self.feedback.webhook.publicKey)",
        "`publicKey` is required for sendgrid, and not allowed for other types",
    )
    .at(".feedback.webhook.publicKey"),
    Rule::new(
        "!has(self.feedback) || !has(self.feedback.webhook) || (has(self.provider.ses) || has(self.provider.sendgrid)) != has(self.feedback.webhook.secretRef)",
        "`secretRef` is required for every type but ses and sendgrid, and not allowed for these",
    )
    .at(".feedback.webhook.secretRef"),
];
