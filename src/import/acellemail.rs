//! AcelleMail: sending servers, plans with weights, and lists, as far as its tables are public. Pure.
//!
//! Its source is not public. What is read here are the columns that its documentation and published copies of its schema name; any other
//! column is listed in the report, and none is guessed at.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::{
    BYTES_MAX, Imported, Names, ROWS_MAX, SUPPRESSIONS_FILE, Suppressed, Tables,
    facts::{flag, is_loopback, text, whole},
    mautic::facts_of,
};
use crate::resources::Duration;

/// The Secret with the URL of its database.
pub const DATABASE_SECRET: &str = "acellemail-database";
const MESSAGES_MAX: i64 = 1_000_000_000;
const WEIGHT_MAX: i64 = 1_000_000;

const SERVERS: [&str; 24] = [
    "id",
    "uid",
    "name",
    "type",
    "status",
    "host",
    "port",
    "smtp_port",
    "username",
    "smtp_username",
    "password",
    "smtp_password",
    "smtp_protocol",
    "domain",
    "api_key",
    "api_secret_key",
    "aws_access_key_id",
    "aws_secret_access_key",
    "aws_region",
    "sendmail_path",
    "quota_value",
    "quota_base",
    "quota_unit",
    "customer_id",
];
const PLANS: [&str; 5] = ["id", "uid", "name", "status", "description"];
const GRANTS: [&str; 4] = ["plan_id", "sending_server_id", "fitness", "is_primary"];
const DOMAINS: [&str; 4] = ["id", "name", "status", "dkim_selector"];
const LISTS: [&str; 4] = ["id", "uid", "name", "status"];
const CAMPAIGNS: [&str; 5] = ["id", "uid", "name", "status", "subject"];

/// Columns that hold nothing to carry over.
const USUAL: [&str; 8] = ["created_at", "updated_at", "uid", "cache", "admin_id", "custom_order", "options", "color"];

/// The rows of AcelleMail's tables.
#[derive(Default)]
pub struct Facts {
    servers: BTreeMap<i64, Map<String, Value>>,
    plans: BTreeMap<i64, Map<String, Value>>,
    grants: BTreeMap<i64, Vec<Map<String, Value>>>,
    domains: Vec<Map<String, Value>>,
    lists: BTreeMap<i64, Map<String, Value>>,
    campaigns: BTreeMap<i64, Map<String, Value>>,
    suppressed: Vec<Suppressed>,
    left_out: usize,
    bytes: usize,
}

/// One statement for all that is read: it is of one moment, and reads only.
///
/// # Errors
/// When the database is not AcelleMail's.
pub fn query(tables: &Tables) -> Result<String, String> {
    tables.require("AcelleMail", &["sending_servers", "plans", "plans_sending_servers"])?;
    let people = |part: &str, table: &str, condition: &str| {
        let has_all = tables.has_column(table, "email") && (part == "blacklisted" || tables.has_column(table, "status"));
        has_all.then(|| {
            let time = if tables.has_column(table, "updated_at") { "t.updated_at" } else { "NULL" };
            format!(
                "SELECT '{part}' AS part, JSON_OBJECT('email', t.email, 'time', {time}) AS facts FROM `{}` t{condition}",
                tables.name(table)
            )
        })
    };
    let parts = [
        tables.objects("server", "sending_servers", &SERVERS, ""),
        tables.objects("plan", "plans", &PLANS, ""),
        tables.objects("grant", "plans_sending_servers", &GRANTS, ""),
        tables.objects("domain", "sending_domains", &DOMAINS, ""),
        tables.objects("list", "mail_lists", &LISTS, ""),
        tables.objects("campaign", "campaigns", &CAMPAIGNS, ""),
        people("blacklisted", "blacklists", ""),
        people("spam", "subscribers", " WHERE t.status = 'spam-reported'"),
        people("blacklisted", "subscribers", " WHERE t.status = 'blacklisted'"),
    ];
    Ok(parts.into_iter().flatten().collect::<Vec<_>>().join("\nUNION ALL\n"))
}

impl Facts {
    /// Takes a row of the query.
    ///
    /// # Errors
    /// When there are more than can be kept.
    pub fn take(&mut self, mut row: Map<String, Value>) -> Result<(), String> {
        let facts = facts_of(&mut row)?;
        let part = text(&row, "part").to_owned();
        let id = whole(&facts, "id").unwrap_or_default();
        if matches!(&*part, "blacklisted" | "spam") {
            if self.suppressed.len() >= ROWS_MAX {
                self.left_out += 1;
                return Ok(());
            }
            let (reason, detail) =
                if part == "spam" { ("Complaint", "AcelleMail: spam-reported") } else { ("Listed", "AcelleMail: blacklisted") };
            self.suppressed.push(Suppressed {
                email: text(&facts, "email").to_owned(),
                topic: None,
                reason,
                time: String::new(),
                detail: detail.to_owned(),
            });
            return Ok(());
        }
        self.bytes += Value::Object(facts.clone()).to_string().len();
        if self.bytes > BYTES_MAX {
            return Err(format!("servers, plans, lists and campaigns are more than {} MiB", BYTES_MAX >> 20));
        }
        match &*part {
            "server" => drop(self.servers.insert(id, facts)),
            "plan" => drop(self.plans.insert(id, facts)),
            "grant" => self.grants.entry(whole(&facts, "plan_id").unwrap_or_default()).or_default().push(facts),
            "domain" => self.domains.push(facts),
            "list" => drop(self.lists.insert(id, facts)),
            "campaign" => drop(self.campaigns.insert(id, facts)),
            _ => {}
        }
        Ok(())
    }

    /// What the facts are as objects of ours. `url` is that of the database, and goes into a Secret.
    #[must_use]
    pub fn import(mut self, tables: &Tables, url: &str) -> Imported {
        let mut imported = Imported::default();
        "AcelleMail's database".clone_into(&mut imported.report.source);
        understood(tables, &mut imported);
        let mut names = Names::default();
        let mut servers = BTreeMap::new();
        for (id, server) in &self.servers {
            let place = format!("sending_servers {id} \"{}\" ({})", text(server, "name"), text(server, "type"));
            let name = names.name(text(server, "name"), "server");
            match spec(server, &name, &place, &mut imported) {
                Ok(spec) => {
                    if imported.add_server(&name, &format!("AcelleMail's {place}"), spec) {
                        imported.report.carried(&place, format!("SendingServer {name}"));
                        if whole(server, "customer_id").is_some() {
                            imported.report.check(
                                &place,
                                "it is a customer's own",
                                "move it into that customer's namespace, and give their plan `ownServers`",
                            );
                        }
                        servers.insert(*id, name);
                    }
                }
                Err(what) => imported.report.lost(place, what, "write a SendingServer: docs/providers.md"),
            }
        }
        self.plans(&servers, &mut imported);
        self.others(tables, url, &mut imported);
        if self.left_out > 0 {
            imported.report.lost(
                "people who are not mailed",
                format!("{} of them, since no more than {ROWS_MAX} are kept", self.left_out),
                "export them in AcelleMail",
            );
        }
        if !self.suppressed.is_empty() {
            imported
                .report
                .carried("people who are blacklisted or reported spam", format!("{} in {SUPPRESSIONS_FILE}", self.suppressed.len()));
            imported.suppressed.insert(SUPPRESSIONS_FILE, std::mem::take(&mut self.suppressed));
        }
        imported
    }

    /// Each plan with its servers; a server's fitness is its weight.
    fn plans(&self, servers: &BTreeMap<i64, String>, imported: &mut Imported) {
        let mut names = Names::default();
        for (id, plan) in &self.plans {
            let place = format!("plans {id} \"{}\"", text(plan, "name"));
            let (mut granted, mut lost) = (Vec::new(), false);
            for grant in self.grants.get(id).into_iter().flatten() {
                let server = whole(grant, "sending_server_id").unwrap_or_default();
                let place = format!("{place}, plans_sending_servers of server {server}");
                let (Some(name), Some(weight)) =
                    (servers.get(&server), whole(grant, "fitness").filter(|weight| (0..=WEIGHT_MAX).contains(weight)))
                else {
                    imported.report.lost(
                        place,
                        "the server was not carried over, or its fitness is no weight",
                        "add it to the plan by hand, or shares are others",
                    );
                    lost = true;
                    continue;
                };
                if flag(grant, "is_primary") == Some(true) {
                    imported.report.check(place, format!("{name} is the plan's primary server, which a plan of ours does not have"), "");
                }
                granted.push(json!({"name": name, "weight": weight}));
            }
            if granted.is_empty() {
                imported.report.lost(place, "it has no server", "");
                continue;
            }
            let name = names.name(text(plan, "name"), "plan");
            if imported.add_plan(&name, &format!("AcelleMail's {place}"), json!({"servers": granted})) {
                let weights = if lost { "without those that were not carried over" } else { "with the weights of its servers" };
                imported.report.carried(&place, format!("Plan {name}, {weights}"));
                imported.report.check(
                    place,
                    "its customers and their quotas are not read",
                    "say in `allowedNamespaces` and `limits` of the plan who may use it, and how much",
                );
            }
        }
    }

    fn others(&self, tables: &Tables, url: &str, imported: &mut Imported) {
        for domain in &self.domains {
            let place = format!("sending_domains \"{}\"", text(domain, "name"));
            imported.report.lost(
                place,
                "AcelleMail signs with a key of its own",
                "make a key with `mailfleet keys`, or write the key into a Secret and name it in `identity.dkim`",
            );
        }
        let mut names = Names::default();
        let can_query = tables.has_column("subscribers", "mail_list_id")
            && tables.has_column("subscribers", "status")
            && tables.has_column("subscribers", "email");
        for (id, list) in &self.lists {
            let place = format!("mail_lists {id} \"{}\"", text(list, "name"));
            if !can_query {
                imported.report.lost(place, "the table `subscribers` has not the columns that are known here", "export the list as CSV");
                continue;
            }
            let path = format!("lists/{}.sql", names.name(text(list, "name"), "list"));
            let query = format!(
                "SELECT s.email FROM `{}` s\nWHERE s.mail_list_id = {id} AND s.status = 'subscribed'\n",
                tables.name("subscribers")
            );
            imported.texts.insert(path.clone(), query);
            imported.report.check(
                place,
                format!("{path}, a query for `audience.sql`: those who are subscribed, with no field but their address"),
                "add the fields that your templates need",
            );
        }
        if !self.lists.is_empty() && can_query {
            imported.add_secret(DATABASE_SECRET, "audiences: AcelleMail's database, for a user who may only read", &[("url", Some(url))]);
        }
        for (id, campaign) in &self.campaigns {
            let place = format!("campaigns {id} \"{}\" ({})", text(campaign, "name"), text(campaign, "status"));
            imported.report.lost(
                place,
                "where versions of AcelleMail keep the contents of campaigns is not public",
                "export its HTML, and write a Campaign",
            );
        }
    }
}

/// Which columns were read, and which are not known.
fn understood(tables: &Tables, imported: &mut Imported) {
    for (table, known) in
        [("sending_servers", &SERVERS[..]), ("plans", &PLANS), ("plans_sending_servers", &GRANTS), ("sending_domains", &DOMAINS)]
    {
        if !tables.has(table) {
            continue;
        }
        let (read, unknown): (Vec<&str>, Vec<&str>) =
            tables.columns(table).filter(|column| !USUAL.contains(column)).partition(|column| known.contains(column));
        imported.report.carried(format!("table {table}"), format!("columns that were read: {}", read.join(", ")));
        if !unknown.is_empty() {
            imported.report.check(
                format!("table {table}"),
                format!("columns that are not known here and were not read: {}", unknown.join(", ")),
                "look whether one of them matters to you",
            );
        }
    }
}

/// A secret of a row: none where Laravel encrypted it, whose key is not in the database.
fn secret<'a>(server: &'a Map<String, Value>, name: &str) -> Option<&'a str> {
    Some(text(server, name)).filter(|value| !value.is_empty() && !value.starts_with("eyJpdiI6"))
}

fn spec(server: &Map<String, Value>, name: &str, place: &str, imported: &mut Imported) -> Result<Value, String> {
    let first = |names: [&'static str; 2]| {
        names.into_iter().find(|name| !text(server, name).is_empty() || whole(server, name).is_some()).unwrap_or(names[0])
    };
    let kind = text(server, "type");
    let secret_name = format!("{name}-login");
    let mut encrypted = false;
    let mut hold = |imported: &mut Imported, keys: &[(&str, &'static str)]| {
        encrypted |= keys.iter().any(|(_, column)| text(server, column).starts_with("eyJpdiI6"));
        let keys: Vec<(&str, Option<&str>)> = keys.iter().map(|(key, column)| (*key, secret(server, column))).collect();
        imported.add_secret(&secret_name, place, &keys);
        json!({"name": secret_name})
    };
    let provider = match kind {
        "smtp" | "amazon-smtp" | "sendgrid-smtp" | "mailgun-smtp" | "elasticemail-smtp" | "sparkpost-smtp" => {
            let host = text(server, "host");
            if host.is_empty() {
                return Err("it has no host".to_owned());
            }
            let port = whole(server, first(["smtp_port", "port"])).filter(|port| (1..=65_535).contains(port));
            let user = first(["smtp_username", "username"]);
            let has_login = !text(server, user).is_empty();
            let encryption = match (&*text(server, "smtp_protocol").to_ascii_lowercase(), port) {
                ("ssl" | "smtps", _) | ("", Some(465)) => "Tls",
                ("tls" | "starttls", _) => "StartTls",
                _ if has_login && !is_loopback(host) => {
                    imported.report.check(place, "it has no encryption, and a login; here it uses STARTTLS", "let the server offer TLS");
                    "StartTls"
                }
                _ => "None",
            };
            let mut smtp = json!({"host": host, "encryption": encryption});
            if let Some(port) = port {
                smtp["port"] = port.into();
            }
            if has_login {
                smtp["auth"] =
                    json!({"secretRef": hold(imported, &[("username", user), ("password", first(["smtp_password", "password"]))])});
            }
            json!({"smtp": smtp})
        }
        "amazon-api" => {
            let secret_ref = hold(imported, &[("accessKeyId", "aws_access_key_id"), ("secretAccessKey", "aws_secret_access_key")]);
            json!({"ses": {"region": text(server, "aws_region"), "secretRef": secret_ref}})
        }
        "sendgrid-api" => json!({"sendgrid": {"secretRef": hold(imported, &[("apiKey", "api_key")])}}),
        "mailgun-api" => json!({"mailgun": {"domain": text(server, "domain"), "secretRef": hold(imported, &[("apiKey", "api_key")])}}),
        "sparkpost-api" => json!({"sparkpost": {"secretRef": hold(imported, &[("apiKey", "api_key")])}}),
        "elasticemail-api" => json!({"elasticEmail": {"secretRef": hold(imported, &[("apiKey", "api_key")])}}),
        "sendmail" => match text(server, "sendmail_path") {
            "" => json!({"sendmail": {}}),
            path => json!({"sendmail": {"path": path}}),
        },
        _ => return Err(format!("its type `{kind}` is not known here")),
    };
    if encrypted {
        imported.report.check(
            place,
            "its secret is encrypted with AcelleMail's own key, and was not read",
            format!("write it into the Secret `{secret_name}`"),
        );
    }
    let mut spec = json!({"provider": provider});
    match text(server, "status") {
        "active" | "" => {}
        status => {
            spec["enabled"] = false.into();
            imported.report.check(place, format!("its status is {status}; here it is `enabled: false`"), "");
        }
    }
    if let Some(rate) = quota(server, place, imported) {
        spec["limits"] = json!({"rates": [rate]});
    }
    Ok(spec)
}

/// `quota_value` messages in `quota_base` times `quota_unit`; none where it is unlimited.
fn quota(server: &Map<String, Value>, place: &str, imported: &mut Imported) -> Option<Value> {
    let value = whole(server, "quota_value")?;
    let base = whole(server, "quota_base").unwrap_or(1);
    if value < 0 || base < 0 {
        return None;
    }
    let unit = text(server, "quota_unit");
    let seconds = match unit {
        "second" => 1,
        "minute" => 60,
        "hour" => 3600,
        "day" => 86_400,
        "week" => 604_800,
        _ => 0,
    };
    let window = u64::try_from(base).unwrap_or_default().saturating_mul(seconds);
    if !(1..=744 * 3600).contains(&window) || !(1..=MESSAGES_MAX).contains(&value) {
        imported.report.lost(
            place,
            format!("its quota, {value} messages in {base} `{unit}`, is no limit of ours"),
            "write it under `limits.rates`",
        );
        return None;
    }
    Some(json!({"messages": value, "per": Duration::from_secs(window)}))
}
