//! What a template that extends a layout would lose: only its blocks are part of the message, and only where the layout has a block of that
//! name. The engine leaves out everything else, and says nothing.

use std::collections::BTreeSet;

use minijinja::machinery::ast::Stmt;

use super::{
    Content, Fault,
    named::{each_block, tree},
    parts::{self, Parts},
};
use crate::meta::nearest;

/// Layouts of layouts; a longer chain was told before.
const LAYOUTS_MAX: usize = 10;

/// What would be missing from the message, each at its line.
pub(super) fn lost(content: &Content) -> Vec<Fault> {
    let Some(parts) = &content.parts else { return Vec::new() };
    let of_parts = parts.texts().map(|(name, text)| (parts::path_of(name), &**text));
    let all = content.templates().into_iter().chain(of_parts);
    all.filter(|(_, source)| source.contains("extends")).flat_map(|(path, source)| of_template(&path, source, parts)).collect()
}

fn of_template(path: &str, source: &str, parts: &Parts) -> Vec<Fault> {
    let Some(Stmt::Template(template)) = tree(source) else { return Vec::new() };
    let Some(layout) = layout_of(&template.children) else { return Vec::new() };
    let known = blocks_above(&layout, parts);
    let mut faults = Vec::new();
    for child in &template.children {
        let (offset, what) = match child {
            Stmt::Block(block) if !known.contains(block.name) => {
                let near = nearest(block.name, known.iter().map(String::as_str)).map(|near| format!("; did you mean `{near}`?"));
                let has: Vec<String> = known.iter().take(20).map(|name| format!("`{name}`")).collect();
                let has = if has.is_empty() { "it has none".to_owned() } else { format!("it has {}", has.join(", ")) };
                let near = near.unwrap_or_default();
                (
                    block.span().start_offset,
                    format!("the layout `{layout}` has no block `{}`, so that this one would be missing; {has}{near}", block.name),
                )
            }
            Stmt::EmitRaw(text) if !text.raw.trim().is_empty() => {
                let blank = text.raw.len() - text.raw.trim_start().len();
                (text.span().start_offset + u32::try_from(blank).unwrap_or(0), outside(&layout))
            }
            Stmt::EmitExpr(printed) => (printed.span().start_offset, outside(&layout)),
            Stmt::Include(include) => (include.span().start_offset, outside(&layout)),
            _ => continue,
        };
        let line = memchr::memchr_iter(b'\n', source.as_bytes().get(..offset as usize).unwrap_or_default()).count() + 1;
        faults.push(Fault::new(path, format!("line {line}: {what}")));
    }
    // One of a kind is enough to know what is meant.
    faults.truncate(5);
    faults
}

fn outside(layout: &str) -> String {
    format!("this is outside of every block of a template that extends `{layout}`, so that it would be missing; put it into a block")
}

fn layout_of(children: &[Stmt<'_>]) -> Option<String> {
    children.iter().find_map(|child| match child {
        Stmt::Extends(extends) => Some(extends.name.as_const()?.as_str()?.to_owned()),
        _ => None,
    })
}

/// The names of the blocks of a layout, and of those that it extends.
fn blocks_above(layout: &str, parts: &Parts) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    let mut next = Some(layout.to_owned());
    for _ in 0..LAYOUTS_MAX {
        let Some(source) = next.take().and_then(|name| parts.source(&name, true)) else { break };
        let Some(Stmt::Template(template)) = tree(&source) else { break };
        each_block(&template.children, &mut |name, _, _| {
            names.insert(name.to_owned());
        });
        next = layout_of(&template.children);
    }
    names
}
