//! What changes mean and which of them are dangerous, by decisions over whole worlds.

use std::{collections::BTreeMap, sync::Arc};

use super::{
    Audience, Change, Danger, Identity, ObjectKind, Past, Rule, RunPast, Side, assume, danger,
    meaning::{self, CampaignMeaning, Who},
};
use crate::{
    decide::{CampaignInput, InLedger, PlanInput, ServerInput, World, decide},
    resources::{Blocker, Campaign, CampaignSpec, Key, Plan, Reason, SendingServer, campaign::RecipientCounts},
    routing::Work,
};

const NOW_MS: i64 = 1_764_000_000_000;

fn server(name: &str, more: &str) -> (Key, ServerInput) {
    let yaml = format!(
        "{{apiVersion: mailfleet.dev/v1alpha1, kind: SendingServer, metadata: {{name: {name}}}, spec: {{provider: {{smtp: {{host: {name}.example.com}}}}{more}}}}}"
    );
    let object: SendingServer = serde_saphyr::from_str(&yaml).expect("a server");
    (object.key(), ServerInput::new(Arc::new(object), Ok(1)))
}

fn plan(spec: &str) -> (Key, PlanInput) {
    let yaml = format!("{{apiVersion: mailfleet.dev/v1alpha1, kind: Plan, metadata: {{name: p}}, spec: {{{spec}}}}}");
    let object: Plan = serde_saphyr::from_str(&yaml).expect("a plan");
    (object.key(), PlanInput { object: Arc::new(object), stale: None })
}

fn work(spec: &CampaignSpec) -> Arc<Work> {
    Arc::new(Work::of(spec, 7, "a@example.com".into()))
}

fn campaign(name: &str, more: &str) -> (Key, CampaignInput) {
    let yaml = format!(
        "{{apiVersion: mailfleet.dev/v1alpha1, kind: Campaign, metadata: {{name: {name}}}, spec: {{planRef: {{name: p}}, from: {{address: a@example.com}}, subject: Hi, content: {{text: Hi}}, audience: {{inline: [{{email: b@example.com}}]}}{more}}}}}"
    );
    let object: Campaign = serde_saphyr::from_str(&yaml).expect("a campaign");
    let work = work(&object.spec);
    let when = crate::zones::when(&object.spec).map_err(|fault| Blocker::lasting(Reason::InvalidSpec, fault.message));
    (object.key(), CampaignInput { when, ..CampaignInput::new(Arc::new(object), Ok(work)) })
}

const TWO: &str = "servers: [{name: a, weight: 3}, {name: b}]";

/// A world of two servers, a plan and a campaign.
fn world(plan_spec: &str, of_campaign: &str) -> World {
    World {
        servers: BTreeMap::from([server("a", ""), server("b", "")]),
        plans: BTreeMap::from([plan(plan_spec)]),
        campaigns: BTreeMap::from([campaign("spring", of_campaign)]),
        ..World::default()
    }
}

fn side(world: World, recipients: Option<u64>, past: &Past) -> Side {
    let known = recipients.map_or_else(|| Audience::NotKnown("a URL".to_owned()), Audience::Counted);
    let audiences: BTreeMap<Key, Audience> = world.campaigns.keys().map(|key| (key.clone(), known.clone())).collect();
    let decision = decide(&world, &assume::observations(&world, &audiences, past, NOW_MS), NOW_MS);
    Side { world, decision, audiences }
}

fn meaning_of(old: &Side, new: &Side, past: &Past) -> Vec<CampaignMeaning> {
    let is_changed = |(key, input): (&Key, &CampaignInput)| {
        let change = match old.world.campaigns.get(key) {
            None => Some(Change::Added),
            Some(before) => (before.object != input.object).then_some(Change::Changed),
        };
        change.map(|change| (Identity { kind: ObjectKind::Campaign, key: key.clone() }, change))
    };
    let changed = new.world.campaigns.iter().filter_map(is_changed).collect();
    meaning::campaigns(old, new, &changed, past, (&BTreeMap::new(), &BTreeMap::new()))
}

fn dangers_of(old: World, new: World, recipients: (u64, u64), past: &Past) -> Vec<Danger> {
    let (old, new) = (side(old, Some(recipients.0), past), side(new, Some(recipients.1), past));
    danger::dangers(&old, &new, &meaning_of(&old, &new, past), &[], past)
}

/// A ledger with one run.
fn ledger(accepted: u64, is_closed: bool) -> Past {
    let counts = RecipientCounts { total: Some(100), accepted, ..RecipientCounts::default() };
    let run = RunPast { has_sent: true, is_closed, counts, started_ms: NOW_MS - 1000 };
    Past { is_known: true, runs: BTreeMap::from([((Key::new("default", "spring"), "first".to_owned()), run)]) }
}

#[test]
fn shares_are_those_of_the_decisions() {
    let past = Past::default();
    let (old, new) = (side(world(TWO, ""), Some(10), &past), side(world(TWO, ", servers: [{name: b}]"), Some(10), &past));
    let meaning = meaning_of(&old, &new, &past);
    let [spring] = &meaning[..] else { panic!("{meaning:?}") };
    let shares: Vec<(&str, Option<f64>, Option<f64>)> =
        spring.servers.iter().map(|share| (&*share.server, share.before, share.after)).collect();
    assert_eq!(shares, [("default/a", Some(75.0), None), ("default/b", Some(25.0), Some(100.0))]);
    assert_eq!(spring.servers[0].why_not.as_deref(), Some("not named in spec.servers"));
    // It would be sent without the change too.
    assert_eq!((spring.starts, spring.state.as_deref(), spring.recipients), (false, Some("Sending"), Some(10)));
    assert!(meaning_of(&old, &side(world(TWO, ""), Some(10), &past), &past).is_empty());
    // A plan that changes means something for a campaign that does not.
    let plan_alone = side(world("servers: [{name: a}, {name: b}]", ""), Some(10), &past);
    let meaning = meaning_of(&old, &plan_alone, &past);
    assert_eq!((meaning.len(), meaning[0].change, meaning[0].servers[0].after), (1, None, Some(50.0)));
}

#[test]
fn a_campaign_that_is_new_or_let_go_starts() {
    let past = Past::default();
    let none = World { campaigns: BTreeMap::new(), ..world(TWO, "") };
    for (old, new, starts) in [
        (none.clone(), world(TWO, ""), true),
        (world(TWO, ", suspend: true"), world(TWO, ""), true),
        (world(TWO, ""), world(TWO, ", suspend: true"), false),
        (world(TWO, ""), world(TWO, ", run: second"), true),
        (none.clone(), world(TWO, ", startAt: 2099-01-01T00:00:00Z"), false),
        (none, world("servers: []", ""), false),
    ] {
        let (old, new) = (side(old, None, &past), side(new, None, &past));
        let meaning = meaning_of(&old, &new, &past);
        assert_eq!(meaning[0].starts, starts, "{:?}", meaning[0]);
        assert_eq!(meaning[0].not_counted.as_deref(), Some("a URL"));
    }
}

#[test]
fn who_is_mailed_again_is_by_the_ledger() {
    let again = |more: &str, past: &Past, in_ledger: InLedger| {
        let mut new = world(TWO, more);
        let mut old = world(TWO, "");
        old.campaigns.values_mut().for_each(|input| input.in_ledger = in_ledger);
        let is_same_run = !more.contains("run:");
        new.campaigns.values_mut().filter(|_| is_same_run).for_each(|input| input.in_ledger = in_ledger);
        let (old, new) = (side(old, Some(100), past), side(new, Some(100), past));
        meaning_of(&old, &new, past)[0].again.clone().expect("it was there")
    };
    for (more, past, in_ledger, who, words) in [
        (", replyTo: {address: c@example.com}", ledger(40, false), InLedger::Begun, Who::Nobody, "goes on (40 recipients"),
        (", replyTo: {address: c@example.com}", ledger(100, true), InLedger::Closed, Who::Nobody, "is completed (100 recipients"),
        (
            ", replyTo: {address: c@example.com}",
            Past { is_known: true, ..Past::default() },
            InLedger::Absent,
            Who::Nobody,
            "Nothing of run first",
        ),
        (", replyTo: {address: c@example.com}", Past::default(), InLedger::Absent, Who::Nobody, "spec.run stays first"),
        (", run: second", ledger(40, false), InLedger::Begun, Who::Everybody, "(40)"),
        (", run: second", Past::default(), InLedger::Absent, Who::Everybody, "whoever was mailed in run first"),
        (", run: second", Past { is_known: true, ..Past::default() }, InLedger::Absent, Who::Nobody, "nobody was mailed"),
        (", reopen: 1", ledger(100, true), InLedger::Closed, Who::Nobody, "spec.reopen rises"),
    ] {
        let found = again(more, &past, in_ledger);
        assert!(found.who == who && found.why.contains(words), "{more}: {found:?}");
    }
}

#[test]
fn each_rule_of_danger_can_be_met() {
    let past = Past::default();
    let rules = |old: World, new: World, recipients: (u64, u64), past: &Past| -> Vec<Rule> {
        dangers_of(old, new, recipients, past).into_iter().map(|danger| danger.rule).collect()
    };
    let with = |more: &str| World { servers: BTreeMap::from([server("a", more), server("b", "")]), ..world(TWO, "") };
    let without = |name: &str| {
        let mut world = world(TWO, "");
        world.servers.remove(&Key::new("default", name));
        world
    };
    let few = (10, 10);
    for (old, new, recipients, expected) in [
        (world(TWO, ""), world(TWO, ""), few, vec![]),
        (world(TWO, ""), world(TWO, ", servers: [{name: a}]"), few, vec![Rule::FewServers]),
        (world(TWO, ", servers: [{name: a}]"), world(TWO, ", servers: [{name: b}]"), few, vec![]),
        (world(TWO, ""), world("servers: [{name: a, weight: 0}, {name: b, weight: 0}]", ""), few, vec![Rule::FewServers]),
        (world(TWO, ""), world(TWO, ", run: second"), few, vec![Rule::NewRun]),
        (world(TWO, ""), world(TWO, ", stopWhen: {bouncePercent: \"50\"}"), few, vec![Rule::GuardWeakened]),
        (world(TWO, ", stopWhen: {bouncePercent: \"50\"}"), world(TWO, ""), few, vec![]),
        (world(TWO, ", rollout: {steps: [{percent: 1}]}"), world(TWO, ""), few, vec![Rule::GuardWeakened]),
        (world(TWO, ", unsubscribe: {oneClick: {}}"), world(TWO, ""), few, vec![Rule::SuppressionWeakened]),
        (with(", feedback: {pauseWhen: {}}"), world(TWO, ""), few, vec![Rule::GuardWeakened]),
        (with(", feedback: {pauseWhen: {}}"), with(", feedback: {pauseWhen: {afterMessages: 5000}}"), few, vec![Rule::GuardWeakened]),
        (with(", identity: {domains: [example.com]}"), world(TWO, ""), few, vec![Rule::DomainRemoved]),
        (world(TWO, ""), world(&format!("{TWO}, allowedNamespaces: {{from: All}}"), ""), few, vec![Rule::PlanOpened]),
        (world(TWO, ""), world(&format!("{TWO}, allowedNamespaces: {{from: Selector, selector: {{}}}}"), ""), few, vec![Rule::PlanOpened]),
        (
            world(&format!("{TWO}, senderDomains: [{{domains: [example.com], namespaces: [shop]}}]"), ""),
            world(TWO, ""),
            few,
            vec![Rule::DomainRemoved],
        ),
        (world(TWO, ""), with(", enabled: false"), few, vec![Rule::ServerSwitchedOff, Rule::FewServers]),
        (world(TWO, ""), without("a"), few, vec![Rule::ServerSwitchedOff, Rule::FewServers]),
        (world(TWO, ""), without("b"), few, vec![Rule::FewServers]),
        (world(TWO, ""), world(TWO, ""), (99, 990), vec![Rule::AudienceGrows]),
        (world(TWO, ""), world(TWO, ""), (9, 90), vec![]),
        (world(TWO, ""), world(TWO, ""), (100, 999), vec![]),
    ] {
        assert_eq!(rules(old, new, recipients, &past), expected);
    }
    let mut begun = world(TWO, "");
    begun.campaigns.values_mut().for_each(|input| input.in_ledger = InLedger::Begun);
    let gone = World { campaigns: BTreeMap::new(), ..world(TWO, "") };
    assert_eq!(rules(begun.clone(), gone.clone(), few, &ledger(40, false)), [Rule::RemovedWhileSending]);
    assert!(rules(begun, gone, few, &ledger(100, true)).is_empty());
    let mut renamed = world(TWO, "");
    renamed.campaigns.values_mut().for_each(|input| input.renamed_from = Some("winter".to_owned()));
    assert_eq!(rules(world(TWO, ""), renamed, few, &past), [Rule::Renamed]);
}

#[test]
fn what_is_elsewhere_is_taken_as_there() {
    let mut world = world(TWO, "");
    let key = Key::new("default", "spring");
    let blocked = |world: &mut World, reason: Reason| {
        world.campaigns.values_mut().for_each(|input| input.work = Err(Blocker::lasting(reason, "people.csv is not there")));
    };
    blocked(&mut world, Reason::FileNotFound);
    let missing = assume::fill(&mut world);
    assert_eq!(missing.get(&key).map(|blocker| blocker.message.as_str()), Some("people.csv is not there"));
    assert!(world.campaigns[&key].work.is_ok());
    // A template with a mistake is as wrong elsewhere.
    blocked(&mut world, Reason::InvalidContent);
    assert!(assume::fill(&mut world).is_empty() && world.campaigns[&key].work.is_err());
}

#[test]
fn an_audience_that_is_known_on_one_side_counts_on_both_if_it_is_the_same() {
    let (old, new, other) = (world(TWO, ""), world(TWO, ", run: second"), world(TWO, ", servers: [{name: a}]"));
    let key = Key::new("default", "spring");
    let not_known = || BTreeMap::from([(key.clone(), Audience::NotKnown("elsewhere".to_owned()))]);
    let known = || BTreeMap::from([(key.clone(), Audience::Counted(5))]);
    for world in [&new, &other] {
        let (mut before, mut after) = (not_known(), known());
        assume::share_audiences((&old, &mut before), (world, &mut after));
        assert_eq!((before, after), (known(), known()));
    }
    let mut grown = world(TWO, "");
    for input in grown.campaigns.values_mut() {
        let mut object = (*input.object).clone();
        let mut spec = (*object.spec).clone();
        spec.audience.inline = Some(Vec::new());
        object.spec = Arc::new(spec);
        input.object = Arc::new(object);
    }
    let (mut before, mut after) = (not_known(), known());
    assume::share_audiences((&old, &mut before), (&grown, &mut after));
    assert_eq!(before, not_known());
}

#[test]
fn how_long_it_takes_is_by_its_limits() {
    let past = Past::default();
    let limited = |more: &str| {
        let limits = ", limits: {rates: [{messages: 60, per: 1h}]}";
        World { servers: BTreeMap::from([server("a", limits), server("b", limits)]), ..world("servers: [{name: a}, {name: b}]", more) }
    };
    for (more, recipients, words) in
        [("", Some(1200), Some("9h")), (", startAt: 2099-01-01T00:00:00Z", Some(1200), Some("9h")), ("", None, None)]
    {
        let side = side(limited(more), recipients, &past);
        let observed = assume::observations(&side.world, &side.audiences, &past, NOW_MS);
        let times = assume::times(&side.world, &side.decision, &observed);
        let found = times.get(&Key::new("default", "spring")).map(|takes| takes.in_words());
        assert_eq!(found.as_deref(), words, "{more}");
    }
}
