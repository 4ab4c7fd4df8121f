//! Metrics of the process, of deciding and of the ledger: one series each, or as many as there are states.

use std::{
    collections::BTreeMap,
    fmt,
    time::{Duration, SystemTime},
};

use super::{
    Moment,
    catalog::{self, Metric},
    writing::Writer,
};
use crate::{
    resources::{
        Condition, ConditionStatus, ConditionType,
        campaign::{CampaignState, CampaignStatus},
        condition,
        sending_server::ServerState,
    },
    serve::ProcessPhase,
};

const SERVER_STATES: [ServerState; 2] = [ServerState::Active, ServerState::Inactive];
/// A time as Prometheus has it: seconds since 1970.
pub(super) fn unix_seconds(at: SystemTime) -> f64 {
    at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

/// Whether messages of it go out, or would if something did not make them wait.
pub(super) fn is_under_way(state: CampaignState) -> bool {
    matches!(state, CampaignState::Sending | CampaignState::Waiting)
}

/// Recipients who are still to be mailed, as far as their number is known.
pub(super) fn backlog(status: &CampaignStatus) -> Option<u64> {
    let (total, _) = status.total()?;
    Some(if status.state == CampaignState::Completed { 0 } else { total.saturating_sub(status.done()) })
}

impl Moment {
    /// What every program has.
    pub(super) fn common(&self, writer: &mut Writer) -> fmt::Result {
        let Some(usage) = &self.usage else { return Ok(()) };
        writer.begin(&catalog::CPU)?.counter(&[], usage.cpu.as_secs_f64())?;
        for (metric, value) in [
            (&catalog::RESIDENT, usage.resident_bytes),
            (&catalog::VIRTUAL, usage.virtual_bytes),
            (&catalog::OPEN_FDS, usage.open_fds),
            (&catalog::MAX_FDS, usage.max_fds),
        ] {
            gauge_if_known(writer, metric, value)?;
        }
        writer.gauge(&catalog::STARTED, unix_seconds(self.started_at))
    }

    pub(super) fn process(&self, writer: &mut Writer) -> fmt::Result {
        writer.begin(&catalog::BUILD)?.info(&[env!("CARGO_PKG_VERSION")])?;
        writer.gauge(&catalog::LEADER, u32::from(self.phase == ProcessPhase::Leading))
    }

    pub(super) fn deciding(&self, writer: &mut Writer) -> fmt::Result {
        let (measured, config) = (&self.view.measured, &self.view.config);
        let turned_at = self.view.turned_at.and_then(|at| self.now.checked_sub(at.elapsed()));
        time_if_known(writer, &catalog::LAST_TURN, turned_at)?;
        writer.begin(&catalog::TURNS)?.histogram(&[], &measured.turns)?;
        writer.gauge(&catalog::LONGEST_TURN, measured.longest_turn.as_secs_f64())?;
        time_if_known(writer, &catalog::CONFIG_READ, config.read_at)?;
        time_if_known(writer, &catalog::CONFIG_GOOD_AT, config.good_at)?;
        writer.gauge(&catalog::CONFIG_GOOD, u32::from(config.is_good()))?;
        let mut broken = writer.begin(&catalog::CONFIG_BROKEN)?;
        config.broken.iter().try_for_each(|(kind, count)| broken.gauge(&[kind], *count as u64))?;
        writer.gauge(&catalog::CONFIG_FAULTS, config.faults as u64)?;
        self.totals(writer)
    }

    fn totals(&self, writer: &mut Writer) -> fmt::Result {
        let decision = &self.view.decision;
        let mut servers = writer.begin(&catalog::SERVERS)?;
        for state in SERVER_STATES {
            let count = decision.servers.values().filter(|server| server.status.state == state).count() as u64;
            servers.gauge(&[&format!("{state:?}")], count)?;
        }
        let is_ready = |conditions: &[Condition]| {
            condition::find(conditions, ConditionType::Ready).is_some_and(|ready| ready.status == ConditionStatus::True)
        };
        let ready = decision.plans.values().filter(|plan| is_ready(&plan.conditions)).count();
        let mut plans = writer.begin(&catalog::PLANS)?;
        for (word, count) in [("true", ready), ("false", decision.plans.len() - ready)] {
            plans.gauge(&[word], count as u64)?;
        }
        let mut states: BTreeMap<CampaignState, u64> = CampaignState::ALL.iter().map(|state| (*state, 0)).collect();
        let mut waiting = 0;
        for campaign in decision.campaigns.values() {
            *states.entry(campaign.status.state).or_default() += 1;
            if is_under_way(campaign.status.state) {
                waiting += backlog(&campaign.status).unwrap_or(0);
            }
        }
        let mut campaigns = writer.begin(&catalog::CAMPAIGNS)?;
        states.iter().try_for_each(|(state, count)| campaigns.gauge(&[&format!("{state:?}")], *count))?;
        writer.gauge(&catalog::BACKLOG, waiting)?;
        let mut left_out = writer.begin(&catalog::LEFT_OUT)?;
        self.left_out().into_iter().try_for_each(|(kind, count)| left_out.gauge(&[kind], count as u64))
    }

    pub(super) fn ledger(&self, writer: &mut Writer) -> fmt::Result {
        let report = &self.view.report;
        writer.gauge(&catalog::WRITABLE, u32::from(report.ledger_problem.is_none()))?;
        writer.begin(&catalog::COMMITS)?.histogram(&[], &report.commits)?;
        writer.gauge(&catalog::UNRESOLVED, report.unresolved as u64)?;
        gauge_if_known(writer, &catalog::LEDGER_SIZE, self.disk.map(|disk| disk.ledger))?;
        gauge_if_known(writer, &catalog::LEDGER_FREE, self.disk.map(|disk| disk.free))?;
        gauge_if_known(writer, &catalog::LEDGER_DISK, self.disk.map(|disk| disk.size))
    }
}

/// Describes the metric in any case.
fn gauge_if_known(writer: &mut Writer, metric: &'static Metric, value: Option<u64>) -> fmt::Result {
    let mut family = writer.begin(metric)?;
    value.map_or(Ok(()), |value| family.gauge(&[], value))
}

fn time_if_known(writer: &mut Writer, metric: &'static Metric, at: Option<SystemTime>) -> fmt::Result {
    let mut family = writer.begin(metric)?;
    at.map_or(Ok(()), |at| family.gauge(&[], unix_seconds(at)))
}

/// What the process takes of its machine.
pub(super) struct Usage {
    cpu: Duration,
    resident_bytes: Option<u64>,
    virtual_bytes: Option<u64>,
    open_fds: Option<u64>,
    max_fds: Option<u64>,
}

impl Usage {
    /// What it takes now. Beside the processor time that is known on Linux alone.
    pub(super) fn now() -> Self {
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let open_fds = std::fs::read_dir("/proc/self/fd").ok().map(|entries| entries.count() as u64);
        Self {
            cpu: crate::clock::processor_time(),
            resident_bytes: bytes_of(&status, "VmRSS:"),
            virtual_bytes: bytes_of(&status, "VmSize:"),
            // One of them is the folder that was read.
            open_fds: open_fds.map(|count| count.saturating_sub(1)),
            max_fds: rustix::process::getrlimit(rustix::process::Resource::Nofile).current,
        }
    }
}

/// The value of a line such as `VmRSS:      5120 kB`, bytes.
fn bytes_of(status: &str, name: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_read_as_the_kernel_writes_it() {
        let status = "Name:\tmailfleet\nVmSize:\t  123456 kB\nVmRSS:\t    5120 kB\n";
        assert_eq!((bytes_of(status, "VmRSS:"), bytes_of(status, "VmSize:")), (Some(5_242_880), Some(126_418_944)));
        assert_eq!((bytes_of(status, "VmSwap:"), bytes_of("VmRSS: x kB", "VmRSS:")), (None, None));
    }
}
