//! What the source of a template alone reveals: unintended comments, and words that the engine does not know.

use std::{borrow::Cow, collections::BTreeSet};

use minijinja::{Error, ErrorKind, Value};

use super::{
    guard,
    tags::{self, Kind},
};

/// Methods of values, without Python's `format`, whose widths are unbounded; the first rows are Python's, the last are those of loops and of the engine's objects.
pub(super) const METHODS: &[&str] = &[
    "upper",
    "lower",
    "islower",
    "isupper",
    "isspace",
    "isdigit",
    "isnumeric",
    "isalnum",
    "isalpha",
    "isascii",
    "strip",
    "lstrip",
    "rstrip",
    "replace",
    "title",
    "split",
    "splitlines",
    "capitalize",
    "count",
    "find",
    "rfind",
    "startswith",
    "endswith",
    "join",
    "keys",
    "values",
    "items",
    "get", // texts, maps and lists
    "cycle",
    "changed", // loop
];

fn line_at(source: &str, position: usize) -> usize {
    memchr::memchr_iter(b'\n', &source.as_bytes()[..position]).count() + 1
}

/// A comment that is never closed, or that contains the start of another: text would be missing from the mail, without a
/// warning.
pub(super) fn comment_fault(source: &str) -> Option<String> {
    let mut position = 0;
    while let Some(tag) = tags::next(source, position) {
        position = tag.end;
        if tag.kind != Kind::Comment {
            continue;
        }
        let text = &source[tag.start..tag.end];
        let line = line_at(source, tag.start);
        if !text.ends_with("#}") || text.len() < 4 {
            return Some(format!(
                "line {line}: `{{#` begins a comment, and no `#}}` ends it; where it is CSS or plain text, write `{{ #`, with a space"
            ));
        }
        if let Some(at) = text[2..].find("{#") {
            let other = line_at(source, tag.start + 2 + at);
            return Some(format!(
                "line {line}: `{{#` begins a comment, and another `{{#` is inside it, on line {other}; where it is CSS or plain text, write `{{ #`, with a space"
            ));
        }
    }
    None
}

/// How much of an unclosed tag is quoted, in characters.
const QUOTED_MAX: usize = 40;

/// The first tag that is not closed before the next one begins, or at all: its line, its place in bytes, and its beginning up to the
/// brace that should close it. Asked once the engine refused the template: where `}` stands for `}}`, the engine points somewhere behind it.
pub(super) fn unclosed(source: &str) -> Option<(usize, usize, &str)> {
    let mut position = 0;
    while let Some(tag) = tags::next(source, position) {
        position = tag.end;
        if !matches!(tag.kind, Kind::Expression | Kind::Statement) {
            continue;
        }
        let (text, close) = (&source[tag.start..tag.end], if tag.kind == Kind::Expression { "}}" } else { "%}" });
        let inner = ["{{", "{%"].into_iter().filter_map(|open| text[2..].find(open)).min();
        if text.ends_with(close) && inner.is_none() {
            continue;
        }
        let before = &text[..inner.map_or(text.len(), |at| at + 2)];
        let brace = before.find(['}', '<', '\n']).map_or(before.len(), |at| at + usize::from(before[at..].starts_with('}')));
        let end = before.char_indices().nth(QUOTED_MAX).map_or(before.len(), |(at, _)| at);
        return Some((line_at(source, tag.start), tag.start, before[..brace.min(end)].trim_end()));
    }
    None
}

/// How many CSS ids are distinguished from comments; each costs a look-ahead.
const FREED_MAX: usize = 10_000;

/// The source with `{#` in style sheets as `{ #`: what the engine would take for a comment is an id in a nested block, as
/// in `@media screen{#outlook a{padding:0}}`.
pub(super) fn free_ids(source: &str) -> Cow<'_, str> {
    let mut out = String::new();
    let (mut written, mut freed) = (0, 0);
    let mut position = 0;
    while let Some((start, end)) = style(source, position) {
        position = end;
        let mut at = start;
        while let Some(tag) = tags::next(source, at).filter(|tag| tag.start < end) {
            at = tag.end;
            if tag.kind == Kind::Comment && freed < FREED_MAX && is_id(&source[tag.start..tag.end.min(end)]) {
                out.push_str(&source[written..=tag.start]);
                out.push(' ');
                written = tag.start + 1;
                freed += 1;
                at = tag.start + 2;
            }
        }
    }
    if written == 0 {
        return Cow::Borrowed(source);
    }
    out.push_str(&source[written..]);
    Cow::Owned(out)
}

/// Whether what begins with `{#` is CSS: a name follows at once, and a block opens or the style sheet ends before a `#}`.
fn is_id(text: &str) -> bool {
    let name = text[2..].trim_start_matches('-');
    let first = name.chars().next();
    first.is_some_and(|c| c.is_alphabetic() || matches!(c, '_' | '\\')) && (!text.ends_with("#}") || text[2..].contains('{'))
}

/// Where the content of the next style sheet is.
fn style(source: &str, from: usize) -> Option<(usize, usize)> {
    let bytes = source.as_bytes();
    let opens = |at: usize, name: &&str| {
        let rest = &bytes[at + 1..];
        rest.get(..name.len()).is_some_and(|found| found.eq_ignore_ascii_case(name.as_bytes()))
            && rest.get(name.len()).is_none_or(|next| next.is_ascii_whitespace() || matches!(next, b'>' | b'/'))
    };
    let mut candidates = memchr::memchr_iter(b'<', bytes.get(from..)?).map(|at| from + at);
    let (at, name) = candidates.find_map(|at| Some((at, ["style", "mj-style"].into_iter().find(|name| opens(at, name))?)))?;
    let start = at + memchr::memchr(b'>', &bytes[at..])? + 1;
    let end = memchr::memmem::find_iter(&bytes[start..], b"</")
        .map(|end| start + end)
        .find(|end| bytes.get(end + 2..end + 2 + name.len()).is_some_and(|found| found.eq_ignore_ascii_case(name.as_bytes())));
    // One that is never closed reaches to the end.
    Some((start, end.unwrap_or(bytes.len())))
}

/// A further hint where the engine does not understand a tag that ends after `position`.
pub(super) fn hint(source: &str, position: usize) -> &'static str {
    let before = source.get(..position).unwrap_or(source);
    let last = |word: &str| before.to_ascii_lowercase().rfind(word);
    let opens = ["<style", "<mj-style", "<script"].into_iter().filter_map(last).max();
    if opens > ["</style", "</mj-style", "</script"].into_iter().filter_map(last).max() {
        return "; CSS or JavaScript that is not a template needs a space between the two characters, as in `{ {` and `{ %`";
    }
    let start = before.rfind("{{").map(|at| before[..at].trim_end_matches('{').len());
    let next = start.and_then(|at| source[at + 2..].chars().next());
    if next.is_some_and(|next| matches!(next, '#' | '/' | '>' | '^' | '&' | '{')) {
        return "; it looks like Handlebars or Mustache, but templates here are Jinja's: `{% if x %}`, `{% for x in list %}`, `{{ x }}`";
    }
    ""
}

/// Functions that can be called without a value before them.
const FUNCTIONS: &[&str] = &["range", "dict", "namespace", "loop", "super"];
/// Words before a parenthesis that are not calls.
const KEYWORDS: &[&str] =
    &["if", "elif", "in", "and", "or", "not", "else", "is", "set", "call", "with", "do", "for", "filter", "autoescape"];

/// A filter, test, method or function that the engine does not know, with its line. `evaluate` asks the engine;
/// where there `may_have_macros` of other templates, a function is told by the trial run alone.
pub(super) fn unknown(source: &str, may_have_macros: bool, evaluate: &dyn Fn(&str) -> Result<Value, Error>) -> Option<String> {
    let mut known: BTreeSet<(&str, &str)> = BTreeSet::new();
    let has_macros = may_have_macros || source.contains("macro");
    let modules = modules(source);
    let mut position = 0;
    while let Some(tag) = tags::next(source, position) {
        position = tag.end;
        if !matches!(tag.kind, Kind::Expression | Kind::Statement) {
            continue;
        }
        for (offset, kind, word) in marked(&source[tag.start..tag.end], &modules) {
            if !known.insert((kind, word)) {
                continue;
            }
            let is_unknown = match kind {
                "method" => !METHODS.contains(&word),
                // A macro may be passed on under any name.
                "function" => !FUNCTIONS.contains(&word) && !KEYWORDS.contains(&word) && !has_macros,
                "filter" if guard::OWN.contains(&word) => true,
                "filter" => evaluate(&format!("''|{word}")).is_err_and(|error| error.kind() == ErrorKind::UnknownFilter),
                _ => evaluate(&format!("'' is {word}")).is_err_and(|error| error.kind() == ErrorKind::UnknownTest),
            };
            if is_unknown {
                let line = line_at(source, tag.start + offset);
                return Some(format!("line {line}: unknown {kind} `{word}`"));
            }
        }
    }
    None
}

/// Names whose attributes are macros and blocks, and may be called: the modules that a template imports, and itself.
fn modules(source: &str) -> BTreeSet<&str> {
    let mut found = BTreeSet::from(["self"]);
    let mut position = 0;
    while let Some(tag) = tags::next(source, position) {
        position = tag.end;
        let mut words = tags::words(&source[tag.start..tag.end]);
        if tag.kind == Kind::Statement && words.next() == Some("import") {
            found.extend(words.skip_while(|word| *word != "as").nth(1));
        }
    }
    found
}

/// The names of filters, tests, methods and functions in a tag, outside its strings.
fn marked<'s>(tag: &'s str, modules: &BTreeSet<&str>) -> Vec<(usize, &'static str, &'s str)> {
    let mut found = Vec::new();
    let mut before: Option<&str> = None;
    for word in tags::words(tag) {
        let start = word.as_ptr() as usize - tag.as_ptr() as usize;
        let end = start + word.len();
        let mark = tag[..start].trim_end();
        let calls = tag[end..].trim_start().starts_with('(');
        if mark.ends_with('|') || before == Some("filter") {
            found.push((start, "filter", word));
        } else if mark.ends_with('.') && calls {
            if before.is_none_or(|before| !modules.contains(before)) {
                found.push((start, "method", word));
            }
        } else if before == Some("is") && word != "not" || before == Some("is not") {
            found.push((start, "test", word));
        } else if calls && !mark.ends_with('.') {
            found.push((start, "function", word));
        }
        before = match word {
            "not" if before == Some("is") => Some("is not"),
            // A field of that name.
            "is" if mark.ends_with('.') => None,
            _ => Some(word),
        };
    }
    found
}
