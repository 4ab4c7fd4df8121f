//! A document and what it includes by `<mj-include>`, put together as npm's mjml does.
//!
//! Lines of a document are numbers from 1; those of the first part that it includes begin behind [`PART_LINES`], those of the second
//! behind twice as many, and so on: a line says which text it is of, wherever a fault is found.

use std::sync::Arc;

use super::{
    super::{
        tags::{self, Kind},
        words,
    },
    INCLUDE, MjmlFault,
    parse::{Lines, Node, Tag, Tree, declaration, element, keeps_text, node, tag},
    table,
};

/// What is included may have as many bytes as a body; what is included twice counts twice.
const INCLUDED_MAX: usize = 1 << 20;
/// What an element costs beside the text that it includes, bytes.
const ELEMENT: usize = 64;
/// Parts within each other; who has read them knows of more.
const DEPTH_MAX: usize = 10;
/// More lines than a text may have bytes.
const PART_LINES: usize = 1 << 24;

/// The parts that a document includes.
pub(super) struct Included<'p> {
    part: &'p dyn Fn(&str) -> Option<Arc<str>>,
    /// Each once, with its name.
    texts: Vec<(String, Arc<str>)>,
    /// Bytes that may still be included.
    left: usize,
    /// Parts within each other.
    depth: usize,
    /// What goes to the end of the document's head.
    head: Vec<Node>,
}

impl<'p> Included<'p> {
    /// None yet; `part` finds the text of a name.
    pub(super) fn new(part: &'p dyn Fn(&str) -> Option<Arc<str>>) -> Self {
        Self { part, texts: Vec::new(), left: INCLUDED_MAX, depth: 0, head: Vec::new() }
    }

    /// The texts that were included, with their lines.
    pub(super) fn texts(&self) -> impl Iterator<Item = (&str, Lines)> {
        self.texts.iter().enumerate().map(|(index, (_, text))| (&**text, Lines::after((index + 1) * PART_LINES, text)))
    }

    /// A fault at the text that its line is of.
    pub(super) fn located(&self, message: String) -> MjmlFault {
        let parted = message.strip_prefix("line ").and_then(|rest| rest.split_once(": "));
        let found = parted.and_then(|(line, rest)| {
            let line: usize = line.parse().ok()?;
            let (name, _) = self.texts.get((line / PART_LINES).checked_sub(1)?)?;
            Some(MjmlFault { part: Some(name.clone()), message: format!("line {}: {rest}", line % PART_LINES) })
        });
        found.unwrap_or(MjmlFault { part: None, message })
    }

    /// The number before the first line of a text, once there is room for it.
    fn first_line(&mut self, name: &str, text: &Arc<str>, line: usize) -> Result<usize, String> {
        let cost = text.len() + ELEMENT;
        self.left = self.left.checked_sub(cost).ok_or_else(|| {
            format!(
                "line {line}: what is included has more than {INCLUDED_MAX} bytes in all, counting each part as often as it is included"
            )
        })?;
        let index = self.texts.iter().position(|(known, _)| known == name).unwrap_or_else(|| {
            self.texts.push((name.to_owned(), text.clone()));
            self.texts.len() - 1
        });
        Ok((index + 1) * PART_LINES)
    }
}

/// The tree of a document with all that it includes.
///
/// # Errors
/// What is wrong, with its line.
pub(super) fn parse(source: &str, included: &mut Included<'_>) -> Result<Node, String> {
    let mut root = whole(source, 0, included)?;
    if !included.head.is_empty()
        && let Some(component) = table::component("mj-head")
    {
        let at = root.children.iter().position(|child| child.name() == component.name).unwrap_or_else(|| {
            root.children.insert(0, node(component, root.line));
            0
        });
        root.children[at].children.append(&mut included.head);
    }
    Ok(root)
}

/// The tree of one document, whose lines begin behind a number.
fn whole(source: &str, before: usize, included: &mut Included<'_>) -> Result<Node, String> {
    let mut tree = Tree::default();
    fragment(source, before, &mut tree, included)?;
    tree.root.ok_or_else(|| "there is no <mjml> element".to_owned())
}

/// Reads what stands within the open elements, and leaves them open.
fn fragment(source: &str, before: usize, tree: &mut Tree, included: &mut Included<'_>) -> Result<(), String> {
    let lines = Lines::after(before, source);
    let around = tree.open.len();
    let mut position = 0;
    while position < source.len() {
        let line = || lines.at(position);
        let rest = &source[position..];
        if let Some(found) = tags::at(source, position) {
            if found.kind != Kind::Comment && !keeps_text(tree.open.last()) {
                return Err(format!("line {}: template tags between elements belong in <mj-raw>", line()));
            }
            if found.kind != Kind::Comment
                && let Some(parent) = tree.open.last_mut()
            {
                parent.content.push_str(&source[found.start..found.end]);
            }
            position = found.end;
        } else if let Some(end) = declaration(source, position) {
            if rest.starts_with("<![CDATA[") {
                return Err(format!("line {}: text is not allowed there in MJML; put it into <mj-text> or <mj-raw>", line()));
            }
            // Among the images of a carousel it would count as one.
            if rest.starts_with("<!--")
                && let Some(parent) = tree.open.last_mut().filter(|parent| parent.name() != "mj-carousel")
            {
                parent.children.push(Node { content: source[position..end].to_owned(), is_comment: true, ..node(table::raw(), line()) });
            }
            position = end;
        } else if let Some(found) = tag(source, position) {
            if !found.is_whole {
                return Err(format!("line {}: `<{}` is not closed by `>`", line(), found.name));
            }
            position = if found.name == INCLUDE {
                if !found.closes {
                    include(&found, line(), tree, included)?;
                }
                found.end
            } else if found.closes && around > 0 && tree.open.len() <= around {
                return Err(format!("line {}: </{}> closes nothing that is open here", line(), found.name));
            } else {
                element(source, line(), found, &mut tree.open, &mut tree.root)?
            };
        } else {
            let length = rest.char_indices().skip(1).find(|(_, c)| matches!(c, '<' | '{')).map_or(rest.len(), |(at, _)| at);
            let text = rest[..length].trim();
            if let Some(parent) = tree.open.last_mut().filter(|parent| keeps_text(Some(parent))) {
                parent.content.push_str(text);
            } else if !text.is_empty() {
                let line = lines.at(position + rest.len() - rest.trim_start().len());
                return Err(format!("line {line}: text is not allowed there in MJML; put it into <mj-text> or <mj-raw>"));
            }
            position += length;
        }
    }
    match tree.open.get(around..).and_then(<[Node]>::last) {
        Some(node) => Err(format!("line {}: <{}> is not closed", node.line, node.name())),
        None => Ok(()),
    }
}

/// Puts a part where its element stands.
fn include(found: &Tag, line: usize, tree: &mut Tree, included: &mut Included<'_>) -> Result<(), String> {
    let fault = |what: String| Err(format!("line {line}: {what}"));
    if let Some((name, _)) = found.attributes.iter().find(|(_, value)| tags::next(value, 0).is_some()) {
        return fault(format!("`{name}` of <{INCLUDE}> cannot be a template: what is included is the same for everybody"));
    }
    let Some(name) = found.value("path").filter(|name| !name.is_empty()) else {
        return fault(format!("<{INCLUDE}> needs the name of a part, as in `<{INCLUDE} path=\"footer.mjml\" />`"));
    };
    if tree.open.is_empty() {
        return fault(format!("<{INCLUDE}> belongs in <mj-head>, <mj-body> or an element within"));
    }
    let Some(text) = (included.part)(name) else {
        return fault(format!("there is no part `{name}`; set `content.templates` to where the parts are"));
    };
    if included.depth == DEPTH_MAX {
        return fault(format!("parts are nested more than {DEPTH_MAX} deep"));
    }
    let before = included.first_line(name, &text, line)?;
    included.depth += 1;
    match found.value("type").unwrap_or("mjml") {
        "mjml" if is_document(&text) => {
            for child in whole(&text, before, included)?.children {
                match child.name() {
                    "mj-head" => included.head.extend(child.children),
                    "mj-body" => child.children.into_iter().try_for_each(|child| place(child, line, tree))?,
                    _ => {}
                }
            }
        }
        "mjml" => fragment(&text, before, tree, included)?,
        "html" => place(Node { content: text.trim().to_owned(), ..node(table::raw(), before + 1) }, line, tree)?,
        "css" => {
            let component = table::component("mj-style").unwrap_or_else(table::raw);
            let own = found.value("css-inline").filter(|value| *value == "inline").map(|value| ("inline".to_owned(), value.to_owned()));
            included.head.push(Node { own: own.into_iter().collect(), content: text.to_string(), ..node(component, before + 1) });
        }
        other => return fault(format!("<{INCLUDE}> has no type `{other}`; the types are mjml, html and css")),
    }
    included.depth -= 1;
    Ok(())
}

/// Whether a part is a document of its own, whose head and body go where those of the document are.
fn is_document(text: &str) -> bool {
    text.match_indices("<mjml").any(|(at, tag)| text[at + tag.len()..].starts_with(|c: char| c.is_whitespace() || c == '>'))
}

/// Adds a child to the element that is open.
fn place(child: Node, line: usize, tree: &mut Tree) -> Result<(), String> {
    let Some(parent) = tree.open.last_mut() else { return Ok(()) };
    if !child.is_comment && !parent.component.takes(child.component) {
        return Err(format!(
            "line {line}: the part has an element `{}`, which is not allowed there in MJML{}",
            child.name(),
            table::places(child.component)
        ));
    }
    parent.children.push(child);
    Ok(())
}

/// A style sheet without what the template engine would take for a comment.
pub(in crate::message) fn style_sheet(css: &str) -> Option<String> {
    let element = format!("<style>{css}</style>");
    let freed = words::free_ids(&element);
    let inner = freed.strip_prefix("<style>")?.strip_suffix("</style>")?;
    (inner != css).then(|| inner.to_owned())
}
