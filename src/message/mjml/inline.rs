//! `<mj-style inline="inline">` and `<mj-html-attributes>`: rules that go into the attributes of the elements they are
//! about, for mail programs that read no style sheets.

use super::{super::tags, page::Page, selector};

/// How many comparisons of an element with a selector one mail may cost.
const WORK: u64 = 20_000_000;
/// What a declaration costs of it beside the comparisons with others, for the room it takes.
const DECLARATION_WORK: usize = 100;
/// Elements of a table; those who read no CSS know some of it as attributes of these.
const TABLE: &[&str] = &["table", "th", "tr", "td", "caption", "colgroup", "col", "thead", "tbody", "tfoot"];

/// A declaration and what decides whether it goes before another.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Declaration {
    name: String,
    /// Ready for an attribute.
    value: String,
    /// Importance and whether it stands in the element itself, ids, classes, names, and its place.
    weight: (usize, [usize; 3], usize),
    /// Of two with one name in one place both stay: the second is for those who know it.
    rule: usize,
}

/// Moves the rules into the elements.
///
/// # Errors
/// What cannot be moved.
pub(super) fn inline(html: &str, css: &str) -> Result<String, String> {
    let mut page = Page::read(html);
    let mut own: Vec<Option<Vec<Declaration>>> = (0..page.elements.len()).map(|_| None).collect();
    let mut work = WORK;
    let mut order = 0;
    let mut rule = 0;
    for (prelude, block) in rules(css)? {
        let Some(selectors) = selector::parse(prelude) else {
            return Err(format!("`{}` cannot be inlined; put it into an <mj-style> without `inline`", shorten(prelude)));
        };
        let declared = declarations(block, false);
        for chosen in &selectors {
            rule += 1;
            for (element, declarations) in own.iter_mut().enumerate() {
                if matches!(
                    &*page.elements[element].tag.name,
                    "head" | "title" | "base" | "link" | "style" | "meta" | "script" | "noscript"
                ) {
                    continue;
                }
                if !chosen.fits(&page, element, &mut work).ok_or("the inline CSS takes too much work")? {
                    continue;
                }
                let declarations = declarations.get_or_insert_with(|| {
                    let style = page.get(element, "style").unwrap_or_default();
                    let old = declarations_of(style);
                    old.into_iter()
                        .enumerate()
                        .map(|(place, Written { name, value, is_important })| Declaration {
                            name,
                            value,
                            weight: (1 + 2 * usize::from(is_important), [0; 3], place),
                            rule: usize::MAX,
                        })
                        .collect()
                });
                let cost = declared.len() * (DECLARATION_WORK + declarations.len() + declared.len());
                work = work.checked_sub(cost as u64).ok_or("the inline CSS takes too much work")?;
                for (place, Written { name, value, is_important }) in declared.iter().enumerate() {
                    let weight = (2 * usize::from(*is_important), chosen.specificity, order + place);
                    add(declarations, Declaration { name: name.clone(), value: value.clone(), weight, rule });
                }
            }
        }
        order += declared.len();
    }
    for (element, declarations) in own.into_iter().enumerate() {
        if let Some(mut declarations) = declarations {
            declarations.sort_by_key(|declaration| declaration.weight);
            write(&mut page, element, &declarations);
        }
    }
    Ok(page.write(html))
}

/// Sets attributes of the elements that selectors choose.
///
/// # Errors
/// The selector that cannot be decided.
pub(super) fn set_attributes(html: &str, wanted: &[(String, Vec<(String, String)>)]) -> Result<String, String> {
    let mut page = Page::read(html);
    let mut work = WORK;
    for (path, attributes) in wanted {
        let selectors = selector::parse(path).ok_or_else(|| format!("the selector `{}` is not understood", shorten(path)))?;
        for element in 0..page.elements.len() {
            for chosen in &selectors {
                if chosen.fits(&page, element, &mut work).ok_or("the selectors take too much work")? {
                    let cost = attributes.len() * (DECLARATION_WORK + attributes.len());
                    work = work.checked_sub(cost as u64).ok_or("the selectors take too much work")?;
                    for (name, value) in attributes {
                        page.set(element, name, value.clone());
                    }
                }
            }
        }
    }
    Ok(page.write(html))
}

fn shorten(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(80).collect()
}

fn add(declarations: &mut Vec<Declaration>, new: Declaration) {
    let same: Vec<usize> = (0..declarations.len()).filter(|index| declarations[*index].name == new.name).collect();
    if same.iter().any(|index| declarations[*index].weight > new.weight) {
        return;
    }
    for index in same.into_iter().rev() {
        if declarations[index].rule != new.rule {
            declarations.remove(index);
        }
    }
    declarations.push(new);
}

fn write(page: &mut Page, element: usize, declarations: &[Declaration]) {
    let style: Vec<String> =
        declarations
            .iter()
            .map(|declaration| {
                if declaration.name.is_empty() {
                    declaration.value.clone()
                } else {
                    format!("{}: {};", declaration.name, declaration.value)
                }
            })
            .collect();
    page.set(element, "style", style.join(" "));
    let name = page.elements[element].tag.name.clone();
    let is_table = TABLE.contains(&&*name);
    for declaration in declarations {
        let value = &declaration.value;
        let attribute = match &*declaration.name {
            side @ ("width" | "height") if matches!(&*name, "table" | "td" | "th" | "img") => {
                if value.contains("px") || value.contains("auto") {
                    page.set(element, side, value.replace("px", ""));
                } else if is_table && value.contains('%') {
                    page.set(element, side, value.clone());
                }
                continue;
            }
            "background-color" => "bgcolor",
            "background-image" if !value.contains("gradient(") => "background",
            "text-align" => "align",
            "vertical-align" => "valign",
            _ => continue,
        };
        if is_table {
            let url = value.strip_prefix("url(").and_then(|url| url.strip_suffix(')')).filter(|_| attribute == "background");
            page.set(element, attribute, url.map_or(value.as_str(), |url| url.trim_matches('\'')).to_owned());
        }
    }
}

/// The rules of a style sheet: selectors and blocks.
fn rules(css: &str) -> Result<Vec<(&str, &str)>, String> {
    let mut rules = Vec::new();
    let mut position = 0;
    loop {
        // What ends a block that needs no end is nothing.
        position += css[position..].len() - css[position..].trim_start_matches([' ', '\t', '\r', '\n', ';']).len();
        let Some(open) = find(css, position, b'{') else {
            let rest = shorten(&css[position..]);
            return if rest.is_empty() { Ok(rules) } else { Err(format!("`{rest}` has no block in the inline CSS")) };
        };
        let prelude = css[position..open].trim();
        if prelude.starts_with('@') {
            let what = shorten(prelude);
            return Err(format!("`{what}` cannot be inlined; put it into an <mj-style> without `inline`"));
        }
        let close =
            find(css, open + 1, b'}').ok_or_else(|| format!("the block of `{}` is not closed in the inline CSS", shorten(prelude)))?;
        if find(css, open + 1, b'{').is_some_and(|nested| nested < close) {
            return Err(format!("the block of `{}` contains a block, which cannot be inlined", shorten(prelude)));
        }
        rules.push((prelude, &css[open + 1..close]));
        position = close + 1;
    }
}

/// The next such sign outside strings and template tags.
fn find(css: &str, from: usize, sign: u8) -> Option<usize> {
    let bytes = css.as_bytes();
    let (mut position, mut quote) = (from, None);
    while let Some(&byte) = bytes.get(position) {
        match (byte, quote) {
            _ if let Some(tag) = tags::at(css, position) => {
                position = tag.end;
                continue;
            }
            (_, Some(open)) => quote = quote.filter(|_| byte != open),
            (b'"' | b'\'', None) => quote = Some(byte),
            _ if byte == sign => return Some(position),
            _ => {}
        }
        position += 1;
    }
    None
}

/// CSS without its comments.
pub(super) fn without_comments(css: &str) -> String {
    let mut out = String::with_capacity(css.len());
    let mut rest = css;
    while let Some(at) = rest.find("/*") {
        out.push_str(&rest[..at]);
        rest = rest[at + 2..].find("*/").map_or("", |end| &rest[at + 2 + end + 2..]);
    }
    out.push_str(rest);
    out
}

/// A declaration as it is written.
struct Written {
    /// Empty where a template tag makes the whole of it.
    name: String,
    /// Its value, as an attribute takes it.
    value: String,
    is_important: bool,
}

/// The declarations of a block.
fn declarations(block: &str, is_attribute: bool) -> Vec<Written> {
    let bytes = block.as_bytes();
    let mut found = Vec::new();
    let (mut start, mut position, mut quote, mut depth) = (0, 0, None, 0_usize);
    while position <= bytes.len() {
        if let Some(tag) = tags::at(block, position) {
            position = tag.end;
            continue;
        }
        match (bytes.get(position).copied(), quote) {
            (None, _) => {
                found.extend(declaration(&block[start..], is_attribute));
                break;
            }
            (Some(byte), Some(open)) => quote = quote.filter(|_| byte != open),
            (Some(byte @ (b'"' | b'\'')), None) => quote = Some(byte),
            (Some(b'('), None) => depth += 1,
            (Some(b')'), None) => depth = depth.saturating_sub(1),
            // An entity ends with the same sign.
            (Some(b'&'), None) if is_attribute => {
                let length = bytes[position + 1..].iter().take_while(|byte| byte.is_ascii_alphanumeric() || **byte == b'#').count();
                if bytes.get(position + 1 + length) == Some(&b';') {
                    position += length + 1;
                }
            }
            (Some(b';'), None) if depth == 0 => {
                found.extend(declaration(&block[start..position], is_attribute));
                start = position + 1;
            }
            _ => {}
        }
        position += 1;
    }
    found
}

fn declarations_of(style: &str) -> Vec<Written> {
    declarations(style, true)
}

fn declaration(text: &str, is_attribute: bool) -> Option<Written> {
    let text = text.trim();
    if text.is_empty() {
        return None;
    }
    let colon = find(text, 0, b':')
        .filter(|at| text[..*at].trim().bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_'));
    let Some(colon) = colon else {
        // A template tag that makes declarations, and so has no name to be compared by.
        return tags::next(text, 0).map(|_| Written { name: String::new(), value: format!("{text};"), is_important: false });
    };
    let (name, value) = (text[..colon].trim().to_ascii_lowercase(), text[colon + 1..].trim());
    let plain = value.strip_suffix("important").map(str::trim_end).and_then(|value| value.strip_suffix('!')).map(str::trim_end);
    let value = plain.unwrap_or(value);
    if value.is_empty() {
        return None;
    }
    let value = if is_attribute { value.to_owned() } else { encoded(value) };
    Some(Written { name, value, is_important: plain.is_some() })
}

/// CSS as it stands in an attribute between double quotes.
fn encoded(value: &str) -> String {
    let mut out = String::new();
    let mut position = 0;
    while position < value.len() {
        let tag = tags::next(value, position);
        let end = tag.map_or(value.len(), |tag| tag.start);
        out.push_str(&value[position..end].replace('&', "&amp;").replace('"', "'"));
        position = end;
        if let Some(tag) = tag {
            out.push_str(&value[tag.start..tag.end]);
            position = tag.end;
        }
    }
    out
}
