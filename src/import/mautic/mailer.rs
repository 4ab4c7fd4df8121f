//! Mautic's mailer as a server and a plan. Pure.

use percent_encoding::percent_decode_str;
use serde_json::{Value, json};

use super::{
    super::{Imported, facts::is_loopback},
    Config,
};

/// The plan, and the server where Mautic's is not known.
pub const PLAN: &str = "mautic";
const SERVER: &str = "mautic-relay";
const PLACE: &str = "local.php, mailer_dsn";

/// What emails need to know of the mailer.
#[derive(Debug, Default)]
pub struct Mailer {
    /// The name of the sender.
    pub from_name: String,
    /// The address of the sender.
    pub from: String,
    /// Where replies go.
    pub reply_to: String,
}

pub fn import(config: Option<&Config>, imported: &mut Imported) -> Mailer {
    imported.add_plan(PLAN, "Mautic's mailer", json!({"servers": [{"name": SERVER}]}));
    let Some(config) = config else {
        let to_do = format!("give `--config`, or write a SendingServer `{SERVER}`");
        imported.report.lost("local.php", "the mailer is not known without `--config`, so there is no server", to_do);
        return Mailer::default();
    };
    let dsn = config.text("mailer_dsn");
    let made = if dsn.is_empty() { older(config, imported) } else { of_dsn(&dsn, imported) };
    match made {
        Ok(spec) => {
            if imported.add_server(SERVER, "Mautic's local.php", spec) {
                imported.report.carried(PLACE, format!("SendingServer {SERVER}, Plan {PLAN}"));
            }
        }
        Err(what) => imported.report.lost(PLACE, what, format!("write a SendingServer `{SERVER}`: docs/providers.md")),
    }
    if !config.text("mailer_return_path").is_empty() {
        imported.report.lost(
            "local.php, mailer_return_path",
            "bounces come to a mailbox of Mautic's",
            "write `identity.returnPath` and `feedback.mailbox`",
        );
    }
    if let Some(Value::Object(headers)) = config.0.get("mailer_custom_headers") {
        for name in headers.keys() {
            imported.report.lost(
                "local.php, mailer_custom_headers",
                format!("the header field `{name}`"),
                "write it under `headers` of the campaigns",
            );
        }
    }
    Mailer {
        from_name: config.text("mailer_from_name"),
        from: config.text("mailer_from_email"),
        reply_to: config.text("mailer_reply_to_email"),
    }
}

/// A DSN of Symfony's mailer: `scheme://user:password@host:port?options`.
fn of_dsn(dsn: &str, imported: &mut Imported) -> Result<Value, String> {
    let unread = || "the DSN cannot be read".to_owned();
    let (scheme, rest) = dsn.split_once("://").ok_or_else(unread)?;
    let (rest, options) = rest.split_once('?').unwrap_or((rest, ""));
    let (login, place) = rest.rsplit_once('@').unwrap_or(("", rest));
    let (user, password) = login.split_once(':').unwrap_or((login, ""));
    let decoded = |text: &str| percent_decode_str(text).decode_utf8().map(std::borrow::Cow::into_owned).map_err(|_| unread());
    let (user, password) = (decoded(user)?, decoded(password)?);
    let place = place.trim_end_matches('/');
    let (host, port) = match place.rsplit_once(':') {
        Some((host, port)) if !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit()) => (host, port.parse::<u16>().ok()),
        _ => (place, None),
    };
    let host = decoded(host)?;
    let options: Vec<(String, String)> = form_urlencoded::parse(options.as_bytes()).into_owned().collect();
    let option = |name: &str| options.iter().find(|(key, _)| key == name).map(|(_, value)| &**value);
    match scheme {
        "smtp" | "smtps" | "mautic+smtp" => {
            let is_tls = scheme == "smtps" || port == Some(465) || option("encryption") == Some("ssl");
            if option("verify_peer").is_some_and(|value| matches!(value, "0" | "false" | "")) {
                imported.report.check(
                    PLACE,
                    "the server's certificate is not checked by Mautic, and is by Mailfleet",
                    "name your own CA in `caRef` if the certificate is not a public one",
                );
            }
            if let Some(rate) = option("max_per_second").and_then(|rate| rate.parse::<u64>().ok()).filter(|rate| *rate > 0) {
                let mut spec = smtp(&host, port, is_tls, &user, &password, imported);
                spec["limits"] = json!({"rates": [{"messages": rate, "per": "1s"}]});
                return Ok(spec);
            }
            Ok(smtp(&host, port, is_tls, &user, &password, imported))
        }
        "sendmail" | "native" => Ok(json!({"provider": {"sendmail": {}}})),
        "sendgrid+api" | "sendgrid" | "mautic+sendgrid+api" => Ok(with_key("sendgrid", json!({}), either(&user, &password), imported)),
        "sparkpost+api" | "mautic+sparkpost+api" => {
            let mut settings = json!({});
            if option("region") == Some("eu") {
                settings["region"] = "EU".into();
            }
            Ok(with_key("sparkpost", settings, either(&user, &password), imported))
        }
        "mailgun+api" | "mailgun+https" | "mailgun" => {
            let region = if option("region") == Some("eu") { "EU" } else { "US" };
            Ok(with_key("mailgun", json!({"domain": password, "region": region}), &user, imported))
        }
        "postmark+api" | "postmark" => Err("Postmark, whose Secret is a server token; write `provider.postmark`".to_owned()),
        "ses+api" | "ses+https" | "ses" | "mautic+ses+api" => {
            let secret = format!("{SERVER}-key");
            imported.add_secret(&secret, "Amazon SES", &[("accessKeyId", Some(&user)), ("secretAccessKey", Some(&password))]);
            Ok(json!({"provider": {"ses": {"region": option("region").unwrap_or("eu-west-1"), "secretRef": {"name": secret}}}}))
        }
        _ => Err(format!("the transport `{scheme}` has no counterpart that is known here")),
    }
}

/// The key stands in the place of the user, or behind a colon in that of the password.
fn either<'a>(user: &'a str, password: &'a str) -> &'a str {
    if user.is_empty() { password } else { user }
}

fn with_key(kind: &str, mut settings: Value, key: &str, imported: &mut Imported) -> Value {
    let secret = format!("{SERVER}-key");
    settings["secretRef"] = json!({"name": secret});
    imported.add_secret(&secret, "the vendor's API", &[("apiKey", Some(key))]);
    json!({"provider": {kind: settings}})
}

fn smtp(host: &str, port: Option<u16>, is_tls: bool, user: &str, password: &str, imported: &mut Imported) -> Value {
    let mut spec = json!({"host": host});
    let encryption = if is_tls {
        "Tls"
    } else if is_loopback(host) {
        "None"
    } else {
        imported.report.check(PLACE, "Mautic uses STARTTLS if the server offers it; here it is required", "");
        "StartTls"
    };
    spec["encryption"] = encryption.into();
    spec["port"] = port.unwrap_or(if is_tls { 465 } else { 25 }).into();
    if !user.is_empty() {
        let secret = format!("{SERVER}-login");
        spec["auth"] = json!({"secretRef": {"name": secret}});
        imported.add_secret(&secret, &format!("the login of {host}"), &[("username", Some(user)), ("password", Some(password))]);
    }
    json!({"provider": {"smtp": spec}})
}

/// The parameters that versions before 5 have.
fn older(config: &Config, imported: &mut Imported) -> Result<Value, String> {
    match &*config.text("mailer_transport") {
        "smtp" | "" if !config.text("mailer_host").is_empty() => {
            let is_tls = config.text("mailer_encryption") == "ssl";
            let port = config.text("mailer_port").parse().ok();
            Ok(smtp(&config.text("mailer_host"), port, is_tls, &config.text("mailer_user"), &config.text("mailer_password"), imported))
        }
        "mail" | "sendmail" => Ok(json!({"provider": {"sendmail": {}}})),
        "" => Err("neither `mailer_dsn` nor `mailer_host` is there".to_owned()),
        other => Err(format!("the transport `{other}` has no counterpart that is known here")),
    }
}
