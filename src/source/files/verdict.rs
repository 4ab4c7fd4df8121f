//! The verdict on a document: accepted or rejected, as an API server with our CRDs would have it.
//!
//! Schema and CEL rules are those of the CRD. The rest is what every API server does: `normal` drops nulls, `metadata` has
//! Kubernetes' rules of metadata, `lists` checks that keys of lists are unique, and `cel` evaluates the rules. The types can read
//! everything that is accepted here.

mod breach;
mod cel;
mod lists;
mod metadata;
mod normal;

use std::sync::LazyLock;

use jsonschema::{PatternOptions, Validator};
use serde_json::Value;

use self::cel::Rules;
use super::explain::{self, Explainer};
use crate::{
    resources::schema,
    yaml::{Fault, FieldPath, Node},
};

/// A kind's schema and rules, ready to judge.
pub(super) struct Judge {
    schema: Value,
    validator: Validator,
    rules: Rules,
}

impl Judge {
    fn new(kind: &str) -> Option<Self> {
        let schema = schema::for_validation(kind)?;
        let validator = jsonschema::options().with_pattern_options(PatternOptions::regex()).build(&schema).ok()?;
        let rules = Rules::compile(&schema).ok()?;
        Some(Self { schema, validator, rules })
    }

    /// The judge of a kind, made once. None for kinds that Mailfleet does not read.
    pub(super) fn of(kind: &str) -> Option<&'static Self> {
        static JUDGES: LazyLock<Vec<(&'static str, Option<Judge>)>> =
            LazyLock::new(|| schema::KINDS.iter().map(|kind| (*kind, Judge::new(kind))).collect());
        JUDGES.iter().find(|(name, _)| *name == kind).and_then(|(_, judge)| judge.as_ref())
    }

    /// Every fault of a document; `json` becomes what an API server would store. `node` gives the places; `is_secret` keeps values
    /// out of the messages.
    pub(super) fn judge(&self, kind: &str, node: &Node, json: &mut Value, is_secret: bool) -> Vec<Fault> {
        normal::normalise(json, &self.schema);
        let explainer = Explainer { schema: &self.schema, node, is_secret };
        let mut problems: Vec<Fault> = self.validator.iter_errors(&*json).flat_map(|error| explainer.explain(&error)).collect();
        explain::drop_told_twice(&mut problems);
        problems.extend(metadata::faults(kind, json).into_iter().map(|breach| breach.at(node)));
        let mut breaches = Vec::new();
        lists::breaches(&self.schema, json, &FieldPath::default(), &mut breaches);
        // Where the shape is wrong, a rule could only repeat that.
        let is_shaped = |path: &FieldPath| !problems.iter().any(|problem| path.contains(&problem.path) || problem.path.contains(path));
        self.rules.breaches(&self.schema, json, &FieldPath::default(), &is_shaped, &mut breaches);
        problems.extend(breaches.into_iter().map(|breach| breach.at(node)));
        problems
    }
}

#[cfg(test)]
mod tests;
