//! Two versions of an object, field by field: lists by what names their items, and no secret is shown.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::{Change, FieldChange, Identity, ObjectChange, ObjectKind, lines};
use crate::meta::bound::{counted, grouped};

/// What stands in place of a secret.
pub const HIDDEN: &str = "***";

/// The objects of a side, as documents.
pub type Documents = BTreeMap<Identity, Value>;

/// The objects that differ; `is_secret` tells by the name of a field whether its value may be shown.
#[must_use]
pub fn compare(old: &Documents, new: &Documents, is_secret: fn(&str) -> bool) -> Vec<ObjectChange> {
    let all: BTreeSet<&Identity> = old.keys().chain(new.keys()).collect();
    let mut changes = Vec::new();
    for identity in all {
        let mut walk = Walk { is_secret, hides_all: identity.kind == ObjectKind::Secret, found: Vec::new() };
        let change = match (old.get(identity), new.get(identity)) {
            (Some(old), Some(new)) => {
                walk.compare("", old, new);
                Change::Changed
            }
            (None, Some(new)) => {
                walk.whole(new, Change::Added);
                Change::Added
            }
            (Some(old), None) => {
                walk.whole(old, Change::Removed);
                Change::Removed
            }
            (None, None) => continue,
        };
        if change == Change::Changed && walk.found.is_empty() {
            continue;
        }
        changes.push(ObjectChange {
            kind: identity.kind,
            namespace: identity.key.namespace.to_string(),
            name: identity.key.name.to_string(),
            change,
            fields: walk.found,
        });
    }
    changes
}

struct Walk {
    is_secret: fn(&str) -> bool,
    hides_all: bool,
    found: Vec<FieldChange>,
}

impl Walk {
    /// The fields of an object that is on one side alone.
    fn whole(&mut self, document: &Value, change: Change) {
        for (section, value) in document.as_object().into_iter().flatten() {
            match value {
                Value::Object(fields) => {
                    fields.iter().for_each(|(field, value)| self.one_sided(&below(section, field), value, change));
                }
                other => self.one_sided(section, other, change),
            }
        }
    }

    fn compare(&mut self, path: &str, old: &Value, new: &Value) {
        if old == new {
            return;
        }
        match (old, new) {
            (Value::Object(old), Value::Object(new)) => {
                for field in merged(old.keys(), new.keys()) {
                    let at = below(path, field);
                    match (old.get(field), new.get(field)) {
                        (Some(old), Some(new)) => self.compare(&at, old, new),
                        (None, Some(new)) => self.one_sided(&at, new, Change::Added),
                        (Some(old), None) => self.one_sided(&at, old, Change::Removed),
                        (None, None) => {}
                    }
                }
            }
            (Value::Array(old), Value::Array(new)) => self.lists(path, old, new),
            _ => self.values(path, old, new),
        }
    }

    fn lists(&mut self, path: &str, old: &[Value], new: &[Value]) {
        if let (Some(old), Some(new)) = (people(path, old), people(path, new)) {
            let count = |found: usize, what: &str| (found > 0).then(|| format!("{} {what}", counted(found, "person", "people")));
            let added = new.keys().filter(|address| !old.contains_key(*address)).count();
            let removed = old.keys().filter(|address| !new.contains_key(*address)).count();
            let changed = old.iter().filter(|(address, row)| new.get(*address).is_some_and(|now| now != *row)).count();
            let words = [count(added, "added"), count(removed, "removed"), count(changed, "changed")];
            let words: Vec<String> = words.into_iter().flatten().collect();
            if !words.is_empty() {
                self.summary(path, Change::Changed, words.join(", "));
            }
            return;
        }
        match (keyed(old), keyed(new)) {
            (Some(old_items), Some(new_items)) => {
                let find = |items: &[(String, usize)], key: &str| items.iter().find(|(known, _)| known == key).map(|(_, at)| *at);
                for key in merged(old_items.iter().map(|(key, _)| key), new_items.iter().map(|(key, _)| key)) {
                    let at = if is_scalars(old) && is_scalars(new) { path.to_owned() } else { format!("{path}[{key}]") };
                    let (was, is) = (find(&old_items, key).and_then(|at| old.get(at)), find(&new_items, key).and_then(|at| new.get(at)));
                    match (was, is) {
                        (Some(was), Some(is)) => self.compare(&at, was, is),
                        (None, Some(is)) => self.one_sided(&at, is, Change::Added),
                        (Some(was), None) => self.one_sided(&at, was, Change::Removed),
                        (None, None) => {}
                    }
                }
                let order = |items: Vec<(String, usize)>, others: &[(String, usize)]| -> Vec<String> {
                    items.into_iter().map(|(key, _)| key).filter(|key| find(others, key).is_some()).collect()
                };
                let (was, is) = (order(old_items.clone(), &new_items), order(new_items, &old_items));
                if order_counts(path) && was != is {
                    self.summary(path, Change::Changed, format!("another order: {}", is.join(", ")));
                }
            }
            _ if is_scalars(old) && is_scalars(new) => self.values(path, &old.into(), &new.into()),
            _ => {
                for at in 0..old.len().max(new.len()) {
                    let path = format!("{path}[{at}]");
                    match (old.get(at), new.get(at)) {
                        (Some(old), Some(new)) => self.compare(&path, old, new),
                        (None, Some(new)) => self.one_sided(&path, new, Change::Added),
                        (Some(old), None) => self.one_sided(&path, old, Change::Removed),
                        (None, None) => {}
                    }
                }
            }
        }
    }

    fn values(&mut self, path: &str, old: &Value, new: &Value) {
        if !self.hides(path)
            && let (Value::String(old), Value::String(new)) = (old, new)
            && (lines::is_long(old) || lines::is_long(new))
        {
            return self.summary(path, Change::Changed, lines::changed_lines(old, new));
        }
        let (old, new) = (Some(self.shown(path, old)), Some(self.shown(path, new)));
        self.found.push(FieldChange { field: path.to_owned(), change: Change::Changed, old, new, summary: None });
    }

    fn one_sided(&mut self, path: &str, value: &Value, change: Change) {
        let words = match value {
            Value::String(text) if lines::is_long(text) && !self.hides(path) => Some(lines::counted_lines(text)),
            Value::Array(rows) if people(path, rows).is_some() => Some(counted(rows.len(), "person", "people")),
            _ => None,
        };
        if let Some(words) = words {
            return self.summary(path, change, words);
        }
        let shown = Some(self.shown(path, value));
        let (old, new) = if change == Change::Added { (None, shown) } else { (shown, None) };
        self.found.push(FieldChange { field: path.to_owned(), change, old, new, summary: None });
    }

    fn summary(&mut self, path: &str, change: Change, words: String) {
        self.found.push(FieldChange { field: path.to_owned(), change, old: None, new: None, summary: Some(words) });
    }

    fn hides(&self, path: &str) -> bool {
        let name = path.rsplit(['.', '[']).next().unwrap_or_default();
        self.hides_all || (self.is_secret)(name.trim_end_matches(']'))
    }

    /// A value as it may be shown: without secrets, and without long texts and lists of people within it.
    fn shown(&self, path: &str, value: &Value) -> Value {
        match value {
            Value::Object(fields) => {
                Value::Object(fields.iter().map(|(field, value)| (field.clone(), self.shown(&below(path, field), value))).collect())
            }
            Value::Array(rows) if people(path, rows).is_some() => Value::String(counted(rows.len(), "person", "people")),
            Value::Array(items) => Value::Array(items.iter().map(|item| self.shown(path, item)).collect()),
            _ if self.hides(path) => Value::String(HIDDEN.to_owned()),
            Value::String(text) if lines::is_long(text) => Value::String(format!("({})", lines::counted_lines(text))),
            Value::String(text) => Value::String(without_login(text)),
            other => other.clone(),
        }
    }
}

/// A URL without what is before its host: `https://***@example.com`.
fn without_login(text: &str) -> String {
    let Some((scheme, rest)) = text.split_once("://") else { return text.to_owned() };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    match authority.rsplit_once('@') {
        Some((login, host)) if !login.contains(char::is_whitespace) => {
            format!("{scheme}://{HIDDEN}@{host}{}", &rest[authority.len()..])
        }
        _ => text.to_owned(),
    }
}

fn below(path: &str, field: &str) -> String {
    // A name with dots is told from a path.
    let is_plain = !field.contains(['.', '/', ' ', '[']);
    match (path.is_empty(), is_plain) {
        (true, _) => field.to_owned(),
        (false, true) => format!("{path}.{field}"),
        (false, false) => format!("{path}[{field}]"),
    }
}

/// What is in either, in the order of the new one; what is only in the old one comes after what it came after there.
fn merged<T: PartialEq>(old: impl IntoIterator<Item = T>, new: impl IntoIterator<Item = T>) -> Vec<T> {
    let mut all: Vec<T> = new.into_iter().collect();
    let mut after = 0;
    for one in old {
        let known = all.iter().position(|known| *known == one);
        let at = known.unwrap_or(after);
        if known.is_none() {
            all.insert(at, one);
        }
        after = at + 1;
    }
    all
}

/// People by address, where the list is one of people.
fn people<'a>(path: &str, rows: &'a [Value]) -> Option<BTreeMap<String, &'a Value>> {
    let is_inline = path.starts_with("spec.audience") && path.ends_with("inline");
    let address = |row: &'a Value| Some((row.get("email")?.as_str()?.to_lowercase(), row));
    is_inline.then(|| rows.iter().filter_map(address).collect())
}

/// What names each item of a list, with its place; `None` where items have no names of their own, or share them.
fn keyed(items: &[Value]) -> Option<Vec<(String, usize)>> {
    let keys: Vec<(String, usize)> = items.iter().enumerate().map(|(at, item)| Some((name_of(item)?, at))).collect::<Option<_>>()?;
    let different: BTreeSet<&String> = keys.iter().map(|(key, _)| key).collect();
    (different.len() == keys.len()).then_some(keys)
}

fn name_of(item: &Value) -> Option<String> {
    let Value::Object(fields) = item else {
        return match item {
            Value::String(text) => Some(text.clone()),
            Value::Number(number) => Some(number.to_string()),
            _ => None,
        };
    };
    let text = |field: &str| match fields.get(field)? {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    };
    let joined = |field: &str| {
        let words: Option<Vec<&str>> = fields.get(field)?.as_array()?.iter().map(Value::as_str).collect();
        words.map(|words| words.join(", "))
    };
    let pair = |first: &str, second: &str| Some(format!("{}/{}", text(first)?, text(second)?));
    pair("namespace", "name")
        .or_else(|| text("name"))
        .or_else(|| pair("domain", "selector"))
        .or_else(|| text("per").map(|per| format!("per {per}")))
        .or_else(|| text("percent").map(|percent| format!("{percent}%")))
        .or_else(|| joined("domains"))
        .or_else(|| pair("key", "operator"))
        .or_else(|| place_of(fields))
}

/// Where a file or a list of people is: `csv left.csv`.
fn place_of(fields: &Map<String, Value>) -> Option<String> {
    let place = |fields: &Map<String, Value>| {
        let text = |field: &str| fields.get(field)?.as_str();
        let of_map = || {
            let reference = fields.get("configMapRef")?;
            Some(format!("{}/{}", reference.get("name")?.as_str()?, reference.get("key").and_then(Value::as_str).unwrap_or_default()))
        };
        let of_run = || Some(format!("{} {}", text("campaign")?, text("run").unwrap_or_default()).trim_end().to_owned());
        text("path").or_else(|| text("url")).map(without_login).or_else(of_map).or_else(of_run)
    };
    if let Some(place) = place(fields) {
        return Some(place);
    }
    let (kind, source) = fields.iter().find(|(field, _)| *field != "maxBadRows")?;
    match source {
        Value::Object(source) => Some(place(source).map_or_else(|| kind.clone(), |place| format!("{kind} {place}"))),
        Value::Array(_) => Some(kind.clone()),
        _ => None,
    }
}

fn is_scalars(items: &[Value]) -> bool {
    items.iter().all(|item| !item.is_object() && !item.is_array())
}

/// Lists whose first item is preferred.
fn order_counts(path: &str) -> bool {
    path.ends_with("identity.dkim")
}

/// A value as people read it: YAML on one line, cut after so many characters.
#[must_use]
pub fn in_words(value: &Value, chars: usize) -> String {
    super::one_line(&flow(value), chars).into_owned()
}

fn flow(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(is_so) => is_so.to_string(),
        Value::Number(number) => number.as_u64().filter(|number| *number >= 10_000).map_or_else(|| number.to_string(), grouped),
        Value::String(text) if text.is_empty() => "\"\"".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(items) => format!("[{}]", items.iter().map(flow).collect::<Vec<_>>().join(", ")),
        Value::Object(fields) => {
            format!("{{{}}}", fields.iter().map(|(field, value)| format!("{field}: {}", flow(value))).collect::<Vec<_>>().join(", "))
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::resources::Key;

    fn changes(kind: ObjectKind, old: Value, new: Value) -> Vec<String> {
        let identity = Identity { kind, key: Key::new("shop", "spring") };
        let side = |value: Value| Documents::from([(identity.clone(), value)]);
        let found = compare(&side(old), &side(new), |name| name == "password");
        let told = |field: FieldChange| {
            let words = |value: &Option<Value>| value.as_ref().map_or("-".to_owned(), |value| in_words(value, 100));
            let what = field.summary.clone().unwrap_or_else(|| format!("{} → {}", words(&field.old), words(&field.new)));
            format!("{} {}: {what}", field.change.sign(), field.field)
        };
        found.into_iter().flat_map(|object| object.fields).map(told).collect()
    }

    #[test]
    fn lists_are_compared_by_what_names_their_items() {
        let of = |servers: Value, rates: Value, domains: Value| json!({"spec": {"servers": servers, "limits": {"rates": rates}, "identity": {"domains": domains}}});
        let found = changes(
            ObjectKind::Plan,
            of(
                json!([{"name": "a", "weight": 3}, {"name": "b"}]),
                json!([{"messages": 10, "per": "1s"}, {"messages": 100_000, "per": "24h"}]),
                json!(["x.example", "y.example"]),
            ),
            of(
                json!([{"name": "c"}, {"name": "b"}, {"name": "a", "weight": 1}]),
                json!([{"messages": 50_000, "per": "24h"}, {"messages": 10, "per": "1s"}]),
                json!(["y.example", "z.example"]),
            ),
        );
        assert_eq!(
            found,
            [
                "+ spec.servers[c]: - → {name: c}",
                "~ spec.servers[a].weight: 3 → 1",
                "~ spec.limits.rates[per 24h].messages: 100,000 → 50,000",
                "- spec.identity.domains: x.example → -",
                "+ spec.identity.domains: - → z.example",
            ]
        );
        let moved =
            |order: [&str; 2]| json!({"spec": {"identity": {"dkim": order.map(|s| json!({"domain": "x.example", "selector": s}))}}});
        assert_eq!(
            changes(ObjectKind::SendingServer, moved(["s1", "s2"]), moved(["s2", "s1"])),
            ["~ spec.identity.dkim: another order: x.example/s2, x.example/s1"]
        );
        let days = |days: &[u64]| json!({"spec": {"warmup": {"schedule": days}}});
        assert_eq!(
            changes(ObjectKind::SendingServer, days(&[5, 5, 9]), days(&[5, 9, 9])),
            ["~ spec.warmup.schedule: [5, 5, 9] → [5, 9, 9]"]
        );
    }

    #[test]
    fn people_and_long_texts_are_counted() {
        let of = |people: Value, text: &str| json!({"spec": {"content": {"text": text}, "audience": {"inline": people, "exclude": [{"csv": {"path": "left.csv"}}]}}});
        let mut new = of(json!([{"email": "B@example.com", "name": "Bo"}, {"email": "c@example.com"}]), "Hello\nthere\n");
        new["spec"]["audience"]["exclude"] = json!([{"jsonLines": {"path": "gone.jsonl"}}]);
        let found = changes(
            ObjectKind::Campaign,
            of(json!([{"email": "a@example.com"}, {"email": "b@example.com", "name": "Ben"}]), "Hello\nyou\nand you\n"),
            new,
        );
        assert_eq!(
            found,
            [
                "~ spec.content.text: 1 line added, 2 lines removed",
                "~ spec.audience.inline: 1 person added, 1 person removed, 1 person changed",
                "- spec.audience.exclude[csv left.csv]: {csv: {path: left.csv}} → -",
                "+ spec.audience.exclude[jsonLines gone.jsonl]: - → {jsonLines: {path: gone.jsonl}}",
            ]
        );
    }

    #[test]
    fn no_secret_is_shown() {
        let found = changes(
            ObjectKind::Secret,
            json!({"data": {"username": "1", "password": "1", "token": "1"}}),
            json!({"data": {"username": "1", "password": "2", "more": "1"}}),
        );
        assert_eq!(found, ["~ data.password: *** → ***", "- data.token: *** → -", "+ data.more: - → ***"]);
        let broken = |password: &str, host: &str| json!({"spec": {"provider": {"smtp": {"host": host, "auth": {"password": password}}}}});
        assert_eq!(
            changes(ObjectKind::SendingServer, broken("right", "https://me:pw@a.example/x"), broken("wrong", "https://b.example")),
            ["~ spec.provider.smtp.host: https://***@a.example/x → https://b.example", "~ spec.provider.smtp.auth.password: *** → ***"]
        );
        let added = compare(
            &Documents::new(),
            &Documents::from([(
                Identity { kind: ObjectKind::SendingServer, key: Key::new("shop", "a") },
                broken("right\nand long\n", "h"),
            )]),
            |name| name == "password",
        );
        assert_eq!(added[0].fields[0].new, Some(json!({"smtp": {"host": "h", "auth": {"password": "***"}}})));
    }

    #[test]
    fn an_object_on_one_side_has_the_fields_of_its_spec() {
        let identity = Identity { kind: ObjectKind::Campaign, key: Key::new("shop", "spring") };
        let whole = json!({"metadata": {"labels": {"team": "crm"}}, "spec": {"subject": "Hi", "content": {"text": "a\nb\n"}, "audience": {"inline": [{"email": "a@example.com"}]}}});
        let side = Documents::from([(identity, whole)]);
        let added = compare(&Documents::new(), &side, |_| false);
        let fields: Vec<(&str, String)> =
            added[0].fields.iter().map(|field| (&*field.field, in_words(field.new.as_ref().expect("a value"), 80))).collect();
        assert_eq!(
            fields,
            [
                ("metadata.labels", "{team: crm}".to_owned()),
                ("spec.subject", "Hi".to_owned()),
                ("spec.content", "{text: (2 lines)}".to_owned()),
                ("spec.audience", "{inline: 1 person}".to_owned()),
            ]
        );
        let removed = compare(&side, &Documents::new(), |_| false);
        assert!(removed[0].change == Change::Removed && removed[0].fields.iter().all(|field| field.new.is_none() && field.old.is_some()));
        assert!(compare(&side, &side, |_| false).is_empty());
    }
}
