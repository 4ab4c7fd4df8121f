//! What the status of a server says, condition by condition. Pure.

use std::borrow::Cow;

use super::{Known, NOT_PROBED, Verdict};
use crate::{
    decide::{ProbeResult, observe::ServerObservation, pauses, signing},
    resources::{Blocker, Condition, ConditionStatus, ConditionType, Reason, SendingServerSpec},
};

/// All of them, without their times.
pub(super) fn of(known: &Known<'_>, verdict: &Verdict, signing: &[String]) -> Vec<Condition> {
    let mut conditions = vec![accepted(&verdict.accepted)];
    conditions.extend(verdict.may_probe().then(|| probed(&known.observation)));
    conditions.extend(taken_out(&known.observation));
    conditions.extend(at_rest(known, verdict));
    conditions.extend(known.identity().map(|(_, identity)| identity.condition()));
    conditions.extend(feedback_ready(known));
    if known.is_allowed() {
        conditions.extend(signing::condition(known.spec, known.identity().map(|(subject, _)| (subject, signing))));
    }
    conditions.extend(pauses::condition(known.standing()));
    conditions.extend(ready(verdict.blocker.as_ref()));
    tell_when_stale(&mut conditions, known.input.stale.as_deref());
    conditions
}

/// If the newest version cannot be read, a person has to act, whatever the last valid one does.
pub(in crate::decide) fn tell_when_stale(conditions: &mut Vec<Condition>, stale: Option<&str>) {
    if let Some(why) = stale {
        conditions.retain(|condition| condition.kind != ConditionType::Stalled && condition.kind != ConditionType::Reconciling);
        conditions.push(Condition::new(ConditionType::Stalled, ConditionStatus::True, Reason::Unreadable, why.to_owned()));
        conditions.push(Condition::new(ConditionType::SourceRead, ConditionStatus::False, Reason::Unreadable, why.to_owned()));
    }
}

fn accepted(accepted: &Result<(), Blocker>) -> Condition {
    match accepted {
        Ok(()) => Condition::new(ConditionType::Accepted, ConditionStatus::True, Reason::Read, "The spec and what it refers to are valid."),
        Err(blocker) => failed(ConditionType::Accepted, blocker),
    }
}

fn failed(kind: ConditionType, blocker: &Blocker) -> Condition {
    Condition::new(kind, ConditionStatus::False, blocker.reason, blocker.message.clone())
}

fn probed(observation: &ServerObservation) -> Condition {
    let not_yet = (ConditionStatus::Unknown, Reason::NotProbedYet, NOT_PROBED.into());
    let (status, reason, message) = observation.last_probe.as_ref().map_or(not_yet, ProbeResult::words);
    Condition::new(ConditionType::Probed, status, reason, message)
}

/// A send failure takes a server out at once, whatever its probes say.
fn taken_out(observation: &ServerObservation) -> Option<Condition> {
    observation.send_failure.as_ref().map(|failed_send| failed(ConditionType::Routed, &failed_send.failure))
}

/// Whether an Active server rests, because the data plane does not know what it did, or because it asked for less.
fn at_rest(known: &Known<'_>, verdict: &Verdict) -> Option<Condition> {
    let is_used = verdict.is_active() && known.observation.send_failure.is_none();
    let report = known.report.filter(|_| is_used)?;
    let (reason, message): (_, Cow<'static, str>) = if let Some(cause) = &report.rests_since {
        (
            Reason::OutcomeUnknown,
            format!("The outcome of a message is unknown. The server is paused for up to five minutes, and then tried with a single message; other servers take its share meanwhile. {cause}").into(),
        )
    } else if report.rests {
        (
            Reason::Throttled,
            "The server reports too many messages. It is paused, and then sent messages only at the rate that it accepted; other servers take its share meanwhile. If this persists, lower limits.rates or limits.connections.".into(),
        )
    } else {
        return None;
    };
    Some(Condition::new(ConditionType::Routed, ConditionStatus::False, reason, message))
}

/// Whether what comes back is heard of, by the vendor's calls and by mail.
fn feedback_ready(known: &Known<'_>) -> Option<Condition> {
    let webhook = known.spec.webhook().and(known.observed.webhooks.get(known.key));
    let by_webhook = webhook.map(|webhook| webhook.condition(known.key, known.now_ms));
    let mailbox = known.observed.mailboxes.get(known.key);
    let by_mail = feedback(known.spec, mailbox, known.listens_for_bounces).filter(|_| !known.is_refused());
    worse(by_webhook, by_mail)
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
        (None, _) if listens => (ConditionStatus::True, Reason::FeedbackRead, "The listener accepts bounces.".into()),
        (None, _) => (
            ConditionStatus::False,
            Reason::NotListening,
            "Bounces of this server go to the listener, and this process has none: start it with --bounce-address. Sending is not affected.".into(),
        ),
        (Some(_), None) => (ConditionStatus::Unknown, Reason::NotReadYet, "The mailbox is being read for the first time.".into()),
        (Some(_), Some(Ok(()))) => (ConditionStatus::True, Reason::FeedbackRead, "The mailbox is read.".into()),
        (Some(_), Some(Err(failure))) => (ConditionStatus::False, failure.reason, failure.message.clone().into()),
    };
    Some(Condition::new(ConditionType::FeedbackReady, status, reason, message))
}

/// The summary, and what an Inactive server waits for.
fn ready(blocker: Option<&Blocker>) -> Vec<Condition> {
    match blocker {
        None => vec![Condition::new(ConditionType::Ready, ConditionStatus::True, Reason::Active, "The server is Active.")],
        Some(blocker) => vec![
            failed(ConditionType::Ready, blocker),
            Condition::new(blocker.condition(), ConditionStatus::True, blocker.reason, blocker.message.clone()),
        ],
    }
}
