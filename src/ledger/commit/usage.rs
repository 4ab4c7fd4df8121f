//! What a group commit writes beside messages: servers that are out of use for a run, and what counts towards limits.

use std::{collections::BTreeMap, sync::Arc};

use super::{
    super::{
        Commit, NewBar,
        database::{Connection, params},
        error::Fault,
    },
    rows,
};

/// One list of usage keys, a minute, and how many messages a commit adds to it.
type UsageCount<'a> = (&'a Arc<[Arc<str>]>, i64, i64);

pub(super) fn write_bars(connection: &Connection, bars: &[NewBar], now_ms: i64) -> Result<(), Fault> {
    for NewBar { run_id, server, bar } in bars {
        connection
            .prepare(
                "INSERT INTO guards (run_id, server_id, reason, message, spec_hash, since_ms) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
                 ON CONFLICT (run_id, server_id) DO UPDATE SET reason = excluded.reason, message = excluded.message,
                    spec_hash = excluded.spec_hash, since_ms = excluded.since_ms",
            )?
            .execute(params![run_id.0, server.0, bar.reason.as_str(), bar.message, bar.work_hash.cast_signed(), now_ms])?;
    }
    Ok(())
}

pub(super) fn write_usage(connection: &Connection, commit: &Commit, seqs: &[Option<u64>]) -> Result<(), Fault> {
    let minute = commit.now_ms.div_euclid(60_000);
    let claimed = commit.claims.iter().zip(seqs).filter(|(_, seq)| seq.is_some()).map(|(claim, _)| (&claim.usage_keys, minute, 1));
    let moved = commit.usage_moves.iter().flat_map(|moved| {
        let away = (&moved.usage_keys, moved.from_minute, -1);
        std::iter::once(away).chain(moved.to_minute.map(|to| (&moved.usage_keys, to, 1)))
    });
    let mut sums: Vec<UsageCount<'_>> = Vec::new();
    for (keys, minute, by) in claimed.chain(moved).filter(|(keys, ..)| !keys.is_empty()) {
        match sums.iter_mut().find(|sum| Arc::ptr_eq(sum.0, keys) && sum.1 == minute) {
            Some(sum) => sum.2 += by,
            None => sums.push((keys, minute, by)),
        }
    }
    let each = sums.into_iter().flat_map(|(keys, minute, by)| keys.iter().map(move |key| (&**key, minute, by)));
    if matches!(connection, Connection::Postgres(_)) {
        let mut by_key: BTreeMap<(&str, i64), i64> = BTreeMap::new();
        each.for_each(|(key, minute, by)| *by_key.entry((key, minute)).or_default() += by);
        let sums: Vec<_> = by_key.into_iter().filter(|(_, by)| *by != 0).map(|((key, minute), by)| (key, minute, by)).collect();
        return if sums.is_empty() { Ok(()) } else { rows::add_usage(connection, &sums) };
    }
    for (key, minute, by) in each.filter(|(.., by)| *by != 0) {
        add_usage(connection, key, minute, by)?;
    }
    Ok(())
}

/// Adds to the usage of a key in a minute.
pub(in crate::ledger) fn add_usage(connection: &Connection, key: &str, minute: i64, by: i64) -> Result<(), Fault> {
    connection.post(
        "INSERT INTO usage (minute, key, count) VALUES (?1, ?2, ?3)
         ON CONFLICT (minute, key) DO UPDATE SET count = usage.count + excluded.count",
        params![minute, key, by],
    )
}
