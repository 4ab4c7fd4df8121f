//! listmonk's config.toml: where its database is. Pure.

use std::collections::BTreeMap;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use crate::meta::secret::SecretValue;

/// What the file says.
#[derive(Debug)]
pub struct Config {
    /// The URL of the database.
    pub url: SecretValue,
    /// What is to be said of it.
    pub doubts: Vec<String>,
}

/// Reads the file, and the variables `LISTMONK_db__…`, which win, as in listmonk.
///
/// # Errors
/// What is wrong, with its line where it has one; no value is quoted.
pub fn config(source: &str, variables: &BTreeMap<String, String>) -> Result<Config, String> {
    let table = toml::de::DeTable::parse(source).map_err(|error| {
        let line = error.span().map_or(1, |span| source[..span.start.min(source.len())].matches('\n').count() + 1);
        format!("line {line}: {}", error.message())
    })?;
    let table = table.into_inner();
    let db = table.get("db").and_then(|db| db.get_ref().as_table());
    let value = |name: &str| -> String {
        if let Some(value) =
            variables.get(&format!("LISTMONK_db__{name}")).or_else(|| variables.get(&format!("LISTMONK_DB__{}", name.to_ascii_uppercase())))
        {
            return value.clone();
        }
        match db.and_then(|db| db.get(name)).map(toml::Spanned::get_ref) {
            Some(toml::de::DeValue::String(text)) => text.to_string(),
            Some(toml::de::DeValue::Integer(number)) => number.as_str().to_owned(),
            _ => String::new(),
        }
    };
    let needed = |name: &str| match value(name) {
        value if value.is_empty() => Err(format!("`{name}` is missing in the section `[db]`; complete it, or give `--database` instead")),
        value => Ok(value),
    };
    let quoted = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
    let (host, user, database) = (needed("host")?, needed("user")?, needed("database")?);
    if host.starts_with('/') {
        return Err("`host` in `[db]` is the folder of a socket, which is not supported; give `--database` with a host and port".to_owned());
    }
    let host = if host.contains(':') && !host.starts_with('[') { format!("[{host}]") } else { host };
    let port = Some(value("port")).filter(|port| !port.is_empty()).map(|port| format!(":{port}")).unwrap_or_default();
    let mut doubts = Vec::new();
    let mode = match &*value("ssl_mode") {
        "disable" | "" => "disable",
        mode => {
            if mode != "verify-full" {
                doubts.push(format!("`ssl_mode` is {mode}, and the certificate is checked all the same; give `--ca` where it is your own"));
            }
            "require"
        }
    };
    if !value("params").is_empty() {
        doubts.push("`params` in `[db]` is not read".to_owned());
    }
    let url = format!("postgres://{}:{}@{host}{port}/{}?sslmode={mode}", quoted(&user), quoted(&value("password")), quoted(&database));
    Ok(Config { url: SecretValue::new(url), doubts })
}
