//! Forges (GitHub, GitLab, Forgejo): the one comment of ours under a pull request, and the statuses of commits.
//!
//! `place` finds out from a job's variables which request or commit is meant, `api` knows how each forge is asked, both without I/O, and
//! `client` asks: timed, bounded, never redirected, and again where the forge says so.

mod api;
mod client;
mod place;

pub use api::{CommitState, CommitStatus};
pub use client::{Client, Kept};
pub use place::{Forge, Place, is_fork};

/// Bytes of a comment: GitHub takes 65,536 characters, and the others more.
pub const COMMENT_MAX: usize = 65_536;
