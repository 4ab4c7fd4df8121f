//! Signatures of requests (AWS Signature Version 4), and where their credentials come from.
//!
//! `reqsign` signs, asks the machine's sources of credentials, and fetches new ones shortly before they expire; its requests go
//! through our own clients.

use std::{collections::HashMap, fmt, path::PathBuf, time::Duration};

use ::http::header::{AUTHORIZATION, CONTENT_TYPE, HOST, HeaderName};
use bytes::Bytes;
use reqsign_aws_v4::{
    AssumeRoleWithWebIdentityCredentialProvider, Credential, ECSCredentialProvider, EnvCredentialProvider, IMDSv2CredentialProvider,
    ProfileCredentialProvider, RequestSigner, StaticCredentialProvider,
};
use reqsign_core::{Context, Env, Error, FileRead, HttpSend, ProvideCredential, ProvideCredentialDyn, Result, Signer, hash::hex_sha256};
use reqwest::{Request, Url};
use tokio::io::AsyncReadExt as _;

use crate::{
    egress::Egress,
    meta::secret::SecretValue,
    providers::{
        http::{Clients, fetch},
        scrub::Scrubber,
    },
};

/// The header with the token of temporary credentials.
const TOKEN: HeaderName = HeaderName::from_static("x-amz-security-token");
/// The hash of the body, which the signature covers.
const CONTENT_HASH: HeaderName = HeaderName::from_static("x-amz-content-sha256");
/// For each request to a source of credentials.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Bytes that are read of a file with a token or a profile.
const FILE_MAX: u64 = 1 << 20;

/// A key from a Secret.
pub struct Keys {
    pub id: SecretValue,
    pub secret: SecretValue,
    /// For temporary credentials.
    pub token: Option<SecretValue>,
}

/// Signs the requests of one server.
pub struct Signature {
    signer: Signer<Credential>,
    scrubber: Scrubber,
}

impl Signature {
    /// With a key, or with the machine's credentials. `scrubber` learns the tokens that are used.
    pub fn new(region: &str, keys: Option<&Keys>, clients: Clients, scrubber: Scrubber) -> Self {
        let signer = RequestSigner::new("ses", region).with_standard_session_token();
        let context = Context::new().with_env(Environment).with_file_read(Files).with_http_send(Sources(clients));
        let signer = match keys {
            Some(keys) => Signer::new(context, of_keys(keys), signer),
            None => Signer::new(context, Machine::new(region), signer),
        };
        Self { signer, scrubber }
    }

    /// Adds the headers that make up the signature.
    ///
    /// # Errors
    /// Why there are no usable credentials.
    pub async fn sign(&self, request: &mut Request, body: Option<&Bytes>) -> std::result::Result<(), String> {
        let (mut head, ()) = ::http::Request::new(()).into_parts();
        head.method = request.method().clone();
        head.uri = request.url().as_str().parse().map_err(|error: ::http::uri::InvalidUri| error.to_string())?;
        // Others may be changed on the way by a proxy.
        head.headers.extend(request.headers().get(CONTENT_TYPE).map(|kind| (CONTENT_TYPE, kind.clone())));
        let hash = hex_sha256(body.map_or(&[], |body| &body[..]));
        head.headers.extend(hash.parse().ok().map(|hash| (CONTENT_HASH, hash)));
        self.signer.sign(&mut head, None).await.map_err(|error| in_words(&error))?;
        // The client sets it from the URL, as it was signed.
        head.headers.remove(HOST);
        if let Some(token) = head.headers.get(TOKEN).and_then(|token| token.to_str().ok()) {
            self.scrubber.learn(&SecretValue::new(token));
        }
        for (name, value) in &head.headers {
            request.headers_mut().insert(name, value.clone());
        }
        Ok(())
    }
}

fn of_keys(keys: &Keys) -> StaticCredentialProvider {
    let text = |value: &SecretValue| value.expose_text().unwrap_or_default().to_owned();
    let provider = StaticCredentialProvider::new(&text(&keys.id), &text(&keys.secret));
    match &keys.token {
        Some(token) => provider.with_session_token(&text(token)),
        None => provider,
    }
}

/// An error and its causes. Only those that the library words itself: others may quote an answer, which has credentials.
fn in_words(error: &Error) -> String {
    let mut words = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause.and_then(|cause| cause.downcast_ref::<Error>()) {
        words = format!("{words}: {inner}");
        cause = std::error::Error::source(inner);
    }
    words
}

/// The machine's credentials, from the sources and in the order of AWS's SDKs: environment, profile, web identity, container,
/// instance. The library's own chain passes over a source that fails, and would take the identity of the next one, such as the
/// node's instead of the pod's.
#[derive(Debug)]
struct Machine([Box<dyn ProvideCredentialDyn<Credential = Credential>>; 5]);

impl Machine {
    fn new(region: &str) -> Self {
        let session = std::env::var("AWS_ROLE_SESSION_NAME").unwrap_or_else(|_| "mailfleet".to_owned());
        let web_identity = AssumeRoleWithWebIdentityCredentialProvider::new()
            .with_region(region.to_owned())
            .with_regional_sts_endpoint()
            .with_role_session_name(session);
        Self([
            Box::new(EnvCredentialProvider::new()),
            Box::new(ProfileCredentialProvider::new()),
            Box::new(web_identity),
            Box::new(ECSCredentialProvider::new()),
            Box::new(IMDSv2CredentialProvider::new()),
        ])
    }
}

impl ProvideCredential for Machine {
    type Credential = Credential;

    async fn provide_credential(&self, context: &Context) -> Result<Option<Credential>> {
        for source in &self.0 {
            if let Some(found) = source.provide_credential_dyn(context).await? {
                return Ok(Some(found));
            }
        }
        Err(Error::credential_invalid("this machine has none in its environment or a profile, and no role"))
    }
}

/// Environment variables, except those that are not UTF-8.
#[derive(Debug)]
struct Environment;

impl Env for Environment {
    fn var(&self, key: &str) -> Option<String> {
        std::env::var(key).ok()
    }

    fn vars(&self) -> HashMap<String, String> {
        std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?))).collect()
    }

    fn home_dir(&self) -> Option<PathBuf> {
        std::env::home_dir()
    }
}

/// Profiles and tokens.
#[derive(Debug)]
struct Files;

impl FileRead for Files {
    async fn file_read(&self, path: &str) -> Result<Vec<u8>> {
        let mut content = Vec::new();
        tokio::fs::File::open(path).await?.take(FILE_MAX).read_to_end(&mut content).await?;
        Ok(content)
    }
}

/// AWS's token service, or a service of the machine: an instance's metadata, a container's agent. Only an operator's servers
/// reach it.
#[derive(Clone)]
struct Sources(Clients);

impl fmt::Debug for Sources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sources")
    }
}

impl HttpSend for Sources {
    async fn http_send(&self, asked: ::http::Request<Bytes>) -> Result<::http::Response<Bytes>> {
        let (head, body) = asked.into_parts();
        let uri = head.uri.to_string();
        let sts = ["AWS_ENDPOINT_URL_STS", "AWS_ENDPOINT_URL"].iter().find_map(|name| std::env::var(name).ok());
        let url = sts.filter(|_| head.uri.host().is_some_and(|host| host.starts_with("sts."))).unwrap_or(uri);
        let url = Url::parse(&url).map_err(|error| Error::config_invalid(format!("`{url}` is not a URL: {error}")))?;
        let client = self.0.get(Egress::Everywhere, &url).map_err(Error::unexpected)?;
        let mut request = Request::new(head.method, url);
        *request.headers_mut() = head.headers;
        if let Some(token) = request.headers_mut().get_mut(AUTHORIZATION) {
            // So that no log of the transport shows it.
            token.set_sensitive(true);
        }
        let answer = fetch(&client, request, Some(body), TIMEOUT).await.map_err(|lost| {
            let why = if lost.error.is_timeout() { format!("no answer within {} s", TIMEOUT.as_secs()) } else { "no answer".to_owned() };
            Error::unexpected(why)
        })?;
        let mut response = ::http::Response::new(answer.body);
        *response.status_mut() = ::http::StatusCode::from_u16(answer.status).map_err(::http::Error::from)?;
        *response.headers_mut() = answer.headers;
        Ok(response)
    }
}
