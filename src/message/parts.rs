//! Layouts and parts: what the templates of a campaign extend, include and import by name, within bounds. Pure: whoever reads them is
//! called for each name.
//!
//! Names are written out in the templates, so that everything that a message is made of is known, and judged, before anybody is mailed.
//! A part is compiled with the templates that name it, and what it costs counts as theirs.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use minijinja::{
    machinery::{Token, tokenize},
    syntax::SyntaxConfig,
};

use super::{Content, Fault, guard, markup, mjml, unmarked};

/// The longest part, in bytes.
pub const PART_MAX: usize = 1 << 20;
/// All parts of a campaign together, in bytes.
pub const PARTS_BYTES_MAX: usize = 2 << 20;
/// Parts of a campaign.
const PARTS_MAX: usize = 100;
/// Parts that name each other, one behind the other.
const DEPTH_MAX: usize = 10;
/// Faults that are told at a time.
const FAULTS_MAX: usize = 20;
/// The longest name, in bytes.
const NAME_MAX: usize = 255;

/// The field that says where they are.
pub(super) const FIELD: &str = "spec.content.templates";

/// The parts that a campaign's templates name, as they were read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Parts {
    /// Each by its name: its text, or why it cannot be read.
    texts: BTreeMap<Arc<str>, Result<Arc<str>, String>>,
    /// There are more than a campaign may have.
    are_too_many: bool,
}

/// Where a template names a part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Named {
    pub(super) name: String,
    /// The line of the template, from 1.
    pub(super) line: usize,
    /// `extends`, `include`, `import`, `from` or `mj-include`.
    pub(super) by: &'static str,
}

impl Named {
    /// Whether a tag of the template engine names it.
    pub(super) fn is_by_tag(&self) -> bool {
        self.by != mjml::INCLUDE
    }

    /// The tag, for people.
    fn tag(&self) -> String {
        if self.is_by_tag() { format!("{{% {} %}}", self.by) } else { format!("<{}>", self.by) }
    }
}

impl Parts {
    /// The parts that the templates of a content name, and those that these name. `read` gets a name, and how many bytes it may bring.
    pub fn read(content: &Content, mut read: impl FnMut(&str, usize) -> Result<Arc<str>, String>) -> Self {
        let mut parts = Self::default();
        let mut left = PARTS_BYTES_MAX;
        let mut names: VecDeque<Named> = content.templates().iter().flat_map(|(path, source)| named_at(path, source)).collect();
        while let Some(Named { name, .. }) = names.pop_front() {
            if parts.texts.contains_key(&*name) || name_fault(&name).is_some() {
                continue;
            }
            if parts.texts.len() == PARTS_MAX {
                parts.are_too_many = true;
                break;
            }
            let text = read(&name, left.min(PART_MAX));
            if let Ok(text) = &text {
                left = left.saturating_sub(text.len());
                names.extend(named_in(text));
            }
            parts.texts.insert(name.into(), text);
        }
        parts
    }

    /// The template of a part, as it is compiled for HTML or for text.
    pub(super) fn source(&self, name: &str, is_html: bool) -> Option<Arc<str>> {
        let text = self.texts.get(name)?.as_ref().ok()?;
        Some(if !is_html {
            unmarked(text)
        } else if name.to_ascii_lowercase().ends_with(".css") {
            mjml::style_sheet(text).map_or_else(|| text.clone(), Arc::from)
        } else {
            markup(text)
        })
    }

    /// All that could be read, by their names.
    pub fn texts(&self) -> impl Iterator<Item = (&str, &Arc<str>)> {
        self.texts.iter().filter_map(|(name, text)| Some((&**name, text.as_ref().ok()?)))
    }
}

/// The path of a part: `spec.content.templates["footer.html"]`.
#[must_use]
pub(super) fn path_of(name: &str) -> String {
    format!("{FIELD}[\"{name}\"]")
}

/// The name of the part that a path is of.
#[must_use]
pub fn part_named(path: &str) -> Option<&str> {
    path.strip_prefix(FIELD)?.strip_prefix("[\"")?.strip_suffix("\"]")
}

/// Where a template names parts: in its own tags, and as MJML does.
pub(super) fn named_in(source: &str) -> Vec<Named> {
    let mut found = Vec::new();
    if memchr::memmem::find(source.as_bytes(), b"{%").is_some() && source.len() <= guard::SOURCE_MAX {
        let ends: Vec<usize> = memchr::memchr_iter(b'\n', source.as_bytes()).collect();
        let mut tokens = tokenize(source, false, SyntaxConfig::default()).map_while(Result::ok).peekable();
        while let Some((token, _)) = tokens.next() {
            let (Token::BlockStart, Some((Token::Ident(word), span))) = (&token, tokens.peek()) else { continue };
            let Some(&by) = guard::OF_PARTS.iter().find(|of_parts| *of_parts == word) else { continue };
            let line = ends.partition_point(|end| *end < span.start_offset as usize) + 1;
            tokens.next();
            let name = match tokens.next() {
                Some((Token::Str(name), _)) => name.to_owned(),
                Some((Token::String(name), _)) => name.into_string(),
                // The guard says what is wrong with it.
                _ => continue,
            };
            if !matches!(tokens.peek(), Some((Token::BlockEnd | Token::Ident(_), _))) {
                continue;
            }
            found.push(Named { name, line, by });
        }
    }
    found.extend(mjml::includes(source).map(|(line, name)| Named { name, line, by: mjml::INCLUDE }));
    found
}

/// Where a template of a field, or a part, names parts. MJML's own tag means something in MJML alone.
fn named_at(path: &str, source: &str) -> Vec<Named> {
    let has_mjml = path.ends_with("mjml") || part_named(path).is_some();
    named_in(source).into_iter().filter(|named| has_mjml || named.is_by_tag()).collect()
}

/// What is wrong with a name, if anything.
fn name_fault(name: &str) -> Option<&'static str> {
    let is_relative = !name.contains('\\') && name.split('/').all(|step| !matches!(step, "" | "." | ".."));
    if !is_relative || name.len() > NAME_MAX {
        return Some(
            "is not the name of a part: write it as seen from the folder of `content.templates`, without `..`, like parts/footer.html",
        );
    }
    if name.chars().any(|c| c.is_control() || matches!(c, '"' | '[' | ']')) {
        return Some("is not the name of a part: brackets, quotes and control characters cannot be in it");
    }
    name.split('/').any(|step| step.starts_with('.')).then_some("is hidden, and hidden files are never mailed")
}

/// The parts that MJML includes, and those that these include, each once.
pub(super) fn included(source: &str, part: &dyn Fn(&str) -> Option<Arc<str>>) -> BTreeMap<String, Arc<str>> {
    let mut found = BTreeMap::new();
    let mut names: Vec<String> = mjml::includes(source).map(|(_, name)| name).collect();
    while let Some(name) = names.pop() {
        if !found.contains_key(&name)
            && let Some(text) = part(&name)
        {
            names.extend(mjml::includes(&text).map(|(_, name)| name));
            found.insert(name, text);
        }
    }
    found
}

/// The walk through what names what.
struct Walk<'p> {
    parts: &'p Parts,
    /// How many parts are behind each that was looked at.
    depths: BTreeMap<&'p str, usize>,
    /// The parts on the way to the one that is looked at.
    way: Vec<&'p str>,
    faults: Vec<Fault>,
}

/// What is wrong with the parts of a campaign, before any of them is compiled: each fault once, where the name stands.
pub(super) fn faults(content: &Content) -> Vec<Fault> {
    let templates = content.templates();
    let in_mjml = content.written().filter_map(|written| Some((written.path("mjml"), named_in(written.mjml?))));
    let extends = in_mjml.flat_map(|(path, named)| named.into_iter().map(move |named| (path.clone(), named)));
    if let Some((path, Named { line, .. })) = extends.into_iter().find(|(_, named)| named.by == "extends") {
        let message = format!(
            "line {line}: `{{% extends %}}` cannot be used in MJML, which becomes HTML before it is a template; put header and footer into parts, and include them with `<mj-include path=\"header.mjml\" />`"
        );
        return vec![Fault::new(path, message)];
    }
    let Some(parts) = &content.parts else {
        let named = templates.iter().filter_map(|(path, source)| Some((path, named_at(path, source).into_iter().next()?)));
        let absent = |(path, named): (&String, Named)| {
            let message = format!(
                "line {}: `{}` reads a part, and the campaign has none; say where they are with `content.templates`, as in `templates: {{path: parts}}`",
                named.line,
                named.tag()
            );
            Fault::new(path, message)
        };
        return named.map(absent).collect();
    };
    if parts.are_too_many {
        let message = format!("the templates name more than {PARTS_MAX} parts; put what belongs together into one");
        return vec![Fault::new(FIELD, message)];
    }
    let mut walk = Walk { parts, depths: BTreeMap::new(), way: Vec::new(), faults: Vec::new() };
    for (path, source) in &templates {
        walk.template(path, source);
    }
    walk.faults
}

impl Walk<'_> {
    /// How many parts are behind a template.
    fn template(&mut self, path: &str, source: &str) -> usize {
        let mut depth = 0;
        for named in named_at(path, source) {
            if self.faults.len() == FAULTS_MAX {
                break;
            }
            let behind = self.part(path, &named);
            depth = depth.max(behind);
        }
        depth
    }

    fn part(&mut self, path: &str, named: &Named) -> usize {
        let parts = self.parts;
        let Named { name, line, .. } = named;
        let mut tell = |message: String| self.faults.push(Fault::new(path, format!("line {line}: {message}")).quoting(name));
        if let Some(why) = name_fault(name) {
            tell(format!("`{name}` {why}"));
            return 0;
        }
        let Some((name, text)) = parts.texts.get_key_value(&**name) else { return 0 };
        let text = match text {
            Ok(text) => text,
            Err(why) => {
                self.faults.push(Fault::missing(path, format!("line {line}: the part `{name}` {why}")).quoting(&**name));
                return 0;
            }
        };
        let chain = |way: &[&str]| way.iter().copied().chain([&**name]).collect::<Vec<_>>().join(" → ");
        if let Some(at) = self.way.iter().position(|other| *other == &**name) {
            tell(format!("parts cannot contain themselves: {}", chain(&self.way[at..])));
            return 0;
        }
        if self.way.len() == DEPTH_MAX {
            tell(format!("parts are nested more than {DEPTH_MAX} deep: {}", chain(&self.way)));
            return 0;
        }
        let depth = if let Some(depth) = self.depths.get(&**name) {
            *depth
        } else {
            self.way.push(name);
            let depth = 1 + self.template(&path_of(name), text);
            self.way.pop();
            self.depths.insert(name, depth);
            depth
        };
        // One that was looked at before may be further down on this way.
        if self.way.len() + depth > DEPTH_MAX && self.faults.is_empty() {
            let message = format!("line {line}: parts are nested more than {DEPTH_MAX} deep, from `{name}` on");
            self.faults.push(Fault::new(path, message).quoting(&**name));
        }
        depth
    }
}
