//! Names of objects from what people called them elsewhere. Pure.

use std::collections::BTreeSet;

/// A label of DNS, which every name may be.
const LENGTH_MAX: usize = 63;
/// Room for a number behind a name.
const NUMBER_MAX: usize = 8;

/// Names that are taken.
#[derive(Debug, Default)]
pub struct Names {
    taken: BTreeSet<String>,
}

impl Names {
    /// A name that nothing else has, from a text; `otherwise` where nothing of it can be in a name.
    pub fn name(&mut self, text: &str, otherwise: &str) -> String {
        let mut plain = slug(text);
        if plain.is_empty() {
            otherwise.clone_into(&mut plain);
        }
        let mut name = plain.clone();
        let mut number = 1;
        while !self.taken.insert(name.clone()) {
            number += 1;
            name = format!("{plain}-{number}");
        }
        name
    }
}

/// A text as a name, or nothing.
pub fn slug(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars().flat_map(char::to_lowercase) {
        match c {
            'a'..='z' | '0'..='9' => out.push(c),
            'ä' => out.push_str("ae"),
            'ö' => out.push_str("oe"),
            'ü' => out.push_str("ue"),
            'ß' => out.push_str("ss"),
            _ if !out.is_empty() && !out.ends_with('-') => out.push('-'),
            _ => {}
        }
        if out.len() >= LENGTH_MAX - NUMBER_MAX {
            break;
        }
    }
    out.trim_end_matches('-').to_owned()
}
