//! Macros in SPF (RFC 7208, 7). Pure.

use std::net::IpAddr;

/// What macros stand for.
pub(super) struct Values<'a> {
    /// The local part of the envelope sender.
    pub local: &'a str,
    /// The domain of the envelope sender (`%{o}`).
    pub sender_domain: &'a str,
    /// The domain that is evaluated.
    pub domain: &'a str,
    /// The address of the client.
    pub ip: IpAddr,
    /// The name in EHLO.
    pub helo: &'a str,
}

/// The longest name (RFC 1035, 2.3.4).
const NAME_MAX: usize = 253;

/// Expands a text.
///
/// # Errors
/// When it is malformed.
pub(super) fn expand(text: &str, values: &Values<'_>) -> Result<String, String> {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('%') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        let wrong = || format!("the macro in `{text}` is malformed");
        match rest.chars().next().ok_or_else(wrong)? {
            '%' => out.push('%'),
            '_' => out.push(' '),
            '-' => out.push_str("%20"),
            '{' => {
                let end = rest.find('}').ok_or_else(wrong)?;
                out.push_str(&one(&rest[1..end], values).ok_or_else(wrong)?);
                rest = &rest[end..];
            }
            _ => return Err(wrong()),
        }
        rest = &rest[1..];
    }
    out.push_str(rest);
    // What is too long loses labels from its left.
    let mut name = out.trim_end_matches('.');
    while name.len() > NAME_MAX {
        name = name.split_once('.').map_or("", |(_, rest)| rest);
    }
    Ok(name.to_owned())
}

fn one(body: &str, values: &Values<'_>) -> Option<String> {
    let mut chars = body.chars();
    let letter = chars.next()?;
    let value = match letter.to_ascii_lowercase() {
        's' => format!("{}@{}", values.local, values.sender_domain),
        'l' => values.local.to_owned(),
        'o' => values.sender_domain.to_owned(),
        'd' => values.domain.to_owned(),
        'i' => dotted(values.ip),
        // Discouraged, and costly for everybody: it is not looked up.
        'p' => "unknown".to_owned(),
        'v' => if values.ip.is_ipv4() { "in-addr" } else { "ip6" }.to_owned(),
        'h' => values.helo.to_owned(),
        _ => return None,
    };
    let rest = chars.as_str();
    let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (count, rest) = rest.split_at(digits);
    let (reverse, delimiters) = rest.strip_prefix(['r', 'R']).map_or((false, rest), |rest| (true, rest));
    if !delimiters.chars().all(|c| ".-+,/_=".contains(c)) || count == "0" {
        return None;
    }
    let is_delimiter = |c: char| if delimiters.is_empty() { c == '.' } else { delimiters.contains(c) };
    let mut parts: Vec<&str> = value.split(is_delimiter).collect();
    if reverse {
        parts.reverse();
    }
    if !count.is_empty() {
        let kept = count.parse::<usize>().ok()?.min(parts.len());
        parts.drain(..parts.len() - kept);
    }
    let value = parts.join(".");
    Some(if letter.is_ascii_uppercase() { percent_encoding::utf8_percent_encode(&value, UNRESERVED).to_string() } else { value })
}

/// All but the unreserved characters of RFC 3986.
const UNRESERVED: &percent_encoding::AsciiSet = &percent_encoding::NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

fn dotted(ip: IpAddr) -> String {
    match ip {
        IpAddr::V4(ip) => ip.to_string(),
        IpAddr::V6(ip) => {
            let digits = ip.octets().into_iter().flat_map(|octet| [octet >> 4, octet & 15]);
            digits.map(|digit| format!("{digit:x}")).collect::<Vec<_>>().join(".")
        }
    }
}
