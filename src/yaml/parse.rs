//! From the text of a file to trees with places: the parser's events, and what YAML leaves to its reader.
//!
//! Duplicate keys, tags, merge keys and aliases are resolved here, and the expansion of aliases is bounded.

use std::{collections::HashMap, sync::Arc};

use serde_json::Value;
use serde_saphyr::granit_parser::{self, Event, Marker, Parser, ScalarStyle, Tag};

use super::{
    parting::{Part, lines, parts},
    path::{FieldPath, Step},
    scalar::resolve_plain,
    spacing::Spacing,
    tree::{DEPTH_MAX, Data, Document, Entry, Fault, Node, Position, VALUES_MAX, head},
};

/// Syntax errors after which the rest of a file is not read.
const SYNTAX_ERRORS_MAX: usize = 20;

fn position(marker: &Marker, lines_before: usize) -> Position {
    Position { line: marker.line() + lines_before, column: marker.col() + 1 }
}

/// Reads every document of a text, split as kubectl does: at each line that begins with `---`, whatever surrounds it. After a
/// syntax error it continues with the next document.
#[must_use]
pub fn parse(text: &str) -> Vec<Document> {
    let mut documents = Vec::new();
    let mut errors = 0;
    for part in parts(text) {
        errors += usize::from(parse_part(&part, &mut documents));
        if errors == SYNTAX_ERRORS_MAX {
            break;
        }
    }
    documents
}

/// Reads one part; whether it has a syntax error. kubectl reads each part separately, and one document of it.
fn parse_part(part: &Part<'_>, documents: &mut Vec<Document>) -> bool {
    let first = documents.len();
    let mut has_error = parse_until_error(part.text, part.lines_before, documents);
    let refused = part.refused();
    if let Some((number, message)) = refused {
        let at = Position { line: part.lines_before + number + 1, column: 1 };
        if documents.len() == first {
            let root = Node::new(Data::Null, at).into();
            documents.push(Document { root, problems: Vec::new(), scalars: Vec::new(), is_cut: false, syntax: None });
        }
        documents[first].syntax = Some(Fault { at, path: FieldPath::default(), message: message.to_owned() });
        has_error = true;
    }
    for unread in documents.iter_mut().skip(first + 1).filter(|document| document.syntax.is_none()) {
        let message = "kubectl does not read this document: it ignores everything after `...`. Put a line `---` before it".to_owned();
        unread.syntax = Some(Fault { at: unread.root.at, path: FieldPath::default(), message });
        has_error = true;
    }
    has_error
}

/// Reads documents up to the first syntax error; whether there is one.
fn parse_until_error(text: &str, lines_before: usize, documents: &mut Vec<Document>) -> bool {
    let options = granit_parser::options! { emit_comments: false };
    let mut builder = Builder { lines_before, ..Builder::default() };
    let mut spacing = Spacing::of(text);
    for event in Parser::new_from_str_with_options(text, options) {
        if let (Some(spacing), Ok((event, span))) = (&mut spacing, &event) {
            for (line, column, message) in spacing.event(event, span) {
                let at = Position { line: lines_before + line, column: column + 1 };
                builder.problems.push(Fault { at, path: FieldPath::default(), message: message.to_owned() });
            }
        }
        match event {
            Ok((Event::DocumentEnd, _)) => documents.extend(std::mem::take(&mut builder).finish(None)),
            Ok((event, span)) => {
                builder.lines_before = lines_before;
                builder.event(event, position(&span.start, lines_before));
            }
            Err(error) => {
                let at = position(error.marker(), lines_before);
                let line = lines(text).nth(at.line.saturating_sub(lines_before + 1)).unwrap_or_default();
                let problem = Fault { at, path: builder.path(), message: syntax_words(&error.info(), line, at) };
                builder.lines_before = lines_before;
                documents.extend(builder.finish(Some(problem)));
                return true;
            }
        }
    }
    false
}

/// The parser's message, and a hint where it does not say what to do.
fn syntax_words(info: &str, line: &str, at: Position) -> String {
    let has_template = line.trim_start().starts_with("{{") || [": {{", "- {{", "[{{", "{{{"].iter().any(|begin| line.contains(begin));
    let hint = if line.trim_start_matches(' ').starts_with('\t') || info.contains("tab") {
        "; indent with spaces, not tabs"
    } else if has_template {
        "; quote a value that begins with `{{`, and leave Helm's templates out with --exclude or a .mailfleetignore"
    } else if info.contains("mapping values are not allowed") {
        "; quote a value that contains `: `, and check the indentation"
    } else if line.chars().nth(at.column.saturating_sub(1)).is_some_and(|c| matches!(c, '@' | '`' | '%')) {
        "; quote a value that begins with this character"
    } else if info.contains("quoted scalar") || info.contains("end of stream") {
        "; check that quotes and brackets are closed"
    } else if info.contains("expected") || info.contains("block") {
        "; check the indentation, and that quotes and brackets are closed"
    } else {
        ""
    };
    format!("this is not YAML: {info}{hint}")
}

fn fits(value: &Value, tag: &Tag) -> bool {
    match tag.core_suffix() {
        Some("null") => value.is_null(),
        Some("bool") => value.is_boolean(),
        Some("int") => value.is_u64() || value.is_i64(),
        Some("float") => value.is_number(),
        _ => false,
    }
}

fn misfit(tag: &Tag) -> String {
    format!("this does not match the tag `{}`; leave the tag out", tag.original())
}

#[derive(Default)]
struct Builder {
    lines_before: usize,
    frames: Vec<Frame>,
    anchors: HashMap<usize, Arc<Node>>,
    problems: Vec<Fault>,
    scalars: Vec<Fault>,
    is_cut: bool,
    root: Option<Arc<Node>>,
    has_aliases: bool,
    /// Entries that merge keys copied.
    merged: u64,
    /// Levels of a collection that is dropped (too deep, or used as a key).
    skipping: usize,
}

enum Frame {
    List {
        at: Position,
        anchor: usize,
        items: Vec<Arc<Node>>,
    },
    Map {
        at: Position,
        anchor: usize,
        entries: Vec<Entry>,
        index: HashMap<String, Position>,
        merges: Vec<Arc<Node>>,
        pending: Option<Pending>,
    },
}

struct Pending {
    key: String,
    at: Position,
    kind: PendingKind,
}

#[derive(PartialEq)]
enum PendingKind {
    Field,
    Merge,
    /// The value is not used.
    Dropped,
    /// The key is a collection, which is being read; neither it nor its value is used.
    OpenKey,
}

impl Builder {
    fn path(&self) -> FieldPath {
        let steps = self.frames.iter().filter_map(|frame| match frame {
            Frame::List { items, .. } => Some(Step::Index(items.len())),
            Frame::Map { pending, .. } => pending.as_ref().map(|pending| Step::Key(pending.key.clone())),
        });
        FieldPath(steps.collect())
    }

    fn problem(&mut self, at: Position, message: impl Into<String>) {
        let path = self.path();
        self.problems.push(Fault { at, path, message: message.into() });
    }

    fn expects_key(&self) -> bool {
        matches!(self.frames.last(), Some(Frame::Map { pending: None, .. }))
    }

    fn event(&mut self, event: Event<'_>, at: Position) {
        match event {
            Event::SequenceStart(_, anchor, tag) => self.open(at, tag.as_deref(), "seq", Frame::List { at, anchor, items: Vec::new() }),
            Event::MappingStart(_, anchor, tag) => {
                let frame = Frame::Map { at, anchor, entries: Vec::new(), index: HashMap::new(), merges: Vec::new(), pending: None };
                self.open(at, tag.as_deref(), "map", frame);
            }
            Event::SequenceEnd | Event::MappingEnd if self.skipping > 0 => {
                self.skipping -= 1;
                if self.skipping == 0 {
                    self.value(Node::new(Data::Null, at).into(), 0);
                }
            }
            Event::SequenceEnd | Event::MappingEnd => self.close(),
            Event::Scalar(text, style, anchor, tag) if self.skipping == 0 => self.scalar(&text, style, anchor, tag.as_deref(), at),
            Event::Alias(anchor) if self.skipping == 0 => self.alias(anchor, at),
            _ => {}
        }
    }

    fn open(&mut self, at: Position, tag: Option<&Tag>, expected: &str, frame: Frame) {
        if self.skipping > 0 {
            self.skipping += 1;
            return;
        }
        if self.expects_key() {
            let is_within = |around: &Position| around.line == at.line && around.column + 1 == at.column;
            let is_braced =
                matches!((self.frames.last(), &frame), (Some(Frame::Map { at: around, .. }), Frame::Map { .. }) if is_within(around));
            self.problem(
                at,
                if is_braced {
                    "YAML reads `{{` as two mappings here; quote the value, like \"{{ name }}\""
                } else {
                    "a key must be text, not a list or a mapping"
                },
            );
            self.set_pending(Pending { key: String::new(), at, kind: PendingKind::OpenKey });
            self.frames.push(frame);
            return;
        }
        if self.frames.len() >= DEPTH_MAX {
            if !self.is_cut {
                let message = format!("this is nested more than {DEPTH_MAX} levels deep");
                self.problems.push(Fault { at, path: FieldPath::default(), message });
            }
            self.is_cut = true;
            self.skipping = 1;
            return;
        }
        if let Some(tag) = tag
            && !tag.is_yaml_core_schema_tag(expected)
        {
            self.problem(at, format!("the tag `{}` has no meaning here; leave it out", tag.original()));
        }
        self.frames.push(frame);
    }

    fn close(&mut self) {
        let Some(frame) = self.frames.pop() else { return };
        let (node, anchor) = match frame {
            Frame::List { at, anchor, items } => (Node::new(Data::List(items), at), anchor),
            Frame::Map { at, anchor, mut entries, mut index, merges, .. } => {
                for source in merges {
                    self.merge(&source, &mut entries, &mut index);
                }
                (Node::new(Data::Map(entries), at), anchor)
            }
        };
        if let Some(Frame::Map { pending: Some(pending), .. }) = self.frames.last_mut()
            && pending.kind == PendingKind::OpenKey
        {
            // That was the key; what comes next is its value.
            pending.kind = PendingKind::Dropped;
            return;
        }
        self.value(node.into(), anchor);
    }

    /// The merge key of YAML 1.1, as Kubernetes' tools read it: explicit keys win over merged ones, and earlier sources over later ones.
    fn merge(&mut self, source: &Arc<Node>, entries: &mut Vec<Entry>, index: &mut HashMap<String, Position>) {
        match &source.data {
            Data::Map(merged) => {
                self.merged = self.merged.saturating_add(merged.len() as u64);
                if self.merged > VALUES_MAX {
                    return self.problem(source.at, format!("merge keys copy more than {VALUES_MAX} values in this document"));
                }
                for entry in merged {
                    if index.insert(entry.key.clone(), entry.key_at).is_none() {
                        entries.push(entry.clone());
                    }
                }
            }
            Data::List(sources) if sources.iter().all(|source| matches!(source.data, Data::Map(_))) => {
                for source in sources {
                    self.merge(source, entries, index);
                }
            }
            _ => self.problem(source.at, "`<<` merges mappings: write an alias of a mapping (`<<: *base`) or a list of them"),
        }
    }

    fn scalar(&mut self, text: &str, style: ScalarStyle, anchor: usize, tag: Option<&Tag>, at: Position) {
        let is_key = self.expects_key();
        if is_key && text == "<<" && style == ScalarStyle::Plain && tag.is_none() {
            return self.set_pending(Pending { key: text.to_owned(), at, kind: PendingKind::Merge });
        }
        let resolved = match tag {
            Some(tag) if tag.is_yaml_core_schema_tag("str") || tag.original() == "!" => Ok(Value::String(text.to_owned())),
            Some(tag) if !tag.is_yaml_core_schema() => Err(format!("the tag `{}` has no meaning here; leave it out", tag.original())),
            Some(tag) => resolve_plain(text, is_key).and_then(|value| if fits(&value, tag) { Ok(value) } else { Err(misfit(tag)) }),
            None if style == ScalarStyle::Plain => resolve_plain(text, is_key),
            _ => Ok(Value::String(text.to_owned())),
        };
        if is_key {
            match resolved {
                Ok(Value::Null) => self.problem(at, "a key is missing before the `:`"),
                Ok(_) => {}
                Err(message) => self.problem(at, message),
            }
            if anchor > 0 {
                self.anchors.insert(anchor, Node::new(Data::Text(text.to_owned()), at).into());
            }
            return self.key(text.to_owned(), at);
        }
        let data = match resolved {
            Ok(Value::Null) => Data::Null,
            Ok(Value::Bool(value)) => Data::Bool(value),
            Ok(Value::Number(number)) => Data::Number(number),
            Ok(_) => Data::Text(text.to_owned()),
            Err(message) => {
                let path = self.path();
                self.scalars.push(Fault { at, path, message });
                Data::Text(text.to_owned())
            }
        };
        self.value(Node::new(data, at).into(), anchor);
    }

    fn alias(&mut self, anchor: usize, at: Position) {
        self.has_aliases = true;
        let Some(target) = self.anchors.get(&anchor).cloned() else {
            self.problem(at, "this alias is inside its own anchor, and would never end");
            return if self.expects_key() { self.key(String::new(), at) } else { self.value(Node::new(Data::Null, at).into(), 0) };
        };
        if self.expects_key() {
            let key = target.text().map(str::to_owned);
            if key.is_none() {
                self.problem(at, "a key must be text, which this alias is not");
            }
            return self.key(key.unwrap_or_default(), at);
        }
        if target.size > VALUES_MAX || self.frames.len() + target.depth > DEPTH_MAX {
            if !self.is_cut {
                self.problem(at, format!("aliases make this document larger than {VALUES_MAX} values, or deeper than {DEPTH_MAX} levels"));
            }
            self.is_cut = true;
            return self.value(Node::new(Data::Null, at).into(), 0);
        }
        self.value(target, 0);
    }

    fn key(&mut self, key: String, at: Position) {
        let Some(Frame::Map { index, .. }) = self.frames.last_mut() else { return };
        let first = index.get(&key).copied();
        let kind = if first.is_some() { PendingKind::Dropped } else { PendingKind::Field };
        if first.is_none() {
            index.insert(key.clone(), at);
        }
        // What begins every object, again on the left: another object begins there.
        let instead = if key == "apiVersion" && at.column == 1 {
            "; keep one of them, or begin another object with a line `---` before it"
        } else {
            "; keep one of them"
        };
        let message = first.map(|first| format!("`{key}` is given twice in this mapping, first on line {}{instead}", first.line));
        self.set_pending(Pending { key, at, kind });
        if let Some(message) = message {
            self.problem(at, message);
        }
    }

    fn set_pending(&mut self, new: Pending) {
        if let Some(Frame::Map { pending, .. }) = self.frames.last_mut() {
            *pending = Some(new);
        }
    }

    fn value(&mut self, node: Arc<Node>, anchor: usize) {
        if anchor > 0 {
            self.anchors.insert(anchor, node.clone());
        }
        match self.frames.last_mut() {
            None => self.root = Some(node),
            Some(Frame::List { items, .. }) => items.push(node),
            Some(Frame::Map { entries, merges, pending, .. }) => {
                let Some(Pending { key, at, kind }) = pending.take() else { return };
                match kind {
                    PendingKind::Field => entries.push(Entry { key, key_at: at, value: node }),
                    PendingKind::Merge => merges.push(node),
                    PendingKind::Dropped | PendingKind::OpenKey => {}
                }
            }
        }
    }

    fn finish(mut self, syntax: Option<Fault>) -> Option<Document> {
        self.skipping = 0;
        while !self.frames.is_empty() {
            self.close();
        }
        let at = syntax.as_ref().map_or(Position { line: self.lines_before + 1, column: 1 }, |syntax| syntax.at);
        let mut root = self.root.take().unwrap_or_else(|| Node::new(Data::Null, at).into());
        if root.size > VALUES_MAX {
            if !self.is_cut {
                let cause = if self.has_aliases { "aliases make this document larger than" } else { "this document holds more than" };
                self.problems.push(Fault { at: root.at, path: FieldPath::default(), message: format!("{cause} {VALUES_MAX} values") });
            }
            self.is_cut = true;
        }
        if self.is_cut {
            root = head(&root).into();
        }
        Some(Document { root, problems: self.problems, scalars: self.scalars, is_cut: self.is_cut, syntax })
    }
}

#[cfg(test)]
#[path = "parse_tests.rs"]
mod tests;
