//! What is said of a change, in sentences that the text and the Markdown share. Pure.

use std::path::Path;

use super::{documents::titled, side::Loaded};
use crate::{
    compare::{
        Change, FieldChange, ObjectKind, Past,
        meaning::{Again, CampaignMeaning, ConditionChange, Said, Who},
        objects::in_words,
    },
    meta::bound::{counted, grouped},
    resources::{ConditionStatus, ConditionType, Key},
};

/// The longest value of a field that is shown, characters.
const VALUE_MAX: usize = 120;

/// How it is known who was mailed.
#[derive(Clone, Copy, Debug)]
pub enum Known<'a> {
    /// By the ledger of a state folder, if there is one.
    ByLedger(&'a Path),
    /// By the statuses of a cluster.
    ByStatuses,
}

/// The assumptions.
pub fn assumed(past: &Past, known: Known<'_>, kept: &[(&'static str, Key)], sides: [&Loaded; 2], has_missing: bool) -> Vec<String> {
    let mut assumed = vec!["Each server passes its test: shares are those of healthy servers.".to_owned()];
    match known {
        Known::ByLedger(state) if !past.is_known => assumed.push(format!(
            "No ledger is in {}: nobody is known to have been mailed yet. Give --state to compare with a machine that sends.",
            state.display()
        )),
        Known::ByLedger(_) => {}
        Known::ByStatuses => assumed.push("Who was mailed is known by the statuses of the campaigns in the cluster.".to_owned()),
    }
    if has_missing {
        assumed.push("Secrets, ConfigMaps and files that are not here are there where campaigns are sent.".to_owned());
    }
    for (kind, key) in kept {
        let title = titled(ObjectKind::of_ours(kind), &key.namespace, &key.name);
        assumed.push(format!(
            "{title} cannot be read on the new side, and counts as it was: a process that runs keeps its last good version."
        ));
    }
    for what in sides.iter().flat_map(|side| &side.left_out) {
        assumed.push(format!("Not read: {what}."));
    }
    assumed
}

/// What happens, in a word.
pub const fn verb(change: Change) -> &'static str {
    match change {
        Change::Added => "added",
        Change::Changed => "changed",
        Change::Removed => "removed",
    }
}

/// `spec.servers[ses].weight: 3 → 1`.
pub fn field(change: &FieldChange) -> String {
    let value = |value: &Option<serde_json::Value>| value.as_ref().map(|value| in_words(value, VALUE_MAX)).unwrap_or_default();
    let what = match (&change.summary, change.change) {
        (Some(summary), _) => summary.clone(),
        (None, Change::Changed) => format!("{} → {}", value(&change.old), value(&change.new)),
        (None, Change::Added) => value(&change.new),
        (None, Change::Removed) => value(&change.old),
    };
    format!("{}: {what}", change.field)
}

/// A share for people: `33.3%`.
pub fn share(share: Option<f64>) -> String {
    share.map_or_else(|| "-".to_owned(), |share| format!("{share:.1}%"))
}

/// What becomes of a share, in a word.
pub fn shift(before: Option<f64>, after: Option<f64>) -> String {
    let is_sending = |share: Option<f64>| share.is_some_and(|share| share > 0.0);
    match (is_sending(before), is_sending(after)) {
        (false, true) => "gained".to_owned(),
        (true, false) => "lost".to_owned(),
        _ => match after.unwrap_or(0.0) - before.unwrap_or(0.0) {
            less if less <= -0.05 => format!("{less:.1}"),
            more if more >= 0.05 => format!("+{more:.1}"),
            _ => String::new(),
        },
    }
}

/// What the change means for a campaign, beside its shares.
pub fn sentences(campaign: &CampaignMeaning) -> Vec<String> {
    let mut said = Vec::new();
    if campaign.state_before.is_some() && campaign.state.is_none() {
        said.push("It is removed: nothing more of it is sent.".to_owned());
        return said;
    }
    if campaign.starts {
        said.push(format!("It starts at once{}.", to_whom(campaign)));
    }
    if let (Some(state), Some(message)) = (&campaign.state, &campaign.message) {
        let before =
            campaign.state_before.as_ref().filter(|before| *before != state).map(|before| format!("{before} → ")).unwrap_or_default();
        let is_new = campaign.state_before.is_none() || !before.is_empty();
        // The state says it all.
        let is_plain = matches!(campaign.reason, Some("Sending" | "Completed"));
        let why = campaign.reason.filter(|reason| reason != state).map(|reason| format!(" ({reason})")).unwrap_or_default();
        if is_new || !is_plain {
            let message = if is_plain { String::new() } else { format!(" {message}") };
            said.push(format!("State: {before}{state}{why}.{message}"));
        }
    }
    if !campaign.starts {
        match (campaign.recipients_before, campaign.recipients) {
            (Some(before), Some(now)) if before != now => {
                said.push(format!("Recipients: {} → {}.", grouped(before), grouped(now)));
            }
            (None, Some(now)) if campaign.state_before.is_none() => said.push(format!("Recipients: {}.", grouped(now))),
            _ => {}
        }
    }
    if let Some(why) = campaign.not_counted.as_ref().filter(|_| campaign.starts || campaign.state_before.is_none()) {
        said.push(format!("Its recipients are not counted: {}.", why.trim_end_matches('.')));
    }
    if let Some(Again { who, why }) = &campaign.again {
        let who = match who {
            Who::Nobody => "nobody",
            Who::Everybody => "everybody",
        };
        said.push(format!("Mailed again: {who}. {why}"));
    }
    match (&campaign.takes_before, &campaign.takes) {
        (Some(before), Some(now)) if before != now => said.push(format!("By its limits it takes about {now}, and took {before} before.")),
        (Some(before), None) if campaign.state.as_deref() == Some("Sending") => {
            said.push(format!("By its limits it took about {before}; now no limit bounds it."));
        }
        (_, Some(now)) => said.push(format!("By its limits it takes about {now}.")),
        (_, None) => {}
    }
    said
}

fn to_whom(campaign: &CampaignMeaning) -> String {
    let first = campaign.first_step.as_ref().map(|step| format!(", beginning with {step} of them")).unwrap_or_default();
    campaign.recipients.map_or(first.clone(), |count| format!(", for {}{first}", counted(count, "recipient", "recipients")))
}

/// The conditions that differ, but for what is said of campaigns already.
pub fn conditions(changes: &[ConditionChange], campaigns: &[CampaignMeaning]) -> Vec<String> {
    let is_said = |change: &&ConditionChange| {
        let is_it = |campaign: &CampaignMeaning| campaign.namespace == change.namespace && campaign.name == change.name;
        change.kind == ObjectKind::Campaign && change.condition == ConditionType::Ready && campaigns.iter().any(is_it)
    };
    changes.iter().filter(|change| !is_said(change)).map(condition).collect()
}

/// A condition that differs.
fn condition(change: &ConditionChange) -> String {
    let word = |said: &Said| {
        let status = match said.status {
            ConditionStatus::True => "True",
            ConditionStatus::False => "False",
            ConditionStatus::Unknown => "Unknown",
        };
        format!("{status}, {}", said.reason)
    };
    let title = titled(change.kind, &change.namespace, &change.name);
    let what = match (&change.before, &change.after) {
        (Some(before), Some(after)) if word(before) == word(after) => format!("{} (in other words): {}", word(after), after.message),
        (Some(before), Some(after)) => format!("{} → {}: {}", word(before), word(after), after.message),
        (None, Some(after)) => format!("{}: {}", word(after), after.message),
        (Some(before), None) => format!("{} → gone", word(before)),
        (None, None) => String::new(),
    };
    format!("{title} {}: {what}", words_of(change.condition))
}

/// The type of a condition, as statuses write it.
fn words_of(condition: ConditionType) -> String {
    serde_json::to_value(condition).ok().and_then(|word| word.as_str().map(str::to_owned)).unwrap_or_default()
}
