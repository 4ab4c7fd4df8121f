//! How an object stands by its status, as kstatus reads one: done, under way, or in need of a person. Pure.

use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use crate::resources::{self, Key, Kind, Object};

/// How an object stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Its status is about its present spec, and nothing is under way.
    Done,
    /// Something is under way: what.
    Pending(String),
    /// Only a person can help: why.
    Failed(String),
}

/// How an object stands that is wanted like this.
#[must_use]
pub fn standing<S, T>(wanted: &Object<S, T>, found: Option<&Value>, is_off: bool) -> Standing
where
    S: PartialEq + Serialize + DeserializeOwned,
    Object<S, T>: Kind,
{
    let metadata = wanted.metadata();
    let namespace = metadata.namespace.as_deref().unwrap_or(resources::DEFAULT_NAMESPACE);
    let title = format!("{} {}", <Object<S, T> as Kind>::KIND, Key::new(namespace, metadata.name.as_str()));
    let Some(found) = found else { return Standing::Pending(format!("{title} does not exist yet")) };
    let mut without_status = found.clone();
    without_status.as_object_mut().map(|object| object.remove("status"));
    let is_wanted = resources::from_json::<Object<S, T>>(&without_status).is_ok_and(|there| there.spec == wanted.spec);
    if !is_wanted {
        return Standing::Pending(format!("{title} still has another spec"));
    }
    let status = &found["status"];
    let generation = found.pointer("/metadata/generation").and_then(Value::as_i64);
    if generation.is_some() && status["observedGeneration"].as_i64() != generation {
        return Standing::Pending(format!("{title} has not been processed yet"));
    }
    let condition = |kind: &str| {
        let conditions = status["conditions"].as_array().into_iter().flatten();
        conditions.into_iter().find(|condition| condition["type"] == kind)
    };
    let word = |condition: &Value, field: &str| condition[field].as_str().unwrap_or_default().to_owned();
    let told = |condition: &Value| format!("{title}: {}: {}", word(condition, "reason"), word(condition, "message"));
    let is_true = |condition: &&Value| condition["status"] == "True";
    if is_off {
        return Standing::Done;
    }
    if let Some(stalled) = condition("Stalled").filter(is_true) {
        return Standing::Failed(told(stalled));
    }
    if let Some(under_way) = condition("Reconciling").filter(is_true) {
        return Standing::Pending(told(under_way));
    }
    match condition("Ready") {
        Some(ready) if ready["status"] == "True" => Standing::Done,
        Some(ready) => Standing::Pending(told(ready)),
        None => Standing::Pending(format!("{title} has no conditions yet")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::resources::Plan;

    #[test]
    fn a_status_counts_for_the_spec_that_it_is_about() {
        let object = |weight: u32, observed: i64, conditions: Value| {
            json!({
                "apiVersion": "mailfleet.dev/v1alpha1", "kind": "Plan", "metadata": {"name": "pro", "generation": 2},
                "spec": {"servers": [{"name": "a", "weight": weight}]},
                "status": {"observedGeneration": observed, "conditions": conditions},
            })
        };
        let condition = |kind: &str, status: &str| json!({"type": kind, "status": status, "reason": "Because", "message": "It is so."});
        let wanted: Plan = serde_json::from_value(
            object(3, 2, json!([]))
                .as_object()
                .map(|all| {
                    let mut all = all.clone();
                    all.remove("status");
                    Value::Object(all)
                })
                .expect("an object"),
        )
        .expect("a plan");
        let told = || "Plan default/pro: Because: It is so.".to_owned();
        let of = |found: &Value| standing(&wanted, Some(found), false);
        for (found, expected) in [
            (object(3, 2, json!([condition("Ready", "True")])), Standing::Done),
            (object(1, 2, json!([condition("Ready", "True")])), Standing::Pending("Plan default/pro still has another spec".to_owned())),
            (
                object(3, 1, json!([condition("Ready", "True")])),
                Standing::Pending("Plan default/pro has not been processed yet".to_owned()),
            ),
            (object(3, 2, json!([condition("Ready", "False"), condition("Stalled", "True")])), Standing::Failed(told())),
            (object(3, 2, json!([condition("Ready", "False"), condition("Reconciling", "True")])), Standing::Pending(told())),
            (object(3, 2, json!([condition("Ready", "Unknown"), condition("Stalled", "False")])), Standing::Pending(told())),
            (object(3, 2, json!([])), Standing::Pending("Plan default/pro has no conditions yet".to_owned())),
        ] {
            assert_eq!(of(&found), expected, "{found}");
        }
        assert_eq!(standing(&wanted, None, false), Standing::Pending("Plan default/pro does not exist yet".to_owned()));
        assert_eq!(standing(&wanted, Some(&object(3, 2, json!([condition("Stalled", "True")]))), true), Standing::Done);
    }
}
