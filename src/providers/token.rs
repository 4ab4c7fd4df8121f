//! Access tokens of OAuth 2.0, fetched when needed and kept until shortly before they expire.
//!
//! Two grants: a refresh token (RFC 6749, 6), and an assertion signed by a service account (RFC 7523, as Google has it in
//! developers.google.com/identity/protocols/oauth2/service-account).

use std::time::{Duration as StdDuration, Instant, SystemTime, UNIX_EPOCH};

use aws_lc_rs::{rand::SystemRandom, signature};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use http::HeaderValue;
use rustls_pki_types::{PrivatePkcs8KeyDer, pem::PemObject};
use serde_json::{Value, json};
use tokio::sync::Mutex;

use super::{
    Blocker, Context,
    http::{ApiClient, Call, Purpose},
    scrub::Scrubber,
};
use crate::meta::{Duration, Reason, secret::SecretValue};

/// A token is not used in its last minute: a request may take as long.
const SPARE: StdDuration = StdDuration::from_secs(60);
/// How long a token is valid when the answer does not say (RFC 6749 leaves it open), and the longest that is believed.
const LIFE: StdDuration = StdDuration::from_secs(300);
const LIFE_MAX: StdDuration = StdDuration::from_secs(24 * 3600);
/// How long an assertion is valid, in seconds; Google accepts at most an hour.
const ASSERTION_SECONDS: u64 = 3600;
const TIMEOUT: Duration = Duration::from_secs(20);

/// What entitles us to a token.
pub enum Grant {
    /// A user's consent.
    Refresh { client_id: String, client_secret: SecretValue, refresh_token: SecretValue },
    /// A service account that acts for a user.
    Assertion {
        /// The service account, which signs.
        issuer: String,
        /// The user for whom it acts.
        subject: String,
        /// What is asked for.
        scope: String,
        /// The service account's key.
        key: Box<signature::RsaKeyPair>,
    },
}

impl Grant {
    /// The grant of a service account, from its JSON key file. The token URL in the file is ignored: a
    /// Secret's content must not choose where a signed assertion goes.
    ///
    /// # Errors
    /// What is wrong with the file, in words after "it".
    pub fn of_service_account(file: &str, subject: &str, scope: &str) -> Result<Self, &'static str> {
        let file: Value = serde_json::from_str(file).map_err(|_| "is not the JSON key file of a service account")?;
        let text = |name: &str| file[name].as_str().filter(|text| !text.is_empty());
        let issuer = text("client_email").ok_or("has no `client_email`")?.to_owned();
        let pem = text("private_key").ok_or("has no `private_key`")?;
        let der = PrivatePkcs8KeyDer::from_pem_slice(pem.as_bytes()).map_err(|_| "has a `private_key` that is not PKCS #8 in PEM")?;
        let key = signature::RsaKeyPair::from_pkcs8(der.secret_pkcs8_der()).map_err(|_| "has a `private_key` that is not an RSA key")?;
        Ok(Self::Assertion { issuer, subject: subject.to_owned(), scope: scope.to_owned(), key: Box::new(key) })
    }

    /// The form that asks for a token, and the assertion in it, which is as powerful as a token for an hour.
    fn form(&self, audience: &str) -> Result<(String, Option<SecretValue>), Blocker> {
        let mut form = form_urlencoded::Serializer::new(String::new());
        let mut made = None;
        match self {
            Self::Refresh { client_id, client_secret, refresh_token } => {
                form.append_pair("grant_type", "refresh_token");
                form.append_pair("client_id", client_id);
                form.append_pair("client_secret", client_secret.expose_text().unwrap_or_default());
                form.append_pair("refresh_token", refresh_token.expose_text().unwrap_or_default());
            }
            Self::Assertion { issuer, subject, scope, key } => {
                let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
                let claims =
                    json!({"iss": issuer, "sub": subject, "scope": scope, "aud": audience, "iat": now, "exp": now + ASSERTION_SECONDS});
                let head = URL_SAFE_NO_PAD.encode(r#"{"alg":"RS256","typ":"JWT"}"#);
                let signed = format!("{head}.{}", URL_SAFE_NO_PAD.encode(claims.to_string()));
                let mut by = vec![0; key.public_modulus_len()];
                key.sign(&signature::RSA_PKCS1_SHA256, &SystemRandom::new(), signed.as_bytes(), &mut by).map_err(|_| {
                    let what = "The assertion cannot be signed with the service account's key. Put a valid key into the Secret.";
                    Blocker::passing(Reason::SecretInvalid, what).for_person()
                })?;
                let assertion = format!("{signed}.{}", URL_SAFE_NO_PAD.encode(by));
                form.append_pair("grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer");
                form.append_pair("assertion", &assertion);
                made = Some(SecretValue::new(assertion));
            }
        }
        Ok((form.finish(), made))
    }
}

/// What must not be shown of a service account's key file: the key, as the file has it.
#[must_use]
pub fn private_keys(file: &str) -> Vec<SecretValue> {
    let file: Value = serde_json::from_str(file).unwrap_or_default();
    let body = |pem: &str| pem.lines().filter(|line| !line.starts_with("-----")).collect::<String>();
    file["private_key"].as_str().map(|pem| SecretValue::new(body(pem))).into_iter().collect()
}

struct Kept {
    token: SecretValue,
    until: Instant,
}

/// Access tokens of one account.
pub struct Tokens {
    api: ApiClient,
    path: String,
    url: String,
    grant: Grant,
    kept: Mutex<Option<Kept>>,
}

impl Tokens {
    /// Tokens from `url`. None is fetched yet.
    ///
    /// # Errors
    /// When the URL cannot be called.
    pub fn new(context: &Context, url: &str, grant: Grant, hidden: impl Into<Scrubber>) -> Result<Self, Blocker> {
        let (base, path) = url.rsplit_once('/').unwrap_or((url, ""));
        let api = ApiClient::new(context, base, Some(TIMEOUT), hidden)?;
        Ok(Self { api, path: path.to_owned(), url: url.to_owned(), grant, kept: Mutex::new(None) })
    }

    /// Keeps the grant and its tokens out of quotes, here and wherever the tokens are used.
    #[must_use]
    pub fn scrubber(&self) -> &Scrubber {
        self.api.scrubber()
    }

    /// A token; a new one when the last is about to expire, or is the one that was `refused`. Concurrent callers wait and get the same.
    ///
    /// # Errors
    /// Why there is none.
    pub async fn token(&self, refused: Option<&SecretValue>, purpose: Purpose) -> Result<SecretValue, Blocker> {
        let mut kept = self.kept.lock().await;
        if let Some(kept) = kept.as_ref()
            && kept.until > Instant::now()
            && refused != Some(&kept.token)
        {
            return Ok(kept.token.clone());
        }
        let (body, assertion) = self.grant.form(&self.url)?;
        assertion.iter().for_each(|assertion| self.scrubber().learn(assertion));
        let call = Call::post(&self.path, HeaderValue::from_static("application/x-www-form-urlencoded"), body.into());
        let asked = Instant::now();
        let answer = self.api.ask(call, purpose).await.map_err(|no_answer| no_answer.failure)?;
        let reply = self.api.read(&answer, purpose, &["/error", "/error_description"]);
        let error = reply.text("/error").unwrap_or_default();
        let for_person = |to_do: &str| Err(reply.fail(Reason::AuthenticationFailed, to_do).for_person());
        match (reply.status(), error.as_str()) {
            (200, _) => {}
            (_, "invalid_grant") => {
                return for_person(match self.grant {
                    Grant::Refresh { .. } => {
                        "The refresh token was revoked or has expired: authorize again, and put the new one into the Secret."
                    }
                    Grant::Assertion { .. } => "Check user, this machine's clock, and the service account's domain-wide delegation.",
                });
            }
            (_, "invalid_client") => return for_person("Correct clientId and clientSecret (or serviceAccount) in the Secret."),
            (_, "unauthorized_client" | "access_denied" | "invalid_scope") => {
                return for_person(
                    "Grant the scope: on the consent screen, or by domain-wide delegation in the Workspace's admin console.",
                );
            }
            _ => {
                let unforeseen = || reply.fail(Reason::ServiceNotAvailable, "It is retried; if this lasts, check tokenUrl.");
                return Err(reply.usual_failure("the scope that it requires").unwrap_or_else(unforeseen));
            }
        }
        let Some(token) = reply.text("/access_token").filter(|token| token.bytes().all(|byte| byte.is_ascii_graphic())) else {
            return Err(reply.fail_with(Reason::ProtocolError, "the answer contains no access token", "Check tokenUrl."));
        };
        let life = reply.json["expires_in"].as_u64().map_or(LIFE, StdDuration::from_secs).min(LIFE_MAX);
        // A short-lived token is used for half of its life.
        let until = asked + life.saturating_sub(SPARE).max(life / 2);
        let token = SecretValue::new(token);
        self.scrubber().learn(&token);
        *kept = Some(Kept { token: token.clone(), until });
        Ok(token)
    }
}
