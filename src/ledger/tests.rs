//! Tests of the ledger's rules: what they share.

mod events;
mod facts;
mod failures;
mod held;
mod migrations;
mod people;
mod random;
mod reading;
mod rollouts;
mod rules;
mod standing;

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

/// A folder that is removed with the test.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        let id: [u8; 8] = schema::random().expect("random bytes");
        let path = std::env::temp_dir().join(format!("mailfleet-ledger {:016x}", u64::from_ne_bytes(id)));
        fs::create_dir(&path).expect("a folder for the test");
        Self(path)
    }

    fn open(&self) -> Ledger {
        self.try_open().expect("the ledger opens")
    }

    fn try_open(&self) -> Result<Ledger, LedgerError> {
        Ledger::open(&self.0, LedgerOptions { synchronous: Synchronous::Normal, busy_timeout: Duration::from_millis(20) })
    }

    fn database(&self) -> PathBuf {
        self.0.join("ledger.db")
    }

    /// What a machine finds after a kill: the database and its log, not the shared memory.
    fn killed_copy(&self) -> Self {
        let copy = Self::new();
        for name in ["ledger.db", "ledger.db-wal"].into_iter().filter(|name| self.0.join(name).exists()) {
            fs::copy(self.0.join(name), copy.0.join(name)).expect("a copy");
        }
        copy
    }

    /// A query as users make it, with another client.
    fn ask(&self, sql: &str) -> Vec<String> {
        ask(&self.database(), sql)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
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
