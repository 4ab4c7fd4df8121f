//! The plain text of an HTML body: links as `text (url)`, blocks as lines, entities decoded, hidden content left out.
//!
//! It works on rendered HTML, and on an HTML template, whose tags it skips: the resulting text template
//! renders as fast as a hand-written one. Where that is not certain to be right, it returns `None`, and the
//! text is made from each rendered body.
//!
//! The markup is read here, and not by html5gum as in `inspect`, because of those tags: to it `{{ "<br>" }}` holds an element, and the
//! value of `href="{{ link("a") }}"` ends at the second quote. What is uncertain would go unnoticed.

mod writer;

use self::writer::{List, Writer, words};
use super::{
    guard,
    tags::{self, Kind},
};

/// Separated by a blank line.
const PARAGRAPHS: [&str; 10] = ["p", "h1", "h2", "h3", "h4", "h5", "h6", "table", "blockquote", "dl"];
/// On lines of their own.
const BLOCKS: [&str; 18] = [
    "div",
    "tr",
    "section",
    "article",
    "header",
    "footer",
    "main",
    "nav",
    "aside",
    "address",
    "figure",
    "figcaption",
    "form",
    "fieldset",
    "dt",
    "dd",
    "center",
    "body",
];
/// Their content is not text.
const DROPPED: [&str; 7] = ["head", "style", "script", "title", "template", "noscript", "svg"];

/// The text of rendered HTML.
pub(super) fn from_html(html: &str) -> String {
    // Without template tags nothing is uncertain.
    convert(html, false).unwrap_or_default()
}

/// The text template of an HTML template, where that is certain.
pub(super) fn from_template(html: &str) -> Option<String> {
    convert(html, true)
}

/// Removes what the tags of a text template leave behind: surplus blank lines and spaces.
pub(super) fn tidy(text: String) -> String {
    let untidy = ["\n\n\n", "\n ", " \n", "  "].iter().any(|mess| memchr::memmem::find(text.as_bytes(), mess.as_bytes()).is_some());
    if !untidy && !text.starts_with(['\n', ' ']) && !text.ends_with(['\n', ' ']) {
        return text;
    }
    let mut writer = Writer::default();
    for (index, line) in text.split('\n').enumerate() {
        if index > 0 {
            writer.newlines = (writer.newlines + 1).min(2);
        }
        for word in line.split(' ') {
            writer.space = true;
            writer.push(word);
        }
        writer.space = false;
    }
    writer.text
}

fn convert(html: &str, template: bool) -> Option<String> {
    let mut writer = Writer::default();
    let mut links: Vec<(String, usize)> = Vec::new();
    let mut position = 0;
    while position < html.len() {
        let rest = &html[position..];
        if template && let Some(tag) = tags::at(html, position) {
            let text = &html[tag.start..tag.end];
            match tag.kind {
                Kind::Comment => {}
                Kind::Raw => return None,
                Kind::Expression | Kind::Statement if depends_on_escaping(text) => return None,
                // What a part prints is HTML.
                Kind::Statement if tags::words(text).next().is_some_and(|word| guard::OF_PARTS.contains(&word)) => return None,
                Kind::Expression => writer.push(text),
                Kind::Statement => writer.push_mark(text),
            }
            position = tag.end;
        } else if rest.starts_with("<!--") {
            let end = rest.find("-->").map_or(rest.len(), |at| at + 3);
            if template && rest[..end].contains("{%") {
                return None;
            }
            position += end;
        } else if rest.starts_with('<') && rest[1..].starts_with(|c: char| c.is_ascii_alphabetic() || matches!(c, '/' | '!' | '?')) {
            let element = Element::read(html, position, template)?;
            position = element.end;
            if !element.closes && element.is_hidden() {
                // A hidden image shows no text either.
                position = if element.is_empty { position } else { skip(html, &element, template)? };
                continue;
            }
            // Preserved lines, numbers and depths depend on what is printed: there may be a loop inside.
            let depends_on_data =
                matches!(&*element.name, "pre" | "ol") || (!writer.lists.is_empty() && element.name == "ul" && !element.closes);
            if template && depends_on_data {
                return None;
            }
            element_text(&mut writer, &mut links, &element);
        } else {
            let stop = |c: char| c == '<' || (template && c == '{');
            let first = rest.chars().next().map_or(1, char::len_utf8);
            let length = rest[first..].find(stop).map_or(rest.len(), |at| at + first);
            // Without the markup in between, it could form a tag with what follows.
            if template && rest[..length].ends_with('{') {
                return None;
            }
            if writer.pre > 0 {
                writer.verbatim(&rest[..length]);
            } else {
                words(&mut writer, &rest[..length], template)?;
            }
            position += length;
        }
    }
    Some(writer.text)
}

/// Whether a tag would have to print differently in HTML and in text.
fn depends_on_escaping(tag: &str) -> bool {
    tags::words(tag).any(|word| matches!(word, "safe" | "escape" | "e" | "autoescape" | "macro" | "call" | "tojson"))
}

fn element_text(writer: &mut Writer, links: &mut Vec<(String, usize)>, element: &Element) {
    match &*element.name {
        "br" => {
            writer.space = false;
            writer.newlines = (writer.newlines + 1).min(2);
        }
        "hr" => {
            writer.break_line(1);
            writer.push("---");
            writer.break_line(1);
        }
        "td" | "th" => writer.space = true,
        "img" => {
            if let Some(alt) = element.alt.as_deref().filter(|alt| !alt.trim().is_empty()) {
                writer.push(alt.trim());
            }
        }
        "a" if element.closes => {
            if let Some((href, start)) = links.pop()
                && !href.is_empty()
            {
                let shown = writer.text.get(start..).unwrap_or_default().trim();
                if shown != href && href.strip_prefix("mailto:") != Some(shown) {
                    let link = if shown.is_empty() { href } else { format!("({href})") };
                    writer.space = !shown.is_empty();
                    writer.push(&link);
                }
            }
        }
        "a" => {
            let href = element.href.as_deref().map(str::trim).unwrap_or_default();
            let href = if href.starts_with('#') || href.starts_with("javascript:") { "" } else { href };
            links.push((href.to_owned(), writer.text.len()));
        }
        "ul" | "ol" => list(writer, element),
        "li" => {
            writer.is_marked &= !element.closes;
            writer.break_line(1);
            if !element.closes {
                writer.item(element.start.as_deref().and_then(|number| number.trim().parse().ok()));
            }
        }
        "pre" => {
            writer.break_line(2);
            writer.pre = if element.closes { writer.pre.saturating_sub(1) } else { writer.pre + 1 };
            writer.pre_starts = !element.closes;
        }
        name if PARAGRAPHS.contains(&name) => writer.break_line(2),
        name if BLOCKS.contains(&name) => writer.break_line(1),
        _ => {}
    }
}

fn list(writer: &mut Writer, element: &Element) {
    let is_outer = writer.lists.len() <= usize::from(element.closes);
    writer.is_marked &= !element.closes;
    writer.break_line(if is_outer { 2 } else { 1 });
    if element.closes {
        writer.lists.pop();
    } else {
        let number = element.start.as_deref().and_then(|start| start.trim().parse().ok()).unwrap_or(1);
        writer.lists.push(List { next: (element.name == "ol").then_some(number), is_begun: false });
    }
}

/// Skips everything up to the end of an element.
fn skip(html: &str, element: &Element, template: bool) -> Option<usize> {
    let mut depth = 1_usize;
    let mut position = element.end;
    let is_raw = matches!(&*element.name, "style" | "script");
    while let Some(at) = memchr::memchr(b'<', &html.as_bytes()[position..]) {
        let start = position + at;
        let rest = &html[start + 1..];
        let closes = rest.starts_with('/');
        let name = rest.trim_start_matches('/');
        let same = name.get(..element.name.len()).is_some_and(|name| name.eq_ignore_ascii_case(&element.name))
            && !name[element.name.len()..].starts_with(|c: char| c.is_ascii_alphanumeric() || c == '-');
        if same && (closes || !is_raw) {
            let found = Element::read(html, start, template)?;
            position = found.end;
            depth = if found.closes { depth - 1 } else { depth + usize::from(!found.is_empty) };
            if depth == 0 {
                return (!template || !html[element.end..start].contains("{%")).then_some(position);
            }
        } else {
            position = start + 1;
        }
        // A head that is never closed ends where the body starts.
        if element.name == "head" && !closes && name.get(..4).is_some_and(|name| name.eq_ignore_ascii_case("body")) {
            return (!template || !html[element.end..start].contains("{%")).then_some(start);
        }
    }
    (!template || !html[element.end..].contains("{%")).then_some(html.len())
}

/// One tag of HTML.
#[derive(Debug, Default)]
struct Element {
    name: String,
    closes: bool,
    is_empty: bool,
    href: Option<String>,
    alt: Option<String>,
    style: Option<String>,
    /// The first number of a list, or an item's own.
    start: Option<String>,
    hidden: bool,
    end: usize,
}

impl Element {
    fn read(html: &str, start: usize, template: bool) -> Option<Self> {
        let bytes = html.as_bytes();
        let mut element = Self { closes: bytes.get(start + 1) == Some(&b'/'), ..Self::default() };
        let mut position = start + 1 + usize::from(element.closes);
        let length = bytes[position..].iter().take_while(|byte| byte.is_ascii_alphanumeric() || **byte == b'-').count();
        element.name = html[position..position + length].to_ascii_lowercase();
        position += length;
        loop {
            position += bytes[position..].iter().take_while(|byte| byte.is_ascii_whitespace()).count();
            match bytes.get(position) {
                None => break,
                Some(b'>') => {
                    position += 1;
                    break;
                }
                Some(b'/') => {
                    element.is_empty = bytes.get(position + 1) == Some(&b'>');
                    position += 1;
                }
                Some(_) => {
                    let name_start = position;
                    while let Some(&byte) = bytes.get(position) {
                        match tags::at(html, position).filter(|_| template) {
                            Some(tag) => position = tag.end,
                            None if byte.is_ascii_whitespace() || matches!(byte, b'=' | b'>' | b'/') => break,
                            None => position += 1,
                        }
                    }
                    let name = html[name_start..position].to_ascii_lowercase();
                    if position == name_start {
                        // A stray `=`.
                        position += 1;
                    }
                    let value = attribute_value(html, &mut position, template);
                    element.set(&name, value, template)?;
                }
            }
        }
        // A statement inside a tag might decide on the link or on what is hidden.
        if template && html[start..position].contains("{%") {
            return None;
        }
        element.end = position;
        element.is_empty |= matches!(&*element.name, "br" | "hr" | "img" | "meta" | "link" | "input" | "wbr" | "col" | "area" | "base");
        Some(element)
    }

    fn set(&mut self, name: &str, value: &str, template: bool) -> Option<()> {
        let slot = match name {
            "href" => &mut self.href,
            "alt" => &mut self.alt,
            "style" => &mut self.style,
            "start" if self.name == "ol" => &mut self.start,
            "value" if self.name == "li" => &mut self.start,
            "hidden" => {
                self.hidden = true;
                return Some(());
            }
            _ => return Some(()),
        };
        let mut text = Writer { keep_spaces: true, ..Writer::default() };
        let mut position = 0;
        while position < value.len() {
            let tag = if template { tags::next(value, position) } else { None };
            let end = tag.map_or(value.len(), |tag| tag.start);
            words(&mut text, &value[position..end], template)?;
            if let Some(tag) = tag {
                if name == "style" || tag.kind != Kind::Expression || depends_on_escaping(&value[tag.start..tag.end]) {
                    return None;
                }
                text.push(&value[tag.start..tag.end]);
            }
            position = tag.map_or(value.len(), |tag| tag.end);
        }
        slot.get_or_insert(text.text);
        Some(())
    }

    fn is_hidden(&self) -> bool {
        let style = || self.style.as_deref().unwrap_or_default().to_ascii_lowercase().replace([' ', '\t', '\n', '\r'], "");
        self.hidden || DROPPED.contains(&&*self.name) || (self.style.is_some() && format!(";{}", style()).contains(";display:none"))
    }
}

/// The value after `=`, if there is one.
fn attribute_value<'a>(html: &'a str, position: &mut usize, template: bool) -> &'a str {
    let bytes = html.as_bytes();
    let spaces = |from: usize| bytes[from..].iter().take_while(|byte| byte.is_ascii_whitespace()).count();
    let equals = *position + spaces(*position);
    if bytes.get(equals) != Some(&b'=') {
        return "";
    }
    let mut at = equals + 1 + spaces(equals + 1);
    let quote = bytes.get(at).copied().filter(|byte| matches!(byte, b'"' | b'\''));
    at += usize::from(quote.is_some());
    let start = at;
    while let Some(&byte) = bytes.get(at) {
        match tags::at(html, at).filter(|_| template) {
            Some(tag) => at = tag.end,
            None if quote.map_or(byte.is_ascii_whitespace() || byte == b'>', |quote| byte == quote) => break,
            None => at += 1,
        }
    }
    *position = (at + usize::from(quote.is_some())).min(bytes.len());
    &html[start..at]
}
