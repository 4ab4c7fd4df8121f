//! Replies of a server that may be anybody's, for [`crate::fuzzing`].

#![allow(clippy::missing_panics_doc)] // What does not hold is a panic.

use super::{
    extensions::Extensions,
    reply::{Garbage, LINE_BYTES_MAX, LINES_MAX, Replies, Reply},
};
use crate::{
    meta::secret::SecretValue,
    properties::{assert_same, assert_shown, pieces},
    providers::{Answer, Stage, meaning, sanitize::KEPT_CHARS_MAX, says_takes_none, scrub::Scrubber},
};

/// What the server knows of us, and may say back.
const PASSWORD: &str = "Zq7-corr3ct-h0rse";

#[derive(Debug, PartialEq)]
struct Told {
    code: u16,
    kept: String,
    quoted: String,
    enhanced: Option<String>,
}

/// Replies, however they are cut; what is kept of each is bounded, clean and without our password.
pub fn smtp_replies(data: &[u8]) {
    let (whole, end) = read(data, usize::MAX);
    let lines = data.iter().filter(|byte| **byte == b'\n').count();
    assert!(whole.len() <= lines, "{} replies of {lines} lines", whole.len());
    for told in &whole {
        assert!((200..600).contains(&told.code), "{told:?}");
        for text in [&told.kept, &told.quoted] {
            assert_shown("a reply", text, KEPT_CHARS_MAX);
            assert!(!text.to_lowercase().contains(&PASSWORD.to_lowercase()), "{text:?} shows our password");
        }
        assert!(told.kept.starts_with(&told.code.to_string()), "{told:?}");
        assert!(told.enhanced.as_ref().is_none_or(|code| code.len() <= 11 && code.matches('.').count() == 2), "{told:?}");
    }
    let whole = (whole, end);
    for size in pieces(data) {
        assert_same(&whole, &read(data, size), "replies");
    }
}

/// The replies of these bytes, and what ended them.
fn read(data: &[u8], size: usize) -> (Vec<Told>, Option<Garbage>) {
    let mut replies = Replies::new(Scrubber::from(vec![SecretValue::new(PASSWORD)]));
    let (mut told, mut rest) = (Vec::new(), data);
    loop {
        let has = replies.has_reply();
        match replies.next_reply() {
            Err(garbage) => return (told, Some(garbage)),
            Ok(Some(reply)) => {
                assert!(has, "a reply that was not there");
                assert!(reply.text.len() <= LINES_MAX * LINE_BYTES_MAX, "{} bytes", reply.text.len());
                let _ = Extensions::read(reply.text).mode();
                if size == usize::MAX {
                    judged(&reply);
                }
                let enhanced = reply.enhanced().map(str::to_owned);
                told.push(Told { code: reply.code, kept: reply.kept(), quoted: reply.quoted(), enhanced });
                continue;
            }
            Ok(None) => assert!(!has, "a reply that was there is lost"),
        }
        if rest.is_empty() {
            return (told, None);
        }
        let space = replies.space();
        assert!(!space.is_empty(), "there is no room, and no reply");
        let length = space.len().min(rest.len()).min(size.max(1));
        space[..length].copy_from_slice(&rest[..length]);
        replies.filled(length);
        rest = &rest[length..];
    }
}

/// What a reply means is decided, whatever it says.
fn judged(reply: &Reply<'_>) {
    let words = String::from_utf8_lossy(reply.text);
    let (stage, code, enhanced) = (Stage::Recipient, reply.code, reply.enhanced());
    let answer = Answer { stage, code, enhanced, words: &words, sender: "news@example.com", recipient: "ann@example.com" };
    let is_gone = says_takes_none(&answer) == Some(true);
    assert!(
        !is_gone || meaning(&answer).is_some_and(|meaning| meaning.takes_none),
        "{words:?} says that nobody is there, and means nothing"
    );
    assert!(!is_gone || code / 100 != 4, "{code} {words:?} may pass, and is taken for good");
}
