//! A query as an audience: PostgreSQL, MySQL and MariaDB by their protocols, and SQLite's files.
//!
//! What a query gives goes through a [`spool`]: the database is asked once for each reading of the audience, as fast as it answers, in
//! a transaction that only reads. Where it ends too early, the reading fails, and the campaign goes on from the ledger.

mod client;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod mysql;
mod postgres;
mod rows;
mod sqlite;
mod url;

use std::{fmt, path::PathBuf, sync::Arc, time::Duration};

use tokio::runtime::Handle;

pub use self::rows::{Asked, DatabaseKind, kind, read};
use self::{
    client::Asking,
    url::{DatabaseUrl, Kind},
};
pub(crate) use self::{client::Stream, postgres::request_tls};
use super::{
    Blocker, NamedFile, Progress,
    columns::{Columns, Renamed},
    spool::{self, Head, Sink, Spool, Words},
    unreadable,
};
use crate::{
    egress::Egress,
    meta::{Reason, secret::SecretValue},
    providers::{
        connect::{Peer, own_tls},
        diagnose::Endpoint,
        scrub::Scrubber,
    },
};

/// For each step of a connection: the lookup, TCP, TLS, the login.
const STEP_TIMEOUT: Duration = Duration::from_secs(10);
/// Beyond the time that the database is given for the query: it ends the query itself, if it can.
const GRACE: Duration = Duration::from_secs(15);

/// A query for recipients.
#[derive(Clone)]
pub struct Query {
    /// The database.
    pub database: Database,
    /// The query.
    pub text: String,
    /// Its parameters, in their order.
    pub parameters: Vec<String>,
    /// Columns whose name is not that of the field.
    pub columns: Renamed,
    /// How long it may take.
    pub timeout: Duration,
    /// Where its rows are kept while they are read.
    pub folder: PathBuf,
}

/// A database.
#[derive(Clone, Debug)]
pub enum Database {
    /// A server, and where connections may go.
    Server(Access, Egress),
    /// A file of SQLite.
    Sqlite(NamedFile),
}

/// What a server is reached with. It prints as `***`.
#[derive(Clone, PartialEq, Eq)]
pub struct Key {
    /// The URL, with user and password.
    pub url: SecretValue,
    /// CA certificates (PEM) that are trusted instead of the system's.
    pub authorities: Option<SecretValue>,
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// Where the key of a server is looked up: for each reading anew, so that a Secret that was rotated is used at the next one.
#[derive(Clone)]
pub struct Access(Arc<dyn Fn() -> Result<Key, Blocker> + Send + Sync>);

impl Access {
    /// `look_up` gives the key, or what is wrong with the Secret.
    pub fn new(look_up: impl Fn() -> Result<Key, Blocker> + Send + Sync + 'static) -> Self {
        Self(Arc::new(look_up))
    }

    /// The key as it is now.
    ///
    /// # Errors
    /// When the Secret is missing or cannot be used.
    pub fn key(&self) -> Result<Key, Blocker> {
        (self.0)()
    }
}

impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Access")
    }
}

/// The ledger keeps hashes of these words. Where rows are kept is not part of the query.
impl fmt::Debug for Query {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { database, text, parameters, columns, timeout, folder: _ } = self;
        write!(f, "Query({database:?} {text:?} {parameters:?} {columns:?} {timeout:?})")
    }
}

/// How messages speak of a query.
const WORDS: Words = Words {
    source: "the query",
    columns: "of the query, ",
    shorter: "select fewer columns",
    fewer: "select fewer columns or rows",
    doing: "reading a database",
};

/// Asks, and returns once the columns are known. It blocks. `scrubber` learns what must not be quoted.
pub(super) fn open(query: &Query, runtime: &Handle, progress: &Arc<Progress>, scrubber: &Scrubber) -> Result<(Head, Spool), Blocker> {
    let (asked, runtime) = (query.clone(), runtime.clone());
    match &query.database {
        Database::Server(access, egress) => {
            let server = Server::of(access, *egress, scrubber, OF_SECRET)?;
            let place = server.place.clone();
            let work = move |sink: &mut Sink| runtime.block_on(server.ask(&asked, sink));
            spool::start(&query.folder, (&place, WORDS), &query.columns, progress, work)
        }
        Database::Sqlite(file) => {
            let (place, file) = (file.name().display().to_string(), file.clone());
            spool::start(&query.folder, (&place, WORDS), &query.columns, progress, move |sink| sqlite::run(&file, &asked, sink))
        }
    }
}

/// The columns that a query gives, in their order, as fields.
fn take_columns(sink: &mut Sink, names: Vec<Box<str>>) -> Result<Columns, Blocker> {
    if names.is_empty() { Err(no_rows(sink)) } else { sink.begin(names) }
}

fn no_rows(sink: &Sink) -> Blocker {
    unreadable(format!("{}: the query returns no rows; write a SELECT with a column `email`", sink.place()))
}

/// How messages name the URL of an audience's database, and where its CA certificates are.
const OF_SECRET: UrlWords = UrlWords { url: "the URL in the Secret that `urlRef` names", authorities: "the Secret that `caRef` names" };

/// How messages name where a database's URL and CA certificates come from.
#[derive(Clone, Copy)]
struct UrlWords {
    url: &'static str,
    authorities: &'static str,
}

/// A database server, resolved as far as the Secret goes.
struct Server {
    url: DatabaseUrl,
    authorities: Option<Arc<rustls::ClientConfig>>,
    egress: Egress,
    endpoint: Endpoint,
    /// Host, port and database.
    place: String,
    scrubber: Scrubber,
    words: UrlWords,
}

impl Server {
    fn of(access: &Access, egress: Egress, scrubber: &Scrubber, words: UrlWords) -> Result<Self, Blocker> {
        let key = access.key()?;
        scrubber.learn(&key.url);
        let invalid = |what: String| Blocker::lasting(Reason::SecretInvalid, what);
        let text = key.url.expose_text().unwrap_or_default();
        let url = DatabaseUrl::parse(text).map_err(|what| invalid(format!("{} {what}.", words.url)))?;
        scrubber.learn(&url.password);
        let authorities = key.authorities.map(|pem| own_tls(pem.expose())).transpose();
        let authorities = authorities.map_err(|what| invalid(format!("{} {what}.", words.authorities)))?;
        let endpoint = Endpoint::new(&url.host, url.port);
        let place = format!("{}/{}", endpoint.as_str(), url.database);
        Ok(Self { url, authorities, egress, endpoint, place, scrubber: scrubber.clone(), words })
    }

    /// Asks, until all rows are there, nobody reads them any more, or the time is over.
    async fn ask(&self, query: &Query, sink: &mut Sink) -> Result<(), Blocker> {
        let host = self.url.host.trim_start_matches('[').trim_end_matches(']');
        let peer = Peer {
            host: &self.url.host,
            port: self.url.port,
            endpoint: &self.endpoint,
            tls_name: host,
            own_tls: self.authorities.as_ref(),
            scrubber: &self.scrubber,
            step_timeout: STEP_TIMEOUT,
            egress: self.egress,
        };
        let asking = Asking { url: &self.url, peer, query, place: &self.place, url_words: self.words.url };
        let closed = sink.closed();
        let work = async {
            match self.url.kind {
                Kind::Postgres => postgres::run(&asking, sink).await,
                Kind::MySql => mysql::run(&asking, sink).await,
            }
        };
        tokio::select! {
            biased;
            () = closed.cancelled() => Ok(()),
            result = tokio::time::timeout(query.timeout + GRACE, work) => result.unwrap_or_else(|_| Err(asking.too_slow())),
        }
    }
}

/// Bytes of a database as text; in hexadecimal where they are none.
fn text(bytes: &[u8]) -> String {
    std::str::from_utf8(bytes).map_or_else(|_| data_encoding::HEXLOWER.encode(bytes), str::to_owned)
}
