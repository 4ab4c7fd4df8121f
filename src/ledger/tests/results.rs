//! What came of servers' messages and their pauses, in the tables and by the statements of a ledger, without its other rows: for worlds
//! in which time is simulated.

use std::collections::BTreeMap;

use rusqlite::Connection;

use super::super::{ServerRecord, StandingOf, standing};
use crate::{
    feedback::{Judged, PauseChange},
    resources::Key,
};

/// The tables, in memory.
pub struct Results(Connection);

impl Results {
    /// Of servers that nothing was sent through.
    pub fn new() -> Self {
        let connection = Connection::open_in_memory().expect("a database");
        connection.execute_batch(include_str!("../schema.sql")).expect("the schema");
        Self(connection)
    }

    fn id(&self, server: &Key) -> i64 {
        let name = server.to_string();
        self.0.execute("INSERT OR IGNORE INTO servers (name) VALUES (?1)", [&name]).expect("a server");
        self.0.query_row("SELECT id FROM servers WHERE name = ?1", [&name], |row| row.get(0)).expect("its number")
    }

    /// Adds what came of messages that a server took at this time.
    pub fn note(&self, server: &Key, namespace: &str, judged: Judged, at_ms: i64) {
        standing::note(&self.0, self.id(server), namespace, judged, at_ms).expect("noted");
    }

    /// Records a change of pauses.
    pub fn change(&self, change: &PauseChange, now_ms: i64) {
        standing::apply(&self.0, self.id(&change.server), &change.what, now_ms).expect("changed");
    }

    /// What is known of servers.
    pub fn standings(&self, asked: &[StandingOf]) -> BTreeMap<String, ServerRecord> {
        standing::standings(&self.0, asked).expect("read")
    }
}
