//! Keeps our secrets out of the other side's words before they leave a provider.
//!
//! A server has seen the login and may be run by somebody whom we do not trust: it can return the login in any reply, header or
//! page, which then ends up in statuses, logs and the ledger. So every session holds one [`Scrubber`] next to its login, and
//! quotes nothing that did not go through it. It recognizes a secret in any letter case, in base64 (also as a part of
//! something longer, also twice), percent-encoded, with the escapes of JSON and HTML, quoted-printable and in hexadecimal, and
//! with anything but letters and digits in between: the two lines of a reply, spaces, invisible characters.
//!
//! It runs before anything is cut off, so that no half of a secret remains.

use std::{
    borrow::Cow,
    collections::VecDeque,
    fmt,
    ops::Range,
    sync::{Arc, PoisonError, RwLock},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use memchr::memmem::Finder;

use crate::meta::secret::SecretValue;

mod view;
use view::View;

/// What replaces a secret.
const STRUCK: &str = "***";
/// A secret with fewer characters is not looked for: striking out a word of three letters would reveal it.
const SECRET_MIN: usize = 4;
/// A secret with this many letters and digits is found whatever separates them.
const BARE_MIN: usize = 8;
/// A part of base64 with this many characters is found in any letter case.
const CASELESS_MIN: usize = 6;
/// Bytes of a text that are examined; far fewer are kept.
const TEXT_MAX: usize = 16 * 1024;
/// The longest secret that is looked for, in bytes: the longest that fits into a header.
const SECRET_MAX: usize = 16 * 1024;
/// Secrets that are remembered in addition to the first ones: access tokens, which change every hour.
const LEARNED_MAX: usize = 8;

/// Whether a secret is too short to be struck out of a text.
pub fn is_too_short(secret: &str) -> bool {
    forms(secret).iter().any(|form| view::normal(form).len() < SECRET_MIN)
}

/// A secret as servers repeat it.
fn forms(secret: &str) -> [String; 4] {
    [secret.to_owned(), secret.to_lowercase(), secret.to_uppercase(), secret.replace(' ', "+")]
}

/// Strikes secrets out of texts. Cheap to clone; clones share what they learn.
#[derive(Clone, Default)]
pub struct Scrubber(Arc<Inner>);

#[derive(Default)]
struct Inner {
    own: Vec<Needles>,
    learned: RwLock<VecDeque<(SecretValue, Arc<Needles>)>>,
}

impl fmt::Debug for Scrubber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Scrubber")
    }
}

impl From<Vec<SecretValue>> for Scrubber {
    fn from(secrets: Vec<SecretValue>) -> Self {
        let own = secrets.iter().filter_map(Needles::of).collect();
        Self(Arc::new(Inner { own, learned: RwLock::default() }))
    }
}

impl Scrubber {
    /// From now on looks for this secret as well; only the latest few are remembered.
    pub fn learn(&self, secret: &SecretValue) {
        // The list is consistent whatever happened to the last holder of the lock.
        let is_known = self.0.learned.read().unwrap_or_else(PoisonError::into_inner).iter().any(|(known, _)| known == secret);
        if is_known {
            return;
        }
        let Some(needles) = Needles::of(secret) else { return };
        let mut learned = self.0.learned.write().unwrap_or_else(PoisonError::into_inner);
        if learned.len() == LEARNED_MAX {
            learned.pop_front();
        }
        learned.push_back((secret.clone(), Arc::new(needles)));
    }

    /// The text with `***` in place of every secret. Of a text of more than 16 KiB only the start is returned.
    #[must_use]
    pub fn scrub<'a>(&self, text: &'a str) -> Cow<'a, str> {
        let learned: Vec<Arc<Needles>> = {
            let learned = self.0.learned.read().unwrap_or_else(PoisonError::into_inner);
            learned.iter().map(|(_, needles)| needles.clone()).collect()
        };
        let needles = || self.0.own.iter().chain(learned.iter().map(|needles| &**needles));
        let Some(longest) = needles().map(|needles| needles.reach).max() else { return Cow::Borrowed(text) };
        // Most replies are shorter than most secrets.
        if needles().all(|needles| text.len() < needles.shortest) {
            return Cow::Borrowed(text);
        }
        let (text, limit) = if text.len() <= TEXT_MAX {
            (text, text.len())
        } else {
            // A secret that is cut in two is not recognized: what could be its start is left out.
            let window = &text[..text.floor_char_boundary(TEXT_MAX)];
            (window, window.floor_char_boundary(window.len().saturating_sub(longest)))
        };
        let mut found: Vec<Range<usize>> = Vec::new();
        View::each(text, |view| needles().for_each(|needles| needles.find(view, text, &mut found)));
        if found.is_empty() {
            return Cow::Borrowed(&text[..limit]);
        }
        found.sort_by_key(|range| (range.start, range.end));
        let (mut scrubbed, mut at) = (String::with_capacity(text.len()), 0);
        for range in found {
            if range.start >= limit {
                break;
            }
            if range.start >= at {
                scrubbed.push_str(&text[at..range.start]);
                scrubbed.push_str(STRUCK);
            }
            at = at.max(range.end);
        }
        if at < limit {
            scrubbed.push_str(&text[at..limit]);
        }
        Cow::Owned(scrubbed)
    }
}

/// What to look for, for one secret.
struct Needles {
    /// Compared with a view without spaces, ignoring case.
    plain: Vec<Finder<'static>>,
    /// Compared with letters and digits only, ignoring case.
    bare: Vec<Finder<'static>>,
    /// Parts of base64, compared without spaces; and whether case matters.
    base64: Vec<(Finder<'static>, bool)>,
    /// Digits, compared with all hexadecimal digits.
    hex: Vec<Finder<'static>>,
    /// The most bytes that the secret takes up in any form.
    reach: usize,
    /// The fewest bytes in which it is found.
    shortest: usize,
}

impl Needles {
    /// None for what is too short to be looked for, or is not text.
    fn of(secret: &SecretValue) -> Option<Self> {
        let secret = secret.expose_text().filter(|secret| secret.len() <= SECRET_MAX)?;
        let mut needles =
            Self { plain: Vec::new(), bare: Vec::new(), base64: Vec::new(), hex: Vec::new(), reach: secret.len() * 12 + 64, shortest: 0 };
        for form in forms(secret) {
            let (normal, bare) = (view::normal(&form), view::bare(&form));
            if normal.len() < SECRET_MIN {
                return None;
            }
            // Both, so that no punctuation at its ends remains.
            needles.plain.push(finder(&normal));
            if bare.len() >= BARE_MIN {
                needles.bare.push(finder(&bare));
            }
        }
        let mut encoded: Vec<String> = Vec::new();
        for form in [secret.to_owned(), view::json_escaped(secret), view::percent_encoded(secret)] {
            encoded.extend(base64_parts(form.as_bytes()));
        }
        let twice: Vec<String> = encoded.iter().flat_map(|part| base64_parts(part.as_bytes())).collect();
        for text in std::iter::once(secret).chain(encoded.iter().map(String::as_str)) {
            needles.hex.push(finder(&text.bytes().map(|byte| format!("{byte:02x}")).collect::<String>()));
        }
        encoded.extend(twice);
        encoded.sort_unstable();
        encoded.dedup();
        for part in encoded {
            let is_caseless = part.len() >= CASELESS_MIN;
            let part = if is_caseless { part.to_ascii_lowercase() } else { part };
            needles.base64.push((finder(&part), is_caseless));
        }
        let all = needles.plain.iter().chain(&needles.bare).chain(&needles.hex).chain(needles.base64.iter().map(|(part, _)| part));
        needles.shortest = all.map(|finder| finder.needle().len()).min().unwrap_or(0);
        Some(needles)
    }

    /// Adds where the secret occurs.
    fn find(&self, view: &View, text: &str, found: &mut Vec<Range<usize>>) {
        let mut add = |view: &[u8], spans: &view::Spans, finder: &Finder<'_>, is_base64: bool| {
            for at in finder.find_iter(view) {
                let range = spans.range(at, finder.needle().len());
                found.push(if is_base64 { whole_word(text, range) } else { range });
            }
        };
        for finder in &self.plain {
            add(&view.lower, &view.spans, finder, false);
        }
        for finder in &self.bare {
            add(&view.bare, &view.bare_spans, finder, false);
        }
        for (finder, is_caseless) in &self.base64 {
            add(if *is_caseless { &view.base64_lower } else { &view.base64 }, &view.spans, finder, true);
        }
        for finder in &self.hex {
            add(&view.hex, &view.hex_spans, finder, false);
        }
    }
}

fn finder(needle: &str) -> Finder<'static> {
    Finder::new(needle.as_bytes()).into_owned()
}

/// What every base64 text that contains these bytes has in it, by where they begin in a group of three: their digits without
/// those that also depend on the bytes before and after them.
fn base64_parts(bytes: &[u8]) -> Vec<String> {
    let part = |before: usize| {
        let encoded = STANDARD.encode([&[0; 2][..before], bytes].concat());
        let (start, end) = ((before * 8).div_ceil(6), (before + bytes.len()) * 8 / 6);
        encoded[start..end].to_owned()
    };
    (0..3).map(part).filter(|part| part.len() >= SECRET_MIN).collect()
}

/// The range, extended over the base64 word on both sides, which contains the secret's first and last bits, and the user.
fn whole_word(text: &str, range: Range<usize>) -> Range<usize> {
    let is_digit = |byte: &&u8| byte.is_ascii_alphanumeric() || b"+/-_=".contains(byte);
    let before = text.as_bytes()[..range.start].iter().rev().take_while(is_digit).count();
    let behind = text.as_bytes()[range.end..].iter().take_while(is_digit).count();
    range.start - before..range.end + behind
}

#[cfg(test)]
mod tests;
