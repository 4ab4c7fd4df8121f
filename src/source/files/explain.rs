//! Turns the schema's complaints into sentences, each at the field that is wrong.

use jiff::civil::Date;
use jsonschema::{
    JsonType, ValidationError,
    error::{TypeKind, ValidationErrorKind},
};
use serde_json::Value;

use super::masked;
use crate::{
    audience::Address,
    meta::nearest,
    providers::ProviderSpec,
    resources::pattern,
    source::secrets::quoted,
    yaml::{Fault, FieldPath, Node, Step},
};

/// Characters of a value that a message quotes.
const QUOTED_MAX: usize = 60;

/// A document and the schema that it was judged by.
pub(super) struct Explainer<'a> {
    pub schema: &'a Value,
    pub node: &'a Node,
    /// Keeps values out of the messages.
    pub is_secret: bool,
}

impl Explainer<'_> {
    /// Explains one complaint of the schema.
    pub(super) fn explain(&self, error: &ValidationError<'_>) -> Vec<Fault> {
        let node = self.node;
        let path = node.path_of_pointer(error.instance_path().as_str());
        // The schema of the value: what the keyword stands in.
        let pointer = error.schema_path().as_str();
        let own = pointer.rsplit_once('/').and_then(|(own, _)| self.schema.pointer(own)).unwrap_or(&Value::Null);
        match error.kind() {
            ValidationErrorKind::AdditionalProperties { unexpected } => unexpected
                .iter()
                .map(|name| {
                    let path = path.key(name);
                    Fault { at: node.locate_key(&path), message: unknown_field(name, own), path }
                })
                .collect(),
            ValidationErrorKind::Required { property } => {
                let name = property.as_str().unwrap_or_default();
                let path = path.key(name);
                let about = own.pointer(&format!("/properties/{name}/description")).and_then(Value::as_str);
                let about = about.map(|about| format!(". {}", first_sentence(about))).unwrap_or_default();
                // A field that is there is null, which counts as absent.
                let (at, what) = match node.find(&path) {
                    Some(_) => (node.locate_key(&path), "the value of this field is required"),
                    None => (node.locate_key(&FieldPath(path.0[..path.0.len() - 1].to_vec())), "this field is required"),
                };
                vec![Fault { at, path, message: format!("{what}{about}") }]
            }
            kind => {
                let shown = if self.is_secret { "this value".to_owned() } else { shown(error.instance()) };
                let mut message = words(kind, own, error.instance(), &shown).unwrap_or_else(|| {
                    let what = error.masked_with("this value").to_string();
                    format!("this is not allowed: {what}")
                });
                if matches!(path.0.last(), Some(Step::Key(key)) if key == "preset")
                    && let Some(name) = error.instance().as_str().and_then(type_of_server)
                {
                    message.push_str(&format!(
                        "; for {}, write `provider: {{{name}: …}}` in place of smtp",
                        error.instance().as_str().unwrap_or(name)
                    ));
                }
                vec![Fault { at: node.locate(&path), path, message }]
            }
        }
    }
}

/// Drops missing fields that are only misspelt or misplaced.
pub(super) fn drop_told_twice(problems: &mut Vec<Fault>) {
    let all = problems.clone();
    problems.retain(|problem| problem.path.0.len() < 2 || !all.iter().any(|other| names_missing(other, &problem.path)));
}

/// Whether a fault of an unknown field already says that the field at `missing` was meant.
fn names_missing(problem: &Fault, missing: &FieldPath) -> bool {
    let Some((Step::Key(_), parent)) = problem.path.0.split_last() else { return false };
    let Some((Step::Key(name), missing_parent)) = missing.0.split_last() else { return false };
    if missing_parent == parent {
        return problem.message.ends_with(&format!("; did you mean `{name}`?"));
    }
    match missing_parent.split_last() {
        Some((Step::Key(below), grandparent)) => {
            grandparent == parent && problem.message == format!("there is no field `{name}` here; it belongs below `{below}`")
        }
        _ => false,
    }
}

/// The type of server that a word names.
fn type_of_server(word: &str) -> Option<&'static str> {
    ProviderSpec::TYPES.iter().map(|(name, ..)| *name).find(|name| name.eq_ignore_ascii_case(word))
}

fn first_sentence(text: &str) -> String {
    let text = text.split("\n\n").next().unwrap_or(text).replace('\n', " ");
    let end = text.find(". ").map_or(text.len(), |end| end + 1);
    text[..end].trim_end().to_owned()
}

fn unknown_field(name: &str, own: &Value) -> String {
    let empty = serde_json::Map::new();
    let properties = own.get("properties").and_then(Value::as_object).unwrap_or(&empty);
    let known: Vec<&String> = properties.keys().collect();
    if let Some(near) = nearest(name, known.iter().map(|name| name.as_str())) {
        return format!("there is no field `{name}` here; did you mean `{near}`?");
    }
    if masked::is_secret(name) || properties.contains_key("secretRef") && matches!(name, "username" | "user" | "login") {
        return format!(
            "there is no field `{name}` here, and logins are not written into this file. Put it into a Secret (a `kind: Secret` kept out of git, a file below --secrets-dir, or a variable) and name the Secret: `secretRef: {{name: …}}`"
        );
    }
    let parent = properties.iter().find(|(_, schema)| schema.pointer(&format!("/properties/{name}")).is_some());
    if let Some((parent, _)) = parent {
        return format!("there is no field `{name}` here; it belongs below `{parent}`");
    }
    if known.is_empty() {
        return format!("there is no field `{name}` here; no fields are allowed here");
    }
    format!("there is no field `{name}` here; the fields are {}", quoted(&known))
}

fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => {
            let mut short: String = text.chars().take(QUOTED_MAX).collect();
            if short.len() < text.len() {
                short.push('…');
            }
            format!("`{}`", short.replace(['\n', '\r'], " "))
        }
        Value::Null => "nothing".to_owned(),
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "a mapping".to_owned(),
        scalar => format!("`{scalar}`"),
    }
}

fn words(kind: &ValidationErrorKind, own: &Value, value: &Value, shown: &str) -> Option<String> {
    let keyword = |name: &str| own.get(name).filter(|value| !value.is_null());
    let range = || match (keyword("minimum"), keyword("maximum")) {
        (Some(min), Some(max)) => format!("it must be from {} to {}", number_words(min), number_words(max)),
        (Some(min), None) => format!("it must be at least {}", number_words(min)),
        (None, Some(max)) => format!("it must be at most {}", number_words(max)),
        (None, None) => "it is out of range".to_owned(),
    };
    Some(match kind {
        ValidationErrorKind::Type { kind } => wrong_type(kind, value, own, shown),
        ValidationErrorKind::Enum { options } => {
            let names: Vec<&str> = options.as_array()?.iter().filter_map(Value::as_str).collect();
            let near = value.as_str().and_then(|word| nearest(word, names.iter().copied()));
            let near = near.map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
            format!("{shown} is not one of {}{near}", quoted(&names))
        }
        ValidationErrorKind::Minimum { .. } | ValidationErrorKind::ExclusiveMinimum { .. } => format!("{shown} is too small; {}", range()),
        ValidationErrorKind::Maximum { .. } | ValidationErrorKind::ExclusiveMaximum { .. } => format!("{shown} is too large; {}", range()),
        ValidationErrorKind::MinLength { .. } if value.as_str() == Some("") => "the text is empty".to_owned(),
        ValidationErrorKind::MinLength { limit } => format!("{shown} is too short; at least {limit} characters"),
        ValidationErrorKind::MaxLength { limit } => {
            format!("the text is too long: {} characters, at most {limit}", value.as_str().unwrap_or_default().chars().count())
        }
        ValidationErrorKind::MinItems { limit: 1 } => "the list is empty; leave the field out, or give at least one entry".to_owned(),
        ValidationErrorKind::MinItems { limit } => format!("the list is too short; at least {limit} entries"),
        ValidationErrorKind::MaxItems { limit } => {
            format!("the list is too long: {} entries, at most {limit}", value.as_array().map_or(0, Vec::len))
        }
        ValidationErrorKind::Pattern { pattern } => pattern_words(pattern, value.as_str()?, shown)?,
        _ => return None,
    })
}

/// `1,000,000` for 1000000, and `100` for 100.0.
fn number_words(number: &Value) -> String {
    let text = number.to_string();
    let text = text.strip_suffix(".0").unwrap_or(&text);
    if text.len() < 5 || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return text.to_owned();
    }
    let groups: Vec<&str> = text.as_bytes().rchunks(3).rev().filter_map(|group| std::str::from_utf8(group).ok()).collect();
    groups.join(",")
}

fn pattern_words(pattern: &str, text: &str, shown: &str) -> Option<String> {
    let authority = || text.split_once("://").map(|(_, rest)| rest.split(['/', '?', '#']).next().unwrap_or_default());
    match pattern {
        // The value is not quoted: it is empty, or has several lines.
        pattern::NOT_BLANK | pattern::ONE_LINE => pattern::meaning(pattern).map(|meaning| format!("the text {meaning}")),
        pattern::URL if authority().is_some_and(|authority| authority.contains('@')) => Some(
            "the URL contains a user name or password, which do not belong in such a file; use a URL without them, for example a signed one".to_owned(),
        ),
        pattern::DOMAIN if text.contains('@') => Some(format!(
            "{shown} is an address; write the domain alone: {}",
            text.rsplit('@').next().unwrap_or_default()
        )),
        // Well-formed, but for example the 30th of February.
        pattern::DATE | pattern::TIME_OR_LOCAL if has_form_of_day(text) && text.get(..10).is_some_and(|day| day.parse::<Date>().is_err()) => {
            Some(format!("{shown} is not a valid date"))
        }
        pattern::ADDRESS => match Address::parse(text) {
            Err(why) => Some(format!("{shown} is not an address: {why}")),
            Ok(_) => pattern::meaning(pattern).map(|meaning| format!("{shown} {meaning}")),
        },
        _ => pattern::meaning(pattern).map(|meaning| format!("{shown} {meaning}")),
    }
}

fn has_form_of_day(text: &str) -> bool {
    let form = |(at, byte): (usize, u8)| if at == 4 || at == 7 { byte == b'-' } else { byte.is_ascii_digit() };
    text.len() >= 10 && text.bytes().take(10).enumerate().all(form)
}

fn wrong_type(kind: &TypeKind, value: &Value, own: &Value, shown: &str) -> String {
    let types: Vec<JsonType> = match kind {
        TypeKind::Single(single) => vec![*single],
        TypeKind::Multiple(several) => several.iter().filter(|kind| *kind != JsonType::Null).collect(),
    };
    let is_duration = own.get("pattern").and_then(Value::as_str).is_some_and(|pattern| pattern == pattern::DURATION);
    let wanted = match types.as_slice() {
        [JsonType::String] if is_duration => "a duration (like `30s` or `1h30m`)".to_owned(),
        several => several.iter().map(|kind| type_words(*kind)).collect::<Vec<_>>().join(" or "),
    };
    let hint = match (value, types.as_slice()) {
        (Value::String(text), [JsonType::Integer | JsonType::Number]) if text.parse::<f64>().is_ok() => "; remove the quotes",
        (Value::String(text), [JsonType::Boolean]) if matches!(text.as_str(), "true" | "false") => "; remove the quotes",
        (Value::Number(_), [JsonType::String]) if is_duration => "; add the unit",
        (Value::Number(_) | Value::Bool(_), [JsonType::String]) => "; quote it",
        (Value::Object(_), [JsonType::Array]) => "; begin each entry with `- `",
        _ => "",
    };
    let is = match value {
        Value::Null => "the value is missing".to_owned(),
        Value::String(_) if shown.starts_with('`') => format!("{shown} is text"),
        _ => format!("this is {}", if shown.starts_with('`') { shown } else { type_of(value) }),
    };
    format!("{is}, and {wanted} is needed here{hint}")
}

fn type_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "nothing",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "text",
        Value::Array(_) => "a list",
        Value::Object(_) => "a mapping",
    }
}

fn type_words(kind: JsonType) -> &'static str {
    match kind {
        JsonType::Array => "a list",
        JsonType::Boolean => "true or false",
        JsonType::Integer => "a whole number",
        JsonType::Null => "nothing",
        JsonType::Number => "a number",
        JsonType::Object => "a mapping",
        JsonType::String => "text",
    }
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn finds_the_word_that_was_meant() {
        let known = ["host", "port", "encryption", "auth", "caRef", "heloName", "replyTimeout", "servers", "html", "text"];
        for (word, meant) in [
            ("hots", Some("host")),
            ("Port", Some("port")),
            ("encyption", Some("encryption")),
            ("reply_timeout", Some("replyTimeout")),
            ("server", Some("servers")),
            ("htlm", Some("html")),
            ("to", None),
            ("username", None),
        ] {
            assert_eq!(nearest(word, known.into_iter()), meant, "{word}");
        }
    }
}
