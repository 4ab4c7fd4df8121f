//! How a person resumes a stopped campaign or a paused server: the annotation and its value. Pure.

use std::fmt;

use serde::Serialize;

/// The annotation of a Campaign or a SendingServer. Each value is acted on once; a new value is a new request.
pub const ANNOTATION: &str = "mailfleet.dev/resume";

/// What becomes of recipients that are held.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub enum ResumeHeld {
    /// They are tried again.
    #[default]
    Retry,
    /// They are rejected.
    Reject,
}

/// A request to resume a campaign: `2026-11-28T09:30:00Z held=Retry unknown=Resend`.
///
/// `held` is `Retry` by default; `unknown=Resend` mails recipients of unknown outcome again. Any other word only makes the value
/// a new one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Resume {
    /// The whole value, its words separated by one space.
    pub token: String,
    /// What becomes of held recipients.
    pub held: ResumeHeld,
    /// Whether recipients of unknown outcome are mailed again.
    pub resends_unknown: bool,
}

impl Resume {
    /// Reads a value.
    ///
    /// # Errors
    /// The part that is unknown.
    pub fn parse(value: &str) -> Result<Self, String> {
        let mut resume = Self { token: token(value), held: ResumeHeld::Retry, resends_unknown: false };
        if resume.token.is_empty() {
            return Err(format!("{ANNOTATION} is empty; give it a new value, such as the current time"));
        }
        for word in resume.token.split_whitespace() {
            match word.split_once('=') {
                None | Some(("held", "Retry") | ("unknown", "Skip")) => {}
                Some(("held", "Reject")) => resume.held = ResumeHeld::Reject,
                Some(("unknown", "Resend")) => resume.resends_unknown = true,
                Some((name, value)) => {
                    return Err(format!(
                        "{ANNOTATION} has `{name}={value}`, which is unknown; valid are held=Retry, held=Reject and unknown=Resend"
                    ));
                }
            }
        }
        Ok(resume)
    }
}

impl fmt::Display for Resume {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.token)
    }
}

/// A request to end the pauses of a server: `2026-11-28T09:30:00Z`, or `2026-11-28T09:30:00Z namespace=shop` for one namespace alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerResume {
    /// The whole value, its words separated by one space.
    pub token: String,
    /// The namespace whose pause ends; all when absent.
    pub namespace: Option<String>,
}

impl ServerResume {
    /// Reads a value.
    ///
    /// # Errors
    /// The part that is unknown.
    pub fn parse(value: &str) -> Result<Self, String> {
        let mut resume = Self { token: token(value), namespace: None };
        if resume.token.is_empty() {
            return Err(format!("{ANNOTATION} is empty; give it a new value, such as the current time"));
        }
        for word in resume.token.split_whitespace() {
            match word.split_once('=') {
                None => {}
                Some(("namespace", name)) if !name.is_empty() => resume.namespace = Some(name.to_owned()),
                Some((name, value)) => {
                    return Err(format!("{ANNOTATION} has `{name}={value}`, which is unknown for a server; valid is namespace=NAME"));
                }
            }
        }
        Ok(resume)
    }
}

/// A value with its words separated by one space: the same words are the same request, and fit on one line.
#[must_use]
pub fn token(value: &str) -> String {
    value.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// How many requests of a run are remembered: more than people make by hand.
const REMEMBERED_MAX: usize = 100;

/// Requests that were handled for a run, or that it began with, the newest first.
///
/// The annotation and the command line are independent, and a repository may lag behind: an earlier request that is seen again
/// is ignored.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Handled(Vec<String>);

impl Handled {
    /// Reads what [`Handled::text`] wrote.
    #[must_use]
    pub fn read(text: &str) -> Self {
        Self(text.lines().filter(|line| !line.is_empty()).map(str::to_owned).collect())
    }

    /// One a line, as the ledger keeps them.
    #[must_use]
    pub fn text(&self) -> String {
        self.0.join("\n")
    }

    /// The request that was handled last.
    #[must_use]
    pub fn newest(&self) -> Option<&str> {
        self.0.first().map(String::as_str)
    }

    /// Whether this value was handled.
    #[must_use]
    pub fn has(&self, value: &str) -> bool {
        self.0.contains(&token(value))
    }

    /// Notes that this value was handled. Beyond the hundredth, the oldest is forgotten.
    pub fn note(&mut self, value: &str) {
        let token = token(value);
        self.0.retain(|known| *known != token);
        self.0.insert(0, token);
        self.0.truncate(REMEMBERED_MAX);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_says_what_becomes_of_whom() {
        let resume = |value: &str| Resume::parse(value).map(|resume| (resume.held, resume.resends_unknown));
        assert_eq!(resume("2026-11-28T09:30:00Z"), Ok((ResumeHeld::Retry, false)));
        assert_eq!(resume(" again held=Reject "), Ok((ResumeHeld::Reject, false)));
        assert_eq!(resume("1 held=Retry unknown=Resend"), Ok((ResumeHeld::Retry, true)));
        assert!(resume("1 held=Rejct").is_err_and(|error| error.contains("held=Rejct")));
        assert!(resume("").is_err());
    }

    #[test]
    fn a_server_is_resumed_for_all_or_for_one_namespace() {
        let resume = |value: &str| ServerResume::parse(value).map(|resume| (resume.token, resume.namespace));
        assert_eq!(resume(" 2026-11-28  again"), Ok(("2026-11-28 again".to_owned(), None)));
        assert_eq!(resume("1 namespace=shop"), Ok(("1 namespace=shop".to_owned(), Some("shop".to_owned()))));
        for bad in ["", "1 held=Retry", "1 namespace="] {
            assert!(resume(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_was_carried_out_is_remembered_beyond_the_last() {
        let mut handled = Handled::default();
        assert_eq!((handled.newest(), handled.has("a")), (None, false));
        handled.note(" a\n held=Retry ");
        handled.note("b");
        let read = Handled::read(&handled.text());
        assert_eq!((&read, read.newest()), (&handled, Some("b")));
        assert!(read.has("a held=Retry") && read.has("b") && !read.has("a"));
        (0..REMEMBERED_MAX).for_each(|number| handled.note(&number.to_string()));
        assert!(handled.has("0") && !handled.has("b"), "bounded");
    }
}
