//! Whether a server is Active or Inactive, and why. Pure.

mod conditions;
#[cfg(test)]
mod tests;

use std::{borrow::Cow, collections::BTreeMap};

pub(super) use conditions::tell_when_stale;

use super::{
    Observations, ProbeResult, ServerDecision, ServerInput,
    grants::Ownership,
    identity::IdentityObservation,
    observe::{SendFailure, ServerObservation},
    pauses, signing,
    warmup::Progress,
};
use crate::{
    dns::Subject,
    feedback::Standing,
    meta::bound::rate_in_words,
    providers::Provider as _,
    report::ServerReport,
    resources::{
        Blocker, Condition, Key, Rate, Reason, SendingServerSpec,
        sending_server::{
            CONNECTIONS_AT_FIRST, DomainLimits, DomainUsed, EffectiveProbe, EffectiveServer, SendingServerStatus, ServerState,
        },
    },
};

const DAY_MS: i64 = 86_400_000;
/// The message of a server whose first probe is in progress.
const NOT_PROBED: &str = "The first probe is under way.";

/// Decides on one server.
#[must_use]
pub fn decide(
    key: &Key,
    input: &ServerInput,
    ownership: &BTreeMap<Key, Ownership>,
    observed: &Observations,
    listens_for_bounces: bool,
    now_ms: i64,
) -> ServerDecision {
    let known = Known::of(key, input, ownership.get(key), observed, listens_for_bounces, now_ms);
    let verdict = Verdict::on(&known);
    let signing = known.signing();
    let conditions = conditions::of(&known, &verdict, &signing);
    let warmup = known.warmup();
    let probe_at_ms = if verdict.may_probe() { known.observation.probe_at_ms(&known.probe, key, observed.seed) } else { None };
    let look_at_ms = known.identity().and_then(|(_, identity)| identity.look_at_ms());
    ServerDecision {
        wake_at_ms: wake_at_ms(&known, warmup.as_ref(), [probe_at_ms, look_at_ms]),
        status: status(&known, &verdict, warmup.as_ref(), conditions),
        active: verdict.is_active(),
        routed: (verdict.is_active() || verdict.on_trial) && known.observation.send_failure.is_none(),
        signing,
        on_trial: verdict.on_trial,
        settled: verdict.is_settled(&known),
        warmup,
        probe_at_ms,
        look_at_ms,
        why_inactive: verdict.blocker.map(|blocker| blocker.message).unwrap_or_default(),
        reads_mailbox: !known.is_refused(),
    }
}

/// What is known of a server: its object, and what was observed of it.
struct Known<'a> {
    key: &'a Key,
    spec: &'a SendingServerSpec,
    input: &'a ServerInput,
    ownership: Option<&'a Ownership>,
    observed: &'a Observations,
    listens_for_bounces: bool,
    now_ms: i64,
    probe: EffectiveProbe,
    /// Of this version of spec and Secrets; fresh where only older ones were observed.
    observation: Cow<'a, ServerObservation>,
    /// What DNS must confirm, and what it said so far.
    subject: Option<(&'a Subject, Cow<'a, IdentityObservation>)>,
    /// What the data plane reports.
    report: Option<&'a ServerReport>,
    /// The window of a server that came back from a pause.
    share: Option<Rate>,
}

impl<'a> Known<'a> {
    fn of(
        key: &'a Key,
        input: &'a ServerInput,
        ownership: Option<&'a Ownership>,
        observed: &'a Observations,
        listens_for_bounces: bool,
        now_ms: i64,
    ) -> Self {
        let spec = &input.object.spec;
        let server_hash = input.built.as_ref().ok().copied();
        let observation = observed.servers.get(key).filter(|observation| Some(observation.server_hash) == server_hash);
        let subject = input.identity.as_deref().map(|subject| {
            let identity = observed.identities.get(key).filter(|identity| identity.is_of(subject));
            (subject, identity.map_or_else(Cow::default, Cow::Borrowed))
        });
        Self {
            key,
            spec,
            input,
            ownership,
            observed,
            listens_for_bounces,
            now_ms,
            probe: spec.probe(),
            observation: observation.map_or_else(Cow::default, Cow::Borrowed),
            subject,
            report: observed.report.servers.get(key),
            share: pauses::first_share(&input.past.standing, spec, now_ms),
        }
    }

    fn standing(&self) -> &Standing {
        &self.input.past.standing
    }

    fn is_refused(&self) -> bool {
        matches!(self.ownership, Some(Ownership::Refused(_)))
    }

    fn is_allowed(&self) -> bool {
        self.spec.is_enabled() && !self.is_refused()
    }

    /// What DNS must confirm; what may not be used is not looked up either.
    fn identity(&self) -> Option<(&Subject, &IdentityObservation)> {
        self.subject.as_ref().filter(|_| self.is_allowed()).map(|(subject, identity)| (*subject, &**identity))
    }

    /// The records of the keys that sign. What is in flight is signed, whoever forbids the server meanwhile.
    fn signing(&self) -> Vec<String> {
        self.subject.as_ref().map(|(subject, identity)| signing::chosen(subject, identity)).unwrap_or_default()
    }

    /// A send failure since which nothing was accepted.
    fn unproven(&self) -> Option<&SendFailure> {
        self.observation.unproven(&self.probe, self.report.map_or(0, |report| report.accepted))
    }

    fn warmup(&self) -> Option<Progress> {
        let days = self.observed.report.days.get(self.key).map_or(&[][..], |days| &days[..]);
        let of = |warmup| Progress::of(warmup, days, &pauses::held_days(self.standing(), self.spec), self.now_ms);
        self.spec.warmup.as_ref().map(of)
    }
}

/// Whether a server is used, and what stands in the way.
struct Verdict {
    accepted: Result<(), Blocker>,
    /// Why it is not Active.
    blocker: Option<Blocker>,
    /// Whether only its sends stand in the way, which a single message may try.
    on_trial: bool,
}

impl Verdict {
    fn on(known: &Known<'_>) -> Self {
        let accepted = acceptance(known.spec, known.input, known.ownership);
        let of_identity = known.identity().and_then(|(subject, identity)| identity.blocker(subject));
        let on_trial = accepted.is_ok()
            && known.standing().whole().is_none()
            && of_identity.is_none()
            && known.observation.probes_good
            && known.unproven().is_some();
        let blocker = accepted.as_ref().err().cloned().or_else(|| {
            pauses::blocker(&known.input.past)
                .or(of_identity)
                .or_else(|| of_probes(&known.observation))
                .or_else(|| of_sends(known.unproven()))
        });
        Self { accepted, blocker, on_trial }
    }

    fn is_active(&self) -> bool {
        self.blocker.is_none()
    }

    fn may_probe(&self) -> bool {
        self.accepted.is_ok()
    }

    /// Whether it will not change before something else does: a first failed probe is repeated before it counts.
    fn is_settled(&self, known: &Known<'_>) -> bool {
        self.accepted.is_err()
            || self.on_trial
            || known.observation.failures >= known.probe.failure_threshold
            || self.blocker.as_ref().is_some_and(|blocker| blocker.needs_person)
    }
}

fn status(known: &Known<'_>, verdict: &Verdict, warmup: Option<&Progress>, conditions: Vec<Condition>) -> SendingServerStatus {
    let (spec, report) = (known.spec, known.report);
    let connections = report.map_or_else(|| spec.limits().connections.unwrap_or(CONNECTIONS_AT_FIRST), |report| report.connections);
    let in_flight_at_first = || spec.limits().in_flight.map_or(connections, |most| most.min(connections));
    let rates = rates_in_force(spec, known.observation.quotas.iter().copied().chain(known.share));
    SendingServerStatus {
        observed_generation: known.input.object.generation(),
        state: if verdict.is_active() { ServerState::Active } else { ServerState::Inactive },
        provider: spec.provider.type_name().to_owned(),
        address: spec.provider.address(),
        used: used(&rates, report),
        per_domain: used_by_domain(spec, report),
        warmup: warmup.and_then(|warmup| warmup.status(report.and_then(|report| report.warmup_left))),
        came_back: pauses::came_back(known.standing(), spec, known.share),
        slowed_to: report.and_then(|report| report.slowed_to).map(rate_in_words),
        effective: EffectiveServer {
            connections,
            in_flight: report.map_or_else(in_flight_at_first, |report| report.in_flight_max),
            messages_per_connection: spec.limits().messages_per_connection(),
            rates,
            probe: known.probe.clone(),
        },
        conditions,
    }
}

/// When to decide again: when a probe or a lookup is due, a pause ends, or a day ends the limit of the day before it.
fn wake_at_ms(known: &Known<'_>, warmup: Option<&Progress>, due: [Option<i64>; 2]) -> Option<i64> {
    let tomorrow = (known.now_ms.div_euclid(DAY_MS) + 1) * DAY_MS;
    let readmit_at_ms = known.observation.readmit_at_ms(&known.probe).map(|at| at.max(known.now_ms + 1));
    let share_ends_at_ms = pauses::share_ends_at_ms(known.standing(), known.spec).filter(|_| known.share.is_some());
    let times = [warmup.map(|_| tomorrow), readmit_at_ms, pauses::wake_at_ms(known.standing()), share_ends_at_ms];
    times.into_iter().chain(due).flatten().min()
}

fn acceptance(spec: &SendingServerSpec, input: &ServerInput, ownership: Option<&Ownership>) -> Result<(), Blocker> {
    if !spec.is_enabled() {
        return Err(Blocker::lasting(
            Reason::Disabled,
            "spec.enabled is false: the server is neither probed nor used. Set it to true to use it.",
        ));
    }
    if let Some(Ownership::Refused(problem)) = ownership {
        return Err(problem.clone());
    }
    input.built.clone().map(|_| ())
}

/// The blocker that follows from its probes.
fn of_probes(observation: &ServerObservation) -> Option<Blocker> {
    match &observation.last_probe {
        None => Some(Blocker::passing(Reason::NotProbedYet, NOT_PROBED)),
        Some(_) if observation.probes_good => None,
        Some(ProbeResult::Failed(failure)) => Some(failure.clone()),
        Some(_) => Some(Blocker::passing(Reason::NotProbedYet, "Probes succeed again, but not yet probe.successThreshold times in a row.")),
    }
}

/// A server whose probes succeed and whose sends keep failing is not Active: it cannot send.
fn of_sends(failed: Option<&SendFailure>) -> Option<Blocker> {
    let failure = &failed?.failure;
    let message = format!(
        "Probes succeed, but messages are refused: {}. As soon as a campaign has one for it, a single message tries it again; it is Active once that is accepted.",
        failure.message.trim_end_matches('.')
    );
    Some(Blocker { reason: Reason::SendFailed, message, ..failure.clone() })
}

/// The windows in force: the spec's, the vendor's known limits, those of the account, and the share of a server that came back. Of two windows of equal length the
/// stricter one applies, so that a spec can only be stricter than the vendor.
fn rates_in_force(spec: &SendingServerSpec, others: impl IntoIterator<Item = Rate>) -> Vec<Rate> {
    let mut rates = spec.limits().rates;
    for other in spec.provider.known_limits().into_iter().chain(others) {
        match rates.iter_mut().find(|rate| rate.per == other.per) {
            Some(rate) => rate.messages = rate.messages.min(other.messages),
            None => rates.push(other),
        }
    }
    rates
}

/// How much of the longest window above one minute is used up.
fn used(rates: &[Rate], report: Option<&ServerReport>) -> Option<String> {
    let longest = rates.iter().filter(|rate| !rate.paces()).max_by_key(|rate| rate.per)?;
    let used = report.map_or(0, |server| server.used_in(longest.per));
    Some(format!("{used}/{} per {}", longest.messages, longest.per))
}

/// How much of the longest window above one minute of each limit for receiving domains is used up.
fn used_by_domain(spec: &SendingServerSpec, report: Option<&ServerReport>) -> Vec<DomainUsed> {
    let limits = spec.limits().per_domain.into_iter().enumerate();
    let of = |(at, limits): (usize, DomainLimits)| {
        let longest = limits.rates.iter().filter(|rate| !rate.paces()).max_by_key(|rate| rate.per);
        let used = |per| report.and_then(|report| report.domains.get(at)).map_or(0, |domain| domain.used_in(per));
        DomainUsed { used: longest.map(|rate| format!("{}/{} per {}", used(rate.per), rate.messages, rate.per)), domains: limits.domains }
    };
    limits.map(of).collect()
}
