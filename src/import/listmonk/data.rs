//! What templates of listmonk can use: the subscriber, the campaign, and listmonk's own functions. Pure.

use std::collections::BTreeSet;

use serde_json::{Map, Value as Json};

use super::super::{
    facts::text,
    gotemplate::{Data, Value, ValueKind, path, quoted},
};

/// listmonk's English texts that its own template uses.
const TEXTS: [(&str, &str); 3] = [
    ("email.unsub", "Unsubscribe"),
    ("email.unsubHelp", "Don't want to receive these e-mails?"),
    ("email.viewInBrowser", "View in browser"),
];

/// A campaign's data for its templates.
pub struct CampaignData<'a> {
    /// The row of the campaign.
    pub campaign: &'a Map<String, Json>,
    /// The root of listmonk's pages.
    pub root_url: &'a str,
    /// The language of its texts.
    pub language: &'a str,
    /// The columns that the templates need beside `email`, `name` and `attribs`.
    pub columns: BTreeSet<&'static str>,
    /// Whether they print the link by which people unsubscribe.
    pub unsubscribes: bool,
}

fn field(name: &str) -> Value {
    Value::new(name, ValueKind::Field)
}

impl CampaignData<'_> {
    fn column(&mut self, name: &'static str) -> Value {
        self.columns.insert(name);
        Value::new(name, ValueKind::Operand)
    }

    /// A page of listmonk's own, with the campaign and the subscriber in its path.
    fn page(&mut self, before: &str, after: &str) -> Value {
        self.columns.insert("uuid");
        let uuid = text(self.campaign, "uuid");
        let begin = quoted(&format!("{}/{before}", self.root_url).replace("CAMPAIGN", uuid));
        let end = if after.is_empty() { String::new() } else { format!(" ~ {}", quoted(after)) };
        Value::new(format!("{begin} ~ uuid{end}"), ValueKind::Url)
    }
}

impl Data for CampaignData<'_> {
    fn field(&mut self, path: &[String]) -> Result<(Value, Option<String>), String> {
        let names: Vec<&str> = path.iter().map(String::as_str).collect();
        let value = match &*names {
            ["Subscriber", "Email"] => Value::new("email", ValueKind::Operand),
            ["Subscriber", "Name"] => Value::new("name", ValueKind::Operand),
            ["Subscriber", "UUID"] => self.column("uuid"),
            ["Subscriber", "ID"] => self.column("id"),
            ["Subscriber", "Status"] => self.column("status"),
            ["Subscriber", "FirstName"] => self.column("first_name"),
            ["Subscriber", "LastName"] => self.column("last_name"),
            ["Subscriber", "Attribs", rest @ ..] => field(&self::path("attribs", rest)),
            ["Campaign", name] => {
                let column = match *name {
                    "UUID" => "uuid",
                    "Name" => "name",
                    "Subject" => "subject",
                    "FromEmail" => "from_email",
                    "Type" => "type",
                    "Messenger" => "messenger",
                    "ContentType" => "content_type",
                    "ID" => "id",
                    _ => return Err(format!("`.Campaign.{name}` has no counterpart")),
                };
                match self.campaign.get(column) {
                    Some(Json::String(text)) => Value::constant(text),
                    Some(Json::Number(number)) => Value::new(number.to_string(), ValueKind::Operand),
                    _ => return Err(format!("`.Campaign.{name}` has no value")),
                }
            }
            ["Campaign", "Attribs", rest @ ..] if !rest.is_empty() => {
                let mut value = self.campaign.get("attribs").unwrap_or(&Json::Null);
                for name in rest {
                    value = value.get(name).unwrap_or(&Json::Null);
                }
                match value {
                    Json::String(text) => Value::constant(text),
                    Json::Null => Value::constant(""),
                    Json::Bool(_) | Json::Number(_) => Value::new(value.to_string(), ValueKind::Operand),
                    _ => return Err("a list or object of `.Campaign.Attribs` has no counterpart".to_owned()),
                }
            }
            [] => return Err("`.` as a whole has no counterpart".to_owned()),
            _ => return Err(format!("`.{}` has no counterpart", names.join("."))),
        };
        Ok((value, None))
    }

    fn is_object(&self, path: &[String]) -> bool {
        match path {
            [] => true,
            [name] => name == "Subscriber" || name == "Campaign",
            _ => false,
        }
    }

    fn function(&mut self, name: &str, arguments: &[Value]) -> Option<Result<(Value, Option<String>), String>> {
        let told = |value: Value, doubt: &str| Some(Ok((value, Some(doubt.to_owned()))));
        match (name, arguments) {
            ("TrackLink", [url]) => {
                let value = match &url.kind {
                    ValueKind::Constant(text) => Value::constant(&text.replace("&amp;", "&")),
                    _ => Value::new(url.operand(), ValueKind::Url),
                };
                told(value, "clicks are not counted; the link leads where it says")
            }
            ("TrackView", []) => told(Value::new("\"\"", ValueKind::Nothing), "opens are not counted"),
            ("UnsubscribeURL", []) => {
                self.unsubscribes = true;
                Some(Ok((Value::new("unsubscribe_url", ValueKind::Url), None)))
            }
            ("MessageURL", []) => {
                let page = self.page("campaign/CAMPAIGN/", "");
                told(page, "the page is listmonk's own, and works only as long as listmonk runs")
            }
            ("OptinURL", []) => {
                let page = self.page("subscription/optin/", "?");
                told(page, "the page is listmonk's own, and works only as long as listmonk runs")
            }
            ("ManageURL", []) => {
                let page = self.page("subscription/CAMPAIGN/", "?manage=true");
                told(page, "the page is listmonk's own, and works only as long as listmonk runs")
            }
            ("RootURL", []) => Some(Ok((Value::constant(self.root_url), None))),
            ("ArchiveURL", []) => told(
                Value::constant(&format!("{}/archive", self.root_url)),
                "the page is listmonk's own, and works only as long as listmonk runs",
            ),
            ("Safe", [value]) => Some(Ok((Value::new(format!("{}|safe", value.operand()), ValueKind::Markup), None))),
            ("L.T", [Value { kind: ValueKind::Constant(key), .. }]) => {
                let known = TEXTS.iter().find(|(known, _)| known == key).filter(|_| matches!(self.language, "en" | ""));
                Some(
                    known
                        .map(|(_, text)| (Value::constant(text), None))
                        .ok_or_else(|| format!("listmonk's text `{key}` in the language `{}`; write it in place", self.language)),
                )
            }
            ("L.T" | "L.Ts" | "L.Tc", _) => Some(Err("a text of listmonk's own; write it in place".to_owned())),
            ("Date", [_]) => Some(Err("the date of the day on which a message is sent; write it in place".to_owned())),
            _ => None,
        }
    }
}
