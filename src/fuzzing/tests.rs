//! Every target over its corpus and mutations of it, with a fixed seed: what libFuzzer runs for an hour, each change meets for a second.

use std::{collections::BTreeSet, fs, path::Path};

use super::{TARGETS, Target, back};
use crate::{
    test_support::Chance,
    token::{return_path::ReturnPaths, unsubscribe::Tokens},
};

/// Bytes of a seed: small ones are read often.
const SEED_MAX: u64 = 8 * 1024;
/// Bytes that break things in one format or another.
const SPICES: &[&[u8]] = &[
    b"\0",
    b"\r\n",
    b"\n",
    b"\"",
    b"'",
    b"\\",
    b"{",
    b"}",
    b"[",
    b"]",
    b"<",
    b">",
    b"&",
    b"---\n",
    b": ",
    b"- ",
    b"\t",
    b"\xff",
    b"\xc3\xa9",
    b"\xe2\x80\xae",
    b"\xef\xbb\xbf",
    b"{{ name }}",
    b"{% ",
    b"%}",
    b"=?utf-8?q?x?=",
    b"\r\n.\r\n",
    b"9999999999999999999",
    b"-1",
    b"1e999",
    b"null",
    b"Content-Type: ",
    b"{12}\r\n",
    b"&#x",
    b"<![CDATA[",
    b"%00",
    b"\x1f\x8b",
];

impl Chance {
    /// A seed with a few bytes altered, removed, repeated, spliced with another seed, or spiced.
    fn mutated(&mut self, seed: &[u8], other: &[u8]) -> Vec<u8> {
        let mut data = seed.to_vec();
        for _ in 0..=self.below(4) {
            let at = self.below(data.len() + 1);
            let end = (at + self.below(24)).min(data.len());
            match self.below(7) {
                0 if at < data.len() => data[at] ^= 1 << self.below(8),
                1 if at < data.len() => data[at] = u8::try_from(self.below(256)).expect("a byte"),
                2 => drop(data.drain(at..end)),
                3 => {
                    let copy = data[at..end].repeat(1 + self.below(8));
                    data.splice(at..at, copy).for_each(drop);
                }
                4 => data.truncate(at),
                5 => {
                    let from = self.below(other.len() + 1);
                    let to = (from + self.below(64)).min(other.len());
                    data.splice(at..end, other[from..to].iter().copied()).for_each(drop);
                }
                _ => {
                    let spice = SPICES[self.below(SPICES.len())];
                    data.splice(at..at, spice.iter().copied()).for_each(drop);
                }
            }
        }
        data
    }
}

fn folder() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz")
}

fn corpus(name: &str) -> Vec<(String, Vec<u8>)> {
    let folder = folder().join("corpus").join(name);
    let mut seeds = Vec::new();
    for entry in fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())) {
        let path = entry.expect("an entry").path();
        seeds.push((path.file_name().expect("a name").to_string_lossy().into_owned(), fs::read(&path).expect("a seed")));
    }
    seeds.sort();
    assert!(!seeds.is_empty(), "{} is empty", folder.display());
    seeds
}

fn over_corpus(name: &str) {
    let seeds = corpus(name);
    let target = TARGETS.iter().find(|target| target.name == name).expect("a target");
    // More than an ordinary run, and others each time, where no fuzzer is at hand.
    let more: Option<usize> = std::env::var("MAILFLEET_MUTATIONS").ok().map(|count| count.parse().expect("a number"));
    let mut chance = Chance(more.map_or(0x9e37_79b9_7f4a_7c15, |count| 2 * u64::from(std::process::id()) * count as u64 + 1));
    for (seed, data) in &seeds {
        said(target, seed, 0, data);
        for count in 1..=more.unwrap_or(target.mutations) {
            let other = chance.below(seeds.len());
            said(target, seed, count, &chance.mutated(data, &seeds[other].1));
        }
    }
}

/// Runs an input, and says which it was where it fails: `fuzz/failed-NAME`, for `scripts/fuzz NAME fuzz/failed-NAME`.
fn said(target: &Target, seed: &str, count: usize, data: &[u8]) {
    let name = target.name;
    if std::panic::catch_unwind(|| (target.run)(data)).is_err() {
        let path = folder().join(format!("failed-{name}"));
        fs::write(&path, data).expect("written");
        panic!("mutation {count} of fuzz/corpus/{name}/{seed} fails; it is kept as {}", path.display());
    }
}

macro_rules! over_corpora {
    ($($name:ident)*) => {
        $(#[test]
        fn $name() {
            over_corpus(stringify!($name));
        })*

        const TESTED: &[&str] = &[$(stringify!($name)),*];
    };
}

over_corpora! {
    conversation csv documents fields imap inspected json_lines mails mysql_rows page scrubbed secrets smtp_replies sns templates tokens
    webhooks workbook yaml
}

#[test]
fn every_target_has_a_test_an_entry_point_and_a_small_corpus() {
    let names: Vec<&str> = TARGETS.iter().map(|target| target.name).collect();
    assert_eq!(names, TESTED);
    let manifest = fs::read_to_string(folder().join("Cargo.toml")).expect("a manifest");
    let files = |folder: &str| -> BTreeSet<String> {
        let entries = fs::read_dir(self::folder().join(folder)).expect(folder);
        entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned()).collect()
    };
    assert_eq!(files("corpus"), names.iter().map(|name| (*name).to_owned()).collect());
    assert_eq!(files("fuzz_targets"), names.iter().map(|name| format!("{name}.rs")).collect());
    for name in names {
        let entry = fs::read_to_string(folder().join("fuzz_targets").join(format!("{name}.rs"))).expect(name);
        assert!(entry.contains(&format!("mailfleet::fuzzing::{name}(data)")), "{name} does not run itself");
        assert!(manifest.contains(&format!("name = \"{name}\"\npath = \"fuzz_targets/{name}.rs\"")), "fuzz/Cargo.toml lacks {name}");
        let seeds = corpus(name);
        let bytes: u64 = seeds.iter().map(|(_, data)| data.len() as u64).sum();
        assert!(bytes <= 32 * SEED_MAX && seeds.iter().all(|(_, data)| data.len() as u64 <= SEED_MAX), "{name} has {bytes} bytes");
    }
}

/// The corpus has what we gave away, so that what follows from it is reached: a mail to a return path of ours, and one to a link.
#[test]
fn the_corpus_has_tokens_of_ours() {
    let path = ReturnPaths::new(&back::KEYS).expect("a key").address(back::KNOWN, "b.shop.example");
    let token = Tokens::new(&back::KEYS).make(&back::subscription()).expect("a token");
    for (target, words) in [("mails", &*path), ("mails", &token), ("conversation", &path), ("tokens", &path), ("tokens", &token)] {
        let has = corpus(target).iter().any(|(_, data)| String::from_utf8_lossy(data).contains(words));
        assert!(has, "no seed of {target} has {words}");
    }
}

#[test]
fn a_property_that_does_not_hold_fails() {
    let fails = |assertion: fn()| std::panic::catch_unwind(assertion).is_err();
    assert!(fails(|| crate::properties::assert_shown("a text", "a\u{1b}[31m", 20)));
    assert!(fails(|| crate::properties::assert_shown("a text", "long", 3)));
    assert!(fails(|| crate::properties::assert_same(&1, &2, "a number")));
    assert!(fails(|| crate::properties::failed("never")));
}
