//! What the scheduler keeps of campaigns and servers, for the tests of what it forgets.

use super::Scheduler;

impl Scheduler {
    /// The sizes of what is kept of campaigns, servers and their messages, by name. Each field has its place here, or a reason why not.
    pub(in crate::dispatch) fn kept(&self) -> Vec<(&'static str, usize)> {
        let Self {
            campaigns,
            campaign_index,
            lanes,
            lane_index,
            gone,
            shared_limiters,
            unplaced,
            in_flight,
            free_tokens,
            unresolved,
            pending,
            pending_bars,
            pending_usage,
            reroutes,
            feeds,
            releasing,
            // Made anew for each routing table, or for each look.
            receivers: _,
            rooms: _,
            with_headroom: _,
            alike: _,
            rendered: _,
            actions: _,
            // One each.
            ledger_seed: _,
            ledger_id: _,
            return_paths: _,
            next_index: _,
            pending_since_ms: _,
            ready_since_ms: _,
            first_lane: _,
            last_asked: _,
            shared_reopens_ms: _,
            commit_time: _,
            commits: _,
            // One for each type of server.
            round_trips: _,
            is_committing: _,
            has_more_to_do: _,
            commit_again_ms: _,
            stopping: _,
            mutant: _,
        } = self;
        vec![
            ("campaigns", campaigns.len()),
            ("campaign_index", campaign_index.len()),
            ("lanes", lanes.len()),
            ("lane_index", lane_index.len()),
            ("gone", gone.len()),
            ("shared_limiters", shared_limiters.len()),
            ("unplaced", unplaced.len()),
            ("in_flight", in_flight.len() - free_tokens.len()),
            ("unresolved", *unresolved),
            ("pending", pending.len()),
            ("pending_bars", pending_bars.len()),
            ("pending_usage", pending_usage.len()),
            ("reroutes", reroutes.len()),
            ("feeds", feeds.len()),
            ("releasing", *releasing),
        ]
    }
}
