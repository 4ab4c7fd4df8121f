//! Templates of Go as templates of Jinja: what means the same is carried over, each doubt is a comment in place, and what has no
//! counterpart prints a field that nobody has, so that nothing is ever sent with a wrong text. Pure.

mod functions;
mod html;
mod jinja;
mod lexer;
mod tree;

#[cfg(test)]
mod tests;

pub use self::jinja::{Options, Translated, translate};

/// A field that no audience has: a campaign with it does not start.
pub const NOT_CARRIED_OVER: &str = "not_carried_over";

/// A value in an expression of Jinja.
#[derive(Clone, Debug, PartialEq)]
pub struct Value {
    /// The expression.
    pub text: String,
    /// What is known of it.
    pub kind: ValueKind,
}

/// What is known of a value.
#[derive(Clone, Debug, PartialEq)]
pub enum ValueKind {
    /// It is this text, whoever the recipient is.
    Constant(String),
    /// A field that may be missing: it then prints nothing, as in Go.
    Field,
    /// One of several values, all of which may be missing; it has operators.
    Either,
    /// A URL that the program makes itself, which it lets through wherever URLs may be.
    Url,
    /// It is percent-encoded already.
    Encoded,
    /// Markup, which is not escaped.
    Markup,
    /// It prints nothing.
    Nothing,
    /// The result of filters or functions; it stands for itself.
    Operand,
    /// It has operators, and is put into brackets where it is an operand.
    Expression,
}

impl Value {
    /// A value of a kind.
    pub fn new(text: impl Into<String>, kind: ValueKind) -> Self {
        Self { text: text.into(), kind }
    }

    /// A text.
    pub fn constant(text: &str) -> Self {
        Self::new(quoted(text), ValueKind::Constant(text.to_owned()))
    }

    /// The expression as an operand of others.
    pub fn operand(&self) -> String {
        let is_whole = match self.kind {
            ValueKind::Expression | ValueKind::Either => false,
            ValueKind::Url => !self.text.contains(' '),
            _ => true,
        };
        if is_whole { self.text.clone() } else { format!("({})", self.text) }
    }
}

/// What templates can use of the program that they are written for.
pub trait Data {
    /// The field of the data that a path from the root means; or why it has no counterpart. The text is a doubt about it.
    ///
    /// # Errors
    /// Why it cannot be carried over.
    fn field(&mut self, path: &[String]) -> Result<(Value, Option<String>), String>;

    /// Whether a path from the root is an object that is always there.
    fn is_object(&self, path: &[String]) -> bool;

    /// The program's own functions: none for any other.
    ///
    /// # Errors
    /// Why the function cannot be carried over.
    fn function(&mut self, name: &str, arguments: &[Value]) -> Option<Result<(Value, Option<String>), String>>;
}

/// A string of Jinja.
pub fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            _ => out.push(c),
        }
    }
    out.push('"');
    out
}

/// A name as Jinja has it after a dot, or else in brackets.
pub fn member(of: &str, name: &str) -> String {
    let is_name =
        name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    if is_name { format!("{of}.{name}") } else { format!("{of}[{}]", quoted(name)) }
}

/// A value within others. One that is missing on the way is nobody's, and so is what it would have, as in Go.
pub fn path(of: &str, names: &[impl AsRef<str>]) -> String {
    let mut whole = of.to_owned();
    for (position, name) in names.iter().enumerate() {
        if position > 0 {
            whole = format!("({whole}|default({{}}))");
        }
        whole = member(&whole, name.as_ref());
    }
    whole
}

/// Text of a template that is none: what would begin a tag of Jinja does not.
pub fn literal(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        // At the end, since a tag may follow.
        if c == '{' && matches!(chars.peek(), None | Some('{' | '%' | '#')) {
            out.push_str("{{ \"{\" }}");
        } else {
            out.push(c);
        }
    }
    out
}

/// A comment of Jinja.
pub fn comment(text: &str) -> String {
    let text: String = text.replace("{#", "{ #").replace("#}", "# }").split_whitespace().collect::<Vec<_>>().join(" ");
    format!("{{# {text} #}}")
}

/// Text with what HTML means otherwise escaped.
pub fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;").replace('\'', "&#39;")
}
