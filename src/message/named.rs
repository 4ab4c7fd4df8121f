//! The fields of a recipient that templates name, found before anybody is mailed.
//!
//! The engine's own tree is walked in the order in which it runs. A field is needed unless the template itself allows for its
//! absence: `{{ name | default("friend") }}`, `{% if name %}`, `name is defined`, `name or "friend"`, and what such a condition
//! protects.

mod walk;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use minijinja::{
    machinery::{ast::Stmt, parse},
    syntax::SyntaxConfig,
};
pub(super) use walk::each_block;
use walk::{Found, Known, walked};

use super::{
    Content, Fault, LINK, UNSUBSCRIBE,
    engine::{is_html, is_template},
    guard, markup, mjml,
    parts::{self, part_named},
    unmarked,
};
use crate::meta::nearest;

/// How many of the audience's fields a fault lists.
const LISTED_MAX: usize = 20;

/// A place where a template names a field of the audience.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct NamedField {
    /// The path of the campaign's field: `spec.content.html`.
    pub path: String,
    /// The line of the template, from 1.
    pub line: usize,
    /// The name of the audience's field.
    pub name: String,
    /// What is read of the field, in `{{ name.attribute }}`: there is no such thing where the field is a text.
    pub attribute: Option<String>,
    /// Whether the message can be made without the field: it has a default, or is only asked for.
    pub is_optional: bool,
    /// Fields without which this place is never reached: the conditions around it.
    pub only_with: Arc<BTreeSet<String>>,
}

impl NamedField {
    /// What it occupies, bytes.
    #[must_use]
    pub fn cost(&self) -> usize {
        let names: usize = self.only_with.iter().map(|name| size_of::<String>() + name.len()).sum();
        // A B-tree node has room for several names.
        let tree = if self.only_with.is_empty() { 0 } else { 12 * size_of::<String>() };
        2 * size_of::<Self>() + self.path.len() + self.name.len() + self.attribute.as_ref().map_or(0, String::len) + names + tree
    }
}

impl Content {
    /// Every template of the fields, with the path of its field.
    pub fn templates(&self) -> Vec<(String, &str)> {
        let mailboxes = [("spec.from.name", Some(&self.from)), ("spec.replyTo.name", self.reply_to.as_ref())];
        let names = mailboxes.into_iter().filter_map(|(path, mailbox)| Some((path.to_owned(), mailbox?.name.as_deref()?)));
        let sets = self.written().flat_map(|written| {
            [
                (written.subject_path.clone(), written.subject),
                (written.path("preheader"), written.preheader),
                (written.path("html"), written.html.map(AsRef::as_ref)),
                (written.path("mjml"), written.mjml.map(AsRef::as_ref)),
                (written.path("text"), written.text.map(AsRef::as_ref)),
            ]
        });
        let page = (UNSUBSCRIBE.to_owned(), self.unsubscribe_url.as_deref());
        let bodies = sets.chain([page]).filter_map(|(path, source)| Some((path, source?)));
        let headers = self.headers.iter().enumerate().map(|(index, header)| (format!("spec.headers[{index}].value"), &*header.value));
        let files = self.attachments.iter().enumerate();
        let files = files.map(|(index, file)| (format!("spec.content.attachments[{index}].filename"), &*file.filename));
        names.chain(bodies).chain(headers).chain(files).collect()
    }
}

/// The fields that a campaign's templates name, each line once. A template with a syntax error names none.
#[must_use]
pub fn fields_named(content: &Content) -> Vec<NamedField> {
    let templates = content.templates().into_iter().map(|(path, source)| {
        let is_markup = is_html(&path);
        (path, if is_markup { markup(&source.into()) } else { unmarked(&source.into()) })
    });
    let templates: Vec<(String, Arc<str>)> = templates.collect();
    let parts = content.parts.iter().flat_map(|parts| parts.texts().filter_map(move |(name, _)| Some((name, parts.source(name, true)?))));
    let parts: Vec<(&str, Arc<str>)> = parts.collect();
    let known: BTreeMap<&str, Known<'_>> = parts.iter().filter_map(|(name, source)| Some((*name, Known::of(name, source)?))).collect();
    let mut of_parts = BTreeSet::new();
    let named = templates.iter().flat_map(|(path, source)| named_in(path, source, &known));
    // A part that several templates name is read for each.
    let named = named.filter(|field| part_named(&field.path).is_none() || of_parts.insert(field.clone()));
    let has_link = content.one_click || content.unsubscribe_url.is_some();
    named.filter(|field| field.name != LINK || !has_link || field.path == UNSUBSCRIBE).collect()
}

/// The fields that templates need and that nobody in the audience has: no message can be made where they are named. `known` are the
/// fields of the audience, `email` among them; where `are_texts`, as in a table, they have no attributes.
#[must_use]
pub fn missing_fields(named: &[NamedField], known: &[&str], are_texts: bool) -> Vec<Fault> {
    let has = |name: &str| known.contains(&name);
    let mut told = BTreeSet::new();
    let needed = named.iter().filter(|field| !field.is_optional && field.only_with.iter().all(|name| has(name)));
    let missing = needed.filter(|field| has(&field.name) == field.attribute.is_some() && (are_texts || field.attribute.is_none()));
    let missing = missing.filter(|field| told.insert((&field.path, &field.name, &field.attribute)));
    missing.map(|field| field.attribute.as_ref().map_or_else(|| fault(field, known), |attribute| of_text(field, attribute))).collect()
}

/// What is read of a text as if it were an object.
fn of_text(NamedField { path, line, name, .. }: &NamedField, attribute: &str) -> Fault {
    let field = written(name);
    let quote = format!("{field}.{attribute}");
    let message = format!(
        "line {line}: field `{name}` is a text, as every column of a CSV file is, and has no `{attribute}`; write `{{{{ {field} }}}}`, or make a column of `{attribute}`"
    );
    Fault::new(path, message).quoting(quote)
}

/// Fields that nobody in the audience has, that the templates can do without, and whose names are probably misspelt: the likely
/// field is named nowhere.
#[must_use]
pub fn misspelt_fields(named: &[NamedField], known: &[&str]) -> Vec<Fault> {
    let is_named = |name: &str| named.iter().any(|field| field.name == name);
    let mut told = BTreeSet::new();
    let absent = named.iter().filter(|field| field.attribute.is_none() && field.is_optional && !known.contains(&&*field.name));
    let misspelt = absent.filter_map(|field| {
        let near = nearest(&field.name, known.iter().copied()).filter(|near| !is_named(near))?;
        let message = format!("line {}: the audience has no field `{}`; did you mean `{}`?", field.line, field.name, written(near));
        told.insert((&field.path, &field.name)).then(|| Fault::new(&field.path, message))
    });
    misspelt.collect()
}

fn fault(field: &NamedField, known: &[&str]) -> Fault {
    let NamedField { path, line, name, .. } = field;
    if name == LINK && path != UNSUBSCRIBE {
        let message = format!(
            "line {line}: `{name}` is the unsubscribe link, and the campaign has none; set `spec.unsubscribe: {{oneClick: {{}}}}`, or give the audience a field of that name"
        );
        return Fault::new(path, message);
    }
    let near = nearest(name, known.iter().copied()).map(|near| format!("; did you mean `{}`?", written(near)));
    let mut listed: Vec<String> = known.iter().take(LISTED_MAX).map(|name| format!("`{name}`")).collect();
    if known.len() > LISTED_MAX {
        listed.push(format!("and {} more", known.len() - LISTED_MAX));
    }
    let default = format!("{{{{ {} | default(\"…\") }}}}", written(name));
    Fault::new(
        path,
        format!(
            "line {line}: the audience has no field `{name}`{} Its fields are {}. Where a field may be missing, write `{default}`",
            near.as_deref().unwrap_or("."),
            listed.join(", ")
        ),
    )
}

/// A field as a template reads it.
fn written(name: &str) -> String {
    let is_name = name.chars().all(|c| c.is_alphanumeric() || c == '_') && !name.starts_with(|c: char| c.is_numeric());
    if is_name { name.to_owned() } else { format!("fields[\"{name}\"]") }
}

/// The tree of a template that the engine's parser accepts, and in which there is anything to find.
pub(super) fn tree(source: &str) -> Option<Stmt<'_>> {
    // The guard bounds how deep the parser, and this walk, recurse.
    if !is_template(source) && mjml::includes(source).next().is_none() || guard::guarded(source).is_err() {
        return None;
    }
    std::panic::catch_unwind(|| parse(source, "", SyntaxConfig::default()).ok()).ok().flatten()
}

impl<'s> Known<'s> {
    fn of(name: &str, source: &'s str) -> Option<Self> {
        Some(Self { path: parts::path_of(name), source, tree: tree(source)? })
    }
}

fn named_in<'s>(path: &str, source: &'s str, parts: &'s BTreeMap<&'s str, Known<'s>>) -> BTreeSet<NamedField> {
    let Some(tree) = tree(source) else { return BTreeSet::new() };
    let own = Known { path: path.to_owned(), source, tree };
    let found = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| walked(&own, parts))).unwrap_or_default();
    let mut ends: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    let named = found.into_iter().map(|Found { part, name, attribute, offset, is_optional, only_with }| {
        let known = part.and_then(|part| parts.get(part)).unwrap_or(&own);
        let ends = ends.entry(&*known.path).or_insert_with(|| memchr::memchr_iter(b'\n', known.source.as_bytes()).collect());
        let line = ends.partition_point(|end| *end < offset as usize) + 1;
        NamedField { path: known.path.clone(), line, name, attribute, is_optional, only_with }
    });
    named.collect()
}
