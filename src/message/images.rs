//! Images that no reader of the mail can see: paths on the author's machine, and parts of a message that has none.

use super::{Content, Fault};

/// Elements that show an image.
const ELEMENTS: &[&str] = &["<img", "<mj-image"];

/// Images of a campaign that cannot be shown, each at its line; a source that begins with a tag of the template may be anything.
#[must_use]
pub fn unreachable_images(content: &Content) -> Vec<Fault> {
    let bodies = [("spec.content.html", &content.html), ("spec.content.mjml", &content.mjml)];
    bodies.into_iter().filter_map(|(path, body)| Some((path, body.as_deref()?))).flat_map(|(path, body)| in_body(path, body)).collect()
}

fn in_body(path: &str, body: &str) -> Vec<Fault> {
    let mut faults = Vec::new();
    for at in memchr::memchr_iter(b'<', body.as_bytes()) {
        let Some(element) = ELEMENTS.iter().find_map(|name| after_name(&body[at..], name)) else { continue };
        let Some(source) = source_of(element) else { continue };
        let why = if source.get(..4).is_some_and(|scheme| scheme.eq_ignore_ascii_case("cid:")) {
            "a message has no inline images"
        } else if is_path(source) {
            "a path of this machine means nothing to the reader's"
        } else {
            continue;
        };
        let line = memchr::memchr_iter(b'\n', &body.as_bytes()[..at]).count() + 1;
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
