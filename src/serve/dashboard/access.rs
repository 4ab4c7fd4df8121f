//! Who may see the dashboard.
//!
//! A loopback address needs nothing: whoever reaches it is on this machine. There the name in the Host header is checked, so that no page
//! of the internet reads it through a browser by a name that it resolves to 127.0.0.1. On any other address a token is asked for, or
//! a header that a proxy in front sets; without either of them the dashboard is closed.

use std::net::SocketAddr;

use aws_lc_rs::{constant_time::verify_slices_are_equal, hmac};
use http::{HeaderMap, HeaderName, header};

use crate::resources::secret::SecretValue;

/// The name of the cookie.
const COOKIE: &str = "mailfleet-dashboard";
/// The shortest token, bytes: a shorter one could be guessed.
const TOKEN_MIN: usize = 16;
/// The longest token, bytes.
const TOKEN_MAX: usize = 4096;
/// What a session's name is made of, with the token as the key: whoever has the one does not have the other.
const SESSION: &[u8] = b"mailfleet dashboard session";

/// Who is let in.
#[derive(Clone, Debug)]
pub enum Access {
    /// Everybody: it listens on loopback, at this address.
    Loopback(SocketAddr),
    /// Nobody, since anybody could reach it.
    Closed,
    /// Whoever has the token, or comes through the proxy that sets this header.
    Guarded {
        /// The token.
        token: Option<Token>,
        /// The header.
        proxy_header: Option<HeaderName>,
    },
}

/// A secret that lets in whoever has it.
#[derive(Clone)]
pub struct Token {
    token: SecretValue,
    session: String,
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token(***)")
    }
}

/// What becomes of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is answered.
    Allowed,
    /// It has to show the token first.
    NeedsToken,
    /// It did not come through the proxy.
    NeedsProxy,
    /// The dashboard is closed at this address.
    Closed,
    /// It names another host.
    OtherHost,
}

impl Token {
    /// Reads a token file: one line.
    ///
    /// # Errors
    /// When it is too short or too long, in words.
    pub fn read(text: &str) -> Result<Self, String> {
        let text = text.trim();
        if !(TOKEN_MIN..=TOKEN_MAX).contains(&text.len()) {
            return Err(format!(
                "it holds {} bytes, and a token has {TOKEN_MIN} to {TOKEN_MAX}; `openssl rand -hex 32` makes one",
                text.len()
            ));
        }
        let key = hmac::Key::new(hmac::HMAC_SHA256, text.as_bytes());
        let session = hmac::sign(&key, SESSION).as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(Self { token: SecretValue::new(text), session })
    }

    /// Whether this is the token.
    #[must_use]
    pub fn is(&self, text: &str) -> bool {
        verify_slices_are_equal(text.trim().as_bytes(), self.token.expose()).is_ok()
    }

    fn has_session(&self, text: &str) -> bool {
        verify_slices_are_equal(text.as_bytes(), self.session.as_bytes()).is_ok()
    }

    /// The cookie of a browser that showed the token.
    #[must_use]
    pub fn cookie(&self) -> String {
        format!("{COOKIE}={}; Path=/; HttpOnly; SameSite=Lax", self.session)
    }
}

/// The cookie that ends a session.
pub fn no_cookie() -> String {
    format!("{COOKIE}=; Path=/; Max-Age=0; HttpOnly; SameSite=Lax")
}

impl Access {
    /// Who is let in at an address.
    pub fn of(address: SocketAddr, token: Option<Token>, proxy_header: Option<HeaderName>) -> Self {
        if token.is_some() || proxy_header.is_some() {
            Self::Guarded { token, proxy_header }
        } else if address.ip().is_loopback() {
            Self::Loopback(address)
        } else {
            Self::Closed
        }
    }

    /// The token, where there is one.
    pub fn token(&self) -> Option<&Token> {
        match self {
            Self::Guarded { token, .. } => token.as_ref(),
            _ => None,
        }
    }

    /// What becomes of a request with these headers.
    pub fn judge(&self, headers: &HeaderMap) -> Verdict {
        match self {
            Self::Closed => Verdict::Closed,
            Self::Loopback(address) if is_here(headers, *address) => Verdict::Allowed,
            Self::Loopback(_) => Verdict::OtherHost,
            Self::Guarded { token, proxy_header } => {
                let is_through_proxy = proxy_header.as_ref().is_some_and(|name| headers.get(name).is_some_and(|value| !value.is_empty()));
                if is_through_proxy || token.as_ref().is_some_and(|token| has_token(headers, token)) {
                    Verdict::Allowed
                } else if token.is_some() {
                    Verdict::NeedsToken
                } else {
                    Verdict::NeedsProxy
                }
            }
        }
    }
}

fn has_token(headers: &HeaderMap, token: &Token) -> bool {
    let text = |name: HeaderName| headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
    let is_bearer =
        |value: &str| value.split_once(' ').is_some_and(|(scheme, given)| scheme.eq_ignore_ascii_case("bearer") && token.is(given));
    let is_session = |value: &str| {
        value.split(';').filter_map(|pair| pair.trim().split_once('=')).any(|(name, given)| name == COOKIE && token.has_session(given))
    };
    text(header::AUTHORIZATION).any(is_bearer) || text(header::COOKIE).any(is_session)
}

/// Whether the Host header names this machine, by one of the names that nobody else can resolve to it. The port may be another one:
/// that of a forwarding.
fn is_here(headers: &HeaderMap, address: SocketAddr) -> bool {
    let Some(host) = headers.get(header::HOST).and_then(|host| host.to_str().ok()) else { return false };
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.rsplit_once(':').map_or(host, |(name, _)| name),
    };
    name.eq_ignore_ascii_case("localhost") || ["127.0.0.1", "::1"].contains(&name) || name == address.ip().to_string()
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_str(value).expect("a value"))).collect()
    }

    #[test]
    fn on_loopback_only_names_of_this_machine_are_answered() {
        let access = Access::of("127.0.0.1:9091".parse().expect("an address"), None, None);
        for (host, verdict) in [
            ("localhost:9091", Verdict::Allowed),
            ("LOCALHOST", Verdict::Allowed),
            ("127.0.0.1:12345", Verdict::Allowed),
            ("[::1]:9091", Verdict::Allowed),
            ("evil.example:9091", Verdict::OtherHost),
            ("localhost.evil.example", Verdict::OtherHost),
            ("127.0.0.1.evil.example", Verdict::OtherHost),
            ("", Verdict::OtherHost),
        ] {
            assert_eq!(access.judge(&headers(&[("host", host)])), verdict, "{host}");
        }
        assert_eq!(access.judge(&HeaderMap::new()), Verdict::OtherHost);
    }

    #[test]
    fn elsewhere_nobody_is_let_in_without_a_token_or_a_proxy() {
        let address = "10.1.2.3:9091".parse().expect("an address");
        assert_eq!(Access::of(address, None, None).judge(&headers(&[("host", "localhost")])), Verdict::Closed);
        let token = Token::read(" correct-horse-battery \n").expect("long enough");
        let cookie = token.cookie();
        let session = cookie.split(';').next().expect("a cookie");
        assert!(!cookie.contains("correct") && cookie.contains("HttpOnly; SameSite=Lax"), "{cookie}");
        assert!(!format!("{token:?}").contains("correct"));
        let access = Access::of(address, Some(token), Some(HeaderName::from_static("x-user")));
        let other = format!("{COOKIE}={}", "0".repeat(64));
        for (pair, verdict) in [
            (("authorization", "Bearer correct-horse-battery"), Verdict::Allowed),
            (("authorization", "bearer correct-horse-battery"), Verdict::Allowed),
            (("authorization", "Bearer correct-horse-batter"), Verdict::NeedsToken),
            (("authorization", "Basic correct-horse-battery"), Verdict::NeedsToken),
            (("cookie", session), Verdict::Allowed),
            (("cookie", &*format!("a=b; {session}")), Verdict::Allowed),
            (("cookie", &*other), Verdict::NeedsToken),
            (("cookie", "mailfleet-dashboard=correct-horse-battery"), Verdict::NeedsToken),
            (("x-user", "ann"), Verdict::Allowed),
            (("x-user", ""), Verdict::NeedsToken),
        ] {
            assert_eq!(access.judge(&headers(&[pair])), verdict, "{pair:?}");
        }
        let proxied = Access::of(address, None, Some(HeaderName::from_static("x-user")));
        assert_eq!(proxied.judge(&HeaderMap::new()), Verdict::NeedsProxy);
        assert!(Token::read("short").is_err_and(|why| why.contains("16")));
    }
}
