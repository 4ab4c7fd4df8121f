//! `mailfleet get types`: which types of servers there are, and what each needs.

use std::io::Write;

use serde_json::{Map, Value, json};

use super::{OutputFormat, Stop, Table, status};
use crate::{
    providers::{ProviderSpec, TypeInfo},
    resources::{Kind as _, SendingServer, crd},
};

/// A type of servers.
struct Type {
    key: &'static str,
    about: &'static str,
    info: &'static TypeInfo,
    /// The fields that a spec of it must have.
    required: Value,
}

fn table() -> Table<Type> {
    Table::empty()
        .column("type", "type", |row: &Type| row.key)
        .column("title", "what", |row| row.info.title)
        .wraps()
        .column("secretKeys", "secret keys", |row| Some(row.info.secret_keys_in_words("")).filter(|keys| !keys.is_empty()))
        .wraps()
        .column("required", "required fields", |row| row.required.clone())
        .wraps()
        .wide("probe", "probe", |row| row.info.probe)
        .wraps()
        .wide("carries", "messages", |row| row.info.carries)
        .wraps()
        .wide("signs", "who signs", |row| row.info.signs)
        .wraps()
}

/// The keys of a type's Secret, and what each holds.
fn keys() -> Table<(&'static str, &'static str)> {
    Table::empty().column("key", "secret key", |row: &(&'static str, &'static str)| row.0).column("holds", "holds", |row| row.1).wraps()
}

/// Shows all types, or one.
pub fn show(name: Option<&str>, output: OutputFormat, out: &mut impl Write) -> Result<(), Stop> {
    let known = ProviderSpec::TYPES.iter().filter(|(key, ..)| name.is_none_or(|name| name.eq_ignore_ascii_case(key)));
    let types: Vec<Type> = known.map(|(key, about, info)| Type { key, about, info, required: required(key) }).collect();
    if types.is_empty() {
        let all: Vec<&str> = ProviderSpec::TYPES.iter().map(|(key, ..)| *key).collect();
        return Err(Stop::Failed(format!("there is no type `{}`; the types are {}", name.unwrap_or_default(), all.join(", "))));
    }
    match output {
        OutputFormat::Json => writeln!(out, "{:#}", types.iter().map(describe).collect::<Value>())?,
        OutputFormat::JsonLines => types.iter().try_for_each(|one| writeln!(out, "{}", describe(one)))?,
        OutputFormat::Yaml => write!(out, "{}", status::to_yaml(&types.iter().map(describe).collect::<Value>())?)?,
        OutputFormat::Table | OutputFormat::Wide | OutputFormat::Markdown => {
            let single = types.first().filter(|one| name.is_some() && !one.info.secret_keys.is_empty()).map(|one| one.info.secret_keys);
            table().print(output, out, types)?;
            if let Some(single) = single {
                writeln!(out)?;
                keys().print(output, out, single.iter().copied())?;
            }
        }
    }
    Ok(())
}

fn required(key: &str) -> Value {
    let schema = crd::structural(SendingServer::KIND).unwrap_or_default();
    let found = schema.pointer(&format!("/properties/spec/properties/provider/properties/{key}/required"));
    found.cloned().unwrap_or_else(|| json!([]))
}

fn secret_keys(info: &TypeInfo) -> Value {
    info.secret_keys.iter().map(|(key, what)| ((*key).to_owned(), (*what).into())).collect::<Map<_, Value>>().into()
}

fn describe(one: &Type) -> Value {
    let Type { key, about, info, required } = one;
    json!({
        "type": key,
        "title": info.title,
        "about": about,
        "secretKeys": secret_keys(info),
        "required": required,
        "probe": info.probe,
        "carries": info.carries,
        "signs": info.signs,
    })
}
