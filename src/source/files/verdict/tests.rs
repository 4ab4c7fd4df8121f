//! Rules on single objects, and that the types read what the verdict accepts; the golden files of `validate` show the
//! words, and `tests/verdict.py` asks an API server.

use std::path::Path;

use serde_json::{Map, Value, json};

use super::Judge;
use crate::{
    resources::{crd::CUSTOM_KINDS, pattern, schema::KINDS},
    source::{Severity, files::document::read_text},
};

/// The fields that are at fault in an object with this spec.
fn faults(kind: &str, spec: Value) -> Vec<String> {
    let object = json!({"apiVersion": "mailfleet.dev/v1alpha1", "kind": kind, "metadata": {"name": "x"}, "spec": spec});
    let content = read_text(Path::new("a.json"), &object.to_string());
    content.findings.into_iter().filter_map(|finding| finding.field).collect()
}

#[test]
fn every_kind_has_its_judge() {
    // A rule that is not CEL, or a pattern that is none, would leave a kind without one.
    assert!(KINDS.iter().all(|kind| Judge::of(kind).is_some()) && Judge::of("Deployment").is_none());
    for (index, (pattern, _)) in pattern::MEANINGS.iter().enumerate() {
        assert!(!pattern.contains("\\d") && !pattern.contains("\\s") && !pattern.contains("\\w"), "{pattern} means several things");
        assert!(pattern::MEANINGS[..index].iter().all(|(other, _)| other != pattern), "{pattern} has two meanings");
    }
}

#[test]
fn servers() {
    let cases = [
        (json!({}), &[][..]),
        (json!({"limits": {"rates": [{"messages": 1, "per": "100ms"}, {"messages": 1, "per": "744h"}]}}), &[]),
        (json!({"limits": {"rates": [{"messages": 1, "per": "99ms"}]}}), &["spec.limits.rates[0].per"]),
        (json!({"limits": {"rates": [{"messages": 1, "per": "60s"}, {"messages": 2, "per": "1m"}]}}), &["spec.limits.rates"]),
        (json!({"warmup": {"startDate": "2026-12-01", "schedule": [1, 2]}}), &[]),
        (json!({"warmup": {"startDate": "2026-12-01"}}), &["spec.warmup"]),
        (json!({"warmup": {"startDate": "2026-12-01", "preset": "Cautious", "advance": "Daily"}}), &[]),
        (json!({"warmup": {"startDate": "2026-12-01", "preset": "Cautious", "schedule": [1]}}), &["spec.warmup"]),
        (json!({"warmup": {"startDate": "2026-12-01", "preset": "Slow"}}), &["spec.warmup.preset"]),
        (
            json!({"limits": {"perDomain": [{"domains": ["gmail.com", "a.example"], "rates": [{"messages": 1, "per": "1h"}, {"messages": 9, "per": "24h"}]}]}}),
            &[],
        ),
        (
            json!({"limits": {"perDomain": [{"domains": ["gmail.com"], "rates": [{"messages": 1, "per": "1h"}]}, {"domains": ["b.example", "gmail.com"], "rates": [{"messages": 1, "per": "1h"}]}]}}),
            &["spec.limits.perDomain"],
        ),
        (
            json!({"limits": {"perDomain": [{"domains": ["a@b.example"], "rates": [{"messages": 1, "per": "1h"}]}]}}),
            &["spec.limits.perDomain[0].domains[0]"],
        ),
        (json!({"limits": {"perDomain": [{"domains": ["a.example"], "rates": []}]}}), &["spec.limits.perDomain[0].rates"]),
        (
            json!({"limits": {"perDomain": [{"domains": ["a.example"], "rates": [{"messages": 1, "per": "1h"}, {"messages": 1, "per": "60m"}]}]}}),
            &["spec.limits.perDomain[0].rates"],
        ),
        (json!({"warmup": {"startDate": "2026-12-01", "linear": {"firstDay": 5, "dailyIncrease": 1, "target": 5}}}), &[]),
        (
            json!({"warmup": {"startDate": "2026-12-01", "linear": {"firstDay": 5, "dailyIncrease": 1, "target": 4}}}),
            &["spec.warmup.linear.target"],
        ),
        (json!({"probe": {"interval": "1s", "timeout": "100ms", "retryAfter": "100ms"}}), &[]),
        (json!({"probe": {"interval": "999ms", "timeout": "99ms"}}), &["spec.probe.interval", "spec.probe.timeout"]),
        (json!({"identity": {"domains": ["xn--bcher-kva.example", "bücher.example", "localhost"], "returnPath": "b.example"}}), &[]),
        (json!({"identity": {"domains": ["a..b"], "returnPath": "-a.example"}}), &["spec.identity.domains[0]", "spec.identity.returnPath"]),
    ];
    for (mut spec, expected) in cases {
        let case = spec.to_string();
        spec["provider"] = json!({"outbox": {}});
        assert_eq!(faults("SendingServer", spec), expected, "{case}");
    }
}

#[test]
fn plans() {
    let cases = [
        (json!({}), &[][..]),
        (json!({"allowedNamespaces": {"from": "Selector", "selector": {}}}), &[]),
        (json!({"allowedNamespaces": {"from": "Same", "selector": {}}}), &["spec.allowedNamespaces.selector"]),
        (json!({"allowedNamespaces": {"from": "Selector"}}), &["spec.allowedNamespaces.selector"]),
        (json!({"servers": [{"name": "a", "weight": 0}]}), &[]),
        (json!({"servers": [{"name": "a"}, {"name": "a"}]}), &["spec.servers[1].name"]),
    ];
    for (spec, expected) in cases {
        assert_eq!(faults("Plan", spec.clone()), expected, "{spec}");
    }
}

#[test]
fn campaigns() {
    let cases = [
        (json!({}), &[][..]),
        (json!({"servers": [{"name": "a", "weight": 0}, {"name": "b"}]}), &[]),
        (json!({"servers": [{"name": "a"}, {"name": "a", "namespace": "other"}]}), &[]),
        (json!({"servers": [{"name": "a", "namespace": "b"}, {"name": "a", "namespace": "b"}]}), &["spec.servers"]),
        (json!({"servers": [{"name": "a", "weight": 0}]}), &["spec.servers"]),
        (json!({"from": {"address": "News <news@example.com>"}}), &["spec.from.address"]),
        (json!({"from": {"address": "a@localhost", "name": "a\nb"}}), &["spec.from.name"]),
        (json!({"from": {"address": "grüße@bücher.example"}}), &[]),
        (json!({"from": {"address": "a@@example.com"}}), &["spec.from.address"]),
        (json!({"content": {"htmlFrom": {"path": "a.html"}, "text": "b"}}), &[]),
        (json!({"content": {"htmlFrom": {"path": "a.html"}, "html": "b"}}), &["spec.content.htmlFrom"]),
        (json!({"content": {"html": "a", "mjml": "b"}}), &["spec.content.mjml"]),
        (json!({"content": {"textFrom": {}}}), &["spec.content.textFrom"]),
        (json!({"content": {"html": "a", "mjmlFrom": {"path": "b"}}}), &["spec.content.mjmlFrom"]),
        (json!({"content": {"text": " "}}), &["spec.content.text"]),
        (json!({"content": {}}), &["spec.content"]),
        (json!({"audience": {}}), &["spec.audience"]),
        (json!({"audience": {"csv": {}, "inline": []}}), &["spec.audience", "spec.audience.csv"]),
        (json!({"audience": {"csv": {"url": "http://127.0.0.1:1/a.csv"}}}), &[]),
        (json!({"audience": {"csv": {"url": "https:///a.csv"}}}), &["spec.audience.csv.url"]),
        (json!({"retry": {"initialDelay": "1s"}}), &[]),
        (json!({"retry": {"initialDelay": "999ms"}}), &["spec.retry.initialDelay"]),
        (json!({"unsubscribe": {"url": "{{ url }}"}}), &[]),
        (json!({"unsubscribe": {"url": "javascript:x"}}), &["spec.unsubscribe.url"]),
        (
            json!({"headers": [{"name": "List-Id", "value": "a"}, {"name": "X-B", "value": "c
Bcc: d"}]}),
            &["spec.headers[1].value"],
        ),
        (json!({"headers": [{"name": "X-A", "value": ""}, {"name": "x-a", "value": ""}]}), &["spec.headers"]),
        (json!({"headers": [{"name": "message-id", "value": "a"}]}), &["spec.headers[0].name"]),
        (json!({"startAt": "2026-02-29T08:00:00Z"}), &["spec.startAt"]),
        (json!({"startAt": "2028-02-29T08:00:00.5+01:00"}), &[]),
        (json!({"startAt": "2028-02-29T08:00[America/Argentina/Buenos_Aires]"}), &[]),
        (json!({"startAt": "2028-02-29T08:00:30.5+01:00[Etc/GMT-1]"}), &[]),
        (json!({"startAt": "2026-02-29T08:00[Europe/Berlin]"}), &["spec.startAt"]),
        (json!({"startAt": "2026-12-01T08:00"}), &["spec.startAt"]),
        (json!({"startAt": "2026-12-01T08:00:00Z[Europe/Berlin]"}), &["spec.startAt"]),
        (json!({"startAt": "2026-12-01T08:00[../Berlin]"}), &["spec.startAt"]),
        (json!({"sendingHours": {"zone": "UTC", "from": "08:00", "to": "24:00"}}), &[]),
        (json!({"sendingHours": {"zone": "UTC", "days": ["Mon", "Sun"], "from": "22:00", "to": "06:00", "zoneField": "zone"}}), &[]),
        (json!({"sendingHours": {"zone": "UTC", "from": "08:00", "to": "08:00"}}), &["spec.sendingHours"]),
        (json!({"sendingHours": {"zone": "UTC", "days": [], "from": "08:00", "to": "18:00"}}), &["spec.sendingHours.days"]),
        (json!({"sendingHours": {"zone": "UTC", "days": ["Mon", "Mon"], "from": "08:00", "to": "18:00"}}), &["spec.sendingHours.days[1]"]),
        (
            json!({"sendingHours": {"zone": "UTC", "days": ["Monday"], "from": "24:00", "to": "24:01"}}),
            &["spec.sendingHours.days[0]", "spec.sendingHours.from", "spec.sendingHours.to"],
        ),
    ];
    for (changes, expected) in cases {
        let mut spec = json!({
            "planRef": {"name": "p"}, "from": {"address": "a@example.com"}, "subject": "s", "content": {"text": "t"},
            "audience": {"inline": [{"email": "a@example.com"}]},
        });
        for (key, value) in changes.as_object().expect("a mapping") {
            spec[key] = value.clone();
        }
        assert_eq!(faults("Campaign", spec), expected, "{changes}");
    }
}

#[test]
fn smtp() {
    let auth = "auth: {secretRef: {name: x}}";
    for (yaml, paths) in [
        ("{host: smtp.example.com}".to_owned(), &[][..]),
        ("{host: smtp_1.example.com.}".to_owned(), &[]),
        (format!("{{host: localhost, encryption: None, {auth}}}"), &[]),
        (format!("{{host: 127.9.9.9, encryption: None, {auth}}}"), &[]),
        (format!("{{host: '::1', encryption: None, {auth}}}"), &[]),
        (format!("{{host: a.example, {auth}}}"), &[]),
        (format!("{{host: a.example, encryption: None, {auth}}}"), &["auth"]),
        (format!("{{host: localhost.example, encryption: None, {auth}}}"), &["auth"]),
        ("{host: ''}".to_owned(), &["host"]),
        (format!("{{host: '[::1]', encryption: None, {auth}}}"), &[]),
        (format!("{{host: 127.0.0.256, encryption: None, {auth}}}"), &["auth"]),
        (format!("{{host: LocalHost, encryption: None, {auth}}}"), &[]),
        ("{host: 'a b'}".to_owned(), &["host"]),
        ("{host: 'a.example:25'}".to_owned(), &["host"]),
        ("{host: 'smtp://a.example'}".to_owned(), &["host"]),
        ("{host: a.example, port: 0}".to_owned(), &["port"]),
        ("{host: a.example, heloName: 'a b'}".to_owned(), &["heloName"]),
        ("{host: a.example, tlsServerName: 'a b'}".to_owned(), &["tlsServerName"]),
        ("{host: a.example, replyTimeout: 900ms}".to_owned(), &["replyTimeout"]),
        ("{host: a.example, replyTimeout: 1s}".to_owned(), &[]),
        ("{host: a.example, encryption: None, caRef: {name: a, key: b}, tlsServerName: b}".to_owned(), &["caRef", "tlsServerName"]),
    ] {
        let smtp: Value = serde_saphyr::from_str(&yaml).expect("YAML");
        let found = faults("SendingServer", json!({"provider": {"smtp": smtp}}));
        let found: Vec<&str> = found.iter().filter_map(|path| path.strip_prefix("spec.provider.smtp.")).collect();
        assert_eq!(found, paths, "{yaml}");
    }
}

#[test]
fn metadata() {
    let long = "x".repeat(64);
    for (metadata, expected) in [
        (json!({"name": "a.b-c.1", "namespace": null, "labels": {"a.b/C_d": "", "e": null}, "annotations": {"Any": "thing\n"}}), &[][..]),
        (json!({"name": "a", "uid": null, "generation": 7, "creationTimestamp": "2026-12-01T08:00:00Z", "finalizers": ["a.b/c"]}), &[]),
        (json!({"name": "a..b"}), &["metadata.name"]),
        (json!({"name": null}), &["metadata.name"]),
        (json!({"name": "a", "namespace": "a.b"}), &["metadata.namespace"]),
        (json!({"name": "a", "labels": {"/a": "b"}}), &["metadata.labels[\"/a\"]"]),
        (json!({"name": "a", "labels": {"a": long}}), &["metadata.labels.a"]),
        (json!({"name": "a", "annotations": {"a b": "c"}}), &["metadata.annotations[\"a b\"]"]),
        (json!({"name": "a", "annotations": {"a": "b".repeat(256 * 1024)}}), &["metadata.annotations"]),
        (json!({"name": "a", "lables": {}}), &["metadata.lables"]),
        (json!({"name": "a", "creationTimestamp": "yesterday"}), &["metadata.creationTimestamp"]),
        (json!({"name": "a", "finalizers": ["a b"]}), &["metadata.finalizers[0]"]),
        (json!({"name": "a", "ownerReferences": [{"apiVersion": "v1", "kind": "Pod", "name": "p"}]}), &["metadata.ownerReferences[0].uid"]),
    ] {
        let object = json!({"apiVersion": "mailfleet.dev/v1alpha1", "kind": "Plan", "metadata": metadata, "spec": {}});
        let content = read_text(Path::new("a.json"), &object.to_string());
        let found: Vec<String> = content.findings.into_iter().filter_map(|finding| finding.field).collect();
        assert_eq!(found, expected, "{object}");
        assert!(!expected.is_empty() || content.documents.len() == 1, "{object}");
    }
}

#[test]
fn a_status_is_dropped_but_for_names_that_are_unknown() {
    for (status, expected) in [
        (json!({"campaigns": "many", "conditions": [{"type": 5}], "servers": null}), &[][..]),
        (json!(5), &[]),
        (json!({"campaign": 1}), &["status.campaign"]),
        (json!({"conditions": {"x": 1}}), &["status.conditions.x"]),
        (json!({"campaigns": [{"x": [{"y": 1}]}]}), &["status.campaigns[0].x"]),
    ] {
        let object =
            json!({"apiVersion": "mailfleet.dev/v1alpha1", "kind": "Plan", "metadata": {"name": "x"}, "spec": {}, "status": status});
        let content = read_text(Path::new("a.json"), &object.to_string());
        let found: Vec<String> = content.findings.into_iter().filter_map(|finding| finding.field).collect();
        assert_eq!(found, expected, "{object}");
    }
}

/// A sequence of numbers that is the same for the same seed (SplitMix64).
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) % limit as u64).expect("below the limit")
    }

    fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len())]
    }
}

/// A value that mostly fits a schema, and sometimes does not.
fn value(schema: &Value, random: &mut Random) -> Value {
    const TEXTS: &[&str] = &[
        "a",
        "a.example",
        "a@b.example",
        "1s",
        "1h",
        "100ms",
        "99999h",
        "2026-12-01",
        "2028-02-29",
        "2026-12-01T08:00:00Z",
        "2999-12-31T23:59:59.999999999-23:59",
        "1000-01-01T00:00:00+23:59",
        "https://a/b",
        "Same",
        "X-A",
        "",
        "ä",
        "mails/a.txt",
        "::1",
        "12",
    ];
    const NUMBERS: &[f64] = &[0.0, 1.0, 1.5, 2.0, 50.0, 100.0, 587.0, 65535.0, 65536.0, 1e6, 1e9, 4_294_967_296.0, 1e18, 1e300, -1.0];
    if random.below(40) == 0 {
        return random.pick(&[json!(null), json!(1), json!("x"), json!([]), json!({}), json!(true), json!([null])]).clone();
    }
    match schema["type"].as_str().unwrap_or_default() {
        "boolean" => json!(random.below(2) == 0),
        "string" => match schema["enum"].as_array() {
            Some(words) => random.pick(words).clone(),
            None => json!(random.pick(TEXTS)),
        },
        "integer" | "number" => {
            let number = *random.pick(NUMBERS);
            #[allow(clippy::cast_possible_truncation)]
            if random.below(2) == 0 && number.fract() == 0.0 { json!(number as i64) } else { json!(number) }
        }
        "array" => Value::Array((0..random.below(3)).map(|_| value(&schema["items"], random)).collect()),
        "object" => {
            let mut object = Map::new();
            if schema["additionalProperties"].is_object() {
                object.insert("a".to_owned(), value(&schema["additionalProperties"], random));
            }
            let is_required = |name: &str| schema["required"].as_array().is_some_and(|names| names.iter().any(|other| other == name));
            for (name, below) in schema["properties"].as_object().into_iter().flatten() {
                if is_required(name) || random.below(4) == 0 {
                    object.insert(name.clone(), value(below, random));
                }
            }
            Value::Object(object)
        }
        _ => json!(null),
    }
}

/// Replaces, adds or takes away here and there.
fn change(json: &mut Value, schema: &Value, random: &mut Random) {
    if random.below(12) == 0 {
        *json = value(schema, random);
        return;
    }
    match json {
        Value::Object(object) => {
            let known: Vec<&String> = schema["properties"].as_object().into_iter().flat_map(|fields| fields.keys()).collect();
            if random.below(8) == 0 && !known.is_empty() {
                let name = *random.pick(&known);
                if object.shift_remove(name).is_none() {
                    object.insert(name.clone(), value(&schema["properties"][name], random));
                }
            }
            for (name, below) in object.iter_mut() {
                change(below, &schema["properties"][name], random);
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| change(item, &schema["items"], random)),
        _ => {}
    }
}

/// Specs to begin with.
fn good(kind: &str) -> Value {
    match kind {
        "SendingServer" => json!({
            "enabled": true, "provider": {"smtp": {"host": "smtp.example.com", "port": 587, "replyTimeout": "5m", "auth": {"secretRef": {"name": "a"}}}},
            "limits": {"rates": [{"messages": 14, "per": "1s"}], "connections": 10},
            "warmup": {"startDate": "2026-12-01", "linear": {"firstDay": 5, "dailyIncrease": 1, "target": 50}},
            "identity": {"domains": ["a.example"]}, "feedback": {"pauseWhen": {"bouncePercent": "5"}}, "probe": {"interval": "5m", "failureThreshold": 3},
        }),
        "Plan" => json!({
            "servers": [{"name": "a", "weight": 3}], "serverSelector": {"matchExpressions": [{"key": "a", "operator": "In", "values": ["b"]}]},
            "allowedNamespaces": {"from": "Selector", "selector": {"matchLabels": {"a": "b"}}}, "ownServers": {"max": 2}, "narrowing": "Allowed",
        }),
        _ => json!({
            "planRef": {"name": "p"}, "servers": [{"name": "a", "weight": 1}], "from": {"address": "a@b.example", "name": "A"}, "subject": "s",
            "content": {"text": "t", "maxRenderErrors": 5}, "audience": {"inline": [{"email": "a", "n": 1}]}, "retry": {"attempts": 5, "initialDelay": "1m"},
            "headers": [{"name": "X-B", "value": "c"}], "startAt": "2026-12-01T08:00[Europe/Berlin]", "startingDeadline": "2h", "sendingHours": {"zone": "Europe/Berlin", "days": ["Mon"], "from": "08:00", "to": "18:00"}, "unsubscribe": {"url": "https://a/b"},
        }),
    }
}

#[test]
fn the_types_read_what_the_verdict_accepts() {
    const ROUNDS: usize = 6000;
    let mut random = Random(7);
    for kind in CUSTOM_KINDS {
        let schema = crate::resources::crd::structural(kind).expect(kind);
        let mut accepted = 0;
        for _ in 0..ROUNDS {
            let mut spec = good(kind);
            change(&mut spec, &schema["properties"]["spec"], &mut random);
            let object = json!({"apiVersion": "mailfleet.dev/v1alpha1", "kind": kind, "metadata": {"name": "x"}, "spec": spec});
            let content = read_text(Path::new("a.json"), &object.to_string());
            // A difference would be told in the words of the reader, which begin like this.
            for finding in &content.findings {
                let is_of_serde =
                    ["invalid ", "unknown ", "missing field", "duplicate field"].iter().any(|start| finding.message.starts_with(start));
                assert!(!is_of_serde, "{finding}: {object}");
            }
            let is_accepted = content.findings.iter().all(|finding| finding.severity != Severity::Fault);
            accepted += usize::from(is_accepted);
        }
        assert!(accepted > 50 && accepted < ROUNDS - 50, "{kind}: {accepted} of {ROUNDS} were accepted");
    }
}
