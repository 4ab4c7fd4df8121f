//! Evaluates the CRDs' rules: the same CEL on the same values.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use cel::{Context, Env, ExecutionError, Program, extensions};
use serde_json::Value;

use super::breach::{Breach, children};
use crate::{
    resources::{Duration, rule::RULES},
    source::secrets::quoted,
    yaml::{FieldPath, Step},
};

/// Reserved words of CEL; a field of such a name is `__name__` in a rule (Kubernetes' escaping).
const KEPT_WORDS: &[&str] = &[
    "as",
    "break",
    "const",
    "continue",
    "else",
    "false",
    "for",
    "function",
    "if",
    "import",
    "in",
    "let",
    "loop",
    "namespace",
    "null",
    "package",
    "return",
    "true",
    "var",
    "void",
    "while",
];

/// The compiled rules of a schema, in the shape of the schema.
pub(super) struct Rules {
    env: Arc<Env>,
    root: RuleTree,
}

#[derive(Default)]
struct RuleTree {
    own: Vec<Compiled>,
    properties: BTreeMap<String, RuleTree>,
    items: Option<Box<RuleTree>>,
    additional: Option<Box<RuleTree>>,
}

struct Compiled {
    program: Program,
    message: String,
    below: FieldPath,
    /// The fields of which it requires exactly one.
    choices: Vec<String>,
}

impl Rules {
    /// Compiles every rule of a schema.
    ///
    /// # Errors
    /// When a rule is not CEL.
    pub(super) fn compile(schema: &Value) -> Result<Self, String> {
        let mut env = Env::stdlib();
        env.add_extension(extensions::strings).map_err(|error| error.to_string())?;
        let root = RuleTree::compile(schema, &env)?.unwrap_or_default();
        Ok(Self { env: Arc::new(env), root })
    }

    /// Adds every rule that does not hold. What a rule says of a field that is not `is_shaped` is left out.
    pub(super) fn breaches(
        &self,
        schema: &Value,
        json: &Value,
        path: &FieldPath,
        is_shaped: &dyn Fn(&FieldPath) -> bool,
        found: &mut Vec<Breach>,
    ) {
        self.visit(&self.root, schema, json, path, is_shaped, found);
    }

    fn visit(
        &self,
        tree: &RuleTree,
        schema: &Value,
        json: &Value,
        path: &FieldPath,
        is_shaped: &dyn Fn(&FieldPath) -> bool,
        found: &mut Vec<Breach>,
    ) {
        if json.is_null() {
            return;
        }
        if !tree.own.is_empty() {
            self.apply(&tree.own, schema, json, path, is_shaped, found);
        }
        for (schema, json, path) in children(schema, json, path) {
            let below = match path.0.last() {
                Some(Step::Key(name)) => tree.properties.get(name).or(tree.additional.as_deref()),
                Some(Step::Index(_)) => tree.items.as_deref(),
                None => None,
            };
            if let Some(below) = below {
                self.visit(below, schema, json, &path, is_shaped, found);
            }
        }
    }

    fn apply(
        &self,
        rules: &[Compiled],
        schema: &Value,
        json: &Value,
        path: &FieldPath,
        is_shaped: &dyn Fn(&FieldPath) -> bool,
        found: &mut Vec<Breach>,
    ) {
        let mut context = Context::with_env(Arc::clone(&self.env));
        context.add_variable_from_value("self", to_cel(json, schema));
        let is_declared = context.add_function("duration", duration).is_ok();
        for rule in rules {
            let at = FieldPath([&*path.0, &*rule.below.0].concat());
            match rule.program.execute(&context) {
                Ok(cel::Value::Bool(true)) if is_declared => {}
                Ok(_) if is_shaped(&at) => found.push(Breach::new(at, rule.words(json))),
                // An API server refuses what it cannot evaluate; where the shape is wrong, that is the reason.
                Err(error) if is_shaped(path) => {
                    found.push(Breach::new(at, format!("{} (this could not be evaluated: {error})", rule.message)));
                }
                _ => {}
            }
        }
    }
}

impl Compiled {
    /// The message; where one of several fields is needed, which of them are given.
    fn words(&self, json: &Value) -> String {
        if self.choices.is_empty() {
            return self.message.clone();
        }
        let given: Vec<&String> = self.choices.iter().filter(|name| json.get(name.as_str()).is_some()).collect();
        let given = if given.is_empty() { "none is given".to_owned() } else { format!("{} are given", quoted(&given)) };
        format!("{}; {given}", self.message)
    }
}

/// The fields of which a rule requires exactly one; none for other rules.
fn choices(rule: &str) -> Vec<String> {
    let list = rule.strip_prefix('[').and_then(|rest| rest.split_once("].exists_one(given, given)")).map(|(list, _)| list);
    let name = |part: &str| part.strip_prefix("has(self.")?.strip_suffix(')').map(str::to_owned);
    list.into_iter().flat_map(|list| list.split(", ")).filter_map(name).collect()
}

impl RuleTree {
    /// None where neither this schema nor one below it has a rule.
    fn compile(schema: &Value, env: &Env) -> Result<Option<Self>, String> {
        let mut tree = Self::default();
        for rule in schema.get(RULES).and_then(Value::as_array).into_iter().flatten() {
            let text = |key: &str| rule.get(key).and_then(Value::as_str).unwrap_or_default();
            let program = env.compile(text("rule")).map_err(|error| format!("{}: {error}", text("rule")))?;
            tree.own.push(Compiled {
                program,
                message: text("message").to_owned(),
                below: FieldPath::parse(text("fieldPath")),
                choices: choices(text("rule")),
            });
        }
        for (name, schema) in schema.get("properties").and_then(Value::as_object).into_iter().flatten() {
            if let Some(below) = Self::compile(schema, env)? {
                tree.properties.insert(name.clone(), below);
            }
        }
        let below = |keyword: &str| match schema.get(keyword) {
            Some(schema) => Self::compile(schema, env).map(|tree| tree.map(Box::new)),
            None => Ok(None),
        };
        tree.items = below("items")?;
        tree.additional = below("additionalProperties")?;
        let is_empty = tree.own.is_empty() && tree.properties.is_empty() && tree.items.is_none() && tree.additional.is_none();
        Ok((!is_empty).then_some(tree))
    }
}

/// The value as a rule sees it: typed by the schema, without unknown fields.
fn to_cel(json: &Value, schema: &Value) -> cel::Value {
    match json {
        Value::Null => cel::Value::Null,
        Value::Bool(value) => cel::Value::Bool(*value),
        Value::Number(number) => {
            let is_float = schema.get("type").is_some_and(|kind| kind == "number");
            match number.as_i64() {
                Some(whole) if !is_float => cel::Value::Int(whole),
                _ => cel::Value::Float(number.as_f64().unwrap_or(f64::NAN)),
            }
        }
        Value::String(text) => cel::Value::String(Arc::new(text.clone())),
        Value::Array(items) => {
            let schema = schema.get("items").unwrap_or(&Value::Null);
            cel::Value::List(Arc::new(items.iter().map(|item| to_cel(item, schema)).collect()))
        }
        Value::Object(object) => {
            let properties = schema.get("properties").and_then(Value::as_object);
            let additional = schema.get("additionalProperties").filter(|schema| schema.is_object());
            let known = object.iter().filter_map(|(name, value)| match (properties.and_then(|p| p.get(name)), additional) {
                (Some(schema), _) => Some((escaped(name), to_cel(value, schema))),
                (None, Some(schema)) => Some((name.clone(), to_cel(value, schema))),
                (None, None) => None,
            });
            known.collect::<HashMap<String, cel::Value>>().into()
        }
    }
}

fn escaped(name: &str) -> String {
    if KEPT_WORDS.contains(&name) { format!("__{name}__") } else { name.to_owned() }
}

/// `duration` of a text, in milliseconds: what rules compare.
fn duration(text: Arc<String>) -> Result<i64, ExecutionError> {
    text.parse::<Duration>().map(Duration::as_millis).map_err(|error| ExecutionError::function_error("duration", error))
}
