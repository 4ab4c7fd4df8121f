//! What a plugin tells: JSON of our own contract (docs/plugin.md), with a secret as a bearer token. Pure.

use serde::Deserialize;

use crate::{
    feedback::{Event, EventKind},
    meta::{Blocker, Key},
    providers::webhook::{
        Certificates, Received, Refused, Webhook, WebhookCall, WebhookCredentials,
        read::{self, Told, Word},
        secret::Secret,
    },
};

/// The webhook of a plugin's server.
pub struct PluginWebhook {
    server: Key,
    secret: Secret,
}

impl PluginWebhook {
    /// With the secret that the plugin sends.
    ///
    /// # Errors
    /// When the Secret's value cannot be one.
    pub fn new(server: &Key, credentials: &WebhookCredentials) -> Result<Self, Blocker> {
        Ok(Self { server: server.clone(), secret: Secret::new(credentials)? })
    }
}

impl Webhook for PluginWebhook {
    fn receive(&self, call: &WebhookCall<'_>, _: &Certificates) -> Result<Received, Refused> {
        self.secret.check(call)?;
        // A plugin is told of its mistakes: nobody else's events are in its calls.
        let mut is_whole = true;
        let events = read::each(call.body, |told: Occurrence| {
            let event = self.event(&told);
            is_whole &= event.is_some();
            event
        })?;
        if !is_whole {
            return Err(Refused::Unreadable("an event has no known `event`, no `id`, or names neither a message nor a recipient"));
        }
        Ok(Received { events, ..Received::default() })
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Occurrence {
    id: Word,
    event: Word,
    reference: Word,
    message_id: Word,
    recipient: Word,
    at: Word,
    detail: Word,
}

impl PluginWebhook {
    fn event(&self, told: &Occurrence) -> Option<Event> {
        let kind = EventKind::ALL.into_iter().find(|kind| kind.as_str() == told.event.text())?;
        if told.id.text().is_empty() {
            return None;
        }
        Told {
            server: &self.server,
            kind,
            reference: told.reference.text(),
            vendor_id: "",
            message_id: told.message_id.text(),
            recipient: told.recipient.text(),
            at: told.at.text(),
            id: &[told.id.text()],
            detail: &[told.detail.text()],
        }
        .event()
    }
}
