//! Whether every campaign has ended, and what there is to say of those that have. Pure.

use std::time::Duration;

use crate::{
    decide::{CampaignDecision, Decision},
    dispatch::feeder::RETRIED,
    report::{CampaignReport, Report},
    resources::{Condition, ConditionType, Key, Reason, campaign::CampaignState, condition},
};

/// With `once`: how long an audience is tried that cannot be read for now.
const UNREAD_MAX: Duration = Duration::from_mins(1);

/// A campaign that did not complete.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailedCampaign {
    /// Which one.
    pub campaign: Key,
    /// Its last state.
    pub state: CampaignState,
    /// Why it did not complete, as its status says.
    pub why: String,
}

/// What there is to say of a campaign that completed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CampaignNote {
    /// Which one.
    pub campaign: Key,
    /// As its status says it.
    pub message: String,
}

/// How a run ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ended {
    /// Campaigns that did not complete.
    pub failed: Vec<FailedCampaign>,
    /// What there is to say of campaigns that completed.
    pub notes: Vec<CampaignNote>,
    /// Whether everything in flight had an outcome before the process stopped.
    pub clean: bool,
}

/// What there is to say of campaigns that completed: rows that were added since.
pub(super) fn notes(decision: &Decision) -> Vec<CampaignNote> {
    let note = |(key, campaign): (&Key, &CampaignDecision)| {
        let read = condition::find(&campaign.status.conditions, ConditionType::AudienceRead)?;
        let note = || CampaignNote { campaign: key.clone(), message: read.message.to_string() };
        (read.reason == Reason::RowsAfterCompletion).then(note)
    };
    decision.campaigns.iter().filter_map(note).collect()
}

/// With `once`: the campaigns that failed; `None` until every campaign has ended, or its audience could not be read for too long.
pub(super) fn ended(decision: &Decision, report: &Report, now_ms: i64) -> Option<Vec<FailedCampaign>> {
    let mut failed = Vec::new();
    for (key, campaign) in &decision.campaigns {
        let status = &campaign.status;
        let stalled = status.conditions.iter().find(|condition| condition.kind == ConditionType::Stalled);
        match (status.state, stalled) {
            _ if campaign.is_looked_at => return None,
            (CampaignState::Completed, None) | (CampaignState::Suspended, _) => {}
            (_, None) if campaign.waits_for_person => {}
            (state, Some(condition)) => {
                failed.push(FailedCampaign { campaign: key.clone(), state, why: condition.message.to_string() });
            }
            (state, None) => {
                let why = given_up(report.campaigns.get(key)?, now_ms)?;
                failed.push(FailedCampaign { campaign: key.clone(), state, why });
            }
        }
    }
    Some(failed)
}

/// With `once`: why a campaign is given up whose audience may yet be readable some time.
fn given_up(report: &CampaignReport, now_ms: i64) -> Option<String> {
    let blocker = report.blocker.as_ref().filter(|blocker| blocker.reason == Reason::AudienceUnreadable)?;
    let is_long = now_ms.saturating_sub(report.unread_since_ms?) >= i64::try_from(UNREAD_MAX.as_millis()).unwrap_or(i64::MAX);
    let message = blocker.message.strip_suffix(RETRIED).unwrap_or(&blocker.message);
    is_long.then(|| format!("{message}. It was tried for {}s, and is tried again at the next start.", UNREAD_MAX.as_secs()))
}

/// Whether every server that can be probed was probed once.
pub(super) fn are_probed(decision: &Decision) -> bool {
    let is_pending = |condition: &Condition| condition.kind == ConditionType::Probed && condition.reason == Reason::NotProbedYet;
    decision.servers.values().all(|server| !server.status.conditions.iter().any(is_pending))
}

/// The message of a campaign that only the ledger stops.
pub(super) fn without_ledger(decision: &Decision) -> Option<String> {
    let mut conditions = decision.campaigns.values().flat_map(|campaign| &campaign.status.conditions);
    let is_it = |condition: &&Condition| condition.kind == ConditionType::Stalled && condition.reason == Reason::LedgerUnavailable;
    conditions.find(is_it).map(|condition| condition.message.to_string())
}
