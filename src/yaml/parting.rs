//! Splits a text into documents by kubectl's rules: at each line that begins with `---`, before any of it is read as YAML.
//!
//! kubectl reads one document of each part. Whatever it skips or refuses in a part must be a fault here too.

/// The text between two lines that begin with `---`.
pub(super) struct Part<'a> {
    /// Without its `---`, unless something follows it on the line, and without a byte order mark.
    pub text: &'a str,
    /// Lines of the whole text before it.
    pub lines_before: usize,
    /// Something other than a comment follows its `---`.
    is_crowded: bool,
}

/// The lines of a text as YAML counts them (YAML 1.2.2, 5.4): a CR alone ends one too, which `str::lines` does not know.
pub fn lines(text: &str) -> impl Iterator<Item = &str> {
    text.split_inclusive('\n').flat_map(|line| {
        let line = line.strip_suffix('\n').unwrap_or(line);
        line.strip_suffix('\r').unwrap_or(line).split('\r')
    })
}

/// The parts of a text.
pub(super) fn parts(text: &str) -> Vec<Part<'_>> {
    let mut parts = Vec::new();
    let (mut start, mut part) = (0, Part { text: "", lines_before: 0, is_crowded: false });
    let (mut offset, mut number) = (0, 0);
    for line in text.split_inclusive('\n') {
        let next = number + lines(line).count();
        if let Some(behind) = line.strip_prefix("---") {
            parts.push(Part { text: without_mark(&text[start..offset]), ..part });
            let behind = behind.trim();
            let is_crowded = !behind.is_empty() && !behind.starts_with('#');
            start = if is_crowded { offset } else { offset + line.len() };
            part = Part { text: "", lines_before: if is_crowded { number } else { next }, is_crowded };
        }
        offset += line.len();
        number = next;
    }
    parts.push(Part { text: without_mark(&text[start..]), ..part });
    parts
}

/// YAML would read the mark as part of a key.
fn without_mark(text: &str) -> &str {
    text.strip_prefix('\u{feff}').unwrap_or(text)
}

impl Part<'_> {
    /// What kubectl refuses in a part whatever its YAML: the line within it, from 0, and the message.
    pub(super) fn refused(&self) -> Option<(usize, &'static str)> {
        if self.is_crowded {
            return Some((0, "kubectl allows only a comment after `---`; begin the document on the next line"));
        }
        let mut number = 0;
        let line = self.text.lines().find(|line| {
            let is_passed = line.trim().is_empty() || line.starts_with('#');
            number += if is_passed { line.split('\r').count() } else { 0 };
            !is_passed
        })?;
        if line.starts_with("...") {
            return Some((number, "kubectl refuses `...` without a document before it; remove this line"));
        }
        line.starts_with('%').then_some((number, "kubectl refuses directives; remove this line"))
    }
}
