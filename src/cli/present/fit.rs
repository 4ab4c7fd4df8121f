//! How a table fits into the width of a terminal: which columns it has there, and how wide each is. Pure.
//!
//! What has no room goes step by step: columns without a value, then, from a table that is not asked for as a whole, the least important
//! ones; texts are wrapped within their column. A table that is still too wide has a line for each cell, a block for each row.

use std::borrow::Cow;

use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

use crate::{cli::screen::wrapped, present::TEXT_MIN};

/// Between two columns.
pub const GAP: usize = 2;

/// What is known of a column once its first rows are.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// The widest cell, or the heading.
    pub width: usize,
    /// The width of its heading, in columns of the terminal.
    pub heading: usize,
    /// From which width on its cells are wrapped; `None` is never.
    pub wraps_from: Option<usize>,
    /// How readily it is left out; 0 is never.
    pub rank: u8,
    /// Whether no row has a value in it.
    pub is_empty: bool,
}

/// How a table is printed.
#[derive(Debug, PartialEq, Eq)]
pub enum Layout {
    /// A line for each row: the columns by their places, each with its width. Cells are wrapped to it if `is_fitted`.
    Lines {
        /// Place and width.
        columns: Vec<(usize, usize)>,
        /// Whether the widths were made to fit a terminal.
        is_fitted: bool,
        /// The columns that were left out though they have values.
        left_out: Vec<usize>,
    },
    /// A line for each cell: the columns by their places, the width of the headings, and that of the cells.
    Blocks {
        /// Places.
        columns: Vec<usize>,
        /// The widest heading.
        heading: usize,
        /// What is left for a cell.
        cell: usize,
    },
}

/// Fits a table into `available` columns; without them it is as wide as it wants to be. `is_whole` leaves no value out.
pub fn fit(shapes: &[Shape], available: Option<usize>, is_whole: bool) -> Layout {
    let all: Vec<usize> = (0..shapes.len()).collect();
    let natural = |places: &[usize]| sum(places, |place| shapes[place].width);
    let Some(available) = available.filter(|available| natural(&all) > *available) else {
        return Layout::Lines {
            columns: all.into_iter().map(|place| (place, shapes[place].width)).collect(),
            is_fitted: available.is_some(),
            left_out: Vec::new(),
        };
    };
    let narrowest = |place: usize| {
        let Shape { width, heading, wraps_from, .. } = shapes[place];
        wraps_from.map_or(width, |least| width.min(heading.max(least)))
    };
    let mut shown: Vec<usize> = all.iter().copied().filter(|place| !shapes[*place].is_empty).collect();
    if shown.is_empty() {
        shown = all;
    }
    let mut left_out = Vec::new();
    while sum(&shown, narrowest) > available {
        let least = shown.iter().copied().max_by_key(|place| shapes[*place].rank).filter(|place| !is_whole && shapes[*place].rank > 0);
        let Some(least) = least else {
            let heading = shown.iter().map(|place| shapes[*place].heading).max().unwrap_or(0);
            return Layout::Blocks { columns: shown, heading, cell: available.saturating_sub(heading + GAP).max(TEXT_MIN) };
        };
        shown.retain(|place| *place != least);
        left_out.push(least);
    }
    left_out.sort_unstable();
    let mut spare = available - sum(&shown, narrowest);
    let mut wanting: Vec<usize> = shown.iter().copied().filter(|place| narrowest(*place) < shapes[*place].width).collect();
    // Who wants least first, so that each gets an equal part of what the others leave.
    wanting.sort_by_key(|place| shapes[*place].width);
    let mut widths: Vec<(usize, usize)> = shown.iter().map(|place| (*place, narrowest(*place))).collect();
    for (position, place) in wanting.iter().enumerate() {
        let more = (shapes[*place].width - narrowest(*place)).min(spare / (wanting.len() - position));
        spare -= more;
        if let Some((_, width)) = widths.iter_mut().find(|(shown, _)| shown == place) {
            *width += more;
        }
    }
    Layout::Lines { columns: widths, is_fitted: true, left_out }
}

fn sum(places: &[usize], width: impl Fn(usize) -> usize) -> usize {
    places.iter().map(|place| width(*place) + GAP).sum::<usize>().saturating_sub(GAP)
}

/// The lines of a cell in a column of that width: wrapped between words, and within those that are longer.
pub fn folded(cell: &str, width: usize) -> Vec<Cow<'_, str>> {
    if cell.width() <= width {
        return vec![Cow::Borrowed(cell)];
    }
    let mut lines = Vec::new();
    for line in wrapped(cell, width) {
        let mut rest = line.as_str();
        while rest.width() > width {
            let (mut end, mut columns) = (0, 0);
            for (place, letter) in rest.char_indices() {
                columns += letter.width().unwrap_or(0);
                if columns > width && place > 0 {
                    break;
                }
                end = place + letter.len_utf8();
            }
            lines.push(Cow::Owned(rest[..end].to_owned()));
            rest = &rest[end..];
        }
        if !rest.is_empty() {
            lines.push(Cow::Owned(rest.to_owned()));
        }
    }
    lines
}

/// The text, and spaces up to that width.
pub fn padded(text: &str, width: usize) -> String {
    let missing = width.saturating_sub(text.width());
    format!("{text}{:missing$}", "")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(width: usize, heading: usize) -> Shape {
        Shape { width, heading, wraps_from: None, rank: 0, is_empty: false }
    }

    fn text(width: usize) -> Shape {
        Shape { wraps_from: Some(TEXT_MIN), ..shape(width, 7) }
    }

    fn ranked(width: usize, rank: u8) -> Shape {
        Shape { rank, ..shape(width, 4) }
    }

    #[track_caller]
    fn lines(shapes: &[Shape], available: usize, is_whole: bool) -> (Vec<(usize, usize)>, Vec<usize>) {
        match fit(shapes, Some(available), is_whole) {
            Layout::Lines { columns, left_out, .. } => {
                assert!(columns.iter().map(|(_, width)| width + GAP).sum::<usize>() - GAP <= available, "{columns:?}");
                (columns, left_out)
            }
            blocks @ Layout::Blocks { .. } => panic!("{blocks:?}"),
        }
    }

    #[test]
    fn what_has_room_is_left_as_it_is() {
        let shapes = [shape(10, 4), text(50), ranked(10, 1)];
        let natural = vec![(0, 10), (1, 50), (2, 10)];
        assert_eq!(fit(&shapes, None, false), Layout::Lines { columns: natural.clone(), is_fitted: false, left_out: vec![] });
        assert_eq!(lines(&shapes, 74, false), (natural, vec![]));
    }

    #[test]
    fn columns_without_a_value_go_first_then_the_least_important() {
        let empty = Shape { is_empty: true, ..shape(30, 10) };
        assert_eq!(lines(&[shape(20, 4), empty, ranked(20, 1)], 50, true), (vec![(0, 20), (2, 20)], vec![]));
        let shapes = [ranked(20, 2), shape(20, 4), ranked(20, 3), ranked(20, 1)];
        assert_eq!(lines(&shapes, 70, false), (vec![(0, 20), (1, 20), (3, 20)], vec![2]));
        assert_eq!(lines(&shapes, 60, false), (vec![(1, 20), (3, 20)], vec![0, 2]));
        // A table of empty columns is a table still.
        assert_eq!(lines(&[Shape { is_empty: true, ..shape(9, 9) }; 2], 20, false).0.len(), 2);
    }

    #[test]
    fn texts_share_what_is_left() {
        assert_eq!(lines(&[shape(20, 4), text(100)], 80, false).0, [(0, 20), (1, 58)]);
        assert_eq!(lines(&[text(30), text(100)], 80, false).0, [(0, 30), (1, 48)]);
        assert_eq!(lines(&[text(100), text(90)], 80, false).0, [(0, 39), (1, 39)]);
    }

    #[test]
    fn what_has_no_room_as_a_line_is_a_block() {
        let shapes = [shape(40, 4), shape(40, 9), text(100)];
        assert_eq!(fit(&shapes, Some(80), true), Layout::Blocks { columns: vec![0, 1, 2], heading: 9, cell: 69 });
        // Nothing is left out of a whole table.
        assert!(matches!(fit(&[shape(60, 4), ranked(60, 1)], Some(80), true), Layout::Blocks { .. }));
        assert!(matches!(fit(&[shape(60, 4), ranked(60, 1)], Some(80), false), Layout::Lines { .. }));
    }

    #[test]
    fn cells_are_folded_between_words_and_within_long_ones() {
        assert_eq!(folded("one two", 7), ["one two"]);
        assert_eq!(folded("one two three", 7), ["one two", "three"]);
        assert_eq!(folded("a abcdefghij b", 4), ["a", "abcd", "efgh", "ij", "b"]);
        assert_eq!(folded("日本語日本語", 4), ["日本", "語日", "本語"]);
        assert_eq!(folded("日", 1), ["日"], "a letter that is wider than its column does no harm");
        assert_eq!(padded("日", 4), "日  ");
    }
}
