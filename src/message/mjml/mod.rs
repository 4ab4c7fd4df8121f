//! MJML to HTML, once for a campaign. Template tags stay where they are, in attributes as in text.
//!
//! What comes out is what the npm package `mjml` 5.4.1 makes of it (LICENSE beside this file; tests/mjml.py compares them), with three
//! differences: a mistake by which something would be missing from the mail is a fault, a double quote in an attribute
//! stays in it, and the ids of a mail are the same every time.

mod accordion;
mod carousel;
mod column;
mod element;
mod head;
mod hero;
mod include;
mod inline;
mod navbar;
mod page;
mod parse;
mod section;
mod selector;
mod simple;
mod social;
mod table;
mod value;

use std::{collections::HashSet, sync::Arc};

pub(super) use self::parse::end_tag;
use self::{
    element::{Context, Place, Render},
    head::{Head, PREVIEW},
    include::Included,
    parse::{Lines, Node},
};
use super::tags::{self, Kind, Tag};

pub(super) use self::include::style_sheet;

/// The element that puts a part in its place.
pub(super) const INCLUDE: &str = "mj-include";

/// What is wrong with MJML.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct MjmlFault {
    /// The part that it is in, if it is in one.
    pub(super) part: Option<String>,
    /// What it is, with the line where it is known.
    pub(super) message: String,
}

/// Where a source includes parts, and their names; comments are none of it.
pub(super) fn includes(source: &str) -> impl Iterator<Item = (usize, String)> {
    let mut position = 0;
    let mut lines = None;
    std::iter::from_fn(move || {
        while let Some(at) = memchr::memchr(b'<', source.as_bytes().get(position..)?).map(|at| position + at) {
            position = at + 1;
            if let Some(end) = parse::declaration(source, at) {
                position = end;
            } else if let Some(tag) = include_at(source, at) {
                position = tag.end;
                if let Some(path) = tag.value("path") {
                    return Some((lines.get_or_insert_with(|| Lines::of(source)).at(at), path.to_owned()));
                }
            }
        }
        None
    })
}

/// The opening tag that includes a part, if it is there. Whatever is no such tag is not read to its end.
fn include_at(source: &str, at: usize) -> Option<parse::Tag> {
    let name = source.get(at + 1..at + 1 + INCLUDE.len())?;
    if name.eq_ignore_ascii_case(INCLUDE) { parse::tag(source, at).filter(|tag| tag.name == INCLUDE) } else { None }
}

/// The HTML template of an MJML template; `part` finds the texts of what it includes.
///
/// # Errors
/// What is wrong, with the line of the MJML where it is known.
pub(super) fn to_html(source: &str, part: &dyn Fn(&str) -> Option<Arc<str>>) -> Result<String, MjmlFault> {
    let mut included = Included::new(part);
    let html = page(source, &mut included);
    html.map_err(|message| included.located(message))
}

fn page(source: &str, included: &mut Included<'_>) -> Result<String, String> {
    let mut root = include::parse(source, included)?;
    check(&root)?;
    let head = Head::read(&root)?;
    let mut bodies = root.children.iter_mut().filter(|node| node.name() == "mj-body");
    let Some(body) = bodies.next() else { return Err("there is no <mj-body>, so the mail would be empty".to_owned()) };
    if let Some(second) = bodies.next() {
        return Err(format!("line {}: there is a second <mj-body>", second.line));
    }
    if body.children.iter().all(|node| node.is_comment) {
        return Err(format!("line {}: the <mj-body> has no content, so the mail would be empty", body.line));
    }
    head.apply(body, "");

    let mut render = Render::new(&head);
    let element = render.element(body, &[], Context::default(), Place::default());
    let width = element.get("width").unwrap_or_default().to_owned();
    let inner = render.children(&element, &Context { width, ..Context::default() }, &[], &mut |render, child| render.render(child));
    let attributes = value::attributes(&[("id", element.get("id")), ("class", element.get("css-class"))]);
    let html = head.body(&attributes, element.get("background-color"), &inner);
    if let Some(fault) = render.faults.first() {
        return Err(fault.clone());
    }
    let html = merge_conditionals(&head.page(html, &render)?);
    check_tags(source, &Lines::of(source), &html)?;
    for (text, lines) in included.texts() {
        check_tags(text, &lines, &html)?;
    }
    Ok(html)
}

/// Whether the HTML that was made of MJML has its `mj-preview`.
pub(super) fn has_preview(html: &str) -> bool {
    html.contains(PREVIEW)
}

/// Looks for template tags in attributes that MJML does not have.
fn check(node: &Node) -> Result<(), String> {
    let open = matches!(node.name(), "mj-all" | "mj-class" | "mj-selector" | "mj-html-attribute");
    for (name, value) in &node.own {
        if !open
            && !node.component.has(name)
            && let Some(tag) = tags::next(value, 0)
        {
            return Err(format!(
                "line {}: `{}` is in `{name}`, an attribute that <{}> does not have; put it into <mj-raw> or into one that it has",
                node.line,
                &value[tag.start..tag.end],
                node.name()
            ));
        }
    }
    node.children.iter().try_for_each(check)
}

/// Looks for template tags that would be missing from the mail.
fn check_tags(source: &str, lines: &Lines, html: &str) -> Result<(), String> {
    let printed: HashSet<&str> = all_tags(html).map(|tag| &html[tag.start..tag.end]).collect();
    let missing = all_tags(source).find(|tag| tag.kind != Kind::Comment && !printed.contains(&source[tag.start..tag.end]));
    missing.map_or(Ok(()), |tag| {
        let line = lines.at(tag.start);
        let text = &source[tag.start..tag.end];
        Err(format!("line {line}: `{text}` is where MJML prints nothing; put it into <mj-raw> or into another attribute"))
    })
}

fn all_tags(source: &str) -> impl Iterator<Item = Tag> {
    std::iter::successors(tags::next(source, 0), |tag| tags::next(source, tag.end))
}

/// Joins what only Outlook reads where one piece follows the other.
fn merge_conditionals(html: &str) -> String {
    const END: &str = "<![endif]-->";
    let mut out = String::with_capacity(html.len());
    let mut rest = html;
    while let Some(at) = rest.find(END) {
        let after = &rest[at + END.len()..];
        // The end of what all but Outlook read is one comment, and stays whole.
        let next = if rest[..at].ends_with("<!--") { None } else { after.trim_start().strip_prefix("<!--[if mso | IE]>") };
        out.push_str(&rest[..if next.is_some() { at } else { at + END.len() }]);
        rest = next.unwrap_or(after);
    }
    out.push_str(rest);
    out
}
