//! Selectors of CSS, as far as they can be decided from the HTML alone.

use super::page::Page;

/// How many elements a selector may name; they are looked for one within the other.
const PARTS_MAX: usize = 32;

/// One alternative of a selector: its parts from right to left, each with how the next one is found.
#[derive(Debug)]
pub(super) struct Selector {
    parts: Vec<(Part, Step)>,
    /// Ids, then classes and their like, then names.
    pub(super) specificity: [usize; 3],
}

/// How one gets to the element that the next part is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    End,
    Parent,
    Ancestor,
    Previous,
    Earlier,
}

/// What one element must be.
#[derive(Debug, Default)]
struct Part {
    name: Option<String>,
    conditions: Vec<Condition>,
}

#[derive(Debug)]
enum Condition {
    Id(String),
    Class(String),
    /// An attribute, and how its value is compared with what.
    Attribute(String, Option<(char, String)>),
    First,
    Last,
    /// `an+b`.
    Nth(i64, i64),
    Not(Box<Part>),
}

/// All alternatives of a selector. `None` when it needs more than the HTML, or is none.
pub(super) fn parse(text: &str) -> Option<Vec<Selector>> {
    split(text, ',').into_iter().map(|one| selector(one.trim())).collect()
}

/// The pieces between separators that stand in no brackets and no quotes.
pub(super) fn split(text: &str, separator: char) -> Vec<&str> {
    let (mut pieces, mut start, mut depth, mut quote) = (Vec::new(), 0, 0_usize, None);
    for (at, character) in text.char_indices() {
        match (character, quote) {
            (_, Some(open)) => quote = quote.filter(|_| character != open),
            ('"' | '\'', None) => quote = Some(character),
            ('[' | '(', None) => depth += 1,
            (']' | ')', None) => depth = depth.saturating_sub(1),
            _ if character == separator && depth == 0 => {
                pieces.push(&text[start..at]);
                start = at + character.len_utf8();
            }
            _ => {}
        }
    }
    pieces.push(&text[start..]);
    pieces
}

fn selector(text: &str) -> Option<Selector> {
    let mut rest = text;
    let mut parts: Vec<(Part, Step)> = Vec::new();
    let mut specificity = [0; 3];
    loop {
        let part = part(&mut rest, &mut specificity)?;
        parts.push((part, Step::End));
        if parts.len() > PARTS_MAX {
            return None;
        }
        let spaces = rest.len() - rest.trim_start().len();
        rest = rest.trim_start();
        if rest.is_empty() {
            break;
        }
        let step = match rest.chars().next()? {
            '>' => Step::Parent,
            '+' => Step::Previous,
            '~' => Step::Earlier,
            _ if spaces > 0 => Step::Ancestor,
            _ => return None,
        };
        if step != Step::Ancestor {
            rest = rest[1..].trim_start();
        }
        // It leads from the part that comes now to the one before.
        parts.last_mut()?.1 = step;
    }
    // From right to left, each with the step that leads away from it.
    let steps: Vec<Step> = std::iter::once(Step::End).chain(parts.iter().map(|(_, step)| *step)).take(parts.len()).collect();
    let parts = parts.into_iter().zip(steps).map(|((part, _), step)| (part, step)).rev().collect();
    Some(Selector { parts, specificity })
}

fn word<'a>(rest: &mut &'a str) -> Option<&'a str> {
    let length = rest.find(|c: char| !(c.is_alphanumeric() || matches!(c, '-' | '_'))).unwrap_or(rest.len());
    let (word, after) = rest.split_at(length);
    *rest = after;
    (!word.is_empty()).then_some(word)
}

fn part(rest: &mut &str, specificity: &mut [usize; 3]) -> Option<Part> {
    let mut part = Part::default();
    let before = rest.len();
    if let Some(after) = rest.strip_prefix('*') {
        *rest = after;
    } else if let Some(name) = word(rest) {
        part.name = Some(name.to_ascii_lowercase());
        specificity[2] += 1;
    }
    while let Some(first) = rest.chars().next() {
        let (condition, weight) = match first {
            '#' => {
                *rest = &rest[1..];
                (Condition::Id(word(rest)?.to_owned()), 0)
            }
            '.' => {
                *rest = &rest[1..];
                (Condition::Class(word(rest)?.to_owned()), 1)
            }
            '[' => {
                let (inner, after) = rest[1..].split_once(']')?;
                *rest = after;
                (attribute(inner)?, 1)
            }
            ':' => {
                *rest = &rest[1..];
                let name = word(rest)?.to_ascii_lowercase();
                let argument = match rest.strip_prefix('(').and_then(|inner| inner.split_once(')')) {
                    Some((inner, after)) => {
                        *rest = after;
                        Some(inner.trim())
                    }
                    None => None,
                };
                (pseudo(&name, argument, specificity)?, if name == "not" { 3 } else { 1 })
            }
            _ => break,
        };
        if let Some(count) = specificity.get_mut(weight) {
            *count += 1;
        }
        part.conditions.push(condition);
    }
    (rest.len() < before).then_some(part)
}

fn attribute(text: &str) -> Option<Condition> {
    let Some((name, value)) = text.split_once('=') else { return Some(Condition::Attribute(text.trim().to_owned(), None)) };
    let operator = name.chars().last().filter(|last| matches!(last, '~' | '|' | '^' | '$' | '*'));
    let name = name.strip_suffix(['~', '|', '^', '$', '*']).unwrap_or(name).trim();
    let value = value.trim().trim_matches(['"', '\'']);
    Some(Condition::Attribute(name.to_owned(), Some((operator.unwrap_or('='), value.to_owned()))))
}

fn pseudo(name: &str, argument: Option<&str>, specificity: &mut [usize; 3]) -> Option<Condition> {
    match (name, argument) {
        ("first-child", None) => Some(Condition::First),
        ("last-child", None) => Some(Condition::Last),
        ("nth-child", Some(text)) => {
            let text = text.to_ascii_lowercase().replace(' ', "");
            match &*text {
                "odd" => Some(Condition::Nth(2, 1)),
                "even" => Some(Condition::Nth(2, 0)),
                _ => match text.split_once('n') {
                    None => Some(Condition::Nth(0, text.parse().ok()?)),
                    Some((a, b)) => {
                        let a = match a {
                            "" | "+" => 1,
                            "-" => -1,
                            _ => a.parse().ok()?,
                        };
                        Some(Condition::Nth(a, if b.is_empty() { 0 } else { b.parse().ok()? }))
                    }
                },
            }
        }
        ("not", Some(mut text)) => {
            let part = part(&mut text, specificity)?;
            text.is_empty().then(|| Condition::Not(Box::new(part)))
        }
        _ => None,
    }
}

impl Selector {
    /// Whether it is about an element. `None` when `work` is used up.
    pub(super) fn fits(&self, page: &Page, element: usize, work: &mut u64) -> Option<bool> {
        self.fits_from(page, element, 0, work)
    }

    fn fits_from(&self, page: &Page, element: usize, index: usize, work: &mut u64) -> Option<bool> {
        *work = work.checked_sub(1)?;
        let Some((part, step)) = self.parts.get(index) else { return Some(true) };
        if !part.fits(page, element) {
            return Some(false);
        }
        let item = &page.elements[element];
        let (mut next, many) = match step {
            Step::End => return Some(true),
            Step::Parent => (item.parent, false),
            Step::Ancestor => (item.parent, true),
            Step::Previous => (item.previous, false),
            Step::Earlier => (item.previous, true),
        };
        while let Some(other) = next {
            if self.fits_from(page, other, index + 1, work)? {
                return Some(true);
            }
            let item = &page.elements[other];
            next = if many { if *step == Step::Ancestor { item.parent } else { item.previous } } else { None };
        }
        Some(false)
    }
}

impl Part {
    fn fits(&self, page: &Page, element: usize) -> bool {
        let item = &page.elements[element];
        self.name.as_ref().is_none_or(|name| *name == item.tag.name)
            && self.conditions.iter().all(|condition| condition.fits(page, element))
    }
}

impl Condition {
    fn fits(&self, page: &Page, element: usize) -> bool {
        let item = &page.elements[element];
        let value = |name: &str| item.tag.value(name);
        match self {
            Self::Id(id) => value("id") == Some(id),
            Self::Class(class) => value("class").is_some_and(|classes| classes.split_ascii_whitespace().any(|other| other == class)),
            Self::Attribute(name, None) => value(name).is_some(),
            Self::Attribute(name, Some((operator, wanted))) => value(name).is_some_and(|value| match operator {
                '~' => value.split_ascii_whitespace().any(|word| word == wanted),
                '|' => value.strip_prefix(wanted.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('-')),
                '^' => !wanted.is_empty() && value.starts_with(wanted.as_str()),
                '$' => !wanted.is_empty() && value.ends_with(wanted.as_str()),
                '*' => !wanted.is_empty() && value.contains(wanted.as_str()),
                _ => value == wanted,
            }),
            Self::First => item.number == 1,
            Self::Last => item.is_last,
            Self::Nth(a, b) => {
                let number = i64::try_from(item.number).unwrap_or(i64::MAX) - b;
                if *a == 0 { number == 0 } else { number % a == 0 && number / a >= 0 }
            }
            Self::Not(part) => !part.fits(page, element),
        }
    }
}
