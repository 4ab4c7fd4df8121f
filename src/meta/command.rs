//! Commands that texts for people name in backticks, completed by what they need where the person is. Pure.
//!
//! Whoever writes a text knows the object, and not how the person came to read it: a state folder and a cluster are told apart here.

use std::borrow::Cow;

/// The text, with the options behind each `mailfleet` command with one of these verbs that it names in backticks and that does not
/// have them: ``run `mailfleet resume spring` `` becomes ``run `mailfleet resume spring --kubernetes` ``.
#[must_use]
pub fn with_options<'a>(text: &'a str, verbs: &[&str], options: &str) -> Cow<'a, str> {
    if options.is_empty() || !text.contains("`mailfleet ") {
        return Cow::Borrowed(text);
    }
    let mut completed = String::with_capacity(text.len() + options.len() + 1);
    // What stands between two backticks has an odd number of parts before it.
    for (place, part) in text.split('`').enumerate() {
        if place > 0 {
            completed.push('`');
        }
        completed.push_str(part);
        let verb = part.strip_prefix("mailfleet ").map(|words| words.split(' ').next().unwrap_or_default());
        if place % 2 == 1 && verb.is_some_and(|verb| verbs.contains(&verb)) && !part.contains(options) {
            completed.push(' ');
            completed.push_str(options);
        }
    }
    Cow::Owned(completed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_completed_once_and_nothing_else_changes() {
        for (text, expected) in [
            ("Fix it, then run `mailfleet resume spring -n shop`.", "Fix it, then run `mailfleet resume spring -n shop --state /s`."),
            (
                "`mailfleet get runs` lists them; `mailfleet run` goes on",
                "`mailfleet get runs --state /s` lists them; `mailfleet run` goes on",
            ),
            ("the server said `550 no`; mailfleet resume `x`", "the server said `550 no`; mailfleet resume `x`"),
            ("`mailfleet resumed` it", "`mailfleet resumed` it"),
            ("`mailfleet resume", "`mailfleet resume --state /s"),
            ("", ""),
        ] {
            let once = with_options(text, &["get", "resume"], "--state /s").into_owned();
            assert_eq!(once, expected);
            assert_eq!(with_options(&once, &["get", "resume"], "--state /s"), expected, "twice");
            assert_eq!(with_options(text, &["get"], ""), text);
        }
    }
}
