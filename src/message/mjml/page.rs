//! The elements of an HTML page and which of them stands in which, so that selectors can be asked, and edits of their
//! attributes. All else of the page stays as it is, byte for byte.

use std::collections::HashMap;

use super::{
    super::tags,
    parse::{self, Tag},
    value,
};

/// Elements that have no end (HTML, 13.1.2).
const VOID: &[&str] = &["area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "param", "source", "track", "wbr"];

#[derive(Debug)]
pub(super) struct Page {
    /// In the order of their tags.
    pub(super) elements: Vec<Item>,
}

#[derive(Debug)]
pub(super) struct Item {
    pub(super) tag: Tag,
    start: usize,
    pub(super) parent: Option<usize>,
    pub(super) previous: Option<usize>,
    /// Which child of its parent it is, from 1.
    pub(super) number: usize,
    pub(super) is_last: bool,
    /// What is set, over or beside what it has.
    edits: Vec<(String, String)>,
}

/// Whether an opening tag ends an element that was not closed (HTML, 13.1.2.4).
fn ends(open: &str, next: &str) -> bool {
    match open {
        "p" => matches!(
            next,
            "address"
                | "article"
                | "aside"
                | "blockquote"
                | "center"
                | "div"
                | "dl"
                | "fieldset"
                | "footer"
                | "form"
                | "h1"
                | "h2"
                | "h3"
                | "h4"
                | "h5"
                | "h6"
                | "header"
                | "hr"
                | "main"
                | "nav"
                | "ol"
                | "p"
                | "pre"
                | "section"
                | "table"
                | "ul"
        ),
        "li" => next == "li",
        "td" | "th" => matches!(next, "td" | "th" | "tr" | "tbody" | "tfoot"),
        "tr" => matches!(next, "tr" | "tbody" | "tfoot"),
        "dt" | "dd" => matches!(next, "dt" | "dd"),
        _ => false,
    }
}

impl Page {
    pub(super) fn read(html: &str) -> Self {
        let bytes = html.as_bytes();
        let mut elements: Vec<Item> = Vec::new();
        // Each open element and its last child so far; the first stands for the page.
        let mut open: Vec<(Option<usize>, Option<usize>)> = vec![(None, None)];
        let mut counts: HashMap<String, usize> = HashMap::new();
        let mut position = 0;
        while let Some(at) = memchr::memchr2(b'<', b'{', &bytes[position..]) {
            let start = position + at;
            if let Some(end) = tags::at(html, start).map(|found| found.end).or_else(|| parse::declaration(html, start)) {
                position = end;
                continue;
            }
            let Some(tag) = parse::tag(html, start) else {
                position = start + 1;
                continue;
            };
            position = tag.end;
            let is = |index: Option<usize>, elements: &[Item], name: &str| index.is_some_and(|index| elements[index].tag.name == name);
            if tag.closes {
                // What closes nothing is not looked for: that would take long in a deep page.
                if counts.get(&tag.name).is_some_and(|count| *count > 0) {
                    while let Some((index, _)) = open.pop() {
                        let was_it = is(index, &elements, &tag.name);
                        if let Some(count) = index.and_then(|index| counts.get_mut(&elements[index].tag.name)) {
                            *count -= 1;
                        }
                        if was_it {
                            break;
                        }
                    }
                }
                continue;
            }
            while let Some((Some(index), _)) =
                open.last().copied().filter(|(index, _)| index.is_some_and(|index| ends(&elements[index].tag.name, &tag.name)))
            {
                open.pop();
                if let Some(count) = counts.get_mut(&elements[index].tag.name) {
                    *count -= 1;
                }
            }
            let index = elements.len();
            let (parent, previous) = open.last_mut().map_or((None, None), |(parent, last)| (*parent, last.replace(index)));
            if let Some(previous) = previous {
                elements[previous].is_last = false;
            }
            let number = previous.map_or(1, |previous| elements[previous].number + 1);
            if matches!(&*tag.name, "style" | "script" | "title" | "textarea") {
                position = parse::end_tag(bytes, position, tag.name.as_bytes()).unwrap_or(bytes.len());
            }
            if !tag.is_empty && !VOID.contains(&&*tag.name) {
                open.push((Some(index), None));
                *counts.entry(tag.name.clone()).or_insert(0) += 1;
            }
            elements.push(Item { tag, start, parent, previous, number, is_last: true, edits: Vec::new() });
        }
        Self { elements }
    }

    /// The value of an attribute, edits included.
    pub(super) fn get(&self, element: usize, name: &str) -> Option<&str> {
        let item = &self.elements[element];
        let edit = item.edits.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str());
        edit.or_else(|| item.tag.value(name))
    }

    /// Sets an attribute; entities and template tags in the value stay as they are.
    pub(super) fn set(&mut self, element: usize, name: &str, value: String) {
        let edits = &mut self.elements[element].edits;
        match edits.iter_mut().find(|(other, _)| other == name) {
            Some(edit) => edit.1 = value,
            None => edits.push((name.to_owned(), value)),
        }
    }

    /// The page with the edits.
    pub(super) fn write(&self, html: &str) -> String {
        let mut out = String::with_capacity(html.len() + html.len() / 8);
        let mut position = 0;
        for item in self.elements.iter().filter(|item| !item.edits.is_empty()) {
            out.push_str(&html[position..item.start]);
            position = item.tag.end;
            out.push('<');
            out.push_str(&item.tag.name);
            for (name, old) in &item.tag.attributes {
                let edit = item.edits.iter().find(|(other, _)| other.eq_ignore_ascii_case(name));
                out.push_str(&value::attributes(&[(name, Some(edit.map_or(old, |(_, value)| value)))]));
            }
            for (name, new) in item.edits.iter().filter(|(name, _)| item.tag.value(name).is_none()) {
                out.push_str(&value::attributes(&[(name, Some(new))]));
            }
            out.push_str(if item.tag.is_empty { " />" } else { ">" });
        }
        out.push_str(&html[position..]);
        out
    }
}
