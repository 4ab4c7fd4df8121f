//! All integration tests, in one binary.

// A test that cannot continue panics, in its helpers too.
#![allow(clippy::expect_used, clippy::unwrap_used, clippy::panic)]

mod answers;
mod architecture;
mod check;
mod golden;
mod inputs;
mod kept;
mod reference;
mod signals;
mod skipped;
mod validate;
mod webhooks;
