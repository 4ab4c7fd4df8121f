//! YAML as a tree in which every value knows its line and column.
//!
//! Typed readers stop at the first fault; with this tree all faults are reported, with their places. `parse` builds it, and
//! resolves duplicate keys, tags, merge keys and aliases.

use std::sync::Arc;

use serde_json::{Map, Number, Value};

use super::path::{FieldPath, Step};

/// Values in one document, aliases expanded.
pub const VALUES_MAX: u64 = 500_000;
/// Levels of nesting in one document.
pub const DEPTH_MAX: usize = 64;

/// A place in a file. Both count from 1; columns are characters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    pub line: usize,
    pub column: usize,
}

/// A value and where it stands.
#[derive(Debug)]
pub struct Node {
    pub data: Data,
    pub at: Position,
    /// Values in it, aliases expanded; long texts count more.
    pub(super) size: u64,
    /// Levels of nesting in it.
    pub(super) depth: usize,
}

/// A value.
#[derive(Debug)]
pub enum Data {
    Null,
    Bool(bool),
    Number(Number),
    Text(String),
    List(Vec<Arc<Node>>),
    /// A mapping, in the order of the file, keys once each.
    Map(Vec<Entry>),
}

/// One key of a mapping.
#[derive(Clone, Debug)]
pub struct Entry {
    pub key: String,
    pub key_at: Position,
    pub value: Arc<Node>,
}

/// What is wrong at a place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    pub at: Position,
    /// The field; empty when unknown.
    pub path: FieldPath,
    /// For people: what is wrong, and what to do.
    pub message: String,
}

/// One document of a file.
#[derive(Debug)]
pub struct Document {
    pub root: Arc<Node>,
    /// Faults of its YAML other than syntax errors.
    pub problems: Vec<Fault>,
    /// Faults of scalars that tools read differently, or that carry a tag; these messages quote the value.
    pub scalars: Vec<Fault>,
    /// The document is too large or too deep, and the tree holds only its head.
    pub is_cut: bool,
    /// The syntax error that ended it; the tree then holds what was read before it.
    pub syntax: Option<Fault>,
}

impl Node {
    /// A value at a place.
    #[must_use]
    pub fn new(data: Data, at: Position) -> Self {
        let (size, depth) = match &data {
            Data::List(items) => measure(items.iter()),
            Data::Map(entries) => measure(entries.iter().map(|entry| &entry.value)),
            Data::Text(text) => (1 + text.len() as u64 / 64, 1),
            _ => (1, 1),
        };
        Self { data, at, size, depth }
    }

    /// The value of a key, when this is a mapping that has it.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Arc<Node>> {
        self.entry(key).map(|entry| &entry.value)
    }

    /// A key and its value, when this is a mapping that has it.
    #[must_use]
    pub fn entry(&self, key: &str) -> Option<&Entry> {
        match &self.data {
            Data::Map(entries) => entries.iter().find(|entry| entry.key == key),
            _ => None,
        }
    }

    /// The text, when this is text.
    #[must_use]
    pub fn text(&self) -> Option<&str> {
        match &self.data {
            Data::Text(text) => Some(text),
            _ => None,
        }
    }

    /// This value as JSON.
    #[must_use]
    pub fn to_json(&self) -> Value {
        match &self.data {
            Data::Null => Value::Null,
            Data::Bool(value) => Value::Bool(*value),
            Data::Number(number) => Value::Number(number.clone()),
            Data::Text(text) => Value::String(text.clone()),
            Data::List(items) => Value::Array(items.iter().map(|item| item.to_json()).collect()),
            Data::Map(entries) => Value::Object(entries.iter().map(|e| (e.key.clone(), e.value.to_json())).collect::<Map<_, _>>()),
        }
    }

    /// The position of a field: of its value, or of the nearest key on the way to it.
    #[must_use]
    pub fn locate(&self, path: &FieldPath) -> Position {
        let mut node = self;
        let mut at = self.at;
        for (position, step) in path.0.iter().enumerate() {
            let is_last = position + 1 == path.0.len();
            match (step, &node.data) {
                (Step::Key(key), Data::Map(_)) => {
                    let Some(entry) = node.entry(key) else { return at };
                    let points_at_value = is_last && !matches!(entry.value.data, Data::Map(_) | Data::List(_) | Data::Null);
                    at = if points_at_value { entry.value.at } else { entry.key_at };
                    node = &entry.value;
                }
                (Step::Index(index), Data::List(items)) => {
                    let Some(item) = items.get(*index) else { return at };
                    at = item.at;
                    node = item;
                }
                _ => return at,
            }
        }
        at
    }

    /// The position of a field's key.
    #[must_use]
    pub fn locate_key(&self, path: &FieldPath) -> Position {
        let Some((Step::Key(key), parents)) = path.0.split_last() else { return self.locate(path) };
        let parent = FieldPath(parents.to_vec());
        self.find(&parent).and_then(|node| node.entry(key)).map_or_else(|| self.locate(&parent), |entry| entry.key_at)
    }

    /// The value of a field, when it is there.
    #[must_use]
    pub fn find(&self, path: &FieldPath) -> Option<&Node> {
        path.0.iter().try_fold(self, |node, step| match (step, &node.data) {
            (Step::Key(key), Data::Map(_)) => node.get(key).map(|node| &**node),
            (Step::Index(index), Data::List(items)) => items.get(*index).map(|node| &**node),
            _ => None,
        })
    }

    /// The path of a JSON Pointer (RFC 6901) in this tree.
    #[must_use]
    pub fn path_of_pointer(&self, pointer: &str) -> FieldPath {
        let mut node = Some(self);
        let mut steps = Vec::new();
        for token in pointer.split('/').skip(1) {
            let token = token.replace("~1", "/").replace("~0", "~");
            let step = match (node.map(|node| &node.data), token.parse()) {
                (Some(Data::List(_)), Ok(index)) => Step::Index(index),
                _ => Step::Key(token),
            };
            node = node.and_then(|node| node.find(&FieldPath(vec![step.clone()])));
            steps.push(step);
        }
        FieldPath(steps)
    }
}

/// The part that identifies an object: small, whatever the document holds.
pub(super) fn head(root: &Node) -> Node {
    const HEAD_VALUES_MAX: u64 = 1000;
    let Data::Map(entries) = &root.data else { return Node::new(Data::Null, root.at) };
    let is_head = |entry: &&Entry| ["apiVersion", "kind", "metadata"].contains(&entry.key.as_str()) && entry.value.size <= HEAD_VALUES_MAX;
    Node::new(Data::Map(entries.iter().filter(is_head).cloned().collect()), root.at)
}

fn measure<'a>(children: impl Iterator<Item = &'a Arc<Node>>) -> (u64, usize) {
    children.fold((1, 1), |(size, depth), child| (size.saturating_add(child.size), depth.max(child.depth + 1)))
}
