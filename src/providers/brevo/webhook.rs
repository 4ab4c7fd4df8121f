//! Brevo's transactional webhooks. It signs nothing: a secret is in the call, as a bearer token or as the password of Basic
//! authentication. Pure.
//!
//! Sources: developers.brevo.com "Transactional webhooks", "Secure your webhooks", "Batched webhooks".

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

/// The webhook of a Brevo server, with the secret that Brevo sends along.
///
/// # Errors
/// When the Secret's value cannot be one.
pub fn webhook(server: &Key, credentials: &WebhookCredentials) -> Result<Box<dyn Webhook>, Blocker> {
    Ok(Box::new(SecretWebhook::new(server, credentials, event)?))
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Occurrence {
    event: Word,
    email: Word,
    #[serde(rename = "message-id")]
    message_id: Word,
    ts_event: Word,
    ts_epoch: Word,
    reason: Word,
    /// What [`super::BrevoApi`] puts into the header of this name, as a text that is JSON.
    #[serde(rename = "X-Mailin-custom")]
    custom: Word,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Custom {
    reference: Word,
}

fn event(server: &Key, told: &Occurrence) -> Option<Event> {
    let reason = told.reason.text();
    let kind = match told.event.text() {
        "delivered" => EventKind::Delivered,
        // Brevo says so of every permanent refusal.
        "hard_bounce" => bounce(true, words(reason), told.email.text()),
        "invalid_email" | "invalid" => EventKind::HardBounce,
        // Not tried, because of an earlier bounce, complaint or unsubscription, or for reasons of Brevo's own.
        "soft_bounce" | "blocked" | "error" => EventKind::SoftBounce,
        "spam" | "complaint" => EventKind::Complaint,
        "unsubscribe" | "unsubscribed" => EventKind::Unsubscribed,
        // Opens, clicks, what Brevo has taken or still tries, and what is not known yet.
        _ => return None,
    };
    let custom: Custom = serde_json::from_str(told.custom.text()).unwrap_or_default();
    let at = if told.ts_event.text().is_empty() { told.ts_epoch.text() } else { told.ts_event.text() };
    Told {
        server,
        kind,
        reference: custom.reference.text(),
        vendor_id: told.message_id.text(),
        message_id: "",
        recipient: told.email.text(),
        at,
        // Brevo's `id` is that of the webhook.
        id: &[told.event.text(), told.message_id.text(), told.email.text(), at],
        detail: &[reason],
    }
    .event()
}

/// The receiving server's words, without Brevo's before them (`RecipientError: 550 5.5.0 ...`).
fn words(reason: &str) -> &str {
    let reason = reason.trim();
    reason.split_once(": ").filter(|(before, _)| before.ends_with("Error")).map_or(reason, |(_, after)| after)
}
