//! All integration tests, in one binary.

mod architecture;
mod signals;
mod validate;
