//! listmonk's settings as servers and a plan. Pure.

use serde_json::{Map, Value, json};

use super::super::{
    Imported, Names,
    facts::{flag, is_loopback, mailbox, text, whole},
};
use crate::resources::Duration;

/// The plan that grants all servers.
pub const PLAN: &str = "listmonk";
/// The most that a window may hold.
const MESSAGES_MAX: i64 = 1_000_000_000;

/// What campaigns need to know of the settings.
#[derive(Debug, Default)]
pub struct Servers {
    /// Each server: its name here, its messenger in listmonk, and the From addresses that it is for.
    pub all: Vec<(String, String, Vec<String>)>,
    /// Messengers that are not mail.
    pub others: Vec<String>,
    /// The address that campaigns are sent from where they name none.
    pub from: String,
    /// The root of listmonk's own pages.
    pub root_url: String,
    /// The language of its texts.
    pub language: String,
    /// Whether messages have the header fields for unsubscribing.
    pub has_unsubscribe_header: bool,
}

pub fn import(settings: &Map<String, Value>, imported: &mut Imported) -> Servers {
    let setting = |name: &str| text(settings, name).to_owned();
    let mut servers = Servers {
        from: setting("app.from_email"),
        root_url: setting("app.root_url").trim_end_matches('/').to_owned(),
        language: setting("app.lang"),
        has_unsubscribe_header: flag(settings, "privacy.unsubscribe_header").unwrap_or(true),
        ..Servers::default()
    };
    let mut names = Names::default();
    let empty = Vec::new();
    let list = |name: &str| settings.get(name).and_then(Value::as_array).unwrap_or(&empty);
    for (index, smtp) in list("smtp").iter().enumerate() {
        if let Value::Object(smtp) = smtp {
            server(index, smtp, &mut names, &mut servers, imported);
        }
    }
    for messenger in list("messengers").iter().filter_map(Value::as_object) {
        let name = text(messenger, "name");
        servers.others.push(name.to_owned());
        imported.report.lost(
            format!("setting messengers, \"{name}\""),
            "it posts messages to an HTTP service, and is no mail server",
            "write a plugin for it: docs/plugin.md",
        );
    }
    for mailbox in list("bounce.mailboxes").iter().filter_map(Value::as_object).filter(|mailbox| flag(mailbox, "enabled") == Some(true)) {
        let host = text(mailbox, "host");
        imported.report.lost(
            "setting bounce.mailboxes",
            format!("the mailbox at {host} is read over {}, and Mailfleet reads mailboxes over IMAP", text(mailbox, "type").to_ascii_uppercase()),
            "write `feedback.mailbox.imap` of the servers with the same host and login, and the domain of its return path as `identity.returnPath`",
        );
    }
    if flag(settings, "bounce.enabled") == Some(true) && flag(settings, "bounce.webhooks_enabled") == Some(true) {
        imported.report.lost(
            "setting bounce.webhooks_enabled",
            "a vendor's calls come to listmonk",
            "let the vendor call Mailfleet: `feedback.webhook` of the server",
        );
    }
    if let Some(blocked) = settings.get("privacy.domain_blocklist").and_then(Value::as_array).filter(|blocked| !blocked.is_empty()) {
        imported.report.lost(
            "setting privacy.domain_blocklist",
            format!("{} domains that may not sign up", blocked.len()),
            "it still applies in listmonk's forms",
        );
    }
    if servers.all.is_empty() {
        imported.report.lost(
            "setting smtp",
            "there is no server, so there is no plan, and no campaign",
            "configure one in listmonk, or write a SendingServer",
        );
    } else {
        plan(settings, &servers, imported);
    }
    servers
}

fn server(index: usize, smtp: &Map<String, Value>, names: &mut Names, servers: &mut Servers, imported: &mut Imported) {
    let host = text(smtp, "host").trim();
    let messenger = text(smtp, "name");
    let place = format!("setting smtp, entry {} ({host})", index + 1);
    let name = names.name(if messenger.is_empty() { host } else { messenger }, "relay");
    let mut spec = json!({"host": host});
    if let Some(port) = whole(smtp, "port").filter(|port| (1..=65_535).contains(port)) {
        spec["port"] = port.into();
    }
    let has_login = !matches!(text(smtp, "auth_protocol"), "" | "none") && !text(smtp, "username").is_empty();
    // Older versions know only whether there is TLS, and use STARTTLS if it is offered.
    let encryption = match text(smtp, "tls_type") {
        "TLS" => "Tls",
        "STARTTLS" => "StartTls",
        "none" => "None",
        _ if flag(smtp, "tls_enabled") == Some(true) => "StartTls",
        _ => "None",
    };
    let encryption = if encryption == "None" && has_login && !is_loopback(host) {
        imported.report.check(&place, "listmonk sends the password without TLS; here the server uses STARTTLS", "let the server offer TLS");
        "StartTls"
    } else {
        encryption
    };
    spec["encryption"] = encryption.into();
    if flag(smtp, "tls_skip_verify") == Some(true) && encryption != "None" {
        imported.report.check(
            &place,
            "listmonk does not check the server's certificate, and Mailfleet does",
            "name your own CA in `caRef` if the certificate is not a public one",
        );
    }
    let helo = text(smtp, "hello_hostname");
    if !helo.is_empty() {
        spec["heloName"] = helo.into();
    }
    if has_login {
        let secret = format!("{name}-login");
        spec["auth"] = json!({"secretRef": {"name": secret}});
        match text(smtp, "auth_protocol") {
            "cram" => imported.report.check(
                &place,
                "CRAM-MD5 is not supported; the strongest mechanism that the server offers is used",
                "check that it offers another: `mailfleet test`",
            ),
            "login" => spec["auth"]["mechanism"] = "Login".into(),
            "plain" => spec["auth"]["mechanism"] = "Plain".into(),
            _ => {}
        }
        imported.add_secret(
            &secret,
            &format!("the login of {host}"),
            &[("username", Some(text(smtp, "username"))), ("password", Some(text(smtp, "password")))],
        );
    }
    let mut spec = json!({"provider": {"smtp": spec}});
    if let Some(connections) = whole(smtp, "max_conns").filter(|connections| (1..=1000).contains(connections)) {
        spec["limits"] = json!({"connections": connections});
    }
    if flag(smtp, "enabled") != Some(true) {
        spec["enabled"] = false.into();
    }
    let headers = smtp.get("email_headers").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    for (header, value) in headers.iter().filter_map(Value::as_object).flatten() {
        let to_do = if header.eq_ignore_ascii_case("return-path") {
            "write its domain as `identity.returnPath`, and say in `feedback` where bounces arrive"
        } else {
            "write it under `headers` of the campaigns"
        };
        imported.report.lost(&place, format!("the header field `{header}: {}` of the server", value.as_str().unwrap_or_default()), to_do);
    }
    let addresses: Vec<String> = smtp
        .get("from_addresses")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .map(|address| address.trim().to_lowercase())
        .filter(|address| !address.is_empty())
        .collect();
    if imported.add_server(&name, &format!("listmonk's {place}"), spec) {
        imported.report.carried(&place, format!("SendingServer {name}"));
        servers.all.push((name, messenger.to_owned(), addresses));
    }
}

fn plan(settings: &Map<String, Value>, servers: &Servers, imported: &mut Imported) {
    let granted: Vec<Value> = servers.all.iter().map(|(name, ..)| json!({"name": name})).collect();
    let mut spec = json!({"servers": granted});
    let mut rates = Vec::new();
    let each =
        whole(settings, "app.message_rate").unwrap_or_default().saturating_mul(whole(settings, "app.concurrency").unwrap_or_default());
    if (1..=MESSAGES_MAX).contains(&each) {
        rates.push(json!({"messages": each, "per": "1s"}));
        imported.report.carried(
            "settings app.message_rate, app.concurrency",
            format!("the plan's limit of {each} messages a second: the rate of each worker, for all of them"),
        );
    }
    if flag(settings, "app.message_sliding_window") == Some(true) {
        let rate = whole(settings, "app.message_sliding_window_rate").unwrap_or_default();
        let per = text(settings, "app.message_sliding_window_duration");
        match per.parse::<Duration>() {
            Ok(window) if (1..=MESSAGES_MAX).contains(&rate) && window != Duration::from_secs(1) => {
                rates.push(json!({"messages": rate, "per": window}));
                imported.report.carried("setting app.message_sliding_window", format!("the plan's limit of {rate} messages in {window}"));
            }
            _ => imported.report.lost(
                "setting app.message_sliding_window",
                format!("{rate} messages in `{per}` is no limit of ours"),
                "write it under `limits.rates` of the plan",
            ),
        }
    }
    if !rates.is_empty() {
        spec["limits"] = json!({"rates": rates});
    }
    if imported.add_plan(PLAN, "listmonk's settings", spec) {
        imported
            .report
            .carried("setting smtp", format!("Plan {PLAN}, which grants all servers with equal weights, as listmonk picks them"));
    }
    if mailbox(&servers.from).is_none() {
        imported.report.check("setting app.from_email", "it is no address", "");
    }
}
