//! Packets of a server that may not be MySQL, for [`crate::fuzzing`].

#![allow(clippy::missing_panics_doc)] // What does not hold is a panic.

use serde_json::Value;

use super::{
    packet::Refusal,
    row::{Column, values},
};

/// A count, as many definitions of columns behind their lengths, and a row. No row takes more memory than its packet has bytes.
pub fn mysql_rows(data: &[u8]) {
    let Some((count, mut rest)) = data.split_first() else { return };
    let mut columns = Vec::new();
    for _ in 0..(count % 16) {
        let Some((length, after)) = rest.split_first() else { return };
        let Some((definition, after)) = after.split_at_checked(usize::from(*length)) else { return };
        rest = after;
        let Ok((name, column)) = Column::of(definition) else { continue };
        assert!(name.len() <= 3 * definition.len(), "{name:?} of {} bytes", definition.len());
        columns.push(column);
    }
    if let Some(Refusal { said, .. }) = Refusal::of(rest) {
        assert!(said.len() <= 3 * rest.len(), "{said:?}");
    }
    let Ok(values) = values(rest, &columns) else { return };
    assert!(values.len() == columns.len(), "{} values for {} columns", values.len(), columns.len());
    let texts: usize = values.iter().filter_map(Value::as_str).map(str::len).sum();
    // What is no UTF-8 becomes three bytes for one, and a date is longer than its numbers.
    assert!(texts <= 3 * rest.len() + 40 * columns.len(), "{texts} bytes of a packet of {}", rest.len());
}
