//! Whether two refusals say the same about different recipients. Pure.
//!
//! Servers put the recipient, a queue ID, a time or a link into their replies. Whatever is specific to one message is masked; the
//! rest is compared word by word, in any language.

/// The most words of a refusal that are compared.
const WORDS_MAX: usize = 48;
/// The percentage of their words that two refusals must share to be alike.
const SHARED_PERCENT: usize = 70;

/// A refusal without the parts that are specific to one message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Likeness {
    /// The reply code, and the enhanced status code if there is one.
    codes: Vec<String>,
    /// The words in lowercase, sorted.
    words: Vec<String>,
}

impl Likeness {
    /// The likeness of a reply to a message for `recipient`.
    #[must_use]
    pub fn of(reply: &str, recipient: &str) -> Self {
        let recipient = recipient.to_lowercase();
        let (local, domain) = recipient.rsplit_once('@').unwrap_or((&recipient, ""));
        let reply = reply.to_lowercase();
        let mut rest = reply.as_str();
        let mut codes = Vec::new();
        for is_code in [is_code, is_enhanced] {
            let word = rest.split([' ', '-']).next().unwrap_or_default();
            if is_code(word) {
                codes.push(word.to_owned());
                rest = rest[word.len()..].trim_start_matches([' ', '-']);
            }
        }
        let mut words: Vec<String> = rest
            .split(|c: char| {
                c.is_whitespace() || matches!(c, '<' | '>' | '(' | ')' | '[' | ']' | '{' | '}' | '"' | '\'' | ',' | ';' | ':' | '=')
            })
            .map(|word| word.trim_matches(|c: char| !c.is_alphanumeric()))
            .filter(|word| !word.is_empty() && !is_particular(word, local, domain))
            .take(WORDS_MAX)
            .map(str::to_owned)
            .collect();
        words.sort_unstable();
        Self { codes, words }
    }

    /// Whether both say the same.
    #[must_use]
    pub fn is_like(&self, other: &Self) -> bool {
        if self.codes.first() != other.codes.first() {
            return false;
        }
        let all = self.words.len() + other.words.len();
        if all == 0 {
            return self.codes == other.codes;
        }
        let (mut a, mut b, mut shared) = (0, 0, 0);
        while let (Some(x), Some(y)) = (self.words.get(a), other.words.get(b)) {
            match x.cmp(y) {
                std::cmp::Ordering::Less => a += 1,
                std::cmp::Ordering::Greater => b += 1,
                std::cmp::Ordering::Equal => {
                    shared += 1;
                    a += 1;
                    b += 1;
                }
            }
        }
        2 * shared * 100 >= all * SHARED_PERCENT
    }
}

fn is_code(word: &str) -> bool {
    word.len() == 3 && word.bytes().all(|byte| byte.is_ascii_digit())
}

fn is_enhanced(word: &str) -> bool {
    word.split('.').count() == 3 && word.split('.').all(|part| (1..=3).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_digit()))
}

/// Whether a word differs from one message to the next: an address, a number, an ID, a host or a link.
fn is_particular(word: &str, local: &str, domain: &str) -> bool {
    let is_consonants = || {
        word.len() >= 6
            && word.bytes().all(|byte| byte.is_ascii_alphabetic())
            && !word.bytes().any(|byte| matches!(byte, b'a' | b'e' | b'i' | b'o' | b'u' | b'y'))
    };
    word.contains('@')
        || word == local
        || word == domain
        || word.chars().any(char::is_numeric)
        || word.contains("//")
        || (word.contains('.') && !word.ends_with('.') && word.split('.').all(|part| !part.is_empty()))
        || is_consonants()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_particular_to_a_message_is_not_compared() {
        let alike = [
            (
                "550 5.7.1 <ann@a.example>: kein Zutritt fuer Kunde 4711, Vorgang 9F3A-1",
                "550 5.7.1 <bob@b.example>: kein Zutritt fuer Kunde 4712, Vorgang 77BC-9",
            ),
            ("554 ann refused [x7Gq] at 12:01", "554 bob refused [kk2P] at 12:02"),
            ("550 отказано ann@a.example в обслуживании", "550 отказано bob@b.example в обслуживании"),
            ("550 对不起 ann@a.example 拒绝", "550 对不起 bob@b.example 拒绝"),
            ("550", "550"),
            ("550 ann@a.example", "550 bob@b.example"),
            ("550-first line\n550 see https://x.example/p/1", "550-first line\n550 see https://x.example/p/2"),
        ];
        for (a, b) in alike {
            assert!(Likeness::of(a, "ann@a.example").is_like(&Likeness::of(b, "bob@b.example")), "{a} / {b}");
        }
    }

    #[test]
    fn different_words_or_codes_are_not_alike() {
        let different = [
            ("550 kein Zutritt", "554 kein Zutritt"),
            ("550 the mailbox is closed for ever", "550 we dislike your whole company"),
            ("550 account moved away", "550 gone"),
        ];
        for (a, b) in different {
            assert!(!Likeness::of(a, "ann@a.example").is_like(&Likeness::of(b, "bob@b.example")), "{a} / {b}");
        }
    }
}
