//! Which room names which, and which file of a room another: every arrow leads downwards.

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

/// The arrows between the files of each room. A file and those in its folder are one thing, which may be told in any order: between
/// them no arrow counts.
pub fn arrows_within(files: &[File]) -> Arrows {
    let modules: BTreeMap<&str, &File> = files.iter().filter(|file| !file.is_test()).map(|file| (module(&file.path), file)).collect();
    let mut arrows: Arrows = modules.keys().map(|module| ((*module).to_owned(), BTreeMap::new())).collect();
    for (from, file) in &modules {
        let code = file.code();
        let named = uses(&code).into_iter().chain(paths(&code)).filter_map(|path| resolved(&path, from));
        for path in named {
            let Some(to) = longest(&path, &modules) else { continue };
            let is_within =
                |path: &str, folder: &str| path.strip_prefix(folder).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
            let is_same_room = to.split('/').next() == from.split('/').next();
            if is_same_room
                && !is_within(to, from)
                && !is_within(from, to)
                && let Some(named) = arrows.get_mut(*from)
            {
                named.entry(to.to_owned()).or_insert_with(|| file.path.clone());
            }
        }
    }
    arrows
}

/// Paths that code names without `use`.
fn paths(code: &str) -> Vec<String> {
    let is_part = |c: char| c.is_alphanumeric() || c == '_' || c == ':';
    let of = |start: &str| {
        let begins = code.match_indices(start).filter(|(at, _)| !code[..*at].ends_with(is_part)).map(|(at, _)| &code[at..]);
        begins.map(|rest| rest[..rest.find(|c| !is_part(c)).unwrap_or(rest.len())].to_owned()).collect::<Vec<_>>()
    };
    [of("crate::"), of("super::")].concat()
}

/// A path from the root of the crate, with `/`, as a module names it; none for those of other crates.
fn resolved(path: &str, from: &str) -> Option<String> {
    let mut base: Vec<&str> = from.split('/').collect();
    let mut parts = path.split("::").map(str::trim).peekable();
    match parts.peek().copied() {
        Some("crate") => {
            parts.next();
            base.clear();
        }
        Some("super") => {
            while parts.next_if_eq(&"super").is_some() {
                base.pop()?;
            }
        }
        _ => return None,
    }
    base.extend(parts);
    Some(base.join("/"))
}

/// The module in which what a path names stands.
fn longest<'m>(path: &str, modules: &BTreeMap<&'m str, &File>) -> Option<&'m str> {
    let mut path = path;
    loop {
        if let Some((module, _)) = modules.get_key_value(path) {
            return Some(module);
        }
        path = path.rsplit_once('/')?.0;
    }
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

#[test]
fn a_circle_of_files_is_found_and_a_folder_is_none() {
    let files = |c: &str| {
        [
            File::new("src/a/mod.rs", "//! x\nmod b;\npub use b::X;\nuse c::{d, Y};\n"),
            File::new("src/a/b.rs", "//! x\nuse super::{X, c::d::{self, Z}};\n"),
            File::new("src/a/c.rs", "//! x\nmod d;\nfn f() { super::Y; }\n"),
            File::new("src/a/c/d.rs", c),
            File::new("src/b.rs", "//! x\nuse crate::a::b;\n"),
        ]
    };
    for good in
        ["//! x\nuse super::Y;\n", "//! x\n#[cfg(test)]\nmod tests { use super::super::super::b::X; }\n", "//! x\nuse crate::b::W;\n"]
    {
        assert_eq!(circle(&arrows_within(&files(good))), Vec::<String>::new(), "{good}");
    }
    for bad in ["//! x\nuse crate::a::b::X;\n", "//! x\nfn f() { super::super::b::g(); }\n"] {
        assert_eq!(circle(&arrows_within(&files(bad))), ["a/b names a/c/d in src/a/b.rs", "a/c/d names a/b in src/a/c/d.rs"], "{bad}");
    }
}
