//! Go's text/template as pieces: texts, comments, and actions with their tokens. Pure.
//!
//! Blanks around an action with a dash (`{{- x -}}`) are gone here, as they are in Go.

/// What of a template cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The line, from 1.
    pub line: usize,
    /// What is wrong.
    pub what: String,
}

/// A piece of a template.
#[derive(Clone, Debug, PartialEq)]
pub enum Piece {
    /// Text between actions.
    Text(String),
    /// A comment, without its signs.
    Comment(String),
    /// An action.
    Action(Vec<Token>),
}

/// A word or sign of an action.
#[derive(Clone, Debug, PartialEq)]
pub struct Token {
    /// What it is.
    pub kind: Kind,
    /// Whether a blank stands before it: `.a .b` are two operands, `.a.b` is one.
    pub spaced: bool,
}

/// The kinds of tokens.
#[derive(Clone, Debug, PartialEq)]
pub enum Kind {
    /// `.`
    Dot,
    /// `.Name`
    Field(String),
    /// `$` or `$name`, without the sign.
    Variable(String),
    /// A keyword, a constant or a function.
    Word(String),
    /// A number as it is written.
    Number(String),
    /// A string or a character, unquoted.
    Text(String),
    /// `(`, `)`, `|`, `,`, `:=` or `=`.
    Sign(&'static str),
}

/// The pieces of a template, each with the line at which it begins.
///
/// # Errors
/// When an action is not closed, or has what no action has.
pub fn pieces(source: &str) -> Result<Vec<(usize, Piece)>, Fault> {
    let (mut pieces, mut rest, mut line) = (Vec::new(), source, 1);
    let mut trims = false;
    while let Some(at) = rest.find("{{") {
        let (text, after) = rest.split_at(at);
        let after = &after[2..];
        let before = line;
        line += newlines(text);
        let opened = line;
        let (after, trims_before) = match after.strip_prefix('-') {
            Some(inner) if inner.starts_with(BLANKS) => (inner, true),
            _ => (after, false),
        };
        push_text(&mut pieces, before, text, trims, trims_before);
        let unclosed = || Fault { line: opened, what: "an action is not closed by `}}`".to_owned() };
        let (piece, length, trims_after) = if after.trim_start_matches(BLANKS).starts_with("/*") {
            let begin = after.find("/*").unwrap_or_default() + 2;
            let end = begin + after[begin..].find("*/").ok_or_else(unclosed)?;
            let (close, trims) = closing(&after[end + 2..]).ok_or_else(unclosed)?;
            (Piece::Comment(after[begin..end].trim().to_owned()), end + 2 + close, trims)
        } else {
            let (tokens, length, trims) = action(after, opened)?;
            (Piece::Action(tokens), length, trims)
        };
        line += newlines(&after[..length]);
        pieces.push((opened, piece));
        (rest, trims) = (&after[length..], trims_after);
    }
    push_text(&mut pieces, line, rest, trims, false);
    Ok(pieces)
}

const BLANKS: [char; 4] = [' ', '\t', '\r', '\n'];

fn newlines(text: &str) -> usize {
    text.bytes().filter(|byte| *byte == b'\n').count()
}

fn push_text(pieces: &mut Vec<(usize, Piece)>, line: usize, text: &str, trims_begin: bool, trims_end: bool) {
    let kept = if trims_begin { text.trim_start_matches(BLANKS) } else { text };
    let line = line + newlines(&text[..text.len() - kept.len()]);
    let kept = if trims_end { kept.trim_end_matches(BLANKS) } else { kept };
    if !kept.is_empty() {
        pieces.push((line, Piece::Text(kept.to_owned())));
    }
}

/// The end of an action, if it is next: its length, and whether it trims what follows.
fn closing(text: &str) -> Option<(usize, bool)> {
    if text.starts_with("}}") {
        return Some((2, false));
    }
    let blanks = text.len() - text.trim_start_matches(BLANKS).len();
    if blanks > 0 && text[blanks..].starts_with("-}}") {
        return Some((blanks + 3, true));
    }
    text[blanks..].starts_with("}}").then_some((blanks + 2, false))
}

/// The tokens up to the end of an action, its length, and whether it trims what follows.
fn action(text: &str, line: usize) -> Result<(Vec<Token>, usize, bool), Fault> {
    let mut tokens = Vec::new();
    let mut at = 0;
    loop {
        let rest = &text[at..];
        if let Some((length, trims)) = closing(rest) {
            return Ok((tokens, at + length, trims));
        }
        let blanks = rest.len() - rest.trim_start_matches(BLANKS).len();
        let fault = |what: String| Fault { line: line + newlines(&text[..at + blanks]), what };
        let rest = &rest[blanks..];
        let (kind, length) = token(rest).map_err(fault)?;
        tokens.push(Token { kind, spaced: blanks > 0 });
        at += blanks + length;
    }
}

fn token(rest: &str) -> Result<(Kind, usize), String> {
    let Some(first) = rest.chars().next() else { return Err("an action is not closed by `}}`".to_owned()) };
    let word = |from: usize| {
        let end = rest[from..].find(|c: char| !(c.is_alphanumeric() || c == '_')).map_or(rest.len(), |end| from + end);
        (rest[from..end].to_owned(), end)
    };
    match first {
        '"' | '`' | '\'' => quoted(rest, first),
        '(' => Ok((Kind::Sign("("), 1)),
        ')' => Ok((Kind::Sign(")"), 1)),
        '|' => Ok((Kind::Sign("|"), 1)),
        ',' => Ok((Kind::Sign(","), 1)),
        ':' if rest.starts_with(":=") => Ok((Kind::Sign(":="), 2)),
        '=' => Ok((Kind::Sign("="), 1)),
        '$' => {
            let (name, end) = word(1);
            Ok((Kind::Variable(name), end))
        }
        '.' if rest[1..].starts_with(|c: char| c.is_alphabetic() || c == '_') => {
            let (name, end) = word(1);
            Ok((Kind::Field(name), end))
        }
        '0'..='9' | '+' | '-' | '.' if number(rest) > 0 => {
            let end = number(rest);
            Ok((Kind::Number(rest[..end].to_owned()), end))
        }
        '.' => Ok((Kind::Dot, 1)),
        _ if first.is_alphabetic() || first == '_' => {
            let (name, end) = word(0);
            Ok((Kind::Word(name), end))
        }
        _ => Err(format!("`{first}` is not expected in an action")),
    }
}

/// The length of a number: one with digits.
fn number(rest: &str) -> usize {
    let unsigned = rest.trim_start_matches(['+', '-']);
    let sign = rest.len() - unsigned.len();
    let end = unsigned.find(|c: char| !(c.is_ascii_alphanumeric() || c == '.' || c == '_')).unwrap_or(unsigned.len());
    let is_number = unsigned.trim_start_matches('.').starts_with(|c: char| c.is_ascii_digit()) && sign <= 1;
    if is_number { sign + end } else { 0 }
}

/// A string, raw string or character, unquoted, and its length in the source.
fn quoted(rest: &str, quote: char) -> Result<(Kind, usize), String> {
    let unclosed = || "a string is not closed".to_owned();
    if quote == '`' {
        let end = rest[1..].find('`').ok_or_else(unclosed)?;
        return Ok((Kind::Text(rest[1..=end].to_owned()), end + 2));
    }
    let (mut text, mut chars) = (String::new(), rest.char_indices().skip(1));
    while let Some((at, c)) = chars.next() {
        match c {
            _ if c == quote => return Ok((Kind::Text(text), at + 1)),
            '\n' => return Err(unclosed()),
            '\\' => {
                let (_, escape) = chars.next().ok_or_else(unclosed)?;
                let digits = match escape {
                    'x' => 2,
                    'u' => 4,
                    'U' => 8,
                    _ => 0,
                };
                if digits > 0 {
                    let code: String = chars.by_ref().take(digits).map(|(_, c)| c).collect();
                    let code = u32::from_str_radix(&code, 16).ok().and_then(char::from_u32);
                    text.push(code.ok_or_else(|| format!("`\\{escape}` in a string is followed by no character's number"))?);
                    continue;
                }
                text.push(match escape {
                    'n' => '\n',
                    't' => '\t',
                    'r' => '\r',
                    '\\' | '"' | '\'' => escape,
                    _ => return Err(format!("`\\{escape}` in a string is not supported")),
                });
            }
            _ => text.push(c),
        }
    }
    Err(unclosed())
}
