//! Where a field is, for findings that come after its document was read: templates, audiences.

use std::path::Path;

use super::{document::excerpt_of, io::read_bounded, listed, scan::FILE_MAX};
use crate::{
    source::{FilePlace, Finding, Severity},
    yaml::{self, FieldPath, Node, Position},
};

/// A finding about a field of a document, at `line` of the text that the field holds where that is known. Whether the finding is
/// at that very line: a text in quotes, or one that YAML folds, has no lines of its own.
pub(crate) fn field_finding(
    severity: Severity,
    place: &FilePlace,
    field: &str,
    line: Option<usize>,
    message: impl Into<String>,
) -> (Finding, bool) {
    let finding =
        Finding { line: place.line, column: 1, field: Some(field.to_owned()), ..Finding::of_file(severity, &place.file, message) };
    let Some(text) = text_of(&place.file) else { return (finding, false) };
    let lines: Vec<&str> = text.lines().collect();
    let Some(at) = position(&text, place.line, field) else { return (finding, false) };
    let (at, is_exact) = match line {
        Some(line) if is_literal(&lines, at) => (Position { line: at.line + line, column: 1 }, true),
        Some(line) => (at, line == 1),
        None => (at, true),
    };
    let excerpt = lines.get(at.line.saturating_sub(1)).and_then(|line| excerpt_of(line, at.column));
    (Finding { line: at.line, column: at.column, excerpt, ..finding }, is_exact)
}

/// A finding about a line of a file that a document names.
pub(crate) fn line_finding(severity: Severity, file: &Path, line: usize, message: impl Into<String>) -> Finding {
    let excerpt = text_of(file).and_then(|text| excerpt_of(text.lines().nth(line.saturating_sub(1))?, 1));
    Finding { line, column: 1, excerpt, ..Finding::of_file(severity, file, message) }
}

fn text_of(file: &Path) -> Option<String> {
    let text = String::from_utf8(read_bounded(file, FILE_MAX).ok()??).ok()?;
    Some(text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text))
}

/// The position of a field of the document that begins at a line.
fn position(text: &str, line: usize, field: &str) -> Option<Position> {
    let path = FieldPath::parse(field);
    let find = |root: &Node| (root.at.line == line).then(|| root.locate(&path));
    yaml::parse(text).iter().find_map(|document| match listed::items(document) {
        Some(list) => list.items.iter().find_map(|item| find(&item.root)),
        None => find(&document.root),
    })
}

/// Whether a literal block (`|`) begins there, whose lines are those of the file.
fn is_literal(lines: &[&str], at: Position) -> bool {
    let line = lines.get(at.line.saturating_sub(1));
    line.is_some_and(|line| line.chars().nth(at.column.saturating_sub(1)) == Some('|'))
}
