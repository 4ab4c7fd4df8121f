//! How a person resumes a campaign that was stopped: the annotation, and what its value says. Pure.

use std::fmt;

/// The annotation of a Campaign. A value is carried out once; a new value is a new request.
pub const ANNOTATION: &str = "mailfleet.dev/resume";

/// What becomes of recipients that are held.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ResumeHeld {
    /// They are tried again.
    #[default]
    Retry,
    /// They are rejected.
    Reject,
}

/// A request to resume a campaign: `2026-11-28T09:30:00Z held=Retry unknown=Resend`.
///
/// `held` is `Retry` when it is left out; `unknown=Resend` mails recipients of unknown outcome again. Every other word only
/// makes the value a new one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resume {
    /// The whole value.
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
    /// What cannot be understood in it.
    pub fn parse(value: &str) -> Result<Self, String> {
        let mut resume = Self { token: value.trim().to_owned(), held: ResumeHeld::Retry, resends_unknown: false };
        if resume.token.is_empty() {
            return Err(format!("{ANNOTATION} is empty; give it a value that it has not had, such as the time"));
        }
        for word in resume.token.split_whitespace() {
            match word.split_once('=') {
                None | Some(("held", "Retry") | ("unknown", "Skip")) => {}
                Some(("held", "Reject")) => resume.held = ResumeHeld::Reject,
                Some(("unknown", "Resend")) => resume.resends_unknown = true,
                Some((name, value)) => {
                    return Err(format!(
                        "{ANNOTATION} has `{name}={value}`, which is not known; it takes held=Retry, held=Reject and unknown=Resend"
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
}
