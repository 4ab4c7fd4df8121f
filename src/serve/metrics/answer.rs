//! The answer to a scrape: which of the two text forms, and whether it is compressed.

use std::io::Write as _;

use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use http_body_util::Full;
use prometheus_client::encoding::prometheus_text;

use super::{Format, Moment};
use crate::serve::Health;

/// The text form of OpenMetrics.
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
/// Shorter texts are not compressed.
const COMPRESSED_FROM: usize = 2048;

impl Format {
    /// The form that the request prefers: that of OpenMetrics for those who name it, as Prometheus does, and the older one for others.
    fn wanted(headers: &HeaderMap) -> Self {
        let asked = asked(headers, header::ACCEPT);
        let weight = |kinds: &[&str]| asked.iter().filter(|(name, _)| kinds.contains(&name.as_str())).map(|(_, weight)| *weight).max();
        let open = weight(&["application/openmetrics-text"]).unwrap_or(0);
        // What is good enough besides does not count against what is named.
        let plain = weight(&["text/plain"]).unwrap_or(0);
        if open > 0 && open >= plain { Self::OpenMetrics } else { Self::Text }
    }

    const fn content_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => OPEN_METRICS,
            Self::Text => prometheus_text::CONTENT_TYPE,
        }
    }
}

/// The values of a header with a list (RFC 9110, 12.4.2), each with its weight in thousandths; parameters but `q` are left out.
fn asked(headers: &HeaderMap, name: header::HeaderName) -> Vec<(String, u16)> {
    let values = headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
    let one = |item: &str| {
        let mut parts = item.split(';').map(str::trim);
        let name = parts.next().unwrap_or_default().to_ascii_lowercase();
        let weight = parts.find_map(|part| part.strip_prefix("q=").or_else(|| part.strip_prefix("Q=")));
        (name, weight.map_or(1000, thousandths))
    };
    values.flat_map(|value| value.split(',')).map(one).collect()
}

/// `0.5` as 500; what is no weight is none.
fn thousandths(weight: &str) -> u16 {
    let (whole, part) = weight.split_once('.').unwrap_or((weight, ""));
    let part = format!("{part:0<3}");
    match (whole, part.get(..3).and_then(|digits| digits.parse::<u16>().ok())) {
        ("0", Some(part)) => part,
        ("1", _) => 1000,
        _ => 0,
    }
}

/// Answers a scrape. It is written on a thread that may take its time, one scrape after the other.
pub(in crate::serve) async fn answer(headers: &HeaderMap, health: &Health) -> Response<Full<Bytes>> {
    let format = Format::wanted(headers);
    let is_compressed = asked(headers, header::ACCEPT_ENCODING).iter().any(|(name, weight)| name == "gzip" && *weight > 0);
    let turn = health.scrapes().await;
    let moment = Moment::of(health);
    let written = tokio::task::spawn_blocking(move || {
        let text = moment.text(format).ok()?;
        let compressed = (is_compressed && text.len() >= COMPRESSED_FROM).then(|| gzip(text.as_bytes())).flatten();
        drop(turn);
        Some(compressed.map_or_else(|| (Bytes::from(text), false), |bytes| (Bytes::from(bytes), true)))
    });
    let Ok(Some((body, is_gzip))) = written.await else {
        let mut failed = Response::new(Full::new(Bytes::from_static(b"the metrics could not be written\n")));
        *failed.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
        return failed;
    };
    let mut response = Response::new(Full::new(body));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(format.content_type()));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::VARY, HeaderValue::from_static("Accept, Accept-Encoding"));
    if is_gzip {
        headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    response
}

fn gzip(text: &[u8]) -> Option<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(text.len() / 8), Compression::fast());
    encoder.write_all(text).ok()?;
    encoder.finish().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(accept: &str) -> Format {
        Format::wanted(&HeaderMap::from_iter([(header::ACCEPT, HeaderValue::from_str(accept).expect("a value"))]))
    }

    #[test]
    fn the_form_is_the_one_that_the_scraper_prefers() {
        for accept in [
            // Prometheus 2.42, and 3.
            "application/openmetrics-text;version=1.0.0;q=0.75,application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=0.0.4;q=0.25,*/*;q=0.1",
            "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,text/plain;version=0.0.4;q=0.3,*/*;q=0.2",
            "application/openmetrics-text",
            "Application/OpenMetrics-Text; version=1.0.0, */*",
        ] {
            assert_eq!(wanted(accept), Format::OpenMetrics, "{accept}");
        }
        for accept in [
            "*/*",
            "",
            "text/html,application/xhtml+xml,*/*;q=0.8",
            "text/plain;version=0.0.4;q=0.9, application/openmetrics-text;q=0.5",
            "application/openmetrics-text;q=0",
            "application/openmetrics-text;q=much",
        ] {
            assert_eq!(wanted(accept), Format::Text, "{accept}");
        }
        assert_eq!(Format::wanted(&HeaderMap::new()), Format::Text);
    }
}
