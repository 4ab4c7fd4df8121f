//! Which changes hurt, each by a rule, with one sentence why.

use super::{
    Audience, Danger, ObjectKind, Past, Rule, Side,
    meaning::{self, CampaignMeaning, Who},
    weakened,
};
use crate::{
    meta::bound::{counted, grouped},
    resources::{Key, campaign::CampaignState},
};

/// A server with this share of a campaign or more carries it, percent.
const CARRIES_FROM: f64 = 50.0;
/// An audience that grows by this factor is another one.
const GROWS_BY: u64 = 10;
/// Fewer recipients than this are a trial.
const FEW: u64 = 100;

/// The dangerous changes, by kind and name. `renamed` are campaigns that are gone, each with the one that sends the same.
#[must_use]
pub fn dangers(old: &Side, new: &Side, campaigns: &[CampaignMeaning], renamed: &[(Key, Key)], past: &Past) -> Vec<Danger> {
    let mut found = Vec::new();
    let mut add = |rule: Rule, kind: ObjectKind, key: &Key, why: String| {
        found.push(Danger { rule, kind, namespace: key.namespace.to_string(), name: key.name.to_string(), why });
    };
    for (key, server) in &new.world.servers {
        let Some(before) = old.world.servers.get(key) else { continue };
        let (was, is) = (&before.object.spec, &server.object.spec);
        weakened::of_server(was, is).into_iter().for_each(|(rule, why)| add(rule, ObjectKind::SendingServer, key, why));
        if was.is_enabled() && !is.is_enabled() {
            carried(old, new, key).into_iter().for_each(|why| {
                add(Rule::ServerSwitchedOff, ObjectKind::SendingServer, key, format!("enabled: false switches off a server that {why}."));
            });
        }
    }
    for key in old.world.servers.keys().filter(|key| !new.world.servers.contains_key(*key)) {
        carried(old, new, key)
            .into_iter()
            .for_each(|why| add(Rule::ServerSwitchedOff, ObjectKind::SendingServer, key, format!("A server is removed that {why}.")));
    }
    for (key, plan) in &new.world.plans {
        let before = old.world.plans.get(key).map(|before| before.object.spec.clone()).unwrap_or_default();
        let is_new = !old.world.plans.contains_key(key);
        let of_plan = weakened::of_plan(&before, &plan.object.spec).into_iter().filter(|(rule, _)| !is_new || *rule == Rule::PlanOpened);
        of_plan.for_each(|(rule, why)| add(rule, ObjectKind::Plan, key, why));
    }
    for meaning in campaigns {
        let key = Key::new(meaning.namespace.as_str(), meaning.name.as_str());
        of_campaign(&key, old, new, meaning, past).into_iter().for_each(|(rule, why)| add(rule, ObjectKind::Campaign, &key, why));
    }
    for (was, is) in renamed {
        let why = format!(
            "It sends the same as campaign {was}, which is removed: if it was renamed, everybody is mailed again. Keep the name to mail only the rest."
        );
        add(Rule::Renamed, ObjectKind::Campaign, is, why);
    }
    for (key, input) in &new.world.campaigns {
        let is_told = renamed.iter().any(|(_, is)| is == key);
        if let Some(was) = input.renamed_from.as_ref().filter(|_| !is_told) {
            let why = format!(
                "The ledger knows what it sends from campaign {was}, which is not here: it may be that one, renamed, and does not start."
            );
            add(Rule::Renamed, ObjectKind::Campaign, key, why);
        }
    }
    found.sort_by(|a, b| (a.kind, &a.namespace, &a.name, a.rule).cmp(&(b.kind, &b.namespace, &b.name, b.rule)));
    found
}

fn of_campaign(key: &Key, old: &Side, new: &Side, meaning: &CampaignMeaning, past: &Past) -> weakened::Found {
    let mut found = weakened::Found::new();
    let (before, after) = (old.decision.campaigns.get(key), new.decision.campaigns.get(key));
    let (input_before, input) = (old.world.campaigns.get(key), new.world.campaigns.get(key));
    if let (Some(before), Some(after)) = (before, after)
        && after.status.state != CampaignState::Completed
    {
        let (was, is) = (meaning::sending(before), meaning::sending(after));
        if is < was && is <= 1 {
            let why = match is {
                0 if was == 1 => "Its only server is gone: nothing is sent.".to_owned(),
                0 => format!("None of its {} is left: nothing is sent.", counted(was, "server", "servers")),
                _ => format!("One server is left of {was}: when it fails, nothing is sent."),
            };
            found.push((Rule::FewServers, why));
        }
    }
    match (input_before, input) {
        (Some(was), Some(is)) => {
            found.extend(weakened::of_campaign(&was.object.spec, &is.object.spec));
            if let Some(again) = meaning.again.as_ref().filter(|again| again.who == Who::Everybody) {
                found.push((Rule::NewRun, again.why.clone()));
            }
        }
        (Some(was), None) => {
            let run = was.object.spec.run();
            if let Some(known) = past.run(key, run).filter(|known| known.has_sent && !known.is_closed) {
                let of = known.counts.total.map(|total| format!(" of {}", grouped(total))).unwrap_or_default();
                let why = format!(
                    "Its run {run} is not over: {}{of} have a final outcome, and the others are not mailed.",
                    grouped(known.counts.ended())
                );
                found.push((Rule::RemovedWhileSending, why));
            }
        }
        (None, _) => {}
    }
    if let (Some(Audience::Counted(was)), Some(Audience::Counted(is))) = (old.audiences.get(key), new.audiences.get(key))
        && *is >= FEW
        && *is >= was.saturating_mul(GROWS_BY)
    {
        found.push((Rule::AudienceGrows, format!("Its audience grows from {} to {} recipients.", grouped(*was), grouped(*is))));
    }
    found
}

/// For which campaign a server sends half of the messages or more, in words.
fn carried(old: &Side, new: &Side, server: &Key) -> Option<String> {
    let name = server.to_string();
    let mut carried: Vec<(String, f64)> = Vec::new();
    for (key, before) in &old.decision.campaigns {
        let is_open = new.decision.campaigns.get(key).is_some_and(|after| after.status.state != CampaignState::Completed);
        let row = before.status.servers.iter().find(|row| *row.server == *name);
        let share = row.and_then(|row| row.share_percent.parse().ok()).unwrap_or(0.0);
        if is_open && share >= CARRIES_FROM {
            carried.push((key.to_string(), share));
        }
    }
    let (first, share) = carried.first()?;
    let more = match carried.len() - 1 {
        0 => String::new(),
        more => format!(", and half or more of {}", counted(more, "other campaign", "other campaigns")),
    };
    Some(format!("sends {share:.1}% of campaign {first}{more}"))
}
