//! What others may ask the process over HTTP: whether it is well, and figures.
//!
//! `admin` answers, `health` knows how the process stands, `metrics` writes the figures. All of it reads the engine's [`View`]
//! and changes nothing.
//!
//! [`View`]: crate::engine::View

pub mod admin;
pub mod health;
mod metrics;

#[cfg(test)]
mod tests;

pub use admin::Admin;
pub use health::{Health, ProcessPhase};
