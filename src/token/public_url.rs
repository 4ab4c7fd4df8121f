//! Where people reach this installation's public listener. Pure.

use std::{fmt, net::IpAddr, str::FromStr, sync::Arc};

use http::Uri;

/// The longest public URL, bytes: it stands in a header field before a token.
const LENGTH_MAX: usize = 255;

/// A URL without a path: `https://news.example.com`. `http` only on this machine, for a try.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicUrl(Arc<str>);

impl PublicUrl {
    /// One that leads nowhere, and never will (RFC 2606).
    #[must_use]
    pub fn nowhere() -> Self {
        Self("https://mailfleet.invalid".into())
    }
}

impl FromStr for PublicUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = |why: &str| Err(format!("{why}; write it like https://news.example.com"));
        if text.len() > LENGTH_MAX {
            return wrong(&format!("it is longer than {LENGTH_MAX} bytes"));
        }
        let Ok(uri) = text.parse::<Uri>() else { return wrong("it is not a URL") };
        let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else { return wrong("it does not begin with https://") };
        if authority.as_str().contains('@') || authority.host().is_empty() {
            return wrong("it has a login, or no host");
        }
        if uri.path() != "/" || uri.query().is_some() || text.contains('#') {
            return wrong("it has a path, and links have their own");
        }
        let host = authority.host().trim_start_matches('[').trim_end_matches(']');
        let is_here = host == "localhost" || host.parse().is_ok_and(|address: IpAddr| address.is_loopback());
        match scheme {
            "https" => {}
            "http" if is_here => {}
            "http" => return wrong("mailbox providers accept only https:// for unsubscribing, and http:// is for this machine"),
            _ => return wrong("it does not begin with https://"),
        }
        Ok(Self(format!("{scheme}://{authority}").into()))
    }
}

impl fmt::Display for PublicUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_people_can_reach_safely_is_taken() {
        for (text, taken) in [
            ("https://news.example.com", "https://news.example.com"),
            ("https://news.example.com/", "https://news.example.com"),
            ("https://News.example.com:8443", "https://News.example.com:8443"),
            ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
            ("http://[::1]:8080/", "http://[::1]:8080"),
            ("http://localhost", "http://localhost"),
        ] {
            assert_eq!(text.parse::<PublicUrl>().map(|url| url.to_string()), Ok(taken.to_owned()));
        }
        let long = format!("https://{}.example", "a".repeat(250));
        for (text, told) in [
            ("", "it is not a URL"),
            ("news.example.com", "it does not begin with https://"),
            ("/u", "it does not begin with https://"),
            ("https:///u", "it is not a URL"),
            ("http://news.example.com", "mailbox providers"),
            ("http://127.0.0.1.example.com", "mailbox providers"),
            ("ftp://news.example.com", "it does not begin with https://"),
            ("https://a:b@news.example.com", "it has a login"),
            ("https://news.example.com/mail", "it has a path"),
            ("https://news.example.com/?a=b", "it has a path"),
            ("https://news.example.com#a", "it has a path"),
            ("https://news.example.com> <x", "it is not a URL"),
            (&long, "it is longer"),
        ] {
            let error = text.parse::<PublicUrl>().unwrap_err();
            assert!(error.starts_with(told) && error.ends_with("https://news.example.com"), "{text}: {error}");
        }
    }
}
