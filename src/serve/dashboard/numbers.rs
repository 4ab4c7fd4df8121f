//! Parts of a whole. Pure.

/// What part of a whole something is, of `scale`; rounded, and no more than all of it.
pub fn part(count: u64, of: u64, scale: u64) -> u64 {
    let of = u128::from(of.max(1));
    let part = (u128::from(count) * u128::from(scale) + of / 2) / of;
    u64::try_from(part).unwrap_or(u64::MAX).min(scale)
}

/// Thousandths as a percentage.
pub fn percent(thousandths: u64) -> String {
    format!("{}.{}%", thousandths / 10, thousandths % 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_no_more_than_the_whole() {
        assert_eq!(
            [(0, 0), (1, 3), (2, 3), (9, 3), (u64::MAX, u64::MAX)].map(|(count, of)| part(count, of, 1000)),
            [0, 333, 667, 1000, 1000]
        );
        assert_eq!(percent(part(1, 3, 1000)), "33.3%");
    }
}
