//! MJML as a tree. What stands in elements that MJML passes through (`mj-text`, `mj-raw`, ...) is not looked into: it goes
//! into the mail as it was written.

use super::{
    super::tags,
    table::{self, Component},
};

/// No element of MJML has so many; what they cost grows with their square.
const ATTRIBUTES_MAX: usize = 200;
/// How deep elements that are passed through may stand in each other.
const DEPTH_MAX: usize = 100;

/// An element of MJML, or a comment as an `mj-raw`.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) component: &'static Component,
    /// The line where its tag begins, from 1.
    pub(super) line: usize,
    /// Its own attributes, entities and template tags as they were written.
    pub(super) own: Vec<(String, String)>,
    /// Its own attributes and those that the head gives to its name and classes.
    pub(super) applied: Vec<(String, String)>,
    pub(super) children: Vec<Self>,
    /// What stands in an element that MJML passes through, without the white space around it.
    pub(super) content: String,
    pub(super) is_comment: bool,
}

impl Node {
    pub(super) fn name(&self) -> &'static str {
        self.component.name
    }

    pub(super) fn own(&self, name: &str) -> Option<&str> {
        self.own.iter().find(|(own, _)| own == name).map(|(_, value)| value.as_str())
    }
}

/// One tag of MJML or HTML.
#[derive(Debug, Default)]
pub(super) struct Tag {
    /// Lowercased.
    pub(super) name: String,
    pub(super) closes: bool,
    /// It ends with `/>`.
    pub(super) is_empty: bool,
    /// Names and values as they are written; of a repeated one the first counts.
    pub(super) attributes: Vec<(String, String)>,
    /// After its `>`, or the end of the source.
    pub(super) end: usize,
    /// It has its `>`.
    pub(super) is_whole: bool,
}

impl Tag {
    /// An attribute's value as it is written; names have no case in HTML.
    pub(super) fn value(&self, name: &str) -> Option<&str> {
        self.attributes.iter().find(|(other, _)| other.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }
}

/// Where the lines of a source end.
#[derive(Debug)]
pub(super) struct Lines {
    ends: Vec<usize>,
    /// The number before that of the first line.
    before: usize,
}

impl Lines {
    /// The lines of a document, from 1.
    pub(super) fn of(source: &str) -> Self {
        Self::after(0, source)
    }

    /// Lines whose numbers begin behind another.
    pub(super) fn after(before: usize, source: &str) -> Self {
        Self { ends: memchr::memchr_iter(b'\n', source.as_bytes()).collect(), before }
    }

    /// The line of a place.
    pub(super) fn at(&self, position: usize) -> usize {
        self.before + self.ends.partition_point(|end| *end < position) + 1
    }
}

/// A document while it is read.
#[derive(Debug, Default)]
pub(super) struct Tree {
    /// The elements around what is read, the innermost last.
    pub(super) open: Vec<Node>,
    pub(super) root: Option<Node>,
}

/// The tag that starts exactly at `start`, if one does (HTML, 13.2.5).
pub(super) fn tag(source: &str, start: usize) -> Option<Tag> {
    let bytes = source.as_bytes();
    if bytes.get(start) != Some(&b'<') {
        return None;
    }
    let mut tag = Tag { closes: bytes.get(start + 1) == Some(&b'/'), ..Tag::default() };
    let mut at = start + 1 + usize::from(tag.closes);
    if !bytes.get(at)?.is_ascii_alphabetic() {
        return None;
    }
    let length = bytes[at..].iter().take_while(|byte| !byte.is_ascii_whitespace() && !matches!(byte, b'/' | b'>')).count();
    tag.name = source[at..at + length].to_ascii_lowercase();
    at += length;
    loop {
        at += bytes[at..].iter().take_while(|byte| byte.is_ascii_whitespace()).count();
        match bytes.get(at) {
            None => break,
            Some(b'>') => {
                at += 1;
                tag.is_whole = true;
                break;
            }
            Some(b'/') => {
                tag.is_empty = bytes.get(at + 1) == Some(&b'>');
                at += 1;
            }
            Some(_) => at = attribute(source, at, &mut tag),
        }
    }
    tag.end = at;
    Some(tag)
}

/// Reads one attribute, and returns where it ends.
fn attribute(source: &str, start: usize, tag: &mut Tag) -> usize {
    let bytes = source.as_bytes();
    let spaces = |from: usize| bytes[from..].iter().take_while(|byte| byte.is_ascii_whitespace()).count();
    let until = |mut at: usize, stops: &dyn Fn(u8) -> bool| {
        while let Some(&byte) = bytes.get(at) {
            match tags::at(source, at) {
                Some(found) => at = found.end,
                None if stops(byte) => break,
                None => at += 1,
            }
        }
        at
    };
    // A stray `=` begins a name.
    let name_end = until(start + 1, &|byte| byte.is_ascii_whitespace() || matches!(byte, b'=' | b'>' | b'/'));
    // One that begins with a template tag has it whole.
    let name_end = tags::at(source, start)
        .map_or(name_end, |found| until(found.end, &|byte| byte.is_ascii_whitespace() || matches!(byte, b'=' | b'>' | b'/')));
    let name = &source[start..name_end];
    let equals = name_end + spaces(name_end);
    let (span, end) = if bytes.get(equals) == Some(&b'=') {
        let at = equals + 1 + spaces(equals + 1);
        if let Some(quote) = bytes.get(at).copied().filter(|byte| matches!(byte, b'"' | b'\'')) {
            let end = until(at + 1, &|byte| byte == quote);
            ((at + 1, end), (end + 1).min(bytes.len()))
        } else {
            let end = until(at, &|byte| byte.is_ascii_whitespace() || byte == b'>');
            ((at, end), end)
        }
    } else {
        ((name_end, name_end), name_end)
    };
    tag.attributes.push((name.to_owned(), source[span.0..span.1].to_owned()));
    end
}

/// The end of a comment or of another declaration that starts at `start`, if one does.
pub(super) fn declaration(source: &str, start: usize) -> Option<usize> {
    let rest = &source[start..];
    let close = match rest {
        _ if rest.starts_with("<!--") => "-->",
        _ if rest.starts_with("<![CDATA[") => "]]>",
        _ if rest.starts_with("<!") || rest.starts_with("<?") => ">",
        _ => return None,
    };
    Some(rest.find(close).map_or(source.len(), |at| start + at + close.len()))
}

/// An element without anything in it.
pub(super) fn node(component: &'static Component, line: usize) -> Node {
    Node { component, line, own: Vec::new(), applied: Vec::new(), children: Vec::new(), content: String::new(), is_comment: false }
}

/// Whether text may stand in an element whose children are read.
pub(super) fn keeps_text(node: Option<&Node>) -> bool {
    node.is_some_and(|node| node.name() == "mj-html-attribute")
}

/// Opens or closes an element, and returns where to go on.
pub(super) fn element(source: &str, line: usize, found: Tag, open: &mut Vec<Node>, root: &mut Option<Node>) -> Result<usize, String> {
    let name = &*found.name;
    if found.closes {
        let node = open.pop().filter(|node| node.name() == name);
        let node = node.ok_or_else(|| format!("line {line}: </{name}> closes nothing: the element opened last is closed first"))?;
        close(node, open, root);
        return Ok(found.end);
    }
    let parent = open.last().map(|node| node.component);
    let Some(component) = table::component(name) else {
        let advice = if name.starts_with("mj-") { "" } else { "; HTML belongs in <mj-text>, <mj-table> or <mj-raw>" };
        return Err(match parent {
            None => "there is no <mjml> element".to_owned(),
            Some(_) => format!("line {line}: MJML has no element `{name}`, or does not allow it there{advice}"),
        });
    };
    let fits = match parent {
        None => name == "mjml" && root.is_none(),
        Some(parent) => parent.takes(component),
    };
    if !fits {
        return Err(match parent {
            None if root.is_none() => "there is no <mjml> element".to_owned(),
            _ => format!("line {line}: the element `{name}` is not allowed there in MJML{}", table::places(component)),
        });
    }
    let mut node = node(component, line);
    if found.attributes.len() > ATTRIBUTES_MAX {
        return Err(format!("line {line}: <{name}> has more than {ATTRIBUTES_MAX} attributes"));
    }
    for (name, _) in &found.attributes {
        if tags::next(name, 0).is_some() {
            return Err(format!("line {line}: a template tag is allowed in an attribute's value, but not in place of an attribute"));
        }
        if name.contains(['<', '"', '\'', '=']) {
            return Err(format!(
                "line {line}: it is not well-formed: `{}` is not an attribute name",
                name.chars().take(40).collect::<String>()
            ));
        }
    }
    node.own = found.attributes;
    if found.is_empty {
        close(node, open, root);
        return Ok(found.end);
    }
    if !component.passes {
        open.push(node);
        return Ok(found.end);
    }
    let (content_end, end) = passed(source, found.end, component.name).ok_or_else(|| format!("line {line}: <{name}> is not closed"))?;
    source[found.end..content_end].trim().clone_into(&mut node.content);
    close(node, open, root);
    Ok(end)
}

fn close(node: Node, open: &mut [Node], root: &mut Option<Node>) {
    match open.last_mut() {
        Some(parent) => parent.children.push(node),
        None => *root = Some(node),
    }
}

/// Where the content of an element that is passed through ends, and where its closing tag does.
fn passed(source: &str, from: usize, name: &'static str) -> Option<(usize, usize)> {
    let bytes = source.as_bytes();
    // Elements of that kind may stand within; others are HTML, and whether they are closed is not our business.
    let mut within = vec![name];
    let mut position = from;
    while let Some(at) = memchr::memchr2(b'<', b'{', &bytes[position..]) {
        let start = position + at;
        if let Some(end) = tags::at(source, start).map(|found| found.end).or_else(|| declaration(source, start)) {
            position = end;
            continue;
        }
        let Some(found) = tag(source, start) else {
            position = start + 1;
            continue;
        };
        position = found.end;
        match table::component(&found.name).filter(|component| component.passes) {
            Some(component) if !found.closes && !found.is_empty => {
                within.push(component.name);
                if within.len() > DEPTH_MAX {
                    return None;
                }
            }
            Some(component) if found.closes => {
                if let Some(depth) = within.iter().rposition(|name| *name == component.name) {
                    within.truncate(depth);
                }
                if within.is_empty() {
                    return found.is_whole.then_some((start, found.end));
                }
            }
            None if !found.closes && matches!(&*found.name, "style" | "script" | "textarea") => {
                // What is inside these is no HTML.
                position = end_tag(bytes, position, found.name.as_bytes())?;
            }
            _ => {}
        }
    }
    None
}

/// Where the closing tag of an HTML element is.
pub(in crate::message) fn end_tag(bytes: &[u8], from: usize, name: &[u8]) -> Option<usize> {
    memchr::memmem::find_iter(bytes.get(from..)?, b"</")
        .map(|at| from + at)
        .find(|at| bytes.get(at + 2..at + 2 + name.len()).is_some_and(|found| found.eq_ignore_ascii_case(name)))
}
