//! Recipients of another run as an audience, by their outcome and by what came back.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{fate::Fate, pattern};
use crate::feedback::EventKind;

/// The run of a campaign that names none.
pub const FIRST_RUN: &str = "first";

/// Recipients of another run of the same namespace, by their outcome, or by what came back after it. The run must be completed, or no longer be the run that its campaign names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct OutcomesAudience {
    /// The campaign's name; it may be deleted meanwhile.
    #[schemars(length(min = 1, max = 253), regex(pattern = pattern::NAME))]
    pub campaign: String,
    /// Its run; `first` when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63), regex(pattern = pattern::RUN))]
    pub run: Option<String>,
    /// The outcomes.
    #[schemars(length(min = 1, max = 10), extend("x-kubernetes-list-type" = "set"))]
    pub states: Vec<OutcomeState>,
}

impl OutcomesAudience {
    /// Its run.
    #[must_use]
    pub fn run(&self) -> &str {
        self.run.as_deref().unwrap_or(FIRST_RUN)
    }
}

/// An outcome of a recipient, for another campaign.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum OutcomeState {
    /// Accepted by a server. Only in `exclude`: these people have the message.
    Accepted,
    /// Permanently refused by a server.
    Rejected,
    /// Not accepted before the attempts or the time ran out.
    Expired,
    /// May or may not have been mailed: each may get the message twice.
    Unknown,
    /// The template failed.
    RenderFailed,
    /// Held, in a run that is no longer its campaign's.
    Held,
    /// Removed from the audience before it was mailed.
    Withdrawn,
    /// On the suppression list; only those who have since been removed from it are mailed.
    Suppressed,
    /// Accepted by a server, then bounced because the address does not accept mail. They are on the suppression list: in an audience, only those who have since been removed from it are mailed.
    Bounced,
    /// Reported the message as spam. They are on the suppression list: in an audience, only those who have since been removed from it are mailed.
    Complained,
}

impl OutcomeState {
    /// The outcome in the ledger, where it is one.
    #[must_use]
    pub const fn fate(self) -> Option<Fate> {
        Some(match self {
            Self::Accepted => Fate::Accepted,
            Self::Rejected => Fate::Rejected,
            Self::Expired => Fate::Expired,
            Self::Unknown => Fate::Unknown,
            Self::RenderFailed => Fate::RenderFailed,
            Self::Held => Fate::Held,
            Self::Withdrawn => Fate::Withdrawn,
            Self::Suppressed => Fate::Suppressed,
            Self::Bounced | Self::Complained => return None,
        })
    }

    /// What came back, where it is that.
    #[must_use]
    pub const fn event(self) -> Option<EventKind> {
        match self {
            Self::Bounced => Some(EventKind::HardBounce),
            Self::Complained => Some(EventKind::Complaint),
            _ => None,
        }
    }
}
