//! What SES tells through SNS: event publishing (`eventType`) and notifications of an identity (`notificationType`), which have the
//! same fields. Pure.
//!
//! Sources: docs.aws.amazon.com/ses "Contents of event data that Amazon SES publishes to Amazon SNS", "Amazon SNS notification
//! contents" (types and subtypes of bounces).

use serde::Deserialize;

use super::sns::{Purpose, Sns};
use crate::{
    feedback::{Event, EventKind},
    meta::{Blocker, Key, Reason},
    providers::webhook::{
        Certificates, Received, Refused, Webhook, WebhookCall, WebhookCredentials, bounce,
        read::{self, Told, Word},
        replied,
    },
};

/// Bytes of a call: SNS carries 256 KiB, which as a text in JSON are more.
const CALL_MAX: usize = 1 << 20;

/// The webhook of an SES server.
pub struct SesWebhook {
    server: Key,
    topic_arn: String,
}

impl SesWebhook {
    /// For the topic that the spec names.
    ///
    /// # Errors
    /// When it names none.
    pub fn new(server: &Key, credentials: &WebhookCredentials) -> Result<Self, Blocker> {
        let topic_arn = credentials.topic_arn.clone();
        let topic_arn = topic_arn.ok_or_else(|| Blocker::lasting(Reason::InvalidSpec, "feedback.webhook.topicArn is missing."))?;
        Ok(Self { server: server.clone(), topic_arn })
    }
}

impl Webhook for SesWebhook {
    fn body_max(&self) -> usize {
        CALL_MAX
    }

    fn receive(&self, call: &WebhookCall<'_>, certificates: &Certificates) -> Result<Received, Refused> {
        let (sns, purpose, once) = Sns::verify(call, &self.topic_arn, certificates)?;
        let (events, confirm) = match purpose {
            Purpose::Notification => (self.events(&sns.message)?, None),
            Purpose::Subscription(url) => (Vec::new(), Some(url)),
            Purpose::Unsubscription => (Vec::new(), None),
        };
        Ok(Received { events, once: Some(once), confirm })
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Published {
    event_type: Word,
    notification_type: Word,
    mail: Mail,
    bounce: Bounce,
    complaint: Complaint,
    delivery: Delivery,
    reject: Reject,
    failure: Failure,
    subscription: Subscription,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Mail {
    message_id: Word,
    destination: Vec<Word>,
    tags: Tags,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Tags {
    mailfleet_reference: Word,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Bounce {
    #[serde(rename = "bounceType")]
    r#type: Word,
    #[serde(rename = "bounceSubType")]
    sub_type: Word,
    bounced_recipients: Vec<Bounced>,
    timestamp: Word,
    feedback_id: Word,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Bounced {
    email_address: Word,
    status: Word,
    diagnostic_code: Word,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Complaint {
    complained_recipients: Vec<Bounced>,
    #[serde(rename = "complaintFeedbackType")]
    r#type: Word,
    #[serde(rename = "complaintSubType")]
    sub_type: Word,
    timestamp: Word,
    feedback_id: Word,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Delivery {
    timestamp: Word,
    recipients: Vec<Word>,
    smtp_response: Word,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Reject {
    reason: Word,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Failure {
    error_message: Word,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Subscription {
    timestamp: Word,
    new_topic_preferences: Preferences,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Preferences {
    unsubscribe_all: bool,
}

impl SesWebhook {
    pub(super) fn events(&self, message: &str) -> Result<Vec<Event>, Refused> {
        // What SES writes into a topic when it is set up as a destination is a sentence.
        if !message.trim_start().starts_with('{') {
            return Ok(Vec::new());
        }
        let told: Published = read::one(message.as_bytes())?;
        let kind = if told.event_type.text().is_empty() { told.notification_type.text() } else { told.event_type.text() };
        let all = || told.mail.destination.iter().map(Word::text);
        Ok(match kind {
            "Bounce" => told.bounce.bounced_recipients.iter().filter_map(|one| self.bounced(&told, one)).collect(),
            "Complaint" => told.complaint.complained_recipients.iter().filter_map(|one| self.complained(&told, one)).collect(),
            "Delivery" => {
                let Delivery { timestamp, recipients, smtp_response } = &told.delivery;
                let delivered = |to: &Word| {
                    let (to, id) = (to.text(), [told.mail.message_id.text(), to.text()]);
                    self.event(&told, EventKind::Delivered, to, timestamp.text(), &id, &[smtp_response.text()])
                };
                recipients.iter().filter_map(delivered).collect()
            }
            // SES itself refused it: a virus, or a template that cannot be rendered.
            "Reject" | "Rendering Failure" => {
                let words = [kind, told.reject.reason.text(), told.failure.error_message.text()];
                let id = |to| [told.mail.message_id.text(), to];
                all().filter_map(|to| self.event(&told, EventKind::SoftBounce, to, "", &id(to), &words)).collect()
            }
            "Subscription" if told.subscription.new_topic_preferences.unsubscribe_all => {
                let at = told.subscription.timestamp.text();
                let id = |to| [told.mail.message_id.text(), to, at];
                all()
                    .filter_map(|to| self.event(&told, EventKind::Unsubscribed, to, at, &id(to), &["unsubscribed at Amazon SES"]))
                    .collect()
            }
            // Sends, opens, clicks, delays that SES still tries to overcome, and what is not known yet.
            _ => Vec::new(),
        })
    }

    fn bounced(&self, told: &Published, one: &Bounced) -> Option<Event> {
        let Bounce { r#type, sub_type, timestamp, feedback_id, .. } = &told.bounce;
        let (to, sub_type) = (one.email_address.text(), sub_type.text());
        let words = replied("", one.status.text(), one.diagnostic_code.text());
        let is_permanent = r#type.text() == "Permanent";
        let kind = match sub_type {
            // Amazon's own list, or the account's: there was a hard bounce before, or a complaint. Amazon's words say 5.1.1 or nothing.
            "Suppressed" | "OnAccountSuppressionList" if is_permanent => EventKind::HardBounce,
            "General" | "NoEmail" | "" => bounce(is_permanent, &words, to),
            _ => EventKind::SoftBounce,
        };
        let detail = [r#type.text(), sub_type, &words];
        self.event(told, kind, to, timestamp.text(), &[feedback_id.text(), told.mail.message_id.text(), to], &detail)
    }

    fn complained(&self, told: &Published, one: &Bounced) -> Option<Event> {
        let Complaint { r#type, sub_type, timestamp, feedback_id, .. } = &told.complaint;
        let to = one.email_address.text();
        let (kind, detail) = match (r#type.text(), sub_type.text()) {
            // A person who says that it is no spam, or Amazon's list, after an earlier complaint.
            ("not-spam", _) => return None,
            (_, "OnAccountSuppressionList") => (EventKind::Unsubscribed, "on the account's suppression list after a complaint"),
            (kind, _) => (EventKind::Complaint, kind),
        };
        self.event(told, kind, to, timestamp.text(), &[feedback_id.text(), told.mail.message_id.text(), to], &[detail])
    }

    fn event(&self, told: &Published, kind: EventKind, recipient: &str, at: &str, id: &[&str], detail: &[&str]) -> Option<Event> {
        let mail = &told.mail;
        Told {
            server: &self.server,
            kind,
            reference: mail.tags.mailfleet_reference.text(),
            vendor_id: mail.message_id.text(),
            message_id: "",
            recipient,
            at,
            id,
            detail,
        }
        .event()
    }
}
