//! The status of a campaign. Pure.

use super::{
    limits::{Pace, Pacing},
    run::Run,
    table,
    verdict::{Verdict, rows_added},
};
use crate::{
    decide::{CampaignInput, servers::tell_when_stale},
    report::{CampaignReport, WithoutVariant, WithoutZone},
    resources::{
        Condition, ConditionStatus, ConditionType, Key, Reason,
        bound::{counted, grouped, told},
        campaign::{CampaignState, CampaignStatus, EffectiveCampaign, RecipientCounts, Weighting},
        condition,
        fate::Fate,
        server_table::ServerTable,
    },
};

/// Said of a campaign that no process sends.
const NOT_RUNNING: &str = "No process is running: `mailfleet run` was stopped. The next start continues with the rest.";

/// The status; conditions without times.
pub(super) fn status(
    key: &Key,
    input: &CampaignInput,
    run: &Run<'_>,
    verdict: &Verdict,
    (servers, weighting): (ServerTable, Weighting),
    pace: &Pace<'_>,
) -> CampaignStatus {
    let spec = &input.object.spec;
    let recipients = run.recipients();
    let expected = run.expected();
    let mut conditions = of_verdict(verdict, &recipients);
    conditions.extend(run.opened.and_then(refused_by_servers));
    conditions.extend(audience_read(key, &recipients, run));
    conditions.extend((weighting == Weighting::Overflow).then(|| weights_kept(&servers)).flatten());
    tell_when_stale(&mut conditions, input.stale.as_deref());
    conditions.extend(pace.by.as_ref().map(kept_by_waiting));
    let mut status = CampaignStatus {
        observed_generation: input.object.generation(),
        state: verdict.state,
        run: spec.run().to_owned(),
        last_handled_resume: run.handled.newest().map(str::to_owned),
        started_at: run.started_at(),
        completed_at: run.completed_at(),
        sent: String::new(),
        expected_total: expected.map(|expected| expected.recipients),
        expected_total_is_estimate: expected.is_some_and(|expected| expected.is_estimate),
        failed: 0,
        time_left: pace.time_left,
        paced_by: pace.by.as_ref().map(|pacing| pacing.server.to_string()),
        recipients: RecipientCounts::default(),
        feedback: input.feedback,
        rollout: None,
        servers,
        effective: EffectiveCampaign {
            weighting,
            when_no_server_is_active: spec.when_no_server_is_active(),
            when_outcome_is_unknown: spec.when_outcome_is_unknown(),
            retry: spec.retry(),
            max_render_errors: spec.content.max_render_errors(),
            when_render_fails: spec.content.when_render_fails(),
            max_bad_rows: spec.audience.max_bad_rows(),
            when_row_is_bad: spec.audience.when_row_is_bad(),
            stop_when: spec.stop_when(),
        },
        conditions,
    };
    status.count(recipients);
    status
}

/// What a status says of a campaign that nobody sends any more, because the process ends.
pub(in crate::decide) fn rest(status: &mut CampaignStatus) {
    let is_well = condition::find(&status.conditions, ConditionType::Ready).is_some_and(|ready| ready.status == ConditionStatus::True);
    let state = match status.state {
        CampaignState::Sending | CampaignState::Waiting => CampaignState::Waiting,
        CampaignState::Scheduled => CampaignState::Scheduled,
        CampaignState::Suspended | CampaignState::Stopped | CampaignState::Completed => return,
    };
    if !is_well {
        // What stands in its way still does.
        return;
    }
    (status.state, status.time_left) = (state, None);
    for condition in &mut status.conditions {
        if matches!(condition.kind, ConditionType::Ready | ConditionType::Completed) {
            condition.status = ConditionStatus::False;
            condition.reason = Reason::NotRunning;
        }
        if condition.kind == ConditionType::Ready {
            condition.message = NOT_RUNNING.into();
        }
    }
    status.conditions.push(Condition::new(ConditionType::Reconciling, ConditionStatus::True, Reason::NotRunning, NOT_RUNNING));
}

fn of_verdict(verdict: &Verdict, recipients: &RecipientCounts) -> Vec<Condition> {
    let ready = if verdict.is_ready() { ConditionStatus::True } else { ConditionStatus::False };
    let mut conditions = vec![Condition::new(ConditionType::Ready, ready, verdict.reason(), verdict.message().to_owned())];
    if let Some(kind) = verdict.abnormal() {
        conditions.push(Condition::new(kind, ConditionStatus::True, verdict.reason(), verdict.message().to_owned()));
    }
    let (completed, why) = match verdict.state {
        CampaignState::Completed => (ConditionStatus::True, Reason::Completed),
        _ => (ConditionStatus::False, verdict.reason()),
    };
    conditions.push(Condition::new(ConditionType::Completed, completed, why, completion(verdict.state, recipients)));
    conditions
}

/// Whether every row of the audience was used; `None` before it has been read to its end.
fn audience_read(key: &Key, recipients: &RecipientCounts, run: &Run<'_>) -> Option<Condition> {
    let condition = |status, reason, message| Some(Condition::new(ConditionType::AudienceRead, status, reason, message));
    // A run that is reopened mails them.
    let added = run.opened.filter(|_| run.is_closed).and_then(|_| run.added_later()).unwrap_or(0);
    if added > 0 {
        return condition(ConditionStatus::False, Reason::RowsAfterCompletion, rows_added(added));
    }
    if recipients.bad_rows > 0 {
        let them = if recipients.bad_rows == 1 { "it" } else { "them" };
        let message = format!(
            "{} could not be used; `mailfleet get campaigns {} --problems` names {them}.",
            counted(recipients.bad_rows, "row of the audience", "rows of the audience"),
            key.as_arguments()
        );
        return condition(ConditionStatus::False, Reason::BadRows, message);
    }
    let zones = run.opened.and_then(|report| report.without_zone.as_ref()).map(without_zone).unwrap_or_default();
    let variants = run.opened.and_then(|report| report.without_variant.as_ref()).map(without_variant).unwrap_or_default();
    recipients
        .total
        .and_then(|_| condition(ConditionStatus::True, Reason::Read, format!("The audience was read to its end.{zones}{variants}")))
}

/// Who gets the content itself though the field that chooses a variant has a value.
fn without_variant(without: &WithoutVariant) -> String {
    format!(
        " {} a value in the field that content.variantField names, but no variant matches it (such as `{}`); they get the content itself.",
        if without.recipients == 1 { "1 recipient has".to_owned() } else { format!("{} recipients have", grouped(without.recipients)) },
        without.example
    )
}

/// Who is mailed by another clock than their own.
fn without_zone(without: &WithoutZone) -> String {
    let example = without.example.as_ref().map(|value| format!(" (one has `{value}`)")).unwrap_or_default();
    let have = if without.recipients == 1 { "has" } else { "have" };
    format!(
        " {} {have} no known time zone in the field that sendingHours.zoneField names{example}; sendingHours.zone applies to them.",
        counted(without.recipients, "recipient", "recipients")
    )
}

fn weights_kept(servers: &ServerTable) -> Option<Condition> {
    let told = table::overflow(servers)?;
    let message = format!(
        "Because the limits of other servers were used up, {told}. Raise their limits, or set weighting to Strict to keep the shares and wait."
    );
    Some(Condition::new(ConditionType::WeightsKept, ConditionStatus::False, Reason::LimitsUsedUp, message))
}

fn kept_by_waiting(pacing: &Pacing<'_>) -> Condition {
    let message = format!(
        "weighting is Strict, so {} sets the pace of the campaign: {}, and its share is {}%, {} in all. Raise its limits, lower its weight, or set weighting to Overflow.",
        pacing.server, pacing.limit, pacing.share_percent, pacing.in_all
    );
    Condition::new(ConditionType::WeightsKept, ConditionStatus::True, Reason::PacedByServer, message)
}

/// The condition that names the servers that refuse the campaign: it goes on through others, or is stopped.
fn refused_by_servers(report: &CampaignReport) -> Option<Condition> {
    let bars = &report.bars;
    let first = bars.values().next()?;
    let message = told(bars.values().map(|bar| bar.message.clone()), "servers");
    Some(Condition::new(ConditionType::RefusedByServer, ConditionStatus::True, first.reason, message))
}

/// The outcomes of the recipients in one sentence; unknown ones are always named.
fn completion(state: CampaignState, counts: &RecipientCounts) -> String {
    if state != CampaignState::Completed {
        return "Not every recipient has a final outcome yet.".to_owned();
    }
    let mut parts = vec![format!("{} accepted", grouped(counts.accepted))];
    let others = Fate::ALL.into_iter().filter(|fate| fate.is_final() && *fate != Fate::Accepted && counts.of(*fate) > 0);
    parts.extend(others.map(|fate| format!("{} {}", grouped(counts.of(fate)), fate.in_words())));
    if counts.resent > 0 {
        parts.push(format!("{} sent again after an unknown outcome", grouped(counts.resent)));
    }
    format!("Every recipient has a final outcome: {}.", parts.join(", "))
}
