//! Enhanced status codes (RFC 3463), and the codes before the words of a reply. Pure.

/// An enhanced status code (RFC 3463).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status {
    /// 2 for success, 4 for a temporary failure, 5 for a permanent one.
    pub class: u8,
    /// What it is about.
    pub subject: u16,
    /// What exactly.
    pub detail: u16,
}

impl Status {
    /// The code at the beginning of a text.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim_start().trim_start_matches(['#', '(']);
        let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
        let code = text[..end].trim_end_matches('.');
        let mut parts = code.split('.');
        let mut number = || parts.next().filter(|part| (1..=3).contains(&part.len())).and_then(|part| part.parse::<u16>().ok());
        let (class, subject, detail) = (number()?, number()?, number()?);
        let is_code = matches!(class, 2 | 4 | 5) && subject <= 7 && parts.next().is_none();
        is_code.then(|| Self { class: u8::try_from(class).unwrap_or(5), subject, detail })
    }

    /// Whether it only says that something failed.
    #[must_use]
    pub const fn is_generic(self) -> bool {
        matches!((self.subject, self.detail), (0 | 5 | 3, 0))
    }

    /// Whether no words make this a hard bounce: policy and content (7, 6), the network and its routes (4), systems (3, except that
    /// some servers say of every refusal that it is 5.3.0), a mailbox that is full.
    #[must_use]
    pub const fn is_not_of_the_address(self) -> bool {
        matches!((self.subject, self.detail), (4 | 6 | 7, _) | (3, 1..) | (2, 2..=4))
    }
}

impl std::fmt::Display for Status {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}.{}", self.class, self.subject, self.detail)
    }
}

/// The code of SMTP (0 without one), the enhanced one and the words after them; what a vendor puts before them (`smtp;`) is left out.
#[must_use]
pub fn codes_before(words: &str) -> (u16, Option<&str>, &str) {
    let mut rest = words.trim_start();
    if let Some((kind, after)) = rest.split_once(';')
        && kind.trim().eq_ignore_ascii_case("smtp")
    {
        rest = after.trim_start();
    }
    let (mut code, mut enhanced) = (0, None);
    loop {
        let end = rest.find([' ', '-', '\t', '\n', '\r']).unwrap_or(rest.len());
        let (word, after) = rest.split_at(end);
        let after = after.trim_start_matches([' ', '-', '\t', '\n', '\r']);
        let bare = word.trim_matches(['#', '(', ')', '[', ']', ':']);
        if code == 0 && enhanced.is_none() && bare.len() == 3 && matches!(bare.parse(), Ok(400..=599_u16)) {
            code = bare.parse().unwrap_or(0);
        } else if enhanced.is_none() && is_enhanced(bare) {
            enhanced = Some(bare);
        } else {
            return (code, enhanced, rest);
        }
        rest = after;
    }
}

/// Whether a word is an enhanced status code of a failure (RFC 3463).
fn is_enhanced(word: &str) -> bool {
    let numbers: Vec<&str> = word.split('.').collect();
    let is_number = |part: &&str| (1..=3).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_digit());
    matches!(numbers.as_slice(), ["4" | "5", _, _]) && numbers.iter().all(is_number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_stand_before_the_words() {
        assert_eq!(codes_before("smtp; 550-5.1.1 [a] b"), (550, Some("5.1.1"), "[a] b"));
        assert_eq!(codes_before("(550) #5.1.1 b"), (550, Some("5.1.1"), "b"));
        assert_eq!(codes_before("5.1 b"), (0, None, "5.1 b"));
    }
}
