//! `mailfleet get types`: which types of servers there are, and what each needs.

use std::io::Write;

use serde_json::{Value, json};

use super::{OutputFormat, Trouble, print_markdown, print_table, status};
use crate::{
    providers::{ProviderSpec, TypeInfo},
    resources::{Kind as _, SendingServer, crd},
};

/// Shows all types, or one.
pub fn show(name: Option<&str>, output: OutputFormat, out: &mut impl Write) -> Result<(), Trouble> {
    let known = ProviderSpec::TYPES.iter().filter(|(key, ..)| name.is_none_or(|name| name.eq_ignore_ascii_case(key)));
    let types: Vec<Value> = known.map(|(key, about, info)| describe(key, about, info)).collect();
    if types.is_empty() {
        let all: Vec<&str> = ProviderSpec::TYPES.iter().map(|(key, ..)| *key).collect();
        return Err(Trouble::Told(format!("there is no type `{}`; there are {}", name.unwrap_or_default(), all.join(", "))));
    }
    match output {
        OutputFormat::Json => writeln!(out, "{:#}", Value::from(types))?,
        OutputFormat::Yaml => write!(out, "{}", status::to_yaml(&Value::from(types))?)?,
        OutputFormat::Table | OutputFormat::Wide | OutputFormat::Markdown => {
            let is_long = output != OutputFormat::Table;
            let cell = |value: &Value| match value {
                Value::Array(several) => several.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(", "),
                Value::Object(keys) if keys.is_empty() => "-".to_owned(),
                Value::Object(keys) => keys.keys().cloned().collect::<Vec<_>>().join(", "),
                one => one.as_str().unwrap_or_default().to_owned(),
            };
            let mut headings = vec!["type", "what", "secret keys", "required fields"];
            let mut fields = vec!["type", "title", "secretKeys", "required"];
            if is_long {
                headings.extend(["a probe", "messages"]);
                fields.extend(["probe", "carries"]);
            }
            let rows: Vec<Vec<String>> = types.iter().map(|one| fields.iter().map(|field| cell(&one[*field])).collect()).collect();
            if output == OutputFormat::Markdown { print_markdown(out, &headings, &rows)? } else { print_table(out, &headings, &rows)? }
        }
    }
    Ok(())
}

/// The fields that a spec of this type must have.
fn required(key: &str) -> Value {
    let schema = crd::structural(SendingServer::KIND).unwrap_or_default();
    let found = schema.pointer(&format!("/properties/spec/properties/provider/properties/{key}/required"));
    found.cloned().unwrap_or_else(|| json!([]))
}

fn describe(key: &str, about: &str, info: &TypeInfo) -> Value {
    let keys: serde_json::Map<String, Value> = info.secret_keys.iter().map(|(key, what)| ((*key).to_owned(), (*what).into())).collect();
    json!({
        "type": key,
        "title": info.title,
        "about": about,
        "secretKeys": keys,
        "required": required(key),
        "probe": info.probe,
        "carries": info.carries,
    })
}
