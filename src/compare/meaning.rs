//! What a change means: for each campaign its servers and their shares, whether it starts, for how many, who is mailed again and how long
//! it takes; and the conditions that change.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::{Audience, Change, Identity, ObjectKind, Past, Side};
use crate::{
    decide::{CampaignDecision, CampaignInput, InLedger},
    meta::bound::{counted, grouped},
    resources::{Condition, ConditionStatus, ConditionType, Duration, Key, campaign::CampaignState, condition},
};

/// What the change means for a campaign.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CampaignMeaning {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// What happens to the campaign's own document; absent where only others change.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub change: Option<Change>,
    /// Its servers that send, or did, with their shares.
    pub servers: Vec<Share>,
    /// Its state on the old side; absent where it is not there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state_before: Option<String>,
    /// Its state on the new side; absent where it is not there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
    /// Why it has that state: the reason of its condition Ready.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<&'static str>,
    /// The same in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Recipients on the old side, where they could be counted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recipients_before: Option<u64>,
    /// Recipients on the new side, where they could be counted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recipients: Option<u64>,
    /// Why they could not be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub not_counted: Option<String>,
    /// Whether it starts to mail at once, because of this change.
    pub starts: bool,
    /// Of a rollout: the share of the audience with which it starts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_step: Option<String>,
    /// Who is mailed again, and why; absent where it was not there before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub again: Option<Again>,
    /// About how long it took by its limits on the old side.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub takes_before: Option<String>,
    /// About how long it takes by its limits, from its start.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub takes: Option<String>,
}

/// A server's share of a campaign's next messages.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Share {
    /// Its namespace and name.
    pub server: String,
    /// In percent, on the old side; absent where it was no server of the campaign.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before: Option<f64>,
    /// In percent, on the new side; absent where it is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<f64>,
    /// Why it gets nothing on the new side.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why_not: Option<String>,
}

/// Who is mailed again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Again {
    /// Who.
    pub who: Who,
    /// Why, in a sentence.
    pub why: String,
}

/// Who is mailed again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Who {
    /// Nobody who was mailed.
    Nobody,
    /// Everybody.
    Everybody,
}

/// A condition that differs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ConditionChange {
    /// The kind of the object.
    pub kind: ObjectKind,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// The condition's type.
    pub condition: ConditionType,
    /// What it said; absent where there was none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before: Option<Said>,
    /// What it says; absent where there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<Said>,
}

/// What a condition says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Said {
    /// Whether it holds.
    pub status: ConditionStatus,
    /// Why, as one word.
    pub reason: &'static str,
    /// Why, in words.
    pub message: String,
}

/// What the change means for campaigns: for those that change, and for those for which something does.
#[must_use]
pub fn campaigns(
    old: &Side,
    new: &Side,
    changed: &BTreeMap<Identity, Change>,
    past: &Past,
    takes: (&BTreeMap<Key, Duration>, &BTreeMap<Key, Duration>),
) -> Vec<CampaignMeaning> {
    let all: BTreeSet<&Key> = old.decision.campaigns.keys().chain(new.decision.campaigns.keys()).collect();
    let meaning = |key: &Key| {
        let change = changed.get(&Identity { kind: ObjectKind::Campaign, key: key.clone() }).copied();
        let (before, after) = (old.decision.campaigns.get(key), new.decision.campaigns.get(key));
        let servers = shares(before, after);
        let state = |decision: Option<&CampaignDecision>| decision.map(|decision| format!("{:?}", decision.status.state));
        let ready = after.and_then(|after| condition::find(&after.status.conditions, ConditionType::Ready));
        let (recipients_before, _) = count(old.audiences.get(key));
        let (recipients, not_counted) = count(new.audiences.get(key));
        let took = |takes: &BTreeMap<Key, Duration>| takes.get(key).map(|takes| takes.in_words());
        let (input_before, input) = (old.world.campaigns.get(key), new.world.campaigns.get(key));
        let starts = input.zip(after).is_some_and(|(input, after)| starts(input_before.zip(before), input, after));
        let meaning = CampaignMeaning {
            namespace: key.namespace.to_string(),
            name: key.name.to_string(),
            change,
            servers,
            state_before: state(before),
            state: state(after),
            reason: ready.map(|ready| ready.reason.as_str()),
            message: ready.map(|ready| ready.message.to_string()),
            recipients_before,
            recipients,
            not_counted,
            starts,
            first_step: input
                .filter(|_| starts)
                .and_then(|input| Some(format!("{}%", input.object.spec.rollout.as_ref()?.steps.first()?.percent.0))),
            again: input_before.zip(input).filter(|_| change.is_some()).map(|(before, now)| again(key, before, now, past)),
            takes_before: took(takes.0),
            takes: took(takes.1),
        };
        let is_told = change.is_some()
            || meaning.state_before != meaning.state
            || meaning.recipients_before != meaning.recipients
            || meaning.takes_before != meaning.takes
            || meaning.servers.iter().any(|share| share.before != share.after);
        is_told.then_some(meaning)
    };
    all.into_iter().filter_map(meaning).collect()
}

fn count(audience: Option<&Audience>) -> (Option<u64>, Option<String>) {
    match audience {
        Some(Audience::Counted(count)) => (Some(*count), None),
        Some(Audience::MoreThan(count)) => (None, Some(format!("more than {}, of which the rest was not counted", grouped(*count)))),
        Some(Audience::NotKnown(why)) => (None, Some(why.clone())),
        None => (None, None),
    }
}

/// The servers that send on one side, with their shares on both.
#[must_use]
pub fn shares(before: Option<&CampaignDecision>, after: Option<&CampaignDecision>) -> Vec<Share> {
    /// The shares on both sides, percent, and why there is none in the new one.
    #[derive(Default)]
    struct Row {
        before: Option<f64>,
        after: Option<f64>,
        why: String,
    }
    let mut rows: BTreeMap<String, Row> = BTreeMap::new();
    let table = |decision: Option<&CampaignDecision>| {
        let rows = decision.into_iter().flat_map(|decision| decision.status.servers.iter());
        rows.filter(|row| row.granted && row.chosen).collect::<Vec<_>>()
    };
    for row in table(before) {
        rows.entry(row.server.to_string()).or_default().before = row.share_percent.parse().ok();
    }
    for row in table(after) {
        let known = rows.entry(row.server.to_string()).or_default();
        (known.after, known.why) = (row.share_percent.parse().ok(), row.why_not.to_string());
    }
    // Why a server that is no longer chosen gets nothing.
    for known in rows.values_mut().filter(|known| known.after.is_none() && after.is_some()) {
        "no longer one of the plan's servers".clone_into(&mut known.why);
    }
    for row in after.into_iter().flat_map(|decision| decision.status.servers.iter()) {
        if let Some(known) = rows.get_mut(&*row.server).filter(|known| known.after.is_none()) {
            known.why = row.why_not.to_string();
        }
    }
    let share = |(server, Row { before, after, why }): (String, Row)| {
        let is_left_out = after.is_none_or(|after| after <= 0.0);
        Share { server, before, after, why_not: Some(why).filter(|why| is_left_out && !why.is_empty()) }
    };
    rows.into_iter().map(share).collect()
}

/// How many servers send.
#[must_use]
pub fn sending(decision: &CampaignDecision) -> usize {
    decision.status.servers.iter().filter(|row| row.share_percent.parse::<f64>().is_ok_and(|share| share > 0.0)).count()
}

/// Whether a campaign starts to mail because of the change: its run has not begun, and would now.
fn starts(before: Option<(&CampaignInput, &CampaignDecision)>, input: &CampaignInput, after: &CampaignDecision) -> bool {
    let has_begun = matches!(input.in_ledger, InLedger::Begun | InLedger::Closed);
    let was_sent = before.is_some_and(|(before, decision)| {
        decision.status.state == CampaignState::Sending && before.object.spec.run() == input.object.spec.run()
    });
    after.status.state == CampaignState::Sending && !has_begun && !was_sent
}

/// Who is mailed again by the rules of the ledger: its campaign, its run and the person.
fn again(key: &Key, before: &CampaignInput, now: &CampaignInput, past: &Past) -> Again {
    let (old_run, run) = (before.object.spec.run(), now.object.spec.run());
    let nobody = |why: String| Again { who: Who::Nobody, why };
    let everybody = |why: String| Again { who: Who::Everybody, why };
    if run != old_run {
        return match (past.run(key, run), past.run(key, old_run)) {
            (Some(known), _) if known.is_closed => nobody(format!("Run {run} is completed already.")),
            (Some(known), _) => {
                nobody(format!("Run {run} has begun before ({}), and goes on with the rest.", mailed(known.counts.ended())))
            }
            (None, _) if !past.is_known => everybody(format!(
                "spec.run changes from {old_run} to {run}: a new run mails everybody, whoever was mailed in run {old_run}."
            )),
            (None, Some(known)) if known.has_sent => everybody(format!(
                "spec.run changes from {old_run} to {run}: a new run mails everybody, those too who were mailed in run {old_run} ({}).",
                grouped(known.counts.accepted)
            )),
            (None, _) => nobody(format!("spec.run changes from {old_run} to {run}, and nobody was mailed in run {old_run}.")),
        };
    }
    if now.object.spec.reopen() > before.object.spec.reopen() {
        return nobody("spec.reopen rises: recipients whose rows were added or fixed since are mailed, and nobody else.".to_owned());
    }
    match past.run(key, run) {
        Some(known) if known.is_closed => {
            nobody(format!("Run {run} is completed ({}); only a new value of spec.run mails them again.", mailed(known.counts.ended())))
        }
        Some(known) => nobody(format!(
            "Run {run} goes on ({}): the change is for those who have not been handed to a server yet.",
            mailed(known.counts.ended())
        )),
        None if past.is_known => nobody(format!("Nothing of run {run} has been sent yet.")),
        None => nobody(format!("spec.run stays {run}: the ledger keeps whoever was mailed in it from being mailed again.")),
    }
}

fn mailed(ended: u64) -> String {
    format!("{} with a final outcome", counted(ended, "recipient", "recipients"))
}

/// The conditions that differ, of objects that are on both sides; and what is wrong with new ones.
#[must_use]
pub fn conditions(old: &Side, new: &Side) -> Vec<ConditionChange> {
    let mut found = Vec::new();
    let mut add = |kind: ObjectKind, key: &Key, before: Option<&[Condition]>, after: &[Condition]| {
        let types: BTreeSet<ConditionType> = before.unwrap_or_default().iter().chain(after).map(|condition| condition.kind).collect();
        for of_type in types {
            let find = |of: &[Condition]| of.iter().find(|condition| condition.kind == of_type).cloned();
            let (was, is) = (before.and_then(find), find(after));
            // These say again what Ready says.
            if matches!(of_type, ConditionType::Completed | ConditionType::Stalled | ConditionType::Reconciling) {
                continue;
            }
            let is_new_and_well = before.is_none() && is.as_ref().is_some_and(|is| is.status != ConditionStatus::False);
            let (was, is) = (was.map(said), is.map(said));
            if was == is || is_new_and_well {
                continue;
            }
            let (namespace, name) = (key.namespace.to_string(), key.name.to_string());
            found.push(ConditionChange { kind, namespace, name, condition: of_type, before: was, after: is });
        }
    };
    for (key, server) in &new.decision.servers {
        let before = old.decision.servers.get(key).map(|server| &server.status.conditions[..]);
        add(ObjectKind::SendingServer, key, before, &server.status.conditions);
    }
    for (key, plan) in &new.decision.plans {
        add(ObjectKind::Plan, key, old.decision.plans.get(key).map(|plan| &plan.conditions[..]), &plan.conditions);
    }
    for (key, campaign) in &new.decision.campaigns {
        let before = old.decision.campaigns.get(key).map(|campaign| &campaign.status.conditions[..]);
        add(ObjectKind::Campaign, key, before, &campaign.status.conditions);
    }
    found
}

fn said(condition: Condition) -> Said {
    Said { status: condition.status, reason: condition.reason.as_str(), message: condition.message.into_owned() }
}
