//! Metrics of single campaigns.

use std::{
    fmt,
    time::{Duration, SystemTime},
};

use super::{
    Moment, catalog,
    process::{backlog, unix_seconds},
    servers::{STATUSES, ratio, reason},
    writing::Writer,
};
use crate::resources::{
    campaign::{CampaignState, CampaignStatus, RecipientCounts},
    fate::Fate,
};

/// A completed campaign has series for so long.
const SHOWN_AFTER_COMPLETION: Duration = Duration::from_secs(24 * 3600);

/// A campaign that has series of its own.
type Shown<'a> = (String, &'a CampaignStatus);

impl Moment {
    /// The campaigns that have series of their own: those that have not ended come first, and those that completed long ago have none.
    pub(super) fn shown_campaigns(&self) -> Vec<Shown<'_>> {
        let is_recent = |status: &CampaignStatus| {
            let completed_at = status.completed_at.filter(|_| status.state == CampaignState::Completed).map(SystemTime::from);
            completed_at.and_then(|at| self.now.duration_since(at).ok()).is_none_or(|since| since < SHOWN_AFTER_COMPLETION)
        };
        let campaigns = self.view.decision.campaigns.iter().map(|(key, campaign)| (key, &campaign.status));
        let mut campaigns: Vec<_> = campaigns.filter(|(_, status)| is_recent(status)).collect();
        // Stable, so that equals stay in the order of their names.
        campaigns.sort_by_key(|(_, status)| matches!(status.state, CampaignState::Completed | CampaignState::Stopped));
        campaigns.into_iter().take(super::CAMPAIGNS_MAX).map(|(key, status)| (key.to_string(), status)).collect()
    }

    pub(super) fn campaigns(&self, writer: &mut Writer) -> fmt::Result {
        let shown = self.shown_campaigns();
        states(writer, &shown)?;
        recipients(writer, &shown)?;
        times(writer, &shown)?;
        came_back(writer, &shown)?;
        rollouts(writer, &shown)
    }
}

fn states(writer: &mut Writer, shown: &[Shown]) -> fmt::Result {
    let words = CampaignState::ALL.map(|state| (format!("{state:?}"), state));
    let mut states = writer.begin(&catalog::CAMPAIGN_STATE)?;
    for (name, status) in shown {
        states.one_of(&[name], words.iter().map(|(word, state)| (word.as_str(), *state == status.state)))?;
    }
    let mut reasons = writer.begin(&catalog::CAMPAIGN_REASON)?;
    for (name, status) in shown {
        if let Some(reason) = reason(&status.conditions) {
            reasons.gauge(&[name, reason], 1_u32)?;
        }
    }
    let mut conditions = writer.begin(&catalog::CAMPAIGN_CONDITION)?;
    for (name, status) in shown {
        for condition in &status.conditions {
            let kind = format!("{:?}", condition.kind);
            conditions.one_of(&[name, &kind], STATUSES.map(|(word, status)| (word, status == condition.status)))?;
        }
    }
    Ok(())
}

fn recipients(writer: &mut Writer, shown: &[Shown]) -> fmt::Result {
    let mut recipients = writer.begin(&catalog::CAMPAIGN_RECIPIENTS)?;
    for (name, status) in shown {
        outcomes(&status.recipients).try_for_each(|(outcome, count)| recipients.gauge(&[name, outcome], count))?;
    }
    let mut expected = writer.begin(&catalog::CAMPAIGN_EXPECTED)?;
    for (name, status) in shown {
        if let Some((total, is_estimate)) = status.total() {
            expected.gauge(&[name, if is_estimate { "true" } else { "false" }], total)?;
        }
    }
    let mut waiting = writer.begin(&catalog::CAMPAIGN_BACKLOG)?;
    shown.iter().filter_map(|(name, status)| Some((name, backlog(status)?))).try_for_each(|(name, count)| waiting.gauge(&[name], count))
}

fn times(writer: &mut Writer, shown: &[Shown]) -> fmt::Result {
    let mut left = writer.begin(&catalog::CAMPAIGN_TIME_LEFT)?;
    for (name, status) in shown {
        if let Some(time) = status.time_left {
            left.gauge(&[name], time.std().as_secs_f64())?;
        }
    }
    let mut started = writer.begin(&catalog::CAMPAIGN_STARTED)?;
    for (name, at) in shown.iter().filter_map(|(name, status)| Some((name, status.started_at?))) {
        started.gauge(&[name], unix_seconds(at.into()))?;
    }
    let mut completed = writer.begin(&catalog::CAMPAIGN_COMPLETED)?;
    for (name, at) in shown.iter().filter_map(|(name, status)| Some((name, status.completed_at?))) {
        completed.gauge(&[name], unix_seconds(at.into()))?;
    }
    Ok(())
}

fn came_back(writer: &mut Writer, shown: &[Shown]) -> fmt::Result {
    let mut feedback = writer.begin(&catalog::CAMPAIGN_FEEDBACK)?;
    for (name, status) in shown {
        let counts = &status.feedback;
        for (kind, count) in [
            ("Delivered", counts.delivered),
            ("SoftBounced", counts.soft_bounced),
            ("Bounced", counts.bounced),
            ("Complained", counts.complained),
            ("Unsubscribed", counts.unsubscribed),
        ] {
            feedback.gauge(&[name, kind], count)?;
        }
    }
    let mut bounces = writer.begin(&catalog::CAMPAIGN_BOUNCE_LIMIT)?;
    shown.iter().try_for_each(|(name, status)| bounces.gauge(&[name], ratio(status.effective.stop_when.bounce_percent)))?;
    let mut complaints = writer.begin(&catalog::CAMPAIGN_COMPLAINT_LIMIT)?;
    shown.iter().try_for_each(|(name, status)| complaints.gauge(&[name], ratio(status.effective.stop_when.complaint_percent)))
}

fn rollouts(writer: &mut Writer, shown: &[Shown]) -> fmt::Result {
    let rollouts: Vec<_> = shown.iter().filter_map(|(name, status)| Some((name, status.rollout.as_ref()?))).collect();
    let mut step = writer.begin(&catalog::ROLLOUT_STEP)?;
    rollouts.iter().try_for_each(|(name, rollout)| step.gauge(&[name], rollout.step))?;
    let mut steps = writer.begin(&catalog::ROLLOUT_STEPS)?;
    rollouts.iter().try_for_each(|(name, rollout)| steps.gauge(&[name], rollout.steps))?;
    let mut share = writer.begin(&catalog::ROLLOUT_RATIO)?;
    rollouts.iter().try_for_each(|(name, rollout)| share.gauge(&[name], ratio(rollout.percent)))
}

/// Every fate, and recipients without one; together they are the total, once the audience was read.
fn outcomes(counts: &RecipientCounts) -> impl Iterator<Item = (&'static str, u64)> {
    let known: u64 = Fate::ALL.into_iter().map(|fate| counts.of(fate)).sum();
    let pending = counts.total.map(|total| ("Pending", total.saturating_sub(known)));
    let name = |fate: Fate| if fate == Fate::Claimed { "Sending" } else { fate.as_str() };
    Fate::ALL.into_iter().map(move |fate| (name(fate), counts.of(fate))).chain(pending)
}
