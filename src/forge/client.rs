//! The calls of a forge: each has a timeout and a bounded answer, and none is redirected, since the token would go along.

use std::{
    fmt,
    time::{Duration, Instant},
};

use http::{HeaderMap, HeaderName, HeaderValue, header};
use jiff::Timestamp;
use reqwest::{Request, Url};

use super::{
    api::{Call, Comment, CommitStatus, comments_of, ours},
    place::Place,
};
use crate::{
    backoff::Backoff,
    egress::Egress,
    meta::link::next_of,
    providers::{
        http::{Answer, fetch, of_retry_after, own_client},
        readable,
    },
};

/// For one call.
const CALL_MAX: Duration = Duration::from_secs(30);
/// For all calls of a comment or a status, pauses included.
const ALL_MAX: Duration = Duration::from_secs(180);
/// Attempts at a call.
const ATTEMPTS: u32 = 4;
/// Between attempts where the forge names no time.
const PAUSES: Backoff = Backoff { first: Duration::from_secs(1), max: PAUSE_MAX };
/// A longer pause than this is not waited for.
const PAUSE_MAX: Duration = Duration::from_secs(60);
/// Comments with our marker that turn out to be those of others.
const OTHERS_MAX: usize = 20;
/// Pages of comments that are looked through.
const PAGES_MAX: usize = 100;
/// Characters that are quoted of an answer.
const QUOTED_MAX: usize = 200;

/// Why a forge did not take something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForgeError {
    /// What happened, and what to do.
    pub message: String,
    /// Whether the token may not do this.
    pub is_refused: bool,
    /// The answer's code, where there was one.
    code: Option<u16>,
}

impl fmt::Display for ForgeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

/// What became of a comment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kept {
    /// It is new.
    Created,
    /// It has other words now.
    Edited,
    /// It said the same already.
    Same,
}

/// A forge, and who asks it.
pub struct Client {
    place: Place,
    base: Url,
    http: reqwest::Client,
    headers: Vec<(HeaderName, HeaderValue)>,
    token: String,
}

impl Client {
    /// A client for a place. Nothing is asked yet.
    ///
    /// # Errors
    /// When its URL or token cannot be used.
    pub fn new(place: Place, token: String) -> Result<Self, String> {
        let wrong = || format!("`{}` is no URL of an API of {}", place.api, place.forge.as_str());
        let base = Url::parse(&format!("{}/", place.api.trim_end_matches('/'))).map_err(|_| wrong())?;
        if !matches!(base.scheme(), "https" | "http") || !base.username().is_empty() || base.password().is_some() {
            return Err(wrong());
        }
        let http = own_client(Egress::Everywhere, &base, |builder| builder)?;
        let headers = place.forge.headers(&token)?;
        Ok(Self { place, base, http, headers, token })
    }

    /// Has the comment that begins with the marker say this, the marker first; creates it where there is none, or where it is another's.
    ///
    /// # Errors
    /// When the forge does not take it.
    pub async fn keep_comment(&self, number: u64, marker: &str, body: &str) -> Result<Kept, ForgeError> {
        let until = Instant::now() + ALL_MAX;
        let forge = self.place.forge;
        let (mut attempt, mut of_others) = (0, Vec::new());
        loop {
            attempt += 1;
            while let Some(found) = self.find(number, marker, &of_others, until).await? {
                if found.body.trim_end() == body.trim_end() {
                    return Ok(Kept::Same);
                }
                match self.ask(&forge.edit(&self.place, number, found.id, body), false, until).await {
                    Ok(_) => return Ok(Kept::Edited),
                    // Somebody else wrote it, or has just deleted it: ours may be another one.
                    Err(error) if matches!(error.code, Some(403 | 404)) && of_others.len() < OTHERS_MAX => of_others.push(found.id),
                    Err(error) => return Err(error),
                }
            }
            match self.once(&forge.create(&self.place, number, body), false, until).await {
                Ok(_) => return Ok(Kept::Created),
                // It may be there, and a second one would stay for ever: so the next attempt looks first.
                Err((error, pause)) => self.pause(error, pause, attempt, until).await?,
            }
        }
    }

    /// Sets a status of a commit.
    ///
    /// # Errors
    /// When the forge does not take it.
    pub async fn set_status(&self, commit: &str, status: &CommitStatus) -> Result<(), ForgeError> {
        let call = self.place.forge.status(&self.place, commit, status);
        match self.ask(&call, true, Instant::now() + ALL_MAX).await {
            Ok(_) => Ok(()),
            // GitLab's word for a status that is so already.
            Err(error) if error.code == Some(400) && error.message.contains("Cannot transition status") => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Our comment, by its marker, and by not being one of these.
    async fn find(&self, number: u64, marker: &str, of_others: &[u64], until: Instant) -> Result<Option<Comment>, ForgeError> {
        let mut call = self.place.forge.comments(&self.place, number);
        for _ in 0..PAGES_MAX {
            let answer = self.ask(&call, false, until).await?;
            let comments = comments_of(&answer.body).map_err(|why| self.odd(&why))?;
            if let Some(found) = ours(&comments, marker, of_others) {
                return Ok(Some(found.clone()));
            }
            let Some(next) = next_of(&answer.headers) else { return Ok(None) };
            call.path = self.below(&next).ok_or_else(|| self.odd("its next page is elsewhere"))?;
        }
        Err(self.odd(&format!("there are more than {PAGES_MAX} pages of comments")))
    }

    /// What of a URL is below the base of the API: the token is for nobody else.
    fn below(&self, next: &str) -> Option<String> {
        let next = self.base.join(next).ok()?;
        let path = next.path().strip_prefix(self.base.path())?.to_owned();
        (next.origin() == self.base.origin()).then(|| next.query().map_or(path.clone(), |query| format!("{path}?{query}")))
    }

    fn odd(&self, why: &str) -> ForgeError {
        let message = format!("{} sent an answer that cannot be read: {why}", self.place.forge.as_str());
        ForgeError { message, is_refused: false, code: None }
    }

    /// A call that may be made again.
    async fn ask(&self, call: &Call, is_status: bool, until: Instant) -> Result<Answer, ForgeError> {
        let mut attempt = 0;
        loop {
            attempt += 1;
            match self.once(call, is_status, until).await {
                Ok(answer) => return Ok(answer),
                Err((error, pause)) => self.pause(error, pause, attempt, until).await?,
            }
        }
    }

    /// Waits before the next attempt, if there is one.
    async fn pause(&self, error: ForgeError, pause: Option<Duration>, attempt: u32, until: Instant) -> Result<(), ForgeError> {
        let Some(pause) = pause.filter(|_| attempt < ATTEMPTS) else { return Err(error) };
        let pause = if pause.is_zero() { PAUSES.delay(attempt) } else { pause };
        if pause > PAUSE_MAX || Instant::now() + pause >= until {
            let message = format!("{}; it asks to retry in {} s, which is too long to wait", error.message, pause.as_secs());
            return Err(ForgeError { message, ..error });
        }
        tokio::time::sleep(pause).await;
        Ok(())
    }

    /// One call; where it fails, with the pause after which it may be made again (zero: as we like).
    async fn once(&self, call: &Call, is_status: bool, until: Instant) -> Result<Answer, (ForgeError, Option<Duration>)> {
        let unusable = |why: String| (self.odd(&why), None);
        let url = self.base.join(&call.path).map_err(|error| unusable(error.to_string()))?;
        let mut request = Request::new(call.method.clone(), url);
        request.headers_mut().extend(self.headers.iter().cloned());
        let body = call.body.as_ref().map(|body| body.to_string().into());
        if body.is_some() {
            request.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        let timeout = CALL_MAX.min(until.saturating_duration_since(Instant::now()));
        match fetch(&self.http, request, body, timeout).await {
            Ok(answer) if (200..300).contains(&answer.status) => Ok(answer),
            Ok(answer) => Err(self.refused(&answer, is_status)),
            Err(lost) => {
                let message = format!("{} cannot be reached: {}", self.place.forge.as_str(), innermost(&lost.error));
                let error = ForgeError { message, is_refused: false, code: None };
                Err((error, Some(Duration::ZERO)))
            }
        }
    }

    /// What an answer that is no success means.
    fn refused(&self, answer: &Answer, is_status: bool) -> (ForgeError, Option<Duration>) {
        let (forge, code) = (self.place.forge, answer.status);
        let words = self.words(&answer.body);
        let asked = pause_of(&answer.headers, Timestamp::now());
        // GitHub refuses with 403 what comes too fast.
        let is_too_fast = code == 429 || code == 403 && asked.is_some();
        let (what, pause) = match code {
            _ if is_too_fast => ("asks us to wait".to_owned(), Some(asked.unwrap_or_default())),
            500.. => ("failed".to_owned(), Some(asked.unwrap_or_default())),
            401 => ("does not take the token: it may have expired".to_owned(), None),
            403 => (format!("does not let the token do this; {}", forge.permission(is_status)), None),
            404 => (
                format!(
                    "finds no such pull request or commit in {}, or hides it from the token; {}",
                    self.place.repository,
                    forge.permission(is_status)
                ),
                None,
            ),
            300..=399 => (
                "answered with a redirect, which is not followed since the token would go along; correct the URL of its API".to_owned(),
                None,
            ),
            _ => ("rejects the request".to_owned(), None),
        };
        let message = format!("{} {what} ({code}{words})", forge.as_str());
        let is_refused = matches!(code, 401 | 403 | 404) && !is_too_fast;
        (ForgeError { message, is_refused, code: Some(code) }, pause)
    }

    /// The words of an answer, without the token, which whoever answers knows.
    fn words(&self, body: &[u8]) -> String {
        let parsed: Option<serde_json::Value> = serde_json::from_slice(body).ok();
        let told = parsed
            .as_ref()
            .and_then(|value| value.get("message"))
            .map(|told| told.as_str().map_or_else(|| told.to_string(), str::to_owned));
        let Some(told) = told else { return String::new() };
        let told = told.replace(&self.token, "***");
        let told: String = readable(&told).take(QUOTED_MAX).collect();
        format!(": {}", told.trim())
    }
}

/// How long a forge asks to wait.
fn pause_of(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    if let Some(pause) = text("retry-after").and_then(|value| of_retry_after(value, now)) {
        return Some(pause);
    }
    let is_used_up = text("x-ratelimit-remaining").or_else(|| text("ratelimit-remaining")).is_some_and(|left| left.trim() == "0");
    let reset = text("x-ratelimit-reset").or_else(|| text("ratelimit-reset"))?.trim().parse::<i64>().ok()?;
    let pause = u64::try_from(reset - now.as_second()).unwrap_or(0);
    is_used_up.then(|| Duration::from_secs(pause.max(1)))
}

/// The innermost cause: what surrounds it names the URL.
fn innermost(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::forge::Forge;

    fn client() -> Client {
        let place = Place {
            forge: Forge::GitHub,
            api: "https://forge.example/api/v3".to_owned(),
            repository: "shop/mail".to_owned(),
            number: Some(1),
            commit: None,
            job: None,
        };
        Client::new(place, "hunter2".to_owned()).expect("a client")
    }

    #[test]
    fn pages_are_below_the_base_of_the_api() {
        let client = client();
        for (next, below) in [
            ("https://forge.example/api/v3/repos/a/b?page=2", Some("repos/a/b?page=2")),
            ("/api/v3/x", Some("x")),
            ("https://evil.example/api/v3/x", None),
            ("http://forge.example/api/v3/x", None),
            ("https://forge.example/other", None),
        ] {
            assert_eq!(client.below(next).as_deref(), below, "{next}");
        }
        for api in ["ftp://forge.example", "https://u:p@forge.example", "nothing"] {
            let place = Place { api: api.to_owned(), ..client.place.clone() };
            assert!(Client::new(place, "t".to_owned()).is_err(), "{api}");
        }
    }

    #[test]
    fn the_token_is_in_no_words_of_an_answer() {
        let client = client();
        assert_eq!(client.words(br#"{"message": "Bad credentials hunter2\nx"}"#), ": Bad credentials *** x");
        assert_eq!(client.words(b"<html>hunter2</html>"), "");
    }

    #[test]
    fn a_forge_says_how_long_to_wait() {
        let now = Timestamp::from_second(1_000).expect("a time");
        let pause = |fields: &[(&'static str, &'static str)]| {
            let headers = fields.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)));
            pause_of(&headers.collect(), now).map(|pause| pause.as_secs())
        };
        assert_eq!(pause(&[("retry-after", "7")]), Some(7));
        assert_eq!(pause(&[("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "1030")]), Some(30));
        assert_eq!(pause(&[("x-ratelimit-remaining", "9"), ("x-ratelimit-reset", "1030")]), None);
        assert_eq!(pause(&[]), None);
    }
}
