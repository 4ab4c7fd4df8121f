//! What YAML 1.2 allows and kubectl's reader (libyaml, YAML 1.1) refuses or reads differently: tabs as indentation, `\/` and
//! surrogates in quotes, and Unicode's line separators.
//!
//! A file must not be valid here and broken there. The events say what a line is part of; the text says where its tabs are.

use serde::de::IgnoredAny;
use serde_saphyr::granit_parser::{Event, ScalarStyle, Span, StructureStyle};

use super::parting::lines;

const TAB: &str = "kubectl refuses a tab here; use spaces";
const SLASH: &str = "kubectl does not know the escape `\\/`; write `/`";
const SURROGATE: &str =
    "kubectl refuses half a character (`\\ud800` to `\\udfff`) in YAML; write the character itself, or `\\U` and its eight digits";
const LINE_END: &str = "kubectl reads this invisible character (U+0085, U+2028 or U+2029) as a line break; remove it, or write it as `\\u2028` in double quotes";
/// Line breaks in YAML 1.1, and ordinary characters in YAML 1.2.
const LINE_ENDS: [char; 3] = ['\u{85}', '\u{2028}', '\u{2029}'];

/// How many of them are reported of a document; each costs a pass over everything before it.
const LINE_ENDS_TOLD_MAX: usize = 100;

/// Follows the parser through one text. Lines count from 1, columns from 0.
pub(super) struct Spacing<'a> {
    text: &'a str,
    lines: Vec<&'a str>,
    /// For each open collection its column when it is a block, and where it began.
    open: Vec<(Option<usize>, usize)>,
    /// First and last lines that continue a quoted scalar, a block scalar or a flow collection: tabs may indent them.
    within: Vec<(usize, usize)>,
    /// Lines that a fault was found on.
    found: Vec<(usize, usize, &'static str)>,
    /// The first line of the document.
    first: usize,
    /// Where a quoted value keeps a line separator as it is, in bytes, in order.
    kept: Vec<usize>,
    /// Up to here line ends were judged, in bytes.
    judged: usize,
}

impl<'a> Spacing<'a> {
    /// None when the text has nothing that kubectl could refuse; it reads JSON with another reader.
    pub(super) fn of(text: &'a str) -> Option<Self> {
        let is_suspect = text.contains('\t') || text.contains("\\/") || text.contains("\\u") || text.contains(LINE_ENDS);
        let is_json = || text.trim_start().starts_with('{') && serde_json::from_str::<IgnoredAny>(text).is_ok();
        (is_suspect && !is_json()).then(|| Self {
            text,
            lines: lines(text).collect(),
            open: Vec::new(),
            within: Vec::new(),
            found: Vec::new(),
            first: 1,
            kept: Vec::new(),
            judged: 0,
        })
    }

    /// Takes the next event; at the end of a document gives its faults: line, column and words.
    pub(super) fn event(&mut self, event: &Event<'_>, span: &Span) -> Vec<(usize, usize, &'static str)> {
        let (start, end) = (span.start.line(), span.end.line());
        match event {
            Event::SequenceStart(style, ..) | Event::MappingStart(style, ..) => {
                self.open.push(((*style == StructureStyle::Block).then(|| span.start.col()), start));
            }
            Event::SequenceEnd | Event::MappingEnd => {
                if let Some((None, start)) = self.open.pop() {
                    self.within.push((start + 1, end));
                }
            }
            Event::Scalar(value, style, ..) => match style {
                ScalarStyle::Literal | ScalarStyle::Folded => self.block_scalar(span, value.trim().is_empty()),
                ScalarStyle::DoubleQuoted | ScalarStyle::SingleQuoted => {
                    self.within.push((start + 1, end));
                    self.keep_line_ends(span);
                    if *style == ScalarStyle::DoubleQuoted {
                        self.escapes(span);
                    }
                }
                ScalarStyle::Plain => self.plain(span),
            },
            Event::DocumentEnd => {
                // What stands behind the last document is judged with it.
                let rest = self.text.get(span.start.byte_offset().unwrap_or(0)..).unwrap_or_default();
                let end_of_text = if rest.trim_start().starts_with("---") { self.text.len() - rest.len() } else { self.text.len() };
                self.line_ends(end_of_text);
                return self.document(end);
            }
            _ => {}
        }
        Vec::new()
    }

    /// Columns that belong to the block around.
    fn indent(&self) -> usize {
        self.open.iter().rev().find_map(|(column, _)| *column).map_or(0, |column| column + 1)
    }

    fn line(&self, number: usize) -> Option<&'a str> {
        self.lines.get(number.checked_sub(1)?).copied()
    }

    fn escapes(&mut self, span: &Span) {
        let Some(quoted) = span.byte_range().and_then(|range| self.text.get(range)) else { return };
        let mut chars = quoted.char_indices();
        while let Some((_, c)) = chars.next() {
            if c != '\\' {
                continue;
            }
            let Some((at, escape)) = chars.next() else { return };
            let is_surrogate = escape == 'u'
                && quoted
                    .get(at + 1..at + 3)
                    .is_some_and(|code| matches!(code.as_bytes(), [b'd' | b'D', b'8'..=b'9' | b'a'..=b'f' | b'A'..=b'F']));
            if escape == '/' || is_surrogate {
                let before = quoted.get(..at).unwrap_or_default();
                let column = before.rsplit('\n').next().map_or(0, |line| line.chars().count());
                let lines = before.matches('\n').count();
                let column = if lines == 0 { span.start.col() + column } else { column };
                return self.found.push((
                    span.start.line() + lines,
                    column.saturating_sub(1),
                    if is_surrogate { SURROGATE } else { SLASH },
                ));
            }
        }
    }

    /// Within a quoted value U+2028 and U+2029 mean themselves, unless there is space around that would be folded with them.
    fn keep_line_ends(&mut self, span: &Span) {
        let Some(range) = span.byte_range() else { return };
        let Some(quoted) = self.text.get(range.clone()) else { return };
        let is_key = self.text.get(range.end..).is_some_and(|behind| behind.trim_start_matches([' ', '\t']).starts_with(':'));
        let is_space = |c: Option<char>| c.is_some_and(|c| matches!(c, ' ' | '\t' | '\r' | '\n') || LINE_ENDS.contains(&c));
        for (at, separator) in quoted.match_indices(['\u{2028}', '\u{2029}']) {
            let (before, behind) = (quoted[..at].chars().next_back(), quoted[at + separator.len()..].chars().next());
            if !is_key && !is_space(before) && !is_space(behind) {
                self.kept.push(range.start + at);
            }
        }
    }

    /// Up to the end of a document.
    fn line_ends(&mut self, end: usize) {
        let text = self.text.get(self.judged..end).unwrap_or_default();
        for (at, _) in text.match_indices(LINE_ENDS) {
            let at = self.judged + at;
            if self.found.len() > LINE_ENDS_TOLD_MAX {
                break;
            }
            if self.kept.binary_search(&at).is_err() {
                let before = &self.text[..at];
                let column = before.rsplit(['\n', '\r']).next().map_or(0, |line| line.chars().count());
                self.found.push((1 + before.matches('\n').count(), column, LINE_END));
            }
        }
        self.judged = end.max(self.judged);
    }

    /// A plain scalar ends for libyaml where the next token begins, so that what stands between is judged as its continuation.
    fn plain(&mut self, span: &Span) {
        let Some(range) = span.byte_range().filter(|range| !range.is_empty()) else { return };
        let after = self.text.get(range.end..).unwrap_or_default();
        let gap = &after[..after.len() - after.trim_start().len()];
        let last = span.end.line() + gap.matches('\n').count();
        let indent = self.indent();
        for number in span.start.line() + 1..=last {
            if let Some(spaces) = self.line(number).and_then(tab_after)
                && spaces < indent
            {
                self.found.push((number, spaces, TAB));
            }
        }
        if span.end.line() > span.start.line() {
            self.within.push((span.start.line() + 1, span.end.line()));
        }
    }

    /// No tab may stand before the content's indentation is reached, nor in the lines that find it out.
    fn block_scalar(&mut self, span: &Span, is_empty: bool) {
        // The span begins with the content; the header is the last line before it that is not blank.
        let before = span.start.byte_offset().and_then(|start| self.text.get(..start)).unwrap_or_default();
        let header = 1 + before.trim_end().matches('\n').count();
        let rest = self.line(header).and_then(|line| line.rsplit(['|', '>']).next()).unwrap_or_default();
        let is_explicit = rest.trim_start_matches(['+', '-']).starts_with(|c: char| c.is_ascii_digit());
        let mut is_found = is_explicit;
        let mut number = header + 1;
        while let Some(line) = self.line(number) {
            let is_blank = line.trim_matches([' ', '\t']).is_empty();
            let spaces = line.len() - line.trim_start_matches(' ').len();
            if let Some(column) = tab_after(line)
                && (!is_found || span.indent.is_some_and(|indent| column < indent))
            {
                self.found.push((number, column, TAB));
            }
            if !is_blank {
                is_found = true;
                if is_empty || span.indent.is_some_and(|indent| spaces < indent) {
                    break;
                }
            }
            number += 1;
        }
        self.within.push((header + 1, number.saturating_sub(1)));
    }

    fn document(&mut self, end: usize) -> Vec<(usize, usize, &'static str)> {
        let mut found = std::mem::take(&mut self.found);
        let within = std::mem::take(&mut self.within);
        for number in self.first..=end {
            let Some(line) = self.line(number) else { break };
            if line.contains('\t') && !within.iter().any(|(first, last)| (*first..=*last).contains(&number)) {
                found.extend(tab_after(line).or_else(|| tab_after_indicator(line)).map(|column| (number, column, TAB)));
            }
        }
        self.first = end + 1;
        found.sort_unstable();
        found.dedup_by_key(|(line, ..)| *line);
        found
    }
}

/// The column of a tab that only spaces stand before.
fn tab_after(line: &str) -> Option<usize> {
    let rest = line.trim_start_matches(' ');
    rest.starts_with('\t').then(|| line.len() - rest.len())
}

/// The column of a tab behind `-`, `?` or `:` at the start of a line, where a block may begin.
fn tab_after_indicator(line: &str) -> Option<usize> {
    let mut rest = line.trim_start_matches(' ');
    while let Some(behind) = rest.strip_prefix(['-', '?', ':']) {
        if !behind.starts_with([' ', '\t']) {
            return None;
        }
        rest = behind.trim_start_matches(' ');
        if rest.starts_with('\t') {
            return Some(line.len() - rest.len());
        }
    }
    None
}
