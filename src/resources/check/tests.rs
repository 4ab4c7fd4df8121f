//! Rules on single objects; the golden files of `validate` show them at length.

use serde_json::{Value, json};

use super::{Fault, check_campaign, check_plan, check_server};
use crate::resources::{Campaign, Kind, Plan, SendingServer};

fn faults<K: Kind>(spec: Value, check: fn(&K, &mut Vec<Fault>)) -> Vec<String> {
    let object = json!({"apiVersion": "mailfleet.dev/v1alpha1", "kind": K::KIND, "metadata": {"name": "x"}, "spec": spec});
    let mut faults = Vec::new();
    check(&serde_json::from_value(object).expect("the type takes it"), &mut faults);
    faults.into_iter().map(|fault| fault.path).collect()
}

#[test]
fn servers() {
    let cases = [
        (json!({}), &[][..]),
        (json!({"limits": {"rates": [{"messages": 1, "per": "100ms"}, {"messages": 1, "per": "31d"}]}}), &[]),
        (json!({"limits": {"rates": [{"messages": 1, "per": "99ms"}]}}), &["spec.limits.rates[0].per"]),
        (json!({"limits": {"rates": [{"messages": 1, "per": "60s"}, {"messages": 2, "per": "1m"}]}}), &["spec.limits.rates[1].per"]),
        (json!({"warmup": {"startDate": "2026-12-01", "schedule": [1, 2]}}), &[]),
        (json!({"warmup": {"startDate": "2026-12-01"}}), &["spec.warmup"]),
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
        assert_eq!(faults::<SendingServer>(spec, check_server), expected, "{case}");
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
        assert_eq!(faults::<Plan>(spec.clone(), check_plan), expected, "{spec}");
    }
}

#[test]
fn campaigns() {
    let cases = [
        (json!({}), &[][..]),
        (json!({"servers": [{"name": "a", "weight": 0}, {"name": "b"}]}), &[]),
        (json!({"servers": [{"name": "a"}, {"name": "a", "namespace": "other"}]}), &[]),
        (json!({"servers": [{"name": "a", "weight": 0}]}), &["spec.servers"]),
        (json!({"from": {"address": "News <news@example.com>"}}), &["spec.from.address"]),
        (json!({"from": {"address": "a@localhost", "name": "a\nb"}}), &["spec.from.name"]),
        (json!({"from": {"address": "grüße@bücher.example"}}), &[]),
        (json!({"from": {"address": "a@@example.com"}}), &["spec.from.address"]),
        (json!({"content": {"html": {"path": "a.html"}, "text": "b"}}), &[]),
        (json!({"content": {"html": "a", "mjml": "b"}}), &["spec.content.mjml"]),
        (json!({"content": {"text": {}}}), &["spec.content.text"]),
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
        (json!({"headers": {"List-Id": "a", "X-B": "c\r\nBcc: d"}}), &["spec.headers[\"X-B\"]"]),
        (json!({"headers": {"message-id": "a"}}), &["spec.headers[\"message-id\"]"]),
    ];
    for (changes, expected) in cases {
        let mut spec = json!({
            "planRef": {"name": "p"}, "from": {"address": "a@example.com"}, "subject": "s", "content": {"text": "t"},
            "audience": {"inline": [{"email": "a@example.com"}]},
        });
        for (key, value) in changes.as_object().expect("a mapping") {
            spec[key] = value.clone();
        }
        assert_eq!(faults::<Campaign>(spec, check_campaign), expected, "{changes}");
    }
}
