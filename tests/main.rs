//! All integration tests, in one binary.

mod signals;
mod validate;
