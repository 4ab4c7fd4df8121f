//! Elastic Email's HTTP notifications. It signs nothing, and can be given nothing but an address: the secret is the last part of its
//! path. Events come in the query of a GET, one at a time; a form or JSON in a POST has the same names. Pure.
//!
//! Sources: help.elasticemail.com "Notification settings" (parameters, categories), "Bounce categories".

use serde::Deserialize;

use crate::{
    feedback::{Event, EventKind},
    meta::{Blocker, Key},
    providers::webhook::{
        Certificates, Received, Refused, Webhook, WebhookCall, WebhookCredentials, bounce,
        read::{self, Told, Word},
        secret::Secret,
    },
};

/// Before our reference in the text that comes back with events (`Postback`), among other words.
pub const MARK: &str = "ref=";

/// The webhook of an Elastic Email server.
pub struct ElasticEmailWebhook {
    server: Key,
    secret: Secret,
}

impl ElasticEmailWebhook {
    /// With the secret of its address.
    ///
    /// # Errors
    /// When the Secret's value cannot be one.
    pub fn new(server: &Key, credentials: &WebhookCredentials) -> Result<Self, Blocker> {
        Ok(Self { server: server.clone(), secret: Secret::new(credentials)? })
    }
}

impl Webhook for ElasticEmailWebhook {
    fn takes_get(&self) -> bool {
        true
    }

    fn receive(&self, call: &WebhookCall<'_>, _: &Certificates) -> Result<Received, Refused> {
        self.secret.check(call)?;
        let events = match call.body.trim_ascii_start().first() {
            None => self.event(&Occurrence::of_form(call.query.as_bytes())).into_iter().collect(),
            Some(b'{' | b'[') => read::each(call.body, |told: Occurrence| self.event(&told))?,
            Some(_) => self.event(&Occurrence::of_form(call.body)).into_iter().collect(),
        };
        Ok(Received { events, ..Received::default() })
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Occurrence {
    to: Word,
    date: Word,
    status: Word,
    category: Word,
    messageid: Word,
    transaction: Word,
    postback: Word,
}

impl Occurrence {
    /// From names and values; of a name that is there twice, the first counts.
    fn of_form(form: &[u8]) -> Self {
        let mut told = Self::default();
        for (name, value) in form_urlencoded::parse(form) {
            let field = match &*name {
                "to" => &mut told.to,
                "date" => &mut told.date,
                "status" => &mut told.status,
                "category" => &mut told.category,
                "messageid" => &mut told.messageid,
                "transaction" => &mut told.transaction,
                "postback" => &mut told.postback,
                _ => continue,
            };
            if field.text().is_empty() {
                *field = Word::of(&value);
            }
        }
        told
    }
}

impl ElasticEmailWebhook {
    fn event(&self, told: &Occurrence) -> Option<Event> {
        let (status, category) = (told.status.text(), told.category.text());
        let kind = match status.to_ascii_lowercase().as_str() {
            "sent" => EventKind::Delivered,
            // The other categories are about us, the content, or what may pass.
            "error" | "bounced" | "bounce" => match category {
                "NoMailbox" => bounce(true, "", told.to.text()),
                "Ignore" => return None,
                _ => EventKind::SoftBounce,
            },
            "abusereport" | "complaint" | "complaints" => EventKind::Complaint,
            "unsubscribed" | "unsubscribe" => EventKind::Unsubscribed,
            // Opens, clicks, and what is not known yet.
            _ => return None,
        };
        let reference = told.postback.text().split(' ').rev().find_map(|word| word.strip_prefix(MARK)).unwrap_or_default();
        let id = if told.messageid.text().is_empty() { told.transaction.text() } else { told.messageid.text() };
        Told {
            server: &self.server,
            kind,
            reference,
            vendor_id: id,
            message_id: "",
            recipient: told.to.text(),
            at: told.date.text(),
            id: &[id, told.to.text(), status, category, told.date.text()],
            detail: &[category],
        }
        .event()
    }
}
