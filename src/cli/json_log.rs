//! The log as JSON: one object a line, for programs that collect logs. The names of its fields are documented in docs/operations.md.

use std::{
    fmt::{self, Write as _},
    sync::atomic::{AtomicBool, Ordering},
};

use jiff::{Timestamp, Unit};
use serde_json::{Map, Value};
use tracing::{
    Event, Level, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::{
    fmt::{FmtContext, FormatEvent, FormatFields, format::Writer},
    registry::LookupSpan,
};

use crate::{resources::Key, traces};

/// Whether everything on standard error is JSON.
static IS_ON: AtomicBool = AtomicBool::new(false);

/// From now on it is.
pub fn begin() {
    IS_ON.store(true, Ordering::Relaxed);
}

/// Whether it is.
pub fn is_on() -> bool {
    IS_ON.load(Ordering::Relaxed)
}

/// What a command says, as a line of the log.
pub fn said(message: &str) -> String {
    let mut entry = Entry::default();
    entry.fields.insert("message".to_owned(), message.into());
    entry.line(&time(), Level::INFO, env!("CARGO_PKG_NAME"), traces::current())
}

fn time() -> String {
    let now = Timestamp::now();
    now.round(Unit::Millisecond).unwrap_or(now).to_string()
}

/// Writes each event as an object.
pub struct JsonLines;

impl<S, N> FormatEvent<S, N> for JsonLines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, _: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let mut entry = Entry::default();
        event.record(&mut entry);
        let metadata = event.metadata();
        writer.write_str(&entry.line(&time(), *metadata.level(), metadata.target(), traces::current()))
    }
}

/// What an event says.
#[derive(Default)]
struct Entry {
    fields: Map<String, Value>,
}

impl Entry {
    /// The line, with its end.
    fn line(mut self, time: &str, level: Level, target: &str, trace: Option<(String, String)>) -> String {
        let mut line = Map::new();
        line.insert("time".to_owned(), time.into());
        line.insert("level".to_owned(), level.as_str().to_lowercase().into());
        line.insert("target".to_owned(), target.into());
        line.insert("message".to_owned(), self.fields.shift_remove("message").unwrap_or_default());
        self.name_object(&mut line);
        if let Some((trace_id, span_id)) = trace {
            line.insert("trace_id".to_owned(), trace_id.into());
            line.insert("span_id".to_owned(), span_id.into());
        }
        for (name, value) in self.fields {
            line.entry(name).or_insert(value);
        }
        format!("{}\n", Value::Object(line))
    }

    /// The object that it is about, by kind, namespace and name, however the event names it.
    fn name_object(&mut self, line: &mut Map<String, Value>) {
        let kinds = [("server", Some("SendingServer")), ("campaign", Some("Campaign")), ("plan", Some("Plan")), ("name", None)];
        for (field, kind) in kinds {
            let Some(key) = self.fields.get(field).and_then(Value::as_str).and_then(Key::parse) else { continue };
            if let Some(kind) = kind.map(Value::from).or_else(|| self.fields.shift_remove("kind")) {
                line.insert("kind".to_owned(), kind);
            }
            self.fields.shift_remove(field);
            line.insert("namespace".to_owned(), key.namespace.to_string().into());
            line.insert("name".to_owned(), key.name.to_string().into());
            return;
        }
    }

    fn note(&mut self, field: &Field, value: Value) {
        self.fields.insert(field.name().to_owned(), value);
    }
}

impl Visit for Entry {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.note(field, value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.note(field, value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.note(field, value.into());
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.note(field, value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.note(field, value.into());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let mut text = String::new();
        // A string takes everything.
        let _ = write!(text, "{value:?}");
        self.note(field, text.into());
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn line(fields: Value, trace: Option<(String, String)>) -> String {
        let Value::Object(fields) = fields else { panic!("an object") };
        Entry { fields }.line("2026-11-30T11:00:00.5Z", Level::WARN, "mailfleet::engine", trace)
    }

    #[test]
    fn a_line_is_one_object_that_names_what_it_is_about() {
        let text = line(json!({"server": "ops/relay", "message": "a send failed:\n\"421\"", "reason": "TimedOut", "times": 3}), None);
        assert_eq!(
            text,
            "{\"time\":\"2026-11-30T11:00:00.5Z\",\"level\":\"warn\",\"target\":\"mailfleet::engine\",\"message\":\"a send failed:\\n\\\"421\\\"\",\
             \"kind\":\"SendingServer\",\"namespace\":\"ops\",\"name\":\"relay\",\"reason\":\"TimedOut\",\"times\":3}\n"
        );
        let named: Value = serde_json::from_str(&line(json!({"kind": "Plan", "name": "ops/pro"}), None)).expect("JSON");
        assert_eq!((&named["kind"], &named["namespace"], &named["name"]), (&json!("Plan"), &json!("ops"), &json!("pro")));
        // What is no object keeps its name.
        let other: Value = serde_json::from_str(&line(json!({"name": "labels"}), Some(("t".into(), "s".into())))).expect("JSON");
        assert_eq!((&other["name"], &other["trace_id"], &other["span_id"]), (&json!("labels"), &json!("t"), &json!("s")));
        // No field of an event takes the place of those that every line has.
        let own: Value = serde_json::from_str(&line(json!({"level": "high", "time": 7}), None)).expect("JSON");
        assert_eq!((&own["level"], &own["time"]), (&json!("warn"), &json!("2026-11-30T11:00:00.5Z")));
    }
}
