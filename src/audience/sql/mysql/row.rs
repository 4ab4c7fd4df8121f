//! Rows in MySQL's binary form, as JSON. Pure.

use std::io;

use serde_json::{Number, Value};

use super::{
    super::text,
    packet::{Cursor, malformed},
};

/// A column, as far as its values need it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Column {
    kind: u8,
    is_unsigned: bool,
}

/// The flag of numbers without a sign.
const UNSIGNED: u16 = 0x20;

impl Column {
    /// Name and column of a definition.
    pub fn of(definition: &[u8]) -> io::Result<(Box<str>, Self)> {
        let mut cursor = Cursor(definition);
        // Catalog, schema, table and its own name.
        for _ in 0..4 {
            cursor.text()?;
        }
        let name = String::from_utf8_lossy(cursor.text()?).into_owned().into();
        cursor.text()?;
        // The length of what follows, the charset, the length of values.
        cursor.take(1 + 2 + 4)?;
        let kind = cursor.byte()?;
        let flags = u16::from_le_bytes(cursor.array()?);
        Ok((name, Self { kind, is_unsigned: flags & UNSIGNED != 0 }))
    }

    fn value(self, cursor: &mut Cursor<'_>) -> io::Result<Value> {
        Ok(match self.kind {
            // Whole numbers of 1, 2 (and years), 4 (and 3) and 8 bytes.
            1 => self.whole(i64::from(i8::from_le_bytes(cursor.array()?)), 0xff),
            2 | 13 => self.whole(i64::from(i16::from_le_bytes(cursor.array()?)), 0xffff),
            3 | 9 => self.whole(i64::from(i32::from_le_bytes(cursor.array()?)), 0xffff_ffff),
            8 => self.whole(i64::from_le_bytes(cursor.array()?), u64::MAX),
            4 => number(shortest(f32::from_le_bytes(cursor.array()?))),
            5 => number(f64::from_le_bytes(cursor.array()?)),
            6 => Value::Null,
            // Times, as the database prints them.
            7 | 10 | 12 => date(cursor)?.into(),
            11 => time(cursor)?.into(),
            // Decimal numbers come as text; JSON has one kind of number.
            0 | 246 => {
                let text = text(cursor.text()?);
                serde_json::from_str(&text).map_or_else(|_| text.into(), Value::Number)
            }
            // A bit, of which most columns of this kind have one.
            16 => {
                let bits = cursor.text()?;
                if bits.len() > 8 {
                    return Err(malformed());
                }
                bits.iter().fold(0_u64, |value, byte| value << 8 | u64::from(*byte)).into()
            }
            // Texts, JSON, enumerations, bytes.
            15 | 245 | 247..=255 => text(cursor.text()?).into(),
            _ => return Err(malformed()),
        })
    }

    /// A whole number, which `mask` has the bits of.
    fn whole(self, number: i64, mask: u64) -> Value {
        if self.is_unsigned { (number.cast_unsigned() & mask).into() } else { number.into() }
    }
}

/// The value of each column of a row.
pub(super) fn values(packet: &[u8], columns: &[Column]) -> io::Result<Vec<Value>> {
    let mut cursor = Cursor(packet);
    if cursor.byte()? != 0 {
        return Err(malformed());
    }
    // The first two bits are reserved.
    let nulls = cursor.take((columns.len() + 7 + 2) / 8)?;
    let is_null = |index: usize| nulls[(index + 2) / 8] & 1 << ((index + 2) % 8) != 0;
    let value = |(index, column): (usize, &Column)| if is_null(index) { Ok(Value::Null) } else { column.value(&mut cursor) };
    columns.iter().enumerate().map(value).collect()
}

fn number(number: f64) -> Value {
    Number::from_f64(number).map_or(Value::Null, Value::Number)
}

/// The number that is written with the same digits.
fn shortest(number: f32) -> f64 {
    number.to_string().parse().unwrap_or_else(|_| f64::from(number))
}

/// Date, and time where there is one.
fn date(cursor: &mut Cursor<'_>) -> io::Result<String> {
    let length = cursor.byte()?;
    if length == 0 {
        return Ok("0000-00-00".to_owned());
    }
    let year = u16::from_le_bytes(cursor.array()?);
    let [month, day] = cursor.array()?;
    let mut written = format!("{year:04}-{month:02}-{day:02}");
    if length > 4 {
        let [hour, minute, second] = cursor.array()?;
        written += &format!(" {hour:02}:{minute:02}:{second:02}");
    }
    if length > 7 {
        written += &format!(".{:06}", u32::from_le_bytes(cursor.array()?));
    }
    Ok(written)
}

/// A span of hours, minutes and seconds.
fn time(cursor: &mut Cursor<'_>) -> io::Result<String> {
    let length = cursor.byte()?;
    if length == 0 {
        return Ok("00:00:00".to_owned());
    }
    let sign = if cursor.byte()? == 1 { "-" } else { "" };
    let days = u32::from_le_bytes(cursor.array()?);
    let [hour, minute, second] = cursor.array()?;
    let hours = u64::from(days) * 24 + u64::from(hour);
    let mut written = format!("{sign}{hours:02}:{minute:02}:{second:02}");
    if length > 8 {
        written += &format!(".{:06}", u32::from_le_bytes(cursor.array()?));
    }
    Ok(written)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn column(kind: u8, is_unsigned: bool) -> Column {
        Column { kind, is_unsigned }
    }

    #[test]
    fn values_of_each_kind() {
        let cases: &[(Column, &[u8], Value)] = &[
            (column(1, false), &[0xff], json!(-1)),
            (column(1, true), &[0xff], json!(255)),
            (column(2, true), &[0xff, 0xff], json!(65535)),
            (column(13, true), &[0xea, 0x07], json!(2026)),
            (column(3, false), &[0xfe, 0xff, 0xff, 0xff], json!(-2)),
            (column(8, true), &[0xff; 8], json!(u64::MAX)),
            (column(4, false), &1.1_f32.to_le_bytes(), json!(1.1)),
            (column(5, false), &2.5_f64.to_le_bytes(), json!(2.5)),
            (column(10, false), &[4, 0xea, 7, 12, 1], json!("2026-12-01")),
            (column(12, false), &[7, 0xea, 7, 12, 1, 8, 30, 5], json!("2026-12-01 08:30:05")),
            (column(7, false), &[11, 0xea, 7, 12, 1, 8, 30, 5, 1, 0, 0, 0], json!("2026-12-01 08:30:05.000001")),
            (column(12, false), &[0], json!("0000-00-00")),
            (column(11, false), &[8, 1, 1, 0, 0, 0, 2, 3, 4], json!("-26:03:04")),
            (column(246, false), b"\x0512.50", json!(12.5)),
            (column(16, false), &[1, 1], json!(1)),
            (column(253, false), "\u{4}Jö!".as_bytes(), json!("Jö!")),
            (column(252, false), &[2, 0xff, 0x01], json!("ff01")),
            (column(245, false), b"\x07{\"a\":1}", json!("{\"a\":1}")),
        ];
        for (column, bytes, wanted) in cases {
            let mut cursor = Cursor(bytes);
            assert_eq!(column.value(&mut cursor).expect("a value"), *wanted, "{column:?}");
            assert!(cursor.0.is_empty(), "{column:?}");
            assert!(column.value(&mut Cursor(&bytes[..bytes.len() - 1])).is_err(), "{column:?} cut off");
        }
        assert!(column(99, false).value(&mut Cursor(&[1, 1])).is_err());
    }

    #[test]
    fn nothing_is_nothing() {
        let columns = [column(1, false); 9];
        // The second and the last are null.
        let packet = [&[0, 0b0000_1000, 0b0000_0100][..], &[1; 7]].concat();
        let found = values(&packet, &columns).expect("a row");
        let nulls: Vec<usize> = (0..9).filter(|index| found[*index].is_null()).collect();
        assert_eq!((nulls, values(&packet[..4], &columns).is_err(), values(&[7], &[]).is_err()), (vec![1, 8], true, true));
    }
}
