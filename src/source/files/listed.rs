//! Lists as kubectl prints and accepts them: `kind: List`, `SendingServerList` and the like. Each item is a document.

use std::{collections::BTreeMap, sync::Arc};

use crate::{
    resources::{API_VERSION, schema::KINDS},
    yaml::{Data, Document, Entry, Fault, FieldPath, Node, Step},
};

/// A list, taken apart.
pub(super) struct Listed {
    /// The items, as documents of their own.
    pub items: Vec<Document>,
    /// What is wrong with the list itself.
    pub problems: Vec<Fault>,
}

/// The items of a document that is a list; none of one that is not.
pub(super) fn items(document: &Document) -> Option<Listed> {
    let root = &document.root;
    let text = |field: &str| root.get(field).and_then(|node| node.text());
    let (version, kind) = (text("apiVersion")?, text("kind")?);
    let item_kind = kind.strip_suffix("List")?;
    if document.syntax.is_some() {
        return None;
    }
    let is_known = match version {
        API_VERSION => KINDS[..3].contains(&item_kind),
        "v1" => item_kind.is_empty() || KINDS[3..].contains(&item_kind),
        _ => false,
    };
    let path = FieldPath::default().key("items");
    let of_items = |message: &str| Fault { at: root.locate(&path), path: path.clone(), message: message.to_owned() };
    let mut listed = Listed { items: Vec::new(), problems: Vec::new() };
    let values = match root.get("items").map(|node| &node.data) {
        Some(Data::List(values)) => values.as_slice(),
        Some(Data::Null) => &[],
        None if !is_known => return None,
        None if document.is_cut => &[],
        None => {
            listed.problems.push(of_items("this field is required: the objects of the list"));
            &[]
        }
        Some(_) => {
            listed.problems.push(of_items("this must be a list of objects"));
            &[]
        }
    };
    let (mut problems, of_list) = by_item(&document.problems, values.len());
    let (mut scalars, scalars_of_list) = by_item(&document.scalars, values.len());
    listed.problems.extend(of_list.into_iter().chain(scalars_of_list));
    for (index, value) in values.iter().enumerate() {
        let place = path.with(Step::Index(index));
        let kind = value.get("kind").and_then(|node| node.text()).unwrap_or_default();
        let wrong = match value.data {
            Data::Map(_) if kind == "List" => Some("kubectl refuses a list within a list; put its objects here"),
            Data::Map(_) => None,
            _ => Some("this must be an object with apiVersion and kind"),
        };
        if let Some(message) = wrong {
            listed.problems.push(Fault { at: value.at, path: place, message: message.to_owned() });
            continue;
        }
        listed.items.push(Document {
            root: with_header(value, version, item_kind),
            problems: problems.remove(&index).unwrap_or_default(),
            scalars: scalars.remove(&index).unwrap_or_default(),
            is_cut: false,
            syntax: None,
        });
    }
    listed.problems.sort_by_key(|problem| problem.at);
    Some(listed)
}

/// Faults by item, with their paths within it; and those of the list itself.
fn by_item(problems: &[Fault], items: usize) -> (BTreeMap<usize, Vec<Fault>>, Vec<Fault>) {
    let mut of_items: BTreeMap<usize, Vec<Fault>> = BTreeMap::new();
    let mut of_list = Vec::new();
    for problem in problems {
        match problem.path.0.as_slice() {
            [Step::Key(field), Step::Index(index), within @ ..] if field == "items" && *index < items => {
                of_items.entry(*index).or_default().push(Fault { path: FieldPath(within.to_vec()), ..problem.clone() });
            }
            _ => of_list.push(problem.clone()),
        }
    }
    (of_items, of_list)
}

/// An item without apiVersion and kind gets those of the list.
fn with_header(item: &Arc<Node>, version: &str, kind: &str) -> Arc<Node> {
    let Data::Map(entries) = &item.data else { return item.clone() };
    if kind.is_empty() || item.entry("apiVersion").is_some() || item.entry("kind").is_some() {
        return item.clone();
    }
    let given = [("apiVersion", version), ("kind", kind)].map(|(key, text)| Entry {
        key: key.to_owned(),
        key_at: item.at,
        value: Node::new(Data::Text(text.to_owned()), item.at).into(),
    });
    Node::new(Data::Map(given.into_iter().chain(entries.iter().cloned()).collect()), item.at).into()
}
