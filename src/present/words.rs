//! Sentences for people: what was said above is not said again, and commands are as they have to be typed.

use std::{borrow::Cow, path::Path};

use super::tables::Conditions;
use crate::meta::{Condition, command::with_options};

/// The state folder where none is given.
pub const STATE_DEFAULT: &str = ".mailfleet";
/// The variable that gives another one.
pub const STATE_VARIABLE: &str = "MAILFLEET_STATE";
/// Shorter sentences are said again: a reference is hardly shorter.
const SENTENCE_MIN: usize = 24;
/// What stands in place of a sentence that was said already.
pub const SAID: &str = "see above";

/// The commands that texts name, with the state folder or the cluster that they need where the person is.
#[derive(Clone, Debug, Default)]
pub struct Commands {
    options: Vec<String>,
}

impl Commands {
    /// Those for a state folder.
    #[must_use]
    pub fn with_state(state: &Path) -> Self {
        let usual = std::env::var(STATE_VARIABLE).ok().filter(|usual| !usual.is_empty());
        Self::unless_usual(state, usual.as_deref().unwrap_or(STATE_DEFAULT))
    }

    fn unless_usual(state: &Path, usual: &str) -> Self {
        let is_usual = state == Path::new(usual);
        Self { options: if is_usual { Vec::new() } else { vec![format!("--state {}", quoted(&state.to_string_lossy()))] } }
    }

    /// Those for the cluster of a kubeconfig.
    #[must_use]
    pub fn in_cluster(kubeconfig: Option<&Path>) -> Self {
        let file = kubeconfig.map(|path| format!("--kubeconfig {}", quoted(&path.to_string_lossy())));
        Self { options: ["--kubernetes".to_owned()].into_iter().chain(file).collect() }
    }

    /// The text with its commands completed.
    #[must_use]
    pub fn in_text(&self, text: &str) -> String {
        let complete = |text: String, options: &String| with_options(&text, &["get", "resume", "promote"], options).into_owned();
        self.options.iter().fold(text.to_owned(), complete)
    }
}

/// The text, with a reference in place of each of these sentences, which stand above it already.
#[must_use]
pub fn without_said<'a>(text: &str, said: impl IntoIterator<Item = &'a str>) -> String {
    let mut text = text.to_owned();
    for sentence in said.into_iter().map(|sentence| sentence.trim_end_matches('.')).filter(|sentence| sentence.len() >= SENTENCE_MIN) {
        if !text.contains(sentence) {
            continue;
        }
        // A sentence that goes on is another one.
        text = text.replace(&format!("{sentence}."), &format!("{SAID}."));
        if let Some(before) = text.strip_suffix(sentence) {
            text = format!("{before}{SAID}");
        }
    }
    text
}

/// A word of a command line as a shell reads it.
#[must_use]
pub fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:,@%+".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) { word.to_owned() } else { format!("'{}'", word.replace('\'', r"'\''")) }
}

/// The conditions of a status for people: what stands above a message is not said again, and commands are as they have to be typed.
#[must_use]
pub fn told_once(status: &impl Conditions, commands: &Commands) -> Vec<Condition> {
    let mut conditions = status.conditions().to_vec();
    let mut said: Vec<Cow<'static, str>> = Vec::new();
    for condition in &mut conditions {
        let message = std::mem::take(&mut condition.message);
        condition.message = if said.iter().any(|said| said.contains(&*message)) {
            SAID.into()
        } else {
            without_said(&commands.in_text(&message), status.sentences()).into()
        };
        said.push(message);
    }
    conditions
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sentence_is_said_once() {
        let why = "Connection failed: nothing listens there (127.0.0.1:25). Check host and port.";
        let message = format!("None of its servers is Active. relay: {why} Nothing has been sent yet.");
        assert_eq!(
            without_said(&message, [why, "", "Active"]),
            "None of its servers is Active. relay: see above. Nothing has been sent yet."
        );
        assert_eq!(without_said(&message, ["another sentence that was said"]), message);
        assert_eq!(without_said("relay: the password is refused by it", ["the password is refused by it."]), "relay: see above");
        // It goes on.
        let longer = "Every recipient has a final outcome: 20 accepted.";
        assert_eq!(without_said(longer, ["Every recipient has a final outcome."]), longer);
    }

    #[test]
    fn commands_have_the_state_folder_where_it_is_not_the_usual_one() {
        let text = "`mailfleet resume spring -n shop` resumes it";
        for (state, usual, expected) in [
            (".mailfleet", ".mailfleet", text),
            ("/var/lib/mailfleet", "/var/lib/mailfleet", text),
            ("/var/lib/mailfleet", ".mailfleet", "`mailfleet resume spring -n shop --state /var/lib/mailfleet` resumes it"),
            ("my state", ".mailfleet", "`mailfleet resume spring -n shop --state 'my state'` resumes it"),
            (".mailfleet/dry-run", ".mailfleet", "`mailfleet resume spring -n shop --state .mailfleet/dry-run` resumes it"),
        ] {
            assert_eq!(Commands::unless_usual(Path::new(state), usual).in_text(text), expected, "{state}");
        }
        let told = "`mailfleet resume spring --kubernetes` resumes it, `mailfleet get campaigns` shows it";
        let expected = "`mailfleet resume spring --kubernetes --kubeconfig k` resumes it, `mailfleet get campaigns --kubernetes --kubeconfig k` shows it";
        assert_eq!(Commands::in_cluster(Some(Path::new("k"))).in_text(told), expected);
        assert_eq!(quoted("it's"), r"'it'\''s'");
    }
}
