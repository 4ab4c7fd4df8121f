//! Lines of people's files without the passwords that they typed there, for findings, which end in logs.

/// How names of fields end, in small letters and without signs, that hold what must not be shown.
const SECRETS: &[&str] = &[
    "password",
    "passwd",
    "passphrase",
    "pwd",
    "secret",
    "token",
    "apikey",
    "accesskey",
    "secretkey",
    "privatekey",
    "smtpkey",
    "secretaccesskey",
    "credentials",
    "serviceaccount",
];

/// Whether a field of this name would hold a password, a key or a token.
pub(crate) fn is_secret(name: &str) -> bool {
    let simple: String = name.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_ascii_lowercase();
    SECRETS.iter().any(|secret| simple.ends_with(secret)) || simple == "pass"
}

/// The line with `***` for the values of such fields.
pub(super) fn masked(line: &str) -> String {
    let mut out = String::new();
    let mut rest = line;
    while let Some(colon) = rest.find(':') {
        let (key, after) = rest.split_at(colon + 1);
        out.push_str(key);
        rest = after;
        let name = key[..colon].trim_end().trim_end_matches(['"', '\'']);
        let name = name.rsplit(|c: char| !(c.is_alphanumeric() || matches!(c, '_' | '-' | '.'))).next().unwrap_or_default();
        let value = rest.trim_start();
        // A mapping shows its own fields, and a block follows on other lines.
        if !is_secret(name) || value.is_empty() || value.starts_with(['{', '[', '|', '>', '#', '*', '&']) {
            continue;
        }
        out.push_str(&rest[..rest.len() - value.len()]);
        out.push_str("***");
        let is_in_braces = out.matches('{').count() > out.matches('}').count();
        rest = &value[end_of(value, is_in_braces)..];
    }
    out + rest
}

/// Where a value ends.
fn end_of(value: &str, is_in_braces: bool) -> usize {
    let quote = value.chars().next().filter(|c| matches!(c, '"' | '\''));
    if let Some(quote) = quote {
        let mut is_escaped = false;
        for (at, c) in value.char_indices().skip(1) {
            if c == quote && !is_escaped {
                return at + 1;
            }
            is_escaped = c == '\\' && quote == '"' && !is_escaped;
        }
        return value.len();
    }
    if is_in_braces { value.find([',', '}']).unwrap_or(value.len()) } else { value.len() }
}

#[cfg(test)]
mod tests {
    use super::masked;

    #[test]
    fn no_password_is_shown() {
        let cases = [
            ("auth: {username: news, password: right}", "auth: {username: news, password: ***}"),
            ("  password: a, b} c # not this", "  password: ***"),
            ("  \"apiKey\":\"SG.x,}\\\"y\",\"host\":\"h\"", "  \"apiKey\":***,\"host\":\"h\""),
            ("smtp: {host: h, serverToken: 'a}b', port: 1}", "smtp: {host: h, serverToken: ***, port: 1}"),
            ("secretRef: {name: login}", "secretRef: {name: login}"),
            ("privateKeyRef: {name: dkim, key: a}", "privateKeyRef: {name: dkim, key: a}"),
            ("  client_secret: 123", "  client_secret: ***"),
            ("password: \"open", "password: ***"),
            ("subject: 'Your token: {{ code }}'", "subject: 'Your token: {{ code }}'"),
            ("url: https://x.example/a", "url: https://x.example/a"),
            ("password: |", "password: |"),
        ];
        for (line, wanted) in cases {
            assert_eq!(masked(line), wanted, "{line}");
        }
    }
}
