//! The way to the collector: one request for each batch of spans, with a timeout, never redirected, its answer bounded.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use http::{Request, Response};
use opentelemetry_http::{HttpClient, HttpError};
use reqwest::{Client, Url, redirect::Policy};
use tokio::runtime::Handle;

use crate::egress::{Egress, client};

/// For a request and its answer, unless `OTEL_EXPORTER_OTLP_TIMEOUT` says otherwise.
const TIMEOUT: Duration = Duration::from_secs(10);
const TIMEOUT_MAX: Duration = Duration::from_secs(60);
/// What is read of an answer, bytes.
const ANSWER_MAX: usize = 64 << 10;

/// A collector. The thread that sends spans has no runtime of its own: requests are made on that of the process.
#[derive(Clone, Debug)]
pub(super) struct Collector {
    client: Client,
    runtime: Handle,
    /// Its host and port.
    place: Arc<str>,
    /// Whether the last request failed.
    is_failing: Arc<AtomicBool>,
}

impl Collector {
    /// Opens nothing yet. The operator named it: it may be anywhere.
    pub(super) fn new(endpoint: &str) -> Result<Self, String> {
        let url: Url = endpoint.parse().map_err(|_| "the endpoint is not a URL".to_owned())?;
        let timeout = ["OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "OTEL_EXPORTER_OTLP_TIMEOUT"].iter().find_map(|name| std::env::var(name).ok());
        let timeout = timeout.and_then(|millis| millis.parse().ok()).map_or(TIMEOUT, Duration::from_millis).min(TIMEOUT_MAX);
        let client = client::builder(Egress::Everywhere, client::is_local(&url)).redirect(Policy::none()).timeout(timeout).build();
        let client = client.map_err(|error| error.to_string())?;
        let port = url.port_or_known_default().map(|port| format!(":{port}")).unwrap_or_default();
        let place = format!("{}{port}", url.host_str().unwrap_or_default()).into();
        Ok(Self { client, runtime: Handle::current(), place, is_failing: Arc::default() })
    }

    /// Says it once when spans begin to be lost, and once when they arrive again.
    fn note(&self, failure: Option<&str>) {
        let was_failing = self.is_failing.swap(failure.is_some(), Ordering::Relaxed);
        match failure {
            Some(why) if !was_failing => {
                tracing::warn!("traces cannot be sent to {}: {why}. Those of this time are lost; sending mail continues.", self.place);
            }
            None if was_failing => tracing::info!("traces are sent to {} again", self.place),
            _ => {}
        }
    }
}

async fn exchange(client: Client, request: Request<Bytes>) -> Result<Response<Bytes>, reqwest::Error> {
    let mut answer = client.execute(request.try_into()?).await?;
    let mut body = BytesMut::new();
    while let Some(piece) = answer.chunk().await? {
        body.extend_from_slice(&piece[..piece.len().min(ANSWER_MAX - body.len())]);
        if body.len() == ANSWER_MAX {
            break;
        }
    }
    let mut response = Response::new(body.freeze());
    *response.status_mut() = answer.status();
    *response.headers_mut() = answer.headers().clone();
    Ok(response)
}

#[async_trait]
impl HttpClient for Collector {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let answer = self.runtime.spawn(exchange(self.client.clone(), request)).await?;
        match answer {
            Ok(response) => {
                let status = response.status();
                self.note((!status.is_success()).then(|| format!("it answers {status}")).as_deref());
                Ok(response)
            }
            Err(error) => {
                let error = error.without_url();
                let mut why = error.to_string();
                let mut cause = std::error::Error::source(&error);
                while let Some(inner) = cause {
                    why = format!("{why}: {inner}");
                    cause = inner.source();
                }
                self.note(Some(&why));
                Err(error.into())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpListener,
    };

    use super::*;

    async fn asked(endpoint: &str, timeout: Duration) -> Result<Response<Bytes>, HttpError> {
        let collector = Collector {
            client: Client::builder().no_proxy().timeout(timeout).build().expect("a client"),
            ..Collector::new(endpoint).expect("a URL")
        };
        let request = Request::post(endpoint).body(Bytes::from_static(b"spans")).expect("a request");
        collector.send_bytes(request).await
    }

    #[tokio::test]
    async fn an_answer_has_a_bound_and_a_time() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let endpoint = format!("http://{}/v1/traces", listener.local_addr().expect("bound"));
        let flooding = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.expect("a connection");
            let mut head = [0; 1024];
            let _ = stream.read(&mut head).await;
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 1000000000\r\n\r\n").await;
            // Until the other side has had enough.
            while stream.write_all(&[b'x'; 4096]).await.is_ok() {}
            listener
        });
        let answer = asked(&endpoint, Duration::from_secs(60)).await.expect("an answer");
        assert_eq!((answer.status().as_u16(), answer.body().len()), (400, ANSWER_MAX));
        // It takes the next connection, and says nothing.
        let _listener = flooding.await.expect("the flood ends");
        assert!(asked(&endpoint, Duration::from_millis(200)).await.is_err());
    }
}
