//! SparkPost's event webhooks. It signs nothing: a secret is in the call, as the password of Basic authentication. Pure.
//!
//! Sources: developers.sparkpost.com "Webhooks" (batches, repeats for eight hours), support.sparkpost.com "Bounce classification
//! codes".

use serde::Deserialize;

use crate::{
    feedback::{Event, EventKind},
    meta::{Blocker, Key},
    providers::webhook::{
        Webhook, WebhookCredentials, bounce,
        read::{Told, Word},
        replied,
        secret::SecretWebhook,
    },
};

/// The webhook of a SparkPost server, with the secret that SparkPost sends along.
///
/// # Errors
/// When the Secret's value cannot be one.
pub fn webhook(server: &Key, credentials: &WebhookCredentials) -> Result<Box<dyn Webhook>, Blocker> {
    Ok(Box::new(SecretWebhook::new(server, credentials, |server, told: &Item| {
        // An empty object in the list is SparkPost's test.
        told.msys.occurrence().and_then(|one| event(server, one))
    })?))
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Item {
    msys: Msys,
}

/// An event has one of these, by its kind.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Msys {
    #[serde(rename = "message_event")]
    message: Option<Occurrence>,
    #[serde(rename = "unsubscribe_event")]
    unsubscription: Option<Occurrence>,
    #[serde(rename = "gen_event")]
    generation: Option<Occurrence>,
}

impl Msys {
    fn occurrence(&self) -> Option<&Occurrence> {
        self.message.as_ref().or(self.unsubscription.as_ref()).or(self.generation.as_ref())
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Occurrence {
    r#type: Word,
    bounce_class: Word,
    error_code: Word,
    event_id: Word,
    rcpt_to: Word,
    raw_rcpt_to: Word,
    raw_reason: Word,
    reason: Word,
    timestamp: Word,
    transmission_id: Word,
    rcpt_meta: Metadata,
    fbtype: Word,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Metadata {
    mailfleet_reference: Word,
    mailfleet_message_id: Word,
}

fn event(server: &Key, told: &Occurrence) -> Option<Event> {
    let recipient = if told.raw_rcpt_to.text().is_empty() { told.rcpt_to.text() } else { told.raw_rcpt_to.text() };
    let said = if told.raw_reason.text().is_empty() { told.reason.text() } else { told.raw_reason.text() };
    let words = replied(told.error_code.text(), "", said);
    let kind = match (told.r#type.text(), told.bounce_class.text()) {
        ("delivery", _) => EventKind::Delivered,
        // 10 is an invalid recipient, 30 none that could be determined, 90 a request to be unsubscribed, 60, 80 and 100 mail that
        // is no bounce; all others (soft, block, admin) say nothing of the address.
        ("bounce" | "out_of_band", "60" | "80" | "100") => return None,
        ("bounce" | "out_of_band", "90") | ("list_unsubscribe" | "link_unsubscribe", _) => EventKind::Unsubscribed,
        ("bounce" | "out_of_band", class) => bounce(matches!(class, "10" | "30"), &words, recipient),
        ("policy_rejection" | "generation_rejection" | "generation_failure", _) => EventKind::SoftBounce,
        ("spam_complaint", _) if told.fbtype.text() == "not-spam" => return None,
        ("spam_complaint", _) => EventKind::Complaint,
        // Opens, clicks, what SparkPost has taken or still tries (`delay`), and what is not known yet.
        _ => return None,
    };
    Told {
        server,
        kind,
        reference: told.rcpt_meta.mailfleet_reference.text(),
        vendor_id: told.transmission_id.text(),
        message_id: told.rcpt_meta.mailfleet_message_id.text(),
        recipient,
        at: told.timestamp.text(),
        id: &[told.event_id.text()],
        detail: &[&words],
    }
    .event()
}
