//! What reaches the public listener: vendors' calls; and the words of whoever we call, which may hold our secrets.

#![allow(clippy::missing_panics_doc)] // What does not hold is a panic.

use std::sync::LazyLock;

use aws_lc_rs::{
    encoding::{AsDer as _, PublicKeyX509Der},
    hmac,
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::{HeaderMap, HeaderValue};
use serde_json::json;

use crate::properties::{assert_shown, failed};
use crate::{
    meta::{Key, secret::SecretValue},
    providers::{
        Provider as _, ProviderSpec,
        scrub::Scrubber,
        webhook::{Certificates, EVENTS_MAX, Received, Refused, Webhook, WebhookCall, WebhookCredentials},
    },
};

const SECRET: &str = "0123456789abcdef0123";
const TOPIC: &str = "arn:aws:sns:eu-west-1:123456789012:feedback";
/// 2026-11-29T10:00:00Z.
const NOW_MS: i64 = 1_795_946_400_000;

/// The vendors, in the order of an input's first byte.
const VENDORS: &[&str] = &["sendgrid", "mailgun", "sparkpost", "elasticEmail", "postmark", "brevo", "plugin", "ses"];

struct Vendor {
    kind: &'static str,
    webhook: Box<dyn Webhook>,
}

static ECDSA: LazyLock<Option<EcdsaKeyPair>> = LazyLock::new(|| {
    let document = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &SystemRandom::new()).ok()?;
    EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, document.as_ref()).ok()
});

static WEBHOOKS: LazyLock<Vec<Vendor>> = LazyLock::new(|| VENDORS.iter().copied().filter_map(vendor).collect());

fn vendor(kind: &'static str) -> Option<Vendor> {
    let spec = match kind {
        "ses" => json!({"region": "eu-west-1"}),
        "mailgun" => json!({"secretRef": {"name": "x"}, "domain": "mg.example.com"}),
        "plugin" => json!({"url": "http://localhost:1"}),
        _ => json!({"secretRef": {"name": "x"}}),
    };
    let spec: ProviderSpec = serde_json::from_value(json!({kind: spec})).ok()?;
    let der: Option<PublicKeyX509Der<'_>> = ECDSA.as_ref().and_then(|key| key.public_key().as_der().ok());
    let credentials = WebhookCredentials {
        secret: (!matches!(kind, "ses" | "sendgrid")).then(|| SecretValue::new(SECRET)),
        topic_arn: (kind == "ses").then(|| TOPIC.to_owned()),
        public_key: der.filter(|_| kind == "sendgrid").map(|der| STANDARD.encode(der.as_ref())),
    };
    let webhook = spec.webhook(&Key::new("shop", "vendor"), &credentials)?.ok()?;
    Some(Vendor { kind, webhook })
}

/// Calls of each vendor: without their proof none is taken; with it, events have a bound and clean words, and come out the same when
/// the vendor calls again, so that they count once.
pub fn webhooks(data: &[u8]) {
    let Some((first, payload)) = data.split_first() else { return };
    assert!(WEBHOOKS.len() == VENDORS.len(), "a vendor is missing");
    let vendor = &WEBHOOKS[usize::from(*first) % WEBHOOKS.len()];
    let unproved = receive(vendor, payload, &HeaderMap::new(), None);
    // Whether it is Amazon's, only its certificate tells; where that may be fetched, the target `sns` looks at.
    let is_unproved = matches!(unproved, Err(Refused::Forged(_))) || vendor.kind == "ses" && unproved.is_err();
    assert!(is_unproved, "a call without its vendor's proof: {unproved:?}");
    let (headers, body) = signed(vendor.kind, payload);
    let received = receive(vendor, &body, &headers, Some(SECRET));
    let is_taken = received.as_ref().is_ok_and(|received| vendor.kind != "ses" || received.events.is_empty());
    assert!(is_taken || received.is_err(), "{}: {received:?}", vendor.kind);
    let another = receive(vendor, &body, &headers, Some("0123456789abcdef0124"));
    assert!(matches!(vendor.kind, "sendgrid" | "mailgun" | "ses") || another.is_err(), "another secret is taken: {another:?}");
    let Ok(received) = received else { return };
    assert!(received.events.len() <= EVENTS_MAX && received.confirm.is_none(), "{} events", received.events.len());
    assert!(received.events.len() <= payload.len(), "{} events of {} bytes", received.events.len(), payload.len());
    for event in &received.events {
        assert_shown("an event's words", &event.detail, 250);
        assert_shown("an event's recipient", event.recipient.as_deref().unwrap_or_default(), 320);
        assert!(event.id.as_ref().is_some_and(|id| !id.is_empty() && id.len() <= 400), "{:?}", event.id);
        assert!(&*event.source == "webhook of shop/vendor", "{}", event.source);
    }
    let again = receive(vendor, &body, &headers, Some(SECRET));
    assert!(again.as_ref() == Ok(&received), "called again: {again:?}");
}

fn receive(vendor: &Vendor, payload: &[u8], headers: &HeaderMap, secret: Option<&str>) -> Result<Received, Refused> {
    // Elastic Email's events may come in a query.
    let query = payload.strip_prefix(b"?").and_then(|query| std::str::from_utf8(query).ok()).filter(|_| vendor.kind == "elasticEmail");
    let body = if query.is_some() { &[] } else { payload };
    let call = WebhookCall { headers, path_secret: secret, query: query.unwrap_or_default(), body, now_ms: NOW_MS };
    vendor.webhook.receive(&call, &Certificates::default())
}

/// The call as its vendor would sign it.
fn signed(kind: &str, payload: &[u8]) -> (HeaderMap, Vec<u8>) {
    let mut headers = HeaderMap::new();
    let mut body = payload.to_vec();
    let timestamp = (NOW_MS / 1000).to_string();
    if kind == "sendgrid" {
        let sign = ECDSA.as_ref().and_then(|key| key.sign(&SystemRandom::new(), &[timestamp.as_bytes(), payload].concat()).ok());
        let signature = sign.map(|sign| STANDARD.encode(sign.as_ref())).unwrap_or_default();
        let value = |text: &str| HeaderValue::from_str(text).unwrap_or(HeaderValue::from_static(""));
        headers.insert("x-twilio-email-event-webhook-timestamp", value(&timestamp));
        headers.insert("x-twilio-email-event-webhook-signature", value(&signature));
    } else if kind == "mailgun" {
        let key = hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes());
        let code = hmac::sign(&key, [timestamp.as_bytes(), b"token"].concat().as_slice());
        let code = data_encoding::HEXLOWER.encode(code.as_ref());
        let signature = format!("{{\"signature\":{{\"timestamp\":\"{timestamp}\",\"token\":\"token\",\"signature\":\"{code}\"}},");
        let rest = payload.trim_ascii_start();
        body = [signature.as_bytes(), rest.strip_prefix(b"{").unwrap_or(rest)].concat();
    }
    (headers, body)
}

/// Messages of SNS, from anybody: none is taken without Amazon's signature, and nobody but Amazon's host of the topic's region is asked
/// for a certificate.
pub fn sns(data: &[u8]) {
    let Some(ses) = WEBHOOKS.iter().find(|vendor| vendor.kind == "ses") else { failed("there is no SES") };
    let host = "https://sns.eu-west-1.amazonaws.com/SimpleNotificationService-";
    match receive(ses, data, &HeaderMap::new(), None) {
        Err(Refused::NeedsCertificate(url)) => {
            let name = url.strip_prefix(host).and_then(|rest| rest.strip_suffix(".pem"));
            assert!(name.is_some_and(|name| name.bytes().all(|byte| byte.is_ascii_alphanumeric())), "{url} would be asked");
        }
        Err(Refused::Forged(_)) => {}
        other => failed(&format!("{other:?}")),
    }
    // What SES says within an authentic message, which Amazon only hands on.
    let text = String::from_utf8_lossy(data);
    let Ok(events) = crate::providers::ses::fuzzing::events(&text) else { return };
    assert!(events.len() <= data.len(), "{} events of {} bytes", events.len(), data.len());
    for event in &events {
        assert_shown("an event's words", &event.detail, 250);
        assert_shown("an event's recipient", event.recipient.as_deref().unwrap_or_default(), 320);
        assert!(event.id.as_ref().is_some_and(|id| !id.is_empty() && id.len() <= 400), "{:?}", event.id);
    }
}

/// What whoever we call says, with our password in it in one of the ways in which servers repeat it.
pub fn scrubbed(data: &[u8]) {
    const PASSWORD: &str = "Zq7-corr3ct-h0rse";
    let scrubber = Scrubber::from(vec![SecretValue::new(PASSWORD)]);
    let at = data.first().map_or(0, |byte| usize::from(*byte)).min(data.len());
    let (before, after) = (String::from_utf8_lossy(&data[..at]), String::from_utf8_lossy(&data[at..]));
    let base64 = STANDARD.encode(PASSWORD);
    let hex = data_encoding::HEXLOWER.encode(PASSWORD.as_bytes());
    let percent = percent_encoding::utf8_percent_encode(PASSWORD, percent_encoding::NON_ALPHANUMERIC).to_string();
    for form in [PASSWORD.to_owned(), PASSWORD.to_uppercase(), percent] {
        let text = format!("{before}{form}{after}");
        let scrubbed = scrubber.scrub(&text);
        assert!(!scrubbed.to_lowercase().contains(&form.to_lowercase()), "{scrubbed:?} shows {form}");
    }
    // A word of base64 or of hexadecimal is one as far as its letters go.
    for form in [base64, hex] {
        let text = format!("{before} {form} {after}");
        let scrubbed = scrubber.scrub(&text);
        assert!(!scrubbed.contains(&form), "{scrubbed:?} shows {form}");
    }
    let text = String::from_utf8_lossy(data);
    assert!(!scrubber.scrub(&text).to_lowercase().contains(&PASSWORD.to_lowercase()), "{text:?}");
}
