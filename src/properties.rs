//! What properties of readers are asserted with, for tests and for fuzzing alone: rooms whose readers are private use it too.

use std::fmt::Debug;

/// Fails where a branch must not be reached.
#[allow(clippy::panic)] // A failed property is a panic: this room is in no program.
pub(crate) fn failed(why: &str) -> ! {
    std::panic::panic_any(why.to_owned())
}

/// Asserts that a text is fit for a status, a log and the ledger: bounded, and without characters that steer a terminal.
pub(crate) fn assert_shown(what: &str, text: &str, max: usize) {
    assert!(text.chars().count() <= max, "{what} has {} characters: {text:?}", text.chars().count());
    assert!(!text.chars().any(char::is_control), "{what} has a control character: {text:?}");
}

/// Asserts that two readings are one.
pub(crate) fn assert_same<T: PartialEq + Debug>(whole: &T, pieces: &T, what: &str) {
    assert!(whole == pieces, "{what}: in pieces it is another:\n{whole:?}\n{pieces:?}");
}

/// The sizes of pieces in which an input is read again; the last depends on the input.
pub(crate) fn pieces(data: &[u8]) -> [usize; 3] {
    [1, 7, 1 + usize::from(data.first().copied().unwrap_or(0))]
}

/// Reads bytes as many at a time as it is told to.
#[derive(Debug)]
pub(crate) struct Piecewise {
    data: std::io::Cursor<Vec<u8>>,
    size: usize,
}

impl Piecewise {
    /// Over these bytes.
    pub(crate) fn new(data: &[u8], size: usize) -> Self {
        Self { data: std::io::Cursor::new(data.to_vec()), size: size.max(1) }
    }
}

impl std::io::Read for Piecewise {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        let length = into.len().min(self.size);
        std::io::Read::read(&mut self.data, &mut into[..length])
    }
}
