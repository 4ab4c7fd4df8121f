//! Which recipients a sink refuses, and with which code.

use std::{collections::HashSet, str::FromStr};

/// Recipients remembered by `once` rules; beyond that a further recipient is refused again and again.
const REMEMBERED_MAX: usize = 2_000_000;

/// Recipients that match a pattern get a reply code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplyRule {
    /// An address, in which `*` matches anything. Case does not matter.
    pub pattern: String,
    /// The reply code, 400 to 599.
    pub code: u16,
    /// Only on a recipient's first attempt, as with greylisting.
    pub once: bool,
}

/// Why a rule cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not a valid rule: write PATTERN=CODE, with a code from 400 to 599, for example `*@slow.example=450` (`=450once` for the first try only)"
)]
pub struct RuleError(String);

impl FromStr for ReplyRule {
    type Err = RuleError;

    fn from_str(text: &str) -> Result<Self, RuleError> {
        let fault = || RuleError(text.to_owned());
        let (pattern, code) = text.rsplit_once('=').ok_or_else(fault)?;
        let (code, once) = code.strip_suffix("once").map_or((code, false), |code| (code, true));
        let code = code.parse().ok().filter(|code| (400..600).contains(code)).ok_or_else(fault)?;
        Ok(Self { pattern: pattern.to_ascii_lowercase(), code, once })
    }
}

impl ReplyRule {
    fn fits(&self, recipient: &[u8]) -> bool {
        let mut parts = self.pattern.as_bytes().split(|byte| *byte == b'*');
        let first = parts.next().unwrap_or_default();
        let Some(mut rest) = recipient.strip_prefix(first) else { return false };
        let mut parts: Vec<&[u8]> = parts.collect();
        let Some(last) = parts.pop() else { return rest.is_empty() };
        for part in parts {
            let Some(at) = memchr::memmem::find(rest, part) else { return false };
            rest = &rest[at + part.len()..];
        }
        rest.ends_with(last)
    }
}

/// What the rules remember.
#[derive(Default)]
pub(super) struct Rules {
    refused_once: HashSet<Box<[u8]>>,
}

impl Rules {
    pub(super) fn refusal(&mut self, rules: &[ReplyRule], recipient: &[u8]) -> Option<u16> {
        let recipient = recipient.to_ascii_lowercase();
        let rule = rules.iter().find(|rule| rule.fits(&recipient))?;
        if rule.once && self.refused_once.contains(recipient.as_slice()) {
            return None;
        }
        if rule.once && self.refused_once.len() < REMEMBERED_MAX {
            self.refused_once.insert(recipient.into());
        }
        Some(rule.code)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns() {
        for (pattern, recipient, fits) in [
            ("ann@example.com", "ann@example.com", true),
            ("ann@example.com", "ann@example.com.au", false),
            ("*@slow.example", "x@slow.example", true),
            ("*@slow.example", "x@fast.example", false),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "a-c", false),
            ("a*a", "a", false),
            ("*", "", true),
        ] {
            let rule = ReplyRule::from_str(&format!("{pattern}=550")).expect("a rule");
            assert_eq!(rule.fits(recipient.as_bytes()), fits, "{pattern} {recipient}");
        }
    }

    #[test]
    fn faults_say_how_to_write_it() {
        for text in ["", "x", "x=", "x=200", "x=600", "x=4xx"] {
            let fault = ReplyRule::from_str(text).expect_err(text).to_string();
            assert!(fault.contains("PATTERN=CODE"), "{fault}");
        }
    }

    #[test]
    fn a_once_rule_refuses_each_recipient_once() {
        let rules = ["*=450once".parse().expect("a rule")];
        let mut memory = Rules::default();
        let answers: Vec<_> = [b"a", b"A", b"b", b"b"].iter().map(|r| memory.refusal(&rules, *r)).collect();
        assert_eq!(answers, [Some(450), None, Some(450), None]);
    }
}
