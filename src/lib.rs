//! Mailfleet: declarative email sending over many servers.
//!
//! The map, in the order of the data. Rooms are public as far as the tests beside the crate need them:
//!
//! - [`meta`]: the words that every room uses. Pure.
//! - [`resources`]: what users write. Plain data, schema, conditions.
//! - [`source`]: where it comes from, and where status goes.
//! - [`decide`]: what should hold. Pure.
//! - [`compare`]: what a change of the objects would mean. Pure.
//! - [`dkim`]: signatures of messages. Pure.
//! - `dns`: which records the senders' domains need, and whether they are published.
//! - [`engine`]: the loop: snapshot, decide, act, report. Read this first.
//! - [`providers`]: how a server is spoken to.
//! - `audience`: to whom. Streams.
//! - [`egress`]: where connections may go.
//! - `message`: what is sent. Pure.
//! - `token`: what authenticates texts that are given away and come back. Pure.
//! - [`feedback`]: what comes back: bounces, complaints, unsubscriptions.
//! - `bounces`: what comes back by mail, and how it is taken.
//! - `dispatch`: which server, how fast, what on failure.
//! - [`ledger`]: who was mailed.
//! - [`serve`]: whether the process is well, and metrics, over HTTP; and where vendors call.
//! - `sink`: a local SMTP server that takes everything, for demo, tests and benchmarks.
//! - [`routing`] and [`report`]: what goes down to the data plane, and what comes up. Pure.
//! - `backoff`, `chance`, `clock`: how long to wait after a failure, chance from a seed, the time.
//! - [`bulk`]: what mailbox providers ask of bulk senders.
//! - [`hours`]: whether it is a time at which a campaign may send; `zones`: time zones by name.
//! - `people`: for whom a campaign is.
//! - [`traces`]: spans of turns, probes and batches, for a collector.
//! - `present`: what people see of objects, whoever shows it.
//! - `yaml`: trees of YAML with places.
//! - [`simulate`]: campaigns in simulated time. Pure.
//! - `forge`: comments of pull requests and statuses of commits, on GitHub, GitLab and Forgejo.
//! - `import`: what other programs keep, as objects of ours. Pure.
//! - [`cli`]: one file per command.
//! - `fuzzing`: what must hold of whatever strangers write, for tests and cargo-fuzz alone; `properties`: what it asserts with.

#![forbid(unsafe_code)]

pub(crate) mod audience;
pub(crate) mod backoff;
pub(crate) mod bounces;
pub mod bulk;
pub(crate) mod chance;
pub mod cli;
pub(crate) mod clock;
pub mod compare;
pub mod decide;
pub(crate) mod dispatch;
pub mod dkim;
pub(crate) mod dns;
pub mod egress;
pub mod engine;
pub mod feedback;
pub(crate) mod forge;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
pub mod hours;
pub(crate) mod import;
pub(crate) mod inspect;
pub mod ledger;
pub(crate) mod message;
pub mod meta;
pub(crate) mod people;
pub(crate) mod present;
#[cfg(any(test, fuzzing))]
pub(crate) mod properties;
pub mod providers;
pub mod report;
pub mod resources;
pub mod routing;
pub mod serve;
pub mod simulate;
pub(crate) mod sink;
pub mod source;
pub(crate) mod token;
pub mod traces;
pub(crate) mod yaml;
pub(crate) mod zones;

#[cfg(test)]
mod test_support;
