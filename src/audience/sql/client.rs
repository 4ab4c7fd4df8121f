//! What the clients of all databases share: a connection to where egress permits, with TLS, and what stands in the way in words.

use std::time::Duration as StdDuration;

use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};
use tokio_rustls::client::TlsStream;

use super::{
    super::{Blocker, unreadable},
    Query,
    url::DatabaseUrl,
};
use crate::{
    egress::NotAllowed,
    meta::{Duration, Reason, bound::counted},
    providers::{connect::Peer, readable, stable},
};

/// Before a database that refused is asked again.
const ASK_AGAIN: StdDuration = StdDuration::from_secs(5);
/// Characters that are quoted of what a database says.
const QUOTED_MAX: usize = 250;

/// A connection, encrypted or not.
pub(crate) type Stream = Box<dyn Duplex>;

/// What is read and written.
pub(crate) trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

/// A query that is asked.
pub(super) struct Asking<'a> {
    pub url: &'a DatabaseUrl,
    pub peer: Peer<'a>,
    pub query: &'a Query,
    /// The database, for people: without user and password.
    pub place: &'a str,
    /// How messages name where its URL comes from.
    pub url_words: &'static str,
}

impl Asking<'_> {
    /// Opens a connection.
    pub async fn connect(&self) -> Result<TcpStream, Blocker> {
        self.peer.connect().await.map_err(|blocker| self.of_audience(blocker))
    }

    /// Sets TLS up on it.
    pub async fn encrypt(&self, tcp: TcpStream) -> Result<TlsStream<TcpStream>, Blocker> {
        self.peer.encrypt(tcp).await.map_err(|blocker| self.of_audience(blocker))
    }

    /// A step of the conversation, within its time.
    pub async fn step<T>(&self, name: &str, step: impl Future<Output = T>) -> Result<T, Blocker> {
        let limit = self.peer.step_timeout;
        let silent = |_| self.passing(&format!("the database did not answer within {} s during {name}", limit.as_secs()));
        tokio::time::timeout(limit, step).await.map_err(silent)
    }

    /// A connection that did not come about, as a problem of an audience.
    fn of_audience(&self, blocker: Blocker) -> Blocker {
        if blocker.reason == Reason::AddressNotAllowed {
            return Blocker { message: format!("{}: {NotAllowed}", self.place), ..blocker };
        }
        let message = blocker.message.trim_end_matches('.').to_owned();
        Blocker { reason: Reason::AudienceUnreadable, message, ..blocker }
    }

    /// What may be over at the next try.
    pub fn passing(&self, what: &str) -> Blocker {
        Blocker { needs_person: false, ..unreadable(format!("{}: {what}", self.place)) }
    }

    /// The same in the database's words.
    pub fn passing_words(&self, said: &str) -> Blocker {
        self.passing(&format!("the database says: {}", quoted(said)))
    }

    /// What a person must fix; the database is asked again all the same.
    pub fn lasting(&self, what: &str) -> Blocker {
        unreadable(format!("{}: {what}", self.place)).after(Some(ASK_AGAIN))
    }

    /// The same in the database's words.
    pub fn lasting_words(&self, said: &str) -> Blocker {
        self.lasting(&format!("the database refuses the query: {}", quoted(said)))
    }

    /// A login that the database does not take.
    pub fn refused(&self, said: &str) -> Blocker {
        self.lasting(&format!("the database refuses the login: {}; check {}", quoted(said), self.url_words))
    }

    /// A query that writes.
    pub fn writes(&self, said: &str) -> Blocker {
        self.lasting(&format!(
            "the query writes, and the database refuses that: {}; only a query that reads can be an audience",
            quoted(said)
        ))
    }

    /// A query that took longer than it may.
    pub fn too_slow(&self) -> Blocker {
        let limit = Duration::from(self.query.timeout);
        self.lasting(&format!("the query took longer than {limit}; make it faster, or raise `timeout`"))
    }

    /// Other parameters than the query has.
    pub fn parameters(&self, wanted: usize) -> Blocker {
        wrong_parameters(self.place, wanted, self.query.parameters.len()).after(Some(ASK_AGAIN))
    }
}

/// What is said where a query has other parameters than the spec gives.
pub(super) fn wrong_parameters(place: &str, wanted: usize, given: usize) -> Blocker {
    unreadable(format!("{place}: the query has {}, and `parameters` has {given}", counted(wanted as u64, "parameter", "parameters")))
}

/// A database's words for people.
pub(super) fn quoted(said: &str) -> String {
    let said: String = readable(said).take(QUOTED_MAX).collect();
    stable(&said).trim_end_matches('.').to_owned()
}
