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
    let mut aside: Vec<&str> = Vec::new();
    let mut put_aside = |bare: &mut String, piece| {
        // Cannot fail: a String takes everything.
        let _ = write!(bare, "{mark}{}z", aside.len());
        aside.push(piece);
    };
    let mut position = 0;
    let mut angles = risky_angles(source).into_iter().peekable();
    loop {
        let tag = tags::next(source, position);
        let until = tag.map_or(source.len(), |tag| tag.start);
        while let Some(angle) = angles.next_if(|angle| *angle < until) {
            if angle >= position {
                bare.push_str(&source[position..angle]);
                put_aside(&mut bare, ">");
                position = angle + 1;
            }
        }
        bare.push_str(&source[position..until]);
        let Some(tag) = tag else { break };
        let piece = &source[tag.start..tag.end];
        if tag.kind == Kind::Comment {
            // Its line breaks stay, for the line numbers of faults.
            bare.extend(piece.matches('\n'));
        } else {
            put_aside(&mut bare, piece);
        }
        position = tag.end;
    }

    // Other people's templates reach a parser that has panicked before: that must not end the process.
    let rendered = std::panic::catch_unwind(|| mrml::parse(&bare).map(|parsed| parsed.element.render(&RenderOptions::default())));
    let html = rendered
        .map_err(|_| "the MJML parser failed on it; write special characters in text as entities (`&gt;` for `>`)".to_owned())?
        .map_err(|error| told(&error, &bare, &mark, &aside))?
        .map_err(|error| format!("the MJML cannot be turned into HTML: {error}"))?;
    if let Some(at) = html.find("<mj-") {
        // What the parser does not know it passes on, and no mail program knows it either.
        let name: String = html[at + 1..].chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '-').collect();
        let line = source.find(&format!("<{name}")).map_or(1, |at| source[..at].matches('\n').count() + 1);
        return Err(format!("line {line}: MJML has no element `{name}`, or not there"));
    }
    let (restored, seen) = put_back(&html, &mark, &aside);
    if let Some(index) = seen.iter().position(|seen| !seen) {
        return Err(format!(
            "`{}` stands where MJML keeps no text; put it into <mj-raw> or into an attribute that MJML knows",
            aside[index]
        ));
    }
    Ok(restored)
}

/// Every `>` in text with one ASCII character before it and one beyond ASCII before that (`Voilà > là`): htmlparser 0.2
/// cuts there within a character, and panics.
fn risky_angles(source: &str) -> Vec<usize> {
    let bytes = source.as_bytes();
    let mut found = Vec::new();
    let (mut is_tag, mut quote, mut position) = (false, None, 0);
    while let Some(&byte) = bytes.get(position) {
        match (byte, quote) {
            _ if let Some(tag) = tags::at(source, position) => {
                position = tag.end;
                continue;
            }
            (_, Some(open)) => quote = quote.filter(|_| byte != open),
            (b'"' | b'\'', None) if is_tag => quote = Some(byte),
            (b'<', None) if bytes[position..].starts_with(b"<!--") => {
                position = memchr::memmem::find(&bytes[position..], b"-->").map_or(bytes.len(), |at| position + at + 3);
                continue;
            }
            (b'<', None) => is_tag = bytes.get(position + 1).is_some_and(|next| next.is_ascii_alphabetic() || matches!(next, b'/' | b'!')),
            (b'>', None) if is_tag => is_tag = false,
            (b'>', None) if position >= 2 && !source.is_char_boundary(position - 2) => found.push(position),
            _ => {}
        }
        position += 1;
    }
    found
}

/// The text with its tags, and which of them it has.
fn put_back(html: &str, mark: &str, aside: &[&str]) -> (String, Vec<bool>) {
    let mut seen = vec![false; aside.len()];
    let mut text = String::with_capacity(html.len() + 1024);
    let mut rest = html;
    while let Some(at) = rest.find(mark) {
        text.push_str(&rest[..at]);
        rest = &rest[at + mark.len()..];
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        if let Some((index, tag)) = rest[..digits].parse::<usize>().ok().and_then(|index| Some((index, aside.get(index)?))) {
            text.push_str(tag);
            seen[index] = true;
        }
        rest = rest[digits..].strip_prefix('z').unwrap_or(&rest[digits..]);
    }
    text.push_str(rest);
    (text, seen)
}

/// The error with the line of the source, which lost the line breaks within its tags.
fn told(error: &Error, bare: &str, mark: &str, aside: &[&str]) -> String {
    let line_at = |position: usize| {
        let (before, _) = put_back(bare.get(..position).unwrap_or(bare), mark, aside);
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
