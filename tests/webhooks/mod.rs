//! Vendors' webhooks: what each call says (the tables beside this file), and which calls are refused.

mod http;
mod sign;

use std::{collections::BTreeSet, fs, time::Instant};

use aws_lc_rs::digest::{SHA256, digest};
use mailfleet::{
    feedback::{Event, MessageIdentity},
    meta::{Key, secret::SecretValue},
    providers::{
        Provider as _,
        webhook::{Certificate, Certificates, Refused, WebhookCredentials},
    },
};
use serde::Deserialize;
use serde_json::{Value, json};
use sign::{CERTIFICATE_URL, NOW_MS, Payload, SECRET, Sent, TOPIC, TYPES, Vendor, mailgun_signature, notification, server, sns, spec_of};

const MINUTE_MS: i64 = 60 * 1000;
const HOUR_MS: i64 = 60 * MINUTE_MS;

/// The table of one type.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    /// Where the vendor documents it.
    sources: Vec<String>,
    calls: Vec<Case>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    when: String,
    #[serde(default)]
    body: Option<Value>,
    #[serde(default)]
    text: Option<String>,
    #[serde(default)]
    query: Option<String>,
    #[serde(default)]
    form: Option<String>,
    events: Vec<Wanted>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    kind: String,
    message: String,
    #[serde(default)]
    recipient: Option<String>,
    #[serde(default)]
    at: Option<jiff::Timestamp>,
    #[serde(default)]
    detail: Option<String>,
}

impl Case {
    fn payload(&self) -> Payload {
        match (&self.body, &self.text, &self.query, &self.form) {
            (Some(body), None, None, None) => Payload::Body(serde_json::to_vec(body).unwrap()),
            (None, Some(text), None, None) | (None, None, None, Some(text)) => Payload::Body(text.clone().into_bytes()),
            (None, None, Some(query), None) => Payload::Query(query.clone()),
            _ => panic!("{}: it has one of body, text, query and form", self.when),
        }
    }
}

fn table(kind: &str) -> Table {
    let path = format!("tests/webhooks/{kind}.yaml");
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    serde_saphyr::from_str(&text).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The event in the words of the tables.
fn message_of(event: &Event) -> String {
    let is_ours = |server: &Key| assert_eq!(*server, sign::server());
    match &event.message {
        MessageIdentity::Reference { reference, server } => {
            is_ours(server.as_ref().expect("a vendor's call is of a server"));
            format!("reference {reference}")
        }
        MessageIdentity::VendorId { server, id } => {
            is_ours(server);
            format!("vendor-id {id}")
        }
        MessageIdentity::MessageId { server, id } => {
            is_ours(server);
            format!("message-id {id}")
        }
        MessageIdentity::Recipient { server } => {
            is_ours(server);
            "recipient".to_owned()
        }
        MessageIdentity::Subscription { .. } => panic!("no vendor knows our topics"),
    }
}

#[test]
fn calls_mean_what_the_tables_say() {
    for kind in TYPES {
        let (table, vendor) = (table(kind), Vendor::new(kind));
        assert!(!table.sources.is_empty(), "{kind}");
        let mut ids = BTreeSet::new();
        for (case, number) in table.calls.iter().zip(0..) {
            let name = format!("{kind}, {}", case.when);
            let sent = vendor.sign(&case.payload(), NOW_MS, number);
            let received = vendor.receive(&sent).unwrap_or_else(|refused| panic!("{name}: {refused:?}"));
            assert_eq!(received.events.len(), case.events.len(), "{name}: {:#?}", received.events);
            for (event, wanted) in received.events.iter().zip(&case.events) {
                let told = (event.kind.as_str(), message_of(event), event.recipient.as_deref());
                assert_eq!(told, (wanted.kind.as_str(), wanted.message.clone(), wanted.recipient.as_deref()), "{name}");
                if let Some(at) = wanted.at {
                    assert_eq!(event.at_ms, Some(at.as_millisecond()), "{name}");
                }
                if let Some(detail) = &wanted.detail {
                    assert_eq!(event.detail, *detail, "{name}");
                }
                assert_eq!(&*event.source, "webhook of shop/vendor", "{name}");
                let id = event.id.clone().expect("an event has an id");
                assert!(id.starts_with("shop/vendor:") && id.len() < 300, "{name}: {id}");
                ids.insert((case.when.clone(), id));
            }
            // The same events in another call, later.
            let again = vendor.receive(&vendor.sign(&case.payload(), NOW_MS - MINUTE_MS, number + 1000)).unwrap();
            assert_eq!(again.events, received.events, "{name}, told again");
        }
        let events: usize = table.calls.iter().map(|case| case.events.len()).sum();
        assert_eq!(ids.len(), events, "{kind}: no two events of a call have one id");
    }
}

/// What a vendor tells of one delivery, in its form.
fn delivered(kind: &str, count: usize) -> Payload {
    let event = |n: usize| match kind {
        "ses" => {
            json!({"eventType": "Delivery", "mail": {"messageId": format!("m{n}"), "tags": {"mailfleet_reference": [format!("2a-7-0-{n:x}")]}}, "delivery": {"recipients": [format!("p{n}@example.com")]}})
        }
        "sendgrid" => {
            json!({"event": "delivered", "email": format!("p{n}@example.com"), "timestamp": 1_795_946_000 + n, "sg_event_id": format!("e{n}"), "mailfleet_reference": format!("2a-7-0-{n:x}"), "response": "250 ok"})
        }
        "mailgun" => {
            json!({"event-data": {"event": "delivered", "id": format!("e{n}"), "timestamp": 1_795_946_000.5, "recipient": format!("p{n}@example.com"), "user-variables": {"mailfleet_reference": format!("2a-7-0-{n:x}")}}})
        }
        "sparkpost" => {
            json!({"msys": {"message_event": {"type": "delivery", "event_id": n.to_string(), "rcpt_to": format!("p{n}@example.com"), "rcpt_meta": {"mailfleet_reference": format!("2a-7-0-{n:x}")}}}})
        }
        "postmark" => {
            json!({"RecordType": "Delivery", "MessageID": format!("m{n}"), "Recipient": format!("p{n}@example.com"), "DeliveredAt": "2026-11-29T10:00:00Z", "Metadata": {"mailfleet_reference": format!("2a-7-0-{n:x}")}})
        }
        "brevo" => {
            json!({"event": "delivered", "email": format!("p{n}@example.com"), "message-id": format!("<m{n}@x>"), "ts_event": 1_795_946_000 + n, "X-Mailin-custom": json!({"reference": format!("2a-7-0-{n:x}")}).to_string()})
        }
        "elasticEmail" => {
            json!({"status": "Sent", "to": format!("p{n}@example.com"), "messageid": format!("m{n}"), "postback": format!("shop/spring first x ref=2a-7-0-{n:x}")})
        }
        "plugin" => {
            json!({"event": "Delivered", "id": n.to_string(), "recipient": format!("p{n}@example.com"), "reference": format!("2a-7-0-{n:x}")})
        }
        _ => panic!("{kind}"),
    };
    let body = if count == 1 { event(1) } else { (1..=count).map(event).collect() };
    Payload::Body(serde_json::to_vec(&body).unwrap())
}

#[test]
fn a_thousand_events_come_in_one_call() {
    for kind in TYPES.into_iter().filter(|kind| !matches!(*kind, "ses" | "mailgun")) {
        let vendor = Vendor::new(kind);
        let began = Instant::now();
        let received = vendor.receive(&vendor.sign(&delivered(kind, 1000), NOW_MS, 1)).unwrap();
        assert!(began.elapsed().as_secs() < 5, "{kind}");
        let ids: BTreeSet<_> = received.events.iter().map(|event| event.id.clone()).collect();
        let references: BTreeSet<_> = received.events.iter().map(message_of).collect();
        assert_eq!((ids.len(), references.len()), (1000, 1000), "{kind}");
        let too_many = vendor.receive(&vendor.sign(&delivered(kind, 10_001), NOW_MS, 2));
        assert_eq!(too_many, Err(Refused::Unreadable("it has more than 10,000 events")), "{kind}");
    }
}

/// Every call that has one character of a text changed. `change` puts the text into the call.
fn each_change(text: &str, mut change: impl FnMut(&str)) {
    let characters: Vec<char> = text.chars().collect();
    for at in 0..characters.len() {
        let mut changed = characters.clone();
        changed[at] = if changed[at] == 'A' { 'B' } else { 'A' };
        change(&changed.into_iter().collect::<String>());
    }
}

fn is_forged(outcome: &Result<impl std::fmt::Debug, Refused>) -> bool {
    matches!(outcome, Err(Refused::Forged(_)))
}

#[test]
fn each_changed_byte_of_what_a_vendor_signs_is_refused() {
    let mut changes = 0;
    for kind in TYPES {
        let vendor = Vendor::new(kind);
        let good = vendor.sign(&delivered(kind, 1), NOW_MS, 1);
        assert_eq!(vendor.receive(&good).unwrap().events.len(), 1, "{kind}");
        let mut refuse = |sent: &Sent, what: &str| {
            changes += 1;
            let outcome = vendor.receive(sent);
            let is_time_alone = matches!(outcome, Err(Refused::Late | Refused::NeedsCertificate(_)));
            assert!(is_forged(&outcome) || is_time_alone, "{kind}, {what}: {outcome:?}");
        };
        for name in ["x-twilio-email-event-webhook-timestamp", "x-twilio-email-event-webhook-signature", "authorization"] {
            let Some(value) = good.headers.get(name).map(|value| value.to_str().unwrap().to_owned()) else { continue };
            each_change(&value, |changed| {
                // The user name of Basic authentication, the scheme's case and the spare bits of base64 are nobody's secret.
                if name == "authorization" && is_same_password(&value, changed) || is_same_base64(&value, changed) {
                    return;
                }
                let mut sent = good.clone();
                sent.set(name, changed);
                refuse(&sent, name);
            });
            let mut sent = good.clone();
            sent.headers.remove(name);
            refuse(&sent, "without it");
            sent.headers.append(name, value.parse().unwrap());
            sent.headers.append(name, value.parse().unwrap());
            refuse(&sent, "twice");
        }
        if let Some(secret) = &good.path_secret {
            each_change(secret, |changed| refuse(&Sent { path_secret: Some(changed.to_owned()), ..good.clone() }, "the path"));
            refuse(&Sent { path_secret: None, ..good.clone() }, "no path");
        }
        match kind {
            "sendgrid" => {
                for at in 0..good.body.len() {
                    let mut sent = good.clone();
                    sent.body[at] ^= 1;
                    refuse(&sent, "the body");
                }
                for body in [&good.body[1..], &good.body[..good.body.len() - 1], &[good.body.as_slice(), b" "].concat()] {
                    refuse(&Sent { body: body.to_vec(), ..good.clone() }, "the body's length");
                }
            }
            "mailgun" => {
                let whole: Value = serde_json::from_slice(&good.body).unwrap();
                for name in ["timestamp", "token", "signature"] {
                    each_change(whole["signature"][name].as_str().unwrap(), |changed| {
                        let mut body = whole.clone();
                        body["signature"][name] = changed.into();
                        refuse(&Sent { body: serde_json::to_vec(&body).unwrap(), ..good.clone() }, name);
                    });
                }
            }
            "ses" => {
                let whole: Value = serde_json::from_slice(&good.body).unwrap();
                for name in
                    ["Type", "MessageId", "TopicArn", "Subject", "Message", "Timestamp", "SignatureVersion", "Signature", "SigningCertURL"]
                {
                    let value = whole[name].as_str().unwrap();
                    each_change(value, |changed| {
                        if name == "Signature" && is_same_base64(value, changed) {
                            return;
                        }
                        let mut body = whole.clone();
                        body[name] = changed.into();
                        refuse(&Sent { body: serde_json::to_vec(&body).unwrap(), ..good.clone() }, name);
                    });
                }
                let mut body = whole.clone();
                body.as_object_mut().unwrap().remove("Subject");
                refuse(&Sent { body: serde_json::to_vec(&body).unwrap(), ..good.clone() }, "without its subject");
            }
            _ => {}
        }
    }
    println!("{changes} changed calls were refused");
    assert!(changes > 1000, "{changes}");
}

/// Whether two values of Authorization have the same password.
fn is_same_password(one: &str, other: &str) -> bool {
    let password = |value: &str| {
        use base64::Engine as _;
        let (scheme, value) = value.split_once(' ')?;
        match scheme.to_ascii_lowercase().as_str() {
            "bearer" => Some(value.as_bytes().to_vec()),
            "basic" => {
                let login = base64::engine::general_purpose::STANDARD.decode(value).ok()?;
                Some(login[login.iter().position(|byte| *byte == b':')? + 1..].to_vec())
            }
            _ => None,
        }
    };
    password(one).is_some() && password(one) == password(other)
}

fn is_same_base64(one: &str, other: &str) -> bool {
    use base64::Engine as _;
    let decoded = |text: &str| base64::engine::general_purpose::STANDARD.decode(text).ok();
    decoded(one).is_some() && decoded(one) == decoded(other)
}

#[test]
fn late_calls_are_refused_and_repeated_ones_in_time_are_taken() {
    // How long each vendor repeats a call.
    for (kind, repeats_ms) in [("ses", HOUR_MS), ("sendgrid", 24 * HOUR_MS), ("mailgun", 8 * HOUR_MS)] {
        let vendor = Vendor::new(kind);
        let at = |at_ms: i64| vendor.receive(&vendor.sign(&delivered(kind, 1), at_ms, 1)).map(|received| received.events.len());
        assert_eq!(at(NOW_MS - repeats_ms), Ok(1), "{kind}: the last repeat");
        assert_eq!(at(NOW_MS - repeats_ms - 2 * HOUR_MS), Err(Refused::Late), "{kind}");
        assert_eq!(at(NOW_MS + 4 * MINUTE_MS), Ok(1), "{kind}: clocks differ");
        assert_eq!(at(NOW_MS + 6 * MINUTE_MS), Err(Refused::Late), "{kind}: from the future");
    }
}

#[test]
fn only_amazons_certificate_and_only_the_topic_named_count() {
    let vendor = Vendor::new("ses");
    let receive = |message: &Value| {
        let body = serde_json::to_vec(message).unwrap();
        vendor.receive(&Sent { body, ..vendor.sign(&delivered("ses", 1), NOW_MS, 1) })
    };
    let good = notification("{}", NOW_MS, 1);
    receive(&good).unwrap();
    // The signature would hold, by a certificate that anybody can make.
    for host in [
        "https://evil.example",
        "https://sns.eu-west-1.amazonaws.com.evil.example",
        "https://sns.us-east-1.amazonaws.com",
        "http://sns.eu-west-1.amazonaws.com",
    ] {
        let mut message = good.clone();
        message["SigningCertURL"] = CERTIFICATE_URL.replace("https://sns.eu-west-1.amazonaws.com", host).into();
        assert!(is_forged(&receive(&message)), "{host}");
    }
    let mut other = good.clone();
    other["SigningCertURL"] = CERTIFICATE_URL.replace("0a1b2c3d", "ffff").into();
    assert_eq!(receive(&other), Err(Refused::NeedsCertificate(CERTIFICATE_URL.replace("0a1b2c3d", "ffff"))), "Amazon's, and not known yet");
    let mut topic = good.clone();
    topic["TopicArn"] = TOPIC.replace("feedback", "another").into();
    assert!(is_forged(&receive(&sns(topic))), "another topic of the same account, signed by Amazon");
    let confirmation = |url: &str, kind: &str| {
        sns(json!({
            "Type": kind, "MessageId": "c1", "Token": "2336412f", "TopicArn": TOPIC, "Message": "You have chosen to subscribe", "SubscribeURL": url,
            "Timestamp": "2026-11-29T10:00:00.000Z", "SignatureVersion": "2", "SigningCertURL": CERTIFICATE_URL,
        }))
    };
    let subscribe = "https://sns.eu-west-1.amazonaws.com/?Action=ConfirmSubscription&TopicArn=x&Token=2336412f";
    let confirmed = receive(&confirmation(subscribe, "SubscriptionConfirmation")).unwrap();
    assert_eq!((confirmed.confirm.as_deref(), confirmed.events.len()), (Some(subscribe), 0));
    let ended = receive(&confirmation(subscribe, "UnsubscribeConfirmation")).unwrap();
    assert_eq!((ended.confirm, ended.events.len()), (None, 0), "nobody subscribes again by it");
    assert!(is_forged(&receive(&confirmation("https://evil.example/?Action=ConfirmSubscription", "SubscriptionConfirmation"))));
    // A certificate of the right host whose days are over.
    let vendor = Vendor::new("ses");
    let late = vendor.sign(&delivered("ses", 1), 2_524_608_000_000, 1);
    assert!(is_forged(&vendor.receive(&Sent { now_ms: 2_524_608_000_000, ..late })), "2050");
}

#[test]
fn messages_that_another_program_signed_are_taken_in_both_versions() {
    let text = fs::read_to_string("tests/webhooks/sns.json").unwrap();
    let vectors: Value = serde_json::from_str(&text).unwrap();
    let mut certificates = Certificates::default();
    certificates.keep(CERTIFICATE_URL, Certificate::from_pem(vectors["certificate"].as_str().unwrap().as_bytes()).unwrap());
    let vendor = Vendor { certificates, ..Vendor::new("ses") };
    let messages = vectors["messages"].as_array().unwrap();
    let versions: Vec<&str> = messages.iter().map(|message| message["SignatureVersion"].as_str().unwrap()).collect();
    assert_eq!(versions, ["1", "2", "1", "2"]);
    for message in messages {
        let sent = |message: &Value| Sent { body: serde_json::to_vec(message).unwrap(), ..vendor.sign(&delivered("ses", 1), NOW_MS, 1) };
        let received = vendor.receive(&sent(message)).unwrap_or_else(|refused| panic!("{message:#}: {refused:?}"));
        assert_eq!(received.events.len(), usize::from(message["Type"] == "Notification"));
        let mut other = message.clone();
        other["SignatureVersion"] = if message["SignatureVersion"] == "1" { "2" } else { "1" }.into();
        assert!(is_forged(&vendor.receive(&sent(&other))), "the other version's hash");
    }
}

#[test]
fn the_vendor_s_own_vector_of_sendgrid_holds() {
    // sendgrid-nodejs, packages/eventwebhook/src/eventwebhook.spec.js: the test vector of Twilio's own library.
    let key =
        "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEEDr2LjtURuePQzplybdC+u4CwrqDqBaWjcMMsTbhdbcwHBcepxo7yAQGhHPTnlvFYPAZFceEu/1FwCM/QmGUhA==";
    let credentials = WebhookCredentials { public_key: Some(key.to_owned()), ..WebhookCredentials::default() };
    let webhook = spec_of("sendgrid").webhook(&server(), &credentials).unwrap().unwrap();
    let vendor = Vendor { webhook, ..Vendor::new("sendgrid") };
    let mut sent = vendor.sign(
        &Payload::Body(br#"{"category":"example_payload","event":"test_event","message_id":"message_id"}"#.to_vec()),
        NOW_MS,
        1,
    );
    sent.now_ms = 1_588_788_367_000;
    sent.set("x-twilio-email-event-webhook-timestamp", "1588788367");
    sent.set(
        "x-twilio-email-event-webhook-signature",
        "MEUCIQCtIHJeH93Y+qpYeWrySphQgpNGNr/U+UyUlBkU6n7RAwIgJTz2C+8a8xonZGi6BpSzoQsbVRamr2nlxFDWYNH2j/0=",
    );
    assert_eq!(vendor.receive(&sent).unwrap().events, []);
    for at in 0..sent.body.len() {
        let mut changed = sent.clone();
        changed.body[at] ^= 1;
        assert!(is_forged(&vendor.receive(&changed)), "byte {at}");
    }
}

#[test]
fn a_signature_of_mailgun_s_holds_for_its_key_alone() {
    // The formula of documentation.mailgun.com, by another program: printf %s TIMESTAMPTOKEN | openssl dgst -sha256 -hmac KEY.
    let signature = mailgun_signature(NOW_MS, 7);
    assert_eq!(signature["token"], "00000000000000000000000000000000000000000000000007");
    assert_eq!(signature["signature"], "f47e311d271c07d8252c810555567632a522695e87ba89248a5d7fff95f1d29f");
}

#[test]
fn credentials_that_cannot_work_are_told() {
    let told = |kind: &str, credentials: &WebhookCredentials| match spec_of(kind).webhook(&server(), credentials) {
        Some(Err(blocker)) => blocker.message,
        Some(Ok(_)) => "good".to_owned(),
        None => "none".to_owned(),
    };
    let with = |secret: &str| WebhookCredentials { secret: Some(SecretValue::new(secret)), ..WebhookCredentials::default() };
    for kind in TYPES.into_iter().filter(|kind| !matches!(*kind, "ses" | "sendgrid")) {
        for (secret, words) in [("short", "fewer than 16 characters"), ("0123456789abcdef\nmore", "more than a line"), (SECRET, "good")] {
            let message = told(kind, &with(secret));
            assert!(message.contains(words) && !message.contains(secret), "{kind}: {message}");
        }
        assert!(told(kind, &WebhookCredentials::default()).contains("is missing"), "{kind}");
        assert_eq!(told(kind, &with(&format!("{SECRET}\n"))), "good", "{kind}: the line end that editors leave");
    }
    let key = |key: &str| WebhookCredentials { public_key: Some(key.to_owned()), ..WebhookCredentials::default() };
    assert!(told("sendgrid", &key("MFkw")).contains("not a public key on the curve P-256"));
    assert!(told("sendgrid", &key("?")).contains("not base64"));
    let json = json!({"smtp": {"host": "localhost", "encryption": "None"}});
    let smtp: mailfleet::providers::ProviderSpec = serde_json::from_value(json).unwrap();
    assert!(smtp.webhook(&server(), &with(SECRET)).is_none());
}

/// The `count`th number of a seed.
fn chance(seed: &str, count: usize) -> usize {
    let hash = digest(&SHA256, format!("{seed} {count}").as_bytes());
    usize::from_le_bytes(hash.as_ref()[..8].try_into().unwrap())
}

#[test]
fn no_body_makes_a_parser_panic_or_hang() {
    const MUTATIONS: usize = 400;
    let pieces: [&[u8]; 12] =
        [b"{", b"}", b"[", b"]", b"\"", b"null", b"1e999", b"\\u0000", b"-", b"\xff", b":", b"{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":"];
    for kind in TYPES {
        let (table, vendor) = (table(kind), Vendor::new(kind));
        let began = Instant::now();
        let mut read = 0;
        for count in 0..MUTATIONS {
            let case = &table.calls[chance(kind, count) % table.calls.len()];
            let (mut body, is_query) = match case.payload() {
                Payload::Body(body) => (body, false),
                Payload::Query(query) => (query.into_bytes(), true),
            };
            for change in 0..=chance(kind, count * 7 + 1) % 4 {
                let seed = chance(kind, count * 31 + change * 3 + 2);
                let at = seed % (body.len() + 1);
                match seed / 7 % 5 {
                    0 if at < body.len() => body[at] = u8::try_from(seed / 64 % 256).unwrap(),
                    1 => drop(body.splice(at..at, pieces[seed / 64 % pieces.len()].iter().copied())),
                    2 if at < body.len() => drop(body.drain(at..(at + seed / 64 % 40).min(body.len()))),
                    3 => body.truncate(at),
                    _ => {
                        let part = body[at..(at + 60).min(body.len())].to_vec();
                        body.extend(part);
                    }
                }
            }
            let payload = if is_query { Payload::Query(String::from_utf8_lossy(&body).into_owned()) } else { Payload::Body(body) };
            if let Ok(received) = vendor.receive(&vendor.sign(&payload, NOW_MS, 1)) {
                read += 1;
                for event in received.events {
                    assert!(event.detail.chars().count() <= 250 && !event.detail.contains('\n'), "{kind} {count}");
                    assert!(event.id.is_some_and(|id| id.len() < 300), "{kind} {count}");
                }
            }
        }
        assert!(read > 0, "{kind}: not one mutation was read, so that they reach no parser");
        assert!(began.elapsed().as_secs() < 20, "{kind}");
        // What nests deeply is refused, and takes no stack.
        for deep in [b"[".repeat(200_000), b"{\"a\":".repeat(200_000)] {
            let outcome = vendor.receive(&vendor.sign(&Payload::Body(deep), NOW_MS, 1));
            assert!(outcome.is_err() || matches!(kind, "ses" | "elasticEmail") && outcome.unwrap().events.is_empty(), "{kind}");
        }
    }
}
