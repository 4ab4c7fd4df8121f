//! Mautic: its mailer, segments, segment emails and do-not-contact entries. Pure.

mod emails;
mod mailer;
mod php;
mod tokens;

use std::collections::BTreeMap;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Map, Value};

use super::{
    BYTES_MAX, Imported, ROWS_MAX, SUPPRESSIONS_FILE, Suppressed, Tables,
    facts::{text, whole},
    names::Names,
};
use crate::meta::secret::SecretValue;

/// The Secret with the URL of Mautic's database.
pub const DATABASE_SECRET: &str = "mautic-database";

/// What Mautic's config/local.php says.
pub struct Config(Map<String, Value>);

/// It holds passwords.
impl std::fmt::Debug for Config {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("***")
    }
}

impl Config {
    /// A parameter, as text; a percent sign is written twice there.
    fn text(&self, name: &str) -> String {
        match self.0.get(name) {
            Some(Value::String(text)) => text.replace("%%", "%"),
            Some(Value::Number(number)) => number.to_string(),
            _ => String::new(),
        }
    }
}

/// Reads config/local.php.
///
/// # Errors
/// What is wrong, with its line; no value is quoted.
pub fn config(source: &str) -> Result<Config, String> {
    php::parameters(source).map(Config)
}

/// What the names of its tables begin with.
#[must_use]
pub fn table_prefix(config: &Config) -> String {
    config.text("db_table_prefix")
}

/// The URL of its database.
///
/// # Errors
/// When a part is missing.
pub fn database_url(config: &Config) -> Result<SecretValue, String> {
    let needed = |name: &str| match config.text(name) {
        value if value.is_empty() => Err(format!("`{name}` is missing in local.php; complete it, or give `--database` instead")),
        value => Ok(value),
    };
    let quoted = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
    let (host, user, name) = (needed("db_host")?, needed("db_user")?, needed("db_name")?);
    let port = Some(config.text("db_port")).filter(|port| !port.is_empty()).map(|port| format!(":{port}")).unwrap_or_default();
    let host = if host.contains(':') && !host.starts_with('[') { format!("[{host}]") } else { host };
    Ok(SecretValue::new(format!("mysql://{}:{}@{host}{port}/{}", quoted(&user), quoted(&config.text("db_password")), quoted(&name))))
}

const EMAIL_COLUMNS: [&str; 22] = [
    "id",
    "name",
    "subject",
    "preheader_text",
    "from_address",
    "from_name",
    "reply_to_address",
    "bcc_address",
    "template",
    "plain_text",
    "custom_html",
    "email_type",
    "is_published",
    "publish_up",
    "sent_count",
    "lang",
    "variant_parent_id",
    "translation_parent_id",
    "category_id",
    "headers",
    "use_owner_as_mailer",
    "dynamic_content",
];

/// The rows of Mautic's tables.
#[derive(Debug, Default)]
pub struct Facts {
    segments: BTreeMap<i64, Map<String, Value>>,
    emails: BTreeMap<i64, Map<String, Value>>,
    lists: BTreeMap<i64, Vec<i64>>,
    excluded: BTreeMap<i64, Vec<i64>>,
    attachments: BTreeMap<i64, usize>,
    suppressed: Vec<Suppressed>,
    left_out: usize,
    bytes: usize,
}

/// One statement for all that is read: it is of one moment, and reads only.
///
/// # Errors
/// When the database is not Mautic's.
pub fn query(tables: &Tables) -> Result<String, String> {
    tables
        .require("Mautic", &["emails", "email_list_xref", "email_stats", "lead_lists", "lead_lists_leads", "leads", "lead_donotcontact"])?;
    let parts = [
        tables.objects("segment", "lead_lists", &["id", "name", "alias", "is_published"], ""),
        tables.objects("email", "emails", &EMAIL_COLUMNS, ""),
        tables.objects("list", "email_list_xref", &["email_id", "leadlist_id"], ""),
        tables.objects("excluded", "email_list_excluded", &["email_id", "leadlist_id"], ""),
        tables.objects("attachment", "email_assets_xref", &["email_id", "asset_id"], ""),
        Some(format!(
            "SELECT 'dnc' AS part, JSON_OBJECT('email', l.email, 'reason', d.reason, 'time', d.date_added, 'comments', LEFT(COALESCE(d.comments, ''), 200)) AS facts FROM `{}` d JOIN `{}` l ON l.id = d.lead_id WHERE d.channel = 'email' AND l.email IS NOT NULL AND l.email <> ''",
            tables.name("lead_donotcontact"),
            tables.name("leads")
        )),
    ];
    Ok(parts.into_iter().flatten().collect::<Vec<_>>().join("\nUNION ALL\n"))
}

/// The facts of a row: an object, or its text.
pub(super) fn facts_of(row: &mut Map<String, Value>) -> Result<Map<String, Value>, String> {
    match row.remove("facts") {
        Some(Value::Object(facts)) => Ok(facts),
        Some(Value::String(text)) => serde_json::from_str(&text).map_err(|error| format!("a row is no JSON: {error}")),
        _ => Ok(Map::new()),
    }
}

impl Facts {
    /// Takes a row of the query.
    ///
    /// # Errors
    /// When there are more than can be kept.
    pub fn take(&mut self, mut row: Map<String, Value>) -> Result<(), String> {
        let facts = facts_of(&mut row)?;
        let part = text(&row, "part").to_owned();
        let number = |name: &str| whole(&facts, name).unwrap_or_default();
        if part == "dnc" {
            if self.suppressed.len() >= ROWS_MAX {
                self.left_out += 1;
                return Ok(());
            }
            let (reason, why) = match whole(&facts, "reason") {
                Some(1) => ("Unsubscribed", "unsubscribed"),
                Some(2) => ("HardBounce", "bounced"),
                Some(0) => return Ok(()),
                _ => ("Listed", "marked by a person"),
            };
            // Mautic keeps times in UTC.
            let time = text(&facts, "time").split('.').next().unwrap_or_default().replace(' ', "T");
            let time = if time.len() == "2026-01-01T00:00:00".len() { format!("{time}Z") } else { String::new() };
            let detail = format!("Mautic: {why} {}", text(&facts, "comments"));
            self.suppressed.push(Suppressed {
                email: text(&facts, "email").to_owned(),
                topic: None,
                reason,
                time,
                detail: detail.trim_end().to_owned(),
            });
            return Ok(());
        }
        self.bytes += Value::Object(facts.clone()).to_string().len();
        if self.bytes > BYTES_MAX {
            return Err(format!("emails are more than {} MiB; delete old ones in Mautic", BYTES_MAX >> 20));
        }
        match &*part {
            "segment" => drop(self.segments.insert(number("id"), facts)),
            "email" => drop(self.emails.insert(number("id"), facts)),
            "list" => self.lists.entry(number("email_id")).or_default().push(number("leadlist_id")),
            "excluded" => self.excluded.entry(number("email_id")).or_default().push(number("leadlist_id")),
            "attachment" => *self.attachments.entry(number("email_id")).or_default() += 1,
            _ => {}
        }
        Ok(())
    }

    /// What the facts are as objects of ours. `url` is that of the database, and goes into a Secret.
    #[must_use]
    pub fn import(mut self, tables: &Tables, config: Option<&Config>, url: &str) -> Imported {
        let mut imported = Imported::default();
        "Mautic's database".clone_into(&mut imported.report.source);
        let mailer = mailer::import(config, &mut imported);
        let mut names = Names::default();
        for (id, segment) in &self.segments {
            let path = format!("lists/{}.sql", names.name(text(segment, "name"), "segment"));
            imported.texts.insert(path.clone(), format!("{}\n", emails::audience_query(tables, &[], &[*id], &[], &[], None)));
            let what = format!("{path}, a query for `audience.sql`; Mautic's own job keeps the segment's members up to date");
            imported.report.carried(format!("segment {id} \"{}\"", text(segment, "name")), what);
        }
        emails::import(&self, tables, config, &mailer, &mut imported);
        if !self.segments.is_empty() || !imported.campaigns.is_empty() {
            imported.add_secret(DATABASE_SECRET, "the audiences: Mautic's database, for a user who may only read", &[("url", Some(url))]);
        }
        if self.left_out > 0 {
            let what = format!("{} of them, since no more than {ROWS_MAX} are kept", self.left_out);
            imported.report.lost("do-not-contact entries", what, "export them in Mautic; audiences leave them out all the same");
        }
        if !self.suppressed.is_empty() {
            imported.report.carried("do-not-contact entries for email", format!("{} in {SUPPRESSIONS_FILE}", self.suppressed.len()));
            imported.suppressed.insert(SUPPRESSIONS_FILE, std::mem::take(&mut self.suppressed));
        }
        imported
    }
}
