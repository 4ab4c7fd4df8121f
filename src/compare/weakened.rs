//! Guards that are weaker on the new side than on the old one, each with its sentence.

use std::{collections::BTreeSet, fmt};

use super::Rule;
use crate::resources::{
    CampaignSpec, PlanSpec, SendingServerSpec,
    plan::{AllowedNamespaces, NamespacesFrom},
};

/// What is found of an object.
pub type Found = Vec<(Rule, String)>;

/// `spec.x rises from 10 to 100`, where it does.
fn risen<T: PartialOrd + fmt::Display>(field: &str, old: T, new: T) -> Option<String> {
    (new > old).then(|| format!("{field} rises from {old} to {new}"))
}

/// What of a campaign keeps mail from people or stops it, and is weaker.
pub fn of_campaign(old: &CampaignSpec, new: &CampaignSpec) -> Found {
    let mut found = Found::new();
    let (was, is) = (old.stop_when(), new.stop_when());
    let thresholds = [
        risen("stopWhen.bouncePercent", was.bounce_percent, is.bounce_percent),
        risen("stopWhen.complaintPercent", was.complaint_percent, is.complaint_percent),
        risen("stopWhen.afterMessages", was.after_messages, is.after_messages),
    ];
    found.extend(
        thresholds
            .into_iter()
            .flatten()
            .map(|what| (Rule::GuardWeakened, format!("{what}, so that more bounces or complaints pass before it stops."))),
    );
    if old.rollout.is_some() && new.rollout.is_none() {
        found
            .push((Rule::GuardWeakened, "spec.rollout is removed: everybody is mailed at once, and no sample is judged first.".to_owned()));
    }
    let named = |spec: &CampaignSpec| -> BTreeSet<String> {
        spec.audience.exclude.iter().map(|list| serde_json::to_string(list).unwrap_or_default()).collect()
    };
    let gone = named(old).difference(&named(new)).count();
    if gone > 0 {
        let what =
            if gone == 1 { "A list of spec.audience.exclude is".to_owned() } else { format!("{gone} lists of spec.audience.exclude are") };
        found.push((Rule::SuppressionWeakened, format!("{what} removed or replaced: whoever was left out by it may be mailed.")));
    }
    match (&old.unsubscribe, &new.unsubscribe) {
        (Some(_), None) => {
            found.push((
                Rule::SuppressionWeakened,
                "spec.unsubscribe is removed: people can no longer leave by a link of the message.".to_owned(),
            ));
        }
        (Some(old), Some(new)) if old.one_click.is_some() && new.one_click.is_none() => {
            found.push((
                Rule::SuppressionWeakened,
                "unsubscribe.oneClick is removed: mail programs show no button by which people leave.".to_owned(),
            ));
        }
        _ => {}
    }
    found
}

/// What of a server pauses it, or takes in what comes back, and is weaker.
pub fn of_server(old: &SendingServerSpec, new: &SendingServerSpec) -> Found {
    let mut found = Found::new();
    match (old.pause_when(), new.pause_when()) {
        (Some(_), None) => {
            let why = "feedback.pauseWhen is removed: nothing pauses the server, however much bounces or is reported as spam.";
            found.push((Rule::GuardWeakened, why.to_owned()));
        }
        (Some(was), Some(is)) => {
            let thresholds = [
                risen("pauseWhen.bouncePercent", was.bounce_percent, is.bounce_percent),
                risen("pauseWhen.complaintPercent", was.complaint_percent, is.complaint_percent),
                risen("pauseWhen.afterMessages", was.after_messages, is.after_messages),
            ];
            let words =
                |what: String| (Rule::GuardWeakened, format!("{what}, so that more bounces or complaints pass before it is paused."));
            found.extend(thresholds.into_iter().flatten().map(words));
        }
        (None, _) => {}
    }
    if old.warmup.is_some() && new.warmup.is_none() {
        found.push((
            Rule::GuardWeakened,
            "spec.warmup is removed: from now on only the other limits bound what it sends in a day.".to_owned(),
        ));
    }
    let ways = |spec: &SendingServerSpec| {
        let feedback = spec.feedback.as_ref();
        [
            ("bounces", feedback.is_some_and(|feedback| feedback.bounces.is_some())),
            ("mailbox", feedback.is_some_and(|feedback| feedback.mailbox.is_some())),
            ("webhook", feedback.is_some_and(|feedback| feedback.webhook.is_some())),
        ]
    };
    let is_read = ways(new).iter().any(|(_, is_there)| *is_there);
    let gone: Vec<&str> = ways(old).iter().zip(ways(new)).filter(|((_, was), (_, is))| *was && !is).map(|((name, _), _)| *name).collect();
    if let (Some(gone), false) = (gone.first(), is_read) {
        let why = format!("feedback.{gone} is removed: bounces and complaints are no longer read, and suppress nobody.");
        found.push((Rule::SuppressionWeakened, why));
    }
    let domains = |spec: &SendingServerSpec| spec.identity.as_ref().map(|identity| identity.domains.clone()).unwrap_or_default();
    found.extend(removed_domains(&domains(old), &domains(new)));
    found
}

/// What a plan keeps from namespaces, and opens.
pub fn of_plan(old: &PlanSpec, new: &PlanSpec) -> Found {
    let mut found = Found::new();
    if let (None, Some(how)) = (opened(old.allowed_namespaces.as_ref()), opened(new.allowed_namespaces.as_ref())) {
        found.push((Rule::PlanOpened, format!("allowedNamespaces {how}: every namespace may send through the servers of this plan.")));
    }
    let of = |spec: &PlanSpec| -> Vec<String> {
        let domains: BTreeSet<String> = spec.sender_domains.iter().flat_map(|entry| entry.domains.iter().cloned()).collect();
        domains.into_iter().collect()
    };
    let (was, is) = (of(old), of(new));
    let gone = gone(&was, &is);
    if !gone.is_empty() {
        let why = format!("senderDomains no longer has {}: namespaces that send from there are not granted it any more.", gone.join(", "));
        found.push((Rule::DomainRemoved, why));
    }
    found
}

/// How a plan is open to every namespace, if it is.
fn opened(allowed: Option<&AllowedNamespaces>) -> Option<&'static str> {
    let allowed = allowed?;
    match allowed.from {
        NamespacesFrom::All => Some("becomes All"),
        NamespacesFrom::Selector => {
            let selector = allowed.selector.as_ref()?;
            (selector.match_labels.is_empty() && selector.match_expressions.is_empty()).then_some("has an empty selector")
        }
        NamespacesFrom::Same => None,
    }
}

/// What becomes of a server's domains, where it has fewer.
fn removed_domains(old: &[String], new: &[String]) -> Option<(Rule, String)> {
    let gone = gone(old, new);
    if gone.is_empty() {
        return None;
    }
    let why = if new.is_empty() {
        "identity.domains is removed: campaigns may send from any domain through this server.".to_owned()
    } else {
        format!("identity.domains no longer has {}: campaigns that send from there lose this server.", gone.join(", "))
    };
    Some((Rule::DomainRemoved, why))
}

/// The domains that are no longer there.
fn gone<'a>(old: &'a [String], new: &[String]) -> Vec<&'a str> {
    old.iter().filter(|domain| !new.contains(domain)).map(String::as_str).collect()
}
