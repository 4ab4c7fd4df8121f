//! What of a rendered message will hurt at mailbox providers, in mail programs or with its readers. Pure.
//!
//! [`inspect`] says it of one message, and [`Tally`] counts it over many. The checks are a table, from which docs/check.md is made too.

mod clients;
mod html;
mod places;
mod tally;

#[cfg(test)]
mod tests;

pub use tally::Tally;

/// From so many bytes of HTML on, Gmail shows the beginning alone and a link to the rest.
pub const CLIPPED_FROM: usize = 102 * 1024;
/// A subject of more characters than this is cut off in most lists of messages.
const SUBJECT_MAX: usize = 70;
/// A preheader of more characters than this is cut off in most lists of messages.
const PREHEADER_MAX: usize = 140;
/// A message with images that has fewer characters to read than this is one of images alone.
const READABLE_MIN: usize = 40;

/// Something that messages are looked at for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Check {
    /// A recipient for whom no message can be made.
    Unmade,
    /// A placeholder that nothing was put into.
    Placeholder,
    /// No subject.
    NoSubject,
    /// No text to read.
    NoText,
    /// Images and hardly a word.
    ImagesOnly,
    /// More HTML than Gmail shows.
    Clipped,
    /// A link without encryption.
    InsecureLink,
    /// A link that leads nowhere.
    BrokenLink,
    /// A link that shows another host than the one it leads to.
    MisleadingLink,
    /// An image that mail programs do not load.
    BrokenImage,
    /// An image without a text in its place.
    NoAlt,
    /// What every mail program removes, and filters take amiss.
    Removed,
    /// A link by way of a public shortener.
    Shortener,
    /// An image in a format that some mail programs do not show.
    ImageFormat,
    /// A subject that is cut off.
    LongSubject,
    /// No preheader in the HTML.
    NoPreheader,
    /// A preheader that is cut off.
    LongPreheader,
    /// A preheader that says what the subject says.
    RepeatedSubject,
    /// A field that is empty for some.
    EmptyField,
    /// Values that match no variant.
    NoVariant,
    /// A variant that nobody gets.
    UnusedVariant,
    /// Styles and elements that Outlook on Windows drops.
    Outlook,
    /// Styles and elements that Gmail drops.
    Gmail,
}

/// What a check is called, how grave it is, and what to do.
#[derive(Clone, Copy, Debug)]
pub struct Rule {
    /// What it is about.
    pub check: Check,
    /// Its name for people and scripts.
    pub name: &'static str,
    /// Whether it fails the command: a warning does, a note does not.
    pub is_warning: bool,
    /// What to do about it, as half a sentence.
    pub fix: &'static str,
}

/// All checks, in the order of [`Check`].
pub const RULES: [Rule; 23] = [
    Rule { check: Check::Unmade, name: "not-made", is_warning: true, fix: "fix the row, or give the field a default in the template" },
    Rule {
        check: Check::Placeholder,
        name: "placeholder",
        is_warning: true,
        fix: "write it as `{{ field }}` with a field of the audience, outside of `{% raw %}`",
    },
    Rule { check: Check::NoSubject, name: "no-subject", is_warning: true, fix: "write a `subject` that is not empty for anybody" },
    Rule { check: Check::NoText, name: "no-text", is_warning: true, fix: "write a `text` body, or text into the HTML" },
    Rule {
        check: Check::ImagesOnly,
        name: "images-only",
        is_warning: true,
        fix: "write what matters as text: many people see no images, and filters distrust such messages",
    },
    Rule {
        check: Check::Clipped,
        name: "clipped",
        is_warning: true,
        fix: "shorten it below 102 KB: Gmail hides the rest, including the unsubscribe link",
    },
    Rule { check: Check::InsecureLink, name: "insecure-link", is_warning: true, fix: "link to https://" },
    Rule {
        check: Check::BrokenLink,
        name: "broken-link",
        is_warning: true,
        fix: "link to a whole https:// address that everybody can reach",
    },
    Rule {
        check: Check::MisleadingLink,
        name: "misleading-link",
        is_warning: true,
        fix: "show words, or the host that the link leads to: filters and people consider it phishing",
    },
    Rule { check: Check::BrokenImage, name: "broken-image", is_warning: true, fix: "load images from a whole https:// address" },
    Rule {
        check: Check::NoAlt,
        name: "no-alt",
        is_warning: true,
        fix: "say in `alt` what the image shows; `alt=\"\"` where it is decorative",
    },
    Rule {
        check: Check::Removed,
        name: "removed",
        is_warning: true,
        fix: "leave it out: mail programs remove it, and filters distrust it",
    },
    Rule {
        check: Check::Shortener,
        name: "shortener",
        is_warning: false,
        fix: "link to your own host: public shorteners are often on block lists",
    },
    Rule { check: Check::ImageFormat, name: "image-format", is_warning: false, fix: "use PNG, JPEG or GIF" },
    Rule { check: Check::LongSubject, name: "long-subject", is_warning: false, fix: "say what matters in its first 40 characters" },
    Rule {
        check: Check::NoPreheader,
        name: "no-preheader",
        is_warning: false,
        fix: "set `content.preheader`: without it inboxes show the beginning of the body after the subject",
    },
    Rule { check: Check::LongPreheader, name: "long-preheader", is_warning: false, fix: "say what matters in its first 40 characters" },
    Rule {
        check: Check::RepeatedSubject,
        name: "repeated-subject",
        is_warning: false,
        fix: "say in the preheader what the subject does not",
    },
    Rule { check: Check::EmptyField, name: "empty-field", is_warning: false, fix: "use `default` in the template, or complete the rows" },
    Rule {
        check: Check::NoVariant,
        name: "no-variant",
        is_warning: false,
        fix: "write a variant for them, or correct the rows; until then they get the content itself",
    },
    Rule { check: Check::UnusedVariant, name: "unused-variant", is_warning: false, fix: "correct its name or the rows, or remove it" },
    Rule { check: Check::Outlook, name: "outlook", is_warning: false, fix: "make sure that it looks good without them" },
    Rule { check: Check::Gmail, name: "gmail", is_warning: false, fix: "make sure that it looks good without them" },
];

impl Check {
    /// Its line of the table.
    #[must_use]
    pub fn rule(self) -> &'static Rule {
        let rule = &RULES[self as usize];
        debug_assert_eq!(rule.check, self, "the order is that of the checks");
        rule
    }
}

/// What was found, of one message.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Concern {
    /// What was looked for.
    pub check: Check,
    /// What was found, in a few words that are the same in other messages with it.
    pub what: String,
    /// How large it is, where that is what matters: the largest is shown.
    pub size: Option<usize>,
}

impl Concern {
    fn of(check: Check, what: impl Into<String>) -> Self {
        Self { check, what: what.into(), size: None }
    }
}

/// A message as its reader gets it.
#[derive(Clone, Copy, Debug)]
pub struct Message<'a> {
    /// The subject.
    pub subject: &'a str,
    /// The text part.
    pub text: &'a str,
    /// The HTML part.
    pub html: Option<&'a str>,
}

/// What will hurt of one message, each once.
#[must_use]
pub fn inspect(message: &Message<'_>) -> Vec<Concern> {
    let mut concerns = Vec::new();
    let subject = message.subject.trim();
    if subject.is_empty() {
        concerns.push(Concern::of(Check::NoSubject, "the subject is empty"));
    }
    let length = subject.chars().count();
    if length > SUBJECT_MAX {
        let what = "the subject is longer than most inboxes show".to_owned();
        concerns.push(Concern { check: Check::LongSubject, what, size: Some(length) });
    }
    if !message.text.chars().any(char::is_alphanumeric) {
        concerns.push(Concern::of(Check::NoText, "the text part has nothing to read"));
    }
    let placeholders = [("the subject", subject), ("the text part", message.text)];
    concerns.extend(
        placeholders
            .into_iter()
            .flat_map(|(place, text)| places::placeholders(text).map(move |found| (place, found)))
            .map(|(place, found)| Concern::of(Check::Placeholder, format!("`{found}` was left unfilled in {place}"))),
    );
    if let Some(source) = message.html {
        of_html(source, subject, &mut concerns);
    }
    concerns.sort();
    concerns.dedup();
    concerns
}

/// What hurts of a preheader.
fn of_preheader(preheader: &str, subject: &str) -> Vec<Concern> {
    if preheader.is_empty() {
        return vec![Concern::of(Check::NoPreheader, "the HTML part has no preheader")];
    }
    let mut concerns = Vec::new();
    let length = preheader.chars().count();
    if length > PREHEADER_MAX {
        let what = "the preheader is longer than most inboxes show".to_owned();
        concerns.push(Concern { check: Check::LongPreheader, what, size: Some(length) });
    }
    let words = |text: &str| text.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect::<String>();
    let (subject, preheader) = (words(subject), words(preheader));
    if !subject.is_empty() && preheader.starts_with(&subject) {
        concerns.push(Concern::of(Check::RepeatedSubject, "the preheader begins with the subject, which inboxes show before it"));
    }
    concerns
}

fn of_html(source: &str, subject: &str, concerns: &mut Vec<Concern>) {
    if source.len() > CLIPPED_FROM {
        concerns.push(Concern { check: Check::Clipped, what: "the HTML part is clipped by Gmail".to_owned(), size: Some(source.len()) });
    }
    let page = html::read(source);
    concerns.extend(of_preheader(&page.preheader, subject));
    if page.has_images && page.readable < READABLE_MIN {
        concerns.push(Concern::of(Check::ImagesOnly, "the HTML part has images and hardly a word to read"));
    }
    concerns.extend(
        page.placeholders.iter().map(|found| Concern::of(Check::Placeholder, format!("`{found}` was left unfilled in the HTML part"))),
    );
    concerns.extend(page.links.iter().flat_map(places::of_link));
    concerns.extend(page.images.iter().flat_map(places::of_image));
    concerns.extend(page.removed.iter().map(|element| Concern::of(Check::Removed, format!("the HTML part has `{element}`"))));
    let [outlook, gmail] = clients::dropped(&page);
    concerns.extend(outlook.map(|list| Concern::of(Check::Outlook, format!("Outlook on Windows ignores {list}"))));
    concerns.extend(gmail.map(|list| Concern::of(Check::Gmail, format!("Gmail ignores {list}"))));
}
