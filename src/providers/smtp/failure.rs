//! What went wrong in an SMTP conversation, in words for people.

use std::time::Duration as StdDuration;

use super::reply::Garbage;
pub use crate::providers::diagnose::Endpoint;
use crate::{
    meta::{Duration, Reason},
    providers::Blocker,
};

/// How a conversation broke off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Break {
    /// The server closed the connection.
    Closed,
    /// The connection was lost.
    Lost,
    /// No answer within this time.
    TimedOut(StdDuration),
    /// The answer was not SMTP.
    Garbage(Garbage),
}

impl Endpoint {
    /// A conversation that broke off while the connection was set up; `step` follows "during".
    #[must_use]
    pub fn broken_connection(&self, broken: Break, step: &str) -> Blocker {
        let (reason, what, to_do) = broken_words(broken);
        self.connection(reason, &format!("{what} during {step}"), to_do)
    }

    /// A conversation that broke off while messages were sent.
    #[must_use]
    pub fn broken_sending(&self, broken: Break) -> Blocker {
        let (reason, what, to_do) = broken_words(broken);
        self.sending(reason, &what, to_do)
    }
}

fn broken_words(broken: Break) -> (Reason, String, &'static str) {
    match broken {
        Break::Closed => (Reason::ConnectionLost, "the server closed the connection".to_owned(), "Its log may say why."),
        Break::Lost => (Reason::ConnectionLost, "the connection was lost".to_owned(), "Check the server and the network in between."),
        Break::TimedOut(limit) => (
            Reason::TimedOut,
            format!("the server did not answer within {}", Duration::from(limit)),
            "Check host, port and encryption, and whether the server is overloaded.",
        ),
        Break::Garbage(garbage) => {
            (Reason::ProtocolError, format!("the server {}", garbage.as_str()), "Check that host and port are those of an SMTP server.")
        }
    }
}
