//! The verdict on a campaign: the first thing that stands in its way, or that it is being sent. Pure.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::{
    candidates::Candidate,
    choices::Servers,
    rollout::{Rollout, Turn},
    run::Run,
    stop,
};
use crate::{
    decide::{CampaignInput, InLedger, Observations, ServerDecision},
    feedback::Judged,
    report::Waiting,
    resources::{
        Blocker, CampaignSpec, ConditionType, Key, Reason,
        bound::{grouped, listed, told},
        campaign::{CampaignState, Exclusion, OutcomesAudience, RecipientCounts, WhenNoServerIsActive},
        condition,
        fate::Fate,
        resume::ANNOTATION,
    },
};

/// The state, and the conditions that say why.
pub(super) struct Verdict {
    pub state: CampaignState,
    pub finding: Finding,
    /// Whether the data plane may have the campaign, and whether it then holds it.
    pub hold: Option<bool>,
    pub wake_at_ms: Option<i64>,
    /// Whether nothing is in the way of the rollout's next step.
    pub may_step: bool,
}

/// How it goes.
pub(super) enum Finding {
    /// As it should: the reason and the message.
    Well(Reason, String),
    /// It rests because its spec says so; nothing is wrong.
    Rests(Reason, String),
    /// Something stands in its way.
    Blocked(Blocker),
}

impl Verdict {
    fn new(state: CampaignState, finding: Finding, hold: Option<bool>) -> Self {
        Self { state, finding, hold, wake_at_ms: None, may_step: false }
    }

    fn well(state: CampaignState, reason: Reason, message: impl Into<String>, hold: Option<bool>) -> Self {
        Self::new(state, Finding::Well(reason, message.into()), hold)
    }

    fn blocked(state: CampaignState, blocker: Blocker, hold: Option<bool>) -> Self {
        Self::new(state, Finding::Blocked(blocker), hold)
    }

    fn stalled(state: CampaignState, reason: Reason, message: impl Into<String>, hold: Option<bool>) -> Self {
        Self::blocked(state, Blocker::lasting(reason, message), hold)
    }

    fn trying(state: CampaignState, reason: Reason, message: impl Into<String>, hold: Option<bool>) -> Self {
        Self::blocked(state, Blocker::passing(reason, message), hold)
    }

    pub fn is_ready(&self) -> bool {
        matches!(self.finding, Finding::Well(..))
    }

    pub fn reason(&self) -> Reason {
        match &self.finding {
            Finding::Well(reason, _) | Finding::Rests(reason, _) => *reason,
            Finding::Blocked(blocker) => blocker.reason,
        }
    }

    pub fn message(&self) -> &str {
        match &self.finding {
            Finding::Well(_, message) | Finding::Rests(_, message) => message,
            Finding::Blocked(blocker) => &blocker.message,
        }
    }

    /// `Stalled` or `Reconciling`, when either holds.
    pub fn abnormal(&self) -> Option<ConditionType> {
        match &self.finding {
            Finding::Blocked(blocker) => Some(blocker.condition()),
            Finding::Well(..) | Finding::Rests(..) => None,
        }
    }
}

/// Everything that a verdict follows from.
pub(super) struct Case<'a> {
    pub key: &'a Key,
    pub input: &'a CampaignInput,
    pub run: &'a Run<'a>,
    pub rollout: Option<&'a Rollout<'a>>,
    pub servers: &'a Servers<'a>,
    pub observed: &'a Observations,
    /// All campaigns.
    pub campaigns: &'a BTreeMap<Key, CampaignInput>,
    pub now_ms: i64,
}

impl Case<'_> {
    /// The verdict: the first of these that applies.
    pub fn verdict(&self) -> Verdict {
        self.is_closed()
            .or_else(|| self.stays_stopped())
            .or_else(|| self.has_no_ledger())
            .or_else(|| self.was_forgotten_by_the_ledger())
            .or_else(|| self.refers_to_what_cannot_be_used())
            .or_else(|| self.takes_people_of_a_run_that_goes_on())
            .or_else(|| self.is_deleted_or_suspended())
            .or_else(|| self.may_be_renamed())
            .or_else(|| self.is_sent_back_too_often())
            .or_else(|| self.is_blocked_while_sending())
            .or_else(|| self.is_not_due())
            .or_else(|| self.waits_for_the_ledger())
            .or_else(|| self.has_no_server())
            .or_else(|| self.is_outside_its_hours())
            .or_else(|| self.waits_after_a_step())
            .unwrap_or_else(|| self.is_sent())
    }

    fn spec(&self) -> &CampaignSpec {
        &self.input.object.spec
    }

    /// The state of a run that cannot go on now, and has done nothing wrong.
    fn resting(&self) -> CampaignState {
        if self.run.has_begun { CampaignState::Waiting } else { CampaignState::Scheduled }
    }

    /// A run that the data plane has opened is kept there, held: its counts stay known, and messages in flight still get their
    /// outcome.
    fn held(&self) -> Option<bool> {
        self.run.has_begun.then_some(true)
    }

    /// Whatever became of its plan, its files or its servers since: a run that is over stays over.
    fn is_closed(&self) -> Option<Verdict> {
        if !self.run.is_closed {
            return None;
        }
        if self.run.resume.is_some() {
            let message = "The run is being resumed as requested.";
            return Some(Verdict::trying(CampaignState::Waiting, Reason::Resuming, message, Some(true)));
        }
        if let Some(counts) = self.run.counts().filter(|counts| counts.accepted == 0 && counts.ended() > 0) {
            let message = format!(
                "No message was accepted: {}. `mailfleet get campaigns {} --recipients` shows the replies. Check the audience and the servers. A new spec.run mails everybody again.",
                outcomes(counts),
                self.key.as_arguments()
            );
            return Some(Verdict::stalled(CampaignState::Completed, Reason::NobodyAccepted, message, Some(true)));
        }
        let mut message = "Every recipient has a final outcome.".to_owned();
        let added = self.run.added_later().unwrap_or(0);
        if added > 0 {
            message.push_str(&format!(" {}", rows_added(added)));
        }
        Some(Verdict::well(CampaignState::Completed, Reason::Completed, message, Some(true)))
    }

    /// It was stopped, and nobody has acted since.
    fn stays_stopped(&self) -> Option<Verdict> {
        // While the newest version cannot be read, the status is about that one, and no edit is in effect that could wake the
        // campaign.
        let generation = self.input.object.generation();
        let is_of_now = |seen: i64| seen == generation || (self.input.stale.is_some() && seen > generation);
        let stopped =
            self.run.previous.filter(|previous| previous.state == CampaignState::Stopped && is_of_now(previous.observed_generation))?;
        let ready = condition::find(&stopped.conditions, ConditionType::Ready)?;
        // A ledger may be restored, and an audience or a template fixed, without a change of the spec. If nothing is fixed, it
        // stops again.
        let may_be_fixed_elsewhere = ready.reason.is_of_rows() || matches!(ready.reason, Reason::LedgerMissing | Reason::LedgerUnavailable);
        let has_not_begun = ready.reason == Reason::NoEligibleServer && !self.run.has_sent;
        let is_resumed = self.run.has_begun && self.run.resume.is_some();
        let was_resumed_since = stopped.last_handled_resume.as_deref() != self.run.handled.newest();
        if may_be_fixed_elsewhere || has_not_begun || is_resumed || was_resumed_since {
            return None;
        }
        // What a server said when the campaign was stopped says nothing about it now.
        let mut message = if ready.reason == Reason::NoEligibleServer { self.stopped_without_server() } else { ready.message.to_string() };
        if let Some(fault) = &self.run.resume_fault
            && !message.ends_with(fault.as_str())
        {
            message = format!("{message} {fault}");
        }
        Some(Verdict::stalled(CampaignState::Stopped, ready.reason, message, self.held()))
    }

    fn has_no_ledger(&self) -> Option<Verdict> {
        let at_writing = self.observed.report.ledger_problem.as_ref().filter(|problem| problem.needs_person());
        let problem = self.input.ledger_problem.as_ref().or(at_writing.map(|problem| &problem.message));
        if let Some(problem) = problem {
            return Some(Verdict::stalled(self.resting(), Reason::LedgerUnavailable, problem.clone(), self.held()));
        }
        (self.input.in_ledger == InLedger::Unasked && !self.run.has_begun).then(|| {
            let message = "The ledger could not be read; trying again.";
            Verdict::trying(CampaignState::Waiting, Reason::LedgerUnavailable, message, None)
        })
    }

    fn was_forgotten_by_the_ledger(&self) -> Option<Verdict> {
        let has_begun_before = self.run.previous.is_some_and(|previous| previous.started_at.is_some());
        (has_begun_before && !self.run.has_begun).then(|| {
            let message = format!(
                "Status says that run {} has begun, but the ledger has no record of it. Nothing is sent, because everybody might be mailed twice. Restore the ledger, or set spec.run to a new value to mail everybody.",
                self.spec().run()
            );
            Verdict::stalled(CampaignState::Stopped, Reason::LedgerMissing, message, None)
        })
    }

    /// Its times, its plan, the servers that it names, its sender, its content or its audience.
    fn refers_to_what_cannot_be_used(&self) -> Option<Verdict> {
        let of_work = self.input.work.as_ref().err();
        // The first thing to know: a file that a cluster never has does not appear when the plan does.
        let of_file = of_work.filter(|blocker| blocker.reason == Reason::FileNotFound && blocker.needs_person);
        let of_times = self.input.when.as_ref().err();
        let blocker = of_file.or(of_times).or(self.servers.unresolved.as_ref()).or(of_work)?;
        Some(Verdict::blocked(self.resting(), self.with_files(blocker), self.held()))
    }

    /// Both would mail them.
    fn takes_people_of_a_run_that_goes_on(&self) -> Option<Verdict> {
        let audience = &self.spec().audience;
        let own = audience.outcomes.as_ref().map(|outcomes| ("spec.audience.outcomes".to_owned(), outcomes));
        let lists = audience.exclude.iter().enumerate();
        let lists = lists.filter_map(|(index, list)| Some((format!("{}.outcomes", Exclusion::field(index)), list.outcomes.as_ref()?)));
        own.into_iter().chain(lists).find_map(|(field, outcomes)| self.names_a_run_that_goes_on(&field, outcomes))
    }

    fn names_a_run_that_goes_on(&self, field: &str, outcomes: &OutcomesAudience) -> Option<Verdict> {
        let other = Key::new(self.key.namespace.clone(), outcomes.campaign.as_str());
        let input = self.campaigns.get(&other).filter(|input| input.object.spec.run() == outcomes.run())?;
        let report = self.observed.report.campaigns.get(&other);
        if Run::of(input, report).is_closed {
            return None;
        }
        let (run, name) = (outcomes.run(), &outcomes.campaign);
        if other == *self.key {
            let message = format!("{field} names this very run ({run}). Give spec.run another value, or name another run.");
            return Some(Verdict::stalled(self.resting(), Reason::AudienceUnreadable, message, self.held()));
        }
        let message = format!(
            "{field}: run {run} of campaign {name} is not completed, and may still mail its recipients itself. They are not mailed by this campaign before that; resume it, or give it another spec.run."
        );
        Some(Verdict::trying(self.resting(), Reason::AudienceUnreadable, message, self.held()))
    }

    fn is_deleted_or_suspended(&self) -> Option<Verdict> {
        if self.input.deleting {
            let message = "It is being deleted: nothing new is sent, and it is removed once the messages in flight have an outcome.";
            return Some(Verdict::trying(CampaignState::Waiting, Reason::Deleting, message, self.held()));
        }
        self.spec().is_suspended().then(|| {
            let message = "spec.suspend is true; nothing new is sent until it is set to false.";
            Verdict::well(CampaignState::Suspended, Reason::Suspended, message, self.held())
        })
    }

    /// Another name would mail everybody again: a person has to say that this is meant.
    fn may_be_renamed(&self) -> Option<Verdict> {
        let old = self.input.renamed_from.as_ref().filter(|_| !self.run.has_begun)?;
        let message = format!(
            "It has the audience and the message (or a part of it) of campaign {old}, which is no longer here. If it was renamed, everybody would be mailed again, so nothing is sent. Restore the name {old} to mail only the rest, or set spec.run to a new value to mail everybody."
        );
        Some(Verdict::stalled(self.resting(), Reason::MayBeRenamed, message, None))
    }

    /// Too many addresses that are none, or too many complaints.
    fn is_sent_back_too_often(&self) -> Option<Verdict> {
        let (counts, feedback) = (self.run.counts()?, &self.input.feedback);
        // What was resumed is judged anew from then on, and where that is the ledger says a moment later.
        if self.run.resume.is_some() || self.run.handled.newest() != self.input.resume_handled.newest() {
            return None;
        }
        let judged =
            Judged { accepted: counts.accepted, rejected: counts.rejected, bounced: feedback.bounced, complained: feedback.complained };
        let of_run = || stop::judge(self.key, judged.since(self.input.judged_from), &self.spec().stop_when(), ("", ""));
        let blocker = self.rollout.and_then(Rollout::blocker).or_else(of_run)?;
        Some(Verdict::blocked(CampaignState::Stopped, blocker, Some(true)))
    }

    fn is_blocked_while_sending(&self) -> Option<Verdict> {
        // A report from before an edit says nothing about the new spec.
        let is_of_now = |work_hash| self.input.work.as_ref().is_ok_and(|work| work.work_hash == work_hash);
        let report = self.run.report.filter(|report| is_of_now(report.work_hash) && self.run.resume.is_none())?;
        let blocker = report.blocker.as_ref()?;
        let (state, hold) = if blocker.needs_person { (CampaignState::Stopped, true) } else { (CampaignState::Waiting, false) };
        Some(Verdict::blocked(state, self.with_files(blocker), Some(hold)))
    }

    /// What is wrong with a body, at the file that it is in.
    fn with_files(&self, blocker: &Blocker) -> Blocker {
        let mut blocker = blocker.clone();
        for (field, source) in self.spec().content.bodies_elsewhere() {
            if let Some(path) = &source.path {
                blocker.message = blocker.message.replace(&format!("{field}: "), &format!("{field}From: {path}: "));
            }
        }
        blocker
    }

    /// Before its time, or too late.
    fn is_not_due(&self) -> Option<Verdict> {
        if self.run.has_begun {
            return None;
        }
        let when = self.input.when.as_ref().ok()?;
        let hours = when.hours.as_ref().filter(|hours| hours.zone_field.is_none());
        let opens = |at_ms| hours.map_or(at_ms, |hours| hours.span.opens_at(&hours.zone, at_ms));
        if let Some(start) = when.start.as_ref().filter(|start| start.at_ms > self.now_ms) {
            let begins_ms = opens(start.at_ms);
            let message = match hours.filter(|_| begins_ms > start.at_ms) {
                None => format!("Starts at {}.", start.words),
                Some(hours) => {
                    format!("Starts at {}: its startAt ({}) is outside its sendingHours.", hours.zone.words(begins_ms), start.words)
                }
            };
            let verdict = Verdict::well(CampaignState::Scheduled, Reason::Scheduled, message, None);
            return Some(Verdict { wake_at_ms: Some(start.at_ms), ..verdict });
        }
        let deadline = self.spec().starting_deadline?;
        let created = || self.input.object.metadata.creation_timestamp.map(Timestamp::as_millisecond);
        // Hours that a person asked for delay nobody.
        let due = opens(when.start.as_ref().map(|start| start.at_ms).or_else(created)?);
        (self.now_ms > due.saturating_add(deadline.as_millis())).then(|| {
            let message =
                format!("It could not start within startingDeadline ({deadline}), and will not start now. Set a later startAt, or remove startingDeadline.");
            Verdict::stalled(CampaignState::Stopped, Reason::StartingDeadlineExceeded, message, None)
        })
    }

    /// It is not within its sending hours. What was handed out before gets its outcome.
    fn is_outside_its_hours(&self) -> Option<Verdict> {
        let hours = self.input.when.as_ref().ok()?.hours.as_ref()?;
        let moment = hours.of_all(self.now_ms).filter(|moment| !moment.is_open)?;
        let message = format!("Outside its sendingHours; sending {} at {}.", self.goes_on(), hours.zone.words(moment.until_ms));
        let verdict = Verdict::well(self.resting(), Reason::OutsideSendingHours, message, self.held());
        Some(Verdict { wake_at_ms: Some(moment.until_ms), ..verdict })
    }

    fn goes_on(&self) -> &'static str {
        if self.run.has_begun { "resumes" } else { "begins" }
    }

    fn waits_for_the_ledger(&self) -> Option<Verdict> {
        let problem = self.observed.report.ledger_problem.as_ref()?;
        Some(Verdict::trying(CampaignState::Waiting, Reason::LedgerUnavailable, problem.message.clone(), Some(false)))
    }

    fn has_no_server(&self) -> Option<Verdict> {
        let waits = |state, reason, message: String, hold| Some(Verdict::trying(state, reason, message, hold));
        let (servers, run) = (self.servers, self.run);
        let (open, active) = (&servers.open, servers.active);
        if open.is_empty() && servers.usable().any(|candidate| candidate.bar.is_some()) && servers.paused().next().is_none() {
            // The data plane is about to stop it, or to resume it.
            let bars = servers.usable().filter_map(|candidate| candidate.bar.as_ref());
            let message = told(bars.map(|bar| bar.message.clone()), "servers");
            return waits(CampaignState::Waiting, Reason::WaitingForServer, message, Some(false));
        }
        if servers.is_pending && (active == 0 || !(run.has_begun || run.report.is_some())) {
            let message = "Its servers are being probed for the first time.".to_owned();
            return waits(self.resting(), Reason::NotProbedYet, message, run.has_begun.then_some(false));
        }
        // A run that has sent is not stopped for good by the first probes after a restart, when the network may not be up yet.
        if active == 0 && run.has_sent && open.iter().any(|(_, server)| !server.settled) {
            let message = "None of its servers is Active; they are probed again before the campaign is stopped.".to_owned();
            return waits(CampaignState::Waiting, Reason::WaitingForServer, message, Some(false));
        }
        (active == 0).then(|| self.has_no_active_server())
    }

    fn has_no_active_server(&self) -> Verdict {
        match self.spec().when_no_server_is_active() {
            WhenNoServerIsActive::Stop if self.run.has_sent => {
                Verdict::stalled(CampaignState::Stopped, Reason::NoEligibleServer, self.stopped_without_server(), self.held())
            }
            WhenNoServerIsActive::Stop => Verdict::stalled(
                self.resting(),
                Reason::NoEligibleServer,
                format!(
                    "{}. {} Nothing has been sent yet; the campaign starts as soon as one of them {}.",
                    self.none_can_be_used(),
                    self.why_inactive(),
                    if self.servers.paused().next().is_some() {
                        "can be used"
                    } else if self.takes_too_little() {
                        "takes them"
                    } else if self.none_may_send() {
                        "may"
                    } else {
                        "is Active"
                    }
                ),
                self.held(),
            ),
            WhenNoServerIsActive::Wait => Verdict::trying(
                CampaignState::Waiting,
                Reason::WaitingForServer,
                format!("{}; waiting for one. {}", self.none_can_be_used(), self.why_inactive()),
                Some(false),
            ),
        }
    }

    /// That none of its servers can be used now: none is Active, or not for its namespace.
    fn none_can_be_used(&self) -> String {
        if self.servers.paused().next().is_some() {
            return format!("None of its servers can be used by namespace {}", self.key.namespace);
        }
        if self.takes_too_little() {
            return "None of its servers accepts its messages".to_owned();
        }
        if self.none_may_send() {
            return format!("None of its servers may send from {}", self.spec().from.address);
        }
        "None of its servers is Active".to_owned()
    }

    /// Whether its messages hold more than any of its servers takes that may send what it says.
    fn takes_too_little(&self) -> bool {
        self.none_may_send() && self.servers.candidates.iter().any(|candidate| candidate.is_wanted() && candidate.is_too_much)
    }

    /// Whether servers are granted, and none of them may send what the campaign says.
    fn none_may_send(&self) -> bool {
        self.servers.usable().next().is_none() && self.servers.candidates.iter().any(Candidate::is_wanted)
    }

    /// Why each of its servers is not Active now.
    fn why_inactive(&self) -> String {
        let open = &self.servers.open;
        let inactive = open.iter().filter(|(_, server)| !server.active);
        let causes = inactive.map(|(server, decision)| format!("{}: {}", server.name, decision.why_inactive));
        let causes = causes.chain(self.servers.paused().map(|pause| pause.message.clone()));
        let has_none = self.servers.usable().next().is_none();
        let unfit = self.servers.candidates.iter().filter(|candidate| has_none && candidate.is_wanted());
        let unfit = unfit.filter_map(|candidate| Some(format!("{}: {}.", candidate.key.name, candidate.unfit.as_ref()?)));
        told(causes.chain(unfit), "servers")
    }

    /// How to resume a run that was stopped because none of its servers was Active, and the state of these servers now.
    fn stopped_without_server(&self) -> String {
        let (spec, servers) = (self.spec(), self.servers);
        let command = format!("`mailfleet resume {}`", self.key.as_arguments());
        let how =
            format!("{command}, a new value of the annotation {ANNOTATION}, or a change of the spec resumes it, and mails only the rest");
        let active = servers.open.iter().filter(|(_, server)| server.active).map(|(server, _)| &*server.name);
        if servers.active > 0 {
            return format!("{how}. It was stopped because none of its servers was Active; {} can be used now.", listed(active));
        }
        if servers.is_pending {
            return format!("{how}, once a server is Active; they are being probed. It was stopped because none was.");
        }
        format!(
            "{how}, once a server is Active. {}, and whenNoServerIsActive is {:?}: {} Nothing was sent elsewhere.",
            self.none_can_be_used(),
            spec.when_no_server_is_active(),
            self.why_inactive()
        )
    }

    /// A step of the rollout was sent, and the next one does not begin yet. Whoever of it is deferred is tried again meanwhile.
    fn waits_after_a_step(&self) -> Option<Verdict> {
        let rollout = self.rollout?;
        let (reason, wake_at_ms) = match rollout.turn {
            Turn::Pauses(until) => (Reason::RolloutPaused, Some(until)),
            Turn::TooFew | Turn::Asks => (Reason::RolloutWaiting, None),
            Turn::Sends | Turn::Begins | Turn::Finished => return None,
        };
        let verdict = Verdict::new(CampaignState::Waiting, Finding::Rests(reason, rollout.asks()), Some(false));
        Some(Verdict { wake_at_ms, ..verdict })
    }

    fn is_sent(&self) -> Verdict {
        let verdict = self.sends_or_waits();
        let hours = self.input.when.as_ref().ok().and_then(|when| when.hours.as_ref());
        let closes_ms = hours.and_then(|hours| hours.of_all(self.now_ms)).map(|moment| moment.until_ms);
        let wake_at_ms = verdict.wake_at_ms.into_iter().chain(closes_ms).min();
        Verdict { may_step: true, wake_at_ms, ..verdict }
    }

    fn sends_or_waits(&self) -> Verdict {
        let waiting = self.run.report.map_or(&Waiting::No, |report| &report.waiting);
        match waiting {
            Waiting::No => Verdict::well(CampaignState::Sending, Reason::Sending, "Messages are being sent.", Some(false)),
            Waiting::ForRefusal(message) => Verdict::trying(
                CampaignState::Waiting,
                Reason::WaitingForServer,
                format!("{message} It is retried automatically."),
                Some(false),
            ),
            Waiting::ForServer => match self.failed_servers() {
                // The data plane waits for a server that it is about to be handed, as after a start.
                words if words.is_empty() => {
                    Verdict::well(CampaignState::Sending, Reason::Sending, "Messages are being sent.", Some(false))
                }
                words => Verdict::trying(CampaignState::Waiting, Reason::WaitingForServer, words, Some(false)),
            },
            Waiting::ForLimits(until) => {
                let clock = Timestamp::from_millisecond(*until).map(|at| at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string());
                let own = if self.spec().limits.is_some() { ", its own" } else { "" };
                let message = format!(
                    "The limits of its servers{own} or of namespace {} are used up; sending resumes at {}.",
                    self.key.namespace,
                    clock.unwrap_or_default()
                );
                let verdict = Verdict::well(CampaignState::Waiting, Reason::WaitingForLimits, message, Some(false));
                Verdict { wake_at_ms: Some((*until).max(self.now_ms + 1)), ..verdict }
            }
            Waiting::ForDomains { until_ms, domains } => {
                let clock = Timestamp::from_millisecond(*until_ms).map(|at| at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string());
                let message = format!(
                    "All remaining recipients are at {}, for which the limits of the servers (limits.perDomain) are used up; sending resumes at {}.",
                    listed(domains.iter().map(|domain| &**domain)),
                    clock.unwrap_or_default()
                );
                let verdict = Verdict::well(CampaignState::Waiting, Reason::WaitingForLimits, message, Some(false));
                Verdict { wake_at_ms: Some((*until_ms).max(self.now_ms + 1)), ..verdict }
            }
            Waiting::ForHours { until_ms, zone } => {
                let message = format!(
                    "It is outside sendingHours in the time zones of all remaining recipients; sending resumes at {}.",
                    zone.words(*until_ms)
                );
                let verdict = Verdict::well(CampaignState::Waiting, Reason::OutsideSendingHours, message, Some(false));
                Verdict { wake_at_ms: Some((*until_ms).max(self.now_ms + 1)), ..verdict }
            }
            Waiting::ForRetry(_) => Verdict::well(
                CampaignState::Waiting,
                Reason::WaitingForRetry,
                "All remaining messages were deferred by the servers; they are retried automatically.",
                Some(false),
            ),
        }
    }

    /// Why none of the servers that are Active is used.
    fn failed_servers(&self) -> String {
        let rests = |server: &ServerDecision| {
            condition::find(&server.status.conditions, ConditionType::Routed).is_some_and(|c| c.reason == Reason::OutcomeUnknown)
        };
        let active = self.servers.open.iter().filter(|(_, server)| server.active);
        let (resting, others): (Vec<&_>, Vec<&_>) = active.partition(|(_, server)| rests(server));
        let failed: Vec<&_> = others.into_iter().filter(|(_, server)| !server.routed).collect();
        let names = |of: &[&(&Key, &ServerDecision)]| listed(of.iter().map(|(server, _)| &*server.name));
        let mut words = Vec::new();
        if !failed.is_empty() {
            words.push(format!(
                "Sending through {} failed; it is being probed, and the campaign continues once a probe succeeds.",
                names(&failed)
            ));
        }
        if !resting.is_empty() {
            words.push(format!(
                "The outcome of a message through {} is unknown; it is paused, and then tried with a single message.",
                names(&resting)
            ));
        }
        words.join(" ")
    }
}

/// The message about rows that were added after completion.
pub(super) fn rows_added(count: u64) -> String {
    let (rows, them) = if count == 1 { ("1 row was".to_owned(), "it is") } else { (format!("{} rows were", grouped(count)), "they are") };
    format!("{rows} added or fixed after completion; {them} not mailed until spec.reopen is raised by one, which mails nobody else.")
}

/// The outcomes of the recipients of a run in which nobody was accepted.
fn outcomes(counts: &RecipientCounts) -> String {
    let others = Fate::ALL.into_iter().filter(|fate| counts.of(*fate) > 0);
    others.map(|fate| format!("{} {}", grouped(counts.of(fate)), fate.in_words())).collect::<Vec<_>>().join(", ")
}
