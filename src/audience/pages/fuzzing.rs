//! Pages of an API that may be anybody's, for [`crate::fuzzing`].

#![allow(clippy::missing_panics_doc)] // What does not hold is a panic.

use super::page::{Pointer, read as read_page};
use crate::properties::{Piecewise, assert_same, pieces};

/// A page of an API: its items, and what leads on.
pub fn page(data: &[u8]) {
    let (Some(items), Some(next)) = (Pointer::parse("/data/people"), Pointer::parse("/next")) else { return };
    let found = |size| {
        let mut taken = Vec::new();
        let read = read_page(Piecewise::new(data, size), &items, Some(&next), |item| {
            taken.push(item);
            Ok(())
        });
        match read {
            Ok((found, next)) => {
                assert!(found.items == taken.len() as u64, "{} items, and {} were taken", found.items, taken.len());
                (taken, Some((found.hash, found.has_email, found.names, next)))
            }
            Err(_) => (taken, None),
        }
    };
    let whole = found(usize::MAX);
    for size in pieces(data) {
        assert_same(&whole, &found(size), "a page");
    }
}
