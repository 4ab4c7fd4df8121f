//! MJML to HTML, once for a campaign: the template's tags are put aside, and put back into the HTML.
//!
//! What mrml would make of quotes, `<` and `&` within a tag is thereby no question, in attributes as in text.

use std::fmt::Write;

use mrml::prelude::{parser::Error, render::RenderOptions};

use super::tags::{self, Kind};

/// How deep elements may be nested: the parser calls itself for each.
const DEPTH_MAX: usize = 100;

/// Elements of HTML that have no end (HTML, 13.1.2).
const VOID: [&str; 14] = ["area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "param", "source", "track", "wbr"];

/// The HTML template of an MJML template.
///
/// # Errors
/// What is wrong, with the line of the MJML where it is known.
pub(super) fn to_html(source: &str) -> Result<String, String> {
    check_depth(source)?;
    // A word that the source does not have, so that putting back cannot miss.
    let mark = (0..).map(|n| format!("mjtag{n}x")).find(|mark| !source.contains(mark)).unwrap_or_default();
    let mut bare = String::with_capacity(source.len());
    let mut aside = Vec::new();
    let mut position = 0;
    while let Some(tag) = tags::next(source, position) {
        bare.push_str(&source[position..tag.start]);
        if tag.kind == Kind::Comment {
            // Its line breaks stay, for the line numbers of faults.
            bare.extend(source[tag.start..tag.end].matches('\n'));
        } else {
            // Cannot fail: a String takes everything.
            let _ = write!(bare, "{mark}{}z", aside.len());
            aside.push(&source[tag.start..tag.end]);
        }
        position = tag.end;
    }
    bare.push_str(&source[position..]);

    let parsed = mrml::parse(&bare).map_err(|error| told(&error, &bare, &mark, &aside))?;
    let html = parsed.element.render(&RenderOptions::default()).map_err(|error| format!("the MJML cannot be turned into HTML: {error}"))?;
    if let Some(at) = html.find("<mj-") {
        // What the parser does not know it passes on, and no mail program knows it either.
        let name: String = html[at + 1..].chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '-').collect();
        let line = source.find(&format!("<{name}")).map_or(1, |at| source[..at].matches('\n').count() + 1);
        return Err(format!("line {line}: MJML has no element `{name}`, or not there"));
    }
    let lost = aside.iter().enumerate().find(|(index, _)| !html.contains(&format!("{mark}{index}z")));
    if let Some((_, tag)) = lost {
        return Err(format!("`{tag}` stands where MJML keeps no text; put it into <mj-raw> or into an attribute that MJML knows"));
    }
    Ok(put_back(&html, &mark, &aside))
}

fn put_back(html: &str, mark: &str, aside: &[&str]) -> String {
    let mut text = String::with_capacity(html.len() + 1024);
    let mut rest = html;
    while let Some(at) = rest.find(mark) {
        text.push_str(&rest[..at]);
        rest = &rest[at + mark.len()..];
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        text.push_str(rest[..digits].parse::<usize>().ok().and_then(|index| aside.get(index)).copied().unwrap_or_default());
        rest = rest[digits..].strip_prefix('z').unwrap_or(&rest[digits..]);
    }
    text.push_str(rest);
    text
}

/// The error with the line of the source, which lost the line breaks within its tags.
fn told(error: &Error, bare: &str, mark: &str, aside: &[&str]) -> String {
    let line_at = |position: usize| {
        let before = put_back(bare.get(..position).unwrap_or(bare), mark, aside);
        before.matches('\n').count() + 1
    };
    let named = |position: usize| {
        let element: String =
            bare.get(position..).unwrap_or_default().chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '-').collect();
        if element.is_empty() || element.starts_with(mark) { String::new() } else { format!(" `{element}`") }
    };
    match error {
        Error::UnexpectedElement { position, .. } => {
            format!("line {}: the element{} may not stand there in MJML", line_at(position.start), named(position.start))
        }
        Error::UnexpectedToken { position, .. } => {
            format!(
                "line {}: this may not stand there in MJML; template tags between elements belong into <mj-raw>",
                line_at(position.start)
            )
        }
        Error::MissingAttribute { name, position, .. } => format!("line {}: the attribute `{name}` is missing", line_at(position.start)),
        Error::InvalidAttribute { position, .. } => format!("line {}: the attribute is not a good one", line_at(position.start)),
        Error::InvalidFormat { position, .. } => format!("line {}: a value has the wrong form", line_at(position.start)),
        Error::IncludeLoaderError { position, .. } => {
            format!("line {}: <mj-include> is not read; put the content here", line_at(position.start))
        }
        Error::EndOfStream { .. } => "the MJML ends before all its elements are closed".to_owned(),
        Error::SizeLimit { .. } => "the MJML is too large".to_owned(),
        Error::ParserError { source, .. } => format!("line {}: it is not well-formed: {source}", source.pos().row),
        Error::NoRootNode => "there is no <mjml> element".to_owned(),
    }
}

fn check_depth(source: &str) -> Result<(), String> {
    let mut depth = 0_usize;
    for at in memchr::memchr_iter(b'<', source.as_bytes()) {
        let rest = &source[at + 1..];
        if rest.starts_with('/') {
            depth = depth.saturating_sub(1);
            continue;
        }
        let name: String = rest.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '-').take(16).collect();
        let end = memchr::memchr(b'>', rest.as_bytes()).unwrap_or(rest.len());
        if name.is_empty() || rest[..end].ends_with('/') || VOID.contains(&name.to_ascii_lowercase().as_str()) {
            continue;
        }
        depth += 1;
        if depth > DEPTH_MAX {
            return Err(format!("line {}: elements are nested more than {DEPTH_MAX} deep", source[..at].matches('\n').count() + 1));
        }
    }
    Ok(())
}
