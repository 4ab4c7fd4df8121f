//! Layouts and parts in the walk through a template: what is extended, included and imported is walked where it is named.

use std::collections::BTreeSet;

use minijinja::machinery::ast::Stmt;

use super::{Body, Walk};

/// What it costs to walk a part or a block beside its length, bytes.
const ONE: usize = 256;
/// Parts within each other.
const DEPTH_MAX: usize = 10;

impl<'t> Walk<'t> {
    /// Whether this many bytes may still be walked; then they are.
    fn has_left(&mut self, bytes: usize) -> bool {
        let left = self.left.checked_sub(bytes + ONE);
        self.left = left.unwrap_or(0);
        left.is_some()
    }

    /// Walks a part, as a template of its own or as a piece of this one.
    pub(super) fn named_part(&mut self, name: Option<&str>, walk: impl FnOnce(&mut Self, &'t Stmt<'t>)) {
        let Some((name, known)) = name.and_then(|name| self.parts.get_key_value(name)) else { return };
        if self.within.len() == DEPTH_MAX || self.within.contains(name) || !self.has_left(known.source.len()) {
            return;
        }
        self.within.push(*name);
        let around = (self.source, self.part.replace(*name));
        self.source = known.source;
        walk(self, &known.tree);
        (self.source, self.part) = around;
        self.within.pop();
    }

    /// A template with its blocks, which are none of those around it.
    pub(super) fn template(&mut self, children: &'t [Stmt<'t>]) {
        let around = (std::mem::take(&mut self.blocks), self.block.take(), std::mem::take(&mut self.extends));
        self.extended(children);
        (self.blocks, self.block, self.extends) = around;
    }

    /// A template, and the layouts that it extends: its blocks stand where the layout has its own.
    fn extended(&mut self, children: &'t [Stmt<'t>]) {
        let (part, source) = (self.part, self.source);
        each_block(children, &mut |name, statements, bytes| {
            self.blocks.entry(name).or_default().push(Body { part, source, statements, bytes });
        });
        let layout = children.iter().find_map(|child| match child {
            Stmt::Extends(extends) => extends.name.as_const(),
            _ => None,
        });
        let Some(layout) = layout else {
            self.extends = false;
            return self.statements(children);
        };
        self.extends = true;
        self.statements(children);
        self.named_part(layout.as_str(), |walk, layout| {
            if let Stmt::Template(template) = layout {
                walk.extended(&template.children);
            }
        });
    }

    /// One of the bodies of a block.
    pub(super) fn block(&mut self, name: &'t str, which: usize) {
        let Some(body) = self.blocks.get(name).and_then(|bodies| bodies.get(which)).copied() else { return };
        if !self.has_left(body.bytes) {
            return;
        }
        let around = (self.block.replace((name, which)), self.part, self.source);
        (self.part, self.source) = (body.part, body.source);
        self.scoped(|walk| walk.statements(body.statements));
        (self.block, self.part, self.source) = around;
    }

    /// What the block has in the layout that is extended.
    pub(super) fn super_block(&mut self) {
        if let Some((name, which)) = self.block {
            self.block(name, which + 1);
        }
    }

    /// Walks a part whose macros, and nothing that it prints, are used.
    pub(super) fn imported(&mut self, name: Option<&str>, called: BTreeSet<&'t str>) {
        let around = self.called.replace(called);
        self.scoped(|walk| walk.named_part(name, Self::statement));
        self.called = around;
    }

    /// What is called of a module.
    pub(super) fn called_of(&mut self, module: &str) -> BTreeSet<&'t str> {
        if !self.has_left(self.source.len()) {
            return BTreeSet::new();
        }
        let is_word = |c: char| c.is_alphanumeric() || c == '_';
        let source = self.source;
        let before = format!("{module}.");
        let after = source.match_indices(&before).map(|(at, found)| &source[at + found.len()..]);
        after.map(|rest| &rest[..rest.find(|c| !is_word(c)).unwrap_or(rest.len())]).collect()
    }
}

/// Every block of a template, those within others too: its name, what is in it, and its length in bytes.
pub(in crate::message) fn each_block<'t>(statements: &'t [Stmt<'t>], take: &mut impl FnMut(&'t str, &'t [Stmt<'t>], usize)) {
    for statement in statements {
        match statement {
            Stmt::Block(block) => {
                let span = block.span();
                take(block.name, &block.body, span.end_offset.saturating_sub(span.start_offset) as usize);
                each_block(&block.body, take);
            }
            Stmt::IfCond(choice) => {
                each_block(&choice.true_body, take);
                each_block(&choice.false_body, take);
            }
            Stmt::ForLoop(each) => {
                each_block(&each.body, take);
                each_block(&each.else_body, take);
            }
            Stmt::WithBlock(with) => each_block(&with.body, take),
            Stmt::SetBlock(set) => each_block(&set.body, take),
            Stmt::AutoEscape(block) => each_block(&block.body, take),
            Stmt::FilterBlock(block) => each_block(&block.body, take),
            _ => {}
        }
    }
}
