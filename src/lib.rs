//! Mailfleet: declarative email sending over many servers.
//!
//! The map, in the order of the data:
//!
//! - [`meta`]: the words that every room uses. Pure.
//! - [`resources`]: what users write. Plain data, schema, conditions.
//! - [`source`]: where it comes from, and where status goes.
//! - [`decide`]: what should hold. Pure.
//! - [`engine`]: the loop: snapshot, decide, act, report. Read this first.
//! - [`providers`]: how a server is spoken to.
//! - [`audience`]: to whom. Streams.
//! - [`egress`]: where connections may go.
//! - [`message`]: what is sent. Pure.
//! - [`dispatch`]: which server, how fast, what on failure.
//! - [`ledger`]: who was mailed.
//! - [`serve`]: whether the process is well, and figures, over HTTP.
//! - [`sink`]: a local SMTP server that takes everything, for demo, tests and benchmarks.
//! - `backoff`: how long to wait after a failure.
//! - `yaml`: trees of YAML with places.
//! - [`cli`]: one file per command.

#![forbid(unsafe_code)]

pub mod audience;
pub(crate) mod backoff;
pub mod chance;
pub mod cli;
pub mod clock;
pub mod decide;
pub mod dispatch;
pub mod egress;
pub mod engine;
pub mod ledger;
pub mod message;
pub mod meta;
pub mod providers;
pub mod report;
pub mod resources;
pub mod routing;
pub mod serve;
pub mod sink;
pub mod source;
pub(crate) mod yaml;

#[cfg(test)]
mod test_support;
