//! From one file's text to documents with their kinds, and findings with their places.

use std::{borrow::Cow, collections::BTreeMap, path::Path, sync::Arc};

use serde_json::Value;

use super::{
    cross::{self, Reference},
    listed, masked,
    read::{self, Body},
    size::{self, bounded},
    verdict::Judge,
};
use crate::{
    meta::nearest,
    resources::{API_VERSION, DEFAULT_NAMESPACE, FINALIZER, GROUP, Key, schema::KINDS},
    source::{Finding, Severity},
    yaml::{self, Data, Fault, FieldPath, Node, Position},
};

/// Characters of a line that a finding shows.
const EXCERPT_MAX: usize = 200;
/// Findings listed per document; the rest is counted.
const DOCUMENT_FINDINGS_MAX: usize = 100;
/// Findings of one severity listed per file; the rest is counted.
const FILE_FINDINGS_MAX: usize = 1000;
/// Files of other tools that people keep beside their objects, without apiVersion and kind.
const FILES_OF_OTHERS: [&str; 6] =
    ["kustomization.yaml", "kustomization.yml", "Chart.yaml", "values.yaml", "package.json", "tsconfig.json"];

/// What a file holds.
#[derive(Debug, Default)]
pub(super) struct FileContent {
    pub documents: Vec<Document>,
    pub findings: Vec<Finding>,
    /// All documents, including ignored ones.
    pub count: usize,
    /// Whether it contains the word apiVersion, as every object does.
    pub mentions_objects: bool,
    /// A document that is too broken to identify its object: the place and the fault.
    pub unnamed: Option<String>,
}

/// A document of a kind that Mailfleet reads.
#[derive(Debug)]
pub(super) struct Document {
    pub kind: &'static str,
    pub key: Key,
    pub at: Position,
    pub excerpt: Option<String>,
    pub body: Body,
    pub references: Vec<Reference>,
}

impl Document {
    pub fn resource(&self) -> String {
        resource_words(self.kind, Some(&self.key))
    }
}

fn resource_words(kind: &str, key: Option<&Key>) -> String {
    match key {
        Some(key) if kind == "Namespace" => format!("{kind} {}", key.name),
        Some(key) => format!("{kind} {key}"),
        None => kind.to_owned(),
    }
}

/// Reads a file's text. `file` is only named in the findings.
pub(super) fn read_text(file: &Path, text: &str) -> FileContent {
    let mut reader = Reader {
        file,
        lines: yaml::lines(text.strip_prefix('\u{feff}').unwrap_or(text)).collect(),
        // A syntax error may attribute a Secret's line to another document.
        may_hold_secrets: text.contains("Secret"),
        content: FileContent { mentions_objects: text.contains("apiVersion"), ..FileContent::default() },
        found: BTreeMap::new(),
    };
    let is_named_json = file.extension().is_some_and(|extension| extension == "json");
    if is_named_json && let Err(error) = serde_json::from_str::<serde::de::IgnoredAny>(text) {
        let words = error.to_string();
        let words = words.split(" at line ").next().unwrap_or(&words);
        let at = Position { line: error.line(), column: error.column().max(1) };
        reader.content.count = 1;
        let people = if words == "trailing characters" { ", or name it .jsonl if it holds recipients as JSON Lines" } else { "" };
        let message = format!("this is not JSON: {words}; fix it, or leave the file out with --exclude or a .mailfleetignore{people}");
        reader.syntax(&Fault { at, path: FieldPath::default(), message }, None);
        return reader.content;
    }
    // JSON in a file of another name, or from a pipe.
    let is_json = is_named_json || (text.trim_start().starts_with('{') && serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok());
    let text = if is_json { json_as_yaml(text) } else { Cow::Borrowed(text) };
    for document in yaml::parse(&text) {
        reader.document(&document);
    }
    reader.tell_left_out();
    reader.content
}

/// A line as findings show it; none where its column would be out of sight, or behind a password that is not shown.
pub(super) fn excerpt_of(line: &str, column: usize) -> Option<String> {
    let shown = masked::masked(line);
    let is_in_place = line.chars().zip(shown.chars()).take(column).all(|(a, b)| a == b);
    (column <= EXCERPT_MAX && is_in_place).then(|| shown.chars().take(EXCERPT_MAX).collect())
}

/// JSON as a YAML reader accepts it: without surrogate pairs (`\ud83d\ude00`), and with the characters escaped that YAML wants
/// escaped. Valid JSON only.
fn json_as_yaml(text: &str) -> Cow<'_, str> {
    let is_refused = |c: char| matches!(c, '\u{7f}'..='\u{9f}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}');
    if !text.contains(is_refused) && !text.contains("\\u") {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(|c: char| c == '\\' || is_refused(c)) {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        let unit = |at: usize| {
            let digits = rest.get(at..at + 6)?.strip_prefix("\\u")?;
            u16::from_str_radix(digits, 16).ok()
        };
        let pair = unit(0).zip(unit(6)).and_then(|(high, low)| char::decode_utf16([high, low]).next()?.ok()).filter(|c| c.len_utf16() == 2);
        let taken = match (pair, rest.starts_with('\\')) {
            (Some(character), _) => {
                out.push(character);
                12
            }
            // The character after it is escaped, and may be a backslash too.
            (None, true) => {
                let end = rest.char_indices().nth(2).map_or(rest.len(), |(end, _)| end);
                out.push_str(&rest[..end]);
                end
            }
            (None, false) => {
                let character = rest.chars().next().unwrap_or_default();
                out.push_str(&format!("\\u{:04x}", u32::from(character)));
                character.len_utf8()
            }
        };
        rest = &rest[taken..];
    }
    out.push_str(rest);
    Cow::Owned(out)
}

struct Reader<'a> {
    file: &'a Path,
    lines: Vec<&'a str>,
    may_hold_secrets: bool,
    content: FileContent,
    /// How many findings there are, by severity.
    found: BTreeMap<Severity, usize>,
}

impl Reader<'_> {
    fn excerpt(&self, at: Position) -> Option<String> {
        excerpt_of(self.lines.get(at.line.checked_sub(1)?)?, at.column)
    }

    fn finding(&mut self, severity: Severity, problem: &Fault, resource: Option<String>, is_secret: bool) {
        let found = self.found.entry(severity).or_default();
        *found += 1;
        if *found > FILE_FINDINGS_MAX {
            return;
        }
        let field = (!problem.path.0.is_empty()).then(|| problem.path.to_string());
        let excerpt = if is_secret { None } else { self.excerpt(problem.at) };
        let (Position { line, column }, message) = (problem.at, bounded(&problem.message));
        let (field, resource) = (field.map(|field| bounded(&field)), resource.map(|resource| bounded(&resource)));
        self.content.findings.push(Finding { severity, file: self.file.to_owned(), line, column, resource, field, message, excerpt });
    }

    /// Adds how many findings are not listed.
    fn tell_left_out(&mut self) {
        for (severity, found) in &self.found {
            if let Some(more @ 1..) = found.checked_sub(FILE_FINDINGS_MAX) {
                let words = format!("{more} more {severity}s in this file are not listed; fix the listed ones first");
                self.content.findings.push(Finding::of_file(*severity, self.file, words));
            }
        }
    }

    fn syntax(&mut self, problem: &Fault, resource: Option<String>) {
        self.finding(Severity::Fault, problem, resource, self.may_hold_secrets);
        self.content.unnamed = Some(format!("{}:{}: {}", self.file.display(), problem.at.line, bounded(&problem.message)));
    }

    fn document(&mut self, document: &yaml::Document) {
        let Some(list) = listed::items(document) else { return self.object(document) };
        let kind = document.root.get("kind").and_then(|node| node.text()).map(str::to_owned);
        for problem in &list.problems {
            self.finding(Severity::Fault, problem, kind.clone(), true);
        }
        if let Some(first) = list.problems.first() {
            self.content.unnamed = Some(self.broken_words(first, list.problems.len()));
        }
        for item in &list.items {
            self.object(item);
        }
    }

    fn object(&mut self, document: &yaml::Document) {
        let root = &document.root;
        let is_of_others = self.file.file_name().and_then(|name| name.to_str()).is_some_and(|name| FILES_OF_OTHERS.contains(&name));
        let header = Header::of(root, if is_of_others { Severity::Note } else { Severity::Warning });
        let resource = header.kind.map(|kind| resource_words(kind, header.key().as_ref()));
        if let Some(syntax) = &document.syntax {
            self.content.count += 1;
            return self.syntax(syntax, resource);
        }
        if matches!(root.data, Data::Null) && document.problems.is_empty() && document.scalars.is_empty() {
            return;
        }
        self.content.count += 1;
        let kind = match header.judge() {
            Judgement::Ours(kind) => kind,
            Judgement::Foreign(severity, message) => {
                let at = root.locate_key(&FieldPath::parse("kind"));
                return self.finding(severity, &Fault { at, path: FieldPath::default(), message }, None, true);
            }
            Judgement::Faults(problems) => {
                for problem in &problems {
                    self.finding(Severity::Fault, problem, resource.clone(), header.kind == Some("Secret"));
                }
                let place = problems.first().map(|p| format!("{}:{}: {}", self.file.display(), p.at.line, bounded(&p.message)));
                self.content.unnamed = place;
                return;
            }
        };
        self.known(kind, document, header.key(), resource);
    }

    fn known(&mut self, kind: &'static str, document: &yaml::Document, key: Option<Key>, resource: Option<String>) {
        let root = &document.root;
        let is_secret = kind == "Secret";
        let mut json = root.to_json();
        let mut problems = document.problems.clone();
        problems.extend(document.scalars.iter().cloned().map(|mut problem| {
            if is_secret {
                "tools read this value differently, or it carries a tag; quote it".clone_into(&mut problem.message);
            }
            problem
        }));
        let mut body = None;
        let sops = root.entry("sops").filter(|entry| ["mac", "version"].iter().any(|field| entry.value.get(field).is_some()));
        if let Some(sops) = sops {
            let message = "this document is encrypted with SOPS, and its values cannot be read. Decrypt it (`sops decrypt FILE | mailfleet validate -`), or leave the file out with --exclude or a .mailfleetignore";
            problems = vec![Fault { at: sops.key_at, path: FieldPath::default().key("sops"), message: message.to_owned() }];
        } else if !document.is_cut {
            if let Some(judge) = Judge::of(kind) {
                add_new(&mut problems, judge.judge(kind, root, &mut json, is_secret));
            }
            let judged =
                size::judge(&json).map(|(severity, message)| (severity, Fault { at: root.at, path: FieldPath::default(), message }));
            match judged {
                Some((Severity::Fault, problem)) => problems.push(problem),
                Some((severity, problem)) => self.finding(severity, &problem, resource.clone(), true),
                None => {}
            }
            without_what_is_set(&mut json);
            body = read::body(kind, &json, root, &mut problems);
        }
        problems.sort_by_key(|problem| problem.at);
        problems.dedup();
        let count = problems.len();
        for problem in problems.iter().take(DOCUMENT_FINDINGS_MAX) {
            self.finding(Severity::Fault, problem, resource.clone(), is_secret);
        }
        if let Some(next) = problems.get(DOCUMENT_FINDINGS_MAX) {
            let message = format!("{} more faults in this document are not listed", count - DOCUMENT_FINDINGS_MAX);
            self.finding(Severity::Fault, &Fault { at: next.at, path: FieldPath::default(), message }, resource, true);
        }
        let words = problems.first().map(|first| self.broken_words(first, count));
        let Some(key) = key else {
            self.content.unnamed = words.or_else(|| Some(format!("{}:{}", self.file.display(), root.at.line)));
            return;
        };
        let has_our_finalizer =
            json.pointer("/metadata/finalizers").and_then(Value::as_array).is_some_and(|all| all.iter().any(|one| one == FINALIZER));
        let body = match (body, words) {
            (Some(body), None) => body,
            // A broken Secret is kept without its values.
            (_, words) => {
                Body::Broken { message: words.unwrap_or_default(), document: Arc::new(if is_secret { Value::Null } else { json }) }
            }
        };
        let mut references = cross::references(&body, &key);
        if has_our_finalizer {
            references.push(cross::exported_finalizer());
        }
        for reference in &mut references {
            reference.at = root.locate(&FieldPath::parse(&reference.path));
            reference.excerpt = self.excerpt(reference.at);
        }
        let excerpt = self.excerpt(root.at).filter(|_| !is_secret);
        self.content.documents.push(Document { kind, key, at: root.at, excerpt, body, references });
    }

    fn broken_words(&self, first: &Fault, count: usize) -> String {
        let more = if count > 1 { format!(" (and {} more)", count - 1) } else { String::new() };
        let field = if first.path.0.is_empty() { String::new() } else { format!("{}: ", first.path) };
        format!("{}:{}: {field}{}{more}", self.file.display(), first.at.line, bounded(&first.message))
    }
}

/// Adds faults at fields that have none yet: the first reader to complain has the better message.
pub(super) fn add_new(problems: &mut Vec<Fault>, more: Vec<Fault>) {
    for problem in more {
        if !problems.iter().any(|known| known.path == problem.path && !known.path.0.is_empty()) {
            problems.push(problem);
        }
    }
}

/// The part of a document that identifies its object.
struct Header<'a> {
    root: &'a Node,
    version: Option<&'a str>,
    kind: Option<&'a str>,
    /// The severity when neither is there.
    unnamed: Severity,
}

enum Judgement {
    Ours(&'static str),
    Foreign(Severity, String),
    Faults(Vec<Fault>),
}

impl<'a> Header<'a> {
    fn of(root: &'a Node, unnamed: Severity) -> Self {
        let text = |key: &str| root.get(key).and_then(|node| node.text());
        Self { root, version: text("apiVersion"), kind: text("kind"), unnamed }
    }

    /// The key, when name and namespace are valid.
    fn key(&self) -> Option<Key> {
        let metadata = self.root.get("metadata")?;
        let name = metadata.get("name")?.text()?;
        let namespace = match metadata.get("namespace").map(|node| &node.data) {
            None | Some(Data::Null) => DEFAULT_NAMESPACE,
            Some(Data::Text(namespace)) => namespace,
            Some(_) => return None,
        };
        let is_name = |text: &str, others: &[char], max: usize| {
            (1..=max).contains(&text.len())
                && text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || others.contains(&c))
                && !text.starts_with(others)
                && !text.ends_with(others)
        };
        (is_name(name, &['-', '.'], 253) && is_name(namespace, &['-'], 63)).then(|| Key::new(namespace, name))
    }

    fn fault(&self, field: &str, message: String) -> Fault {
        let path = FieldPath::parse(field);
        Fault { at: self.root.locate(&path), path, message }
    }

    fn judge(&self) -> Judgement {
        if !matches!(self.root.data, Data::Map(_)) {
            let message = "this document is not a mapping with apiVersion and kind; it is ignored".to_owned();
            return Judgement::Foreign(Severity::Warning, message);
        }
        let own_kind = self.kind.and_then(|kind| KINDS[..3].iter().find(|name| **name == kind));
        let kubernetes_kind = self.kind.and_then(|kind| KINDS[3..].iter().find(|name| **name == kind));
        match (self.version, self.kind) {
            (Some(version), Some(kind)) if version == API_VERSION => match own_kind {
                Some(kind) => Judgement::Ours(kind),
                None => Judgement::Faults(vec![self.fault("kind", unknown_kind(kind, kubernetes_kind.is_some()))]),
            },
            (Some("v1"), Some(kind)) => match (kubernetes_kind, own_kind) {
                (Some(kind), _) => Judgement::Ours(kind),
                (None, Some(_)) => {
                    Judgement::Faults(vec![self.fault("apiVersion", format!("a {kind} has apiVersion {API_VERSION}, not v1"))])
                }
                (None, None) => Judgement::Foreign(Severity::Note, format!("{kind} (v1) is not a kind of Mailfleet; it is ignored")),
            },
            (Some(version), kind) if is_meant_as_ours(version) => {
                let mut faults = vec![];
                if version != API_VERSION {
                    faults.push(self.fault("apiVersion", format!("there is no version `{version}`; write {API_VERSION}")));
                }
                if kind.is_none() {
                    faults.push(self.fault("kind", "this field is required: SendingServer, Plan or Campaign".to_owned()));
                }
                Judgement::Faults(faults)
            }
            (Some(version), Some(kind)) => {
                Judgement::Foreign(Severity::Note, format!("{kind} ({version}) is not a kind of Mailfleet; it is ignored"))
            }
            (None, Some(kind)) if own_kind.is_some() => {
                Judgement::Faults(vec![self.fault("apiVersion", format!("this field is required: a {kind} has {API_VERSION}"))])
            }
            (None, Some(kind)) if kubernetes_kind.is_some() => {
                Judgement::Faults(vec![self.fault("apiVersion", format!("this field is required: a {kind} has v1"))])
            }
            _ => Judgement::Foreign(self.unnamed, "this document has no apiVersion and kind; it is ignored".to_owned()),
        }
    }
}

fn is_meant_as_ours(version: &str) -> bool {
    let group = version.split('/').next().unwrap_or_default();
    group == GROUP || group.contains("mailfleet") || nearest(group, std::iter::once(GROUP)).is_some()
}

fn unknown_kind(kind: &str, is_kubernetes: bool) -> String {
    if is_kubernetes {
        return format!("a {kind} has apiVersion v1, not {API_VERSION}");
    }
    let near = nearest(kind, KINDS[..3].iter().copied()).map(|near| format!("; did you mean `{near}`?"));
    format!("there is no kind `{kind}` in {API_VERSION}; the kinds are `SendingServer`, `Plan`, `Campaign`{}", near.unwrap_or_default())
}

/// Removes fields that only the source sets.
fn without_what_is_set(json: &mut Value) {
    if let Some(object) = json.as_object_mut() {
        object.shift_remove("status");
    }
    if let Some(metadata) = json.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.shift_remove("generation");
        metadata.shift_remove("creationTimestamp");
    }
}

#[cfg(test)]
#[path = "document_tests.rs"]
mod tests;
