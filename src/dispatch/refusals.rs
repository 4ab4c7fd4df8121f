//! The refusals of a message by servers, kept with it while another attempt is due. Pure.

use serde::{Deserialize, Serialize};

use crate::providers::Scope;

/// The most servers that are remembered for one message.
const SERVERS_MAX: usize = 64;
/// The most characters of a reply that are remembered here.
const REPLY_CHARS: usize = 120;

/// What a server's refusal is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Ground {
    /// The message: the server cannot take it (its size, SMTPUTF8).
    Message,
    /// The sender or the setup: it says nothing about the recipient.
    Campaign,
    /// Permanent, but unclear: perhaps the recipient, perhaps the campaign.
    Unclear,
}

impl Ground {
    /// The ground of a permanent refusal that is not about the recipient.
    #[must_use]
    pub fn of(scope: Scope) -> Self {
        match scope {
            Scope::Message => Self::Message,
            Scope::Sender => Self::Campaign,
            Scope::Recipient | Scope::Content | Scope::Unclear => Self::Unclear,
        }
    }
}

/// One server's refusal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefusedBy {
    /// `namespace/name` of the server.
    pub server: String,
    /// Its host: two servers with the same host count as one opinion.
    pub host: String,
    /// What the refusal is about.
    pub ground: Ground,
    /// The server's reply.
    pub reply: String,
}

/// All refusals of a message, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Refusals(Vec<RefusedBy>);

impl Refusals {
    /// Reads what [`Refusals::to_json`] wrote; empty if it cannot be read, since another attempt does no harm.
    #[must_use]
    pub fn from_json(text: Option<&str>) -> Self {
        text.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default()
    }

    /// The JSON for the ledger; `None` if there are no refusals.
    #[must_use]
    pub fn to_json(&self) -> Option<String> {
        // A list of strings can always be serialized.
        (!self.0.is_empty()).then(|| serde_json::to_string(self).ok()).flatten()
    }

    /// Whether there are no refusals.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds a server's refusal, in place of an older one by the same server.
    pub fn add(&mut self, refused: RefusedBy) {
        self.0.retain(|known| known.server != refused.server);
        if self.0.len() < SERVERS_MAX {
            let reply = refused.reply.chars().take(REPLY_CHARS).collect();
            self.0.push(RefusedBy { reply, ..refused });
        }
    }

    /// Whether this server has refused the message.
    #[must_use]
    pub fn names(&self, server: &str) -> bool {
        self.0.iter().any(|refused| refused.server == server)
    }

    /// The newest refusal.
    #[must_use]
    pub fn last(&self) -> Option<&RefusedBy> {
        self.0.last()
    }

    /// Whether two unrelated servers have permanently refused it, perhaps because of the recipient.
    #[must_use]
    pub fn are_two_opinions(&self) -> bool {
        let mut hosts = self.0.iter().filter(|refused| refused.ground == Ground::Unclear).map(|refused| &refused.host);
        hosts.next().is_some_and(|first| hosts.any(|other| other != first))
    }

    /// Whether every refusal is about the message itself.
    #[must_use]
    pub fn are_all_of_the_message(&self) -> bool {
        self.0.iter().all(|refused| refused.ground == Ground::Message)
    }

    /// All refusals in one reply, for the ledger.
    #[must_use]
    pub fn told(&self) -> String {
        match self.0.as_slice() {
            [one] => one.reply.clone(),
            several => several.iter().map(|refused| format!("{}: {}", refused.server, refused.reply)).collect::<Vec<_>>().join("; "),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(server: &str, host: &str, ground: Ground) -> RefusedBy {
        RefusedBy { server: server.to_owned(), host: host.to_owned(), ground, reply: "550 no".to_owned() }
    }

    #[test]
    fn two_servers_of_one_host_are_one_opinion() {
        let mut refusals = Refusals::default();
        refusals.add(refused("a/one", "relay.example", Ground::Unclear));
        refusals.add(refused("a/two", "relay.example", Ground::Unclear));
        refusals.add(refused("a/three", "other.example", Ground::Campaign));
        assert!(!refusals.are_two_opinions());
        refusals.add(refused("a/three", "other.example", Ground::Unclear));
        assert!(refusals.are_two_opinions());
        assert_eq!(Refusals::from_json(refusals.to_json().as_deref()), refusals);
    }

    #[test]
    fn what_cannot_be_read_is_nothing() {
        assert!(Refusals::from_json(Some("{")).is_empty());
        assert!(Refusals::from_json(None).is_empty());
        assert_eq!(Refusals::default().to_json(), None);
    }
}
