//! Which room names which: every arrow leads downwards.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    File, module,
    rust::{names, uses},
};

/// The roots of the crate, and what only tests have.
const NO_ROOMS: &[&str] = &["lib", "main", "test_support"];

/// From each room to the rooms that it names, each with a file that does.
pub type Arrows = BTreeMap<String, BTreeMap<String, String>>;

/// The arrows between the rooms of the source.
pub fn arrows(files: &[File]) -> Arrows {
    let room = |file: &File| module(&file.path).split('/').next().unwrap_or_default().to_owned();
    let rooms: BTreeSet<String> = files.iter().map(room).filter(|room| !NO_ROOMS.contains(&room.as_str())).collect();
    let mut arrows: Arrows = rooms.iter().map(|room| (room.clone(), BTreeMap::new())).collect();
    for file in files {
        let (from, code) = (room(file), file.code());
        let used = uses(&code);
        for to in rooms.iter().filter(|to| **to != from) {
            let path = format!("crate::{to}");
            let is_used = used.iter().any(|used| *used == path || used.starts_with(&format!("{path}::")));
            if (is_used || names(&code, &path))
                && let Some(named) = arrows.get_mut(&from)
            {
                named.entry(to.clone()).or_insert_with(|| file.path.clone());
            }
        }
    }
    arrows
}

/// The arrows that are left when every room has gone that names none of those left: those of circles, and what leads to them is not.
pub fn circle(arrows: &Arrows) -> Vec<String> {
    let mut left: BTreeSet<&String> = arrows.keys().collect();
    let leads = |from: &String, left: &BTreeSet<&String>, back: bool| {
        arrows
            .iter()
            .any(|(a, to)| if back { left.contains(a) && to.contains_key(from) } else { a == from && to.keys().any(|b| left.contains(b)) })
    };
    loop {
        let gone: Vec<&String> = left.iter().copied().filter(|room| !leads(room, &left, false) || !leads(room, &left, true)).collect();
        if gone.is_empty() {
            break;
        }
        gone.iter().for_each(|room| {
            left.remove(room);
        });
    }
    let within = left.iter().flat_map(|from| arrows[*from].iter().filter(|(to, _)| left.contains(to)).map(move |arrow| (*from, arrow)));
    within.map(|(from, (to, file))| format!("{from} names {to} in {file}")).collect()
}

#[test]
fn a_circle_is_found_and_a_tower_is_none() {
    let files = |c: &str| {
        [
            File::new("src/a.rs", "//! x\nuse crate::{b::X, c};\n"),
            File::new("src/b/mod.rs", "//! x\nfn f() { crate::c::g(); }\n"),
            File::new("src/c.rs", &format!("//! x\n{c}\n#[cfg(test)]\nmod tests {{ use crate::a; }}\n")),
            File::new("src/lib.rs", "//! x\nuse crate::a;\n"),
        ]
    };
    assert_eq!(circle(&arrows(&files(""))), Vec::<String>::new());
    assert_eq!(circle(&arrows(&files("use crate::b::d::Y;"))), ["b names c in src/b/mod.rs", "c names b in src/c.rs"]);
}
