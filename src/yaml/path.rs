//! The path of a field within a document: `spec.servers[2].name`, `metadata.labels["a.b/c"]`.

use std::fmt;

/// One step from a value to a value within it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    Key(String),
    /// An index of a list, from 0.
    Index(usize),
}

/// The path from a document's root to a field. It prints as people write it, and [`FieldPath::parse`] reads that.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct FieldPath(pub Vec<Step>);

impl FieldPath {
    /// The path of a key below this one.
    #[must_use]
    pub fn key(&self, key: &str) -> Self {
        self.with(Step::Key(key.to_owned()))
    }

    /// The path of one step below this one.
    #[must_use]
    pub fn with(&self, step: Step) -> Self {
        let mut steps = self.0.clone();
        steps.push(step);
        Self(steps)
    }

    /// Whether `other` is this path or lies below it.
    #[must_use]
    pub fn contains(&self, other: &Self) -> bool {
        other.0.starts_with(&self.0)
    }

    /// Reads what `Display` prints; what does not follow that form becomes a key.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let mut steps = Vec::new();
        let mut rest = text;
        while !rest.is_empty() {
            rest = rest.strip_prefix('.').unwrap_or(rest);
            if let Some(quoted) = rest.strip_prefix("[\"")
                && let Some(end) = quoted.find("\"]")
            {
                steps.push(Step::Key(quoted[..end].to_owned()));
                rest = &quoted[end + 2..];
            } else if let Some(inner) = rest.strip_prefix('[')
                && let Some(end) = inner.find(']')
                && let Ok(index) = inner[..end].parse()
            {
                steps.push(Step::Index(index));
                rest = &inner[end + 1..];
            } else {
                let end = rest.char_indices().skip(1).find(|(_, c)| matches!(c, '.' | '[')).map_or(rest.len(), |(at, _)| at);
                steps.push(Step::Key(rest[..end].to_owned()));
                rest = &rest[end..];
            }
        }
        Self(steps)
    }
}

impl fmt::Display for FieldPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, step) in self.0.iter().enumerate() {
            match step {
                Step::Index(index) => write!(f, "[{index}]")?,
                Step::Key(key) if key.is_empty() || key.contains(['.', '[', ']', '/', ' ', '"']) => write!(f, "[\"{key}\"]")?,
                Step::Key(key) if position == 0 => f.write_str(key)?,
                Step::Key(key) => write!(f, ".{key}")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::FieldPath;

    #[test]
    fn reads_what_it_prints() {
        for text in
            ["spec", "spec.servers[2].name", "metadata.labels[\"a.b/c\"]", "spec.warmup.schedule[0]", "", "spec.audience.inline[3][\"\"]"]
        {
            assert_eq!(FieldPath::parse(text).to_string(), text);
        }
        assert!(FieldPath::parse("spec.content").contains(&FieldPath::parse("spec.content.html")));
        assert!(!FieldPath::parse("spec.content").contains(&FieldPath::parse("spec.contents")));
    }
}
