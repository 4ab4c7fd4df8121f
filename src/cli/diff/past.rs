//! What the ledger knows of the campaigns of both sides, and how many people their audiences have.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    cli::{look::counted_people, validate},
    compare::{Audience, Past, RunPast},
    decide::{InLedger, World},
    egress::Egress,
    ledger::{LedgerError, LedgerErrorKind, LedgerPlace, LedgerReader, RunKey},
    resources::Key,
    source::Snapshot,
};

/// Recipients of a campaign that are counted.
const COUNTED_MAX: u64 = 5_000_000;
/// Recipients of all campaigns of a side that are counted.
const ALL_MAX: u64 = 20_000_000;

/// What the ledger of a state folder knows of the campaigns. It blocks.
///
/// # Errors
/// When there is one that cannot be read.
pub fn past(location: LedgerPlace, sides: [&Snapshot; 2]) -> Result<Past, LedgerError> {
    let reader = match LedgerReader::open(location) {
        Ok(reader) => reader,
        Err(error) if error.kind == LedgerErrorKind::Missing => return Ok(Past::default()),
        Err(error) => return Err(error),
    };
    let campaigns = sides.iter().flat_map(|side| side.campaigns.iter());
    let asked: BTreeSet<(Key, String)> = campaigns.map(|(key, sourced)| (key.clone(), sourced.object.spec.run().to_owned())).collect();
    let mut past = Past { is_known: true, runs: BTreeMap::new() };
    for (key, run) in asked {
        let Some(found) = reader.run(&RunKey::new(&*key.namespace, &*key.name, run.as_str()))? else { continue };
        let known = RunPast {
            has_sent: found.record.has_sent,
            is_closed: found.record.closed_at_ms.is_some(),
            counts: found.record.recipients(&found.counts),
            started_ms: found.record.started_at_ms,
        };
        past.runs.insert((key, run), known);
    }
    Ok(past)
}

/// How many people the audiences have, of campaigns whose run is not over. It blocks.
pub fn audiences(snapshot: &Snapshot, world: &World, runtime: &tokio::runtime::Handle) -> BTreeMap<Key, Audience> {
    let mut left = ALL_MAX;
    let mut found = BTreeMap::new();
    for (key, sourced) in snapshot.campaigns.iter() {
        let is_over = world.campaigns.get(key).is_some_and(|input| input.in_ledger == InLedger::Closed);
        if is_over {
            continue;
        }
        let resolver = validate::resolver(key, sourced, snapshot, Egress::PublicOnly);
        let audience = match resolver.people(&sourced.object.spec) {
            Err(blocker) => Audience::NotKnown(blocker.message),
            Ok(people) if people.is_recorded() => Audience::NotKnown("it is people of another run".to_owned()),
            Ok(people) if !people.is_local() => Audience::NotKnown("it is fetched where the campaign is sent".to_owned()),
            Ok(_) if left == 0 => Audience::NotKnown(format!("more than {ALL_MAX} recipients were counted already")),
            Ok(people) => match counted_people(&people, COUNTED_MAX.min(left), runtime) {
                Ok((count, is_more)) => {
                    left = left.saturating_sub(count);
                    if is_more { Audience::MoreThan(count) } else { Audience::Counted(count) }
                }
                Err(blocker) => Audience::NotKnown(blocker.message),
            },
        };
        found.insert(key.clone(), audience);
    }
    found
}
