//! A secret in the call, for vendors that sign nothing: they send it as the password of Basic authentication, as a bearer token, or,
//! where they can be given nothing but an address, within that. Pure.

use aws_lc_rs::{
    constant_time,
    digest::{SHA256, digest},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::header;

use serde::de::DeserializeOwned;

use super::{Certificates, Received, Refused, Webhook, WebhookCall, WebhookCredentials, read};
use crate::{
    feedback::Event,
    meta::{Blocker, Key, Reason, secret::SecretValue},
};

/// Characters that a secret has at least: nobody must be able to guess it.
pub const SECRET_MIN: usize = 16;

/// The hash of a server's secret.
pub struct Secret([u8; 32]);

impl Secret {
    /// The secret of a server.
    ///
    /// # Errors
    /// When it is missing, short, or more than a line.
    pub fn new(credentials: &WebhookCredentials) -> Result<Self, Blocker> {
        required(credentials).map(|text| Self(hashed(text.as_bytes())))
    }

    /// Checks that a call has the secret, in constant time.
    ///
    /// # Errors
    /// When it has not.
    pub fn check(&self, call: &WebhookCall<'_>) -> Result<(), Refused> {
        let given = presented(call).ok_or(Refused::Forged("it has no secret: no password, no bearer token, and none in its path"))?;
        let is_equal = constant_time::verify_slices_are_equal(&self.0, &hashed(given.expose())).is_ok();
        if is_equal { Ok(()) } else { Err(Refused::Forged("its secret is not that of the Secret")) }
    }
}

/// A webhook of a vendor that signs nothing, and sends events of the form `T` in JSON.
pub struct SecretWebhook<T> {
    server: Key,
    secret: Secret,
    event: fn(&Key, &T) -> Option<Event>,
}

impl<T> SecretWebhook<T> {
    /// With the server's secret, and what one of its events means.
    ///
    /// # Errors
    /// When the Secret's value cannot be one.
    pub fn new(server: &Key, credentials: &WebhookCredentials, event: fn(&Key, &T) -> Option<Event>) -> Result<Self, Blocker> {
        Ok(Self { server: server.clone(), secret: Secret::new(credentials)?, event })
    }
}

impl<T: DeserializeOwned> Webhook for SecretWebhook<T> {
    fn receive(&self, call: &WebhookCall<'_>, _: &Certificates) -> Result<Received, Refused> {
        self.secret.check(call)?;
        let events = read::each(call.body, |told: T| (self.event)(&self.server, &told))?;
        Ok(Received { events, ..Received::default() })
    }
}

/// The text of a server's secret, which is there and long enough.
///
/// # Errors
/// What is wrong with it.
pub fn required(credentials: &WebhookCredentials) -> Result<&str, Blocker> {
    let unfit = |what: &str| {
        let message = format!("The Secret of feedback.webhook.secretRef {what}. Correct it in the Secret.");
        Blocker::lasting(Reason::SecretInvalid, message)
    };
    let secret = credentials.secret.as_ref().and_then(SecretValue::expose_text);
    let text = secret.ok_or_else(|| unfit("is missing, or not text"))?;
    if text.chars().any(char::is_control) {
        return Err(unfit("is more than a line"));
    }
    if text.chars().count() < SECRET_MIN {
        return Err(unfit("has fewer than 16 characters, which could be guessed; use what `openssl rand -hex 24` prints"));
    }
    Ok(text)
}

fn hashed(text: &[u8]) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest(&SHA256, text).as_ref());
    hash
}

fn presented(call: &WebhookCall<'_>) -> Option<SecretValue> {
    let Some(authorization) = call.header(header::AUTHORIZATION.as_str()) else {
        return call.path_secret.map(SecretValue::new);
    };
    let (scheme, value) = authorization.split_once(' ')?;
    let value = value.trim();
    if scheme.eq_ignore_ascii_case("bearer") {
        return Some(SecretValue::new(value));
    }
    let login = scheme.eq_ignore_ascii_case("basic").then(|| STANDARD.decode(value).ok()).flatten()?;
    let at = login.iter().position(|byte| *byte == b':')?;
    Some(SecretValue::new(&login[at + 1..]))
}
