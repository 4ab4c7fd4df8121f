//! The shapes of texts, as regular expressions, and what each of them asks for in words.
//!
//! They use only what RE2 (the API server) and Rust's `regex` treat the same: ASCII classes written out, no `\d`, no `\s`.

/// A label of a domain name: letters, digits and `-` within (RFC 1123, 2.1), or letters of other alphabets (RFC 5890).
macro_rules! label {
    () => {
        r"[^\x00-\x2F\x3A-\x40\x5B-\x60\x7B-\x7F]([^\x00-\x2C\x2E-\x2F\x3A-\x40\x5B-\x60\x7B-\x7F]*[^\x00-\x2F\x3A-\x40\x5B-\x60\x7B-\x7F])?"
    };
}
macro_rules! domain {
    () => {
        concat!(label!(), r"(\.", label!(), ")*")
    };
}
/// Atoms with dots between them (RFC 5321, `Dot-string`, and RFC 6531).
macro_rules! local {
    () => {
        r#"[^\x00-\x20\x7F-\xA0"(),.:;<>@\[\\\]]+(\.[^\x00-\x20\x7F-\xA0"(),.:;<>@\[\\\]]+)*"#
    };
}
/// A day that the calendar has, from the year 1000 to 2999.
///
/// The formats `date` and `date-time` would say it shorter, and let an API server take a list for the text.
macro_rules! day {
    () => {
        concat!(
            "([12][0-9]{3}-((0[13578]|1[02])-(0[1-9]|[12][0-9]|3[01])|(0[469]|11)-(0[1-9]|[12][0-9]|30)|02-(0[1-9]|1[0-9]|2[0-8]))",
            "|([12][0-9](0[48]|[2468][048]|[13579][26])|(12|16|20|24|28)00)-02-29)"
        )
    };
}
/// A name of a time zone: words of letters, digits and signs, with slashes between them.
macro_rules! zone {
    () => {
        "[A-Za-z][-A-Za-z0-9_+]*(/[A-Za-z][-A-Za-z0-9_+]*)*"
    };
}
/// A name between two slashes that is neither `.` nor `..`, without control characters.
macro_rules! folder {
    () => {
        r"([^./\x00-\x1F\x7F-\x9F][^/\x00-\x1F\x7F-\x9F]*|\.[^./\x00-\x1F\x7F-\x9F][^/\x00-\x1F\x7F-\x9F]*|\.\.[^/\x00-\x1F\x7F-\x9F]+)"
    };
}

/// A name of an object (RFC 1123, subdomain).
pub const NAME: &str = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$";
/// A name of a namespace (RFC 1123, label).
pub const NAMESPACE: &str = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$";
/// A key of a Secret or ConfigMap.
pub const KEY: &str = r"^[-._a-zA-Z0-9]+$";
/// A name of a run.
pub const RUN: &str = r"^[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$";
/// A duration (GEP-2257).
pub const DURATION: &str = r"^([0-9]{1,5}(h|m|s|ms)){1,4}$";
/// A day.
pub const DATE: &str = concat!("^", day!(), "$");
/// A time (RFC 3339), or a local time with its zone in brackets (RFC 9557), with or without the offset.
pub const TIME_OR_LOCAL: &str = concat!(
    "^",
    day!(),
    r"T([01][0-9]|2[0-3]):[0-5][0-9](:[0-5][0-9](\.[0-9]{1,9})?(Z|[-+]([01][0-9]|2[0-3]):[0-5][0-9])",
    r"|(:[0-5][0-9](\.[0-9]{1,9})?)?([-+]([01][0-9]|2[0-3]):[0-5][0-9])?\[",
    zone!(),
    r"\])$"
);
/// A name of a time zone, as the database of the IANA has them.
pub const ZONE: &str = concat!("^", zone!(), "$");
/// A time of day, to the minute.
pub const TIME_OF_DAY: &str = r"^([01][0-9]|2[0-3]):[0-5][0-9]$";
/// The end of a span of a day: a time of day, or midnight at its end.
pub const END_OF_SPAN: &str = r"^(([01][0-9]|2[0-3]):[0-5][0-9]|24:00)$";
/// A domain name.
pub const DOMAIN: &str = concat!("^", domain!(), "$");
/// A DKIM selector.
pub const SELECTOR: &str = r"^[A-Za-z0-9]([-A-Za-z0-9]*[A-Za-z0-9])?(\.[A-Za-z0-9]([-A-Za-z0-9]*[A-Za-z0-9])?)*$";
/// A bare address.
pub const ADDRESS: &str = concat!("^", local!(), "@", domain!(), "$");
/// Text that becomes a header field.
pub const ONE_LINE: &str = r"^[^\x00\r\n]*$";
/// Text that is more than blanks.
pub const NOT_BLANK: &str = r"[^ \t\r\n]";
/// A name of a header field (RFC 5322, 3.6.8).
pub const HEADER_NAME: &str = r"^[!-9;-~]+$";
/// A name of a header field of HTTP: a token (RFC 9110, 5.6.2).
pub const HTTP_HEADER: &str = r"^[!#$%&'*+.^_`|~0-9A-Za-z-]+$";
/// An http or https URL with a host and without a login.
pub const URL: &str = r"^https?://[^/?#@\x00-\x20\x7F]+([/?#][^\x00-\x20\x7F]*)?$";
/// The base of an API: https, or http on this machine, without a login, a query and a fragment.
pub const ENDPOINT: &str =
    r"^(https://[^/?#@\x00-\x20\x7F]+|http://(localhost|127\.0\.0\.1|\[::1\])(:[0-9]{1,5})?)(/[^?#\x00-\x20\x7F]*)?$";
/// A name at a vendor (a tag, a pool, a stream): letters, digits and some signs.
pub const LABEL: &str = r"^[A-Za-z0-9][-A-Za-z0-9_. ]*$";
/// A region of AWS, such as `eu-central-1`.
pub const AWS_REGION: &str = r"^[a-z]{2}(-[a-z]+)+-[0-9]$";
/// A name that AWS gives out for its own things.
pub const AWS_NAME: &str = r"^[A-Za-z0-9_-]+$";
/// The ARN of a topic of SNS.
pub const AWS_TOPIC: &str = r"^arn:aws(-[a-z]+)*:sns:[a-z]{2}(-[a-z]+)+-[0-9]:[0-9]{12}:[A-Za-z0-9_-]+(\.fifo)?$";
/// Base64 (RFC 4648) with its padding.
pub const BASE64: &str = r"^[A-Za-z0-9+/]+={0,2}$";
/// The ARN of an identity that sends.
pub const AWS_IDENTITY: &str = r"^arn:aws[a-z-]*:ses:[a-z0-9-]+:[0-9]{12}:identity/[^/\x00-\x20\x7F]+$";
/// The URL of an unsubscribe page, a template; it may begin with one.
pub const UNSUBSCRIBE_URL: &str = r"^(https://|http://|mailto:|\{\{|\{%)[^\x00\r\n]*$";
/// A host name, an IPv4 address, or an IPv6 address with or without brackets.
pub const HOST: &str = r"^([A-Za-z0-9_-]{1,63}(\.[A-Za-z0-9_-]{1,63})*\.?|[0-9A-Fa-f]*:[0-9A-Fa-f:.]+|\[[0-9A-Fa-f]*:[0-9A-Fa-f:.]+\])$";
/// An IPv4 or IPv6 address, without a zone and without IPv4 within IPv6.
pub const IP: &str = concat!(
    r"^((25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])(\.(25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])){3}",
    r"|([0-9A-Fa-f]{1,4}:){7}[0-9A-Fa-f]{1,4}|([0-9A-Fa-f]{1,4}:){1,7}:|([0-9A-Fa-f]{1,4}:){1,6}:[0-9A-Fa-f]{1,4}|([0-9A-Fa-f]{1,4}:){1,5}(:[0-9A-Fa-f]{1,4}){1,2}|([0-9A-Fa-f]{1,4}:){1,4}(:[0-9A-Fa-f]{1,4}){1,3}|([0-9A-Fa-f]{1,4}:){1,3}(:[0-9A-Fa-f]{1,4}){1,4}|([0-9A-Fa-f]{1,4}:){1,2}(:[0-9A-Fa-f]{1,4}){1,5}|[0-9A-Fa-f]{1,4}:(:[0-9A-Fa-f]{1,4}){1,6}|:((:[0-9A-Fa-f]{1,4}){1,7}|:))$"
);
/// A folder of a mailbox: visible ASCII and blanks, as IMAP writes names on the wire (RFC 3501, 5.1.3).
pub const FOLDER_NAME: &str = r"^[ -~]+$";
/// The argument of EHLO.
pub const HELO: &str = r"^[!-~]+$";
/// What a certificate is issued to: a host name, or an IPv6 address.
pub const CERTIFICATE_NAME: &str =
    r"^([A-Za-z0-9_]([-A-Za-z0-9_]{0,62})(\.[A-Za-z0-9_]([-A-Za-z0-9_]{0,62}))*\.?|[0-9A-Fa-f]*:[0-9A-Fa-f:.]+)$";
/// The absolute path of a program, without `.` and `..`.
pub const PROGRAM: &str = concat!("^(/", folder!(), ")+$");
/// A relative path without `.` and `..`.
pub const INNER_PATH: &str = concat!("^", folder!(), "(/", folder!(), ")*$");

/// A pointer into JSON (RFC 6901); the empty one is the whole.
pub const JSON_POINTER: &str = r"^(/([^/~\x00-\x1F]|~[01])*)*$";
/// The name of a parameter of a query, as it is written there.
pub const QUERY_PARAMETER: &str = r"^[A-Za-z0-9._~$\[\]-]+$";
/// What separates the columns of a table.
pub const DELIMITER: &str = r"^[,;|\t]$";
/// A path relative to the file that names it.
pub const RELATIVE_PATH: &str = r"^[^/\x00-\x1F\x7F][^\x00-\x1F\x7F]*$";

/// A media type (RFC 2045, 5.1), perhaps with parameters.
pub const MEDIA_TYPE: &str =
    r#"^[A-Za-z0-9!#$&^_.+-]+/[A-Za-z0-9!#$&^_.+-]+ *(; *[A-Za-z0-9!#$&^_.+*-]+ *= *([A-Za-z0-9!#$&^_.+*'`|~-]+|"[ !#-\[\]-~]+") *)*$"#;
/// The id of a part of a message (RFC 2392), without angle brackets.
pub const CONTENT_ID: &str = r"^[A-Za-z0-9!#$*+._=-]+(@[A-Za-z0-9._-]+)?$";
/// A share of 0 to 100 percent, as text, with at most three decimals.
pub const PERCENT: &str = r"^(100(\.0{1,3})?|[1-9]?[0-9](\.[0-9]{1,3})?)$";

/// What each pattern asks for, written after the quoted value.
pub const MEANINGS: &[(&str, &str)] = &[
    (NAME, "is not a name: lowercase letters, digits, `-` and `.`, each part with a letter or digit at both ends (RFC 1123)"),
    (NAMESPACE, "is not a namespace: lowercase letters, digits and `-`, with a letter or digit at both ends (RFC 1123)"),
    (KEY, "is not a key: letters, digits, `-`, `_` and `.`"),
    (PERCENT, "is not a percentage; write a text from \"0\" to \"100\" with at most three decimals, like \"0.3\""),
    (RUN, "is not a run: letters, digits, `-`, `_` and `.`, with a letter or digit at both ends"),
    (DURATION, "is not a duration; write a whole number and a unit (h, m, s or ms), for example `30s` or `1h30m`"),
    (DATE, "is not a date; write it like 2026-12-01"),
    (TIME_OR_LOCAL, "is not a time; write it like 2026-12-01T08:00:00Z (RFC 3339), or with a zone like 2026-12-01T08:00[Europe/Berlin]"),
    (ZONE, "is not a name of a time zone; write it like Europe/Berlin"),
    (TIME_OF_DAY, "is not a time of day; write it in quotes like \"08:00\""),
    (END_OF_SPAN, "is not a time of day; write it in quotes like \"18:00\", up to \"24:00\""),
    (DOMAIN, "is not a domain name; write it like news.example.com"),
    (SELECTOR, "is not a selector; letters, digits and `-`, for example s1"),
    (ADDRESS, "is not an address; write it like news@example.com, and the display name in `name`"),
    (ONE_LINE, "has several lines; this becomes a header field, and must be one line"),
    (NOT_BLANK, "is empty; write it, or leave the field out"),
    (HEADER_NAME, "is not a header name: letters, digits and `-`, without spaces and colons"),
    (HTTP_HEADER, "is not the name of an HTTP header: letters, digits and `-`, without spaces and colons"),
    (URL, "is not a URL that can be fetched; write it like https://example.com/subscribers.csv"),
    (ENDPOINT, "is not the address of an API; write it like https://api.example.com (http only for localhost)"),
    (LABEL, "is not a name at a vendor: letters, digits, `-`, `_`, `.` and spaces, with a letter or digit first"),
    (AWS_REGION, "is not a region of AWS; write it like eu-west-1"),
    (AWS_NAME, "is not a name at AWS: letters, digits, `-` and `_`"),
    (AWS_IDENTITY, "is not the ARN of an identity; write it like arn:aws:ses:eu-west-1:123456789012:identity/shop.example"),
    (AWS_TOPIC, "is not the ARN of a topic; write it like arn:aws:sns:eu-west-1:123456789012:feedback"),
    (BASE64, "is not base64: letters, digits, `+` and `/` on one line, as the vendor shows the key"),
    (UNSUBSCRIBE_URL, "is not a URL of one line; it must begin with https://, http:// or mailto:"),
    (HOST, "is not a host name or address; write it like smtp.example.com, without the port, other alphabets as `xn--`"),
    (IP, "is not an IP address; write it like 203.0.113.25 or 2001:db8::25, without a prefix length"),
    (FOLDER_NAME, "is not a folder as an IMAP server lists it: ASCII letters, digits, signs and blanks (other letters in modified UTF-7)"),
    (HELO, "is not a host name like mail.example.com, or an address in brackets"),
    (CERTIFICATE_NAME, "is not a host name or address as certificates have it"),
    (PROGRAM, "is not the path of a program; write it from the root, like /usr/sbin/sendmail"),
    (JSON_POINTER, "is not a JSON pointer; write it like /data/results, each part after a `/`"),
    (QUERY_PARAMETER, "is not the name of a parameter; write it like cursor, without `?`, `&` and `=`"),
    (DELIMITER, "separates no columns; write `,`, `;`, `|` or a tab (\"\\t\")"),
    (MEDIA_TYPE, "is not a media type; write it like application/pdf or text/calendar; method=REQUEST"),
    (CONTENT_ID, "is not the id of an inline file; write it without `cid:`, like logo"),
    (RELATIVE_PATH, "is not a relative path; write it as seen from this file, like mails/spring.html"),
    (INNER_PATH, "is not a folder inside the state folder, like outbox/shop/preview: not absolute, and without `.` and `..`"),
];

/// What a pattern asks for.
#[must_use]
pub fn meaning(pattern: &str) -> Option<&'static str> {
    MEANINGS.iter().find(|(known, _)| *known == pattern).map(|(_, meaning)| *meaning)
}
