//! Each point, from open to met.

use std::{sync::Arc, time::Duration};

use super::*;
use crate::{
    decide::ServerInput,
    dns::{Answer, Answers, Data, DkimKey, Origin, RecordType, judge},
    egress::Egress,
    resources::SendingServer,
};

/// What a world of one server says of the From domain `shop.example`: its provider, its identity, and the records that DNS has; `FAIL`
/// for an answer that fails.
struct Case {
    provider: &'static str,
    identity: Option<Subject>,
    records: &'static [(&'static str, &'static str)],
}

const RELAY: &str = "{smtp: {host: relay.example}}";
const VENDOR: &str = "{sendgrid: {secretRef: {name: x}}}";
const SPF: (&str, &str) = ("shop.example", "v=spf1 ip4:192.0.2.1 -all");
const DMARC: (&str, &str) = ("_dmarc.shop.example", "v=DMARC1; p=none");
const KEY: (&str, &str) = ("s1._domainkey.shop.example", "KEY");
const PTR: (&str, &str) = ("1.2.0.192.in-addr.arpa", "relay.shop.example");
const HOST: (&str, &str) = ("relay.shop.example", "192.0.2.1");

fn subject(keys: Vec<DkimKey>, is_relay: bool) -> Subject {
    let domains = vec!["shop.example".to_owned()];
    let (envelopes, origin) = if is_relay {
        (domains.clone(), Origin::Addresses(vec!["192.0.2.1".parse().expect("an address")]))
    } else {
        (Vec::new(), Origin::Unknown)
    };
    let host = is_relay.then(|| "relay.shop.example".to_owned());
    Subject { domains, keys, envelopes, origin, host, is_required: false, egress: Egress::Everywhere }
}

fn key() -> DkimKey {
    let public = [&[0x30, 0x82][..], b"a key"].concat();
    DkimKey { domain: "shop.example".to_owned(), selector: "s1".to_owned(), public: Ok(public) }
}

fn observed(subject: &Subject, records: &[(&str, &str)]) -> IdentityObservation {
    let mut known = IdentityObservation::default();
    known.renew(&Arc::new(subject.clone()));
    let checks = Answers::settle(
        |answers| judge(subject, answers),
        |question| {
            let found = records.iter().find(|(name, _)| *name == question.name).map(|(_, value)| *value);
            match (found, question.kind) {
                (Some("FAIL"), _) => Answer::Failed("no answer".to_owned()),
                (Some("KEY"), RecordType::Txt) => {
                    Answer::Found(vec![Data::Text(crate::dns::dkim::record(key().public.as_ref().expect("a key")))])
                }
                (Some(text), RecordType::Txt) => Answer::Found(vec![Data::Text(text.to_owned())]),
                (Some(name), RecordType::Ptr) => Answer::Found(vec![Data::Name(name.to_owned())]),
                (Some(address), RecordType::A) => {
                    address.parse().map_or(Answer::Missing, |address| Answer::Found(vec![Data::Address(address)]))
                }
                _ => Answer::Missing,
            }
        },
    );
    known.note(&checks, Duration::from_secs(60), &Key::new("default", "relay"), 7, 1000);
    known
}

fn say(case: &Case) -> ServersSay {
    let yaml = format!(
        "{{apiVersion: mailfleet.dev/v1alpha1, kind: SendingServer, metadata: {{name: relay}}, spec: {{provider: {}}}}}",
        case.provider
    );
    let object: SendingServer = serde_saphyr::from_str(&yaml).expect("a server");
    let key = Key::new("default", "relay");
    let (mut world, mut seen) = (World::default(), Observations::default());
    let identity = case.identity.clone().map(Arc::new);
    if let Some(subject) = &identity {
        seen.identities.insert(key.clone(), observed(subject, case.records));
    }
    world.servers.insert(key.clone(), ServerInput { identity, ..ServerInput::new(Arc::new(object), Ok(1)) });
    ServersSay::of("Shop.Example", [&key], &world, &seen)
}

fn spec(yaml: &str) -> CampaignSpec {
    let base = "planRef: {name: p}, subject: s, content: {text: Hi}, audience: {inline: [{email: a@b.example}]}";
    serde_saphyr::from_str(&format!("{{{base}, {yaml}}}")).expect("a spec")
}

const NEWS: &str = "from: {address: news@shop.example}, unsubscribe: {oneClick: {}}";

fn told(say: &ServersSay) -> (ConditionStatus, String) {
    let condition = condition(&spec(NEWS), None, Some(true), say, None).expect("it is bulk");
    let reason = match condition.status {
        ConditionStatus::True => Reason::RequirementsMet,
        ConditionStatus::False => Reason::RequirementsOpen,
        ConditionStatus::Unknown => Reason::RequirementsNotKnown,
    };
    assert_eq!((condition.kind, condition.reason), (ConditionType::BulkSenderReady, reason));
    (condition.status, condition.message.into_owned())
}

#[test]
fn each_record_that_is_missing_is_named_and_all_of_them_make_it_true() {
    let of = |records: &'static [(&'static str, &'static str)]| {
        told(&say(&Case { provider: RELAY, identity: Some(subject(vec![key()], true)), records }))
    };
    for (records, words) in [
        (&[KEY, DMARC, PTR, HOST][..], "SPF: shop.example has no SPF record (default/relay)."),
        (
            &[("shop.example", "v=spf1 -all"), KEY, DMARC, PTR, HOST],
            "SPF: the record of shop.example does not permit 192.0.2.1 (fail) (default/relay).",
        ),
        (&[SPF, DMARC, PTR, HOST], "DKIM: s1._domainkey.shop.example has no TXT record (default/relay)."),
        (&[SPF, KEY, PTR, HOST], "DMARC: neither _dmarc.shop.example nor a domain above it has a policy (default/relay)."),
        (&[SPF, KEY, DMARC], "PTR: "),
        (&[SPF, KEY, DMARC, PTR], "PTR: "),
    ] {
        let (status, message) = of(records);
        assert_eq!(status, ConditionStatus::False, "{message}");
        assert!(message.contains(words) && message.matches("(default/relay)").count() == 1, "{words}: {message}");
        assert!(message.ends_with("`mailfleet dns` have the records to publish."), "{message}");
    }
    let (status, message) = of(&[SPF, KEY, DMARC, PTR, HOST]);
    assert_eq!(status, ConditionStatus::True, "{message}");
    let (status, message) = of(&[SPF, KEY, ("_dmarc.shop.example", "FAIL"), PTR, HOST]);
    assert!(status == ConditionStatus::Unknown && message.contains("none is known to be unmet. DMARC: "), "{message}");
    let (_, message) = of(&[]);
    let all = ["SPF: ", "DKIM: ", "DMARC: ", "PTR: "].map(|point| message.find(point).expect("named"));
    assert!(all.is_sorted(), "{message}");
}

#[test]
fn what_a_relay_does_is_not_known_and_what_a_vendor_does_is_met() {
    let of = |provider, identity| told(&say(&Case { provider, identity, records: &[SPF, KEY, DMARC, PTR, HOST] }));
    let (status, message) = of(RELAY, None);
    assert!(
        status == ConditionStatus::Unknown
            && message.contains("SPF, DKIM, DMARC and PTR are not known: list shop.example in identity.domains"),
        "{message}"
    );
    let (status, message) = of(RELAY, Some(subject(Vec::new(), true)));
    assert!(status == ConditionStatus::Unknown && message.contains("no key in identity.dkim is for shop.example"), "{message}");
    let unaddressed = Subject { origin: Origin::Unknown, ..subject(vec![key()], true) };
    let (status, message) = of(RELAY, Some(unaddressed));
    assert!(status == ConditionStatus::Unknown && message.contains("PTR is not known"), "{message}");
    let (status, message) = of(VENDOR, None);
    assert!(status == ConditionStatus::Unknown && message.contains("DMARC is not known") && !message.contains("DKIM"), "{message}");
    assert_eq!(of(VENDOR, Some(subject(Vec::new(), false))).0, ConditionStatus::True);
    let ses = "{ses: {region: eu-west-1, secretRef: {name: x}}}";
    assert_eq!(of(ses, Some(subject(Vec::new(), false))).0, ConditionStatus::True, "SES signs with a key of its own");
    let nowhere = say(&Case { provider: "{outbox: {}}", identity: None, records: &[] });
    assert_eq!(condition(&spec(NEWS), None, Some(true), &nowhere, None), None, "it leaves this machine nowhere");
    let nobody = ServersSay::default();
    assert_eq!(condition(&spec(NEWS), None, Some(true), &nobody, None), None, "no server may be used");
    assert!(condition(&spec(NEWS), None, Some(false), &nobody, None).is_some_and(|told| told.message.contains("visible link")));
}

#[test]
fn the_message_names_every_open_point_and_receipts_are_left_alone() {
    let good = say(&Case { provider: RELAY, identity: Some(subject(vec![key()], true)), records: &[SPF, KEY, DMARC, PTR, HOST] });
    let of = |yaml: &str, recipients, shows, complained| {
        let complaints = Complaints { accepted: 1_000, complained };
        condition(&spec(yaml), recipients, Some(shows), &good, Some(complaints)).map(|told| (told.status, told.message.into_owned()))
    };
    let receipts = "from: {address: shop@shop.example}";
    assert_eq!(of(receipts, Some(4_999), false, 900), None);
    let (status, message) = of(receipts, Some(5_000), false, 0).expect("many");
    assert!(
        status == ConditionStatus::True && message.ends_with("for marketing mail, Gmail and Yahoo require one-click unsubscription."),
        "{message}"
    );
    for (complained, is_told) in [(0, false), (1, true), (2, true)] {
        let (status, message) = of(NEWS, None, true, complained).expect("news");
        let told = message.contains("was reported as spam; Gmail advises staying below that.");
        assert!(status == ConditionStatus::True && told == is_told, "{complained}: {message}");
    }
    let (status, message) = of(NEWS, None, true, 3).expect("news");
    assert!(status == ConditionStatus::False && message.contains("spam rate: 0.3% or more of what this namespace sent"), "{message}");
    assert!(!message.contains("advises"), "{message}");
    let (_, message) = of("from: {address: shop@gmail.com}, unsubscribe: {url: 'https://a.example/leave'}", None, false, 4).expect("news");
    let all =
        ["From domain: gmail.com", "one-click: there is no", "visible link: no body", "spam rate: 0.3%"].map(|words| message.find(words));
    assert!(all.iter().all(Option::is_some) && all.is_sorted(), "{message}");
    let few = condition(&spec(NEWS), None, Some(true), &good, Some(Complaints { accepted: 999, complained: 99 })).expect("news");
    assert_eq!(few.status, ConditionStatus::True, "too few to judge");
}

#[test]
fn plain_text_over_other_people_s_networks_is_open() {
    let of = |host: &str, encryption: &str| {
        let provider = format!("{{smtp: {{host: '{host}', encryption: {encryption}}}}}");
        let identity = Some(subject(vec![key()], true));
        told(&say(&Case { provider: provider.leak(), identity, records: &[SPF, KEY, DMARC, PTR, HOST] }))
    };
    for host in ["relay.shop.example", "192.0.2.7", "[2001:db8::1]"] {
        let (status, message) = of(host, "None");
        let words =
            format!("TLS: messages to {host} cross the network in plain text; set `encryption` to StartTls or Tls (default/relay).");
        assert!(status == ConditionStatus::False && message.ends_with(&words), "{message}");
        assert_eq!(of(host, "StartTls").0, ConditionStatus::True, "{host}");
    }
    for host in ["127.0.0.1", "localhost", "10.0.0.5", "[fd00::5]", "postfix", "postfix.mail.svc", "mail.corp.internal"] {
        assert_eq!(of(host, "None").0, ConditionStatus::True, "{host}");
    }
}
