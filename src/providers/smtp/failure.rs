//! What went wrong in a conversation by SMTP, in words for people.

use std::time::Duration;

use super::reply::{Garbage, Reply};
pub use crate::providers::place::Place;
use crate::{
    providers::Failure,
    resources::{Duration as Span, Reason},
};

/// How a conversation broke off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Break {
    /// The server closed the connection.
    Closed,
    /// The line was lost.
    Lost,
    /// No answer within this time.
    TimedOut(Duration),
    /// The answer was not SMTP.
    Garbage(Garbage),
}

impl Place {
    /// A conversation that broke off while the connection was set up; `step` follows "during".
    #[must_use]
    pub fn broken_connection(&self, broken: Break, step: &str) -> Failure {
        let (reason, what, to_do) = broken_words(broken);
        self.connection(reason, &format!("{what} during {step}"), to_do)
    }

    /// A conversation that broke off while messages were sent.
    #[must_use]
    pub fn broken_sending(&self, broken: Break) -> Failure {
        let (reason, what, to_do) = broken_words(broken);
        self.sending(reason, &what, to_do)
    }

    /// A greeting, EHLO or other command that the server does not want now.
    #[must_use]
    pub fn not_available(&self, reply: Reply<'_>, step: &str) -> Failure {
        let what = format!("the server answered {step} with `{}`", reply.quoted());
        if reply.code / 100 == 4 && is_throttling(reply) {
            return self.connection(Reason::Throttled, &what, "It limits connections or rate: lower limits.connections or limits.rates.");
        }
        let to_do = if reply.is_permanent() {
            "It refuses this machine: check that it may connect there, and heloName."
        } else {
            "It is tried again; if this lasts, ask the server's operator."
        };
        self.connection(Reason::ServiceNotAvailable, &what, to_do)
    }
}

/// Whether the server says that we are too many or too fast.
#[must_use]
pub fn is_throttling(reply: Reply<'_>) -> bool {
    ["too many", "too fast", "rate", "throttl", "concurren"].iter().any(|word| reply.mentions(word))
}

fn broken_words(broken: Break) -> (Reason, String, &'static str) {
    match broken {
        Break::Closed => (Reason::ConnectionLost, "the server closed the connection".to_owned(), "Its log may say why."),
        Break::Lost => (Reason::ConnectionLost, "the connection was lost".to_owned(), "Check the server and the network in between."),
        Break::TimedOut(limit) => (
            Reason::TimedOut,
            format!("the server gave no answer within {}", Span::from_millis(u64::try_from(limit.as_millis()).unwrap_or(u64::MAX))),
            "Check host, port and encryption, and whether the server is overloaded.",
        ),
        Break::Garbage(garbage) => {
            (Reason::ProtocolError, format!("the server {}", garbage.as_str()), "Check that host and port are those of an SMTP server.")
        }
    }
}
