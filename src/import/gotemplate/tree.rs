//! Go's text/template as a tree. Pure.

use super::lexer::{Fault, Kind, Piece, Token, pieces};

/// How deep blocks and brackets may be nested.
const DEPTH_MAX: usize = 50;

/// A part of a template, with its line.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// The line, from 1.
    pub line: usize,
    /// What it is.
    pub kind: NodeKind,
}

/// What a part of a template is.
#[derive(Clone, Debug, PartialEq)]
pub enum NodeKind {
    /// Text.
    Text(String),
    /// A comment.
    Comment(String),
    /// A value that is printed, or a variable that is set.
    Value(Pipe),
    /// `{{ if }}`, with what follows `{{ else }}`.
    If(Pipe, Vec<Node>, Vec<Node>),
    /// `{{ with }}`.
    With(Pipe, Vec<Node>, Vec<Node>),
    /// `{{ range }}`.
    Range(Pipe, Vec<Node>, Vec<Node>),
    /// `{{ template "name" value }}`.
    Template(String, Option<Pipe>),
    /// `{{ define "name" }}`.
    Define(String, Vec<Node>),
    /// `{{ block "name" value }}`.
    Block(String, Option<Pipe>, Vec<Node>),
    /// `{{ break }}`.
    Break,
    /// `{{ continue }}`.
    Continue,
}

/// Commands, each of which gets the value of the one before as its last argument; and the variables that take the result.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Pipe {
    /// The variables.
    pub variables: Vec<String>,
    /// Whether they are declared (`:=`), or there already (`=`).
    pub declares: bool,
    /// The commands.
    pub commands: Vec<Vec<Operand>>,
}

/// An operand of a command.
#[derive(Clone, Debug, PartialEq)]
pub enum Operand {
    /// `.`
    Dot,
    /// `.a.b`
    Field(Vec<String>),
    /// `$x.a.b`
    Variable(String, Vec<String>),
    /// A function's name, with a method's behind a dot, or a constant's.
    Word(String),
    /// A number.
    Number(String),
    /// A string.
    Text(String),
    /// `(…).a.b`
    Group(Pipe, Vec<String>),
}

/// The tree of a template.
///
/// # Errors
/// When it is none.
pub fn parse(source: &str) -> Result<Vec<Node>, Fault> {
    let mut reader = Reader { pieces: pieces(source)?.into_iter(), line: 1 };
    match reader.nodes(0)? {
        (nodes, Stop::Eof) => Ok(nodes),
        (_, end) => Err(reader.fault(format!("`{}` belongs to nothing", end.word()))),
    }
}

/// What ended a list of nodes.
enum Stop {
    Eof,
    End,
    Else(Vec<Token>),
}

impl Stop {
    const fn word(&self) -> &'static str {
        match self {
            Self::Eof => "the end",
            Self::End => "{{ end }}",
            Self::Else(_) => "{{ else }}",
        }
    }
}

struct Reader {
    pieces: std::vec::IntoIter<(usize, Piece)>,
    line: usize,
}

impl Reader {
    fn fault(&self, what: impl Into<String>) -> Fault {
        Fault { line: self.line, what: what.into() }
    }

    fn nodes(&mut self, depth: usize) -> Result<(Vec<Node>, Stop), Fault> {
        if depth > DEPTH_MAX {
            return Err(self.fault(format!("blocks are nested more than {DEPTH_MAX} deep")));
        }
        let mut nodes = Vec::new();
        while let Some((line, piece)) = self.pieces.next() {
            self.line = line;
            let kind = match piece {
                Piece::Text(text) => NodeKind::Text(text),
                Piece::Comment(text) => NodeKind::Comment(text),
                Piece::Action(tokens) => {
                    let word = match tokens.first() {
                        Some(Token { kind: Kind::Word(word), .. }) => &**word,
                        _ => "",
                    };
                    match word {
                        "end" => return Ok((nodes, Stop::End)),
                        "else" => return Ok((nodes, Stop::Else(tokens[1..].to_vec()))),
                        "if" | "with" | "range" => self.branch(word, &tokens[1..], depth)?,
                        "break" => NodeKind::Break,
                        "continue" => NodeKind::Continue,
                        "template" => {
                            let (name, value) = self.named(&tokens[1..])?;
                            NodeKind::Template(name, value)
                        }
                        "define" => {
                            let (name, _) = self.named(&tokens[1..])?;
                            NodeKind::Define(name, self.body(depth)?)
                        }
                        "block" => {
                            let (name, value) = self.named(&tokens[1..])?;
                            NodeKind::Block(name, value, self.body(depth)?)
                        }
                        _ => NodeKind::Value(self.pipe(&tokens)?),
                    }
                }
            };
            nodes.push(Node { line, kind });
        }
        Ok((nodes, Stop::Eof))
    }

    /// What stands up to `{{ end }}`.
    fn body(&mut self, depth: usize) -> Result<Vec<Node>, Fault> {
        match self.nodes(depth + 1)? {
            (nodes, Stop::End) => Ok(nodes),
            (_, end) => Err(self.fault(format!("`{{{{ end }}}}` is missing before {}", end.word()))),
        }
    }

    fn branch(&mut self, word: &str, tokens: &[Token], depth: usize) -> Result<NodeKind, Fault> {
        let pipe = self.pipe(tokens)?;
        let line = self.line;
        let (then, end) = self.nodes(depth + 1)?;
        let otherwise = match end {
            Stop::End => Vec::new(),
            Stop::Eof => return Err(Fault { line, what: format!("`{{{{ {word} }}}}` has no `{{{{ end }}}}`") }),
            Stop::Else(rest) if rest.is_empty() => self.body(depth)?,
            // `{{ else if }}` is an `if` within the `else`, which shares its end.
            Stop::Else(rest) => {
                let line = self.line;
                let inner = match rest.first().map(|token| &token.kind) {
                    Some(Kind::Word(inner)) if inner == "if" || inner == "with" => inner.clone(),
                    _ => return Err(self.fault("`{{ else }}` is followed by what is neither `if` nor `with`")),
                };
                vec![Node { line, kind: self.branch(&inner, &rest[1..], depth + 1)? }]
            }
        };
        Ok(match word {
            "if" => NodeKind::If(pipe, then, otherwise),
            "with" => NodeKind::With(pipe, then, otherwise),
            _ => NodeKind::Range(pipe, then, otherwise),
        })
    }

    /// A name in quotes, and perhaps a value.
    fn named(&self, tokens: &[Token]) -> Result<(String, Option<Pipe>), Fault> {
        match tokens.split_first() {
            Some((Token { kind: Kind::Text(name), .. }, rest)) => {
                Ok((name.clone(), if rest.is_empty() { None } else { Some(self.pipe(rest)?) }))
            }
            _ => Err(self.fault("a template is named by no string")),
        }
    }

    fn pipe(&self, tokens: &[Token]) -> Result<Pipe, Fault> {
        let mut rest = tokens;
        let mut pipe = Pipe::default();
        let sign = tokens.iter().position(|token| matches!(token.kind, Kind::Sign(":=" | "=")));
        if let Some(at) = sign {
            for token in &tokens[..at] {
                match &token.kind {
                    Kind::Variable(name) if !name.is_empty() => pipe.variables.push(name.clone()),
                    Kind::Sign(",") => {}
                    _ => return Err(self.fault("what is set is no variable")),
                }
            }
            pipe.declares = tokens[at].kind == Kind::Sign(":=");
            rest = &tokens[at + 1..];
        }
        let mut at = 0;
        pipe.commands = self.commands(rest, &mut at, 0)?;
        if at < rest.len() {
            return Err(self.fault("a bracket is closed that was not opened"));
        }
        Ok(pipe)
    }

    /// Commands up to the end, or to a closing bracket, which is not passed.
    fn commands(&self, tokens: &[Token], at: &mut usize, depth: usize) -> Result<Vec<Vec<Operand>>, Fault> {
        if depth > DEPTH_MAX {
            return Err(self.fault(format!("brackets are nested more than {DEPTH_MAX} deep")));
        }
        let mut commands = vec![Vec::new()];
        while let Some(token) = tokens.get(*at) {
            *at += 1;
            let operand = match &token.kind {
                Kind::Sign(")") => {
                    *at -= 1;
                    break;
                }
                Kind::Sign("|") => {
                    commands.push(Vec::new());
                    continue;
                }
                Kind::Sign("(") => {
                    let group = self.commands(tokens, at, depth + 1)?;
                    if tokens.get(*at).map(|token| &token.kind) != Some(&Kind::Sign(")")) {
                        return Err(self.fault("a bracket is not closed"));
                    }
                    *at += 1;
                    Operand::Group(Pipe { commands: group, ..Pipe::default() }, fields(tokens, at))
                }
                Kind::Sign(sign) => return Err(self.fault(format!("`{sign}` is not expected here"))),
                Kind::Dot => Operand::Dot,
                Kind::Field(name) => Operand::Field([vec![name.clone()], fields(tokens, at)].concat()),
                Kind::Variable(name) => Operand::Variable(name.clone(), fields(tokens, at)),
                // `L.T` is a method of what the function `L` gives: one name.
                Kind::Word(word) => Operand::Word([vec![word.clone()], fields(tokens, at)].concat().join(".")),
                Kind::Number(number) => Operand::Number(number.clone()),
                Kind::Text(text) => Operand::Text(text.clone()),
            };
            if let Some(command) = commands.last_mut() {
                command.push(operand);
            }
        }
        if commands.iter().any(Vec::is_empty) {
            return Err(self.fault("a command is missing"));
        }
        Ok(commands)
    }
}

/// The fields that follow without a blank.
fn fields(tokens: &[Token], at: &mut usize) -> Vec<String> {
    let mut names = Vec::new();
    while let Some(Token { kind: Kind::Field(name), spaced: false }) = tokens.get(*at) {
        names.push(name.clone());
        *at += 1;
    }
    names
}
