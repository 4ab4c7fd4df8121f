//! Which server a message of a run goes to. Pure.

use std::collections::BTreeMap;

use super::CampaignRun;
use crate::{
    dispatch::{
        index::LaneIx,
        lane::LaneRef,
        route::{self, EligibleSet},
        stages::ReadyMessage,
    },
    resources::campaign::Weighting,
};

/// The cache is cleared when its sets hold more servers than this in all: the more servers, the fewer sets.
const IN_SETS_MAX: usize = 65_536;

/// A cache, shared by all campaigns, of the sets of servers whose limits have room. The key is the set of all servers that may be
/// picked, and those of them without room.
#[derive(Debug, Default)]
pub struct WithHeadroom {
    sets: BTreeMap<(u64, Vec<LaneIx>), EligibleSet<LaneRef>>,
    servers: usize,
}

impl WithHeadroom {
    /// The servers of `open` except those in `full`.
    fn of(&mut self, open: &EligibleSet<LaneRef>, full: Vec<LaneIx>) -> &EligibleSet<LaneRef> {
        if self.servers > IN_SETS_MAX {
            self.clear();
        }
        self.sets.entry((open.set_hash(), full)).or_insert_with_key(|(_, full)| {
            self.servers += open.servers().len();
            without(open, full)
        })
    }

    /// Forgets all sets: servers have come or gone.
    pub fn clear(&mut self) {
        (self.sets, self.servers) = (BTreeMap::new(), 0);
    }
}

fn without(open: &EligibleSet<LaneRef>, full: &[LaneIx]) -> EligibleSet<LaneRef> {
    EligibleSet::new(open.servers().iter().filter(|(lane, _)| !full.contains(&lane.id)).cloned())
}

/// Where a message goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pick {
    /// To this server, in whose queue it then waits.
    Server(LaneIx),
    /// To no server for now.
    Waits,
    /// To no server: all that may be picked have refused it.
    Nobody,
}

impl CampaignRun {
    /// Picks the server of a message: one that may be picked and has not refused it, and, unless shares are strict, has room in its
    /// limits according to `has_headroom`.
    pub fn pick(&self, message: &ReadyMessage, with_headroom: &mut WithHeadroom, has_headroom: impl Fn(LaneIx) -> bool) -> Pick {
        let picked = |set: &EligibleSet<LaneRef>, seed| route::pick(seed, &message.recipient, message.attempt, set).map(|lane| lane.id);
        let refused: EligibleSet<LaneRef>;
        let open = if message.refusals.is_empty() {
            &self.eligible
        } else {
            let others = self.eligible.servers().iter().filter(|(lane, _)| !message.refusals.names(&lane.name));
            refused = EligibleSet::new(others.cloned());
            &refused
        };
        if open.is_empty() {
            return if self.eligible.is_empty() { Pick::Waits } else { Pick::Nobody };
        }
        let is_strict = self.intent.weighting == Weighting::Strict;
        let full: Vec<LaneIx> = open.servers().iter().map(|(lane, _)| lane.id).filter(|lane| !is_strict && !has_headroom(*lane)).collect();
        if full.is_empty() {
            return picked(open, self.seed).map_or(Pick::Waits, Pick::Server);
        }
        let found = if message.refusals.is_empty() {
            picked(with_headroom.of(open, full), self.seed)
        } else {
            picked(&without(open, &full), self.seed)
        };
        found.map_or(Pick::Waits, Pick::Server)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn campaigns_with_the_same_servers_share_their_sets() {
        let lane = |id: u64| (LaneRef { name: format!("ops/s{id:03}").into(), id: LaneIx::new(id) }, 1);
        let (open, alike) = (EligibleSet::new((0..200).map(lane)), EligibleSet::new((0..200).map(lane)));
        let mut sets = WithHeadroom::default();
        let first = sets.of(&open, vec![LaneIx::new(7)]).servers().as_ptr();
        assert!(
            sets.of(&alike, vec![LaneIx::new(7)]).servers().as_ptr() == first
                && sets.of(&alike, vec![LaneIx::new(7)]).servers().len() == 199
        );
        assert!(sets.of(&open, vec![LaneIx::new(8)]).servers().iter().all(|(lane, _)| lane.id != LaneIx::new(8)));
        for full in 0..200 * 199 {
            sets.of(&open, vec![LaneIx::new(full / 200), LaneIx::new(full % 200)]);
            let kept: usize = sets.sets.values().map(|set| set.servers().len()).sum();
            assert!(kept <= IN_SETS_MAX + 200, "{kept} after {full}");
            if sets.sets.len() == 1 {
                return;
            }
        }
        panic!("nothing was ever forgotten");
    }
}
