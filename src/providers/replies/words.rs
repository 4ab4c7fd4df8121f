//! An answer's words as the table reads them: lowercased, with signs in place of the addresses and names that servers quote.

use crate::providers::Answer;

/// The words of an answer, ready for the look-up.
pub struct Words {
    /// Lowercased, with a sign for each address and name.
    full: String,
    /// Without addresses, host names and links: `relay@quota.example` or `corporate.example` means nothing.
    plain: String,
    /// The enhanced status code: `5.7.1`.
    code: Option<String>,
}

const SENDER: &str = "{sender}";
const RECIPIENT: &str = "{recipient}";

impl Words {
    pub fn of(answer: &Answer<'_>) -> Self {
        let text = answer.words.replace(['\u{2019}', '\u{2018}'], "'").to_lowercase();
        let code = answer.enhanced.map(str::to_owned).or_else(|| marked_code(&text));
        // What the next server said to ours follows this, and is not about us (Postfix: "host x said: 554 ...").
        let text = text.split_once(" said: ").map_or(text.as_str(), |(before, _)| before);
        let mut text = text.to_owned();
        for (address, sign) in [(answer.recipient, RECIPIENT), (answer.sender, SENDER)] {
            if !address.is_empty() {
                text = replace(&text, &address.to_lowercase(), sign);
            }
        }
        // Lines of one reply each begin with the enhanced code.
        let is_code = |word: &str| code.as_deref() == Some(word);
        let mut words: Vec<&str> = text.split_whitespace().filter(|word| !is_code(word)).collect();
        if matches!(answer.code, 220 | 421)
            && matches!(words.get(1..3), Some(["service", "not" | "closing" | "ready"] | ["error:" | "closing", _]))
        {
            // RFC 5321, 4.2.3: the server's own name comes first.
            words.remove(0);
        }
        let full: Vec<&str> = words.iter().map(|word| if is_address(word) { "{address}" } else { word }).collect();
        let plain: Vec<&str> = full.iter().map(|word| if is_name(word) { "{host}" } else { word }).collect();
        Self { full: full.join(" "), plain: plain.join(" "), code }
    }

    /// Whether a fragment occurs, at word boundaries.
    pub fn have(&self, fragment: &str) -> bool {
        let text = if fragment.contains(['.', '/']) { &self.full } else { &self.plain };
        let (fragment, goes_on) = fragment.strip_suffix('*').map_or((fragment, false), |fragment| (fragment, true));
        let borders = |a: Option<char>, b: Option<char>| !(a.is_some_and(is_of_word) && b.is_some_and(is_of_word));
        text.match_indices(fragment).any(|(at, found)| {
            let (before, after) = (text[..at].chars().next_back(), text[at + found.len()..].chars().next());
            borders(before, found.chars().next()) && (goes_on || borders(found.chars().next_back(), after))
        })
    }

    /// Whether the enhanced code is this one: `5.1.8`, or `1.8` of whatever class.
    pub fn has_code(&self, wanted: &str) -> bool {
        let Some(code) = &self.code else { return false };
        code == wanted || code.split_once('.').is_some_and(|(_, rest)| rest == wanted)
    }

    /// Whether the sender is quoted, and the recipient is not.
    pub fn quotes_sender_only(&self) -> bool {
        self.full.contains(SENDER) && !self.full.contains(RECIPIENT)
    }
}

/// Letters of scripts that put spaces between words; in others every letter is a word boundary.
fn is_of_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || c.is_alphabetic() && c < '\u{0590}'
}

/// An enhanced code that is not at the start: `(#5.1.1)`, as qmail, Cisco and Symantec write it.
fn marked_code(text: &str) -> Option<String> {
    let (_, rest) = text.split_once('#')?;
    let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
    let code = rest[..end].trim_end_matches('.');
    let parts: Vec<&str> = code.split('.').collect();
    let is_code = parts.len() == 3 && matches!(parts[0], "4" | "5") && parts.iter().all(|part| (1..=3).contains(&part.len()));
    is_code.then(|| code.to_owned())
}

/// Replaces an address where it is not the start or end of a longer one.
fn replace(text: &str, address: &str, sign: &str) -> String {
    let is_of_address = |c: char| c.is_alphanumeric() || matches!(c, '@' | '_' | '-' | '+');
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    let mut before: Option<char> = None;
    while let Some(at) = rest.find(address) {
        let behind = &rest[at + address.len()..];
        before = rest[..at].chars().next_back().or(before);
        let mut next = behind.chars();
        let (first, second) = (next.next(), next.next());
        let goes_on = first.is_some_and(is_of_address) || first == Some('.') && second.is_some_and(char::is_alphanumeric);
        out.push_str(&rest[..at]);
        // Signs are words, whatever they touched (`address=u@example.com`).
        let starts_before = before.is_some_and(|c| is_of_address(c) || c == '.');
        if goes_on || starts_before {
            out.push_str(address);
        } else {
            out.extend([" ", sign, " "]);
        }
        before = address.chars().next_back();
        rest = behind;
    }
    out.push_str(rest);
    out
}

fn bare(word: &str) -> &str {
    word.trim_matches(|c: char| !c.is_alphanumeric() && c != '@')
}

fn is_address(word: &str) -> bool {
    bare(word).split_once('@').is_some_and(|(_, domain)| !domain.is_empty())
}

/// A host name, or a link.
fn is_name(word: &str) -> bool {
    if word.contains("://") {
        return true;
    }
    let host = bare(word).split(['[', ':', '/', '(']).next().unwrap_or_default();
    let is_label = |label: &str| !label.is_empty() && label.chars().all(|c| c.is_alphanumeric() || matches!(c, '-' | '_'));
    // `STOREDRV.Submission.Exception:...` is none.
    let is_whole = bare(word).len() == host.len() || bare(word)[host.len()..].starts_with(['[', '/', '(']) || ends_with_port(bare(word));
    let mut labels = host.rsplit('.');
    let is_top = |label: &str| label.len() > 1 && label.chars().all(char::is_alphanumeric) && !label.chars().all(|c| c.is_ascii_digit());
    is_whole && host.contains('.') && labels.next().is_some_and(is_top) && labels.all(is_label)
}

fn ends_with_port(word: &str) -> bool {
    word.rsplit_once(':').is_some_and(|(_, port)| !port.is_empty() && port.chars().all(|c| c.is_ascii_digit()))
}
