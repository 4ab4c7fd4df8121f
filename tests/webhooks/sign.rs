//! Calls as the vendors make and sign them.

use std::sync::OnceLock;

use aws_lc_rs::{
    encoding::{AsDer as _, PublicKeyX509Der},
    hmac,
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _, RSA_PKCS1_SHA256, RsaKeyPair},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::{HeaderMap, HeaderName, HeaderValue};
use mailfleet::{
    meta::{Key, secret::SecretValue},
    providers::{
        Provider as _, ProviderSpec,
        webhook::{Certificate, Certificates, Received, Refused, Webhook, WebhookCall, WebhookCredentials},
    },
};
use serde_json::{Value, json};

/// Every type that has webhooks.
pub const TYPES: [&str; 8] = ["ses", "sendgrid", "mailgun", "sparkpost", "elasticEmail", "postmark", "brevo", "plugin"];
pub const SECRET: &str = "0123456789abcdef0123";
pub const TOPIC: &str = "arn:aws:sns:eu-west-1:123456789012:feedback";
pub const CERTIFICATE_URL: &str = "https://sns.eu-west-1.amazonaws.com/SimpleNotificationService-0a1b2c3d.pem";
/// 2026-11-29T10:00:00Z.
pub const NOW_MS: i64 = 1_795_946_400_000;

pub fn server() -> Key {
    Key::new("shop", "vendor")
}

/// What a vendor has to say.
#[derive(Clone, Debug)]
pub enum Payload {
    Body(Vec<u8>),
    Query(String),
}

/// A call on its way.
#[derive(Clone, Debug)]
pub struct Sent {
    pub headers: HeaderMap,
    pub path_secret: Option<String>,
    pub query: String,
    pub body: Vec<u8>,
    pub now_ms: i64,
}

impl Sent {
    pub fn call(&self) -> WebhookCall<'_> {
        WebhookCall {
            headers: &self.headers,
            path_secret: self.path_secret.as_deref(),
            query: &self.query,
            body: &self.body,
            now_ms: self.now_ms,
        }
    }

    pub fn set(&mut self, name: &'static str, value: &str) {
        self.headers.insert(HeaderName::from_static(name), HeaderValue::from_str(value).unwrap());
    }
}

/// A type's webhook, and the keys of its vendor.
pub struct Vendor {
    pub kind: &'static str,
    pub webhook: Box<dyn Webhook>,
    pub certificates: Certificates,
    pub ecdsa: EcdsaKeyPair,
}

pub fn spec_of(kind: &str) -> ProviderSpec {
    let spec = match kind {
        "ses" => json!({"region": "eu-west-1"}),
        "mailgun" => json!({"secretRef": {"name": "x"}, "domain": "mg.example.com"}),
        "plugin" => json!({"url": "http://localhost:1"}),
        _ => json!({"secretRef": {"name": "x"}}),
    };
    serde_json::from_value(json!({kind: spec})).expect(kind)
}

struct Amazon {
    key: RsaKeyPair,
    pem: String,
}

fn amazon() -> &'static Amazon {
    static AMAZON: OnceLock<Amazon> = OnceLock::new();
    AMAZON.get_or_init(|| {
        let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_RSA_SHA256).unwrap();
        let mut params = rcgen::CertificateParams::new(vec!["sns.amazonaws.com".to_owned()]).unwrap();
        params.not_before = rcgen::date_time_ymd(2020, 1, 1);
        params.not_after = rcgen::date_time_ymd(2049, 1, 1);
        let pem = params.self_signed(&key).unwrap().pem();
        Amazon { key: RsaKeyPair::from_pkcs8(&key.serialize_der()).unwrap(), pem }
    })
}

impl Vendor {
    pub fn new(kind: &'static str) -> Self {
        let document = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &SystemRandom::new()).unwrap();
        let ecdsa = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, document.as_ref()).unwrap();
        let public_key: PublicKeyX509Der<'_> = ecdsa.public_key().as_der().unwrap();
        let credentials = WebhookCredentials {
            secret: (!matches!(kind, "ses" | "sendgrid")).then(|| SecretValue::new(SECRET)),
            topic_arn: (kind == "ses").then(|| TOPIC.to_owned()),
            public_key: (kind == "sendgrid").then(|| STANDARD.encode(public_key.as_ref())),
        };
        let webhook = spec_of(kind).webhook(&server(), &credentials).expect("it has a webhook").expect("its credentials are good");
        let mut certificates = Certificates::default();
        certificates.keep(CERTIFICATE_URL, Certificate::from_pem(amazon().pem.as_bytes()).unwrap());
        Self { kind, webhook, certificates, ecdsa }
    }

    pub fn receive(&self, sent: &Sent) -> Result<Received, Refused> {
        self.webhook.receive(&sent.call(), &self.certificates)
    }

    /// A call as the vendor makes it at a time; `number` tells it from others.
    pub fn sign(&self, payload: &Payload, at_ms: i64, number: u64) -> Sent {
        let (query, body) = match payload {
            Payload::Body(body) => (String::new(), body.clone()),
            Payload::Query(query) => (query.clone(), Vec::new()),
        };
        let mut sent = Sent { headers: HeaderMap::new(), path_secret: None, query, body, now_ms: NOW_MS };
        match self.kind {
            "ses" => sent.body = serde_json::to_vec(&notification(&String::from_utf8_lossy(&sent.body), at_ms, number)).unwrap(),
            "sendgrid" => {
                let timestamp = (at_ms / 1000).to_string();
                let signed = [timestamp.as_bytes(), &sent.body].concat();
                let signature = self.ecdsa.sign(&SystemRandom::new(), &signed).unwrap();
                sent.set("x-twilio-email-event-webhook-timestamp", &timestamp);
                sent.set("x-twilio-email-event-webhook-signature", &STANDARD.encode(signature.as_ref()));
            }
            "mailgun" => {
                // The event's part is spliced in as bytes, since it may be anything.
                let event = sent.body.strip_suffix(b"}").map_or(&*sent.body, |body| body.strip_prefix(b"{").unwrap_or(body));
                sent.body = [format!("{{\"signature\":{},", mailgun_signature(at_ms, number)).as_bytes(), event, b"}"].concat();
            }
            "elasticEmail" => sent.path_secret = Some(SECRET.to_owned()),
            "plugin" | "brevo" => sent.set("authorization", &format!("Bearer {SECRET}")),
            _ => sent.set("authorization", &format!("Basic {}", STANDARD.encode(format!("vendor:{SECRET}")))),
        }
        sent
    }
}

/// As documentation.mailgun.com, "Securing webhooks", describes it.
pub fn mailgun_signature(at_ms: i64, number: u64) -> Value {
    let (timestamp, token) = ((at_ms / 1000).to_string(), format!("{number:050}"));
    let key = hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes());
    let code = hmac::sign(&key, format!("{timestamp}{token}").as_bytes());
    let hex: String = code.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    json!({"timestamp": timestamp, "token": token, "signature": hex})
}

/// A notification of SNS, signed (version 2).
pub fn notification(message: &str, at_ms: i64, number: u64) -> Value {
    let timestamp = jiff::Timestamp::from_millisecond(at_ms).unwrap().to_string();
    sns(json!({
        "Type": "Notification", "MessageId": format!("id-{number}"), "TopicArn": TOPIC, "Subject": "Amazon SES Email Event Notification",
        "Message": message, "Timestamp": timestamp, "SignatureVersion": "2", "SigningCertURL": CERTIFICATE_URL,
        "UnsubscribeURL": "https://sns.eu-west-1.amazonaws.com/?Action=Unsubscribe",
    }))
}

/// A message of SNS, signed.
pub fn sns(mut message: Value) -> Value {
    let names: &[&str] = if message["Type"] == "Notification" {
        &["Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type"]
    } else {
        &["Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"]
    };
    let signed: String = names.iter().filter_map(|name| Some(format!("{name}\n{}\n", message.get(name)?.as_str()?))).collect();
    let key = &amazon().key;
    let mut signature = vec![0; key.public_modulus_len()];
    key.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), signed.as_bytes(), &mut signature).unwrap();
    message["Signature"] = STANDARD.encode(signature).into();
    message
}

/// The certificate by which messages of SNS are signed here.
pub fn amazon_pem() -> &'static str {
    &amazon().pem
}
