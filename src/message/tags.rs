//! Finds the template's own tags in a source, for code that must skip them: MJML and the text of an HTML body.

/// A kind of tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// `{{ … }}`: prints a value.
    Expression,
    /// `{% … %}`: controls.
    Statement,
    /// `{# … #}`: prints nothing.
    Comment,
    /// `{% raw %} … {% endraw %}`: prints what is inside.
    Raw,
}

/// A tag and the bytes that it spans, delimiters included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tag {
    pub(super) kind: Kind,
    pub(super) start: usize,
    pub(super) end: usize,
}

/// The tag that starts exactly at `start`, if one does. A tag that is never closed reaches to the end.
pub(super) fn at(source: &str, start: usize) -> Option<Tag> {
    let bytes = source.as_bytes();
    if bytes.get(start) != Some(&b'{') {
        return None;
    }
    let (kind, end) = match bytes.get(start + 1)? {
        b'{' => (Kind::Expression, close(bytes, start + 2, b'}')),
        b'%' => {
            let end = close(bytes, start + 2, b'%');
            if words(&source[start..end]).next() == Some("raw") { (Kind::Raw, raw_end(source, end)) } else { (Kind::Statement, end) }
        }
        b'#' => (Kind::Comment, memchr::memmem::find(&bytes[start + 2..], b"#}").map_or(bytes.len(), |at| start + 2 + at + 2)),
        _ => return None,
    };
    Some(Tag { kind, start, end })
}

/// The first tag at or after `from`.
pub(super) fn next(source: &str, from: usize) -> Option<Tag> {
    memchr::memchr_iter(b'{', &source.as_bytes()[from..]).find_map(|offset| at(source, from + offset))
}

/// The words of a tag outside its strings: names, filters, keywords.
pub(super) fn words(tag: &str) -> impl Iterator<Item = &str> {
    let bytes = tag.as_bytes();
    let mut position = 0;
    std::iter::from_fn(move || {
        while let Some(&byte) = bytes.get(position) {
            match byte {
                b'"' | b'\'' => position = string_end(bytes, position),
                b'_' | b'a'..=b'z' | b'A'..=b'Z' => {
                    let start = position;
                    position += bytes[start..].iter().take_while(|byte| byte.is_ascii_alphanumeric() || **byte == b'_').count();
                    return Some(&tag[start..position]);
                }
                _ => position += 1,
            }
        }
        None
    })
}

/// After the first `mark}` outside strings.
fn close(bytes: &[u8], from: usize, mark: u8) -> usize {
    let mut position = from;
    while let Some(&byte) = bytes.get(position) {
        match byte {
            b'"' | b'\'' => position = string_end(bytes, position),
            _ if byte == mark && bytes.get(position + 1) == Some(&b'}') => return position + 2,
            _ => position += 1,
        }
    }
    bytes.len()
}

/// After the string that starts at `start`.
fn string_end(bytes: &[u8], start: usize) -> usize {
    let mut position = start + 1;
    while let Some(&byte) = bytes.get(position) {
        match byte {
            b'\\' => position += 2,
            _ if byte == bytes[start] => return position + 1,
            _ => position += 1,
        }
    }
    bytes.len()
}

/// After the `{% endraw %}`.
fn raw_end(source: &str, from: usize) -> usize {
    let bytes = source.as_bytes();
    let ends = |start: usize| {
        // Only an actual `endraw` is read to its end: the text may have as many tag starts as bytes.
        let word = source[start + 2..].trim_start_matches(['-', '+']).trim_ascii_start();
        word.strip_prefix("endraw").is_some_and(|rest| !rest.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_'))
    };
    memchr::memmem::find_iter(&bytes[from..], b"{%")
        .map(|offset| from + offset)
        .find(|start| ends(*start))
        .map_or(bytes.len(), |start| close(bytes, start + 2, b'%'))
}
