//! Postmark's webhooks. It signs nothing: a secret is in the call, as the password of Basic authentication. Pure.
//!
//! Sources: postmarkapp.com/developer "Webhooks overview", "Bounce webhook", "Spam complaint webhook", "Delivery webhook",
//! "Subscription change webhook", "Bounce API: bounce types".

use serde::Deserialize;

use crate::{
    feedback::{Event, EventKind},
    meta::{Blocker, Key},
    providers::webhook::{
        Webhook, WebhookCredentials, bounce,
        read::{Told, Word},
        secret::SecretWebhook,
    },
};

/// The webhook of a Postmark server, with the secret that Postmark sends along.
///
/// # Errors
/// When the Secret's value cannot be one.
pub fn webhook(server: &Key, credentials: &WebhookCredentials) -> Result<Box<dyn Webhook>, Blocker> {
    Ok(Box::new(SecretWebhook::new(server, credentials, event)?))
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct Occurrence {
    record_type: Word,
    #[serde(rename = "ID")]
    id: Word,
    r#type: Word,
    #[serde(rename = "MessageID")]
    message_id: Word,
    description: Word,
    details: Word,
    email: Word,
    recipient: Word,
    bounced_at: Word,
    delivered_at: Word,
    changed_at: Word,
    origin: Word,
    suppress_sending: Word,
    suppression_reason: Word,
    metadata: Metadata,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Metadata {
    mailfleet_reference: Word,
}

fn event(server: &Key, told: &Occurrence) -> Option<Event> {
    let first = |words: &[&Word]| words.iter().map(|word| word.text()).find(|text| !text.is_empty()).unwrap_or_default().to_owned();
    let recipient = first(&[&told.email, &told.recipient]);
    let at = first(&[&told.bounced_at, &told.delivered_at, &told.changed_at]);
    let kind = match (told.record_type.text(), told.r#type.text()) {
        ("Delivery", _) => EventKind::Delivered,
        ("SpamComplaint", _) | ("Bounce", "SpamComplaint" | "SpamNotification") => EventKind::Complaint,
        ("Bounce", "HardBounce") => bounce(true, told.details.text(), &recipient),
        ("Bounce", "BadEmailAddress") => EventKind::HardBounce,
        ("Bounce", "Unsubscribe") => EventKind::Unsubscribed,
        // What Postmark still tries, and mail that came back and is no bounce.
        (
            "Bounce",
            "Transient" | "Subscribe" | "AutoResponder" | "AddressChange" | "OpenRelayTest" | "ChallengeVerification" | "InboundError",
        ) => return None,
        ("Bounce", _) => EventKind::SoftBounce,
        // Bounces and complaints, which deactivate an address as well, are told as such.
        ("SubscriptionChange", _) => {
            let is_asked = told.suppression_reason.text() == "ManualSuppression" && told.origin.text() == "Recipient";
            if told.suppress_sending.text() != "true" || !is_asked {
                return None;
            }
            EventKind::Unsubscribed
        }
        // Opens, clicks, and what is not known yet.
        _ => return None,
    };
    // Bounces alone have an id.
    let of_message = [told.message_id.text(), &recipient, &at];
    let of_bounce = [told.id.text()];
    Told {
        server,
        kind,
        reference: told.metadata.mailfleet_reference.text(),
        vendor_id: told.message_id.text(),
        message_id: "",
        recipient: &recipient,
        at: &at,
        id: if told.id.text().is_empty() { &of_message } else { &of_bounce },
        detail: &[told.r#type.text(), told.details.text(), if told.details.text().is_empty() { told.description.text() } else { "" }],
    }
    .event()
}
