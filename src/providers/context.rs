//! What a type of server is built with: its Secrets, its bounds, and where it may go.

use std::{collections::BTreeMap, path::PathBuf, sync::Arc, time::Duration};

use ::http::HeaderValue;
use tokio::sync::Semaphore;

use super::{Blocker, http, scrub};
use crate::{
    egress::Egress,
    meta::{KeyRef, LocalRef, Reason, secret::SecretValue},
};

/// What a provider gets in addition to its spec.
#[derive(Clone)]
pub struct Context {
    /// `namespace/name` of the server, for messages and logs.
    pub name: String,
    /// The values of the Secrets that [`super::Provider::secrets`] named, all present.
    pub secrets: Secrets,
    /// Connections at a time.
    pub connections: u32,
    /// Messages after which a connection is closed.
    pub messages_per_connection: u32,
    /// The timeout of each step of a probe and of opening a connection.
    pub connect_timeout: Duration,
    /// The state folder, to which relative paths of the spec refer.
    pub state_dir: PathBuf,
    /// Where it may connect to.
    pub egress: Egress,
    /// What the operator lets this server do.
    pub permissions: Permissions,
    /// For types that are spoken to over HTTP.
    pub http: http::Clients,
}

/// What an operator lets a server do on the machine that Mailfleet runs on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Permissions {
    /// Use the credentials of this machine or pod (an instance's role, the environment) where the spec names no Secret.
    pub ambient_credentials: bool,
    /// The programs that it may run as sendmail.
    pub sendmail: Arc<[PathBuf]>,
}

impl Context {
    /// A minimal context: no Secrets, one connection, 10 seconds a step, any address, and no permissions.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            secrets: Secrets::new(),
            connections: 1,
            messages_per_connection: 100,
            connect_timeout: Duration::from_secs(10),
            state_dir: PathBuf::new(),
            egress: Egress::Everywhere,
            permissions: Permissions::default(),
            http: http::Clients::default(),
        }
    }

    /// One permit for each connection.
    pub(super) fn permits(&self) -> Semaphore {
        Semaphore::new(usize::try_from(self.connections.max(1)).unwrap_or(1).min(Semaphore::MAX_PERMITS))
    }

    /// Whether a Secret has an optional key.
    pub(super) fn has_secret(&self, secret: &LocalRef, key: &str) -> bool {
        self.secrets.contains_key(&KeyRef { name: secret.name.clone(), key: key.to_owned() })
    }

    /// A sensitive header made from a key of a Secret; and the key, to be struck out of quotes.
    ///
    /// # Errors
    /// When the key is missing, or cannot be sent.
    pub(super) fn secret_header(
        &self,
        secret: &LocalRef,
        key: &str,
        address: &str,
        form: impl FnOnce(&str) -> String,
    ) -> Result<(SecretValue, HeaderValue), Blocker> {
        let text = self.secret_text(secret, key, address)?;
        let header = http::sensitive(&form(text.expose_text().unwrap_or_default()));
        let reference = KeyRef { name: secret.name.clone(), key: key.to_owned() };
        Ok((text, header.map_err(|_| secret_failure(Reason::SecretInvalid, &reference, UNFIT, address))?))
    }

    /// A key of a Secret as one line of text; `address` says for which server.
    ///
    /// # Errors
    /// When it is missing, empty, or more than a line.
    pub fn secret_text(&self, secret: &LocalRef, key: &str, address: &str) -> Result<SecretValue, Blocker> {
        let reference = KeyRef { name: secret.name.clone(), key: key.to_owned() };
        match self.secrets.get(&reference) {
            None => Err(secret_failure(Reason::SecretKeyNotFound, &reference, "is missing", address)),
            Some(value) => {
                secret_line(value).map(SecretValue::new).map_err(|what| secret_failure(Reason::SecretInvalid, &reference, what, address))
            }
        }
    }
}

/// A secret that is one line of text, and long enough to be kept out of answers.
///
/// # Errors
/// What is wrong with it, in words after the key's name.
pub(crate) fn secret_line(value: &SecretValue) -> Result<&str, &'static str> {
    match value.expose_text() {
        Some(text) if !text.is_empty() && !text.contains(['\0', '\r', '\n']) => {
            if scrub::is_too_short(text) {
                Err(TOO_SHORT)
            } else {
                Ok(text)
            }
        }
        _ => Err(UNFIT),
    }
}

/// For a key whose value cannot be sent.
pub(super) const UNFIT: &str = "is empty, or not a single line of text";
/// For a key whose value no vendor issues.
pub(super) const TOO_SHORT: &str =
    "has fewer than 4 characters, too few to be kept out of what the server answers; replace it by a longer one";

/// What is wrong with a key of a Secret.
pub(super) fn secret_failure(reason: Reason, reference: &KeyRef, what: &str, address: &str) -> Blocker {
    let message = format!("Key `{}` of Secret `{}` {what} ({address}). Correct it in the Secret.", reference.key, reference.name);
    Blocker::passing(reason, message).for_person()
}

/// Secret values by their reference.
pub type Secrets = BTreeMap<KeyRef, SecretValue>;

/// A key of a Secret that a provider needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretUse {
    /// The field that names it, relative to the object: `spec.provider.smtp.auth.secretRef`.
    pub path: String,
    /// The Secret, in the namespace of the object, and its key.
    pub key: KeyRef,
    /// Whether it may be absent.
    pub optional: bool,
}

impl SecretUse {
    /// A key that must be there.
    #[must_use]
    pub fn of(path: &str, secret: &LocalRef, key: &str) -> Self {
        Self { path: path.to_owned(), key: KeyRef { name: secret.name.clone(), key: key.to_owned() }, optional: false }
    }
}
