//! Long texts in few words: how many lines were added and removed.

use similar::{Algorithm, ChangeTag, TextDiff};

use crate::meta::bound::counted;

/// A text of more characters is not shown.
pub const SHORT_MAX: usize = 200;
/// Texts of more lines together are compared by their size alone: the time for it grows with the square.
const LINES_MAX: usize = 20_000;

/// Whether a text is summarised.
pub fn is_long(text: &str) -> bool {
    text.chars().count() > SHORT_MAX || text.trim_end_matches('\n').contains('\n')
}

/// How many lines a text has, in words.
pub fn counted_lines(text: &str) -> String {
    counted(text.lines().count(), "line", "lines")
}

/// What became of a text, in words.
pub fn changed_lines(old: &str, new: &str) -> String {
    if old.lines().count() + new.lines().count() > LINES_MAX {
        return format!("{} before, {} now", counted(old.len(), "byte", "bytes"), counted(new.len(), "byte", "bytes"));
    }
    let diff = TextDiff::configure().algorithm(Algorithm::Myers).diff_lines(old, new);
    let (mut added, mut removed) = (0_u64, 0_u64);
    for change in diff.iter_all_changes() {
        match change.tag() {
            ChangeTag::Insert => added += 1,
            ChangeTag::Delete => removed += 1,
            ChangeTag::Equal => {}
        }
    }
    let words = [(added, "added"), (removed, "removed")];
    let words = words.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{} {what}", counted(*count, "line", "lines")));
    words.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_counted_by_what_stays() {
        let old = "a\nb\nc\nd\n";
        assert_eq!(changed_lines(old, "a\nc\nd\ne\nf\n"), "2 lines added, 1 line removed");
        assert_eq!(changed_lines(old, "x\na\nb\nc\nd\n"), "1 line added");
        assert_eq!(changed_lines(old, "a\n"), "3 lines removed");
        assert!(is_long("a\nb") && !is_long("one line\n") && is_long(&"x".repeat(SHORT_MAX + 1)));
        let large = "x\n".repeat(LINES_MAX);
        assert_eq!(changed_lines(&large, "x"), "40,000 bytes before, 1 byte now");
        let half = |letter: &str| format!("{letter}\n").repeat(LINES_MAX / 2);
        assert_eq!(changed_lines(&half("x"), &half("y")), "10,000 lines added, 10,000 lines removed");
    }
}
