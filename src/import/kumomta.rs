//! KumoMTA: what of its policy is data: sources, pools with weights, limits for domains, tenants and DKIM keys. Pure.
//!
//! KumoMTA stays the relay, and keeps choosing among its sources: the host is one SendingServer, since a message cannot be handed to one
//! of its sources alone. A campaign chooses a pool by the header field of a tenant.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use serde_json::{Map, Value, json};

use super::{Imported, Names, facts::text};
use crate::resources::Duration;

/// The files that are read, by their names.
pub const FILES: [&str; 5] = ["sources.toml", "shaping.toml", "queues.toml", "listener_domains.toml", "dkim_data.toml"];
/// The server and the plan.
const SERVER: &str = "kumomta";
/// Entries that a server's limits for domains may have.
const DOMAINS_MAX: usize = 16;

/// What a file is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Sources,
    Shaping,
    Queues,
    Listener,
    Dkim,
}

fn kind(name: &str) -> Option<Kind> {
    let stem = Path::new(name).file_name()?.to_str()?;
    let stem = stem.strip_suffix(".toml").or_else(|| stem.strip_suffix(".json"))?;
    [
        ("sources", Kind::Sources),
        ("shaping", Kind::Shaping),
        ("queues", Kind::Queues),
        ("listener_domains", Kind::Listener),
        ("dkim", Kind::Dkim),
    ]
    .into_iter()
    .find(|(word, _)| stem.contains(word))
    .map(|(_, kind)| kind)
}

/// Whether a file of a folder is one of those that are read.
#[must_use]
pub fn is_known(path: &Path) -> bool {
    path.to_str().is_some_and(|path| kind(path).is_some())
}

/// Reads the files, by their names, for the host of KumoMTA's listener.
///
/// # Errors
/// When a file is neither TOML nor JSON, with its line, or is not one of those that are known.
pub fn import(files: &BTreeMap<String, String>, host: &str, port: u16) -> Result<Imported, String> {
    let mut parsed = Vec::new();
    for (name, source) in files {
        let kind = kind(name).ok_or_else(|| {
            format!("{name}: which file of KumoMTA this is cannot be told by its name; the known ones are {}", FILES.join(", "))
        })?;
        let value = if Path::new(name).extension().is_some_and(|extension| extension == "json") {
            serde_json::from_str(source).map_err(|error| format!("{name}, line {}: {error}", error.line()))?
        } else {
            let table = toml::de::DeTable::parse(source).map_err(|error| {
                let line = error.span().map_or(1, |span| source[..span.start.min(source.len())].matches('\n').count() + 1);
                format!("{name}, line {line}: {}", error.message())
            })?;
            of_table(table.get_ref())
        };
        let Value::Object(map) = value else { return Err(format!("{name}: it holds no table")) };
        parsed.push((kind, name.as_str(), map));
    }
    let mut imported = Imported::default();
    "KumoMTA's files".clone_into(&mut imported.report.source);
    let mut spec = json!({"provider": {"smtp": {"host": host, "port": port, "encryption": "None"}}});
    let (mut identity, mut secrets) = (json!({}), Names::default());
    for (kind, name, map) in &parsed {
        match kind {
            Kind::Sources => sources(name, map, &mut identity, &mut imported),
            Kind::Shaping => shaping(name, map, &mut spec, &mut imported),
            Kind::Queues => queues(name, map, &mut imported),
            Kind::Listener => listener(name, map, &mut imported),
            Kind::Dkim => dkim(name, map, &mut identity, &mut secrets, &mut imported),
        }
    }
    if identity.as_object().is_some_and(|identity| !identity.is_empty()) {
        spec["identity"] = identity;
    }
    if imported.add_server(SERVER, "KumoMTA's files", spec) {
        imported.report.check(
            "the listener",
            format!("SendingServer {SERVER}: {host}:{port}, without TLS and login"),
            "KumoMTA relays for hosts in `relay_hosts`; otherwise write `encryption` and `auth`",
        );
    }
    imported.add_plan(SERVER, "KumoMTA's files", json!({"servers": [{"name": SERVER}]}));
    imported.report.lost("its policy in Lua", "it is a program, and is not read", "");
    Ok(imported)
}

fn of_table(table: &toml::de::DeTable<'_>) -> Value {
    Value::Object(table.iter().map(|(key, value)| (key.get_ref().to_string(), of_value(value.get_ref()))).collect())
}

fn of_value(value: &toml::de::DeValue<'_>) -> Value {
    use toml::de::DeValue;
    match value {
        DeValue::String(text) => Value::String(text.to_string()),
        DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix()).map_or(Value::Null, Value::from),
        DeValue::Float(number) => number.as_str().parse::<f64>().map_or(Value::Null, Value::from),
        DeValue::Boolean(flag) => Value::Bool(*flag),
        DeValue::Datetime(time) => Value::String(time.to_string()),
        DeValue::Array(items) => Value::Array(items.iter().map(|item| of_value(item.get_ref())).collect()),
        DeValue::Table(table) => of_table(table),
    }
}

fn tables<'a>(map: &'a Map<String, Value>, name: &str) -> impl Iterator<Item = (&'a String, &'a Map<String, Value>)> {
    map.get(name).and_then(Value::as_object).into_iter().flatten().filter_map(|(name, value)| Some((name, value.as_object()?)))
}

fn sources(file: &str, map: &Map<String, Value>, identity: &mut Value, imported: &mut Imported) {
    let mut addresses = BTreeSet::new();
    for (name, source) in tables(map, "source") {
        let place = format!("{file}, source.{name}");
        let address = text(source, "source_address");
        if address.parse::<std::net::IpAddr>().is_ok() {
            addresses.insert(address.to_owned());
            imported.report.carried(&place, format!("{address} in `identity.sendingAddresses`, whose SPF and names in DNS are checked"));
        } else {
            imported.report.check(&place, "it has no address of its own", "");
        }
        if !text(source, "ehlo_domain").is_empty() {
            imported.report.carried(place, "its `ehlo_domain` stays KumoMTA's, which greets the receivers");
        }
    }
    if !addresses.is_empty() {
        identity["sendingAddresses"] = addresses.into_iter().collect::<Vec<_>>().into();
    }
    for (pool, entries) in tables(map, "pool") {
        let weights: Vec<String> =
            entries.iter().map(|(source, entry)| format!("{source} {}", entry.get("weight").unwrap_or(&json!(1)))).collect();
        imported.report.check(
            format!("{file}, pool.{pool}"),
            format!("KumoMTA keeps choosing among its sources by their weights: {}", weights.join(", ")),
            "a campaign chooses the pool by the header field of a tenant that has it (queues.toml)",
        );
    }
}

fn shaping(file: &str, map: &Map<String, Value>, spec: &mut Value, imported: &mut Imported) {
    let mut limits: Vec<Value> = spec["limits"]["perDomain"].as_array().cloned().unwrap_or_default();
    for (domain, settings) in map {
        let place = format!("{file}, {domain}");
        let Some(settings) = settings.as_object() else { continue };
        if domain == "provider" {
            for provider in settings.keys() {
                imported.report.lost(
                    format!("{file}, provider.{provider}"),
                    "a provider by its mail hosts stays KumoMTA's",
                    "limits for gmail.com, outlook.com, yahoo.com and icloud.com cover all domains of theirs",
                );
            }
            continue;
        }
        for (name, value) in settings {
            let place = format!("{place}, {name}");
            match &**name {
                "max_message_rate" if domain == "default" => {
                    imported.report.lost(place, "a limit for each domain that is named nowhere stays KumoMTA's", "");
                }
                "max_message_rate" => match rate(value) {
                    Some((messages, window)) if limits.len() < DOMAINS_MAX && domain.contains('.') => {
                        let domain = domain.to_lowercase();
                        limits.retain(|entry| entry["domains"][0] != domain.as_str());
                        limits.push(json!({"domains": [domain], "rates": [{"messages": messages, "per": Duration::from_secs(window)}]}));
                        imported
                            .report
                            .carried(place, format!("{messages} messages in {} in `limits.perDomain`", Duration::from_secs(window)));
                    }
                    Some(_) => imported.report.lost(
                        place,
                        format!("no more than {DOMAINS_MAX} domains have limits of their own"),
                        "it stays KumoMTA's",
                    ),
                    None => imported.report.lost(place, format!("the rate {value} cannot be read"), "write it in `limits.perDomain`"),
                },
                "automation" | "sources" => imported.report.lost(place, "it stays KumoMTA's", ""),
                _ => imported.report.lost(place, "it is about KumoMTA's connections to receivers, and stays there", ""),
            }
        }
    }
    if !limits.is_empty() {
        spec["limits"] = json!({"perDomain": limits});
    }
}

/// `100/s`, `1,000/hr,max_burst=1`: messages, and seconds.
fn rate(value: &Value) -> Option<(u64, u64)> {
    let text = value.as_str()?;
    let text = text.strip_prefix("local:").unwrap_or(text);
    let (count, unit) = text.split_once('/')?;
    let unit = unit.split(',').next()?.trim();
    let seconds = match unit {
        "s" | "sec" | "second" => 1,
        "m" | "min" | "minute" => 60,
        "h" | "hr" | "hour" => 3600,
        "d" | "day" => 86_400,
        _ => return None,
    };
    let count: u64 = count.chars().filter(|c| !matches!(c, ',' | '_' | ' ')).collect::<String>().parse().ok()?;
    (1..=1_000_000_000).contains(&count).then_some((count, seconds))
}

fn queues(file: &str, map: &Map<String, Value>, imported: &mut Imported) {
    let header = Some(text(map, "tenant_header")).filter(|header| !header.is_empty());
    for (tenant, settings) in tables(map, "tenant") {
        let place = format!("{file}, tenant.{tenant}");
        let pool = text(settings, "egress_pool");
        match (header, pool) {
            (Some(header), pool) if !pool.is_empty() => imported.report.check(
                &place,
                format!("it uses the pool {pool}"),
                format!("campaigns of this tenant need `headers: [{{name: {header}, value: {tenant}}}]`"),
            ),
            _ => imported.report.check(&place, "KumoMTA tells this tenant by its policy", ""),
        }
        for name in settings.keys().filter(|name| *name != "egress_pool") {
            imported.report.lost(format!("{place}, {name}"), "it stays KumoMTA's", "");
        }
    }
    if map.contains_key("queue") {
        imported.report.lost(
            format!("{file}, queue"),
            "how long and how often KumoMTA tries stays there; Mailfleet has done its part once KumoMTA accepts",
            "",
        );
    }
}

fn listener(file: &str, map: &Map<String, Value>, imported: &mut Imported) {
    for (domain, settings) in map.iter().filter_map(|(domain, settings)| Some((domain, settings.as_object()?))) {
        let is_on = |name: &str| settings.get(name) == Some(&Value::Bool(true));
        if is_on("log_oob") || is_on("log_arf") {
            imported.report.check(
                format!("{file}, {domain}"),
                "KumoMTA takes bounces and reports of spam for this domain",
                "to have Mailfleet know of them, relay them to the listener of `mailfleet run --bounce-address`, and name the domain in `identity.returnPath`: docs/bounces.md",
            );
        }
    }
}

fn dkim(file: &str, map: &Map<String, Value>, identity: &mut Value, secrets: &mut Names, imported: &mut Imported) {
    let base = map.get("base").and_then(Value::as_object).map(|base| text(base, "selector")).unwrap_or_default().to_owned();
    let mut keys: Vec<Value> = identity["dkim"].as_array().cloned().unwrap_or_default();
    for (domain, settings) in tables(map, "domain") {
        let place = format!("{file}, domain.\"{domain}\"");
        let selector = [text(settings, "selector"), &base].into_iter().find(|selector| !selector.is_empty()).unwrap_or_default().to_owned();
        if selector.is_empty() {
            imported.report.lost(place, "it has no selector", "write it in `identity.dkim`");
            continue;
        }
        let secret = format!("dkim-{}", secrets.name(domain, "key"));
        let file_name = Some(text(settings, "filename"))
            .filter(|name| !name.is_empty())
            .map_or_else(|| format!("/opt/kumomta/etc/dkim/{domain}/{selector}.key"), str::to_owned);
        keys.push(json!({"domain": domain, "selector": selector, "privateKeyRef": {"name": secret, "key": "private.pem"}}));
        imported.add_secret(
            &secret,
            &format!("the DKIM key of {domain}, the file {file_name} of KumoMTA's host"),
            &[("private.pem", None)],
        );
        imported.report.check(
            place,
            format!("a key in `identity.dkim`, with the Secret `{secret}`"),
            "KumoMTA signs as well: let one of the two do it",
        );
    }
    for (name, _) in tables(map, "signature") {
        imported.report.lost(format!("{file}, signature.{name}"), "an additional signature", "let KumoMTA make it");
    }
    if !keys.is_empty() {
        identity["dkim"] = keys.into();
    }
}
