//! Situations that people meet: YAML and probe results in, statuses out, compared with a text.
//!
//! Status alone must explain each. `UPDATE_GOLDEN=1` rewrites the texts; read them before committing.

use std::{collections::BTreeMap, fmt::Write as _, path::Path, sync::Arc};

use crate::kept::check_golden;
use mailfleet::{
    decide::{self, CampaignInput, InLedger, Observations, PlanInput, ProbeResult, ServerInput, ServerObservation, World},
    feedback::{Change, Judged},
    hours::{Start, When},
    report::{Report, ServerReport},
    resources::{Blocker, Campaign, Condition, ConditionStatus, ConditionType, Key, Plan, Reason, SendingServer},
    routing::Work,
};
use serde::Deserialize;
use serde_json::Value;

/// The observations of a case, beside its resources.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Observed {
    #[serde(default)]
    probes: BTreeMap<String, Probe>,
    #[serde(default)]
    ledger_knows_run: bool,
    /// Servers that rest since an unknown outcome, with the error that came instead of a reply.
    #[serde(default)]
    resting: BTreeMap<String, String>,
    /// What came of the messages of each namespace through a server: accepted, rejected, bounced, complained.
    #[serde(default)]
    came_back: BTreeMap<String, BTreeMap<String, [u64; 4]>>,
    /// The only namespace whose plans count.
    #[serde(default)]
    plan_namespace: Option<String>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Probe {
    Ok(Succeeded),
    Failed {
        reason: Reason,
        message: String,
        #[serde(default)]
        person: bool,
    },
}

/// A successful probe.
#[derive(Deserialize)]
enum Succeeded {
    #[serde(rename = "ok")]
    Ok,
}

struct Case {
    world: World,
    observed: Observations,
}

fn case(text: &str) -> Case {
    let mut world = World::default();
    let mut observed = Observed::default();
    let mut created = 0;
    for document in text.split("\n---\n") {
        let value: Value = serde_saphyr::from_str(document).unwrap_or_else(|e| panic!("{e}\n{document}"));
        created += 1;
        let timestamp = jiff::Timestamp::from_second(created).ok();
        match value["kind"].as_str() {
            Some("SendingServer") => {
                let mut object: SendingServer = serde_json::from_value(value.clone()).expect(document);
                object.metadata.generation = Some(1);
                object.metadata.creation_timestamp = timestamp;
                world.servers.insert(object.key(), ServerInput::new(Arc::new(object), Ok(7)));
            }
            Some("Plan") => {
                let mut object: Plan = serde_json::from_value(value.clone()).expect(document);
                object.metadata.generation = Some(1);
                world.plans.insert(object.key(), PlanInput { object: Arc::new(object), stale: None });
            }
            Some("Campaign") => {
                let mut object: Campaign = serde_json::from_value(value.clone()).expect(document);
                object.metadata.generation = Some(1);
                object.metadata.creation_timestamp = timestamp;
                let spec = &object.spec;
                let work = Work::of(spec, 1, spec.from.address.as_str().into());
                // The zones of times are looked up by the engine; the cases have none.
                let start = spec.start_at.as_ref().map(|at| at.0.parse::<jiff::Timestamp>().expect(document));
                let start = start.map(|at| Start { at_ms: at.as_millisecond(), words: at.to_string() });
                let input =
                    CampaignInput { when: Ok(When { start, hours: None }), ..CampaignInput::new(Arc::new(object), Ok(Arc::new(work))) };
                world.campaigns.insert(input.object.key(), input);
            }
            Some("Namespace") => {
                let labels = serde_json::from_value(value["metadata"]["labels"].clone()).expect(document);
                world.namespaces.insert(value["metadata"]["name"].as_str().expect("a name").to_owned(), labels);
            }
            Some("Observed") => observed = serde_json::from_value(value["observed"].clone()).expect(document),
            other => panic!("{other:?}"),
        }
    }
    world.plan_namespace.clone_from(&observed.plan_namespace);
    for input in world.campaigns.values_mut() {
        if observed.ledger_knows_run {
            input.in_ledger = InLedger::Begun;
        }
    }
    judge(&mut world, &observed.came_back);
    let servers = observed.probes.iter().map(|(name, probe)| {
        let (namespace, name) = name.split_once('/').expect("namespace/name");
        let result = match probe {
            Probe::Ok(Succeeded::Ok) => ProbeResult::Succeeded,
            Probe::Failed { reason, message, person } => {
                ProbeResult::Failed(Blocker { reason: *reason, message: message.clone(), needs_person: *person, retry_after: None })
            }
        };
        let mut observation = ServerObservation { server_hash: 7, ..ServerObservation::default() };
        observation.note_probe(result, 1000, 1010, &world.servers[&Key::new(namespace, name)].object.spec.probe());
        (Key::new(namespace, name), observation)
    });
    let servers = servers.collect();
    let resting = observed.resting.iter().map(|(name, cause)| {
        let (namespace, name) = name.split_once('/').expect("namespace/name");
        (Key::new(namespace, name), ServerReport { rests_since: Some(cause.as_str().into()), ..ServerReport::default() })
    });
    let report = Arc::new(Report { servers: resting.collect(), ..Report::default() });
    Case { observed: Observations { servers, report, ..Observations::default() }, world }
}

/// Has servers judged by what came back, and the pauses that begin recorded.
fn judge(world: &mut World, came_back: &BTreeMap<String, BTreeMap<String, [u64; 4]>>) {
    for (name, results) in came_back {
        let input = world.servers.get_mut(&Key::parse(name).expect("namespace/name")).expect("a server");
        let judged = |[accepted, rejected, bounced, complained]: [u64; 4]| Judged { accepted, rejected, bounced, complained };
        input.past.standing.results = results.iter().map(|(name, counts)| (name.as_str().into(), judged(*counts))).collect();
    }
    for change in decide::pauses::changes(world, 2000) {
        let Change::Begins(pause) = change.what else { panic!("{change:?}") };
        world.servers.get_mut(&change.server).expect("a server").past.standing.pauses.push(pause);
    }
}

fn told(case: &Case) -> String {
    let decision = decide::decide(&case.world, &case.observed, 2000);
    let mut text = String::new();
    for (key, server) in &decision.servers {
        let _ = writeln!(
            text,
            "SendingServer {key}: {:?}{}",
            server.status.state,
            if server.probe_at_ms.is_some() { "" } else { ", not probed" }
        );
        conditions(&mut text, &server.status.conditions);
    }
    for (key, status) in &decision.plans {
        let _ = writeln!(text, "Plan {key}: {} of {} Active", status.servers_active, status.servers_granted);
        conditions(&mut text, &status.conditions);
    }
    for (key, campaign) in &decision.campaigns {
        let _ = writeln!(text, "Campaign {key}: {:?}", campaign.status.state);
        for row in campaign.status.servers.iter() {
            let word = |yes: bool, word: &str| if yes { format!(" {word}") } else { String::new() };
            let _ = write!(
                text,
                "    {}:{}{}{}",
                row.server,
                word(row.granted, "granted"),
                word(row.chosen, "chosen"),
                word(row.active, "active")
            );
            let _ = writeln!(
                text,
                ", weight {}, share {}%{}",
                row.weight,
                row.share_percent,
                if row.why_not.is_empty() { String::new() } else { format!(": {}", row.why_not) }
            );
        }
        conditions(&mut text, &campaign.status.conditions);
        let sends = campaign.intent.as_ref().is_some_and(|intent| !intent.hold);
        let _ = writeln!(text, "    {}", if sends { "sends" } else { "sends nothing" });
    }
    text
}

/// Ready, Routed, and what differs from them; the others would only repeat.
fn conditions(text: &mut String, conditions: &[Condition]) {
    for condition in conditions {
        if matches!(condition.kind, ConditionType::Ready) {
            let _ = writeln!(text, "    Ready={:?} {}: {}", condition.status, condition.reason, condition.message);
        } else if condition.kind == ConditionType::Routed {
            let _ = writeln!(text, "    Routed={:?} {}: {}", condition.status, condition.reason, condition.message);
        } else if condition.kind == ConditionType::NamespacePaused {
            let _ = writeln!(text, "    NamespacePaused={:?} {}: {}", condition.status, condition.reason, condition.message);
        } else if condition.kind == ConditionType::SenderAllowed {
            let _ = writeln!(text, "    SenderAllowed={:?} {}: {}", condition.status, condition.reason, condition.message);
        } else if matches!(condition.kind, ConditionType::Stalled | ConditionType::Reconciling) {
            assert_eq!(condition.status, ConditionStatus::True, "present only while true");
            let _ = writeln!(text, "    {:?}", condition.kind);
        }
    }
}

#[test]
fn every_signal_is_answered_by_status_alone() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/signals");
    let mut cases: Vec<_> = std::fs::read_dir(&folder).expect("the folder").map(|entry| entry.expect("an entry").path()).collect();
    cases.retain(|path| path.extension().is_some_and(|extension| extension == "yaml"));
    cases.sort();
    assert!(cases.len() >= 10, "cases are missing");
    let mut different = Vec::new();
    for path in cases {
        let text = std::fs::read_to_string(&path).expect("a case");
        let told = told(&case(&text));
        different.extend(check_golden(&path.with_extension("txt"), &told).err());
    }
    assert!(different.is_empty(), "{}", different.join("\n\n"));
}
