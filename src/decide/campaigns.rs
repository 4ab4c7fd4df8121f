//! Whether a campaign may send, through which servers, and what its status says. Pure.

use jiff::Timestamp;

use self::{
    candidates::{plan_limits, weighting},
    choices::Servers,
};
use super::{
    CampaignDecision, CampaignInput, InLedger, Observations, OrderIntent, ServerDecision, senders,
    servers::{not_in_effect, tell_when_stale},
};
use crate::{
    dispatch::{CampaignReport, campaign::Phase, report::Waiting},
    resources::{
        CampaignSpec, Condition, ConditionStatus, ConditionType, Duration, Key, Reason,
        bound::{listed, told},
        campaign::{CampaignState, CampaignStatus, EffectiveCampaign, RecipientCounts, Weighting, WhenNoServerIsActive},
        condition,
        fate::Fate,
        resume::{Handled, Resume},
        server_table::ServerTable,
    },
};

mod candidates;
mod choices;
mod table;
#[cfg(test)]
mod tests;

pub use candidates::Candidate;
pub use choices::Choices;

/// So many refused and nobody accepted is told as a failure: the audience or the server is not the right one.
const NOBODY_FROM: u64 = 10;

/// What follows from everything that was looked at: the state, and the conditions that say why.
struct Verdict {
    state: CampaignState,
    ready: bool,
    reason: Reason,
    message: String,
    /// `Stalled` or `Reconciling`, when either holds.
    abnormal: Option<ConditionType>,
    /// Whether the dispatcher may have the campaign, and whether it then holds it.
    order: Option<bool>,
    wake_at_ms: Option<i64>,
}

impl Verdict {
    fn well(state: CampaignState, reason: Reason, message: impl Into<String>, order: Option<bool>) -> Self {
        Self { state, ready: true, reason, message: message.into(), abnormal: None, order, wake_at_ms: None }
    }

    fn stalled(state: CampaignState, reason: Reason, message: impl Into<String>, order: Option<bool>) -> Self {
        Self { state, ready: false, reason, message: message.into(), abnormal: Some(ConditionType::Stalled), order, wake_at_ms: None }
    }

    fn trying(state: CampaignState, reason: Reason, message: impl Into<String>, order: Option<bool>) -> Self {
        Self { state, ready: false, reason, message: message.into(), abnormal: Some(ConditionType::Reconciling), order, wake_at_ms: None }
    }
}

/// Decides on one campaign; the second value is when to decide again.
#[must_use]
pub fn decide<'a>(key: &'a Key, input: &'a CampaignInput, choices: &mut Choices<'a>, now_ms: i64) -> (CampaignDecision, Option<i64>) {
    let spec = &input.object.spec;
    let (world, observed) = (choices.world, choices.observed);
    let report = observed.report.campaigns.get(key).filter(|report| report.run == spec.run());
    let (servers, plan_key) = choices.servers_of(key, input, report);
    let resume = Asked::of(input, report);
    let verdict = judge(key, input, &servers, report, &resume, observed, now_ms);
    // Before the ledger has answered, the dispatcher knows no counts.
    let report = report.filter(|report| report.phase != Phase::Opening);
    let accepted = report.map(|report| &report.accepted).or_else(|| input.recorded.as_ref().map(|recorded| &recorded.accepted));
    let mut table = ServerTable::new(servers.rows.clone(), table::counts(&servers.candidates, accepted));
    if let Some(previous) = &input.previous {
        table = table.keeping_counts_of(&previous.servers);
    }
    let wake_at_ms = verdict.wake_at_ms;
    let weighting = weighting(spec, &plan_key, world);
    let order = verdict.order.map(|hold| OrderIntent {
        hold,
        servers: servers.routed.clone(),
        weighting,
        candidates: servers.usable.clone(),
        resume: resume.wanted.clone(),
        plan_limits: plan_limits(key, &plan_key, world),
        senders: senders::held_to(key, &plan_key, world, &servers.candidates),
    });
    let warning = senders::warning(key, spec, &plan_key, world, &servers.candidates);
    let mut status = status(input, verdict, table, report, resume.handled.newest().map(str::to_owned), weighting, now_ms);
    let told = warning.filter(|_| status.state != CampaignState::Completed);
    status
        .conditions
        .extend(told.map(|words| Condition::new(ConditionType::SenderAllowed, ConditionStatus::False, Reason::SenderNotAllowed, words)));
    (CampaignDecision { status, order }, wake_at_ms)
}

/// What a person asks of the run, and what was carried out before.
struct Asked {
    /// Not carried out yet.
    wanted: Option<Resume>,
    /// What cannot be understood.
    fault: Option<String>,
    /// Carried out.
    handled: Handled,
}

impl Asked {
    fn of(input: &CampaignInput, report: Option<&CampaignReport>) -> Self {
        let opened = report.filter(|report| report.phase != Phase::Opening);
        let handled = opened.map_or_else(|| input.resume_handled.clone(), |report| report.resume_handled.clone());
        let parsed = input.resume.as_deref().map(Resume::parse);
        let fault = parsed.as_ref().and_then(|parsed| parsed.as_ref().err().cloned());
        let wanted = parsed.and_then(Result::ok).filter(|resume| !handled.has(&resume.token));
        Self { wanted, fault, handled }
    }
}

fn judge(
    key: &Key,
    input: &CampaignInput,
    servers: &Servers<'_>,
    report: Option<&CampaignReport>,
    asked: &Asked,
    observed: &Observations,
    now_ms: i64,
) -> Verdict {
    let spec = &input.object.spec;
    let generation = input.object.generation();
    let previous = input.previous.as_deref().filter(|previous| previous.run == spec.run());
    let begun = matches!(input.in_ledger, InLedger::Begun | InLedger::Closed) || report.is_some_and(|report| report.started_ms.is_some());
    let resting = if begun { CampaignState::Waiting } else { CampaignState::Scheduled };
    // A run that the dispatcher has opened is kept there, held: its counts stay known, and what is on the wire ends.
    let held = begun.then_some(true);

    // Whatever became of its plan, its files or its servers since: a run that is over stays over.
    // What the dispatcher has opened it knows best: a closed run may have been resumed.
    let opened = report.filter(|report| report.phase != Phase::Opening);
    let closed = opened.map_or(input.in_ledger == InLedger::Closed, |report| report.phase == Phase::Closed);
    if closed && asked.wanted.is_some() {
        let message = "A person asked to resume the run; that is being carried out.";
        return Verdict::trying(CampaignState::Waiting, Reason::Resuming, message, Some(true));
    }
    if closed {
        let counts = opened.map(|report| &report.counts).or_else(|| input.recorded.as_ref().map(|recorded| &recorded.counts));
        if let Some(counts) = counts.filter(|counts| counts.accepted == 0 && counts.rejected >= NOBODY_FROM) {
            let message = format!(
                "Nobody was accepted, and {} recipients were refused; `mailfleet get campaigns {} --recipients` has the replies. Is this the right audience, and the right server? A new spec.run mails everybody again.",
                counts.rejected, key.name
            );
            return Verdict::stalled(CampaignState::Completed, Reason::NobodyAccepted, message, Some(true));
        }
        let mut verdict = Verdict::well(CampaignState::Completed, Reason::Completed, "Every recipient has a final outcome.", Some(true));
        if let Some(report) = report.filter(|report| report.added_later > 0) {
            verdict.message = format!(
                "Every recipient has a final outcome. {} rows were added to the audience later; they are not mailed until spec.run gets a new value.",
                report.added_later
            );
        }
        return verdict;
    }
    // While the newest version cannot be read, status is of that one, and no edit is in effect that could wake the campaign.
    let is_of_now = |seen: i64| seen == generation || (input.stale.is_some() && seen > generation);
    if let Some(stopped) = previous.filter(|previous| previous.state == CampaignState::Stopped && is_of_now(previous.observed_generation))
        && let Some(ready) = condition::find(&stopped.conditions, ConditionType::Ready)
        // A ledger may be brought back, and an audience fixed, without a change of the spec.
        && !matches!(ready.reason, Reason::LedgerMissing | Reason::LedgerUnavailable | Reason::AudienceUnreadable | Reason::FileNotFound)
        // A person asks for it, or has asked since.
        && !(begun && asked.wanted.is_some())
        && stopped.last_handled_resume.as_deref() == asked.handled.newest()
    {
        let mut verdict = Verdict::stalled(CampaignState::Stopped, ready.reason, ready.message.clone(), held);
        if let Some(fault) = &asked.fault
            && !verdict.message.ends_with(fault.as_str())
        {
            verdict.message = format!("{} {fault}", verdict.message);
        }
        return verdict;
    }
    let at_writing = observed.report.ledger_problem.as_ref().filter(|problem| problem.needs_person()).map(|problem| &problem.message);
    if let Some(problem) = input.ledger_problem.as_ref().or(at_writing) {
        return Verdict::stalled(resting, Reason::LedgerUnavailable, problem.clone(), held);
    }
    if input.in_ledger == InLedger::Unasked && !begun {
        return Verdict::trying(
            CampaignState::Waiting,
            Reason::LedgerUnavailable,
            "The ledger could not be asked for the run; it is asked again.",
            None,
        );
    }
    if previous.is_some_and(|previous| previous.started_at.is_some()) && !begun {
        let message = format!(
            "Status says that run {} has begun, and the ledger knows nothing of it. Nothing is sent, since everybody might be mailed twice. Bring the ledger back, or set spec.run to a new value to mail everybody.",
            spec.run()
        );
        return Verdict::stalled(CampaignState::Stopped, Reason::LedgerMissing, message, None);
    }
    if let Some(problem) = &servers.unresolved {
        return Verdict::stalled(resting, problem.reason, problem.message.clone(), held);
    }
    if let Err(problem) = input.work.as_ref()
        && problem.is_passing
    {
        return Verdict::trying(resting, problem.reason, problem.message.clone(), held);
    }
    if let Err(problem) = &input.work {
        return Verdict::stalled(resting, problem.reason, problem.message.clone(), held);
    }
    if input.deleting {
        let message = "It is being deleted: nothing new is sent, and it goes when what is on the wire has an outcome.";
        return Verdict::trying(CampaignState::Waiting, Reason::Deleting, message, held);
    }
    if spec.is_suspended() {
        return Verdict::well(
            CampaignState::Suspended,
            Reason::Suspended,
            "spec.suspend is true; nothing new is sent until it is false.",
            held,
        );
    }
    // A report from before an edit says nothing of the new spec.
    let trouble = report.filter(|report| input.work == Ok(report.fingerprint)).and_then(|report| report.trouble.as_ref());
    if let Some(trouble) = trouble.filter(|_| asked.wanted.is_none()) {
        return if trouble.transient {
            Verdict::trying(CampaignState::Waiting, trouble.reason, trouble.message.clone(), Some(false))
        } else {
            Verdict::stalled(CampaignState::Stopped, trouble.reason, trouble.message.clone(), Some(true))
        };
    }
    if !begun && let Some(verdict) = not_yet(spec, input.object.metadata.creation_timestamp, now_ms) {
        return verdict;
    }
    if let Some(problem) = &observed.report.ledger_problem {
        return Verdict::trying(CampaignState::Waiting, Reason::LedgerUnavailable, problem.message.clone(), Some(false));
    }
    judge_servers(key, spec, servers, report, begun, now_ms)
}

/// Before its time, or too late.
fn not_yet(spec: &CampaignSpec, first_seen: Option<Timestamp>, now_ms: i64) -> Option<Verdict> {
    let start = spec.start_at.map(Timestamp::as_millisecond);
    if let Some(start) = start.filter(|start| *start > now_ms) {
        let message = format!("Starts at {}.", spec.start_at.unwrap_or_default());
        let mut verdict = Verdict::well(CampaignState::Scheduled, Reason::Scheduled, message, None);
        verdict.wake_at_ms = Some(start);
        return Some(verdict);
    }
    let deadline = spec.starting_deadline?;
    let due = start.or_else(|| first_seen.map(Timestamp::as_millisecond))?;
    (now_ms > due + deadline.as_millis()).then(|| {
        let message = format!("It could not start within startingDeadline ({deadline}) and does not start by itself any more. Set a later startAt, or remove startingDeadline.");
        Verdict::stalled(CampaignState::Stopped, Reason::StartingDeadlineExceeded, message, None)
    })
}

fn judge_servers(
    key: &Key,
    spec: &CampaignSpec,
    servers: &Servers<'_>,
    report: Option<&CampaignReport>,
    begun: bool,
    now_ms: i64,
) -> Verdict {
    let (decisions, active) = (&servers.open, servers.active);
    if decisions.is_empty() && servers.usable().any(|candidate| candidate.bar.is_some()) {
        // The dispatcher is about to stop it, or to resume it.
        let bars = servers.usable().filter_map(|candidate| candidate.bar.as_ref());
        let message = told(bars.map(|bar| bar.message.clone()), "servers");
        return Verdict::trying(CampaignState::Waiting, Reason::WaitingForServer, message, Some(false));
    }
    if servers.is_pending && (active == 0 || !(begun || report.is_some())) {
        let message = "Waits for the first test of its servers.";
        return Verdict::trying(
            if begun { CampaignState::Waiting } else { CampaignState::Scheduled },
            Reason::NotProbedYet,
            message,
            begun.then_some(false),
        );
    }
    // A run that has begun is not stopped for good by the first probes after a restart, when the network may not be up yet.
    if active == 0 && begun && decisions.iter().any(|(_, server)| !server.settled) {
        let message = "None of its servers is Active; they are tested again before that is judged.";
        return Verdict::trying(CampaignState::Waiting, Reason::WaitingForServer, message, Some(false));
    }
    if active == 0 {
        let causes = decisions.iter().map(|(server, decision)| format!("{}: {}", server.name, decision.why_inactive));
        let unfit = if decisions.is_empty() { vec![format!("no server may send for {}", spec.from.address)] } else { Vec::new() };
        let causes = told(causes.chain(unfit), "servers");
        return match spec.when_no_server_is_active() {
            WhenNoServerIsActive::Stop => Verdict::stalled(
                CampaignState::Stopped,
                Reason::NoEligibleServer,
                format!(
                    "None of its servers is Active, and whenNoServerIsActive is Stop. {causes} Nothing was sent elsewhere. Fix a server, then change the spec (or set Wait); only the rest is mailed."
                ),
                begun.then_some(true),
            ),
            WhenNoServerIsActive::Wait => Verdict::trying(
                CampaignState::Waiting,
                Reason::WaitingForServer,
                format!("None of its servers is Active; waiting for one. {causes}"),
                Some(false),
            ),
        };
    }
    let sending = || Verdict::well(CampaignState::Sending, Reason::Sending, "Messages are being sent.", Some(false));
    let Some(report) = report else { return sending() };
    let clock = |ms: i64| Timestamp::from_millisecond(ms).map(|at| at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()).unwrap_or_default();
    match report.waiting {
        Waiting::No => sending(),
        Waiting::ForRefusal(ref message) => Verdict::trying(
            CampaignState::Waiting,
            Reason::WaitingForServer,
            format!("{message} It is tried again by itself."),
            Some(false),
        ),
        Waiting::ForServer => {
            let rests = |server: &ServerDecision| {
                condition::find(&server.status.conditions, ConditionType::Routed).is_some_and(|c| c.reason == Reason::OutcomeUnknown)
            };
            let (resting, failed): (Vec<_>, Vec<_>) =
                decisions.iter().filter(|(_, server)| server.active).partition(|(_, server)| rests(server));
            let names = |of: &[&(&Key, &ServerDecision)]| listed(of.iter().map(|(server, _)| &*server.name));
            let mut words = Vec::new();
            if !failed.is_empty() {
                words.push(format!(
                    "Sending through {} failed; it is being probed, and the campaign goes on once a probe succeeds.",
                    names(&failed)
                ));
            }
            if !resting.is_empty() {
                words.push(format!(
                    "What became of a message through {} is unknown; it rests, and one message alone is tried then.",
                    names(&resting)
                ));
            }
            let message = words.join(" ");
            Verdict::trying(CampaignState::Waiting, Reason::WaitingForServer, message, Some(false))
        }
        Waiting::ForLimits(until) => {
            let message =
                format!("The limits of its servers or of namespace {} are used up; it goes on at {}.", key.namespace, clock(until));
            let mut verdict = Verdict::well(CampaignState::Waiting, Reason::WaitingForLimits, message, Some(false));
            verdict.wake_at_ms = Some(until.max(now_ms + 1));
            verdict
        }
        Waiting::ForRetry(_) => Verdict::well(
            CampaignState::Waiting,
            Reason::WaitingForRetry,
            "All that is left was deferred by the servers; the next try comes by itself.",
            Some(false),
        ),
    }
}

fn status(
    input: &CampaignInput,
    verdict: Verdict,
    servers: ServerTable,
    report: Option<&CampaignReport>,
    handled: Option<String>,
    weighting: Weighting,
    now_ms: i64,
) -> CampaignStatus {
    let spec = &input.object.spec;
    let previous = input.previous.as_deref().filter(|previous| previous.run == spec.run());
    let time = |ms: Option<i64>| ms.and_then(|ms| Timestamp::from_millisecond(ms - ms.rem_euclid(1000)).ok());
    let recorded = input.recorded.as_ref();
    let counts = report.map(|report| &report.counts).or_else(|| recorded.map(|recorded| &recorded.counts));
    let recipients = counts.or_else(|| previous.map(|previous| &previous.recipients)).cloned().unwrap_or_default();
    let started_ms = report.and_then(|report| report.started_ms).or_else(|| recorded.map(|recorded| recorded.started_ms));
    let completed_ms = report.and_then(|report| report.completed_ms).or_else(|| recorded.and_then(|recorded| recorded.closed_ms));
    let mut conditions = Vec::new();
    let ready = if verdict.ready { ConditionStatus::True } else { ConditionStatus::False };
    conditions.push(Condition::new(ConditionType::Ready, ready, verdict.reason, verdict.message.clone()));
    if let Some(kind) = verdict.abnormal {
        conditions.push(Condition::new(kind, ConditionStatus::True, verdict.reason, verdict.message.clone()));
    }
    let (completed, why) = match verdict.state {
        CampaignState::Completed => (ConditionStatus::True, Reason::Completed),
        _ => (ConditionStatus::False, verdict.reason),
    };
    conditions.push(Condition::new(ConditionType::Completed, completed, why, completion(&verdict, &recipients)));
    conditions.extend(refused_by_servers(report));
    let added = report.map_or(0, |report| report.added_later);
    if recipients.bad_rows > 0 && added == 0 {
        let (rows, them) = if recipients.bad_rows == 1 { ("row", "it") } else { ("rows", "them") };
        let message = format!(
            "{} {rows} of the audience could not be used; `mailfleet get campaigns {} --problems` names {them}.",
            recipients.bad_rows, input.object.metadata.name
        );
        conditions.push(Condition::new(ConditionType::AudienceRead, ConditionStatus::False, Reason::BadRows, message));
    } else if let Some(report) = report.filter(|report| report.added_later > 0) {
        let message = format!(
            "{} rows were added after the run was completed; they are not mailed until spec.run gets a new value.",
            report.added_later
        );
        conditions.push(Condition::new(ConditionType::AudienceRead, ConditionStatus::False, Reason::RowsAfterCompletion, message));
    } else if recipients.total.is_some() {
        conditions.push(Condition::new(
            ConditionType::AudienceRead,
            ConditionStatus::True,
            Reason::Read,
            "The audience was read to its end.",
        ));
    }
    if spec.unsubscribe.as_ref().is_some_and(|unsubscribe| unsubscribe.one_click.is_some() && unsubscribe.url.is_none()) {
        conditions.extend(not_in_effect(&["spec.unsubscribe.oneClick without url (no header is added)"]));
    }
    if weighting == Weighting::Overflow
        && let Some(told) = table::overflow(&servers)
    {
        let message = format!(
            "The limits of other servers were used up, so that {told}. Raise their limits, or set weighting to Strict to keep the shares and wait."
        );
        conditions.push(Condition::new(ConditionType::WeightsKept, ConditionStatus::False, Reason::LimitsUsedUp, message));
    }
    tell_when_stale(&mut conditions, input.stale.as_deref());
    CampaignStatus {
        observed_generation: input.object.generation(),
        state: verdict.state,
        run: spec.run().to_owned(),
        last_handled_resume: handled,
        started_at: time(started_ms).or_else(|| previous.and_then(|previous| previous.started_at)),
        completed_at: time(completed_ms).or_else(|| previous.and_then(|previous| previous.completed_at)),
        sent: format!("{}/{}", recipients.accepted, recipients.total.map_or_else(|| "?".to_owned(), |total| total.to_string())),
        failed: recipients.rejected + recipients.expired + recipients.render_failed,
        time_left: (verdict.state == CampaignState::Sending).then(|| time_left(&recipients, started_ms, now_ms)).flatten(),
        recipients,
        servers,
        effective: EffectiveCampaign {
            weighting,
            when_no_server_is_active: spec.when_no_server_is_active(),
            when_outcome_is_unknown: spec.when_outcome_is_unknown(),
            retry: spec.retry(),
            max_render_errors: spec.content.max_render_errors(),
        },
        conditions,
    }
}

/// About how long the rest takes at the rate since the run began; no finer than a person needs.
fn time_left(counts: &RecipientCounts, started_ms: Option<i64>, now_ms: i64) -> Option<Duration> {
    let took_ms = u64::try_from(now_ms - started_ms?).ok()?;
    let left = counts.total?.saturating_sub(counts.ended());
    let secs = (took_ms.saturating_mul(left) / counts.ended().max(1)).div_ceil(1000);
    (counts.ended() > 0 && took_ms > 1000).then(|| match secs {
        0..60 => Duration::from_secs(secs),
        60..7200 => Duration::from_secs(secs.div_ceil(60) * 60),
        _ => Duration::from_secs(secs.div_ceil(3600) * 3600),
    })
}

/// The condition that names the servers that refuse the campaign: it goes on through others, or is stopped.
fn refused_by_servers(report: Option<&CampaignReport>) -> Option<Condition> {
    let bars = &report?.bars;
    let first = bars.values().next()?;
    let message = told(bars.values().map(|bar| bar.message.clone()), "servers");
    Some(Condition::new(ConditionType::RefusedByServer, ConditionStatus::True, first.reason, message))
}

/// What became of the recipients, in one sentence; unknown ones are never silent.
fn completion(verdict: &Verdict, counts: &RecipientCounts) -> String {
    if verdict.state != CampaignState::Completed {
        return "Not every recipient has a final outcome yet.".to_owned();
    }
    let mut parts = vec![format!("{} accepted", counts.accepted)];
    let others = Fate::ALL.into_iter().filter(|fate| fate.is_final() && *fate != Fate::Accepted && counts.of(*fate) > 0);
    parts.extend(others.map(|fate| format!("{} {}", counts.of(fate), fate.in_words())));
    if counts.resent > 0 {
        parts.push(format!("{} sent again after an unknown outcome", counts.resent));
    }
    format!("Every recipient has a final outcome: {}.", parts.join(", "))
}
