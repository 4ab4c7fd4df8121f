//! Numbers that are integers, though they are written as others. Pure.

/// The largest number that a float still counts by ones (2^53 - 1).
const WHOLE_MAX: f64 = 9_007_199_254_740_991.0;

/// The integer that a number is, such as 2.0.
#[must_use]
pub fn integer(number: f64) -> Option<i64> {
    #[allow(clippy::cast_possible_truncation, reason = "within the bound it is whole")]
    (number.fract() == 0.0 && number.abs() <= WHOLE_MAX).then_some(number as i64)
}

/// The integer that an API server takes a number for where a text would do as well: one that is no more than a billionth above it
/// (go-openapi's `swag.IsFloat64AJSONInteger`). It keeps the number as it was written.
#[must_use]
pub fn near_integer(number: f64) -> Option<i64> {
    let whole = number.trunc();
    let is_near = whole != 0.0 && (number - whole).abs() / (number.abs() + whole.abs()) < 1e-9;
    integer(if is_near { whole } else { number })
}
