//! Mautic's segment emails as campaigns. Pure.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::{
    super::{
        Imported, Names, Report, Tables,
        facts::{flag, mailbox, text, whole},
        gotemplate::NOT_CARRIED_OVER,
    },
    Config, DATABASE_SECRET, Facts,
    mailer::{Mailer, PLAN},
    tokens::{Known, translate},
};

/// Mautic's own text for `{unsubscribe_text}`.
const UNSUBSCRIBE_TEXT: &str = "<a href='|URL|'>Unsubscribe</a> to no longer receive emails from us.";
const LINE_MAX: usize = 998;

/// The people whom Mautic mails for segments: its contacts with an address, without those who must not be contacted.
pub fn audience_query(
    tables: &Tables,
    columns: &[&str],
    segments: &[i64],
    excluded: &[i64],
    emails: &[i64],
    category: Option<i64>,
) -> String {
    let numbers = |ids: &[i64]| ids.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let table = |name: &str| format!("`{}`", tables.name(name));
    let more: String = columns.iter().filter(|column| **column != "email").map(|column| format!(", l.`{column}`")).collect();
    let mut query = format!(
        "SELECT l.email, TRIM(CONCAT_WS(' ', l.firstname, l.lastname)) AS name{more} FROM {} l\nWHERE l.email IS NOT NULL AND l.email <> ''\n  AND EXISTS (SELECT 1 FROM {} m WHERE m.lead_id = l.id AND m.leadlist_id IN ({}) AND m.manually_removed = 0)\n  AND NOT EXISTS (SELECT 1 FROM {} d WHERE d.lead_id = l.id AND d.channel = 'email')",
        table("leads"),
        table("lead_lists_leads"),
        numbers(segments),
        table("lead_donotcontact")
    );
    if !excluded.is_empty() {
        query.push_str(&format!(
            "\n  AND NOT EXISTS (SELECT 1 FROM {} x WHERE x.lead_id = l.id AND x.leadlist_id IN ({}))",
            table("lead_lists_leads"),
            numbers(excluded)
        ));
    }
    if !emails.is_empty() {
        query.push_str(&format!(
            "\n  AND NOT EXISTS (SELECT 1 FROM {} s WHERE s.lead_id = l.id AND s.email_id IN ({}))",
            table("email_stats"),
            numbers(emails)
        ));
    }
    if !emails.is_empty() && tables.has("message_queue") {
        // Mautic sends these later.
        query.push_str(&format!(
            "\n  AND NOT EXISTS (SELECT 1 FROM {} q WHERE q.lead_id = l.id AND q.channel = 'email' AND q.channel_id IN ({}) AND q.status <> 'sent')",
            table("message_queue"),
            numbers(emails)
        ));
    }
    if let Some(category) = category.filter(|_| tables.has("lead_categories")) {
        query.push_str(&format!(
            "\n  AND NOT EXISTS (SELECT 1 FROM {} c WHERE c.lead_id = l.id AND c.category_id = {category} AND c.manually_removed = 1)",
            table("lead_categories")
        ));
    }
    query
}

/// An email with its variants and translations, and theirs: who has got one of them is not mailed another.
fn related(facts: &Facts, id: i64) -> Vec<i64> {
    let mut found = vec![id];
    let mut at = 0;
    while let Some(parent) = found.get(at).copied() {
        let is_of =
            |email: &Map<String, Value>| ["variant_parent_id", "translation_parent_id"].iter().any(|by| whole(email, by) == Some(parent));
        let more: Vec<i64> = facts.emails.iter().filter(|(id, email)| !found.contains(id) && is_of(email)).map(|(id, _)| *id).collect();
        found.extend(more);
        at += 1;
    }
    found
}

pub fn import(facts: &Facts, tables: &Tables, config: Option<&Config>, mailer: &Mailer, imported: &mut Imported) {
    let mut names = Names::default();
    for (id, email) in &facts.emails {
        let place = format!("email {id} \"{}\"", text(email, "name"));
        let refused = if text(email, "email_type") != "list" {
            Some(("it is sent to single contacts by Mautic's campaigns, and is no segment email", ""))
        } else if whole(email, "variant_parent_id").is_some() {
            Some(("it is a variant of an A/B test", "Mailfleet chooses variants by a field of the audience: docs/campaigns.md"))
        } else if whole(email, "translation_parent_id").is_some() {
            Some(("it is a translation of another email", "write it under `content.variants` of that campaign"))
        } else if !facts.lists.contains_key(id) {
            Some(("it has no segment", "choose one in Mautic, and import again"))
        } else {
            None
        };
        if let Some((what, to_do)) = refused {
            imported.report.lost(place, what, to_do);
            continue;
        }
        let name = names.name(text(email, "name"), "email");
        if let Err((what, to_do)) = one(facts, *id, email, tables, config, mailer, &name, &place, imported) {
            imported.report.lost(place, what, to_do);
        }
    }
}

type Refused = (String, &'static str);

#[allow(clippy::too_many_arguments)]
fn one(
    facts: &Facts,
    id: i64,
    email: &Map<String, Value>,
    tables: &Tables,
    config: Option<&Config>,
    mailer: &Mailer,
    name: &str,
    place: &str,
    imported: &mut Imported,
) -> Result<(), Refused> {
    let own =
        |field: &str, otherwise: &str| Some(text(email, field).trim()).filter(|text| !text.is_empty()).unwrap_or(otherwise).to_owned();
    let from = own("from_address", &mailer.from);
    let Some((_, address)) = mailbox(&from) else {
        return Err((
            format!("its sender `{from}` is not an address that is the same for everybody"),
            "set a From address in Mautic, or give `--config`, and import again",
        ));
    };
    let configured = config.map(|config| config.text("unsubscribe_text")).filter(|text| !text.is_empty());
    let unsubscribe_text = configured.unwrap_or_else(|| UNSUBSCRIBE_TEXT.to_owned());
    let has_column = |column: &str| tables.has_column("leads", column);
    let mut known =
        Known { has_column: &has_column, unsubscribe_text: &unsubscribe_text, subject: "", columns: BTreeSet::new(), unsubscribes: false };
    let subject = line(text(email, "subject"), "subject", place, &mut known, &mut imported.report)?;
    known.subject = &subject;
    let mut spec = json!({"planRef": {"name": PLAN}, "from": {"address": address}, "subject": subject, "content": {}});
    let from_name = own("from_name", &mailer.from_name);
    if !from_name.is_empty() {
        spec["from"]["name"] = line(&from_name, "sender's name", place, &mut known, &mut imported.report)?.into();
    }
    let reply_to = own("reply_to_address", &mailer.reply_to);
    if let Some((_, address)) = mailbox(&reply_to) {
        spec["replyTo"] = json!({"address": address});
    }
    let preheader = line(text(email, "preheader_text"), "preheader", place, &mut known, &mut imported.report)?;
    if !preheader.trim().is_empty() {
        spec["content"]["preheader"] = preheader.into();
    }
    let html = text(email, "custom_html");
    if html.trim().is_empty() {
        imported.report.lost(
            format!("{place}, body"),
            format!("it is made of a theme (`{}`) and its slots", text(email, "template")),
            "open it in Mautic's builder and save it as HTML, and import again; the campaign does not start before",
        );
        imported.texts.insert(format!("mails/{name}.html"), format!("{{{{ {NOT_CARRIED_OVER} }}}}\n"));
    } else {
        let body = body(html, true, &format!("{place}, body"), &mut known, &mut imported.report);
        imported.texts.insert(format!("mails/{name}.html"), body);
    }
    spec["content"]["htmlFrom"] = json!({"path": format!("mails/{name}.html")});
    let plain = text(email, "plain_text");
    if !plain.trim().is_empty() {
        let plain = body(plain, false, &format!("{place}, plain text"), &mut known, &mut imported.report);
        imported.texts.insert(format!("mails/{name}.txt"), plain);
        spec["content"]["textFrom"] = json!({"path": format!("mails/{name}.txt")});
    }
    let columns: Vec<&str> = known.columns.iter().map(String::as_str).collect();
    let excluded = facts.excluded.get(&id).map(Vec::as_slice).unwrap_or_default();
    let segments = facts.lists.get(&id).map(Vec::as_slice).unwrap_or_default();
    let query = audience_query(tables, &columns, segments, excluded, &related(facts, id), whole(email, "category_id"));
    spec["audience"] = json!({"sql": {"urlRef": {"name": DATABASE_SECRET, "key": "url"}, "query": query}});
    spec["unsubscribe"] = json!({"oneClick": {}});
    imported.report.check(
        "unsubscribing",
        "links lead to Mailfleet's own page, no longer to Mautic's",
        "run with `--public-url` and `--public-address`: docs/unsubscribe.md",
    );
    if !text(email, "bcc_address").is_empty() {
        imported.report.lost(place, "its Bcc address", "");
    }
    if flag(email, "use_owner_as_mailer") == Some(true) {
        imported.report.lost(place, "contacts' owners are its senders", "one campaign has one From address; write one for each owner");
    }
    if let Some(count) = facts.attachments.get(&id) {
        imported.report.lost(place, format!("{count} attachments"), "name the files in `content.attachments`");
    }
    if flag(email, "is_published") == Some(true) {
        imported.report.check(
            place,
            "it is published, so that Mautic may send it as well",
            "unpublish it there before you remove `suspend` here",
        );
    }
    if imported.add_campaign(name, &format!("Mautic's {place}"), spec) {
        imported.report.carried(place, format!("Campaign {name}, suspended"));
    }
    Ok(())
}

fn line(source: &str, what: &str, place: &str, known: &mut Known<'_>, report: &mut Report) -> Result<String, Refused> {
    let text = body(source, false, &format!("{place}, {what}"), known, report).replace(['\r', '\n'], " ");
    if text.len() > LINE_MAX { Err((format!("its {what} is longer than {LINE_MAX} bytes"), "shorten it")) } else { Ok(text) }
}

fn body(source: &str, is_html: bool, place: &str, known: &mut Known<'_>, report: &mut Report) -> String {
    let translated = translate(source, is_html, known);
    for (line, what) in translated.doubts {
        report.check(format!("{place}, line {line}"), what, "");
    }
    for (line, what) in translated.lost {
        report.lost(
            format!("{place}, line {line}"),
            what,
            format!("write it in place of `{NOT_CARRIED_OVER}`; the campaign does not start before"),
        );
    }
    translated.text
}
