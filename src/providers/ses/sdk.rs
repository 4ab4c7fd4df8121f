//! The vendor's SDK over our HTTP clients, and back from its errors to answers.

use std::{error::Error, fmt, time::Duration};

use aws_sdk_sesv2::{
    config::{BehaviorVersion, Region, RuntimeComponents, SharedCredentialsProvider, http::HttpResponse},
    error::SdkError,
};
use aws_smithy_runtime_api::client::{
    http::{HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector},
    orchestrator::HttpRequest,
    result::ConnectorError,
};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, header::AUTHORIZATION};
use reqwest::Request;

use crate::{
    egress::Egress,
    meta::{Reason, secret::SecretValue},
    providers::{
        Blocker,
        http::{Answer, ApiClient, Clients, NoAnswer, Purpose, fetch},
        sanitize,
    },
};

/// To SES itself: through the server's API client, with its egress, bounds and timeouts.
#[derive(Clone, Debug)]
pub struct Way {
    pub api: ApiClient,
    /// Says which timeout holds.
    pub purpose: Purpose,
}

/// To the source of the machine's credentials: AWS's token service, or a service of the machine (an instance's metadata, a
/// container's agent). Only an operator's servers reach it.
#[derive(Clone, Debug)]
pub struct Chain(pub Clients);

/// The header with the token of temporary credentials.
const TOKEN: HeaderName = HeaderName::from_static("x-amz-security-token");

/// For a request of the chain that sets no timeout.
const CHAIN_TIMEOUT: Duration = Duration::from_secs(5);

impl HttpClient for Way {
    fn http_connector(&self, _settings: &HttpConnectorSettings, _components: &RuntimeComponents) -> SharedHttpConnector {
        SharedHttpConnector::new(self.clone())
    }
}

impl HttpConnector for Way {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let way = self.clone();
        HttpConnectorFuture::new(async move {
            let (request, body) = outgoing(request)?;
            // The token of the machine's own credentials is not known before this.
            let token = request.headers().get(TOKEN).and_then(|value| value.to_str().ok());
            token.into_iter().for_each(|token| way.api.scrubber().learn(&SecretValue::new(token)));
            let answer = way.api.send(request, Some(body), way.purpose).await;
            answer.map_or_else(|no_answer| Err(ConnectorError::other(Box::new(Lost(no_answer)), None)), incoming)
        })
    }
}

impl HttpClient for Chain {
    fn http_connector(&self, settings: &HttpConnectorSettings, _components: &RuntimeComponents) -> SharedHttpConnector {
        SharedHttpConnector::new(Link { clients: self.0.clone(), timeout: settings.read_timeout().unwrap_or(CHAIN_TIMEOUT) })
    }
}

#[derive(Debug)]
struct Link {
    clients: Clients,
    timeout: Duration,
}

impl HttpConnector for Link {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let (clients, timeout) = (self.clients.clone(), self.timeout);
        HttpConnectorFuture::new(async move {
            let (request, body) = outgoing(request)?;
            let client = clients.get(Egress::Everywhere, request.url()).map_err(|why| ConnectorError::user(why.into()))?;
            // As a network failure: the chain goes on to its next link.
            let answer = fetch(&client, request, Some(body), timeout).await.map_err(|lost| ConnectorError::io(Box::new(lost.error)))?;
            incoming(answer)
        })
    }
}

/// The request without its body, and the body.
fn outgoing(request: HttpRequest) -> Result<(Request, Bytes), ConnectorError> {
    let request = request.try_into_http1x().map_err(|error| ConnectorError::user(Box::new(error)))?;
    let (head, body) = request.into_parts();
    // Everything that is sent is in memory.
    let body = Bytes::copy_from_slice(body.bytes().unwrap_or_default());
    let request = Request::try_from(http::Request::from_parts(head, Bytes::new()));
    let mut request = request.map_err(|error| ConnectorError::user(Box::new(error)))?;
    for (_, value) in request.headers_mut().iter_mut().filter(|(name, _)| [AUTHORIZATION, TOKEN].contains(*name)) {
        // So that no log of the transport shows it.
        value.set_sensitive(true);
    }
    Ok((request, body))
}

fn incoming(answer: Answer) -> Result<HttpResponse, ConnectorError> {
    let mut response = http::Response::new(answer.body.into());
    *response.status_mut() = http::StatusCode::from_u16(answer.status).map_err(|error| ConnectorError::other(Box::new(error), None))?;
    // The SDK accepts text only.
    let is_text = |value: &HeaderValue| std::str::from_utf8(value.as_bytes()).is_ok();
    let fields = answer.headers.iter().filter(|(_, value)| is_text(value)).map(|(name, value)| (name.clone(), value.clone()));
    *response.headers_mut() = fields.collect();
    HttpResponse::try_from(response).map_err(|error| ConnectorError::other(Box::new(error), None))
}

/// Carries what we know of a lost call through the SDK.
#[derive(Debug)]
struct Lost(NoAnswer);

impl fmt::Display for Lost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.failure.message)
    }
}

impl Error for Lost {}

/// The credentials of the machine, by the SDK's own chain: environment, profile, web identity, container, instance.
pub async fn of_the_machine(region: Region, chain: Chain) -> Option<SharedCredentialsProvider> {
    let config = aws_config::defaults(BehaviorVersion::latest()).region(region).http_client(chain).load().await;
    config.credentials_provider()
}

/// What SES answered, where it is no success.
///
/// # Errors
/// When there was no answer, or nothing was asked.
pub fn answer<E>(error: SdkError<E, HttpResponse>, api: &ApiClient, purpose: Purpose) -> Result<Answer, NoAnswer>
where
    E: Error + Send + Sync + 'static,
{
    if let Some(raw) = error.raw_response() {
        let field = |(name, value): (&str, &str)| Some((HeaderName::try_from(name).ok()?, HeaderValue::from_str(value).ok()?));
        let headers: HeaderMap = raw.headers().iter().filter_map(field).collect();
        let body = Bytes::copy_from_slice(raw.body().bytes().unwrap_or_default());
        return Ok(Answer { status: raw.status().as_u16(), headers, body, is_whole: true });
    }
    let mut cause: Option<&(dyn Error + 'static)> = Some(&error);
    while let Some(inner) = cause {
        if let Some(Lost(no_answer)) = inner.downcast_ref() {
            return Err(no_answer.clone());
        }
        cause = inner.source();
    }
    // Nothing was sent: without credentials there is no signature. The innermost cause says why.
    let mut why: &(dyn Error + 'static) = &error;
    while let Some(inner) = why.source() {
        why = inner;
    }
    let what = format!("there are no usable credentials (`{}`)", sanitize::stable(&api.shown(&why.to_string())));
    let to_do = "Give the machine or pod a role, or name a Secret in secretRef.";
    let failure: Blocker = api.fail(purpose, Reason::AuthenticationFailed, &what, to_do);
    Err(NoAnswer { failure, may_have_arrived: false })
}
