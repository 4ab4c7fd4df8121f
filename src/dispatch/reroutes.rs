//! Messages that moved to another server because their connection broke. Pure.
//!
//! A move does not count as an attempt. But a message that breaks every connection it is sent over would take one server after
//! another out of use, forever: so after a few moves each further one counts.

use super::index::CampaignIx;
use std::collections::HashMap;

use crate::resources::Reason;

/// Reroutes of a message that do not count.
const FREE_MOVES: u32 = 3;
/// The most messages that are remembered; a large outage may exceed this, which costs a few more moves.
const REMEMBERED_MAX: usize = 10_000;

/// The moves of messages, by campaign and row.
#[derive(Debug, Default)]
pub struct Reroutes(HashMap<(CampaignIx, u64), u32>);

impl Reroutes {
    /// Notes that the server failed during a message; returns whether the attempt counts from now on.
    pub fn note(&mut self, campaign: CampaignIx, seq: u64, reason: Reason) -> bool {
        // A server that cannot be reached, or refuses us, says nothing about the message.
        if !matches!(reason, Reason::ConnectionLost | Reason::ProtocolError) {
            return false;
        }
        if self.0.len() >= REMEMBERED_MAX {
            self.0.clear();
        }
        let moves = self.0.entry((campaign, seq)).or_default();
        *moves += 1;
        *moves > FREE_MOVES
    }

    /// The messages that are remembered.
    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Forgets a campaign that is over.
    pub fn forget(&mut self, campaign: CampaignIx) {
        self.0.retain(|(of, _), _| *of != campaign);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_message_that_breaks_lines_again_and_again_uses_up_its_tries() {
        let mut moves = Reroutes::default();
        let noted: Vec<bool> = (0..5).map(|_| moves.note(CampaignIx::new(0), 1, Reason::ConnectionLost)).collect();
        assert_eq!(noted, [false, false, false, true, true]);
        assert!((0..9).all(|_| !moves.note(CampaignIx::new(0), 2, Reason::ConnectionRefused)));
        assert!(!moves.note(CampaignIx::new(0), 3, Reason::ConnectionLost));
    }
}
