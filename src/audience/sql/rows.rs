//! Rows of a database that are no recipients: what another program keeps in its tables.

use std::{
    io::{BufRead as _, BufReader},
    path::Path,
    sync::Arc,
    time::Duration,
};

use serde_json::{Map, Value};
use tokio::runtime::Handle;

use super::{
    super::{Blocker, Progress, columns::Renamed, spool, unreadable},
    Access, Database, Key, Query, Server, UrlWords,
    url::{DatabaseUrl, Kind},
};
use crate::{
    audience::{ROW_MAX, source::Failed, spool::Words},
    egress::Egress,
    meta::secret::SecretValue,
    providers::scrub::Scrubber,
};

const OF_OPTIONS: UrlWords = UrlWords { url: "the URL of the database", authorities: "the file with CA certificates" };

const WORDS: Words = Words {
    source: "the database",
    columns: "of the query, ",
    shorter: "shorten that text in the program, or delete it there",
    fewer: "so much cannot be read",
    doing: "reading a database",
};

/// What is asked of a database.
pub struct Asked<'a> {
    /// Its URL, with user and password.
    pub url: SecretValue,
    /// CA certificates (PEM) that are trusted instead of the system's.
    pub authorities: Option<SecretValue>,
    /// The query, one SELECT: one statement, so that all of its rows are of the same moment.
    pub query: String,
    /// How long it may take.
    pub timeout: Duration,
    /// Where rows are kept while they are read.
    pub folder: &'a Path,
}

/// The program of a database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DatabaseKind {
    /// PostgreSQL.
    Postgres,
    /// MySQL or MariaDB.
    MySql,
}

/// Which database a URL means, and the name of the database in it.
///
/// # Errors
/// What is wrong with the URL, without any of its parts.
pub fn kind(url: &SecretValue) -> Result<(DatabaseKind, String), String> {
    let parsed = DatabaseUrl::parse(url.expose_text().unwrap_or_default()).map_err(|what| format!("{} {what}", OF_OPTIONS.url))?;
    let kind = match parsed.kind {
        Kind::Postgres => DatabaseKind::Postgres,
        Kind::MySql => DatabaseKind::MySql,
    };
    Ok((kind, parsed.database))
}

/// Asks, and passes each row on, until `take` refuses one. It blocks.
///
/// # Errors
/// When the database cannot be reached or refuses, or `take` does.
pub fn read(asked: Asked<'_>, runtime: &Handle, mut take: impl FnMut(Map<String, Value>) -> Result<(), String>) -> Result<(), Blocker> {
    let key = Key { url: asked.url, authorities: asked.authorities };
    let access = Access::new(move || Ok(key.clone()));
    let server = Server::of(&access, Egress::Everywhere, &Scrubber::default(), OF_OPTIONS)?;
    let place = server.place.clone();
    let query = Query {
        database: Database::Server(access, Egress::Everywhere),
        text: asked.query,
        parameters: Vec::new(),
        columns: Renamed::new(),
        timeout: asked.timeout,
        folder: asked.folder.to_owned(),
    };
    let runtime = runtime.clone();
    let work = move |sink: &mut spool::Sink| {
        sink.take_any();
        runtime.block_on(server.ask(&query, sink))
    };
    let (_, rows) = spool::start(asked.folder, (&place, WORDS), &Renamed::new(), &Arc::<Progress>::default(), work)?;
    let mut rows = BufReader::new(rows);
    let mut line = Vec::with_capacity(ROW_MAX / 16);
    loop {
        line.clear();
        // No row is longer than the sink takes.
        match rows.read_until(b'\n', &mut line) {
            Ok(0) => return Ok(()),
            Ok(_) => {}
            Err(error) => {
                let failed = error.get_ref().and_then(|inner| inner.downcast_ref::<Failed>()).map(|failed| failed.0.clone());
                return Err(failed.unwrap_or_else(|| unreadable(format!("{place}: {error}"))));
            }
        }
        let row = serde_json::from_slice(&line).map_err(|error| unreadable(format!("{place}: a row is no JSON: {error}")))?;
        take(row).map_err(|why| unreadable(format!("{place}: {why}")))?;
    }
}
