//! Fields as header sections and reports have them: names, values over several lines, addresses within them. Pure.

/// The bytes of a header section that are looked at.
const HEADER_MAX: usize = 64 * 1024;
/// The fields of one section.
const FIELDS_MAX: usize = 500;
/// Addresses of one value.
const ADDRESSES_MAX: usize = 16;

/// Fields in their order: names in lower case, values unfolded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fields(Vec<(String, String)>);

impl Fields {
    /// The header section of a message, up to the empty line.
    #[must_use]
    pub fn of_header(raw: &[u8]) -> Self {
        let text = String::from_utf8_lossy(&raw[..raw.len().min(HEADER_MAX)]);
        Self::groups(&text).next().unwrap_or_default()
    }

    /// The groups of a report, which empty lines part (RFC 3464, 2.1).
    pub fn groups(text: &str) -> impl Iterator<Item = Self> + '_ {
        let mut lines = text.lines().peekable();
        std::iter::from_fn(move || {
            while lines.next_if(|line| line.trim().is_empty()).is_some() {}
            lines.peek()?;
            let mut fields: Vec<(String, String)> = Vec::new();
            while let Some(line) = lines.next_if(|line| !line.trim().is_empty()) {
                if line.starts_with([' ', '\t']) {
                    if let Some((_, value)) = fields.last_mut() {
                        value.push(' ');
                        value.push_str(line.trim());
                    }
                } else if let Some((name, value)) = line.split_once(':')
                    && fields.len() < FIELDS_MAX
                {
                    fields.push((name.trim().to_ascii_lowercase(), value.trim().to_owned()));
                }
            }
            Some(Self(fields))
        })
    }

    /// The first value of a name in lower case.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.iter().find(|(known, _)| *known == name).map(|(_, value)| value)
    }

    /// All values of a name in lower case.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.iter().filter(move |(known, _)| *known == name).map(|(_, value)| value)
    }

    /// Names and values.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

/// A Message-ID without its angle brackets.
#[must_use]
pub fn message_id(value: &str) -> Option<String> {
    let inner = value.split_once('<').map_or(value, |(_, rest)| rest);
    let id = inner.split(['>', ' ', '\t']).next().unwrap_or_default();
    (id.len() > 2 && id.len() <= 998 && id.contains('@')).then(|| id.to_owned())
}

/// The addresses in a text: whatever has an `@` between letters.
pub fn addresses(text: &str) -> impl Iterator<Item = String> + '_ {
    text.split(|c: char| c.is_whitespace() || "<>,;\"'()[]{}|".contains(c)).filter_map(address).take(ADDRESSES_MAX)
}

/// One word as an address, without the signs around it.
#[must_use]
pub fn address(word: &str) -> Option<String> {
    let word = word.strip_prefix("mailto:").or_else(|| word.strip_prefix("MAILTO:")).unwrap_or(word);
    let word = word.trim_matches(|c: char| !(c.is_alphanumeric() || "_-+#!$%&*/?^`{}~".contains(c)));
    let (local, domain) = word.rsplit_once('@')?;
    let is_label = |c: char| c.is_alphanumeric() || matches!(c, '-' | '.' | '_');
    let is_good = !local.is_empty() && local.len() <= 128 && domain.len() <= 255 && !domain.is_empty();
    (is_good && domain.chars().all(is_label) && !local.contains(['@', ':', '\\'])).then(|| word.to_owned())
}

/// The address of a field `TYPE; ADDRESS` of a report (RFC 3464, 2.3.1; RFC 6533, 3 for `utf-8`).
#[must_use]
pub fn typed_address(value: &str) -> Option<String> {
    let (kind, address) = value.split_once(';').unwrap_or(("", value));
    let address =
        address.split_once(';').filter(|(kind, _)| kind.trim().eq_ignore_ascii_case("rfc822")).map_or(address, |(_, address)| address);
    let decoded = if kind.trim().eq_ignore_ascii_case("utf-8") { unescaped(address) } else { address.to_owned() };
    let inner = decoded.split_once('<').and_then(|(_, rest)| rest.split_once('>')).map_or(decoded.as_str(), |(inner, _)| inner);
    addresses(inner).next()
}

/// `\x{HEX}` as the character (RFC 6533, 3).
fn unescaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("\\x{") {
        out.push_str(before);
        let character =
            after.split_once('}').and_then(|(hex, tail)| Some((u32::from_str_radix(hex, 16).ok().and_then(char::from_u32)?, tail)));
        if let Some((character, tail)) = character {
            out.push(character);
            rest = tail;
        } else {
            out.push_str("\\x{");
            rest = after;
        }
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_unfolded_and_groups_parted() {
        let groups: Vec<_> = Fields::groups("\r\n\r\nA: 1\r\n 2\r\nb:3\r\n\r\n \r\nnothing\r\nC : 4\r\n").collect();
        let values: Vec<Vec<_>> = groups.iter().map(|group| group.iter().collect()).collect();
        assert_eq!(values, [vec![("a", "1 2"), ("b", "3")], vec![("c", "4")]]);
        assert_eq!(Fields::of_header(b"").get("a"), None);
    }

    #[test]
    fn addresses_are_found_in_what_surrounds_them() {
        for (text, wanted) in [
            ("rfc822; u@example.com", "u@example.com"),
            ("RFC822;<u@example.com>", "u@example.com"),
            ("rfc822;rfc822;u@example.com", "u@example.com"),
            ("u@example.com (expanded from: x)", "u@example.com"),
            ("utf-8;d\\x{F6}rte@example.com", "dörte@example.com"),
            ("utf-8; dörte@bücher.example", "dörte@bücher.example"),
            ("rfc822; \"u\" <u+a=b.c@example.com.>", "u+a=b.c@example.com"),
        ] {
            assert_eq!(typed_address(text).as_deref(), Some(wanted), "{text}");
        }
        assert_eq!(addresses("<a@b.example>: or mailto:c@d.example, @, e@, @f").collect::<Vec<_>>(), ["a@b.example", "c@d.example"]);
        assert_eq!(message_id(" <a.b@c> (x)").as_deref(), Some("a.b@c"));
        assert_eq!(message_id("<>"), None);
    }
}
