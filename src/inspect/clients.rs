//! What Outlook on Windows and Gmail in a browser drop of HTML and CSS. Pure.
//!
//! Facts of <https://www.caniemail.com> (2026-06), for Outlook 2019 and Gmail's webmail: what neither shows nor shows in part.

use super::html::Page;

/// Who drops it: Outlook on Windows, Gmail.
type Drops = (bool, bool);
const BOTH: Drops = (true, true);
const OUTLOOK: Drops = (true, false);
const GMAIL: Drops = (false, true);

/// Properties of CSS.
const PROPERTIES: &[(&str, Drops)] = &[
    ("animation", BOTH),
    ("animation-name", BOTH),
    ("background-blend-mode", OUTLOOK),
    ("background-clip", OUTLOOK),
    ("background-image", OUTLOOK),
    ("background-origin", OUTLOOK),
    ("background-position", OUTLOOK),
    ("background-repeat", OUTLOOK),
    ("background-size", OUTLOOK),
    ("border-image", BOTH),
    ("border-radius", OUTLOOK),
    ("bottom", BOTH),
    ("box-shadow", BOTH),
    ("box-sizing", OUTLOOK),
    ("clip-path", BOTH),
    ("column-count", OUTLOOK),
    ("filter", BOTH),
    ("flex-wrap", BOTH),
    ("float", OUTLOOK),
    ("gap", OUTLOOK),
    ("grid-template-columns", BOTH),
    ("grid-template-rows", BOTH),
    ("justify-content", BOTH),
    ("left", BOTH),
    ("list-style-image", BOTH),
    ("list-style-position", OUTLOOK),
    ("max-height", OUTLOOK),
    ("min-height", OUTLOOK),
    ("min-width", OUTLOOK),
    ("mix-blend-mode", OUTLOOK),
    ("object-fit", OUTLOOK),
    ("opacity", OUTLOOK),
    ("outline", OUTLOOK),
    ("overflow", OUTLOOK),
    ("position", BOTH),
    ("right", BOTH),
    ("text-overflow", OUTLOOK),
    ("text-shadow", BOTH),
    ("top", BOTH),
    ("transform", BOTH),
    ("transition", BOTH),
    ("visibility", BOTH),
    ("white-space", OUTLOOK),
    ("writing-mode", OUTLOOK),
    ("z-index", BOTH),
];
/// Values of CSS: how they are named, and what stands in them.
const VALUES: &[(&str, &str, Drops)] = &[
    ("display: flex", "flex", OUTLOOK),
    ("display: grid", "grid", OUTLOOK),
    ("calc()", "calc(", OUTLOOK),
    ("clamp()", "clamp(", OUTLOOK),
    ("gradients", "gradient(", OUTLOOK),
    ("variables of CSS", "var(", BOTH),
];
/// Units of CSS.
const UNITS: &[(&str, Drops)] =
    &[("ch", OUTLOOK), ("rem", OUTLOOK), ("vh", OUTLOOK), ("vw", OUTLOOK), ("vmax", OUTLOOK), ("vmin", OUTLOOK)];
/// At-rules and pseudo-classes.
const SELECTORS: &[(&str, Drops)] = &[
    (":active", BOTH),
    (":after", BOTH),
    (":before", BOTH),
    (":checked", BOTH),
    (":first-child", BOTH),
    (":focus", BOTH),
    (":has", BOTH),
    (":hover", OUTLOOK),
    (":last-child", BOTH),
    (":link", GMAIL),
    (":not", BOTH),
    (":nth-child", BOTH),
    (":visited", BOTH),
    ("@font-face", GMAIL),
    ("@import", GMAIL),
    ("@keyframes", BOTH),
    ("@media", OUTLOOK),
    ("@supports", BOTH),
];
/// Elements.
const ELEMENTS: &[(&str, Drops)] = &[
    ("audio", BOTH),
    ("button", OUTLOOK),
    ("dialog", BOTH),
    ("form", OUTLOOK),
    ("input", OUTLOOK),
    ("link", GMAIL),
    ("meter", BOTH),
    ("picture", BOTH),
    ("progress", BOTH),
    ("ruby", BOTH),
    ("select", OUTLOOK),
    ("svg", BOTH),
    ("textarea", OUTLOOK),
    ("video", BOTH),
];

/// What Outlook on Windows and what Gmail drops of a page, as lists for people.
pub(super) fn dropped(page: &Page) -> [Option<String>; 2] {
    let mut found: Vec<(String, Drops)> = Vec::new();
    let elements = ELEMENTS.iter().filter(|(name, _)| page.elements.contains(*name));
    found.extend(elements.map(|(name, drops)| (format!("<{name}>"), *drops)));
    found.extend(SELECTORS.iter().filter(|(name, _)| page.selectors.contains(*name)).map(|(name, drops)| ((*name).to_owned(), *drops)));
    let has = |property: &str| page.styles.range((property.to_owned(), String::new())..).next().is_some_and(|(name, _)| name == property);
    found.extend(PROPERTIES.iter().filter(|(name, _)| has(name)).map(|(name, drops)| ((*name).to_owned(), *drops)));
    for (name, needle, drops) in VALUES {
        let is_display = name.starts_with("display");
        let fits = |(property, value): &(String, String)| {
            if is_display { property == "display" && value.trim_start_matches("inline-") == *needle } else { value.contains(needle) }
        };
        if page.styles.iter().any(fits) {
            found.push(((*name).to_owned(), *drops));
        }
    }
    for (unit, drops) in UNITS {
        if page.styles.iter().any(|(_, value)| has_unit(value, unit)) {
            found.push((format!("the unit {unit}"), *drops));
        }
    }
    let list = |is_dropped: fn(&Drops) -> bool| {
        let names: Vec<&str> = found.iter().filter(|(_, drops)| is_dropped(drops)).map(|(name, _)| &**name).collect();
        (!names.is_empty()).then(|| names.join(", "))
    };
    [list(|drops| drops.0), list(|drops| drops.1)]
}

/// Whether a number with this unit stands in a value.
fn has_unit(value: &str, unit: &str) -> bool {
    let bytes = value.as_bytes();
    value.match_indices(unit).any(|(at, _)| {
        let after = bytes.get(at + unit.len()).is_none_or(|byte| !byte.is_ascii_alphanumeric());
        after && at.checked_sub(1).and_then(|before| bytes.get(before)).is_some_and(u8::is_ascii_digit)
    })
}
