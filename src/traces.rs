//! Traces of the work: spans of turns, probes and batches, sent to a collector by OTLP over HTTP with protobuf.
//!
//! Without a collector nothing is made: to begin a span is to look whether there is one. What is made is sampled, waits in a queue with a
//! bound and is dropped when that is full; nobody waits for it. No attribute names a recipient, or holds what a server said.

mod collector;

use std::{
    sync::OnceLock,
    time::{Duration, SystemTime},
};

use opentelemetry::{
    Context, KeyValue, Value,
    trace::{FutureExt as _, Span as _, SpanBuilder, SpanKind, Status, TraceContextExt as _, Tracer as _, TracerProvider as _},
};
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::{
    Resource,
    trace::{SdkTracer, SdkTracerProvider},
};

use self::collector::Collector;

/// The name of the library in the collector, and of the service unless the environment names it.
const NAME: &str = "mailfleet";
/// How long what is left may take to be sent at the end.
const LAST_MAX: Duration = Duration::from_secs(5);

/// Makes the spans of this process; set once, if there is a collector.
static TRACER: OnceLock<SdkTracer> = OnceLock::new();

/// The traces of this process, which are sent until it ends.
pub struct Traces(SdkTracerProvider);

/// What the environment says of traces, as OpenTelemetry defines its variables.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Environment {
    /// `OTEL_SDK_DISABLED`, or `OTEL_TRACES_EXPORTER=none`.
    is_off: bool,
    /// `OTEL_EXPORTER_OTLP_TRACES_ENDPOINT`: the whole URL.
    endpoint: Option<String>,
    /// `OTEL_EXPORTER_OTLP_TRACES_PROTOCOL`, else `OTEL_EXPORTER_OTLP_PROTOCOL`.
    protocol: Option<String>,
    /// Whether a variable names the service.
    names_service: bool,
}

impl Environment {
    fn read(variable: impl Fn(&str) -> Option<String>) -> Self {
        let variable = |name: &str| variable(name).map(|value| value.trim().to_owned()).filter(|value| !value.is_empty());
        let is_off = variable("OTEL_SDK_DISABLED").is_some_and(|value| value.eq_ignore_ascii_case("true"))
            || variable("OTEL_TRACES_EXPORTER").is_some_and(|value| value == "none");
        let names_service = variable("OTEL_SERVICE_NAME").is_some()
            || variable("OTEL_RESOURCE_ATTRIBUTES").is_some_and(|value| value.contains("service.name="));
        Self {
            is_off,
            endpoint: variable("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"),
            protocol: variable("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL").or_else(|| variable("OTEL_EXPORTER_OTLP_PROTOCOL")),
            names_service,
        }
    }

    /// Where traces go, if they are wanted: `base` is a collector for all signals.
    fn endpoint(&self, base: Option<&str>) -> Result<Option<String>, String> {
        let base = base.map(str::trim).filter(|base| !base.is_empty());
        let whole = self.endpoint.clone().or_else(|| base.map(|base| format!("{}/v1/traces", base.trim_end_matches('/'))));
        let Some(whole) = whole.filter(|_| !self.is_off) else { return Ok(None) };
        if let Some(protocol) = self.protocol.as_deref().filter(|protocol| *protocol != "http/protobuf") {
            return Err(format!(
                "OTLP with {protocol} is not supported: set OTEL_EXPORTER_OTLP_PROTOCOL to http/protobuf, and name the collector's HTTP port (4318 by default)."
            ));
        }
        let url: reqwest::Url =
            whole.parse().map_err(|error| format!("The OTLP endpoint is not a URL: {error}. It is like http://localhost:4318."))?;
        if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
            return Err("The OTLP endpoint must be an http or https URL, such as http://localhost:4318.".to_owned());
        }
        Ok(Some(whole))
    }
}

impl Traces {
    /// Begins to send traces, if the flag or the environment names a collector. Within a runtime.
    ///
    /// # Errors
    /// When it cannot be used as it is named.
    pub fn begin(base: Option<&str>) -> Result<Option<Self>, String> {
        let environment = Environment::read(|name| std::env::var(name).ok());
        let Some(endpoint) = environment.endpoint(base)? else { return Ok(None) };
        let failed = |error: &dyn std::fmt::Display| format!("Traces cannot be sent: {error}.");
        let collector = Collector::new(&endpoint).map_err(|error| failed(&error))?;
        // Headers, timeout, sampler and queue are those of the environment.
        let exporter = SpanExporter::builder()
            .with_http()
            .with_http_client(collector)
            .with_protocol(Protocol::HttpBinary)
            .with_endpoint(endpoint)
            .build()
            .map_err(|error| failed(&error))?;
        let resource = Resource::builder().with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")));
        let resource = if environment.names_service { resource } else { resource.with_service_name(NAME) };
        let provider = SdkTracerProvider::builder().with_batch_exporter(exporter).with_resource(resource.build()).build();
        let _ = TRACER.set(provider.tracer(NAME));
        Ok(Some(Self(provider)))
    }

    /// Sends what is left, within some seconds.
    pub async fn end(self) {
        // It waits for the thread that sends.
        let _ = tokio::task::spawn_blocking(move || self.0.shutdown_with_timeout(LAST_MAX)).await;
    }
}

/// A span, unless nobody wants it. It ends when it is dropped.
#[derive(Default)]
pub struct Span(Option<Context>);

impl Span {
    /// Begins a trace.
    #[must_use]
    pub fn root(name: &'static str) -> Self {
        Self::begun(name, SpanKind::Internal, None)
    }

    /// Begins a trace of what another program is asked.
    #[must_use]
    pub fn call(name: &'static str) -> Self {
        Self::begun(name, SpanKind::Client, None)
    }

    /// Begins a part of this one.
    #[must_use]
    pub fn part(&self, name: &'static str) -> Self {
        self.0.as_ref().map_or_else(Self::default, |parent| Self::begun(name, SpanKind::Internal, Some(parent)))
    }

    /// A part of this one in which another program is asked.
    #[must_use]
    pub fn call_within(&self, name: &'static str) -> Self {
        self.0.as_ref().map_or_else(Self::default, |parent| Self::begun(name, SpanKind::Client, Some(parent)))
    }

    /// A part that is over.
    pub fn past(&self, name: &'static str, began: SystemTime, took: Duration) {
        let (Some(parent), Some(tracer)) = (&self.0, TRACER.get()) else { return };
        let mut span = SpanBuilder::from_name(name).with_start_time(began).start_with_context(tracer, parent);
        span.end_with_timestamp(began + took);
    }

    fn begun(name: &'static str, kind: SpanKind, parent: Option<&Context>) -> Self {
        let Some(tracer) = TRACER.get() else { return Self(None) };
        let root = Context::new();
        let span = tracer.build_with_context(SpanBuilder::from_name(name).with_kind(kind), parent.unwrap_or(&root));
        // What is not sampled costs nothing further.
        Self(span.is_recording().then(|| root.with_span(span)))
    }

    /// Where it is. It may have ended by the time somebody follows.
    #[must_use]
    pub fn link(&self) -> Link {
        Link(self.0.clone())
    }

    /// Whether it is recorded: otherwise what is noted needs not be computed.
    #[must_use]
    pub fn is_recorded(&self) -> bool {
        self.0.is_some()
    }

    /// Notes a value. Never an address of a person, a secret, or the other side's words.
    pub fn note(&self, name: &'static str, value: impl Into<Value>) {
        if let Some(context) = &self.0 {
            context.span().set_attribute(KeyValue::new(name, value));
        }
    }

    /// It failed, for this reason: one of a closed set.
    pub fn fail(&self, reason: &'static str) {
        if let Some(context) = &self.0 {
            context.span().set_attribute(KeyValue::new("error.type", reason));
            context.span().set_status(Status::error(reason));
        }
    }

    /// Does work that belongs to it: what is logged meanwhile has its ids.
    pub fn within<T>(&self, work: impl FnOnce() -> T) -> T {
        self.link().within(work)
    }

    /// The same, of work that waits.
    pub async fn around<T>(&self, work: impl Future<Output = T>) -> T {
        match &self.0 {
            Some(context) => work.with_context(context.clone()).await,
            None => work.await,
        }
    }
}

/// Where a span is, for those who log what happened in it later.
#[derive(Clone, Debug, Default)]
pub struct Link(Option<Context>);

impl Link {
    /// What is logged meanwhile has the span's ids.
    pub fn within<T>(&self, work: impl FnOnce() -> T) -> T {
        let _attached = self.0.clone().map(Context::attach);
        work()
    }
}

impl Drop for Span {
    fn drop(&mut self) {
        if let Some(context) = &self.0 {
            context.span().end();
        }
    }
}

/// The ids of the trace and the span to which the present work belongs.
#[must_use]
pub fn current() -> Option<(String, String)> {
    TRACER.get()?;
    let context = Context::current();
    let span = context.span().span_context().clone();
    span.is_valid().then(|| (span.trace_id().to_string(), span.span_id().to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(variables: &[(&str, &str)]) -> Environment {
        Environment::read(|name| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned()))
    }

    #[test]
    fn the_collector_is_that_of_the_flag_and_the_environment() {
        let at = |variables: &[(&str, &str)], base| environment(variables).endpoint(base);
        assert_eq!(at(&[], None), Ok(None));
        assert_eq!(at(&[], Some("")), Ok(None));
        let collector = Ok(Some("http://localhost:4318/v1/traces".to_owned()));
        assert_eq!(at(&[], Some("http://localhost:4318")), collector);
        assert_eq!(at(&[], Some("http://localhost:4318/")), collector);
        let own = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "https://traces.example/in");
        assert_eq!(at(&[own], Some("http://localhost:4318")), Ok(Some("https://traces.example/in".to_owned())));
        for off in [("OTEL_SDK_DISABLED", "TRUE"), ("OTEL_TRACES_EXPORTER", "none")] {
            assert_eq!(at(&[own, off], Some("http://localhost:4318")), Ok(None), "{off:?}");
        }
        assert!(at(&[("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")], Some("http://localhost:4317")).is_err_and(|why| why.contains("4318")));
        assert!(at(&[("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf")], Some("http://localhost:4318")).is_ok());
        for bad in ["localhost:4318", "ftp://localhost", "no url"] {
            assert!(at(&[], Some(bad)).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_service_has_the_name_that_the_environment_gives() {
        assert!(!environment(&[]).names_service);
        assert!(environment(&[("OTEL_SERVICE_NAME", "mail")]).names_service);
        assert!(environment(&[("OTEL_RESOURCE_ATTRIBUTES", "a=b,service.name=mail")]).names_service);
    }

    #[tokio::test]
    async fn without_a_collector_there_are_no_spans() {
        let span = Span::root("turn");
        assert!(!span.is_recorded() && !span.part("decide").is_recorded());
        span.note("mailfleet.servers", 3);
        span.fail("TimedOut");
        assert_eq!(span.around(async { span.within(|| 7) }).await, 7);
        assert_eq!(current(), None);
    }
}
