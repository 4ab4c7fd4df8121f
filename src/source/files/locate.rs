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
    let lines: Vec<&str> = yaml::lines(&text).collect();
    let Some(at) = position(&text, place.line, field) else { return (finding, false) };
    let (at, is_exact) = match (line, literal_above(&lines, at)) {
        (Some(line), Some(head)) => {
            let at = head + line;
            (Position { line: at, column: lines.get(at - 1).map_or(1, |line| first_column(line)) }, true)
        }
        (Some(line), None) => (at, line == 1),
        (None, _) => (at, true),
    };
    let excerpt = lines.get(at.line.saturating_sub(1)).and_then(|line| excerpt_of(line, at.column));
    (Finding { line: at.line, column: at.column, excerpt, ..finding }, is_exact)
}

/// A finding about a line of a file that a document names.
pub(crate) fn line_finding(severity: Severity, file: &Path, line: usize, message: impl Into<String>) -> Finding {
    let text = text_of(file);
    let shown = text.as_ref().and_then(|text| text.lines().nth(line.saturating_sub(1)));
    let column = shown.map_or(1, first_column);
    let excerpt = shown.and_then(|shown| excerpt_of(shown, column));
    Finding { line, column, excerpt, ..Finding::of_file(severity, file, message) }
}

/// The same finding, at this text in its line, where the line has it.
pub(crate) fn at_quote(finding: Finding, quote: Option<&str>) -> Finding {
    let text = text_of(&finding.file);
    let line = text.as_ref().and_then(|text| text.lines().nth(finding.line.checked_sub(1)?));
    let Some((line, start)) = line.zip(quote).and_then(|(line, quote)| Some((line, line.find(quote)?))) else { return finding };
    let column = line[..start].chars().count() + 1;
    let excerpt = finding.excerpt.as_ref().and_then(|_| excerpt_of(line, column));
    Finding { column, excerpt, ..finding }
}

/// Where the text of a line begins.
fn first_column(line: &str) -> usize {
    line.chars().take_while(|c| c.is_whitespace()).count() + 1
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

/// The line that opens the literal block (`|`) whose text begins at a place: the lines of such a text are those of the file.
fn literal_above(lines: &[&str], at: Position) -> Option<usize> {
    let above = lines.get(..at.line.checked_sub(1)?)?;
    let head = above.iter().rposition(|line| !line.trim().is_empty())?;
    let opens = above[head].split(" #").next()?.trim_end().trim_end_matches(|c: char| c.is_ascii_digit() || matches!(c, '+' | '-'));
    (opens.ends_with(": |") || opens.ends_with("- |")).then_some(head + 1)
}
