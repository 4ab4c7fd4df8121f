//! The commands: one file each.

pub mod output;
pub mod schema;
pub mod validate;
