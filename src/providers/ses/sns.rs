//! Messages of Amazon SNS, by which SES tells what became of messages: whose they are, and whether they are signed by Amazon. Pure.
//!
//! The topic is compared before anything else; then only Amazon's own host of the topic's region is asked for a certificate.
//!
//! Sources: docs.aws.amazon.com/sns "Verifying the signatures of Amazon SNS messages", "HTTP/S notification JSON format", "Amazon SNS
//! message delivery retries" (an HTTP endpoint is tried for 3,600 s at most, always with the same message).

use aws_lc_rs::signature::{
    RSA_PKCS1_2048_8192_SHA1_FOR_LEGACY_USE_ONLY, RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey, VerificationAlgorithm,
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::Uri;
use serde::Deserialize;

use crate::providers::webhook::{Certificates, Once, Refused, WebhookCall, check_age, read};

/// How old a message may be, milliseconds: Amazon tries for an hour, and signs once.
const AGE_MAX_MS: i64 = 65 * 60 * 1000;

/// A message of SNS (its fields have these names).
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Sns {
    r#type: String,
    message_id: String,
    topic_arn: String,
    /// What SES says, as a text that is JSON.
    pub message: String,
    timestamp: String,
    signature_version: String,
    signature: String,
    #[serde(rename = "SigningCertURL")]
    signing_cert_url: String,
    #[serde(default)]
    subject: Option<String>,
    #[serde(default)]
    token: Option<String>,
    #[serde(default, rename = "SubscribeURL")]
    subscribe_url: Option<String>,
}

/// What an authentic message is for.
#[derive(Debug)]
pub enum Purpose {
    /// It carries what SES says.
    Notification,
    /// Amazon asks whether this endpoint wants the topic: the address that says so.
    Subscription(String),
    /// Somebody unsubscribed this endpoint; nothing follows from it.
    Unsubscription,
}

impl Sns {
    /// Reads a message and checks that it is Amazon's, and of this topic.
    ///
    /// # Errors
    /// Why it is not taken.
    pub fn verify(call: &WebhookCall<'_>, topic_arn: &str, certificates: &Certificates) -> Result<(Self, Purpose, Once), Refused> {
        let message: Self = serde_json::from_slice(call.body)
            .map_err(|_| Refused::Forged("it is not an SNS message; switch raw message delivery off for the subscription"))?;
        if message.topic_arn != topic_arn {
            return Err(Refused::Forged("its topic is not feedback.webhook.topicArn"));
        }
        let host = host_of(topic_arn).ok_or(Refused::Forged("feedback.webhook.topicArn names no region"))?;
        if !is_certificate(&message.signing_cert_url, &host) {
            return Err(Refused::Forged("its certificate is not from SNS in the topic's region"));
        }
        let signed = message.signed().ok_or(Refused::Forged("its type is not one of SNS's"))?;
        let algorithm: &dyn VerificationAlgorithm = match message.signature_version.as_str() {
            "1" => &RSA_PKCS1_2048_8192_SHA1_FOR_LEGACY_USE_ONLY,
            "2" => &RSA_PKCS1_2048_8192_SHA256,
            _ => return Err(Refused::Forged("its version of the signature is neither 1 nor 2")),
        };
        let certificate = certificates.get(&message.signing_cert_url);
        let certificate = certificate.ok_or_else(|| Refused::NeedsCertificate(message.signing_cert_url.clone()))?;
        let key = certificate.public_key(call.now_ms).ok_or(Refused::Forged("its certificate is not valid today"))?;
        let signature = STANDARD.decode(&message.signature).map_err(|_| FORGED)?;
        UnparsedPublicKey::new(algorithm, key).verify(signed.as_bytes(), &signature).map_err(|_| FORGED)?;
        let signed_at_ms = read::time(&message.timestamp).ok_or(Refused::Unreadable("it has no time"))?;
        check_age(signed_at_ms, call.now_ms, AGE_MAX_MS)?;
        let purpose = match message.r#type.as_str() {
            "Notification" => Purpose::Notification,
            "SubscriptionConfirmation" => {
                let url = message.subscribe_url.clone().filter(|url| is_at(url, &host));
                Purpose::Subscription(url.ok_or(Refused::Forged("its SubscribeURL is not at SNS in the topic's region"))?)
            }
            _ => Purpose::Unsubscription,
        };
        let once = Once::new(&[message.message_id.as_bytes()], signed_at_ms, true);
        Ok((message, purpose, once))
    }

    /// What Amazon signs: names and values, each with a line end.
    fn signed(&self) -> Option<String> {
        let of_confirmation = [
            ("Message", Some(&self.message)),
            ("MessageId", Some(&self.message_id)),
            ("SubscribeURL", self.subscribe_url.as_ref()),
            ("Timestamp", Some(&self.timestamp)),
            ("Token", self.token.as_ref()),
            ("TopicArn", Some(&self.topic_arn)),
            ("Type", Some(&self.r#type)),
        ];
        let of_notification = [
            ("Message", Some(&self.message)),
            ("MessageId", Some(&self.message_id)),
            ("Subject", self.subject.as_ref()),
            ("Timestamp", Some(&self.timestamp)),
            ("TopicArn", Some(&self.topic_arn)),
            ("Type", Some(&self.r#type)),
        ];
        let fields = match self.r#type.as_str() {
            "Notification" => &of_notification[..],
            "SubscriptionConfirmation" | "UnsubscribeConfirmation" => &of_confirmation,
            _ => return None,
        };
        Some(fields.iter().filter_map(|(name, value)| Some(format!("{name}\n{}\n", (*value)?))).collect())
    }
}

const FORGED: Refused = Refused::Forged("its signature is not Amazon's");

/// The host of SNS in a topic's region: `sns.eu-west-1.amazonaws.com`.
fn host_of(topic_arn: &str) -> Option<String> {
    let mut parts = topic_arn.split(':');
    let (Some("arn"), Some(partition), Some("sns"), Some(region)) = (parts.next(), parts.next(), parts.next(), parts.next()) else {
        return None;
    };
    let is_region = !region.is_empty() && region.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    let of_china = if partition == "aws-cn" { ".cn" } else { "" };
    is_region.then(|| format!("sns.{region}.amazonaws.com{of_china}"))
}

/// Whether an address is https at exactly this host: no login, no port.
fn is_at(url: &str, host: &str) -> bool {
    let Ok(url) = url.parse::<Uri>() else { return false };
    url.scheme_str() == Some("https") && url.authority().is_some_and(|authority| authority.as_str() == host)
}

/// Whether an address is that of a certificate of SNS at this host.
fn is_certificate(url: &str, host: &str) -> bool {
    let path = url.strip_prefix("https://").and_then(|rest| rest.strip_prefix(host));
    let name = path.and_then(|path| path.strip_prefix("/SimpleNotificationService-")).and_then(|name| name.strip_suffix(".pem"));
    let is_name = |name: &str| (1..=64).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_alphanumeric());
    name.is_some_and(is_name) && is_at(url, host)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_amazons_hosts_of_the_region_are_asked() {
        let host = host_of("arn:aws:sns:eu-west-1:123456789012:feedback").unwrap();
        assert_eq!(host, "sns.eu-west-1.amazonaws.com");
        assert_eq!(host_of("arn:aws-cn:sns:cn-north-1:123456789012:x").unwrap(), "sns.cn-north-1.amazonaws.com.cn");
        for bad in ["", "arn:aws:sqs:eu-west-1:1:x", "arn:aws:sns::1:x", "arn:aws:sns:evil.example/:1:x"] {
            assert_eq!(host_of(bad), None, "{bad}");
        }
        assert!(is_certificate("https://sns.eu-west-1.amazonaws.com/SimpleNotificationService-0a1b2c.pem", &host));
        for bad in [
            "http://sns.eu-west-1.amazonaws.com/SimpleNotificationService-0a.pem",
            "https://sns.us-east-1.amazonaws.com/SimpleNotificationService-0a.pem",
            "https://sns.eu-west-1.amazonaws.com.evil.example/SimpleNotificationService-0a.pem",
            "https://evil.example/SimpleNotificationService-0a.pem",
            "https://sns.eu-west-1.amazonaws.com@evil.example/SimpleNotificationService-0a.pem",
            "https://evil@sns.eu-west-1.amazonaws.com/SimpleNotificationService-0a.pem",
            "https://sns.eu-west-1.amazonaws.com:8443/SimpleNotificationService-0a.pem",
            "https://sns.eu-west-1.amazonaws.com/x/SimpleNotificationService-0a.pem",
            "https://sns.eu-west-1.amazonaws.com/SimpleNotificationService-..%2F0a.pem",
            "https://sns.eu-west-1.amazonaws.com/SimpleNotificationService-0a.pem?x=.pem",
            "https://sns.eu-west-1.amazonaws.com/?Action=Publish&x=/SimpleNotificationService-0a.pem",
            "https://s3.amazonaws.com/sns.eu-west-1.amazonaws.com/SimpleNotificationService-0a.pem",
            "",
        ] {
            assert!(!is_certificate(bad, &host), "{bad}");
        }
        assert!(is_at("https://sns.eu-west-1.amazonaws.com/?Action=ConfirmSubscription&Token=1", &host));
        assert!(!is_at("https://sns.eu-west-1.amazonaws.com#@evil.example/", "evil.example"));
    }
}
