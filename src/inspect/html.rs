//! Reads the HTML of a message for what matters to its checks. Pure.

use std::collections::BTreeSet;

use html5gum::{DefaultEmitter, StartTag, Token, Tokenizer};

use super::places::{self, Image, Link};

/// What was read of the HTML of a message.
#[derive(Debug, Default)]
pub(super) struct Page {
    pub links: Vec<Link>,
    pub images: Vec<Image>,
    /// Whether it has images other than those that count who reads it.
    pub has_images: bool,
    /// Characters that a reader sees.
    pub readable: usize,
    /// The text that is hidden before anything is shown, without what fills it up: inboxes show it after the subject.
    pub preheader: String,
    /// Placeholders that nothing was put into.
    pub placeholders: BTreeSet<String>,
    /// Elements that every mail program removes, as they are written.
    pub removed: BTreeSet<String>,
    /// Names of elements.
    pub elements: BTreeSet<String>,
    /// Declarations of CSS, property and value, in small letters.
    pub styles: BTreeSet<(String, String)>,
    /// Names of at-rules and pseudo-classes, such as `@media` and `:hover`.
    pub selectors: BTreeSet<String>,
}

/// Elements that no mail program shows or runs.
const REMOVED: &[&str] = &["applet", "base", "embed", "frame", "frameset", "iframe", "object", "script"];
/// What stands in these is not read by people.
const NOT_SHOWN: &[&str] = &["head", "noscript", "script", "style", "template", "title"];

/// Reads the HTML of a message.
pub(super) fn read(source: &str) -> Page {
    let mut emitter = DefaultEmitter::default();
    // The content of `<style>` and `<script>` is no markup.
    emitter.naively_switch_states(true);
    let (mut page, mut open, mut not_shown, mut in_style) = (Page::default(), None::<Link>, None::<String>, false);
    // The element that hides what is in it, and how many of its name are open in it.
    let mut hidden = None::<(String, usize)>;
    for token in Tokenizer::new_with_emitter(source, emitter) {
        let Ok(token) = token;
        match token {
            Token::StartTag(tag) => {
                let name = text(&tag.name);
                let begins_hidden = hidden.is_none() && page.readable == 0 && not_shown.is_none() && hides(&name, &tag);
                page.element(&name, &tag, begins_hidden);
                if name == "a"
                    && let Some(href) = attribute(&tag, "href")
                {
                    page.links.extend(open.replace(Link { href, shown: String::new() }));
                }
                match &mut hidden {
                    Some((hiding, depth)) if *hiding == name && !tag.self_closing => *depth += 1,
                    None if begins_hidden => hidden = Some((name.clone(), 1)),
                    _ => {}
                }
                in_style = name == "style";
                if not_shown.is_none() && NOT_SHOWN.contains(&&*name) && !tag.self_closing {
                    not_shown = Some(name);
                }
            }
            Token::EndTag(tag) => {
                let name = text(&tag.name);
                if name == "a" {
                    page.links.extend(open.take());
                }
                if let Some((_, depth)) = hidden.as_mut().filter(|(hiding, _)| *hiding == name) {
                    *depth -= 1;
                }
                hidden = hidden.filter(|(_, depth)| *depth > 0 && name != "body");
                in_style &= name != "style";
                // Some leave `</head>` out.
                if not_shown.as_deref() == Some(&*name) || name == "body" {
                    not_shown = None;
                }
            }
            Token::String(words) => {
                let words = String::from_utf8_lossy(&words);
                if in_style {
                    page.sheet(&words);
                }
                if not_shown.is_none() {
                    if hidden.is_some() {
                        page.preheader.push_str(&words);
                    } else {
                        page.readable += words.chars().filter(|c| c.is_alphanumeric()).count();
                    }
                    page.placeholders.extend(places::placeholders(&words));
                    if let Some(open) = &mut open {
                        open.shown.push_str(&words);
                    }
                }
            }
            Token::Comment(_) | Token::Doctype(_) | Token::Error(_) => {}
        }
    }
    page.links.extend(open);
    page.preheader = without_fillers(&page.preheader);
    page
}

/// Elements whose end nothing says.
const VOID: &[&str] = &["area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr"];

/// Whether nothing of what is in an element is shown.
fn hides(name: &str, tag: &StartTag<()>) -> bool {
    let style = attribute(tag, "style").unwrap_or_default().to_ascii_lowercase();
    let declares = |property: &str, values: &[&str]| {
        outside_of_quotes(&style, ';').filter_map(|declaration| declaration.split_once(':')).any(|(name, value)| {
            let value = value.trim().trim_end_matches("!important").trim();
            name.trim() == property && values.contains(&value)
        })
    };
    let is_hidden = attribute(tag, "hidden").is_some()
        || declares("display", &["none"])
        || declares("visibility", &["hidden"])
        || declares("max-height", &["0", "0px"]) && declares("overflow", &["hidden"]);
    is_hidden && !tag.self_closing && !VOID.contains(&name)
}

/// A preheader without the signs by which the body is kept away from it, which show nothing.
fn without_fillers(text: &str) -> String {
    let is_filler = |c: char| {
        matches!(c, '\u{ad}' | '\u{34f}' | '\u{200b}'..='\u{200f}' | '\u{2060}' | '\u{feff}') || c.is_control() && !c.is_whitespace()
    };
    let shown: String = text.chars().filter(|c| !is_filler(*c)).collect();
    shown.split(|c: char| c.is_whitespace()).filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).to_ascii_lowercase()
}

fn attribute(tag: &StartTag<()>, name: &str) -> Option<String> {
    tag.attributes.get(name.as_bytes()).map(|value| String::from_utf8_lossy(value).trim().to_owned())
}

impl Page {
    /// Notes an element. That a program ignores some of the styles that hide a preheader is why there are several.
    fn element(&mut self, name: &str, tag: &StartTag<()>, is_hidden: bool) {
        if REMOVED.contains(&name) {
            self.removed.insert(format!("<{name}>"));
        }
        if name == "img" {
            let src = attribute(tag, "src").unwrap_or_default();
            let is_pixel = |side: &str| attribute(tag, side).is_some_and(|size| matches!(size.trim_end_matches("px"), "0" | "1"));
            let is_pixel = is_pixel("width") && is_pixel("height");
            self.has_images |= !is_pixel;
            self.images.push(Image { src, has_alt: is_pixel || attribute(tag, "alt").is_some() });
        }
        for (key, value) in &tag.attributes {
            let (key, value) = (text(key), String::from_utf8_lossy(value).into_owned());
            if key.starts_with("on") && key.len() > 4 {
                self.removed.insert(key.clone());
            }
            if key == "style" {
                if !is_hidden {
                    self.declarations(&value);
                }
            } else {
                self.placeholders.extend(places::placeholders(&value));
            }
        }
        self.elements.insert(name.to_owned());
    }

    /// A style sheet: its rules, those in `@media` included.
    fn sheet(&mut self, source: &str) {
        let source = uncommented(source);
        for part in source.split('}') {
            // Of `@media x { a:hover { color: red`, the last part is declarations and all others are selectors.
            let mut parts: Vec<&str> = part.split('{').collect();
            let declarations = if parts.len() > 1 { parts.pop() } else { None };
            for selector in parts {
                self.selector(selector);
            }
            declarations.into_iter().for_each(|list| self.declarations(list));
        }
    }

    fn selector(&mut self, selector: &str) {
        for rule in selector.split(';').map(str::trim) {
            let name =
                |text: &str| text.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '-').collect::<String>().to_ascii_lowercase();
            if let Some(rest) = rule.strip_prefix('@') {
                self.selectors.insert(format!("@{}", name(rest)));
                continue;
            }
            for pseudo in rule.split(':').skip(1) {
                self.selectors.extend(Some(name(pseudo)).filter(|name| !name.is_empty()).map(|name| format!(":{name}")));
            }
        }
    }

    fn declarations(&mut self, list: &str) {
        for declaration in outside_of_quotes(list, ';') {
            if let Some((property, value)) = declaration.split_once(':') {
                let value = value.trim().trim_end_matches("!important").trim();
                self.styles.insert((property.trim().to_ascii_lowercase(), value.to_ascii_lowercase()));
            }
        }
    }
}

fn uncommented(source: &str) -> String {
    let mut out = String::with_capacity(source.len());
    let mut rest = source;
    while let Some((before, after)) = rest.split_once("/*") {
        out.push_str(before);
        rest = after.split_once("*/").map_or("", |(_, after)| after);
    }
    out.push_str(rest);
    out
}

/// The parts of a text between marks that are in no quotes and no brackets.
fn outside_of_quotes(text: &str, mark: char) -> impl Iterator<Item = &str> {
    let (mut quote, mut depth) = (None, 0_usize);
    text.split(move |c| {
        match (quote, c) {
            (Some(open), _) if open == c => quote = None,
            (Some(_), _) => {}
            (None, '"' | '\'') => quote = Some(c),
            (None, '(') => depth += 1,
            (None, ')') => depth = depth.saturating_sub(1),
            (None, _) => return c == mark && depth == 0,
        }
        false
    })
}
