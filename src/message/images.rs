//! Images that no reader of the mail can see: paths on the author's machine, and files that do not go with the message; and files that
//! go with it for nothing.

use std::collections::BTreeSet;

use super::{
    Content, Fault,
    parts::{Parts, path_of},
};

/// Elements that show an image.
const ELEMENTS: &[&str] = &["<img", "<mj-image"];

/// Images of a campaign that cannot be shown, each at its line; a source that begins with a tag of the template may be anything.
#[must_use]
pub fn unreachable_images(content: &Content) -> Vec<Fault> {
    let known: BTreeSet<&str> = content.attachments.iter().filter_map(|file| file.inline.as_deref()).collect();
    let mut faults: Vec<Fault> = bodies(content).flat_map(|(path, body)| in_body(&path, body)).collect();
    let shown: Vec<(String, usize, &str)> =
        bodies(content).flat_map(|(path, body)| references(body).map(move |(at, id)| (path.clone(), line_of(body, at), id))).collect();
    for (path, line, id) in shown.iter().filter(|(_, _, id)| !is_made(id) && !known.contains(id)) {
        let ids: Vec<String> = known.iter().map(|id| format!("`{id}`")).collect();
        let advice = if ids.is_empty() {
            format!("give an attachment `inline: {id}`, or write an https:// URL")
        } else {
            format!("the attachments with `inline` have the ids {}", ids.join(", "))
        };
        faults.push(Fault::new(path.clone(), format!("line {line}: `cid:{id}` will not be shown: no attachment has this id; {advice}")));
    }
    // An id that a template makes may be any.
    if !shown.iter().any(|(_, _, id)| is_made(id)) {
        let unused = content.attachments.iter().enumerate().filter_map(|(index, file)| Some((index, file.inline.as_deref()?)));
        for (index, id) in unused.filter(|(_, id)| !shown.iter().any(|(_, _, shown)| shown == id)) {
            let what = format!(
                "the HTML does not show it: write `cid:{id}` as the source of an image, or remove `inline` so that it is an attachment"
            );
            faults.push(Fault::new(format!("spec.content.attachments[{index}].inline"), what));
        }
    }
    faults
}

fn bodies(content: &Content) -> impl Iterator<Item = (String, &str)> {
    let bodies = content.written().flat_map(|written| [(written.path("html"), written.html), (written.path("mjml"), written.mjml)]);
    let bodies = bodies.filter_map(|(path, body)| Some((path, &**body?)));
    let parts = content.parts.iter().flat_map(Parts::texts).map(|(name, text)| (path_of(name), &**text));
    bodies.chain(parts)
}

/// The ids of files that HTML shows (RFC 2392): attributes and `url()` whose values begin with `cid:`.
fn references(body: &str) -> impl Iterator<Item = (usize, &str)> {
    memchr::memchr_iter(b':', body.as_bytes()).filter_map(|colon| {
        let start = colon.checked_sub(3)?;
        let is_value = body.get(start..colon)?.eq_ignore_ascii_case("cid")
            && body[..start].trim_end_matches([' ', '\t']).ends_with(['"', '\'', '=', '(']);
        let rest = body.get(colon + 1..).filter(|_| is_value)?;
        let end = if rest.starts_with('{') {
            rest.find(['"', '\'']).unwrap_or(rest.len())
        } else {
            rest.find(|c: char| c.is_whitespace() || matches!(c, '"' | '\'' | ')' | '>')).unwrap_or(rest.len())
        };
        Some((start, &rest[..end])).filter(|(_, id)| !id.is_empty())
    })
}

fn is_made(id: &str) -> bool {
    id.contains("{{") || id.contains("{%")
}

fn line_of(body: &str, at: usize) -> usize {
    memchr::memchr_iter(b'\n', &body.as_bytes()[..at]).count() + 1
}

fn in_body(path: &str, body: &str) -> Vec<Fault> {
    let mut faults = Vec::new();
    for at in memchr::memchr_iter(b'<', body.as_bytes()) {
        let Some(element) = ELEMENTS.iter().find_map(|name| after_name(&body[at..], name)) else { continue };
        let Some(source) = source_of(element) else { continue };
        if !is_path(source) {
            continue;
        }
        let why = "a path of this machine means nothing to the reader's";
        let line = line_of(body, at);
        let shown: String = source.chars().take(100).collect();
        faults.push(Fault::new(
            path,
            format!("line {line}: the image `{shown}` will not be shown: {why}. Put it on a web server, and write its https:// URL"),
        ));
    }
    faults
}

/// The attributes of an element, where the text begins with it.
fn after_name<'h>(text: &'h str, name: &str) -> Option<&'h str> {
    let (start, rest) = text.split_at_checked(name.len())?;
    (start.eq_ignore_ascii_case(name) && rest.starts_with(|c: char| c.is_ascii_whitespace())).then_some(rest)
}

/// The value of `src` among attributes.
fn source_of(attributes: &str) -> Option<&str> {
    let mut rest = attributes;
    loop {
        rest = rest.trim_ascii_start().trim_start_matches('/').trim_ascii_start();
        let length = rest.find(|c: char| c.is_ascii_whitespace() || matches!(c, '=' | '>'))?;
        let (name, after) = rest.split_at(length);
        let after = after.trim_ascii_start();
        let Some(value) = after.strip_prefix('=').map(str::trim_ascii_start) else {
            if after.starts_with('>') {
                return None;
            }
            rest = after;
            continue;
        };
        let (value, after) = match value.chars().next().filter(|quote| matches!(quote, '"' | '\'')) {
            Some(quote) => value[1..].split_once(quote)?,
            None => value.split_at(value.find(|c: char| c.is_ascii_whitespace() || c == '>')?),
        };
        if name.eq_ignore_ascii_case("src") {
            return Some(value.trim_ascii());
        }
        rest = after;
    }
}

fn is_path(source: &str) -> bool {
    let has_scheme = source.split_once(':').is_some_and(|(scheme, _)| {
        scheme.starts_with(|c: char| c.is_ascii_alphabetic())
            && scheme.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.'))
    });
    let is_drive = source.as_bytes().get(1) == Some(&b':');
    !source.is_empty() && !source.starts_with("//") && !source.starts_with('{') && (!has_scheme || is_drive || source.starts_with("file:"))
}
