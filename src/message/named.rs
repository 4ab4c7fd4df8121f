//! The fields of a recipient that templates name, found before anybody is mailed.
//!
//! The engine's own tree is walked in the order in which it runs. A field is needed unless the template itself allows for its
//! absence: `{{ name | default("friend") }}`, `{% if name %}`, `name is defined`, `name or "friend"`, and what such a condition
//! protects.

mod walk;

use std::{collections::BTreeSet, sync::Arc};

use minijinja::{machinery::parse, syntax::SyntaxConfig};
use walk::{Found, walked};

use super::{Content, Fault, LINK, UNSUBSCRIBE, engine::is_template, guard, markup, unmarked};
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

/// The fields that a campaign's templates name, each line once. A template with a syntax error names none.
#[must_use]
pub fn fields_named(content: &Content) -> Vec<NamedField> {
    let mailboxes = [("spec.from.name", Some(&content.from)), ("spec.replyTo.name", content.reply_to.as_ref())];
    let names = mailboxes.into_iter().filter_map(|(path, mailbox)| Some((path.to_owned(), mailbox?.name.as_deref()?.into())));
    let headers = content.headers.iter().enumerate();
    let headers = headers.map(|(index, header)| (format!("spec.headers[{index}].value"), header.value.as_str().into()));
    let bodies = [
        ("spec.subject", Some(content.subject.as_str().into())),
        ("spec.content.html", content.html.as_ref().map(markup)),
        ("spec.content.mjml", content.mjml.as_ref().map(markup)),
        ("spec.content.text", content.text.as_ref().map(unmarked)),
        (UNSUBSCRIBE, content.unsubscribe_url.as_deref().map(Into::into)),
    ];
    let bodies = bodies.into_iter().filter_map(|(path, source)| Some((path.to_owned(), source?)));
    let files = content.attachments.iter().enumerate();
    let files = files.map(|(index, file)| (format!("spec.content.attachments[{index}].filename"), file.filename.as_str().into()));
    let named = names.chain(bodies).chain(headers).chain(files).flat_map(|(path, source)| named_in(&path, &source));
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
            "line {line}: `{name}` is the link by which a recipient unsubscribes, and the campaign has none; set `spec.unsubscribe: {{oneClick: {{}}}}`, or give the audience a field of that name"
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

fn named_in(path: &str, source: &str) -> BTreeSet<NamedField> {
    // The guard bounds how deep the parser, and this walk, recurse.
    if !is_template(source) || guard::guarded(source).is_err() {
        return BTreeSet::new();
    }
    let found = std::panic::catch_unwind(|| Some(walked(&parse(source, path, SyntaxConfig::default()).ok()?)));
    let ends: Vec<usize> = memchr::memchr_iter(b'\n', source.as_bytes()).collect();
    let line = |offset: u32| ends.partition_point(|end| *end < offset as usize) + 1;
    let named = |Found { name, attribute, offset, is_optional, only_with }| {
        let path = path.to_owned();
        NamedField { path, line: line(offset), name, attribute, is_optional, only_with }
    };
    found.ok().flatten().unwrap_or_default().into_iter().map(named).collect()
}
