//! Rules that one object must meet beyond its schema: faults with the path of the field.

mod campaign;
mod plan;
mod server;

use std::{collections::BTreeMap, fmt};

use super::{Duration, LabelOperator, LabelSelector, Rate};

pub use campaign::check_campaign;
pub use plan::check_plan;
pub use server::check_server;

/// The shortest window of a rate.
pub const RATE_WINDOW_MIN: Duration = Duration::from_millis(100);
/// The longest window of a rate: 31 days.
pub const RATE_WINDOW_MAX: Duration = Duration::from_secs(31 * 24 * 3600);

/// A rule that is broken, at a field.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fault {
    /// The field's path: `spec.provider.smtp.port`, `spec.servers[2].name`.
    pub path: String,
    /// What is wrong and what to write instead.
    pub message: String,
}

impl Fault {
    /// A fault at a field.
    pub fn new(path: impl Into<String>, message: impl Into<String>) -> Self {
        Self { path: path.into(), message: message.into() }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path, self.message)
    }
}

fn check_rates(rates: &[Rate], path: &str, faults: &mut Vec<Fault>) {
    let mut seen = BTreeMap::new();
    for (index, rate) in rates.iter().enumerate() {
        let at = format!("{path}[{index}].per");
        check_bounds(Some(rate.per), "100ms", RATE_WINDOW_MIN, "31d", RATE_WINDOW_MAX, &at, faults);
        if let Some(first) = seen.insert(rate.per, index) {
            faults
                .push(Fault::new(at, format!("there is already a limit per {} ({path}[{first}]); keep the smaller of the two", rate.per)));
        }
    }
}

fn check_bounds(
    value: Option<Duration>,
    min_words: &str,
    min: Duration,
    max_words: &str,
    max: Duration,
    path: &str,
    faults: &mut Vec<Fault>,
) {
    let Some(value) = value else { return };
    if value < min {
        faults.push(Fault::new(path, format!("{value} is too short; at least {min_words}, at most {max_words}")));
    } else if value > max {
        faults.push(Fault::new(path, format!("{value} is too long; at least {min_words}, at most {max_words}")));
    }
}

/// Exactly one of the named things is given.
fn check_exactly_one(given: &[(&str, bool)], path: &str, faults: &mut Vec<Fault>) {
    let names = |only_given: bool| {
        given.iter().filter(|(_, is_given)| *is_given || !only_given).map(|(name, _)| format!("`{name}`")).collect::<Vec<_>>()
    };
    match names(true).as_slice() {
        [] => faults.push(Fault::new(path, format!("exactly one of {} is needed, and none is given", names(false).join(", ")))),
        [_] => {}
        several => faults.push(Fault::new(
            path,
            format!("exactly one of {} is needed, and {} are given", names(false).join(", "), several.join(" and ")),
        )),
    }
}

fn check_selector(selector: &LabelSelector, path: &str, faults: &mut Vec<Fault>) {
    for (index, requirement) in selector.match_expressions.iter().enumerate() {
        let needs_values = matches!(requirement.operator, LabelOperator::In | LabelOperator::NotIn);
        let at = format!("{path}.matchExpressions[{index}].values");
        if needs_values && requirement.values.is_empty() {
            faults.push(Fault::new(at, format!("the operator {:?} needs at least one value", requirement.operator)));
        } else if !needs_values && !requirement.values.is_empty() {
            faults
                .push(Fault::new(at, format!("the operator {:?} takes no values; remove them, or use In or NotIn", requirement.operator)));
        }
    }
}

/// A domain name: labels of letters, digits and `-` (RFC 1123, 2.1), or of Unicode letters (RFC 5890).
fn is_domain(text: &str) -> bool {
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || (!c.is_ascii() && c.is_alphanumeric()))
    };
    text.len() <= 253 && text.split('.').all(is_label)
}

#[cfg(test)]
mod tests;
