//! The walk through one template: which fields its expressions and statements need.

mod layouts;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use minijinja::machinery::ast::{BinOpKind, Call, CallArg, Expr, Macro, Stmt, UnaryOpKind};

pub(in crate::message) use self::layouts::each_block;
use super::mjml;

/// Names that are there without any field of the audience.
const GIVEN: &[&str] = &["campaign", "fields", "range", "dict", "namespace", "self"];

/// Places that are kept of what a variable was made of: each of two can be made of both of the ones before.
const USES_MAX: usize = 16;
/// Fields that the conditions around a place are known to guarantee.
const PRESENT_MAX: usize = 64;

/// Bytes of parts and blocks that are walked for one template, each as often as it is named; what is beyond them is not looked at.
const PARTS_MAX: usize = 8 << 20;

/// A template of which the tree is known.
pub(super) struct Known<'t> {
    /// The path of its field.
    pub path: String,
    pub source: &'t str,
    pub tree: Stmt<'t>,
}

/// A field that was looked up, and where in the template.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Use<'t> {
    /// The part that it stands in, if it stands in one.
    part: Option<&'t str>,
    /// Where in the template, bytes.
    offset: u32,
    name: String,
    /// What is read of the field, in `{{ name.attribute }}`.
    attribute: Option<String>,
}

/// A field that a template names; the rest is as in [`super::NamedField`].
pub(super) struct Found<'t> {
    /// The part that names it, if one does.
    pub part: Option<&'t str>,
    pub name: String,
    pub attribute: Option<String>,
    /// Where in the template, bytes.
    pub offset: u32,
    pub is_optional: bool,
    pub only_with: Arc<BTreeSet<String>>,
}

/// Between a field and its attribute, in what is certainly there; in no name.
const OF: char = '\0';

/// A body of a block.
#[derive(Clone, Copy)]
struct Body<'t> {
    /// The part that it stands in, if it stands in one.
    part: Option<&'t str>,
    source: &'t str,
    statements: &'t [Stmt<'t>],
    /// Its length, bytes.
    bytes: usize,
}

/// A walk through one template, and the parts that it names.
struct Walk<'t> {
    parts: &'t BTreeMap<&'t str, Known<'t>>,
    /// The parts on the way, the innermost last.
    within: Vec<&'t str>,
    /// Bytes of parts and blocks that may still be walked.
    left: usize,
    /// The part that is walked, if it is one.
    part: Option<&'t str>,
    /// The text that is walked.
    source: &'t str,
    /// The bodies of each block, those of who extends before those of what is extended.
    blocks: BTreeMap<&'t str, Vec<Body<'t>>>,
    /// The block that is walked, and which of its bodies.
    block: Option<(&'t str, usize)>,
    /// The layout is walked afterwards, and prints the blocks.
    extends: bool,
    /// Macros that are called, in an imported part: what the others need is not needed here.
    called: Option<BTreeSet<&'t str>>,
    /// Everything that is found is optional.
    is_lax: bool,
    /// Variables of the template, the innermost scope last, each with the fields without which it is undefined.
    scopes: Vec<HashMap<&'t str, Vec<Use<'t>>>>,
    /// What is certainly there, by the conditions around.
    present: Vec<String>,
    /// The fields among them.
    only_with: Arc<BTreeSet<String>>,
    /// Each place once, needed or not, with the conditions around it.
    found: BTreeMap<(Use<'t>, bool), Arc<BTreeSet<String>>>,
}

/// What a template names, each place once.
pub(super) fn walked<'t>(template: &'t Known<'t>, parts: &'t BTreeMap<&'t str, Known<'t>>) -> Vec<Found<'t>> {
    let mut walk = Walk {
        parts,
        within: Vec::new(),
        left: PARTS_MAX,
        part: None,
        source: template.source,
        blocks: BTreeMap::new(),
        block: None,
        extends: false,
        called: None,
        is_lax: false,
        scopes: vec![HashMap::new()],
        present: Vec::new(),
        only_with: Arc::default(),
        found: BTreeMap::new(),
    };
    walk.statement(&template.tree);
    let found =
        |((Use { part, offset, name, attribute }, is_optional), only_with)| Found { part, name, attribute, offset, is_optional, only_with };
    walk.found.into_iter().map(found).collect()
}

impl<'t> Walk<'t> {
    fn note(&mut self, uses: Vec<Use<'t>>, is_optional: bool) {
        let is_optional = is_optional || self.is_lax;
        for one in uses {
            self.found.entry((one, is_optional)).or_insert_with(|| self.only_with.clone());
        }
    }

    /// An expression that fails when it is undefined.
    fn needs(&mut self, expression: &Expr<'t>) {
        let uses = self.uses(expression);
        self.note(uses, false);
    }

    /// An expression that may be undefined.
    fn allows(&mut self, expression: &Expr<'t>) {
        let uses = self.uses(expression);
        self.note(uses, true);
    }

    fn arguments(&mut self, arguments: &[CallArg<'t>], mut each: impl FnMut(&mut Self, &Expr<'t>)) {
        for argument in arguments {
            let (CallArg::Pos(expression)
            | CallArg::Kwarg(_, expression)
            | CallArg::PosSplat(expression)
            | CallArg::KwargSplat(expression)) = argument;
            each(self, expression);
        }
    }

    /// Walks what runs only when `present` are there.
    fn protected<T>(&mut self, present: Vec<String>, walk: impl FnOnce(&mut Self) -> T) -> T {
        let (before, around) = (self.present.len(), self.only_with.clone());
        self.guarantee(present);
        let walked = walk(self);
        self.present.truncate(before);
        self.only_with = around;
        walked
    }

    /// From here on these are certainly there.
    fn guarantee(&mut self, names: Vec<String>) {
        let before = self.present.len();
        for name in names {
            if self.present.len() < PRESENT_MAX && !self.present.contains(&name) {
                self.present.push(name);
            }
        }
        if self.present.len() > before {
            let is_field = |name: &&String| !name.contains(OF) && self.variable(name).is_none() && !GIVEN.contains(&name.as_str());
            self.only_with = Arc::new(self.present.iter().filter(is_field).cloned().collect());
        }
    }

    fn scoped(&mut self, walk: impl FnOnce(&mut Self)) {
        self.scopes.push(HashMap::new());
        walk(self);
        self.scopes.pop();
    }

    fn variable(&self, name: &str) -> Option<&Vec<Use<'t>>> {
        self.scopes.iter().rev().find_map(|scope| scope.get(name))
    }

    fn assign(&mut self, target: &Expr<'t>, uses: &[Use<'t>]) {
        match target {
            Expr::Var(variable) => {
                if let Some(scope) = self.scopes.last_mut() {
                    let kept: BTreeSet<&Use<'t>> = uses.iter().collect();
                    scope.insert(variable.id, kept.into_iter().take(USES_MAX).cloned().collect());
                }
            }
            Expr::List(list) => list.items.iter().for_each(|item| self.assign(item, &[])),
            Expr::Tuple(tuple) => tuple.items.iter().for_each(|item| self.assign(item, &[])),
            _ => {}
        }
    }

    /// The name of a field that is read through `fields`.
    fn of_fields(&self, expression: &Expr<'t>) -> Option<String> {
        let (object, name) = match expression {
            Expr::GetAttr(attribute) => (&attribute.expr, attribute.name.to_owned()),
            Expr::GetItem(item) => (&item.expr, item.subscript_expr.as_const()?.as_str()?.to_owned()),
            _ => return None,
        };
        self.is_fields(object).then_some(name)
    }

    fn is_fields(&self, expression: &Expr<'t>) -> bool {
        matches!(expression, Expr::Var(variable) if variable.id == "fields" && self.variable("fields").is_none())
    }

    /// A lookup of a field, unless it is certainly there.
    fn look_up(&mut self, name: &str, offset: u32) -> Vec<Use<'t>> {
        let uses = vec![Use { part: self.part, name: name.to_owned(), offset, attribute: None }];
        if self.present.iter().any(|present| present == name) {
            self.note(uses, true);
            return Vec::new();
        }
        uses
    }

    /// The field and its attribute in `name.attribute`.
    fn attribute_of_field(&self, expression: &Expr<'t>) -> Option<(String, String)> {
        let (object, attribute) = match expression {
            Expr::GetAttr(attribute) => (&attribute.expr, attribute.name.to_owned()),
            Expr::GetItem(item) => (&item.expr, item.subscript_expr.as_const()?.as_str()?.to_owned()),
            _ => return None,
        };
        let name = match object {
            Expr::Var(variable) if self.variable(variable.id).is_none() && !GIVEN.contains(&variable.id) => variable.id.to_owned(),
            object => self.of_fields(object)?,
        };
        Some((name, attribute))
    }

    /// A lookup of an attribute of a field, which is undefined where the field is a text.
    fn look_up_attribute(&mut self, expression: &Expr<'t>) -> Vec<Use<'t>> {
        let Some((name, attribute)) = self.attribute_of_field(expression) else { return Vec::new() };
        let is_present = self.present.contains(&mark(&name, &attribute));
        if is_present {
            Vec::new()
        } else {
            vec![Use { part: self.part, name, offset: expression.span().start_offset, attribute: Some(attribute) }]
        }
    }

    /// The fields without which an expression is undefined. Those without which it fails are noted.
    fn uses(&mut self, expression: &Expr<'t>) -> Vec<Use<'t>> {
        let offset = expression.span().start_offset;
        if let Some(name) = self.of_fields(expression) {
            return self.look_up(&name, offset);
        }
        match expression {
            Expr::Var(variable) => match self.variable(variable.id) {
                Some(_) if self.present.iter().any(|present| present == variable.id) => return Vec::new(),
                Some(uses) => return uses.clone(),
                None if GIVEN.contains(&variable.id) => {}
                None => return self.look_up(variable.id, offset),
            },
            Expr::Const(_) => {}
            Expr::UnaryOp(operation) => match operation.op {
                UnaryOpKind::Not => self.allows(&operation.expr),
                UnaryOpKind::Neg => self.needs(&operation.expr),
            },
            Expr::BinOp(operation) => match operation.op {
                BinOpKind::ScAnd => {
                    let operands = operands(expression, |kind| matches!(kind, BinOpKind::ScAnd));
                    return self.protected(Vec::new(), |walk| {
                        let mut uses = Vec::new();
                        for operand in operands {
                            uses.extend(walk.uses(operand));
                            walk.guarantee(walk.when_true(operand));
                        }
                        uses
                    });
                }
                BinOpKind::ScOr => {
                    let operands = operands(expression, |kind| matches!(kind, BinOpKind::ScOr));
                    return self.protected(Vec::new(), |walk| {
                        let mut last = Vec::new();
                        for operand in operands {
                            // What came before may be undefined, or this would not be looked at.
                            walk.note(std::mem::take(&mut last), true);
                            last = walk.uses(operand);
                            walk.guarantee(walk.when_false(operand));
                        }
                        last
                    });
                }
                _ => {
                    self.needs(&operation.left);
                    self.needs(&operation.right);
                }
            },
            Expr::Compare(comparison) => {
                self.needs(&comparison.expr);
                comparison.ops.iter().for_each(|operation| self.needs(&operation.expr));
            }
            Expr::IfExpr(choice) => {
                self.allows(&choice.test_expr);
                let (if_true, if_false) = (self.when_true(&choice.test_expr), self.when_false(&choice.test_expr));
                let mut uses = self.protected(if_true, |walk| walk.uses(&choice.true_expr));
                if let Some(other) = &choice.false_expr {
                    uses.extend(self.protected(if_false, |walk| walk.uses(other)));
                }
                return uses;
            }
            Expr::Filter(filter) => {
                let mut uses = Vec::new();
                match (filter.name, &filter.expr) {
                    ("default" | "d", Some(inner)) => {
                        self.allows(inner);
                        // The default may be a field too.
                        self.arguments(&filter.args, |walk, argument| uses.extend(walk.uses(argument)));
                        return uses;
                    }
                    ("bool", Some(inner)) => self.allows(inner),
                    (_, Some(inner)) => self.needs(inner),
                    (_, None) => {}
                }
                self.arguments(&filter.args, Self::needs);
            }
            Expr::Test(test) => {
                self.allows(&test.expr);
                self.arguments(&test.args, Self::allows);
            }
            Expr::GetAttr(attribute) => {
                self.needs(&attribute.expr);
                return self.look_up_attribute(expression);
            }
            Expr::GetItem(item) => {
                self.needs(&item.expr);
                self.needs(&item.subscript_expr);
                return self.look_up_attribute(expression);
            }
            Expr::Slice(slice) => {
                self.needs(&slice.expr);
                [&slice.start, &slice.stop, &slice.step].into_iter().flatten().for_each(|bound| self.allows(bound));
            }
            Expr::Call(call) => self.call(call, offset),
            Expr::List(list) => list.items.iter().for_each(|item| self.allows(item)),
            Expr::Tuple(tuple) => tuple.items.iter().for_each(|item| self.allows(item)),
            Expr::Map(map) => map.keys.iter().chain(&map.values).for_each(|item| self.allows(item)),
        }
        Vec::new()
    }

    fn call(&mut self, call: &Call<'t>, offset: u32) {
        match &call.expr {
            Expr::Var(variable) if variable.id == "super" => self.super_block(),
            // A function or a macro, which may have a default for what it is given.
            Expr::Var(_) => self.arguments(&call.args, Self::allows),
            Expr::GetAttr(method) if self.is_fields(&method.expr) => {
                if let ("get", Some(CallArg::Pos(name))) = (method.name, call.args.first())
                    && let Some(name) = name.as_const().as_ref().and_then(|name| name.as_str())
                {
                    self.note(vec![Use { part: self.part, name: name.to_owned(), offset, attribute: None }], true);
                }
                self.arguments(&call.args, Self::allows);
            }
            Expr::GetAttr(method) => {
                self.needs(&method.expr);
                self.arguments(&call.args, Self::needs);
            }
            other => {
                self.needs(other);
                self.arguments(&call.args, Self::allows);
            }
        }
    }

    /// What is certainly there when a condition holds.
    fn when_true(&self, condition: &Expr<'t>) -> Vec<String> {
        match condition {
            Expr::Var(variable) => vec![variable.id.to_owned()],
            Expr::UnaryOp(operation) if matches!(operation.op, UnaryOpKind::Not) => self.when_false(&operation.expr),
            Expr::BinOp(operation) => match operation.op {
                BinOpKind::ScAnd => [self.when_true(&operation.left), self.when_true(&operation.right)].concat(),
                BinOpKind::ScOr => in_both(self.when_true(&operation.left), &self.when_true(&operation.right)),
                _ => Vec::new(),
            },
            Expr::Test(test) if !matches!(test.name, "undefined" | "none" | "false" | "ne" | "!=") => self.when_true(&test.expr),
            Expr::Filter(filter) => filter.expr.as_ref().map(|inner| self.when_true(inner)).unwrap_or_default(),
            Expr::GetAttr(attribute) if !self.is_fields(&attribute.expr) => {
                let of_field = self.attribute_of_field(condition).map(|(name, attribute)| mark(&name, &attribute));
                self.when_true(&attribute.expr).into_iter().chain(of_field).collect()
            }
            Expr::Call(call) => match (&call.expr, call.args.first()) {
                // `fields.get("name")`
                (Expr::GetAttr(method), Some(CallArg::Pos(name))) if method.name == "get" && self.is_fields(&method.expr) => {
                    name.as_const().as_ref().and_then(|name| name.as_str()).map(str::to_owned).into_iter().collect()
                }
                _ => Vec::new(),
            },
            _ => self.of_fields(condition).into_iter().collect(),
        }
    }

    /// What is certainly there when a condition does not hold.
    fn when_false(&self, condition: &Expr<'t>) -> Vec<String> {
        match condition {
            Expr::UnaryOp(operation) if matches!(operation.op, UnaryOpKind::Not) => self.when_true(&operation.expr),
            Expr::BinOp(operation) => match operation.op {
                BinOpKind::ScAnd => in_both(self.when_false(&operation.left), &self.when_false(&operation.right)),
                BinOpKind::ScOr => [self.when_false(&operation.left), self.when_false(&operation.right)].concat(),
                _ => Vec::new(),
            },
            Expr::Test(test) if test.name == "undefined" => self.when_true(&test.expr),
            _ => Vec::new(),
        }
    }

    fn statements(&mut self, statements: &'t [Stmt<'t>]) {
        statements.iter().for_each(|statement| self.statement(statement));
    }

    fn statement(&mut self, statement: &'t Stmt<'t>) {
        match statement {
            Stmt::Template(template) => self.template(&template.children),
            Stmt::EmitExpr(emitted) => self.needs(&emitted.expr),
            Stmt::EmitRaw(text) => {
                for (_, name) in mjml::includes(text.raw) {
                    self.named_part(Some(name.as_str()), Self::statement);
                }
            }
            Stmt::Block(block) if !self.extends => self.block(block.name, 0),
            Stmt::Continue(_) | Stmt::Break(_) | Stmt::Extends(_) | Stmt::Block(_) => {}
            Stmt::Include(include) => self.named_part(include.name.as_const().as_ref().and_then(|name| name.as_str()), Self::statement),
            Stmt::Import(import) => {
                let called = if let Expr::Var(module) = &import.name { self.called_of(module.id) } else { BTreeSet::new() };
                self.imported(import.expr.as_const().as_ref().and_then(|name| name.as_str()), called);
                self.assign(&import.name, &[]);
            }
            Stmt::FromImport(import) => {
                let macros = import.names.iter().filter_map(|(name, _)| if let Expr::Var(name) = name { Some(name.id) } else { None });
                self.imported(import.expr.as_const().as_ref().and_then(|name| name.as_str()), macros.collect());
                import.names.iter().for_each(|(name, alias)| self.assign(alias.as_ref().unwrap_or(name), &[]));
            }
            Stmt::ForLoop(each) => {
                self.needs(&each.iter);
                self.scoped(|walk| {
                    walk.declare("loop");
                    walk.assign(&each.target, &[]);
                    let mut present = Vec::new();
                    if let Some(filter) = &each.filter_expr {
                        walk.allows(filter);
                        present = walk.when_true(filter);
                    }
                    walk.protected(present, |walk| walk.statements(&each.body));
                });
                self.statements(&each.else_body);
            }
            // A branch has no scope: what it sets holds after it.
            Stmt::IfCond(choice) => {
                self.allows(&choice.expr);
                let (if_true, if_false) = (self.when_true(&choice.expr), self.when_false(&choice.expr));
                self.protected(if_true, |walk| walk.statements(&choice.true_body));
                self.protected(if_false, |walk| walk.statements(&choice.false_body));
            }
            Stmt::WithBlock(with) => self.scoped(|walk| {
                for (target, value) in &with.assignments {
                    let uses = walk.uses(value);
                    walk.assign(target, &uses);
                }
                walk.statements(&with.body);
            }),
            Stmt::Set(set) => {
                let uses = self.uses(&set.expr);
                self.assign(&set.target, &uses);
            }
            Stmt::SetBlock(set) => {
                self.statements(&set.body);
                set.filter.iter().for_each(|filter| self.needs(filter));
                self.assign(&set.target, &[]);
            }
            Stmt::AutoEscape(block) => {
                self.allows(&block.enabled);
                self.statements(&block.body);
            }
            Stmt::FilterBlock(block) => {
                self.needs(&block.filter);
                self.statements(&block.body);
            }
            Stmt::Macro(declared) => {
                self.declare(declared.name);
                let is_called = self.called.as_ref().is_none_or(|called| called.contains(declared.name));
                let around = self.is_lax;
                self.is_lax |= !is_called;
                self.declared(declared);
                self.is_lax = around;
            }
            Stmt::CallBlock(block) => {
                self.call(&block.call, block.call_expr_span.start_offset);
                self.declared(&block.macro_decl);
            }
            Stmt::Do(done) => self.call(&done.call, done.span().start_offset),
        }
    }

    fn declare(&mut self, name: &'t str) {
        if let Some(scope) = self.scopes.last_mut() {
            scope.insert(name, Vec::new());
        }
    }

    /// A macro, or the body of a call.
    fn declared(&mut self, declared: &'t Macro<'t>) {
        declared.defaults.iter().for_each(|default| self.allows(default));
        self.scoped(|walk| {
            walk.declare("caller");
            declared.args.iter().for_each(|argument| walk.assign(argument, &[]));
            walk.statements(&declared.body);
        });
    }
}

/// The operands of a chain like `a and b and c`.
fn operands<'e, 't>(expression: &'e Expr<'t>, is_of_chain: impl Fn(&BinOpKind) -> bool) -> Vec<&'e Expr<'t>> {
    let mut operands = Vec::new();
    let mut rest = expression;
    while let Expr::BinOp(operation) = rest
        && is_of_chain(&operation.op)
    {
        operands.push(&operation.right);
        rest = &operation.left;
    }
    operands.push(rest);
    operands.reverse();
    operands
}

fn mark(name: &str, attribute: &str) -> String {
    format!("{name}{OF}{attribute}")
}

fn in_both(some: Vec<String>, others: &[String]) -> Vec<String> {
    some.into_iter().filter(|name| others.contains(name)).collect()
}
