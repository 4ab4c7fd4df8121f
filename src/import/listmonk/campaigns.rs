//! listmonk's campaigns and their templates. Pure.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use super::{
    super::{
        Imported, Names, Report,
        facts::{mailbox, text, whole},
        gotemplate::{NOT_CARRIED_OVER, Options, Translated, comment, translate},
    },
    DATABASE_SECRET, Facts,
    data::CampaignData,
    settings::{PLAN, Servers},
};

/// What listmonk takes for the content's place where a campaign has no template.
const BARE: &str = "{{ template \"content\" . }}";
/// The longest subject or header field.
const LINE_MAX: usize = 998;
/// Fields that Mailfleet writes itself, or that would mail others too.
const FIELDS_OF_OURS: [&str; 13] = [
    "bcc",
    "cc",
    "date",
    "dkim-signature",
    "from",
    "list-unsubscribe",
    "list-unsubscribe-post",
    "message-id",
    "mime-version",
    "received",
    "return-path",
    "sender",
    "to",
];

/// The people whom listmonk mails for lists, as `$1`. A null of their attributes is a missing field, as it is to Go.
pub fn audience_query(columns: &[&str], after: Option<i64>) -> String {
    let more: String = columns
        .iter()
        .map(|column| match *column {
            // As listmonk finds them: the first, or the last, word of more than two bytes, and else the whole name.
            "first_name" => ", COALESCE((SELECT w FROM unnest(string_to_array(s.name, ' ')) WITH ORDINALITY AS t(w, n) WHERE octet_length(w) > 2 ORDER BY n LIMIT 1), s.name) AS first_name".to_owned(),
            "last_name" => ", COALESCE((SELECT w FROM unnest(string_to_array(s.name, ' ')) WITH ORDINALITY AS t(w, n) WHERE octet_length(w) > 2 ORDER BY n DESC LIMIT 1), s.name) AS last_name".to_owned(),
            column => format!(", s.{column}"),
        })
        .collect();
    let after = after.map(|id| format!("\n  AND s.id > {id}")).unwrap_or_default();
    format!(
        "SELECT s.email, s.name, jsonb_strip_nulls(s.attribs) AS attribs{more} FROM subscribers s\nWHERE s.status <> 'blocklisted' AND EXISTS (\n  SELECT 1 FROM subscriber_lists m JOIN lists l ON l.id = m.list_id\n  WHERE m.subscriber_id = s.id AND l.id = ANY($1::int[])\n  AND CASE l.optin WHEN 'double' THEN m.status = 'confirmed' ELSE m.status <> 'unsubscribed' END){after}"
    )
}

pub fn import(facts: &Facts, servers: &Servers, topics: &BTreeMap<i64, String>, imported: &mut Imported) {
    let mut used: BTreeSet<i64> = BTreeSet::new();
    let mut names = Names::default();
    for campaign in &facts.campaigns {
        let id = whole(campaign, "id").unwrap_or_default();
        let place = format!("campaign {id} \"{}\"", text(campaign, "name"));
        if servers.all.is_empty() {
            imported.report.lost(place, "there is no server to send it through", "");
            continue;
        }
        let name = names.name(text(campaign, "name"), "campaign");
        if let Err((what, to_do)) = one(facts, servers, topics, campaign, &name, &place, &mut used, imported) {
            imported.report.lost(place, what, to_do);
        }
    }
    for (id, template) in facts.templates.iter().filter(|(id, _)| !used.contains(id)) {
        let place = format!("template {id} \"{}\"", text(template, "name"));
        if text(template, "type") == "tx" {
            imported.report.lost(place, "a template for single messages, which Mailfleet does not send", "");
        } else {
            imported.report.lost(place, "no campaign that was carried over uses it", "");
        }
    }
}

/// What is wrong, and what to do.
type Refused = (String, &'static str);

#[allow(clippy::too_many_arguments)]
fn one(
    facts: &Facts,
    servers: &Servers,
    topics: &BTreeMap<i64, String>,
    campaign: &Map<String, Value>,
    name: &str,
    place: &str,
    used: &mut BTreeSet<i64>,
    imported: &mut Imported,
) -> Result<(), Refused> {
    let id = whole(campaign, "id").unwrap_or_default();
    if text(campaign, "type") == "optin" {
        return Err(("it asks people to confirm their subscription, which listmonk itself does".to_owned(), ""));
    }
    let messenger = text(campaign, "messenger");
    if servers.others.iter().any(|other| other == messenger) {
        return Err((
            format!("it is sent by the messenger \"{messenger}\", which is no mail server"),
            "write a plugin for it: docs/plugin.md",
        ));
    }
    let from = [text(campaign, "from_email"), &servers.from].into_iter().find(|from| !from.trim().is_empty()).unwrap_or_default();
    let Some((from_name, address)) = mailbox(from) else {
        return Err((
            format!("its sender `{from}` is not an address that is the same for everybody"),
            "set a From address in listmonk, and import again",
        ));
    };
    let lists = facts.campaign_lists.get(&id).map(Vec::as_slice).unwrap_or_default();
    let ids: Vec<i64> = lists.iter().filter_map(|(list, _)| *list).collect();
    if ids.is_empty() {
        return Err(("it has no list that is still there".to_owned(), "choose a list in listmonk, and import again"));
    }
    for (_, gone) in lists.iter().filter(|(list, _)| list.is_none()) {
        imported.report.lost(place, format!("its list \"{gone}\" was deleted"), "");
    }
    let mut data =
        CampaignData { campaign, root_url: &servers.root_url, language: &servers.language, columns: BTreeSet::new(), unsubscribes: false };
    let line = |report: &mut Report, data: &mut CampaignData<'_>, what: &str, source: &str| {
        let options = Options { is_html: false, is_layout: false };
        let translated = template(source, options, data, &format!("{place}, {what}"), report);
        let one_line = translated.text.replace(['\r', '\n'], " ");
        if one_line.len() > LINE_MAX { Err((format!("its {what} is longer than {LINE_MAX} bytes"), "shorten it")) } else { Ok(one_line) }
    };
    let report = &mut imported.report;
    let subject = line(report, &mut data, "subject", text(campaign, "subject"))?;
    let mut spec = json!({
        "planRef": {"name": PLAN},
        "from": {"address": address},
        "subject": subject,
    });
    if let Some(from_name) = from_name {
        spec["from"]["name"] = line(report, &mut data, "sender's name", &from_name)?.into();
    }
    bodies(facts, campaign, name, place, used, &mut data, &mut spec, imported);
    headers(campaign, place, &mut data, &mut spec, imported)?;
    through(servers, messenger, &address, place, &mut spec, imported);
    let after = progress(campaign, place, imported);
    let columns: Vec<&str> = data.columns.iter().copied().collect();
    let parameter = format!("{{{}}}", ids.iter().map(ToString::to_string).collect::<Vec<_>>().join(","));
    spec["audience"] = json!({"sql": {
        "urlRef": {"name": DATABASE_SECRET, "key": "url"},
        "query": audience_query(&columns, after),
        "parameters": [parameter],
    }});
    if servers.has_unsubscribe_header || data.unsubscribes {
        let topic = if let [list] = &*ids {
            topics.get(list)
        } else {
            imported.report.check(
                place,
                "it has several lists: who unsubscribes gets nothing from this namespace any more",
                "name a topic in `unsubscribe.oneClick` if that is too much",
            );
            None
        };
        spec["unsubscribe"] = match topic {
            Some(topic) => json!({"oneClick": {"topic": topic}}),
            None => json!({"oneClick": {}}),
        };
        imported.report.check(
            "unsubscribing",
            "links lead to Mailfleet's own page, no longer to listmonk's",
            "run with `--public-url` and `--public-address`: docs/unsubscribe.md",
        );
    }
    for file in facts.media.get(&id).into_iter().flatten() {
        imported.report.lost(place, format!("the attachment \"{file}\""), "copy the file, and name it in `content.attachments`");
    }
    if text(campaign, "status") == "scheduled" && !text(campaign, "send_at").is_empty() {
        spec["startAt"] = text(campaign, "send_at").into();
        imported.report.check(place, "listmonk sends it at its time as well", "cancel it there before you remove `suspend` here");
    }
    if imported.add_campaign(name, &format!("listmonk's {place}"), spec) {
        imported.report.carried(place, format!("Campaign {name}, suspended"));
    }
    Ok(())
}

/// Translates a template; one that is none is not carried over.
fn template(source: &str, options: Options, data: &mut CampaignData<'_>, place: &str, report: &mut Report) -> Translated {
    // The short form of editors that would break quotes.
    let source = without_shorthand(source);
    match translate(&source, options, data) {
        Ok(translated) => {
            for remark in &translated.remarks {
                let place = format!("{place}, line {}", remark.line);
                if remark.is_lost {
                    report.lost(
                        place,
                        &remark.what,
                        format!("write it in place of `{NOT_CARRIED_OVER}`; the campaign does not start before"),
                    );
                } else {
                    report.check(place, &remark.what, "");
                }
            }
            translated
        }
        Err(fault) => {
            report.lost(
                format!("{place}, line {}", fault.line),
                format!("no template of Go: {}", fault.what),
                "write it anew; the campaign does not start before",
            );
            let text = format!("{}{{{{ {NOT_CARRIED_OVER} }}}}", comment(&format!("not carried over: {}", fault.what)));
            Translated { text, ..Translated::default() }
        }
    }
}

/// `https://example.com@TrackLink` is the URL.
fn without_shorthand(source: &str) -> String {
    const MARK: &str = "@TrackLink";
    let mut out = String::with_capacity(source.len());
    let mut rest = source;
    while let Some(at) = rest.find(MARK) {
        let before = &rest[..at];
        let url = before.rfind("http://").max(before.rfind("https://")).map(|begin| &before[begin..]);
        let is_url = url.is_some_and(|url| !url.contains(|c: char| c.is_whitespace() || matches!(c, '"' | '<' | '>')));
        out.push_str(before);
        if !is_url {
            out.push_str(MARK);
        }
        rest = &rest[at + MARK.len()..];
    }
    out.push_str(rest);
    out
}

#[allow(clippy::too_many_arguments)]
fn bodies(
    facts: &Facts,
    campaign: &Map<String, Value>,
    name: &str,
    place: &str,
    used: &mut BTreeSet<i64>,
    data: &mut CampaignData<'_>,
    spec: &mut Value,
    imported: &mut Imported,
) {
    let kind = text(campaign, "content_type");
    let is_html = kind != "plain";
    let extension = if is_html { "html" } else { "txt" };
    let options = Options { is_html, is_layout: false };
    let body = if kind == "markdown" {
        let what = "the body is Markdown, which listmonk makes into HTML";
        imported.report.lost(
            format!("{place}, body"),
            what,
            "convert it to HTML in listmonk, which has a button for that, and import again",
        );
        Translated {
            text: format!("{}{{{{ {NOT_CARRIED_OVER} }}}}", comment(&format!("not carried over: {what}"))),
            ..Translated::default()
        }
    } else {
        template(text(campaign, "body"), options, data, &format!("{place}, body"), &mut imported.report)
    };
    if text(campaign, "body").contains("data-embed") {
        imported.report.check(
            format!("{place}, body"),
            "images with `data-embed` are loaded from their URL instead",
            "name them in `content.attachments` with `inline` to embed them",
        );
    }
    if !is_html {
        imported.report.check(
            format!("{place}, body"),
            "listmonk writes values in plain text as if they were HTML (`&#39;`); here they are as they are",
            "",
        );
    }
    let layout = whole(campaign, "template_id")
        .and_then(|id| facts.templates.get_key_value(&id))
        .or_else(|| facts.templates.iter().find(|(_, template)| template.get("is_default") == Some(&Value::Bool(true))));
    let layout = layout.filter(|_| kind != "visual").filter(|(_, template)| text(template, "body").trim() != BARE);
    let mut content = json!({});
    let mut whole_body = body.text;
    if let Some((id, row)) = layout {
        used.insert(*id);
        // A layout's constants are the campaign's, so that each campaign has its own.
        let place = format!("template {id} \"{}\"", text(row, "name"));
        let options = Options { is_html, is_layout: true };
        let mut layout = template(text(row, "body"), options, data, &place, &mut imported.report);
        if !layout.has_content {
            imported.report.lost(&place, "it has no place for the content", "write `{% block content %}{% endblock %}` where it belongs");
            layout.text.push_str(&format!("{{{{ {NOT_CARRIED_OVER} }}}}{{% block content %}}{{% endblock %}}"));
        }
        let path = format!("{name}.{extension}");
        imported.texts.insert(format!("layouts/{path}"), layout.text);
        whole_body = format!("{{% extends \"{path}\" %}}\n{{% block content %}}{whole_body}{{% endblock %}}");
        content["templates"] = json!({"path": "layouts"});
    }
    let path = format!("mails/{name}.{extension}");
    content[if is_html { "htmlFrom" } else { "textFrom" }] = json!({"path": path});
    imported.texts.insert(path, whole_body);
    if is_html {
        let alternative = text(campaign, "altbody");
        if alternative.trim().is_empty() {
            imported.report.check(place, "listmonk sends HTML alone; here a text body is made from it", "");
        } else {
            let options = Options { is_html: false, is_layout: false };
            let alternative = template(alternative, options, data, &format!("{place}, plain text"), &mut imported.report);
            let path = format!("mails/{name}.txt");
            content["textFrom"] = json!({"path": path});
            imported.texts.insert(path, alternative.text);
        }
    }
    spec["content"] = content;
}

fn headers(
    campaign: &Map<String, Value>,
    place: &str,
    data: &mut CampaignData<'_>,
    spec: &mut Value,
    imported: &mut Imported,
) -> Result<(), Refused> {
    let sets = campaign.get("headers").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let mut written: Vec<Value> = Vec::new();
    for (name, value) in sets.iter().filter_map(Value::as_object).flatten() {
        let value = value.as_str().unwrap_or_default();
        let lower = name.to_ascii_lowercase();
        if lower == "reply-to" {
            match mailbox(value) {
                Some((name, address)) => {
                    spec["replyTo"] = json!({"address": address});
                    if let Some(name) = name {
                        spec["replyTo"]["name"] = name.into();
                    }
                }
                None => imported.report.lost(
                    place,
                    format!("Reply-To `{value}` is not an address that is the same for everybody"),
                    "write `replyTo`",
                ),
            }
            continue;
        }
        if FIELDS_OF_OURS.contains(&&*lower) || lower.starts_with("content-") || lower == "subject" {
            imported.report.lost(place, format!("the header field `{name}: {value}`, which Mailfleet or servers write"), "");
            continue;
        }
        let options = Options { is_html: false, is_layout: false };
        let text =
            template(value, options, data, &format!("{place}, header field {name}"), &mut imported.report).text.replace(['\r', '\n'], " ");
        if text.len() > LINE_MAX {
            return Err((format!("its header field {name} is longer than {LINE_MAX} bytes"), "shorten it"));
        }
        written.retain(|header| header["name"].as_str().is_none_or(|other| !other.eq_ignore_ascii_case(name)));
        written.push(json!({"name": name, "value": text}));
    }
    if !written.is_empty() {
        spec["headers"] = written.into();
    }
    Ok(())
}

/// The servers of a campaign, where listmonk does not use all of them.
fn through(servers: &Servers, messenger: &str, address: &str, place: &str, spec: &mut Value, imported: &mut Imported) {
    let address = address.to_lowercase();
    let domain = address.rsplit('@').next().unwrap_or_default();
    let with = |key: &str| -> Vec<Value> {
        let those = servers.all.iter().filter(|(_, _, addresses)| addresses.iter().any(|address| address == key));
        those.map(|(name, ..)| json!({"name": name})).collect()
    };
    let named: Vec<Value> =
        servers.all.iter().filter(|(_, own, _)| own == messenger && !own.is_empty()).map(|(name, ..)| json!({"name": name})).collect();
    let chosen = if named.is_empty() {
        if messenger != "email" {
            imported.report.check(place, format!("its messenger \"{messenger}\" is no server that is there; it uses all servers"), "");
        }
        let by_address = with(&address);
        if by_address.is_empty() { with(domain) } else { by_address }
    } else {
        named
    };
    if !chosen.is_empty() {
        spec["servers"] = chosen.into();
    }
}

/// How far listmonk has sent it: those people are not mailed again.
fn progress(campaign: &Map<String, Value>, place: &str, imported: &mut Imported) -> Option<i64> {
    let status = text(campaign, "status");
    let last = whole(campaign, "last_subscriber_id").filter(|last| *last > 0);
    if !matches!(status, "running" | "paused") {
        return None;
    }
    let what = match last {
        Some(last) => format!(
            "it is {status} in listmonk, which has fetched the subscribers up to number {last}; only those after them are mailed here"
        ),
        None => format!("it is {status} in listmonk"),
    };
    imported.report.check(place, what, "cancel it there before you remove `suspend` here, and import again if it went on meanwhile");
    last
}
