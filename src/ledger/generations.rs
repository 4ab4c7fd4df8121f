//! Generations of objects that come from files: in a cluster the API server counts them, for files the ledger does.

use std::{
    collections::{HashMap, hash_map::Entry},
    sync::Arc,
};

use super::{
    Generation, SentAlike, SpecHash,
    database::{Connection, Value, params},
    error::{Fault, LedgerError},
    writer::Writer,
};

impl Writer {
    pub(super) fn record_generations(&mut self, specs: &[SpecHash], now_ms: i64) -> Result<Vec<Generation>, LedgerError> {
        // Only new and changed specs need a transaction: most calls find none.
        let recorded = self.book.read(|connection| recorded(connection, specs))?;
        let unchanged =
            recorded.iter().zip(specs).map(|(found, spec)| found.filter(|found| found.1 == spec.spec_hash).map(|found| found.0));
        if let Some(unchanged) = unchanged.collect::<Option<Vec<_>>>() {
            return Ok(unchanged);
        }
        self.book.transaction(|connection| {
            let each = specs.iter().map(|spec| {
                let mut values = named(spec);
                values.extend([Value::Integer(spec.spec_hash.cast_signed()), Value::Integer(now_ms)]);
                values
            });
            let written = connection.row_of_each(
                "INSERT INTO objects (kind, namespace, name, spec_hash, generation, created_at_ms) VALUES (?1, ?2, ?3, ?4, 1, ?5)
                 ON CONFLICT (kind, namespace, name) DO UPDATE
                 SET generation = CASE WHEN objects.spec_hash = excluded.spec_hash THEN objects.generation ELSE objects.generation + 1 END,
                    spec_hash = excluded.spec_hash
                 RETURNING generation, created_at_ms",
                each,
                |row| Ok(Generation { number: row.get(0)?, created_at_ms: row.get(1)? }),
            )?;
            Ok(written.into_iter().map(|written| written.unwrap_or(first(now_ms))).collect())
        })
    }
}

/// The generations that [`Writer::record_generations`] would return, without writing anything.
pub(super) fn predicted(connection: &Connection, specs: &[SpecHash], now_ms: i64) -> Result<Vec<Generation>, Fault> {
    let recorded = recorded(connection, specs)?;
    Ok(recorded
        .into_iter()
        .zip(specs)
        .map(|(found, spec)| match found {
            Some((generation, hash)) if hash == spec.spec_hash => generation,
            Some((generation, _)) => Generation { number: generation.number + 1, ..generation },
            None => first(now_ms),
        })
        .collect())
}

/// The campaigns that sent alike, by name, for each that asks. A thousand that send the same are looked for once.
pub(super) fn alike(connection: &Connection, asked: &[SentAlike]) -> Result<Vec<Arc<[String]>>, Fault> {
    let mut known: HashMap<(&str, &str, &str, u64), Arc<[String]>> = HashMap::new();
    asked
        .iter()
        .map(|asked| {
            let SentAlike { run, message, .. } = asked;
            Ok(match known.entry((&message.kind, &run.namespace, &run.run, message.spec_hash)) {
                Entry::Occupied(entry) => entry.get().clone(),
                Entry::Vacant(entry) => entry.insert(names_alike(connection, asked)?).clone(),
            })
        })
        .collect()
}

fn names_alike(connection: &Connection, asked: &SentAlike) -> Result<Arc<[String]>, Fault> {
    // By the hash alone, which what is joined to the kind brings about: one of a namespace with thousands would be looked for among all.
    let mut statement = connection.prepare(
        "SELECT o.name FROM objects o JOIN runs r ON r.namespace = o.namespace AND r.campaign = o.name
         WHERE o.spec_hash = ?1 AND o.kind || '' = ?2 AND o.namespace = ?3 AND r.run = ?4 AND r.started_at_ms >= ?5
         ORDER BY o.name",
    )?;
    let SentAlike { run, message, since_ms } = asked;
    let hash = message.spec_hash.cast_signed();
    statement.all(params![hash, message.kind, run.namespace, run.run, since_ms], |row| row.get(0))
}

/// The generation of an object that was never read before.
pub(super) const fn first(now_ms: i64) -> Generation {
    Generation { number: 1, created_at_ms: now_ms }
}

/// The recorded generation of each object, with the hash of its spec.
fn recorded(connection: &Connection, specs: &[SpecHash]) -> Result<Vec<Option<(Generation, u64)>>, Fault> {
    connection.row_of_each(
        "SELECT generation, created_at_ms, spec_hash FROM objects WHERE kind = ?1 AND namespace = ?2 AND name = ?3",
        specs.iter().map(named),
        |row| {
            let generation = Generation { number: row.get(0)?, created_at_ms: row.get(1)? };
            Ok((generation, row.get::<i64>(2)?.cast_unsigned()))
        },
    )
}

/// The key of an object as values.
fn named(spec: &SpecHash) -> Vec<Value<'_>> {
    params![spec.kind, spec.key.namespace, spec.key.name].to_vec()
}
