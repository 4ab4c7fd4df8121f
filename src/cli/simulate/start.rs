//! What a simulation starts from: the objects, what the ledger knows, and the people of each audience.

use std::{collections::BTreeMap, sync::Arc};

use super::{SimulateArgs, assumed::people, named};
use crate::{
    audience::Recipient,
    cli::{
        look::{Stop, blocking, each_person},
        validate,
    },
    compare::assume,
    decide::{InLedger, World},
    egress::Egress,
    engine::{EngineOptions, offline_world_of},
    ledger::{LedgerError, LedgerErrorKind, LedgerReader, RecordedFacts, RunKey},
    people::People,
    resources::{Campaign, Key},
    simulate::{Begun, Crowd, PEOPLE_MAX, Past, Start},
    source::{Files, Options, Severity, Snapshot, Sourced},
};

/// Minutes before now in which messages count towards limits: the longest window has 31 days.
const USAGE_MINUTES: i64 = 31 * 24 * 60 + 1;

/// What was read.
pub struct Read {
    pub world: World,
    pub starts: BTreeMap<Key, Start>,
    pub past: Past,
    /// What was assumed of objects and audiences, in words.
    pub assumed: Vec<String>,
}

/// Reads everything.
pub async fn read(args: &SimulateArgs, now_ms: i64) -> Result<Read, Stop> {
    let for_loading = args.clone();
    let snapshot = blocking(move || load(&for_loading)).await?;
    let unreadable = |error: LedgerError| Stop::configuration(error.to_string());
    let location = args.ledger.location(&args.state).map_err(Stop::configuration)?;
    let facts = RecordedFacts::open(location.clone()).map_err(unreadable)?;
    let options = EngineOptions::offline(args.state.clone(), args.plan_namespace.clone());
    let mut world = offline_world_of(&snapshot, facts, &options, now_ms).await;
    // Only now: whether one was renamed is told by all of them.
    let snapshot = only(args, snapshot)?;
    world.campaigns.retain(|key, _| snapshot.campaigns.contains_key(key));
    let missing = assume::fill(&mut world);
    let mut assumed = Vec::new();
    if !missing.is_empty() {
        assumed.push("Secrets and files that are not here are there.".to_owned());
    }
    let campaigns = world.campaigns.clone();
    let asked = args.recipients.clone();
    for name in asked.iter().filter_map(|asked| asked.campaign.as_deref()) {
        named(name, world.campaigns.keys(), "campaign")?;
    }
    let runtime = tokio::runtime::Handle::current();
    let (starts, past, notes) = blocking(move || {
        let reader = match LedgerReader::open(location.clone()) {
            Ok(reader) => Some(reader),
            Err(error) if error.kind == LedgerErrorKind::Missing => None,
            Err(error) => return Err(unreadable(error)),
        };
        let (mut starts, mut notes) = (BTreeMap::new(), Vec::new());
        for (key, sourced) in snapshot.campaigns.iter() {
            let Some(input) = campaigns.get(key) else { continue };
            let reopen = sourced.object.spec.reopen();
            if input.in_ledger == InLedger::Closed && reopen <= input.reopened {
                continue;
            }
            let wanted = asked.iter().rev().find(|asked| match &asked.campaign {
                Some(name) => *key.name == *name.as_str() || key.to_string() == *name,
                None => false,
            });
            let fallback = asked.iter().rev().find(|asked| asked.campaign.is_none());
            let (crowd, note) =
                crowd(key, sourced, &snapshot, wanted.map(|asked| asked.count), fallback.map(|asked| asked.count), &runtime)?;
            notes.extend(note);
            let mut start = Start { people: crowd, ..Start::default() };
            if let Some(reader) = &reader
                && let Some(run) = reader.run(&RunKey::new(&*key.namespace, &*key.name, sourced.object.spec.run())).map_err(unreadable)?
            {
                start.begun = Some(Begun {
                    counts: run.record.recipients(&run.counts),
                    accepted: run.counts.accepted_by_server().map(|(server, count)| (server.into(), count)).collect(),
                    started_ms: run.record.started_at_ms,
                    // Those who were added are mailed.
                    is_reopened: run.record.is_reopened && input.in_ledger != InLedger::Closed,
                    resume_handled: run.record.resume_handled.clone(),
                    bars: reader.bars(run.record.id).map_err(unreadable)?,
                    reopen: run.record.reopen.max(reopen),
                    has_sent: run.record.has_sent,
                    rollout: run.record.rollout.clone(),
                    ..Begun::default()
                });
            }
            starts.insert(key.clone(), start);
        }
        let mut past = Past::default();
        if let Some(reader) = &reader {
            past.days = reader.days().map_err(unreadable)?;
            past.usage = reader.usage_since(now_ms / 60_000 - USAGE_MINUTES).map_err(unreadable)?;
        } else {
            notes.push(format!("Nothing was sent before: there is no ledger at {location}."));
        }
        Ok((starts, past, notes))
    })
    .await?;
    assumed.extend(notes);
    Ok(Read { world, starts, past, assumed })
}

/// Reads the objects.
fn load(args: &SimulateArgs) -> Result<Snapshot, Stop> {
    for path in args.paths.iter().filter(|path| path.as_os_str() != "-") {
        std::fs::metadata(path).map_err(|error| Stop::configuration(format!("{} cannot be read: {error}", path.display())))?;
    }
    let options = Options {
        exclude: args.exclude.clone(),
        plan_namespace: args.plan_namespace.clone(),
        pipes: true,
        settles: true,
        ..Options::of_process(args.secrets_dir.clone(), Some(args.state.clone()))
    };
    let snapshot = Files::load_once(&args.paths, &options);
    let faults: Vec<_> = snapshot.findings.iter().filter(|finding| finding.severity == Severity::Fault).cloned().collect();
    if !faults.is_empty() {
        return Err(Stop::with_findings(faults, "nothing is simulated until these are fixed"));
    }
    if snapshot.campaigns.is_empty() {
        return Err(Stop::configuration("there is no campaign to simulate"));
    }
    Ok(snapshot)
}

/// Leaves the campaigns out that were not asked for.
fn only(args: &SimulateArgs, mut snapshot: Snapshot) -> Result<Snapshot, Stop> {
    if args.campaign.is_empty() {
        return Ok(snapshot);
    }
    let mut wanted = Vec::new();
    for name in &args.campaign {
        wanted.extend(named(name, snapshot.campaigns.keys(), "campaign")?);
    }
    Arc::make_mut(&mut snapshot.campaigns).retain(|key, _| wanted.contains(key));
    Ok(snapshot)
}

/// The people of a campaign: so many as were asked for, or those of its audience. It blocks.
fn crowd(
    key: &Key,
    sourced: &Sourced<Campaign>,
    snapshot: &Snapshot,
    wanted: Option<u64>,
    fallback: Option<u64>,
    runtime: &tokio::runtime::Handle,
) -> Result<(Crowd, Option<String>), Stop> {
    let spec = &sourced.object.spec;
    let zone_field = spec.sending_hours.as_ref().and_then(|hours| hours.zone_field.as_deref()).map(Arc::from);
    let mut crowd = Crowd::new(zone_field).map_err(Stop::failed)?;
    let anybody = |mut crowd: Crowd, count: u64, why: &str| {
        crowd.add_anybody(count);
        let note = format!("{key} is for {}{why}; of their domains and time zones nothing is known.", people(count));
        Ok((crowd, Some(note)))
    };
    if let Some(count) = wanted {
        return anybody(crowd, count, "");
    }
    let resolver = validate::resolver(key, sourced, snapshot, Egress::PublicOnly);
    let why = match resolver.people(spec) {
        Err(blocker) => blocker.message,
        Ok(people) if people.is_recorded() => "it is people of another run".to_owned(),
        Ok(people) if !people.is_local() => "it is fetched where the campaign is sent".to_owned(),
        Ok(found) => match read_people(&found, &mut crowd, runtime) {
            Ok(false) => return Ok((crowd, None)),
            Ok(true) => {
                let note = format!("{key} has more than {}, of whom no more are simulated.", people(PEOPLE_MAX));
                return Ok((crowd, Some(note)));
            }
            Err(why) => why,
        },
    };
    match fallback {
        Some(count) => anybody(crowd, count, &format!(" ({why})")),
        None => Err(Stop::configuration(format!(
            "the audience of {key} cannot be counted here: {why}; say how many people it has: --recipients {}=N",
            key.name
        ))),
    }
}

/// Reads an audience; whether it has more people than are simulated. It blocks.
fn read_people(from: &People, crowd: &mut Crowd, runtime: &tokio::runtime::Handle) -> Result<bool, String> {
    let mut is_more = false;
    let take = |recipient: &Recipient| {
        is_more = crowd.len() as u64 >= PEOPLE_MAX;
        if !is_more {
            crowd.add(recipient);
        }
        !is_more
    };
    each_person(from, runtime, take).map_err(|blocker| blocker.message)?;
    Ok(is_more)
}
