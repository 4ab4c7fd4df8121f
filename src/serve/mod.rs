//! What others may ask the process: over HTTP, whether it is well, and metrics; through a socket, to write its ledger; and, over HTTP
//! from everywhere, to take what comes back.
//!
//! `admin` answers operators, `health` knows how the process stands, `metrics` writes the metrics, `dashboard` makes pages, and `disk` knows
//! the room of the ledger: they read the engine's [`View`], and the dashboard the ledger, and change nothing. `control` is the socket in the state folder, for commands of the same user; what it is asked for is done by its
//! caller. `public` listens apart from them, for everybody; it knows nothing of the engine. `feedback` takes the calls of vendors there, and gives what
//! they say to the ledger.
//!
//! [`View`]: crate::engine::View

pub(crate) mod admin;
pub(crate) mod control;
mod dashboard;
mod disk;
pub mod feedback;
pub(crate) mod health;
pub mod metrics;
pub(crate) mod public;

#[cfg(test)]
mod tests;

pub use admin::Admin;
pub use dashboard::{DashboardOptions, Token};
pub use health::{Health, ProcessPhase};
pub use public::Public;
