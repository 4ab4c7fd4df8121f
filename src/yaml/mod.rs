//! YAML as a tree in which every value knows its line and column. Knows nothing of Mailfleet.
//!
//! In the order of the data: `parting` splits a text into documents as kubectl does, `parse` reads each of them, with `scalar`
//! and `spacing` refusing what kubectl reads differently or not at all, and [`Node`] is the tree. [`FieldPath`] names a field.

mod parse;
mod parting;
mod path;
mod scalar;
mod spacing;
mod tree;

pub use parse::parse;
pub use parting::lines;
pub use path::{FieldPath, Step};
#[cfg(any(test, fuzzing))]
pub use tree::DEPTH_MAX;
pub use tree::{Data, Document, Entry, Fault, Node, Position};
