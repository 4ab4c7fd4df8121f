//! The rules of a `Campaign`.

use std::collections::BTreeMap;

use super::{Fault, check_bounds, check_exactly_one, is_domain};
use crate::resources::{
    Campaign, Duration,
    campaign::{Audience, AudienceSource, Body, Content, Mailbox},
};

/// Header fields that Mailfleet writes itself.
const OWN_HEADERS: &[&str] = &[
    "bcc",
    "cc",
    "content-transfer-encoding",
    "content-type",
    "date",
    "dkim-signature",
    "from",
    "list-unsubscribe",
    "list-unsubscribe-post",
    "message-id",
    "mime-version",
    "received",
    "reply-to",
    "return-path",
    "sender",
    "subject",
    "to",
];

/// Adds the faults of a campaign: servers, addresses, content, audience, retries, unsubscription.
pub fn check_campaign(campaign: &Campaign, faults: &mut Vec<Fault>) {
    let spec = &campaign.spec;
    check_servers(campaign, faults);
    check_mailbox(&spec.from, "spec.from", faults);
    if let Some(reply_to) = &spec.reply_to {
        check_mailbox(reply_to, "spec.replyTo", faults);
    }
    check_one_line(&spec.subject, "spec.subject", faults);
    check_content(&spec.content, faults);
    check_audience(&spec.audience, faults);
    if let Some(retry) = &spec.retry {
        let (min, max) = (Duration::from_secs(1), Duration::from_secs(24 * 3600));
        check_bounds(retry.initial_delay, "1s", min, "24h", max, "spec.retry.initialDelay", faults);
    }
    if let Some(url) = spec.unsubscribe.as_ref().and_then(|unsubscribe| unsubscribe.url.as_ref()) {
        // A template may hold the scheme too.
        if !["https://", "http://", "mailto:", "{{", "{%"].iter().any(|start| url.starts_with(start)) {
            faults.push(Fault::new("spec.unsubscribe.url", "a URL is needed that begins with https://, http:// or mailto:"));
        }
        check_one_line(url, "spec.unsubscribe.url", faults);
    }
    check_headers(&spec.headers, faults);
}

fn check_servers(campaign: &Campaign, faults: &mut Vec<Fault>) {
    let Some(servers) = &campaign.spec.servers else { return };
    let mut seen = BTreeMap::new();
    for (index, server) in servers.iter().enumerate() {
        if let Some(first) = seen.insert((server.namespace.as_deref(), server.name.as_str()), index) {
            faults.push(Fault::new(
                format!("spec.servers[{index}].name"),
                format!("the server `{}` is already named by spec.servers[{first}]; name it once, with its whole weight", server.name),
            ));
        }
    }
    if !servers.is_empty() && servers.iter().all(|server| server.weight == Some(0)) {
        faults.push(Fault::new("spec.servers", "every weight is 0, so no server would send; give at least one a weight of 1 or more"));
    }
}

fn check_mailbox(mailbox: &Mailbox, path: &str, faults: &mut Vec<Fault>) {
    let address = format!("{path}.address");
    match mailbox_problem(&mailbox.address) {
        Some(problem) => faults.push(Fault::new(address, format!("`{}` is not an address: {problem}", mailbox.address))),
        None => check_one_line(&mailbox.address, &address, faults),
    }
    if let Some(name) = &mailbox.name {
        check_one_line(name, &format!("{path}.name"), faults);
    }
}

/// A simple look at an address (RFC 5321, 4.1.2, without quoted local parts and address literals).
fn mailbox_problem(address: &str) -> Option<&'static str> {
    if address.contains(['<', '>', ',', ';', '"']) || address.contains(char::is_whitespace) {
        return Some("write the bare address, like news@example.com; the display name goes to `name`");
    }
    let Some((local, domain)) = address.rsplit_once('@') else {
        return Some("the `@` is missing; write it like news@example.com");
    };
    if local.is_empty() || local.len() > 64 || local.starts_with('.') || local.ends_with('.') || local.contains("..") || local.contains('@')
    {
        return Some("the part before the `@` is empty, too long, or has a `.` or `@` in the wrong place");
    }
    if local.contains(char::is_control) {
        return Some("it holds a control character");
    }
    (!is_domain(domain)).then_some("the part after the `@` is not a domain name")
}

fn check_one_line(text: &str, path: &str, faults: &mut Vec<Fault>) {
    if text.contains(['\r', '\n', '\0']) {
        faults.push(Fault::new(path, "this becomes a header field, and must be one line"));
    }
}

fn check_content(content: &Content, faults: &mut Vec<Fault>) {
    let bodies = [("html", &content.html), ("text", &content.text), ("mjml", &content.mjml)];
    if bodies.iter().all(|(_, body)| body.is_none()) {
        faults.push(Fault::new("spec.content", "a message needs a body: at least one of `html`, `text` and `mjml`"));
    }
    if content.html.is_some() && content.mjml.is_some() {
        faults.push(Fault::new("spec.content.mjml", "`html` and `mjml` both make the HTML body; keep one of them"));
    }
    for (name, body) in bodies {
        let path = format!("spec.content.{name}");
        match body {
            Some(Body::From(source)) => {
                check_exactly_one(&[("path", source.path.is_some()), ("configMapRef", source.config_map_ref.is_some())], &path, faults);
            }
            Some(Body::Inline(text)) if text.trim().is_empty() => {
                faults.push(Fault::new(path, "this body is empty; write it, or leave the field out"));
            }
            _ => {}
        }
    }
}

fn check_audience(audience: &Audience, faults: &mut Vec<Fault>) {
    let given = [
        ("csv", audience.csv.is_some()),
        ("jsonLines", audience.json_lines.is_some()),
        ("sql", audience.sql.is_some()),
        ("inline", audience.inline.is_some()),
    ];
    check_exactly_one(&given, "spec.audience", faults);
    let mut check_source = |name: &str, source: &Option<AudienceSource>| {
        let Some(source) = source else { return };
        let given = [("path", source.path.is_some()), ("url", source.url.is_some()), ("configMapRef", source.config_map_ref.is_some())];
        check_exactly_one(&given, &format!("spec.audience.{name}"), faults);
        if let Some(url) = &source.url
            && let Some(problem) = url_problem(url)
        {
            faults.push(Fault::new(format!("spec.audience.{name}.url"), problem));
        }
    };
    check_source("csv", &audience.csv);
    check_source("jsonLines", &audience.json_lines);
    for (index, recipient) in audience.inline.iter().flatten().enumerate() {
        match recipient.get("email") {
            Some(serde_json::Value::String(_)) => {}
            Some(_) => faults.push(Fault::new(format!("spec.audience.inline[{index}].email"), "the address must be text")),
            None => {
                faults.push(Fault::new(format!("spec.audience.inline[{index}]"), "the address is missing; it goes to the field `email`"));
            }
        }
    }
}

fn url_problem(url: &str) -> Option<&'static str> {
    let Some(rest) = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://")) else {
        return Some("a URL is needed that begins with https:// or http://");
    };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    if authority.is_empty() || url.contains(char::is_whitespace) {
        return Some("the URL has no host, or holds a space; write it like https://example.com/subscribers.csv");
    }
    authority.contains('@').then_some(
        "the URL holds a user name or password, which do not belong in a file like this; use a URL that needs none, a signed one for example",
    )
}

fn check_headers(headers: &BTreeMap<String, String>, faults: &mut Vec<Fault>) {
    for (name, value) in headers {
        let path = format!("spec.headers[\"{name}\"]");
        if name.is_empty() || !name.chars().all(|c| c.is_ascii_graphic() && c != ':') {
            // RFC 5322, 3.6.8.
            faults.push(Fault::new(&path, "a header name is letters, digits and `-`, without spaces and colons"));
        } else if OWN_HEADERS.contains(&name.to_ascii_lowercase().as_str()) {
            faults.push(Fault::new(&path, format!("Mailfleet writes the {name} header itself; remove it here")));
        }
        check_one_line(value, &path, faults);
    }
}
