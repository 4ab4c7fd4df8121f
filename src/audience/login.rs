//! What authenticates the requests of an audience's URL.

use std::{fmt, sync::Arc};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::{HeaderName, HeaderValue, header::AUTHORIZATION};

use crate::{meta::Blocker, meta::secret::SecretValue, providers::scrub::Scrubber};

/// A header field that authenticates. It prints as `***`.
#[derive(Clone, PartialEq, Eq)]
pub struct Credential {
    name: HeaderName,
    value: HeaderValue,
    /// What must not be shown.
    secrets: Vec<SecretValue>,
}

impl Credential {
    /// A bearer token (RFC 6750).
    ///
    /// # Errors
    /// When it cannot be part of a header field.
    pub fn bearer(token: &str) -> Result<Self, http::Error> {
        Self::of(AUTHORIZATION, &format!("Bearer {token}"), &[token])
    }

    /// Username and password (RFC 7617).
    ///
    /// # Errors
    /// When they cannot be part of a header field.
    pub fn basic(username: &str, password: &str) -> Result<Self, http::Error> {
        Self::of(AUTHORIZATION, &format!("Basic {}", STANDARD.encode(format!("{username}:{password}"))), &[password])
    }

    /// A header field of any name.
    ///
    /// # Errors
    /// When name or value cannot be those of a header field.
    pub fn header(name: &str, value: &str) -> Result<Self, http::Error> {
        Self::of(HeaderName::from_bytes(name.as_bytes())?, value, &[value])
    }

    fn of(name: HeaderName, text: &str, secrets: &[&str]) -> Result<Self, http::Error> {
        let mut value = HeaderValue::from_str(text)?;
        value.set_sensitive(true);
        Ok(Self { name, value, secrets: secrets.iter().copied().map(SecretValue::new).collect() })
    }

    /// Name and value of the field.
    pub(super) fn field(&self) -> (HeaderName, HeaderValue) {
        (self.name.clone(), self.value.clone())
    }

    /// Has it kept out of what is quoted.
    pub(super) fn hide(&self, scrubber: &Scrubber) {
        self.secrets.iter().for_each(|secret| scrubber.learn(secret));
    }
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// Where the credential of a URL is looked up: for each request anew, so that a Secret that was rotated is used at the next one.
#[derive(Clone)]
pub struct Login(Arc<dyn Fn() -> Result<Credential, Blocker> + Send + Sync>);

impl Login {
    /// A login; `look_up` gives the credential, or what is wrong with the Secret.
    pub fn new(look_up: impl Fn() -> Result<Credential, Blocker> + Send + Sync + 'static) -> Self {
        Self(Arc::new(look_up))
    }

    /// The credential as it is now.
    ///
    /// # Errors
    /// When the Secret is missing or cannot be used.
    pub fn credential(&self) -> Result<Credential, Blocker> {
        (self.0)()
    }
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Login")
    }
}
