//! Facts of another program: JSON whose form is not ours, read without guessing. Pure.

use serde_json::{Map, Value};

/// A text; empty when it is absent.
pub fn text<'a>(of: &'a Map<String, Value>, name: &str) -> &'a str {
    of.get(name).and_then(Value::as_str).unwrap_or_default()
}

/// A number that is a whole one, however it is written.
pub fn whole(of: &Map<String, Value>, name: &str) -> Option<i64> {
    match of.get(name)? {
        Value::Number(number) => number.as_i64(),
        Value::String(text) => text.trim().parse().ok(),
        Value::Bool(flag) => Some(i64::from(*flag)),
        _ => None,
    }
}

/// A switch, however it is written.
pub fn flag(of: &Map<String, Value>, name: &str) -> Option<bool> {
    match of.get(name)? {
        Value::Bool(flag) => Some(*flag),
        Value::Number(number) => number.as_i64().map(|number| number != 0),
        Value::String(text) => match &*text.trim().to_ascii_lowercase() {
            "1" | "true" | "yes" | "on" => Some(true),
            "0" | "false" | "no" | "off" | "" => Some(false),
            _ => None,
        },
        _ => None,
    }
}

/// A mailbox, `Name <address>` or a bare address.
pub fn mailbox(text: &str) -> Option<(Option<String>, String)> {
    let text = text.trim();
    let (name, address) = match text.rsplit_once('<') {
        Some((name, address)) => (name.trim().trim_matches('"').trim(), address.trim_end().strip_suffix('>')?.trim()),
        None => ("", text),
    };
    crate::audience::Address::parse(address).ok()?;
    Some((Some(name.to_owned()).filter(|name| !name.is_empty()), address.to_owned()))
}

/// Whether a password may be sent to a host without TLS: only to this machine.
pub fn is_loopback(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost")
        || host.trim_start_matches('[').trim_end_matches(']').parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}
