//! Records as a zone file has them (RFC 1035, 5.1). Pure.

use super::answers::RecordType;

/// The longest string of a TXT record, bytes (RFC 1035, 3.3.14).
const STRING_MAX: usize = 255;
/// How long a printed record may be kept, seconds: an hour.
const TTL: u32 = 3600;

/// A record as one line, without its TTL: `example.com. TXT "v=spf1 -all"`.
#[must_use]
pub fn line(name: &str, kind: RecordType, value: &str) -> String {
    format!("{}. {} {}", name.trim_end_matches('.'), kind.as_str(), data(kind, value))
}

/// A record as a line of a zone file, with its TTL and class.
#[must_use]
pub fn record(name: &str, kind: RecordType, value: &str) -> String {
    format!("{}. {TTL} IN {} {}", name.trim_end_matches('.'), kind.as_str(), data(kind, value))
}

/// An alias as a line of a zone file.
#[must_use]
pub fn alias(name: &str, target: &str) -> String {
    format!("{}. {TTL} IN CNAME {}.", name.trim_end_matches('.'), target.trim_end_matches('.'))
}

fn data(kind: RecordType, value: &str) -> String {
    match kind {
        RecordType::Txt => strings(value),
        RecordType::A | RecordType::Aaaa => value.to_owned(),
        RecordType::Mx | RecordType::Ptr => format!("{}.", value.trim_end_matches('.')),
    }
}

/// A text as strings of at most 255 bytes, each in quotes.
fn strings(text: &str) -> String {
    let quoted = |bytes: &[u8]| {
        let mut out = String::from("\"");
        for byte in bytes {
            match byte {
                b'"' | b'\\' => out.extend(['\\', char::from(*byte)]),
                0x20..=0x7e => out.push(char::from(*byte)),
                _ => out.push_str(&format!("\\{byte:03}")),
            }
        }
        out.push('"');
        out
    };
    let parts: Vec<String> = text.as_bytes().chunks(STRING_MAX).map(quoted).collect();
    if parts.is_empty() { "\"\"".to_owned() } else { parts.join(" ") }
}
