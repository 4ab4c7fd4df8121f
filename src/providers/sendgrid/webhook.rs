//! SendGrid's Event Webhook, signed (ECDSA over P-256 and SHA-256, of the time and the body). Pure.
//!
//! SendGrid repeats a call for up to 24 hours, and does not say whether it signs it anew; since the body is signed, and events have
//! ids, an older call is harmless.
//!
//! Sources: docs.sendgrid.com "Event Webhook Reference", "Event Webhook Security Features"; sendgrid-nodejs, `eventwebhook`.

use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1, UnparsedPublicKey};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::Deserialize;

use crate::{
    feedback::{Event, EventKind},
    meta::{Blocker, Key, Reason},
    providers::webhook::{
        Certificates, Once, Received, Refused, Webhook, WebhookCall, WebhookCredentials, bounce, check_age,
        read::{self, Told, Word},
        replied,
    },
};

/// How old a call may be, milliseconds: repeated for 24 hours, and an hour for the last try.
const AGE_MAX_MS: i64 = 25 * 60 * 60 * 1000;
const SIGNATURE: &str = "x-twilio-email-event-webhook-signature";
const TIMESTAMP: &str = "x-twilio-email-event-webhook-timestamp";

/// The webhook of a SendGrid server.
pub struct SendGridWebhook {
    server: Key,
    public_key: Vec<u8>,
}

impl SendGridWebhook {
    /// With the account's public key.
    ///
    /// # Errors
    /// When the spec has none, or it is none.
    pub fn new(server: &Key, credentials: &WebhookCredentials) -> Result<Self, Blocker> {
        let unfit = |what: &str| {
            let to_do = "Copy the Verification Key of the signed Event Webhook from SendGrid (Settings, Mail Settings).";
            Blocker::lasting(Reason::InvalidSpec, format!("feedback.webhook.publicKey {what}. {to_do}"))
        };
        let text = credentials.public_key.as_deref().ok_or_else(|| unfit("is missing"))?;
        let public_key = STANDARD.decode(text).map_err(|_| unfit("is not base64"))?;
        aws_lc_rs::signature::ParsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, &public_key)
            .map_err(|_| unfit("is not a public key on the curve P-256"))?;
        Ok(Self { server: server.clone(), public_key })
    }
}

impl Webhook for SendGridWebhook {
    fn receive(&self, call: &WebhookCall<'_>, _: &Certificates) -> Result<Received, Refused> {
        const FORGED: Refused = Refused::Forged("its signature is not by feedback.webhook.publicKey");
        let (Some(signature), Some(timestamp)) = (call.header(SIGNATURE), call.header(TIMESTAMP)) else {
            return Err(Refused::Forged("it is not signed; switch the Signed Event Webhook on at SendGrid"));
        };
        let signature = STANDARD.decode(signature).map_err(|_| FORGED)?;
        let signed = [timestamp.as_bytes(), call.body].concat();
        UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, &self.public_key).verify(&signed, &signature).map_err(|_| FORGED)?;
        let signed_at_ms = read::time(timestamp).ok_or(Refused::Unreadable("its timestamp is not a number of seconds"))?;
        check_age(signed_at_ms, call.now_ms, AGE_MAX_MS)?;
        let events = read::each(call.body, |told: Occurrence| self.event(&told))?;
        // A signature has two forms (ECDSA), and what is signed has one.
        Ok(Received { events, once: Some(Once::new(&[&signed], signed_at_ms, true)), confirm: None })
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Occurrence {
    event: Word,
    email: Word,
    timestamp: Word,
    sg_event_id: Word,
    #[serde(rename = "smtp-id")]
    smtp_id: Word,
    r#type: Word,
    reason: Word,
    response: Word,
    status: Word,
    bounce_classification: Word,
    mailfleet_reference: Word,
    mailfleet_message_id: Word,
}

impl SendGridWebhook {
    fn event(&self, told: &Occurrence) -> Option<Event> {
        let words = replied("", told.status.text(), told.reason.text());
        let reason = told.reason.text().to_ascii_lowercase();
        let kind = match told.event.text() {
            "delivered" => EventKind::Delivered,
            "bounce" => {
                // `blocked` is a bounce for which SendGrid does not stop mailing the address.
                let is_of_address = matches!(told.bounce_classification.text(), "" | "Invalid Address" | "Unclassified");
                let is_permanent = told.r#type.text() != "blocked" && is_of_address;
                bounce(is_permanent, &words, told.email.text())
            }
            // Not tried at all.
            "dropped" => match reason.as_str() {
                "bounced address" | "invalid" => EventKind::HardBounce,
                "unsubscribed address" | "spam reporting address" => EventKind::Unsubscribed,
                _ => EventKind::SoftBounce,
            },
            "spamreport" => EventKind::Complaint,
            "unsubscribe" | "group_unsubscribe" => EventKind::Unsubscribed,
            // Opens, clicks, what SendGrid has taken or still tries, and what is not known yet.
            _ => return None,
        };
        let message_id = told.mailfleet_message_id.text();
        Told {
            server: &self.server,
            kind,
            reference: told.mailfleet_reference.text(),
            // The id of SendGrid's reply is one for a whole call.
            vendor_id: "",
            message_id: if message_id.is_empty() { told.smtp_id.text() } else { message_id },
            recipient: told.email.text(),
            at: told.timestamp.text(),
            id: &[told.sg_event_id.text()],
            detail: &[told.response.text(), &words, told.bounce_classification.text()],
        }
        .event()
    }
}
