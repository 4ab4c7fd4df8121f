//! What came of servers' messages and their pauses, in the tables and by the statements of a ledger, without its other rows: for worlds
//! in which time is simulated.

use std::collections::BTreeMap;

use super::{
    ServerRecord, StandingOf,
    database::Connection,
    error::{Fault, LedgerError},
    standing,
};
use crate::{
    feedback::{Judged, PauseChange},
    resources::Key,
};

/// What errors call the database that is nowhere but in memory.
const NAME: &str = "the simulated ledger";

/// The tables, in memory.
pub struct Results(Connection);

impl Results {
    /// Of servers that nothing was sent through.
    ///
    /// # Errors
    /// When there is no memory for it.
    pub fn new() -> Result<Self, LedgerError> {
        Connection::in_memory().map(Self).map_err(named)
    }

    fn id(&self, server: &Key) -> Result<i64, Fault> {
        let name = server.to_string();
        self.0.execute("INSERT INTO servers (name) VALUES (?1) ON CONFLICT DO NOTHING", [&name])?;
        self.0.value("SELECT id FROM servers WHERE name = ?1", [&name])
    }

    /// Adds what came of messages that a server took at this time.
    ///
    /// # Errors
    /// When there is no memory for it.
    pub fn note(&self, server: &Key, namespace: &str, judged: Judged, at_ms: i64) -> Result<(), LedgerError> {
        self.id(server).and_then(|id| standing::note(&self.0, id, namespace, judged, at_ms)).map_err(named)
    }

    /// Records a change of pauses.
    ///
    /// # Errors
    /// When there is no memory for it.
    pub fn change(&self, change: &PauseChange, now_ms: i64) -> Result<(), LedgerError> {
        self.id(&change.server).and_then(|id| standing::apply(&self.0, id, &change.what, now_ms)).map_err(named)
    }

    /// What is known of servers.
    ///
    /// # Errors
    /// When there is no memory for it.
    pub fn standings(&self, asked: &[StandingOf]) -> Result<BTreeMap<String, ServerRecord>, LedgerError> {
        standing::standings(&self.0, asked).map_err(named)
    }
}

fn named(fault: Fault) -> LedgerError {
    fault.at(&NAME)
}
