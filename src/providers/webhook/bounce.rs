//! Which bounce says that an address takes no mail, and will not. Pure.
//!
//! Vendors call a bounce hard when the last answer was permanent. That is not enough here: a hard bounce keeps a person from being
//! mailed again, and a block, a full mailbox or a policy (5.7.x) says nothing about the address. So a vendor's word and the receiving
//! server's must both say it, as far as there is one that is understood.

use crate::{
    feedback::EventKind,
    providers::{Answer, Stage, replies},
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
    let (code, enhanced, words) = replies::codes_before(words);
    let answer = Answer { stage: Stage::Content, code, enhanced, words, sender: "", recipient };
    replies::says_takes_none(&answer).unwrap_or(true)
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
            "550 5.2.1 The email account that you tried to reach is disabled",
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
            "550 5.2.1 The user's account has been suspended",
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
    }
}
