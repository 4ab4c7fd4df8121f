//! Placeholders, links and images. Pure.

use std::net::IpAddr;

use super::{Check, Concern};

/// An `<a>`: where it leads, and what it shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Link {
    pub href: String,
    pub shown: String,
}

/// An `<img>`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Image {
    pub src: String,
    pub has_alt: bool,
}

/// How placeholders begin and end, in the templates of this and other mailers.
const PLACEHOLDERS: [(&str, &str); 7] =
    [("{{", "}}"), ("{%", "%}"), ("*|", "|*"), ("${", "}"), ("%%", "%%"), ("[%", "%]"), ("%7B%7B", "%7D%7D")];
/// The longest placeholder, bytes.
const PLACEHOLDER_MAX: usize = 60;

/// Hosts that shorten anybody's links.
const SHORTENERS: &[&str] = &[
    "bit.ly",
    "buff.ly",
    "cutt.ly",
    "goo.gl",
    "is.gd",
    "ow.ly",
    "rb.gy",
    "rebrand.ly",
    "shorturl.at",
    "t.co",
    "t.ly",
    "tiny.cc",
    "tinyurl.com",
];
/// Endings of files that some mail programs show as no image, by caniemail.com.
const FORMATS: &[&str] = &["apng", "avif", "heic", "heif", "ico", "mp4", "svg", "tif", "tiff", "webp"];

/// Placeholders that nothing was put into.
pub(super) fn placeholders(text: &str) -> impl Iterator<Item = String> {
    PLACEHOLDERS.iter().flat_map(move |(begin, end)| {
        text.match_indices(begin).filter_map(move |(at, _)| {
            let inside = &text[at + begin.len()..];
            let length = inside.find(end).filter(|length| (1..=PLACEHOLDER_MAX).contains(length))?;
            let name = &inside[..length];
            let is_name = |c: char| c.is_alphanumeric() || " _-.:|'\"(),%[]+/=!<>&;".contains(c);
            (name.chars().any(char::is_alphabetic) && name.chars().all(is_name)).then(|| format!("{begin}{name}{end}"))
        })
    })
}

/// What hurts of a link.
pub(super) fn of_link(link: &Link) -> Vec<Concern> {
    let Link { href, shown } = link;
    let scheme = scheme_of(href);
    let broken = |why: &str| vec![Concern::of(Check::BrokenLink, format!("the link to `{}` {why}", brief(href)))];
    match scheme.as_deref() {
        Some("mailto" | "tel" | "sms") => return Vec::new(),
        Some("http" | "https") => {}
        Some(_) => return broken("cannot be followed from a mail program"),
        None if href.is_empty() => return vec![Concern::of(Check::BrokenLink, format!("the link of `{}` is empty", brief(shown.trim())))],
        // A place in the message itself.
        None if href.starts_with('#') && href.len() > 1 => return Vec::new(),
        None => return broken("has no host"),
    }
    let Some(host) = host_of(href) else { return broken("has no host") };
    if is_private(&host) {
        return broken("leads to a host of your own network");
    }
    let mut concerns = Vec::new();
    if scheme.as_deref() == Some("http") {
        concerns.push(Concern::of(Check::InsecureLink, format!("the link to `{}` is without encryption", brief(href))));
    }
    if SHORTENERS.contains(&&*host) {
        concerns.push(Concern::of(Check::Shortener, format!("the link to `{}` is a shortener's", brief(href))));
    }
    if let Some(claimed) = shown_host(shown)
        && !is_same_site(&claimed, &host)
    {
        concerns.push(Concern::of(Check::MisleadingLink, format!("a link shows {claimed} and leads to {host}")));
    }
    concerns
}

/// What hurts of an image.
pub(super) fn of_image(image: &Image) -> Vec<Concern> {
    let Image { src, has_alt } = image;
    let name = brief(src);
    let mut concerns = Vec::new();
    let broken = match scheme_of(src).as_deref() {
        Some("https" | "cid") => None,
        Some("http") => Some("is loaded without encryption"),
        Some("data") => Some("is embedded in the HTML (`data:`), which Gmail and Outlook do not show"),
        _ if src.is_empty() => Some("has no `src`"),
        _ => Some("has no host"),
    };
    concerns.extend(broken.map(|why| Concern::of(Check::BrokenImage, format!("the image `{name}` {why}"))));
    if !has_alt {
        concerns.push(Concern::of(Check::NoAlt, format!("the image `{name}` has no `alt`")));
    }
    let path = src.split(['?', '#']).next().unwrap_or_default().to_ascii_lowercase();
    if let Some((_, ending)) = path.rsplit_once('.')
        && FORMATS.contains(&ending)
    {
        concerns.push(Concern::of(Check::ImageFormat, format!("the image `{name}` is {}", ending.to_ascii_uppercase())));
    }
    concerns
}

/// The scheme of an absolute URL, in small letters (RFC 3986, 3.1).
fn scheme_of(url: &str) -> Option<String> {
    let (scheme, _) = url.split_once(':')?;
    let is_scheme =
        scheme.starts_with(|c: char| c.is_ascii_alphabetic()) && scheme.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c));
    is_scheme.then(|| scheme.to_ascii_lowercase())
}

/// The host of an absolute URL, in small letters, without its port.
fn host_of(url: &str) -> Option<String> {
    let authority = url.split_once("://")?.1.split(['/', '?', '#']).next()?;
    let host = authority.rsplit('@').next()?;
    let host = match host.strip_prefix('[') {
        Some(address) => address.split(']').next()?,
        None => host.split(':').next()?,
    };
    Some(host.to_lowercase()).filter(|host| !host.is_empty())
}

/// Whether nobody outside can reach a host.
fn is_private(host: &str) -> bool {
    if let Ok(address) = host.parse::<IpAddr>() {
        return match address {
            IpAddr::V4(address) => address.is_loopback() || address.is_private() || address.is_link_local() || address.is_unspecified(),
            IpAddr::V6(address) => {
                address.is_loopback() || address.is_unique_local() || address.is_unicast_link_local() || address.is_unspecified()
            }
        };
    }
    // RFC 6761, and a name without a dot.
    !host.contains('.') || [".localhost", ".local", ".internal", ".lan", ".test", ".invalid"].iter().any(|end| host.ends_with(end))
}

/// The host that the text of a link shows, if that looks like an address of the web.
fn shown_host(shown: &str) -> Option<String> {
    let shown = shown.trim();
    if shown.is_empty() || shown.contains(char::is_whitespace) || shown.contains('@') {
        return None;
    }
    let host = match shown.split_once("://") {
        Some(_) => host_of(shown)?,
        None => shown.split(['/', '?', '#', ':']).next()?.to_lowercase(),
    };
    let (name, top) = host.rsplit_once('.')?;
    let is_host = name.chars().all(|c| c.is_alphanumeric() || "-.".contains(c)) && top.len() >= 2 && top.chars().all(char::is_alphabetic);
    // `Shop.GmbH` or `index.html` are no hosts; a scheme or `www.` says that it is meant as one.
    (is_host && (shown.contains("://") || host.starts_with("www."))).then_some(host)
}

/// Whether both are of one site: equal, or one below the other.
fn is_same_site(one: &str, other: &str) -> bool {
    let bare = |host: &str| host.strip_prefix("www.").unwrap_or(host).to_owned();
    let (one, other) = (bare(one), bare(other));
    let below = |low: &str, high: &str| low.strip_suffix(high).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'));
    below(&one, &other) || below(&other, &one)
}

/// A URL without what differs from person to person, short enough for a line.
fn brief(url: &str) -> String {
    let mark: &[char] = if url.starts_with("data:") { &[','] } else { &['?', '#'] };
    let url = url.split(mark).next().filter(|url| !url.is_empty()).unwrap_or(url);
    let mut brief: String = url.chars().filter(|c| !c.is_control()).take(60).collect();
    if url.chars().count() > 60 {
        brief.push('…');
    }
    brief
}
