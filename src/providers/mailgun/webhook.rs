//! Mailgun's webhooks, signed with the account's key (HMAC with SHA-256, of a time and a token). Pure.
//!
//! The signature does not cover the body: whoever saw one call could make another out of it. So a token is taken once, and what is
//! older than the memory of tokens reaches is refused. Mailgun repeats a call for eight hours.
//!
//! Sources: documentation.mailgun.com "Webhooks" (repeats, 406), "Securing webhooks", "Event structure".

use aws_lc_rs::hmac;
use serde::Deserialize;

use crate::{
    feedback::{Event, EventKind},
    meta::{Blocker, Key},
    providers::webhook::{
        Certificates, Once, Received, Refused, Webhook, WebhookCall, WebhookCredentials, bounce, check_age,
        read::{self, Told, Word},
        replied, secret,
    },
};

/// How old a call may be, milliseconds: the last repeat comes after seven and a half hours.
const AGE_MAX_MS: i64 = 8 * 60 * 60 * 1000 + 30 * 60 * 1000;
/// Bytes of a call, which is read before its signature is known.
const CALL_MAX: usize = 512 << 10;
/// Milliseconds of a day: Mailgun's ids of events are unique within one.
const DAY_MS: i64 = 24 * 60 * 60 * 1000;

/// The webhook of a Mailgun server.
pub struct MailgunWebhook {
    server: Key,
    key: hmac::Key,
}

impl MailgunWebhook {
    /// With the account's HTTP webhook signing key.
    ///
    /// # Errors
    /// When the Secret's value is none.
    pub fn new(server: &Key, credentials: &WebhookCredentials) -> Result<Self, Blocker> {
        let key = secret::required(credentials)?;
        Ok(Self { server: server.clone(), key: hmac::Key::new(hmac::HMAC_SHA256, key.as_bytes()) })
    }
}

impl Webhook for MailgunWebhook {
    fn body_max(&self) -> usize {
        CALL_MAX
    }

    fn receive(&self, call: &WebhookCall<'_>, _: &Certificates) -> Result<Received, Refused> {
        const FORGED: Refused = Refused::Forged("its signature is not by the signing key of the Secret");
        let signed: Signed = serde_json::from_slice(call.body).map_err(|_| Refused::Forged("it has no signature"))?;
        let Signature { timestamp, token, code } = signed.signature;
        let code = hex(&code).ok_or(FORGED)?;
        hmac::verify(&self.key, [timestamp.text(), &token].concat().as_bytes(), &code).map_err(|_| FORGED)?;
        let signed_at_ms = read::time(timestamp.text()).ok_or(Refused::Unreadable("its timestamp is not a number of seconds"))?;
        check_age(signed_at_ms, call.now_ms, AGE_MAX_MS)?;
        let told: Call = read::one(call.body)?;
        // Time and token together: with other borders between them the signature would hold as well.
        let once = Once::new(&[timestamp.text().as_bytes(), token.as_bytes()], signed_at_ms, false);
        Ok(Received { events: self.event(&told.event).into_iter().collect(), once: Some(once), confirm: None })
    }
}

#[derive(Debug, Deserialize)]
struct Signed {
    signature: Signature,
}

#[derive(Debug, Deserialize)]
struct Signature {
    timestamp: Word,
    token: String,
    #[serde(rename = "signature")]
    code: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Call {
    #[serde(rename = "event-data")]
    event: Occurrence,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
struct Occurrence {
    event: Word,
    id: Word,
    timestamp: Word,
    severity: Word,
    reason: Word,
    recipient: Word,
    delivery_status: Status,
    message: Message,
    user_variables: Variables,
    reject: Reject,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
struct Status {
    code: Word,
    enhanced_code: Word,
    message: Word,
    description: Word,
    bounce_type: Word,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Message {
    headers: Headers,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
struct Headers {
    message_id: Word,
    to: Word,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Variables {
    mailfleet_reference: Word,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Reject {
    reason: Word,
}

impl MailgunWebhook {
    fn event(&self, told: &Occurrence) -> Option<Event> {
        let Status { code, enhanced_code, message, description, bounce_type } = &told.delivery_status;
        let recipient = if told.recipient.text().is_empty() { told.message.headers.to.text() } else { told.recipient.text() };
        let words = if message.text().is_empty() { description.text() } else { message.text() };
        let words = replied(code.text(), enhanced_code.text(), words);
        let kind = match told.event.text() {
            "delivered" => EventKind::Delivered,
            "failed" if told.severity.text() == "permanent" => match (told.reason.text(), code.text()) {
                // On Mailgun's lists, so that it is not tried.
                ("suppress-bounce", _) | (_, "605") => EventKind::HardBounce,
                ("suppress-complaint" | "suppress-unsubscribe", _) | (_, "606" | "607") => EventKind::Unsubscribed,
                ("bounce" | "generic" | "", _) => {
                    // Codes from 600 up, and 498 and 499, are Mailgun's own: nobody could be reached, or Mailgun gave up.
                    let is_of_receiver = matches!(code.text().parse(), Ok(500..=599_u16)) || code.text().is_empty();
                    bounce(is_of_receiver && bounce_type.text() != "soft", &words, recipient)
                }
                _ => EventKind::SoftBounce,
            },
            "rejected" => EventKind::SoftBounce,
            "complained" => EventKind::Complaint,
            "unsubscribed" => EventKind::Unsubscribed,
            // Opens, clicks, what Mailgun has taken or still tries (a temporary failure), and what is not known yet.
            _ => return None,
        };
        let day = read::time(told.timestamp.text()).map_or(0, |at| at / DAY_MS).to_string();
        let id = [told.id.text(), &day];
        Told {
            server: &self.server,
            kind,
            reference: told.user_variables.mailfleet_reference.text(),
            vendor_id: "",
            message_id: told.message.headers.message_id.text(),
            recipient,
            at: told.timestamp.text(),
            id: if told.id.text().is_empty() { &[] } else { &id },
            detail: &[&words, told.reason.text(), told.reject.reason.text()],
        }
        .event()
    }
}

/// The bytes of lower-case hexadecimal digits, the one form in which Mailgun writes them.
fn hex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let pairs = text.as_bytes().chunks(2);
    pairs.map(|pair| if let [high, low] = pair { Some(digit(*high)? << 4 | digit(*low)?) } else { None }).collect()
}
