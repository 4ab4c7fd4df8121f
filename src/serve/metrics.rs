//! The metrics, in the text form of OpenMetrics, made from what the engine shows when somebody asks.
//!
//! The number of series has a bound: beyond it, objects are counted in `mailfleet_objects_left_out` and not shown one by one.

use std::fmt;

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet, text},
    metrics::MetricType,
    registry::{Registry, Unit},
};

use super::{Health, ProcessPhase};
use crate::{
    engine::View,
    resources::{
        ConditionStatus, ConditionType, Key,
        campaign::{CampaignState, RecipientCounts},
        condition,
        fate::Fate,
        sending_server::ServerState,
    },
};

/// Servers that have series of their own.
const SERVERS_MAX: usize = 2000;
/// Campaigns that have series of their own: those that have not ended come first.
const CAMPAIGNS_MAX: usize = 500;

const SERVER_STATES: [ServerState; 2] = [ServerState::Active, ServerState::Inactive];
const CAMPAIGN_STATES: [CampaignState; 6] = [
    CampaignState::Scheduled,
    CampaignState::Sending,
    CampaignState::Waiting,
    CampaignState::Suspended,
    CampaignState::Stopped,
    CampaignState::Completed,
];

/// The whole text.
pub(super) fn text(health: &Health) -> Result<String, fmt::Error> {
    let mut registry = Registry::with_prefix("mailfleet");
    registry.register_collector(Box::new(EngineMetrics { phase: health.phase(), view: health.view() }));
    let mut text = String::new();
    text::encode(&mut text, &registry)?;
    Ok(text)
}

/// One moment.
struct EngineMetrics {
    phase: ProcessPhase,
    view: View,
}

impl fmt::Debug for EngineMetrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EngineMetrics").field("phase", &self.phase).finish_non_exhaustive()
    }
}

impl Collector for EngineMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        self.process(&mut encoder)?;
        self.totals(&mut encoder)?;
        self.servers(&mut encoder)?;
        self.campaigns(&mut encoder)
    }
}

fn gauge<'a>(
    encoder: &'a mut DescriptorEncoder,
    name: &'a str,
    help: &str,
    unit: Option<&'a Unit>,
) -> Result<MetricEncoder<'a>, fmt::Error> {
    encoder.encode_descriptor(name, help, unit, MetricType::Gauge)
}

impl EngineMetrics {
    fn process(&self, encoder: &mut DescriptorEncoder) -> fmt::Result {
        encoder
            .encode_descriptor("build", "The version of this process", None, MetricType::Info)?
            .encode_info(&[("version", env!("CARGO_PKG_VERSION"))])?;
        gauge(encoder, "leader", "1 while this process decides and sends", None)?
            .encode_gauge(&u32::from(self.phase == ProcessPhase::Leading))?;
        if let Some(at) = self.view.turned_at {
            gauge(encoder, "turn_age", "Time since the engine's last decision", Some(&Unit::Seconds))?
                .encode_gauge(&at.elapsed().as_secs_f64())?;
            gauge(encoder, "turn", "Duration of the engine's last turn, including reading what objects refer to", Some(&Unit::Seconds))?
                .encode_gauge(&self.view.turn.as_secs_f64())?;
            gauge(encoder, "turn_longest", "Duration of the engine's longest turn since this process began", Some(&Unit::Seconds))?
                .encode_gauge(&self.view.longest_turn.as_secs_f64())?;
        }
        let report = &self.view.report;
        let unresolved = report.unresolved as u64;
        gauge(encoder, "claims_unresolved", "Claims without an outcome: messages on the wire", None)?.encode_gauge(&unresolved)?;
        let commit = std::time::Duration::from_micros(report.commit_micros);
        gauge(encoder, "ledger_commit", "Duration of a ledger commit", Some(&Unit::Seconds))?.encode_gauge(&commit.as_secs_f64())?;
        let is_writable = u32::from(report.ledger_problem.is_none());
        gauge(encoder, "ledger_writable", "0 while the ledger cannot be written; nothing is sent then", None)?.encode_gauge(&is_writable)
    }

    fn totals(&self, encoder: &mut DescriptorEncoder) -> fmt::Result {
        let decision = &self.view.decision;
        let mut servers = gauge(encoder, "servers", "Servers by state", None)?;
        for state in SERVER_STATES {
            let count = decision.servers.values().filter(|server| server.status.state == state).count() as u64;
            servers.encode_family(&[("state", format!("{state:?}"))])?.encode_gauge(&count)?;
        }
        let is_ready =
            |conditions| condition::find(conditions, ConditionType::Ready).is_some_and(|ready| ready.status == ConditionStatus::True);
        let ready = decision.plans.values().filter(|plan| is_ready(&plan.conditions)).count();
        let mut plans = gauge(encoder, "plans", "Plans by whether a granted server is Active", None)?;
        for (word, count) in [("true", ready), ("false", decision.plans.len() - ready)] {
            plans.encode_family(&[("ready", word)])?.encode_gauge(&(count as u64))?;
        }
        let mut campaigns = gauge(encoder, "campaigns", "Campaigns by state", None)?;
        for state in CAMPAIGN_STATES {
            let count = decision.campaigns.values().filter(|campaign| campaign.status.state == state).count() as u64;
            campaigns.encode_family(&[("state", format!("{state:?}"))])?.encode_gauge(&count)?;
        }
        let mut left_out = gauge(encoder, "objects_left_out", "Objects without their own series, because there are too many", None)?;
        for (kind, count, max) in [("servers", decision.servers.len(), SERVERS_MAX), ("campaigns", decision.campaigns.len(), CAMPAIGNS_MAX)]
        {
            left_out.encode_family(&[("kind", kind)])?.encode_gauge(&(count.saturating_sub(max) as u64))?;
        }
        Ok(())
    }

    fn servers(&self, encoder: &mut DescriptorEncoder) -> fmt::Result {
        let decision = &self.view.decision;
        let shown: Vec<(String, &Key)> = decision.servers.keys().take(SERVERS_MAX).map(|key| (key.to_string(), key)).collect();
        let report = |key: &Key| self.view.report.servers.get(key);
        let mut active = gauge(encoder, "server_active", "1 while the server is Active", None)?;
        for (name, key) in &shown {
            let is_active = decision.servers.get(key).is_some_and(|server| server.active);
            active.encode_family(&[("server", name)])?.encode_gauge(&u32::from(is_active))?;
        }
        let mut in_flight = gauge(encoder, "server_in_flight", "Messages on the wire", None)?;
        for (name, key) in &shown {
            let count = report(key).map_or(0, |report| report.in_flight) as u64;
            in_flight.encode_family(&[("server", name)])?.encode_gauge(&count)?;
        }
        let mut left = gauge(encoder, "server_limit_left", "Messages left in the server's longer windows, when it has any", None)?;
        for (name, key) in &shown {
            if let Some(count) = report(key).and_then(|report| report.limit_left) {
                left.encode_family(&[("server", name)])?.encode_gauge(&count)?;
            }
        }
        let mut accepted = encoder.encode_descriptor(
            "server_accepted",
            "Messages that the server accepted since this process began",
            None,
            MetricType::Counter,
        )?;
        for (name, key) in &shown {
            let count = report(key).map_or(0, |report| report.accepted);
            accepted.encode_family(&[("server", name)])?.encode_counter::<NoLabelSet, _, u64>(&count, None)?;
        }
        let mut failures = encoder.encode_descriptor(
            "server_failures",
            "Send failures of the server since this process began",
            None,
            MetricType::Counter,
        )?;
        for (name, key) in &shown {
            let count = report(key).map_or(0, |report| report.failures);
            failures.encode_family(&[("server", name)])?.encode_counter::<NoLabelSet, _, u64>(&count, None)?;
        }
        Ok(())
    }

    fn campaigns(&self, encoder: &mut DescriptorEncoder) -> fmt::Result {
        let mut campaigns: Vec<_> = self.view.decision.campaigns.iter().collect();
        // Stable, so that equals stay in the order of their names.
        campaigns.sort_by_key(|(_, campaign)| matches!(campaign.status.state, CampaignState::Completed | CampaignState::Stopped));
        let mut recipients = gauge(encoder, "campaign_recipients", "Recipients of the campaign's run by outcome", None)?;
        for (key, campaign) in campaigns.iter().take(CAMPAIGNS_MAX) {
            let (name, counts) = (key.to_string(), &campaign.status.recipients);
            for (outcome, count) in outcomes(counts) {
                recipients.encode_family(&[("campaign", name.as_str()), ("outcome", outcome)])?.encode_gauge(&count)?;
            }
        }
        let mut expected = gauge(
            encoder,
            "campaign_recipients_expected",
            "Recipients of the campaign's run in all: counted ahead, or estimated, until its audience has been read completely",
            None,
        )?;
        for (key, campaign) in campaigns.into_iter().take(CAMPAIGNS_MAX) {
            if let Some((total, is_estimate)) = campaign.status.total() {
                let estimate = if is_estimate { "true" } else { "false" };
                expected.encode_family(&[("campaign", key.to_string().as_str()), ("estimate", estimate)])?.encode_gauge(&total)?;
            }
        }
        Ok(())
    }
}

/// Every fate, and recipients without one; together they are the total, once the audience was read.
fn outcomes(counts: &RecipientCounts) -> impl Iterator<Item = (&'static str, u64)> {
    let known: u64 = Fate::ALL.into_iter().map(|fate| counts.of(fate)).sum();
    let pending = counts.total.map(|total| ("Pending", total.saturating_sub(known)));
    let name = |fate: Fate| if fate == Fate::Claimed { "Sending" } else { fate.as_str() };
    Fate::ALL.into_iter().map(move |fate| (name(fate), counts.of(fate))).chain(pending)
}
