//! What documents show of files and of the source, kept as those are: a YAML block below a comment that names its file, and every
//! reason in docs/troubleshooting.md.

use std::{fmt::Write as _, fs};

use mailfleet::resources::Reason;

use super::{PAGES, is_about, meaning_and_deed, words};
use crate::architecture::{File, files};

const TROUBLES: &str = "docs/troubleshooting.md";
const BEGIN: &str = "<!-- Every reason, from src/meta/condition.rs: generated. -->\n";
const END: &str = "<!-- The end of what is generated. -->\n";
/// Pages that a reason names, at most.
const PAGES_MAX: usize = 4;

/// What a document shows of a file: all of it but the line for editors.
fn shown(path: &str) -> String {
    let text = fs::read_to_string(path).unwrap_or_else(|error| panic!("{path}: {error}"));
    let text = if text.starts_with("# yaml-language-server") { text.split_once('\n').map_or("", |(_, rest)| rest) } else { &text };
    text.trim_end().to_owned()
}

/// A document in which each block below `<!-- shown: PATH -->` is that file, and how many there are.
fn with_files(document: &str) -> (String, usize) {
    let mut parts = document.split("<!-- shown: ");
    let mut out = parts.next().unwrap_or_default().to_owned();
    let mut count = 0;
    for part in parts {
        let (path, rest) = part.split_once(" -->\n").expect("the end of the comment");
        let (fence, rest) = rest.trim_start_matches('\n').split_once('\n').expect("a block below the comment");
        assert!(fence.starts_with("```"), "{path}: no block follows the comment");
        let (_, rest) = rest.split_once("```\n").expect("the end of the block");
        write!(out, "<!-- shown: {path} -->\n\n{fence}\n{}\n```\n{rest}", shown(path)).expect("a string");
        count += 1;
    }
    (out, count)
}

/// The pages that explain a reason, those that say most of it first.
fn pages_about(reason: Reason, documents: &[File]) -> Vec<&str> {
    let word = format!("`{reason}`");
    let mut found: Vec<(usize, &str)> = documents
        .iter()
        .filter(|document| !document.path.starts_with("docs/api/") && document.path != TROUBLES)
        .map(|document| (document.text.matches(&word).count(), document.path.trim_start_matches("docs/")))
        .filter(|(count, _)| *count > 0)
        .collect();
    found.sort_by_key(|(count, name)| (usize::MAX - count, *name));
    found.into_iter().map(|(_, name)| name).take(PAGES_MAX).collect()
}

fn every_reason(documents: &[File]) -> String {
    let all = words::<Reason>();
    let mut out = String::new();
    for reason in Reason::ALL {
        let about = &all.iter().find(|(word, _)| word == reason.as_str()).expect("its words").1;
        let (meaning, deed) = meaning_and_deed(about);
        let kinds: Vec<String> = PAGES
            .iter()
            .filter(|(kind, ..)| is_about(*reason, kind))
            .map(|(kind, ..)| format!("[{kind}](api/{}.md#conditions)", kind.to_lowercase()))
            .collect();
        write!(out, "\n### {reason}\n\n{meaning}.\n**What to do:** {deed}\nA reason of {}", kinds.join(", ")).expect("a string");
        let pages: Vec<String> = pages_about(*reason, documents).into_iter().map(|name| format!("[{name}]({name})")).collect();
        out.push_str(&if pages.is_empty() { ".\n".to_owned() } else { format!("; more in {}.\n", pages.join(", ")) });
    }
    out
}

#[test]
fn documents_show_files_and_reasons_as_they_are() {
    let documents = files("docs", &["md"]);
    let (mut stale, mut count) = (Vec::new(), 0);
    for document in &documents {
        let (mut now, of_files) = with_files(&document.text);
        count += of_files;
        if document.path == TROUBLES {
            let (before, rest) = now.split_once(BEGIN).expect("where the reasons begin");
            let (_, after) = rest.split_once(END).expect("where the reasons end");
            now = format!("{before}{BEGIN}{}\n{END}{after}", every_reason(&documents));
        }
        if now != document.text {
            fs::write(&document.path, now).expect("the document");
            stale.push(document.path.clone());
        }
    }
    assert!(stale.is_empty(), "{stale:?} were stale and are rewritten; commit them");
    assert!(count >= 4, "only {count} files are shown");
    let heads: Vec<&str> = documents
        .iter()
        .filter(|document| document.path == TROUBLES)
        .flat_map(|document| document.text.lines())
        .filter_map(|line| line.strip_prefix("### "))
        .collect();
    assert_eq!(heads, Reason::ALL.iter().map(|reason| reason.as_str()).collect::<Vec<_>>());
}

#[test]
fn a_block_that_differs_from_its_file_is_replaced() {
    let text = "a\n\n<!-- shown: examples/minimal.yaml -->\n\n```yaml\nkind: Other\n```\nb\n";
    let (now, count) = with_files(text);
    assert_eq!(count, 1);
    assert!(now.starts_with("a\n\n<!-- shown: examples/minimal.yaml -->\n\n```yaml\n") && now.ends_with("```\nb\n"), "{now}");
    assert!(!now.contains("kind: Other") && now.contains("kind: Campaign"), "{now}");
    assert_eq!(with_files(&now).0, now);
}
