//! Whether a server is Active or Inactive, and why. Pure.

#[cfg(test)]
mod tests;

use std::{borrow::Cow, collections::BTreeMap};

use super::{
    Observations, ProbeResult, ServerDecision, ServerInput,
    grants::Ownership,
    identity::IdentityObservation,
    observe::{SendFailure, ServerObservation},
    pauses, signing,
    warmup::Progress,
};
use crate::{
    providers::Provider as _,
    report::ServerReport,
    resources::{
        Blocker, Condition, ConditionStatus, ConditionType, Key, Rate, Reason, SendingServerSpec,
        sending_server::{CONNECTIONS_AT_FIRST, DomainLimits, DomainUsed, EffectiveServer, SendingServerStatus, ServerState},
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
    let spec = &input.object.spec;
    let probe = spec.probe();
    let fingerprint = input.built.as_ref().ok().copied();
    let observation = observed.servers.get(key).filter(|observation| Some(observation.fingerprint) == fingerprint);
    let fresh = ServerObservation::default();
    let observation = observation.unwrap_or(&fresh);
    let failure_threshold = probe.failure_threshold;
    let accepted = acceptance(spec, input, ownership.get(key));
    let may_probe = accepted.is_ok();
    let taken = observed.report.servers.get(key).map_or(0, |server| server.accepted);
    let is_allowed = spec.is_enabled() && !matches!(ownership.get(key), Some(Ownership::Refused(_)));
    let unseen = IdentityObservation::default();
    let identity = input.identity.as_deref().map(|subject| {
        let known = observed.identities.get(key).filter(|known| known.is_of(subject));
        (subject, known.unwrap_or(&unseen))
    });
    // What is in flight is signed, whoever forbids the server meanwhile.
    let signing = identity.map(|(subject, known)| signing::chosen(subject, known)).unwrap_or_default();
    // What may not be used is not looked up either.
    let identity = identity.filter(|_| is_allowed);
    let of_identity = identity.and_then(|(subject, known)| known.blocker(subject));
    let has_identity = of_identity.is_none();
    let standing = &input.past.standing;
    let blocker = match &accepted {
        Err(blocker) => Some(blocker.clone()),
        Ok(()) => pauses::blocker(&input.past)
            .or(of_identity)
            .or_else(|| of_probes(observation))
            .or_else(|| of_sends(observation.unproven(&probe, taken))),
    };
    let active = blocker.is_none();
    let on_trial = accepted.is_ok()
        && standing.whole().is_none()
        && has_identity
        && observation.probes_good
        && observation.unproven(&probe, taken).is_some();
    let routed = (active || on_trial) && observation.send_failure.is_none();

    let mut conditions = vec![match &accepted {
        Ok(()) => Condition::new(ConditionType::Accepted, ConditionStatus::True, Reason::Read, "The spec and what it refers to are valid."),
        Err(blocker) => Condition::new(ConditionType::Accepted, ConditionStatus::False, blocker.reason, blocker.message.clone()),
    }];
    if may_probe {
        conditions.push(probed(observation));
    }
    if let Some(failure) = &observation.send_failure {
        conditions.push(Condition::new(
            ConditionType::Routed,
            ConditionStatus::False,
            failure.failure.reason,
            failure.failure.message.clone(),
        ));
    }
    let report = observed.report.servers.get(key);
    let at_rest = report.filter(|_| observation.send_failure.is_none() && active);
    if let Some(cause) = at_rest.and_then(|report| report.rests_since.as_ref()) {
        conditions.push(Condition::new(
            ConditionType::Routed,
            ConditionStatus::False,
            Reason::OutcomeUnknown,
            format!("The outcome of a message is unknown. The server rests for up to five minutes and is then tried with a single message; other servers take its share meanwhile. {cause}"),
        ));
    } else if at_rest.is_some_and(|report| report.rests) {
        conditions.push(Condition::new(
            ConditionType::Routed,
            ConditionStatus::False,
            Reason::Throttled,
            "The server says that it is being sent too much. It rests, and is then sent only as much as it has accepted; other servers take its share meanwhile. If this persists, lower limits.rates or limits.connections.",
        ));
    }
    conditions.extend(identity.map(|(_, known)| known.condition()));
    let is_refused = matches!(ownership.get(key), Some(Ownership::Refused(_)));
    let of_webhook = spec.webhook().and(observed.webhooks.get(key)).map(|webhook| webhook.condition(key, now_ms));
    let of_mail = feedback(spec, observed.mailboxes.get(key), listens_for_bounces).filter(|_| !is_refused);
    conditions.extend(worse(of_webhook, of_mail));
    if is_allowed {
        conditions.extend(signing::condition(spec, identity.map(|(subject, _)| (subject, &*signing))));
    }
    conditions.extend(pauses::condition(standing));
    match &blocker {
        None => conditions.push(Condition::new(ConditionType::Ready, ConditionStatus::True, Reason::Active, "The server is Active.")),
        Some(blocker) => {
            conditions.push(Condition::new(ConditionType::Ready, ConditionStatus::False, blocker.reason, blocker.message.clone()));
            conditions.push(Condition::new(blocker.condition(), ConditionStatus::True, blocker.reason, blocker.message.clone()));
        }
    }
    tell_when_stale(&mut conditions, input.stale.as_deref());

    let days = observed.report.days.get(key).map_or(&[][..], |days| &days[..]);
    let warmup = spec.warmup.as_ref().map(|warmup| Progress::of(warmup, days, &pauses::held_days(standing, spec), now_ms));
    let connections = report.map_or_else(|| spec.limits().connections.unwrap_or(CONNECTIONS_AT_FIRST), |report| report.connections);
    let share = pauses::first_share(standing, spec, now_ms);
    let rates = rates_in_force(spec, observation.quotas.iter().copied().chain(share));
    let probe_at_ms = may_probe.then(|| observation.probe_at_ms(&probe, key, observed.seed)).flatten();
    let look_at_ms = identity.and_then(|(_, known)| known.look_at_ms());
    let readmit_at_ms = observation.readmit_at_ms(&probe).map(|at| at.max(now_ms + 1));
    ServerDecision {
        status: SendingServerStatus {
            observed_generation: input.object.generation(),
            state: if active { ServerState::Active } else { ServerState::Inactive },
            provider: spec.provider.type_name().to_owned(),
            address: spec.provider.address(),
            used: used(&rates, report),
            per_domain: used_by_domain(spec, report),
            warmup: warmup.as_ref().and_then(|warmup| warmup.status(report.and_then(|report| report.warmup_left))),
            came_back: pauses::came_back(standing, spec, share),
            slowed_to: report.and_then(|report| report.slowed_to).map(rounded),
            effective: EffectiveServer {
                connections,
                in_flight: report.map_or_else(
                    || spec.limits().in_flight.map_or(connections, |most| most.min(connections)),
                    |report| report.in_flight_max,
                ),
                messages_per_connection: spec.limits().messages_per_connection(),
                rates,
                probe,
            },
            conditions,
        },
        active,
        routed,
        signing,
        on_trial,
        settled: accepted.is_err()
            || on_trial
            || observation.failures >= failure_threshold
            || blocker.as_ref().is_some_and(|blocker| blocker.needs_person),
        // A day ends the limit of the day before it.
        wake_at_ms: warmup
            .iter()
            .map(|_| (now_ms.div_euclid(DAY_MS) + 1) * DAY_MS)
            .chain(probe_at_ms)
            .chain(readmit_at_ms)
            .chain(look_at_ms)
            .chain(pauses::wake_at_ms(standing))
            .chain(pauses::share_ends_at_ms(standing, spec).filter(|_| share.is_some()))
            .min(),
        warmup,
        probe_at_ms,
        look_at_ms,
        why_inactive: blocker.map(|blocker| blocker.message).unwrap_or_default(),
        reads_mailbox: !is_refused,
    }
}

/// If the newest version cannot be read, a person has to act, whatever the last valid one does.
pub(super) fn tell_when_stale(conditions: &mut Vec<Condition>, stale: Option<&str>) {
    if let Some(why) = stale {
        conditions.retain(|condition| condition.kind != ConditionType::Stalled && condition.kind != ConditionType::Reconciling);
        conditions.push(Condition::new(ConditionType::Stalled, ConditionStatus::True, Reason::Unreadable, why.to_owned()));
        conditions.push(Condition::new(ConditionType::SourceRead, ConditionStatus::False, Reason::Unreadable, why.to_owned()));
    }
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

/// A rate in words, rounded to two digits so that it does not keep changing.
pub(super) fn rounded(per_second: f64) -> String {
    let (count, unit) = match per_second {
        1.0.. => (per_second, "second"),
        _ if per_second * 60.0 >= 1.0 => (per_second * 60.0, "minute"),
        _ => (per_second * 3600.0, "hour"),
    };
    let digits = 10_f64.powf((count.max(1.0).log10().floor() - 1.0).max(0.0));
    format!("about {} a {unit}", (count / digits).round() * digits)
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
    let message = format!("Probes succeed, but messages are refused: {}", failure.message);
    Some(Blocker { reason: Reason::SendFailed, message, ..failure.clone() })
}

fn probed(observation: &ServerObservation) -> Condition {
    let (status, reason, message): (_, _, Cow<'static, str>) = match &observation.last_probe {
        None => (ConditionStatus::Unknown, Reason::NotProbedYet, NOT_PROBED.into()),
        Some(ProbeResult::NotProbeable) => (
            ConditionStatus::Unknown,
            Reason::NotProbeable,
            "This type of server cannot be probed without sending; it is Active until a send fails.".into(),
        ),
        Some(ProbeResult::Succeeded) => (ConditionStatus::True, Reason::ProbeSucceeded, "Connection successful.".into()),
        Some(ProbeResult::Failed(failure)) => (ConditionStatus::False, failure.reason, failure.message.clone().into()),
    };
    Condition::new(ConditionType::Probed, status, reason, message)
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

/// Of two conditions of one type the one that says that something is missing.
fn worse(one: Option<Condition>, other: Option<Condition>) -> Option<Condition> {
    let rank = |condition: &Condition| match condition.status {
        ConditionStatus::False => 0,
        ConditionStatus::Unknown => 1,
        ConditionStatus::True => 2,
    };
    one.into_iter().chain(other).min_by_key(rank)
}

/// Whether what comes back by mail is read, where it is to be.
fn feedback(spec: &SendingServerSpec, mailbox: Option<&Result<(), Blocker>>, listens: bool) -> Option<Condition> {
    let feedback = spec.feedback.as_ref().filter(|feedback| feedback.is_read())?;
    let (status, reason, message): (_, _, Cow<'static, str>) = match (&feedback.mailbox, mailbox) {
        (None, _) if listens => (ConditionStatus::True, Reason::FeedbackRead, "Bounces are taken by the listener.".into()),
        (None, _) => (
            ConditionStatus::False,
            Reason::NotListening,
            "Bounces of this server come to the listener, and this process has none: start it with --bounce-address. The server sends meanwhile.".into(),
        ),
        (Some(_), None) => (ConditionStatus::Unknown, Reason::NotReadYet, "The mailbox is being read for the first time.".into()),
        (Some(_), Some(Ok(()))) => (ConditionStatus::True, Reason::FeedbackRead, "The mailbox is read.".into()),
        (Some(_), Some(Err(failure))) => (ConditionStatus::False, failure.reason, failure.message.clone().into()),
    };
    Some(Condition::new(ConditionType::FeedbackReady, status, reason, message))
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
