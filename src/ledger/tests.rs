//! Tests of the ledger's rules: what they share.

mod events;
mod facts;
mod failures;
mod folder;
mod held;
mod migrations;
mod people;
mod random;
mod reading;
mod rollouts;
mod rules;
mod standing;
mod tenure;
mod transfer;

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use super::*;
use crate::resources::{
    campaign::WhenOutcomeIsUnknown,
    fate::{Fate, FateCounts},
    resume::ResumeHeld,
};

/// A place for a ledger that is removed with the test: a folder, or a schema of the database that is given to the tests.
struct Folder(PathBuf, Option<DatabasePlace>);

impl Folder {
    fn new() -> Self {
        let id: [u8; 8] = schema::random().expect("random bytes");
        let id = u64::from_ne_bytes(id);
        let path = std::env::temp_dir().join(format!("mailfleet-ledger {id:016x}"));
        fs::create_dir(&path).expect("a folder for the test");
        // A connection is a process there, so few are open at a time.
        let given = std::env::var("MAILFLEET_TEST_POSTGRES").ok();
        Self(path, given.map(|url| DatabasePlace::parse(&format!("{url}?schema=test_{id:016x}")).expect("a URL of a database")))
    }

    fn location(&self) -> LedgerPlace {
        self.1.as_ref().map_or_else(|| (&self.0).into(), |place| LedgerPlace::in_database(place.clone(), &self.0))
    }

    fn open(&self) -> Ledger {
        self.try_open().expect("the ledger opens")
    }

    fn try_open(&self) -> Result<Ledger, LedgerError> {
        Ledger::open(self.location(), LedgerOptions { synchronous: Synchronous::Normal, busy_timeout: Duration::from_millis(20) })
    }

    fn database(&self) -> PathBuf {
        self.0.join("ledger.db")
    }

    /// What a machine finds after a kill: the database and its log, not the shared memory.
    fn killed_copy(&self) -> Self {
        let copy = Self::new();
        if let (Some(place), Some(to)) = (&self.1, &copy.1) {
            drop(copy.open());
            let (from, to) = (place.schema(), to.schema());
            let tables = self.ask(&format!(
                "SELECT table_name FROM information_schema.tables WHERE table_schema = '{from}' AND table_type = 'BASE TABLE'"
            ));
            for table in tables {
                self.ask(&format!("TRUNCATE {to}.{table}; INSERT INTO {to}.{table} SELECT * FROM {from}.{table}"));
            }
            for table in ["runs", "servers", "history"] {
                self.ask(&format!(
                    "SELECT setval(pg_get_serial_sequence('{to}.{table}', 'id'), 1 + (SELECT coalesce(max(id), 0) FROM {to}.{table}))"
                ));
            }
            self.ask(&format!("UPDATE {to}.senders SET origin = 'gone', lease_until_ms = 0"));
        }
        for name in ["ledger.db", "ledger.db-wal"].into_iter().filter(|name| self.0.join(name).exists()) {
            fs::copy(self.0.join(name), copy.0.join(name)).expect("a copy");
        }
        copy
    }

    /// A change that no user would make, with another client.
    fn call_sql(&self, sql: &str) {
        match &self.1 {
            Some(_) => drop(self.ask(sql)),
            None => drop(rusqlite::Connection::open(self.database()).expect("it opens").execute(sql, []).expect("good SQL")),
        }
    }

    /// A query as users make it, with another client.
    fn ask(&self, sql: &str) -> Vec<String> {
        match &self.1 {
            Some(place) => database::Session::open(&Arc::new(place.clone()), true).expect("a connection").ask(sql),
            None => ask(&self.database(), sql),
        }
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if let Some(place) = &self.1 {
            self.ask(&format!("DROP SCHEMA IF EXISTS {} CASCADE", place.schema()));
        }
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn ask(database: &Path, sql: &str) -> Vec<String> {
    let connection = rusqlite::Connection::open(database).expect("the database opens");
    let mut statement = connection.prepare(sql).expect("good SQL");
    let columns = statement.column_count();
    let rows = statement.query_map([], |row| {
        let text = |i| {
            row.get::<_, rusqlite::types::Value>(i).map(|value| match value {
                rusqlite::types::Value::Text(text) => text,
                rusqlite::types::Value::Integer(number) => number.to_string(),
                _ => "-".to_owned(),
            })
        };
        Ok((0..columns).map(text).collect::<Result<Vec<_>, _>>()?.join(" "))
    });
    rows.expect("rows").collect::<Result<_, _>>().expect("rows")
}

fn migrations_of_the_ledger() -> &'static [&'static str] {
    &crate::ledger::migrations::STEPS
}

fn key() -> RunKey {
    RunKey::new("shop", "news", "first")
}

async fn begin(ledger: &Ledger, policy: WhenOutcomeIsUnknown) -> RunRecord {
    ledger.begin_run(&key(), RunStart { when_outcome_is_unknown: policy, ..RunStart::default() }, 1_000).await.expect("the run begins")
}

fn claim(run_id: RunId, server: ServerId, recipient: &str) -> Claim {
    Claim { run_id, seq: None, recipient: recipient.into(), attempt: 1, server, topic: None, usage_keys: Arc::from([]) }
}

fn again(run_id: RunId, server: ServerId, seq: u64, attempt: u32) -> Claim {
    Claim { seq: Some(seq), attempt, ..claim(run_id, server, "") }
}

fn outcome(run_id: RunId, seq: u64, disposition: Disposition) -> OutcomeRecord {
    OutcomeRecord { run_id, seq: Some(seq), recipient: "".into(), disposition, server: None, reply: None, suppresses: false }
}

fn claims(claims: Vec<Claim>) -> Commit {
    Commit { claims, now_ms: 60_000, ..Commit::default() }
}

fn outcomes(outcomes: Vec<OutcomeRecord>) -> Commit {
    Commit { outcomes, now_ms: 120_000, ..Commit::default() }
}

/// Claims one message for each recipient and returns their numbers.
async fn claim_all(ledger: &Ledger, run: RunId, recipients: &[&str]) -> Vec<u64> {
    let server = ledger.server_id("shop/one").await.expect("a server");
    let commit = claims(recipients.iter().map(|recipient| claim(run, server, recipient)).collect());
    numbers(ledger.commit(commit).await.expect("the claims are written"))
}

/// The numbers of claims of which none is suppressed.
fn numbers(receipt: CommitReceipt) -> Vec<u64> {
    receipt.seqs.into_iter().map(|seq| seq.expect("nobody is suppressed")).collect()
}

fn kind<T>(result: Result<T, LedgerError>) -> Option<LedgerErrorKind> {
    result.err().map(|error| error.kind)
}
