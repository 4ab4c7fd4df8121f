//! Values of PHP as configuration files have them: texts, numbers, constants and arrays. Nothing is run. Pure.

use serde_json::{Map, Value};

/// How deep arrays may be nested.
const DEPTH_MAX: usize = 30;

/// The value that a file gives to `$parameters`.
///
/// # Errors
/// What is wrong, with its line.
pub fn parameters(source: &str) -> Result<Map<String, Value>, String> {
    let begin = source.find("$parameters").ok_or("there is no `$parameters`; is it Mautic's config/local.php?")?;
    let mut reader = Reader { source, at: begin + "$parameters".len() };
    reader.require("=")?;
    match reader.value(0)? {
        Value::Object(parameters) => Ok(parameters),
        _ => Err(reader.fault("`$parameters` is no array")),
    }
}

struct Reader<'a> {
    source: &'a str,
    at: usize,
}

impl<'a> Reader<'a> {
    fn rest(&self) -> &'a str {
        &self.source[self.at..]
    }

    fn fault(&self, what: &str) -> String {
        format!("line {}: {what}", self.source[..self.at].matches('\n').count() + 1)
    }

    fn blanks(&mut self) {
        loop {
            let rest = self.rest();
            let trimmed = rest.trim_start();
            let skipped = rest.len() - trimmed.len();
            let comment = if trimmed.starts_with("//") || trimmed.starts_with('#') {
                trimmed.find('\n').unwrap_or(trimmed.len())
            } else if trimmed.starts_with("/*") {
                trimmed.find("*/").map_or(trimmed.len(), |end| end + 2)
            } else {
                0
            };
            self.at += skipped + comment;
            if skipped + comment == 0 {
                return;
            }
        }
    }

    fn takes(&mut self, word: &str) -> bool {
        self.blanks();
        let is_next = self.rest().get(..word.len()).is_some_and(|next| next.eq_ignore_ascii_case(word));
        if is_next {
            self.at += word.len();
        }
        is_next
    }

    fn require(&mut self, word: &str) -> Result<(), String> {
        if self.takes(word) { Ok(()) } else { Err(self.fault(&format!("`{word}` is expected"))) }
    }

    fn value(&mut self, depth: usize) -> Result<Value, String> {
        if depth > DEPTH_MAX {
            return Err(self.fault("arrays are nested too deep"));
        }
        if self.takes("[") {
            return self.array("]", depth);
        }
        if self.takes("array") {
            self.require("(")?;
            return self.array(")", depth);
        }
        for (word, value) in [("null", Value::Null), ("true", Value::Bool(true)), ("false", Value::Bool(false))] {
            if self.takes(word) {
                return Ok(value);
            }
        }
        match self.rest().chars().next() {
            Some(quote @ ('\'' | '"')) => self.text(quote).map(Value::String),
            Some(c) if c.is_ascii_digit() || c == '-' || c == '.' => {
                let rest = self.rest();
                let end = rest.find(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_'))).unwrap_or(rest.len());
                self.at += end;
                serde_json::from_str(&rest[..end]).map_err(|_| self.fault("a number cannot be read"))
            }
            _ => Err(self.fault("what stands here is no text, number or array, and code is not run")),
        }
    }

    fn text(&mut self, quote: char) -> Result<String, String> {
        let mut text = String::new();
        let mut chars = self.rest().char_indices().skip(1);
        while let Some((at, c)) = chars.next() {
            match c {
                _ if c == quote => {
                    self.at += at + 1;
                    return Ok(text);
                }
                '\\' => match chars.next() {
                    Some((_, next)) if next == quote || next == '\\' => text.push(next),
                    Some((_, next)) => match (quote, next) {
                        ('"', 'n') => text.push('\n'),
                        ('"', 't') => text.push('\t'),
                        ('"', 'r') => text.push('\r'),
                        ('"', '$') => text.push('$'),
                        _ => text.extend(['\\', next]),
                    },
                    None => break,
                },
                _ => text.push(c),
            }
        }
        Err(self.fault("a text is not closed"))
    }

    fn array(&mut self, end: &str, depth: usize) -> Result<Value, String> {
        let mut map = Map::new();
        let mut next = 0;
        loop {
            if self.takes(end) {
                return Ok(Value::Object(map));
            }
            let first = self.value(depth + 1)?;
            if self.takes("=>") {
                let key = match first {
                    Value::String(text) => text,
                    other => other.to_string(),
                };
                let value = self.value(depth + 1)?;
                map.insert(key, value);
            } else {
                map.insert(next.to_string(), first);
                next += 1;
            }
            if !self.takes(",") {
                self.require(end)?;
                return Ok(Value::Object(map));
            }
        }
    }
}
