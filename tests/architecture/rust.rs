//! Rust source as far as the checks need it: code without comments, literals and tests, and the paths that it uses.

/// The code with comments and the insides of literals as spaces, so that a word found in it is code. Lines stay lines.
pub fn code(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let rest = &bytes[at..];
        let end = if rest.starts_with(b"//") {
            rest.iter().position(|b| *b == b'\n').unwrap_or(rest.len())
        } else if rest.starts_with(b"/*") {
            block_comment(rest)
        } else if let Some(length) = string(rest, at.checked_sub(1).map(|before| bytes[before])) {
            length
        } else {
            out.push(bytes[at]);
            at += 1;
            continue;
        };
        out.extend(rest[..end].iter().map(|b| if *b == b'\n' { b'\n' } else { b' ' }));
        at += end;
    }
    String::from_utf8(out).expect("only whole literals were blanked")
}

fn block_comment(rest: &[u8]) -> usize {
    let mut depth = 0;
    let mut at = 0;
    while at < rest.len() {
        match &rest[at..] {
            [b'/', b'*', ..] => (depth, at) = (depth + 1, at + 2),
            [b'*', b'/', ..] => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            break;
        }
    }
    at
}

/// The length of the string or character literal that begins here, with its quotes; none when none does.
fn string(rest: &[u8], before: Option<u8>) -> Option<usize> {
    if before.is_some_and(|b| b.is_ascii_alphanumeric() || b == b'_') && rest[0] != b'"' {
        return None;
    }
    let prefix = rest.iter().take_while(|b| matches!(b, b'b' | b'c' | b'r')).count();
    let hashes = rest[prefix..].iter().take_while(|b| **b == b'#').count();
    let is_raw = rest[..prefix].contains(&b'r');
    match rest.get(prefix + hashes)? {
        b'"' if is_raw => {
            let closing: Vec<u8> = std::iter::once(b'"').chain(std::iter::repeat_n(b'#', hashes)).collect();
            let start = prefix + hashes + 1;
            Some(rest[start..].windows(closing.len()).position(|w| w == closing).map_or(rest.len(), |p| start + p + closing.len()))
        }
        b'"' if hashes == 0 => Some(quoted(rest, prefix, b'"')),
        b'\'' if hashes == 0 && !is_raw => {
            // A lifetime is a quote before a name without a quote behind one character.
            let after = std::str::from_utf8(&rest[prefix + 1..]).ok()?;
            let mut characters = after.char_indices();
            let (_, first) = characters.next()?;
            let is_literal = first == '\\' || characters.next().is_some_and(|(_, second)| second == '\'');
            is_literal.then(|| quoted(rest, prefix, b'\''))
        }
        _ => None,
    }
}

fn quoted(rest: &[u8], quote_at: usize, quote: u8) -> usize {
    let mut at = quote_at + 1;
    while at < rest.len() && rest[at] != quote {
        at += if rest[at] == b'\\' { 2 } else { 1 };
    }
    (at + 1).min(rest.len())
}

/// What [`code`] gave, without the items behind `#[cfg(test)]`.
pub fn without_tests(code: &str) -> String {
    let mut out = String::new();
    let mut rest = code;
    while let Some(at) = rest.find("#[cfg(test)]") {
        out.push_str(&rest[..at]);
        let item = &rest[at..];
        let end = item.find(['{', ';']).map_or(item.len(), |end| if item[end..].starts_with('{') { closing(item, end) } else { end + 1 });
        out.extend(item[..end].chars().filter(|c| *c == '\n'));
        rest = &item[end..];
    }
    out + rest
}

fn closing(item: &str, open: usize) -> usize {
    let mut depth = 0_usize;
    for (at, character) in item[open..].char_indices() {
        match character {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return open + at + 1;
        }
    }
    item.len()
}

/// Every path that `use` names, written out: `use std::{fs, io::{self, Read}}` names `std::fs`, `std::io`, `std::io::Read`.
pub fn uses(code: &str) -> Vec<String> {
    let mut found = Vec::new();
    for statement in code.split(';') {
        let Some(at) = words(statement).rfind(|(_, word)| *word == "use").map(|(at, _)| at + "use".len()) else { continue };
        expand("", statement[at..].trim(), &mut found);
    }
    found
}

fn expand(prefix: &str, tree: &str, found: &mut Vec<String>) {
    let tree = tree.split(" as ").next().unwrap_or(tree).trim();
    if let Some((head, rest)) = tree.split_once('{') {
        let inner = rest.trim_end().strip_suffix('}').unwrap_or(rest);
        for part in parts(inner) {
            expand(&format!("{prefix}{}", head.trim()), part, found);
        }
    } else if tree == "self" {
        found.push(prefix.trim_end_matches(':').to_owned());
    } else if !tree.is_empty() {
        found.push(format!("{prefix}{tree}"));
    }
}

/// Splits at the commas that stand in no inner braces.
fn parts(inner: &str) -> Vec<&str> {
    let (mut depth, mut start, mut parts) = (0_i32, 0, Vec::new());
    for (at, character) in inner.char_indices() {
        match character {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(inner[start..at].trim());
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(inner[start..].trim());
    parts
}

/// The names and keywords of code, with where they begin.
pub fn words(code: &str) -> impl DoubleEndedIterator<Item = (usize, &str)> {
    let start = code.as_ptr() as usize;
    code.split(|c: char| !c.is_alphanumeric() && c != '_')
        .filter(|word| !word.is_empty())
        .map(move |word| (word.as_ptr() as usize - start, word))
}

/// Whether code names a path, as it stands or put together by `use`. A longer name that only contains it does not count.
pub fn names(code: &str, path: &str) -> bool {
    let is_name = |c: char| c.is_alphanumeric() || c == '_';
    let stands_in = |text: &str| {
        text.match_indices(path).any(|(at, _)| {
            let before = text[..at].chars().next_back();
            let after = text[at + path.len()..].chars().next();
            let goes_on = path.starts_with(is_name) && before.is_some_and(is_name) || path.ends_with(is_name) && after.is_some_and(is_name);
            !goes_on
        })
    };
    stands_in(code) || uses(code).iter().any(|used| stands_in(used))
}

#[test]
fn comments_literals_and_tests_are_no_code() {
    let text = "let a = \"tokio \\\" tokio\"; // tokio\n/* tokio /* tokio */ tokio */ r#\"tokio\" tokio\"# 'x' '\\'' b\"tokio\" <'a, 'b>\nfn bar() {}";
    let found = code(text);
    assert!(!found.contains("tokio") && found.contains("<'a, 'b>") && found.contains("fn bar() {}"), "{found}");
    assert_eq!(found.lines().count(), text.lines().count());
    let tested = "fn a() {}\n#[cfg(test)]\nmod tests { fn b() { { c } } }\n#[cfg(test)]\nmod more;\nfn d() {}";
    let found = without_tests(tested);
    assert!(found.contains("fn a") && found.contains("fn d") && !found.contains('c') && !found.contains("more"), "{found}");
}

#[test]
fn uses_are_written_out() {
    let code = "use std::{fs, io::{self, Read as _}};\npub use crate::source::Files;\nfn f() { self::g(); }";
    assert_eq!(uses(code), ["std::fs", "std::io", "std::io::Read", "crate::source::Files"]);
    assert!(names(code, "std::fs") && names(code, "crate::source") && !names(code, "std::f") && !names(code, "rate::source"));
    assert!(names("let now = Instant::now();", "Instant::now") && !names("let rands = 1;", "rand"));
}
