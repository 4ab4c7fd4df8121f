//! YAML as a tree.

#![allow(clippy::missing_panics_doc)] // What does not hold is a panic.

use serde_json::Value;

use crate::properties::failed;
use crate::yaml::{self, Data, Node};

/// YAML as people, and tools that print it, write it. What is read is printed as our commands print it and read again: it is the same.
pub fn yaml(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let lines = yaml::lines(&text).count();
    let documents = yaml::parse(&text);
    assert!(documents.len() <= lines + 1, "{} documents of {lines} lines", documents.len());
    for document in &documents {
        within(&document.root, lines, 0);
        for fault in document.problems.iter().chain(&document.scalars).chain(&document.syntax) {
            assert!((1..=lines + 1).contains(&fault.at.line) && fault.at.column > 0, "{fault:?} is not in {lines} lines");
        }
        if document.syntax.is_some() || document.is_cut {
            continue;
        }
        let json = document.root.to_json();
        if matches!(json, Value::Null) {
            continue;
        }
        let Ok(printed) = serde_saphyr::to_string(&json) else { continue };
        let again = yaml::parse(&printed);
        let [again] = &again[..] else { failed(&format!("{json} is printed as {} documents: {printed:?}", again.len())) };
        assert!(again.syntax.is_none(), "{json} is printed as {printed:?}: {:?}", again.syntax);
        assert!(again.root.to_json() == json, "{json} is printed as {printed:?}, and read as {}", again.root.to_json());
    }
}

/// Each value stands where there is text, and nothing is nested deeper than what may recurse over it.
fn within(node: &Node, lines: usize, depth: usize) {
    assert!(depth <= yaml::DEPTH_MAX, "{depth} levels");
    assert!((1..=lines + 1).contains(&node.at.line), "{:?} is not in {lines} lines", node.at);
    match &node.data {
        Data::List(items) => items.iter().for_each(|item| within(item, lines, depth + 1)),
        Data::Map(entries) => {
            for (position, entry) in entries.iter().enumerate() {
                assert!(entries[..position].iter().all(|before| before.key != entry.key), "the key {:?} is there twice", entry.key);
                within(&entry.value, lines, depth + 1);
            }
        }
        _ => {}
    }
}
