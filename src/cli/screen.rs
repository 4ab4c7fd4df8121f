//! Standard error: lines that scroll and, on a terminal, a picture below them that is redrawn in place.
//!
//! Whatever this process writes to standard error while it runs goes through here; nothing lands within the picture.
//! Rows are counted at the terminal's width at the time of the redraw: terminals rewrap what they show when they are resized.
//! While there is a picture, nothing that is typed is echoed.

mod echo;

use std::{
    io::{self, IsTerminal as _, Write},
    ops::Range,
    sync::{Mutex, PoisonError},
};

use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

/// Where the system knows no size.
const SIZE_UNKNOWN: Size = Size { columns: 80, rows: 24 };

/// What stands before the parts of a line that was wrapped.
const INDENT: &str = "  ";

/// Standard error of this process.
static STDERR: Mutex<Screen> = Mutex::new(Screen { picture: Vec::new(), drawn: Vec::new() });

/// The size of a terminal in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    /// Characters in a row.
    pub columns: usize,
    /// Lines that fit, from 1.
    pub rows: usize,
}

/// A colour of the terminal's palette.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Colour {
    /// It is well.
    Green,
    /// It waits.
    Yellow,
    /// Somebody has to act.
    Red,
}

impl Colour {
    const fn begin(self) -> &'static str {
        match self {
            Self::Green => "\x1b[32m",
            Self::Yellow => "\x1b[33m",
            Self::Red => "\x1b[31m",
        }
    }
}

/// One line of text, without line ends, of which one part may be coloured.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Line {
    text: String,
    coloured: Option<(Range<usize>, Colour)>,
}

impl Line {
    /// A line; what would move the cursor becomes a space.
    pub fn plain(text: impl AsRef<str>) -> Self {
        Self { text: text.as_ref().chars().map(|c| if c.is_control() { ' ' } else { c }).collect(), coloured: None }
    }

    /// Appends a coloured word; a line has one.
    #[must_use]
    pub fn coloured(mut self, word: &str, colour: Colour) -> Self {
        let start = self.text.len();
        self.text.push_str(word);
        self.coloured = Some((start..self.text.len(), colour));
        self
    }

    /// Appends text.
    #[must_use]
    pub fn then(mut self, text: &str) -> Self {
        self.text.push_str(&Self::plain(text).text);
        self
    }

    /// The line and its end for a terminal of that width, or for none: longer ones are wrapped between words, and what is wrapped is
    /// indented.
    #[must_use]
    pub fn block(&self, columns: Option<usize>, has_colours: bool) -> String {
        let Some(columns) = columns.filter(|columns| self.text.width() > *columns) else {
            return format!("{}\n", self.painted(usize::MAX, has_colours));
        };
        let (first, rest) = self.wrapped(columns.saturating_sub(INDENT.len()));
        let mut block = format!("{}\n", first.painted(usize::MAX, has_colours));
        for part in rest {
            block.push_str(&format!("{INDENT}{part}\n"));
        }
        block
    }

    /// The line in parts of no more than so many columns: the first, with its colour, and the others.
    #[must_use]
    pub fn wrapped(&self, columns: usize) -> (Self, Vec<String>) {
        let mut parts = wrapped(&self.text, columns.max(1));
        let first = if parts.is_empty() { String::new() } else { parts.remove(0) };
        // A word that was wrapped away takes its colour with it.
        let coloured = self.coloured.clone().filter(|(part, _)| first.get(part.clone()) == self.text.get(part.clone()));
        (Self { text: first, coloured }, parts)
    }

    /// The text without colours.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The text with its colours, cut to that many columns.
    #[must_use]
    pub fn painted(&self, columns: usize, has_colours: bool) -> String {
        let text = cut(&self.text, columns);
        match &self.coloured {
            Some((part, colour)) if has_colours && text.get(part.clone()) == self.text.get(part.clone()) => {
                let Range { start, end } = *part;
                format!("{}{}{}\x1b[0m{}", &text[..start], colour.begin(), &text[start..end], &text[end..])
            }
            _ => text,
        }
    }
}

/// A text that takes no more than so many columns; what is cut off is marked.
#[must_use]
pub fn cut(text: &str, columns: usize) -> String {
    if text.width() <= columns {
        return text.to_owned();
    }
    let mut left = columns.saturating_sub(1);
    let mut short = String::new();
    for letter in text.chars() {
        let width = letter.width().unwrap_or(0);
        if width > left {
            break;
        }
        left -= width;
        short.push(letter);
    }
    if columns > 0 {
        short.push('…');
    }
    short
}

/// The words of a text in lines of no more than so many columns; a longer word has a line of its own. What stands in backticks is one
/// word where it has room in a line, so that a command can be copied from it.
#[must_use]
pub fn wrapped(text: &str, columns: usize) -> Vec<String> {
    let (mut words, mut is_within): (Vec<String>, bool) = (Vec::new(), false);
    for word in text.split(|c: char| c == ' ' || c.is_control()) {
        match words.last_mut() {
            Some(last) if is_within && last.width() + 1 + word.width() <= columns => {
                last.push(' ');
                last.push_str(word);
            }
            _ => words.push(word.to_owned()),
        }
        is_within ^= word.matches('`').count() % 2 == 1;
    }
    let mut lines: Vec<String> = Vec::new();
    for word in words {
        match lines.last_mut() {
            // Several spaces stay within a line, and go at its end.
            Some(last) if last.width() + 1 + word.width() <= columns || word.is_empty() => {
                last.push(' ');
                last.push_str(&word);
            }
            _ => lines.push(word),
        }
    }
    lines.iter().map(|line| line.trim_end().to_owned()).collect()
}

/// Whether colours are wanted on standard error: as NO_COLOR, FORCE_COLOR and CLICOLOR_FORCE say, else on a terminal that has them.
#[must_use]
pub fn has_colours() -> bool {
    wants_colours(|name| std::env::var(name).ok(), io::stderr().is_terminal())
}

fn wants_colours(variable: impl Fn(&str) -> Option<String>, is_terminal: bool) -> bool {
    let is_set = |name| variable(name).is_some_and(|value| !value.is_empty());
    let is_forced = |name| variable(name).is_some_and(|value| !value.is_empty() && value != "0");
    if is_set("NO_COLOR") {
        return false;
    }
    is_forced("FORCE_COLOR") || is_forced("CLICOLOR_FORCE") || (is_terminal && !is_dumb(&variable))
}

/// Whether a picture can be redrawn on standard error: it is a terminal that moves its cursor.
#[must_use]
pub fn can_redraw() -> bool {
    !super::json_log::is_on() && io::stderr().is_terminal() && !is_dumb(|name| std::env::var(name).ok())
}

fn is_dumb(variable: impl Fn(&str) -> Option<String>) -> bool {
    variable("TERM").is_some_and(|term| term == "dumb")
}

/// The size of the terminal on standard error.
#[must_use]
pub fn size() -> Size {
    size_of(terminal_size::terminal_size_of(io::stderr()))
}

/// The width of the terminal on standard error, where it is one.
#[must_use]
pub fn stderr_columns() -> Option<usize> {
    io::stderr().is_terminal().then(|| size().columns)
}

/// The width of the terminal on standard output, where it is one.
#[must_use]
pub fn stdout_columns() -> Option<usize> {
    io::stdout().is_terminal().then(|| size_of(terminal_size::terminal_size_of(io::stdout())).columns)
}

fn size_of(size: Option<(terminal_size::Width, terminal_size::Height)>) -> Size {
    let known = size.filter(|(width, height)| width.0 > 0 && height.0 > 0);
    known.map_or(SIZE_UNKNOWN, |(width, height)| Size { columns: width.0.into(), rows: height.0.into() })
}

/// Writes whole lines to standard error, above the picture.
pub fn print(text: &[u8]) {
    on_stderr(|screen, size, has_colours| screen.print(text, size, has_colours));
}

/// Draws the picture on standard error anew, below `above`.
pub fn draw(above: &str, picture: Vec<Line>) {
    // Each time: a shell that stopped this process has it on again.
    echo::switch_off();
    on_stderr(|screen, size, has_colours| screen.draw(above.as_bytes(), picture, size, has_colours));
}

/// The picture stays as it is, and what follows is written below it.
pub fn leave() {
    on_stderr(|screen, _, _| {
        *screen = Screen { picture: Vec::new(), drawn: Vec::new() };
        Vec::new()
    });
    echo::switch_on();
}

/// Whoever draws holds one: however it ends, nothing is left of the drawing but the last picture.
#[derive(Debug)]
pub struct Drawing;

impl Drop for Drawing {
    fn drop(&mut self) {
        leave();
    }
}

fn on_stderr(work: impl FnOnce(&mut Screen, Size, bool) -> Vec<u8>) {
    let mut screen = STDERR.lock().unwrap_or_else(PoisonError::into_inner);
    let bytes = work(&mut screen, size(), has_colours());
    let mut stderr = io::stderr().lock();
    // A closed standard error is no reason to fail. One write, so that no terminal shows half a picture.
    let _ = stderr.write_all(&bytes).and_then(|()| stderr.flush());
}

/// Writes lines to standard error, above the picture; on a terminal they are wrapped between words.
pub fn say(lines: &str) {
    let (columns, has_colours) = (stderr_columns(), has_colours());
    let blocks: String = lines.lines().map(|line| Line::plain(line).block(columns, has_colours)).collect();
    print(blocks.as_bytes());
}

/// A writer above the picture, for logs: each write is whole lines.
#[derive(Clone, Copy, Debug)]
pub struct Above;

impl Write for Above {
    fn write(&mut self, lines: &[u8]) -> io::Result<usize> {
        print(lines);
        Ok(lines.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What is on the terminal.
struct Screen {
    picture: Vec<Line>,
    /// The columns that each line of the picture took when it was drawn.
    drawn: Vec<usize>,
}

impl Screen {
    fn print(&mut self, text: &[u8], size: Size, has_colours: bool) -> Vec<u8> {
        let picture = std::mem::take(&mut self.picture);
        self.draw(text, picture, size, has_colours)
    }

    /// The bytes that put the cursor where the last picture began, print `above`, and draw the picture below it.
    fn draw(&mut self, above: &[u8], picture: Vec<Line>, size: Size, has_colours: bool) -> Vec<u8> {
        let mut bytes = Vec::new();
        let rows: usize = self.drawn.iter().map(|columns| columns.div_ceil(size.columns.max(1)).max(1)).sum();
        if rows > 0 {
            bytes.extend_from_slice(format!("\r\x1b[{rows}A").as_bytes());
        }
        if !above.is_empty() {
            // Lines above may be longer than a row: erased first, since erasing after a full row takes its last character. Row by row,
            // since tmux keeps a whole screen that is erased at once in its history.
            if rows > 0 {
                bytes.extend_from_slice("\x1b[2K\x1b[B".repeat(rows).as_bytes());
                bytes.extend_from_slice(format!("\x1b[{rows}A").as_bytes());
            }
            bytes.extend_from_slice(above);
        }
        // The last column stays free: terminals differ in where the cursor is after it.
        let columns = size.columns.saturating_sub(1);
        self.drawn.clear();
        for line in &picture {
            self.drawn.push(cut(&line.text, columns).width());
            // The whole row is erased, so that the terminal forgets that it once wrapped into the next.
            bytes.extend_from_slice(b"\x1b[2K");
            bytes.extend_from_slice(line.painted(columns, has_colours).as_bytes());
            bytes.push(b'\n');
        }
        if rows > 0 {
            bytes.extend_from_slice(b"\x1b[J");
        }
        self.picture = picture;
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_cut_by_columns_and_not_by_characters() {
        for (text, columns, expected) in [
            ("relay", 5, "relay"),
            ("relay", 4, "rel…"),
            ("日本語", 5, "日本…"),
            ("日本語", 4, "日…"),
            ("日本語", 6, "日本語"),
            ("a", 0, ""),
        ] {
            assert_eq!(cut(text, columns), expected, "{text} in {columns}");
        }
        assert_eq!(wrapped("one two   three four", 9), ["one two", "three", "four"]);
        assert_eq!(wrapped("ok      relay (smtp): it works", 20), ["ok      relay", "(smtp): it works"]);
        assert_eq!(wrapped("internationalisation of a", 10), ["internationalisation", "of a"]);
        assert_eq!(wrapped("then run `mailfleet get runs`, and", 21), ["then run", "`mailfleet get runs`,", "and"]);
        assert_eq!(wrapped("run `mailfleet get runs` now", 10), ["run", "`mailfleet", "get runs`", "now"]);
    }

    #[test]
    fn lines_are_wrapped_between_words_on_a_terminal_alone() {
        let line = Line::plain("server relay ").coloured("Inactive", Colour::Red).then(": it is down");
        assert_eq!(line.block(None, false), "server relay Inactive: it is down\n");
        assert_eq!(line.block(Some(33), false), "server relay Inactive: it is down\n");
        assert_eq!(line.block(Some(26), true), "server relay \x1b[31mInactive\x1b[0m:\n  it is down\n");
        assert_eq!(line.block(Some(16), true), "server relay\n  Inactive: it\n  is down\n");
    }

    #[test]
    fn a_colour_that_is_cut_off_is_not_begun() {
        let line = Line::plain("campaign a\x1bb ").coloured("Sending", Colour::Green).then(" 5\n");
        assert_eq!(line.text(), "campaign a b Sending 5 ");
        assert_eq!(line.painted(40, true), "campaign a b \x1b[32mSending\x1b[0m 5 ");
        assert_eq!(line.painted(40, false), "campaign a b Sending 5 ");
        assert_eq!(line.painted(16, true), "campaign a b Se…");
    }

    #[test]
    fn the_environment_says_whether_there_are_colours() {
        for (variables, is_terminal, expected) in [
            (&[][..], true, true),
            (&[], false, false),
            (&[("TERM", "dumb")], true, false),
            (&[("NO_COLOR", "1")], true, false),
            (&[("NO_COLOR", "")], true, true),
            (&[("FORCE_COLOR", "1")], false, true),
            (&[("FORCE_COLOR", "0")], false, false),
            (&[("CLICOLOR_FORCE", "1")], false, true),
            (&[("CLICOLOR_FORCE", "1"), ("NO_COLOR", "1")], true, false),
        ] {
            let variable = |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
            assert_eq!(wants_colours(variable, is_terminal), expected, "{variables:?}, terminal: {is_terminal}");
        }
    }

    #[test]
    fn a_picture_takes_the_place_of_the_last_one_however_the_terminal_was_resized() {
        let mut screen = Screen { picture: Vec::new(), drawn: Vec::new() };
        let lines = || vec![Line::plain("a".repeat(70)), Line::plain("b")];
        let mut draw = |above: &str, columns| {
            let bytes = screen.draw(above.as_bytes(), lines(), Size { columns, rows: 24 }, false);
            String::from_utf8(bytes).expect("text")
        };
        assert!(draw("", 80).starts_with("\x1b[2Ka"), "nothing is moved at first");
        assert!(draw("", 80).starts_with("\r\x1b[2A\x1b[2Ka"));
        // The terminal has wrapped the line of 70 columns into three rows.
        let narrow = draw("", 30);
        assert!(narrow.starts_with(&format!("\r\x1b[4A\x1b[2K{}…\n\x1b[2Kb", "a".repeat(28))), "{narrow:?}");
        assert!(draw("", 80).starts_with("\r\x1b[2A"));
        let logged = draw("a warning\n", 80);
        assert!(
            logged.starts_with("\r\x1b[2A\x1b[2K\x1b[B\x1b[2K\x1b[B\x1b[2Aa warning\n\x1b[2Kaaa") && logged.ends_with("b\n\x1b[J"),
            "{logged:?}"
        );
    }
}
