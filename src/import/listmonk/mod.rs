//! listmonk: its settings, lists, templates, campaigns and people who are not mailed, from its own database. Pure.

mod campaigns;
mod config;
mod data;
mod settings;

use std::collections::BTreeMap;

use serde_json::{Map, Value};

pub use self::config::config;
use super::{
    BYTES_MAX, Imported, Names, ROWS_MAX, SUPPRESSIONS_FILE, Suppressed, Tables,
    facts::{text, whole},
    names::slug,
};

/// People who unsubscribed from a list.
pub const UNSUBSCRIBED_FILE: &str = "unsubscribed.csv";
/// The Secret with the URL of listmonk's database, from which campaigns read their audiences.
pub const DATABASE_SECRET: &str = "listmonk-database";

/// The rows of listmonk's tables.
#[derive(Default)]
pub struct Facts {
    settings: Map<String, Value>,
    lists: BTreeMap<i64, Map<String, Value>>,
    templates: BTreeMap<i64, Map<String, Value>>,
    campaigns: Vec<Map<String, Value>>,
    /// The lists of a campaign; of one that was deleted only its name.
    campaign_lists: BTreeMap<i64, Vec<(Option<i64>, String)>>,
    media: BTreeMap<i64, Vec<String>>,
    ended: BTreeMap<String, i64>,
    blocked: Vec<Suppressed>,
    unsubscribed: Vec<(String, i64, String)>,
    left_out: usize,
    bytes: usize,
}

/// One statement for all that is read: it is of one moment, and reads only.
///
/// # Errors
/// When the database is not listmonk's.
pub fn query(tables: &Tables) -> Result<String, String> {
    tables.require("listmonk", &["settings", "subscribers", "lists", "subscriber_lists", "templates", "campaigns", "campaign_lists"])?;
    let whole_table =
        |part: &str, table: &str, condition: &str| format!("SELECT '{part}' AS part, to_jsonb(t) AS facts FROM {table} t{condition}");
    let mut parts = vec![
        whole_table("setting", "settings", ""),
        whole_table("list", "lists", ""),
        whole_table("template", "templates", ""),
        whole_table("campaign", "campaigns", " WHERE t.status::text NOT IN ('finished', 'cancelled')"),
        whole_table("campaign_list", "campaign_lists", ""),
        "SELECT 'ended' AS part, jsonb_build_object('status', status, 'count', count(*)) AS facts FROM campaigns WHERE status::text IN ('finished', 'cancelled') GROUP BY status".to_owned(),
    ];
    // The bounce for which somebody was put on the list, if listmonk is one that reads bounces.
    let bounce = if tables.has("bounces") {
        "(SELECT b.type::text FROM bounces b WHERE b.subscriber_id = s.id ORDER BY (b.type::text = 'complaint') DESC, (b.type::text = 'hard') DESC LIMIT 1)"
    } else {
        "NULL"
    };
    parts.push(format!("SELECT 'blocked' AS part, jsonb_build_object('email', s.email, 'time', s.updated_at, 'bounce', {bounce}) AS facts FROM subscribers s WHERE s.status = 'blocklisted'"));
    // After those who are mailed nothing at all, if there are more than are kept.
    parts.push("SELECT 'unsubscribed' AS part, jsonb_build_object('email', s.email, 'list', m.list_id, 'time', m.updated_at) AS facts FROM subscriber_lists m JOIN subscribers s ON s.id = m.subscriber_id WHERE m.status = 'unsubscribed' AND s.status <> 'blocklisted'".to_owned());
    if tables.has("campaign_media") {
        parts.push(whole_table("media", "campaign_media", ""));
    }
    Ok(parts.join("\nUNION ALL\n"))
}

impl Facts {
    /// Takes a row of the query.
    ///
    /// # Errors
    /// When there are more than can be kept.
    pub fn take(&mut self, mut row: Map<String, Value>) -> Result<(), String> {
        let Some(Value::Object(mut facts)) = row.remove("facts") else { return Ok(()) };
        let part = text(&row, "part").to_owned();
        let id = whole(&facts, "id").unwrap_or_default();
        if matches!(&*part, "blocked" | "unsubscribed") {
            if self.blocked.len() + self.unsubscribed.len() >= ROWS_MAX {
                self.left_out += 1;
                return Ok(());
            }
        } else {
            self.bytes += Value::Object(facts.clone()).to_string().len();
            if self.bytes > BYTES_MAX {
                return Err(format!(
                    "settings, templates and campaigns are more than {} MiB; delete old campaigns in listmonk",
                    BYTES_MAX >> 20
                ));
            }
        }
        let time = text(&facts, "time").to_owned();
        match &*part {
            "setting" => {
                let key = text(&facts, "key").to_owned();
                self.settings.insert(key, facts.remove("value").unwrap_or_default());
            }
            "list" => drop(self.lists.insert(id, facts)),
            "template" => drop(self.templates.insert(id, facts)),
            "campaign" => self.campaigns.push(facts),
            "campaign_list" => {
                let list = (whole(&facts, "list_id"), text(&facts, "list_name").to_owned());
                self.campaign_lists.entry(whole(&facts, "campaign_id").unwrap_or_default()).or_default().push(list);
            }
            "media" => {
                self.media.entry(whole(&facts, "campaign_id").unwrap_or_default()).or_default().push(text(&facts, "filename").to_owned());
            }
            "ended" => drop(self.ended.insert(text(&facts, "status").to_owned(), whole(&facts, "count").unwrap_or_default())),
            "blocked" => {
                let (reason, detail) = match text(&facts, "bounce") {
                    "hard" => ("HardBounce", "listmonk: blocklisted, with a hard bounce"),
                    "complaint" => ("Complaint", "listmonk: blocklisted, with a complaint"),
                    _ => ("Listed", "listmonk: blocklisted"),
                };
                let email = text(&facts, "email").to_owned();
                self.blocked.push(Suppressed { email, topic: None, reason, time, detail: detail.to_owned() });
            }
            "unsubscribed" => {
                self.unsubscribed.push((text(&facts, "email").to_owned(), whole(&facts, "list").unwrap_or_default(), time));
            }
            _ => {}
        }
        Ok(())
    }

    /// What the facts are as objects of ours. `url` is that of the database, and goes into a Secret.
    #[must_use]
    pub fn import(mut self, url: &str) -> Imported {
        let mut imported = Imported::default();
        "listmonk's database".clone_into(&mut imported.report.source);
        self.campaigns.sort_by_key(|campaign| whole(campaign, "id"));
        let servers = settings::import(&self.settings, &mut imported);
        let topics = self.topics();
        self.lists(&topics, &mut imported);
        campaigns::import(&self, &servers, &topics, &mut imported);
        if !imported.campaigns.is_empty() || !self.lists.is_empty() {
            imported.add_secret(DATABASE_SECRET, "the audiences: listmonk's database, for a user who may only read", &[("url", Some(url))]);
            imported.report.check(
                "its database",
                "campaigns read their people from it each time they run, so that sign-up forms and listmonk's own pages go on to work",
                format!("give the Secret `{DATABASE_SECRET}` the URL of a user who may only read"),
            );
        }
        for (status, count) in &self.ended {
            imported.report.lost(
                format!("campaigns that are {status}"),
                format!("{count}, since they would mail the same people again"),
                "",
            );
        }
        self.people(&topics, &mut imported);
        imported
    }

    /// The topic of each list, by which its people unsubscribe.
    fn topics(&self) -> BTreeMap<i64, String> {
        let mut names = Names::default();
        self.lists.iter().map(|(id, list)| (*id, names.name(text(list, "name"), "list"))).collect()
    }

    fn lists(&self, topics: &BTreeMap<i64, String>, imported: &mut Imported) {
        for (id, list) in &self.lists {
            let place = format!("list {id} \"{}\"", text(list, "name"));
            let Some(topic) = topics.get(id) else { continue };
            let path = format!("lists/{topic}.sql");
            imported.texts.insert(
                path.clone(),
                format!("{}\n", campaigns::audience_query(&[], None).replace("$1::int[]", &format!("'{{{id}}}'::int[]"))),
            );
            let optin = if text(list, "optin") == "double" { "those who confirmed" } else { "those who have not unsubscribed" };
            imported.report.carried(place, format!("{path}, a query for `audience.sql`: {optin}, and nobody who is blocklisted"));
        }
    }

    fn people(self, topics: &BTreeMap<i64, String>, imported: &mut Imported) {
        if self.left_out > 0 {
            imported.report.lost(
                "people who are not mailed",
                format!("{} of them, since no more than {ROWS_MAX} are kept", self.left_out),
                "export them in listmonk; audiences leave them out all the same",
            );
        }
        if !self.blocked.is_empty() {
            imported.report.carried("subscribers who are blocklisted", format!("{} in {SUPPRESSIONS_FILE}", self.blocked.len()));
            imported.suppressed.insert(SUPPRESSIONS_FILE, self.blocked);
        }
        if !self.unsubscribed.is_empty() {
            imported.report.check(
                "people who unsubscribed from a list",
                format!("{} in {UNSUBSCRIBED_FILE}, with the list as their topic", self.unsubscribed.len()),
                "audiences leave them out already; import this file only when listmonk's sign-up forms are gone, since somebody who signs up again would stay on it",
            );
            let of = |(email, list, time): (String, i64, String)| Suppressed {
                email,
                topic: topics.get(&list).cloned().or_else(|| Some(slug(&format!("list-{list}")))),
                reason: "Unsubscribed",
                time,
                detail: "listmonk: unsubscribed".to_owned(),
            };
            imported.suppressed.insert(UNSUBSCRIBED_FILE, self.unsubscribed.into_iter().map(of).collect());
        }
    }
}
