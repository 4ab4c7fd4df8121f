//! Which bounce says that an address takes no mail, and will not. Pure.
//!
//! Vendors call a bounce hard when the last answer was permanent. That is not enough here: a hard bounce keeps a person from being
//! mailed again, and a block, a full mailbox or a policy (5.7.x) says nothing about the address. So a vendor's word and the receiving
//! server's must both say it, as far as there is one that is understood.

use crate::{
    feedback::EventKind,
    providers::{Answer, Fault, Scope, Stage, replies},
};

/// The kind of a bounce that the vendor calls permanent, by the receiving server's words, `550 5.1.1 User unknown`, as far as the
/// vendor passes them on.
#[must_use]
pub fn bounce(is_permanent: bool, words: &str, recipient: &str) -> EventKind {
    if is_permanent && is_gone(words, recipient) { EventKind::HardBounce } else { EventKind::SoftBounce }
}

/// The words of a receiving server with its codes before them, from the fields in which vendors keep them apart.
#[must_use]
pub fn replied(code: &str, enhanced: &str, words: &str) -> String {
    let words = words.trim();
    let is_there = |part: &str| part.is_empty() || part == "0" || words.split([' ', '-', '#', ';']).any(|word| word == part);
    let parts = [code.trim(), enhanced.trim()].into_iter().filter(|part| !is_there(part)).chain([words]);
    parts.filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" ")
}

/// Whether nothing in the words speaks against the vendor's judgement that the address takes no mail.
fn is_gone(words: &str, recipient: &str) -> bool {
    let (code, enhanced, text) = parts(words);
    if code / 100 == 4 || enhanced.is_some_and(|enhanced| enhanced.starts_with("4.")) {
        return false;
    }
    let answer = Answer { stage: Stage::Content, code, enhanced, words: text, sender: "", recipient };
    let is_of_another = replies::meaning(&answer).is_some_and(|meaning| meaning.fault != Fault::Refused(Scope::Recipient));
    // X.Y.0 is undefined (RFC 3463, 3): then the words count.
    let is_undefined = enhanced.is_some_and(|enhanced| enhanced.ends_with(".0"));
    let said = if is_undefined { replies::says_no_mailbox(&format!("{code} {text}")) } else { replies::says_no_mailbox(words) };
    !is_of_another && said.unwrap_or(true)
}

/// The code of SMTP, the enhanced one and the text after them; what a vendor puts before them (`smtp;`) is left out.
fn parts(words: &str) -> (u16, Option<&str>, &str) {
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
    fn only_an_address_that_takes_no_mail_bounces_hard() {
        for hard in [
            "550 5.1.1 <ann@example.com>: Recipient address rejected: User unknown",
            "smtp; 550 5.1.1 <ann@example.com>... User unknown",
            "smtp;550-5.1.1 The email account that you tried to reach does not exist.",
            "550 No such user here",
            "550 5.1.2 Host unknown",
            "550 5.5.0 Requested action not taken: mailbox unavailable",
            "554 delivery error: dd This user doesn't have a yahoo.com account",
            "5.1.1 The email account that you tried to reach does not exist. Please try\n5.1.1 double-checking the recipient",
            // The vendor's judgement alone, which nothing contradicts.
            "",
            "unknown words of an unknown server",
        ] {
            assert_eq!(bounce(true, hard, "ann@example.com"), EventKind::HardBounce, "{hard}");
            assert_eq!(bounce(false, hard, "ann@example.com"), EventKind::SoftBounce, "{hard}");
        }
        for soft in [
            "550 5.7.1 Message rejected due to local policy",
            "550 5.7.26 This mail is unauthenticated",
            "554 5.7.9 Message not accepted for policy reasons",
            "552 5.2.2 The email account that you tried to reach is over quota",
            "452 4.2.2 The recipient's inbox is out of storage space",
            "450 4.1.1 User unknown, try again",
            "421 4.7.0 Temporary rate limit",
            "550 Message rejected as spam",
            "554 Service unavailable; Client host [192.0.2.1] blocked using zen.spamhaus.org",
            "550 SPF check failed",
            "550 mailbox full",
            // An account may be opened again, and this is said of other things too.
            "550 5.2.1 The email account that you tried to reach is disabled",
            "550 5.4.1 Recipient address rejected: Access denied",
            "553 5.1.8 Sender address rejected: Domain not found",
            "550 5.1.1 Rejected: the IP address 192.0.2.1 is on a blocklist",
        ] {
            assert_eq!(bounce(true, soft, "ann@example.com"), EventKind::SoftBounce, "{soft}");
        }
    }

    #[test]
    fn words_get_the_codes_that_they_lack() {
        assert_eq!(replied("550", "5.1.1", "User unknown"), "550 5.1.1 User unknown");
        assert_eq!(replied("550", "5.1.1", "550 5.1.1 User unknown"), "550 5.1.1 User unknown");
        assert_eq!(replied("550", "5.1.1", "550-5.1.1 User unknown"), "550-5.1.1 User unknown");
        assert_eq!(replied("550", "", "5.1.1 User unknown"), "550 5.1.1 User unknown");
        assert_eq!(replied("0", "", ""), "");
        assert_eq!(parts("smtp; 550-5.1.1 [a] b"), (550, Some("5.1.1"), "[a] b"));
        assert_eq!(parts("(550) #5.1.1 b"), (550, Some("5.1.1"), "b"));
        assert_eq!(parts("5.1 b"), (0, None, "5.1 b"));
    }
}
