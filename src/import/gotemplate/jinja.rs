//! A tree of Go's text/template as a template of Jinja. Pure.

use std::collections::BTreeMap;

use super::{
    Data, NOT_CARRIED_OVER, Value, ValueKind, comment, escaped, functions,
    html::{Html, Place},
    lexer::Fault,
    literal, path,
    tree::{Node, NodeKind, Operand, Pipe, parse},
};

/// Templates within templates.
const DEPTH_MAX: usize = 10;
/// What a template may become, bytes: more than a body may have.
const OUT_MAX: usize = 4 << 20;
/// What is visited of it, templates within templates as often as they are named.
const NODES_MAX: usize = 200_000;

/// Something of a template that people should look at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remark {
    /// The line in the source, from 1.
    pub line: usize,
    /// Whether it could not be carried over, so that the campaign does not start.
    pub is_lost: bool,
    /// What it is.
    pub what: String,
}

/// A template of Jinja, and what is to be said of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Translated {
    /// The template.
    pub text: String,
    /// What people should look at.
    pub remarks: Vec<Remark>,
    /// Whether it has a place for a message's content.
    pub has_content: bool,
}

/// How a template is translated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Whether it is HTML, as Go's html/template escapes it; otherwise text.
    pub is_html: bool,
    /// Whether `{{ template "content" . }}` is the place for a message's content.
    pub is_layout: bool,
}

/// Translates a template.
///
/// # Errors
/// When it is no template of Go.
pub fn translate(source: &str, options: Options, data: &mut dyn Data) -> Result<Translated, Fault> {
    let nodes = parse(source)?;
    let mut printer = Printer {
        data,
        options,
        html: options.is_html.then(Html::default),
        out: Translated::default(),
        defined: BTreeMap::new(),
        variables: Vec::new(),
        names: 0,
        loops: 0,
        inner: 0,
        line: 1,
        visited: 0,
        had_comment: false,
    };
    printer.define(&nodes);
    printer.nodes(&nodes, &Dot::Root(Vec::new()));
    if printer.visited > NODES_MAX || printer.out.text.len() > OUT_MAX {
        printer.lose("it is longer than a message may be, with the templates that it names");
    }
    if printer.had_comment {
        let what = "comments of HTML and of styles are left out, as the program does when it sends";
        printer.out.remarks.push(Remark { line: 1, is_lost: false, what: what.to_owned() });
    }
    Ok(printer.out)
}

/// What `.` is.
#[derive(Clone, Debug)]
enum Dot {
    /// What a path from the root means.
    Root(Vec<String>),
    /// An expression.
    Value(String),
}

struct Variable {
    go: String,
    value: Value,
    /// The loops around its declaration.
    loops: usize,
}

struct Printer<'a> {
    data: &'a mut dyn Data,
    options: Options,
    html: Option<Html>,
    out: Translated,
    defined: BTreeMap<String, Vec<Node>>,
    variables: Vec<Variable>,
    names: usize,
    loops: usize,
    /// Templates around this place.
    inner: usize,
    line: usize,
    visited: usize,
    had_comment: bool,
}

impl Printer<'_> {
    fn define(&mut self, nodes: &[Node]) {
        for node in nodes {
            if let NodeKind::Define(name, body) | NodeKind::Block(name, _, body) = &node.kind {
                self.defined.insert(name.clone(), body.clone());
                self.define(body);
            }
        }
    }

    fn nodes(&mut self, nodes: &[Node], dot: &Dot) {
        let declared = self.variables.len();
        for node in nodes {
            self.visited += 1;
            if self.visited > NODES_MAX || self.out.text.len() > OUT_MAX {
                break;
            }
            self.line = node.line;
            if let Err(why) = self.node(&node.kind, dot) {
                self.line = node.line;
                self.lose(&why);
            }
        }
        self.variables.truncate(declared);
    }

    fn node(&mut self, kind: &NodeKind, dot: &Dot) -> Result<(), String> {
        match kind {
            NodeKind::Text(text) => self.text(text),
            NodeKind::Comment(text) => self.out.text.push_str(&comment(text)),
            NodeKind::Value(pipe) => self.value(pipe, dot)?,
            NodeKind::If(pipe, then, otherwise) => {
                let declared = self.variables.len();
                let test = self.tested(pipe, dot);
                self.branches(&format!("{{% if {test} %}}"), (then, dot), (otherwise, dot), "{% endif %}");
                self.variables.truncate(declared);
            }
            NodeKind::With(pipe, then, otherwise) => self.with(pipe, then, otherwise, dot),
            NodeKind::Range(pipe, then, otherwise) => self.range(pipe, then, otherwise, dot)?,
            NodeKind::Template(name, value) | NodeKind::Block(name, value, _) => self.template(name, value.as_ref(), dot)?,
            NodeKind::Define(..) => {}
            NodeKind::Break => self.out.text.push_str("{% break %}"),
            NodeKind::Continue => self.out.text.push_str("{% continue %}"),
        }
        Ok(())
    }

    fn text(&mut self, text: &str) {
        let text = match &mut self.html {
            Some(html) => html.text(text, &mut self.had_comment),
            None => text.to_owned(),
        };
        self.out.text.push_str(&literal(&text));
    }

    fn doubt(&mut self, what: &str) {
        self.out.text.push_str(&comment(&format!("check: {what}")));
        self.out.remarks.push(Remark { line: self.line, is_lost: false, what: what.to_owned() });
    }

    /// Marks what has no counterpart: the field that is printed is nobody's.
    fn lose(&mut self, why: &str) {
        self.out.text.push_str(&comment(&format!("not carried over: {why}")));
        self.out.text.push_str(&format!("{{{{ {NOT_CARRIED_OVER} }}}}"));
        self.out.remarks.push(Remark { line: self.line, is_lost: true, what: why.to_owned() });
    }

    /// A value that is printed, or that variables take.
    fn value(&mut self, pipe: &Pipe, dot: &Dot) -> Result<(), String> {
        let value = self.pipe(pipe, dot)?;
        if !pipe.variables.is_empty() {
            return self.set(pipe, value);
        }
        let place = self.html.as_ref().map(Html::place);
        let text = match (&value.kind, place) {
            (ValueKind::Nothing, _) => return Ok(()),
            (ValueKind::Constant(text), Some(Place::Html | Place::Url | Place::UrlPath)) => literal(&escaped(text)),
            (ValueKind::Constant(text), None | Some(Place::Style)) => literal(text),
            (_, Some(Place::Other(place))) => return Err(format!("a value {place}, which Go escapes in a way that Jinja has not")),
            (ValueKind::Url, Some(place)) if place != Place::UrlQuery => format!("{{{{ {} }}}}", value.text),
            (ValueKind::Markup, _) => format!("{{{{ {} }}}}", value.text),
            (kind, place) => {
                let printed = match kind {
                    ValueKind::Field | ValueKind::Either => Value::new(format!("{}|default(\"\")", value.operand()), ValueKind::Operand),
                    _ => value.clone(),
                };
                match place {
                    Some(Place::Url) => self.doubt("Go lets only http, https and mailto through as the beginning of a URL"),
                    Some(Place::UrlPath) => self.doubt("Go percent-encodes here what no URL may contain, such as blanks"),
                    Some(Place::Style) => self.doubt("Go lets only plain values through in a style"),
                    _ => {}
                }
                let is_query = place == Some(Place::UrlQuery) && *kind != ValueKind::Encoded;
                let operand = printed.operand();
                if is_query { format!("{{{{ {operand}|urlencode }}}}") } else { format!("{{{{ {} }}}}", operand_or_bare(&operand)) }
            }
        };
        self.out.text.push_str(&text);
        if let Some(html) = &mut self.html {
            html.value();
        }
        Ok(())
    }

    fn set(&mut self, pipe: &Pipe, value: Value) -> Result<(), String> {
        let [go] = &*pipe.variables else {
            return Err("two variables are set outside of a `range`".to_owned());
        };
        let name = if pipe.declares {
            self.name(go)
        } else {
            let known = self.variables.iter().rev().find(|variable| variable.go == *go);
            let known = known.ok_or_else(|| format!("the variable `${go}` is not declared"))?;
            if known.loops < self.loops {
                return Err(format!("`${go}` is set within a loop; Jinja forgets that at the loop's end"));
            }
            known.value.text.clone()
        };
        self.out.text.push_str(&format!("{{% set {name} = {} %}}", value.text));
        if pipe.declares {
            self.variables.push(Variable { go: go.clone(), value: Value::new(name, ValueKind::Field), loops: self.loops });
        }
        Ok(())
    }

    /// A name that no other variable has, nor any field that begins otherwise.
    fn name(&mut self, go: &str) -> String {
        self.names += 1;
        let plain: String = go.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
        format!("var{}_{plain}", self.names)
    }

    /// What an `if` or `with` looks at; where it has no counterpart that is marked before.
    fn looked_at(&mut self, pipe: &Pipe, dot: &Dot) -> Value {
        let value = self.pipe(pipe, dot).and_then(|value| {
            let Some(go) = pipe.variables.first() else { return Ok(value) };
            self.set(pipe, value)?;
            let set = self.variables.iter().rev().find(|variable| variable.go == *go);
            set.map(|variable| variable.value.clone()).ok_or_else(|| format!("the variable `${go}` is not declared"))
        });
        match value {
            Ok(Value { kind: ValueKind::Nothing, .. }) => Value::new("false", ValueKind::Operand),
            Ok(value) => value,
            Err(why) => {
                self.lose(&why);
                Value::new("false", ValueKind::Operand)
            }
        }
    }

    /// The condition of an `if`.
    fn tested(&mut self, pipe: &Pipe, dot: &Dot) -> String {
        match self.looked_at(pipe, dot) {
            Value { kind: ValueKind::Constant(text), .. } => (if text.is_empty() { "false" } else { "true" }).to_owned(),
            value => value.text,
        }
    }

    /// Both branches begin at the same place of the document.
    fn branches(&mut self, begin: &str, (then, inner): (&[Node], &Dot), (otherwise, outer): (&[Node], &Dot), end: &str) {
        self.out.text.push_str(begin);
        let place = self.html.clone();
        self.inner += 1;
        self.nodes(then, inner);
        self.inner -= 1;
        if !otherwise.is_empty() {
            self.out.text.push_str("{% else %}");
            let after = std::mem::replace(&mut self.html, place);
            self.inner += 1;
            self.nodes(otherwise, outer);
            self.inner -= 1;
            self.html = after;
        }
        self.out.text.push_str(end);
    }

    fn with(&mut self, pipe: &Pipe, then: &[Node], otherwise: &[Node], dot: &Dot) {
        if let ([command], true) = (&*pipe.commands, pipe.variables.is_empty())
            && let [operand] = &**command
            && let Some(path) = path_of(operand, dot).filter(|path| self.data.is_object(path))
        {
            return self.nodes(then, &Dot::Root(path));
        }
        let declared = self.variables.len();
        let test = self.looked_at(pipe, dot).text;
        let is_name = !test.contains(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '_' | '.')));
        let name = if is_name {
            test
        } else {
            let name = self.name("with");
            self.out.text.push_str(&format!("{{% set {name} = {test} %}}"));
            name
        };
        self.branches(&format!("{{% if {name} %}}"), (then, &Dot::Value(name)), (otherwise, dot), "{% endif %}");
        self.variables.truncate(declared);
    }

    fn range(&mut self, pipe: &Pipe, then: &[Node], otherwise: &[Node], dot: &Dot) -> Result<(), String> {
        let value = self.pipe(&Pipe { variables: Vec::new(), ..pipe.clone() }, dot)?;
        if matches!(value.kind, ValueKind::Nothing | ValueKind::Constant(_)) {
            return Err("a loop over what is no list".to_owned());
        }
        if !pipe.variables.is_empty() && !pipe.declares {
            return Err("a loop that sets variables from outside has no counterpart in Jinja".to_owned());
        }
        self.doubt("over an object, Go loops over the values in the order of their names, and Jinja over the names");
        let (index, go) = match &*pipe.variables {
            [] => (None, "item".to_owned()),
            [item] => (None, item.clone()),
            [index, item] => (Some(index.clone()), item.clone()),
            _ => return Err("a loop with more than two variables".to_owned()),
        };
        let item = self.name(&go);
        let declared = self.variables.len();
        self.loops += 1;
        self.variables.push(Variable { go, value: Value::new(item.clone(), ValueKind::Field), loops: self.loops });
        let mut begin = String::new();
        if let Some(index) = index {
            // A loop within this one has an index of its own.
            let name = self.name(&index);
            begin = format!("{{% set {name} = loop.index0 %}}");
            self.variables.push(Variable { go: index, value: Value::new(name, ValueKind::Operand), loops: self.loops });
        }
        let over = if value.kind == ValueKind::Field { format!("{}|default([])", value.text) } else { value.text };
        self.branches(&format!("{{% for {item} in {over} %}}{begin}"), (then, &Dot::Value(item)), (otherwise, dot), "{% endfor %}");
        self.loops -= 1;
        self.variables.truncate(declared);
        Ok(())
    }

    fn template(&mut self, name: &str, value: Option<&Pipe>, dot: &Dot) -> Result<(), String> {
        if self.options.is_layout && name == "content" && !self.defined.contains_key(name) {
            let is_root =
                value.is_some_and(|pipe| pipe.commands == [vec![Operand::Dot]]) && matches!(dot, Dot::Root(path) if path.is_empty());
            if self.loops > 0 || self.out.has_content || !is_root {
                return Err("the content stands more than once, in a loop, or gets other data".to_owned());
            }
            if self.html.as_ref().is_some_and(|html| html.place() != Place::Html) {
                return Err("the content stands within a tag, a style or a script".to_owned());
            }
            self.out.has_content = true;
            self.out.text.push_str("{% block content %}{% endblock %}");
            return Ok(());
        }
        let body = self.defined.get(name).cloned().ok_or_else(|| format!("the template \"{name}\" is not there"))?;
        if self.inner > DEPTH_MAX * 5 {
            return Err(format!("the template \"{name}\" is nested too deep"));
        }
        let inner = match value {
            None => Dot::Value("none".to_owned()),
            Some(pipe) => match &*pipe.commands {
                [command] if **command == [Operand::Dot] => dot.clone(),
                [command] if command.len() == 1 && path_of(&command[0], dot).is_some_and(|path| self.data.is_object(&path)) => {
                    Dot::Root(path_of(&command[0], dot).unwrap_or_default())
                }
                _ => Dot::Value(self.pipe(pipe, dot)?.operand()),
            },
        };
        self.inner += 5;
        // Variables of the place where it is named are not seen within.
        let outer = std::mem::take(&mut self.variables);
        self.nodes(&body, &inner);
        self.variables = outer;
        self.inner -= 5;
        Ok(())
    }

    fn pipe(&mut self, pipe: &Pipe, dot: &Dot) -> Result<Value, String> {
        let mut piped: Option<Value> = None;
        for command in &pipe.commands {
            piped = Some(self.command(command, piped, dot)?);
        }
        piped.ok_or_else(|| "a value is missing".to_owned())
    }

    fn command(&mut self, command: &[Operand], piped: Option<Value>, dot: &Dot) -> Result<Value, String> {
        let Some((first, rest)) = command.split_first() else { return Err("a command is missing".to_owned()) };
        if let Operand::Word(name) = first
            && !matches!(&**name, "true" | "false" | "nil")
        {
            // The data itself as an argument, as the program's own functions get it.
            let mut arguments = Vec::new();
            for operand in rest {
                if path_of(operand, dot).is_none_or(|path| !path.is_empty()) {
                    arguments.push(self.operand(operand, dot)?);
                }
            }
            arguments.extend(piped);
            let called = self.data.function(name, &arguments).unwrap_or_else(|| functions::call(name, &arguments));
            let (value, doubt) = called?;
            if let Some(doubt) = doubt {
                self.doubt(&doubt);
            }
            return Ok(value);
        }
        if !rest.is_empty() || piped.is_some() {
            return Err("a method with arguments has no counterpart".to_owned());
        }
        self.operand(first, dot)
    }

    fn operand(&mut self, operand: &Operand, dot: &Dot) -> Result<Value, String> {
        if let Some(path) = path_of(operand, dot) {
            let (value, doubt) = self.data.field(&path)?;
            if let Some(doubt) = doubt {
                self.doubt(&doubt);
            }
            return Ok(value);
        }
        let of = |base: &str, names: &[String]| path(base, names);
        Ok(match operand {
            Operand::Dot | Operand::Field(_) => {
                let Dot::Value(base) = dot else { return Err("`.` is not known".to_owned()) };
                let names: &[String] = if let Operand::Field(names) = operand { names } else { &[] };
                Value::new(of(base, names), ValueKind::Field)
            }
            Operand::Variable(name, names) => {
                let known = self.variables.iter().rev().find(|variable| variable.go == *name);
                let known = known.ok_or_else(|| format!("the variable `${name}` is not declared"))?;
                let kind = if names.is_empty() { known.value.kind.clone() } else { ValueKind::Field };
                Value::new(of(&known.value.operand(), names), kind)
            }
            Operand::Word(word) => match &**word {
                "nil" => Value::new("none", ValueKind::Operand),
                "true" | "false" => Value::new(word.as_str(), ValueKind::Operand),
                _ => return self.command(std::slice::from_ref(operand), None, dot),
            },
            Operand::Number(number) => {
                let is_plain = number.bytes().all(|b| b.is_ascii_digit() || b == b'.' || b == b'-');
                if !is_plain {
                    return Err(format!("the number {number} has no counterpart in Jinja"));
                }
                Value::new(number.as_str(), ValueKind::Operand)
            }
            Operand::Text(text) => Value::constant(text),
            Operand::Group(pipe, names) => {
                let value = self.pipe(pipe, dot)?;
                if names.is_empty() { value } else { Value::new(of(&value.operand(), names), ValueKind::Field) }
            }
        })
    }
}

/// A printed expression needs no brackets around the whole of it.
fn operand_or_bare(operand: &str) -> &str {
    operand.strip_prefix('(').and_then(|inner| inner.strip_suffix(')')).filter(|inner| !inner.contains(['(', ')'])).unwrap_or(operand)
}

/// The path from the root that an operand is.
fn path_of(operand: &Operand, dot: &Dot) -> Option<Vec<String>> {
    match (operand, dot) {
        (Operand::Dot, Dot::Root(path)) => Some(path.clone()),
        (Operand::Field(names), Dot::Root(path)) => Some([&**path, names].concat()),
        (Operand::Variable(name, names), _) if name.is_empty() => Some(names.clone()),
        _ => None,
    }
}
