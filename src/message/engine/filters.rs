//! The filters, tests and functions of templates: the engine's own, what Jinja has beyond them, and how values are printed.

use std::{borrow::Cow, sync::LazyLock};

use minijinja::{
    AutoEscape, Environment, Error, ErrorKind, Output, State, UndefinedBehavior, Value, escape_formatter,
    value::{Kwargs, Rest, StringInput, ValueKind},
};
use minijinja_contrib::{filters as contrib, pycompat};

use super::{FUEL, is_html, known_as};
use crate::message::{guard, measure, words};

/// The largest indentation of JSON, in characters.
const INDENT_MAX: i64 = 16;

/// What it costs to read a part into a message once, beside what it prints.
const FUEL_OF_PART: u64 = 20;

/// An environment without a template. Filters, tests and functions are the same for all campaigns, and are held once.
pub(super) fn environment() -> Environment<'static> {
    static EMPTY: LazyLock<Environment<'static>> = LazyLock::new(made_environment);
    EMPTY.clone()
}

fn made_environment() -> Environment<'static> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::SemiStrict);
    environment.set_fuel(Some(FUEL));
    environment.set_debug(true);
    environment.set_auto_escape_callback(|name| if is_html(name) { AutoEscape::Html } else { AutoEscape::None });
    environment.set_formatter(format);
    environment.add_filter("escape", escape);
    environment.add_filter("e", escape);
    // What Jinja has beyond the engine's built-ins.
    environment.add_filter("tojson", tojson);
    environment.add_filter("truncate", truncate);
    environment.add_filter("striptags", contrib::striptags);
    environment.add_filter("wordwrap", wordwrap);
    environment.add_filter("filesizeformat", contrib::filesizeformat);
    environment.add_filter("pluralize", contrib::pluralize);
    environment.add_filter("dateformat", |state: &mut State<'_, '_>, value: Value, rest: Rest<Value>, named: Kwargs| {
        contrib::dateformat(state, value, by_name(&rest, &named, &["format"])?)
    });
    environment.add_filter("timeformat", |state: &mut State<'_, '_>, value: Value, rest: Rest<Value>, named: Kwargs| {
        contrib::timeformat(state, value, by_name(&rest, &named, &["format"])?)
    });
    environment.add_filter("datetimeformat", |state: &mut State<'_, '_>, value: Value, rest: Rest<Value>, named: Kwargs| {
        contrib::datetimeformat(state, value, by_name(&rest, &named, &["format"])?)
    });
    environment.set_unknown_method_callback(|state, value, name, arguments| {
        if !words::METHODS.contains(&name) {
            return Err(Error::new(ErrorKind::UnknownMethod, format!("there is no method `{name}`")));
        }
        measure::charge(state, value)?;
        pycompat::unknown_method_callback(state, value, name, arguments)
    });
    environment.add_filter(guard::MEASURED, measure::measured);
    environment.add_filter(guard::SINGLE, measure::single);
    environment.add_filter(guard::PART, part);
    environment.set_path_join_callback(|name, within| known_as(name, is_html(within)).into());
    add_comparisons(&mut environment);
    // It prints everything that is in scope, which no message needs.
    environment.remove_global("debug");
    // Maps that it merges are walked once for each path to them, and Jinja does not have it.
    environment.remove_filter("chain");
    environment
}

/// The tests that look into what they compare. Their operand may come without parentheses, where no filter can follow.
fn add_comparisons(environment: &mut Environment<'static>) {
    type Compare = fn(&Value, &Value) -> bool;
    type Has = fn(&str, &str) -> bool;
    let comparisons: [(&[&str], Compare); 6] = [
        (&["eq", "equalto", "=="], |a, b| a == b),
        (&["ne", "!="], |a, b| a != b),
        (&["lt", "lessthan", "<"], |a, b| a < b),
        (&["le", "<="], |a, b| a <= b),
        (&["gt", "greaterthan", ">"], |a, b| a > b),
        (&["ge", ">="], |a, b| a >= b),
    ];
    for (names, compare) in comparisons {
        for name in names {
            environment.add_test(*name, move |state: &mut State<'_, '_>, a: Value, b: Value| {
                Ok::<_, Error>(compare(&measure::tested(state, a)?, &measure::tested(state, b)?))
            });
        }
    }
    environment.add_test("in", |state: &mut State<'_, '_>, value: Value, container: Value| {
        let (value, container) = (measure::tested(state, value)?, measure::tested(state, container)?);
        minijinja::tests::is_in(state, &value, &container)
    });
    environment.add_test("lower", |state: &mut State<'_, '_>, value: Value| {
        Ok::<_, Error>(minijinja::tests::is_lower(&measure::tested(state, value)?))
    });
    environment.add_test("upper", |state: &mut State<'_, '_>, value: Value| {
        Ok::<_, Error>(minijinja::tests::is_upper(&measure::tested(state, value)?))
    });
    // Lists are written out for these.
    let parts: [(&str, Has); 2] =
        [("startingwith", |text, part| text.starts_with(part)), ("endingwith", |text, part| text.ends_with(part))];
    for (name, has) in parts {
        environment.add_test(name, move |state: &mut State<'_, '_>, text: Value, part: Value| {
            let (text, part) = (measure::tested(state, text)?, measure::tested(state, part)?);
            Ok::<_, Error>(has(StringInput::new(state, &text)?.as_str(), StringInput::new(state, &part)?.as_str()))
        });
    }
}

/// Prints a value. The engine's own formatter writes `/` as `&#x2f;` into HTML, which makes links unreadable and protects nobody.
fn format(out: &mut Output, state: &mut State<'_, '_>, value: &Value) -> Result<(), Error> {
    let is_plain = matches!(value.kind(), ValueKind::Undefined | ValueKind::None | ValueKind::Bool | ValueKind::Number);
    measure::charge(state, value)?;
    if is_plain || value.is_safe() || !matches!(state.auto_escape(), AutoEscape::Html) {
        return escape_formatter(out, state, value);
    }
    let text = value.as_str().map_or_else(|| Cow::Owned(value.to_string()), Cow::Borrowed);
    let mut rest = &*text;
    while let Some(at) = rest.bytes().position(|byte| matches!(byte, b'<' | b'>' | b'&' | b'"' | b'\'')) {
        let entity = match rest.as_bytes()[at] {
            b'<' => "&lt;",
            b'>' => "&gt;",
            b'&' => "&amp;",
            b'"' => "&quot;",
            _ => "&#x27;",
        };
        out.write_str(&rest[..at])?;
        out.write_str(entity)?;
        rest = &rest[at + 1..];
    }
    Ok(out.write_str(rest)?)
}

/// The filter behind the name of a part: the engine sets up each of its blocks, and charges for none.
fn part(state: &mut State<'_, '_>, name: Value) -> Result<Value, Error> {
    state.consume_fuel(FUEL_OF_PART)?;
    Ok(name)
}

/// Keyword arguments, of which Jinja also accepts the first as positional.
fn by_name(plain: &[Value], named: &Kwargs, names: &[&'static str]) -> Result<Kwargs, Error> {
    if plain.len() > names.len() {
        return Err(Error::from(ErrorKind::TooManyArguments));
    }
    let mut pairs: Vec<(String, Value)> = names.iter().map(|name| (*name).to_owned()).zip(plain.iter().cloned()).collect();
    for name in named.args() {
        pairs.push((name.to_owned(), named.get(name)?));
    }
    Ok(pairs.into_iter().collect())
}

/// The engine's own filter bounds its output only after writing it: each element may be indented by any amount.
fn tojson(state: &mut State<'_, '_>, value: &Value, indent: Option<Value>, named: Kwargs) -> Result<Value, Error> {
    let asked = match &indent {
        Some(indent) => Some(indent.clone()),
        None => named.peek::<Option<Value>>("indent").unwrap_or_default(),
    };
    let width = asked.filter(|asked| asked.kind() == ValueKind::Number).and_then(|asked| i64::try_from(asked).ok());
    if width.is_some_and(|width| width > INDENT_MAX) {
        return Err(Error::new(ErrorKind::InvalidOperation, format!("`tojson` indents by {INDENT_MAX} at most")));
    }
    measure::charge(state, value)?;
    let json = minijinja::filters::tojson(value, indent, named)?;
    state.consume_fuel(json.as_str().map_or(0, str::len) as u64 / 64)?;
    Ok(json)
}

fn truncate(state: &mut State<'_, '_>, value: Value, rest: Rest<Value>, named: Kwargs) -> Result<Value, Error> {
    contrib::truncate(state, &value, by_name(&rest, &named, &["length", "killwords", "end", "leeway"])?)
}

fn wordwrap(value: Value, rest: Rest<Value>, named: Kwargs) -> Result<Value, Error> {
    contrib::wordwrap(&value, by_name(&rest, &named, &["width", "break_long_words", "wrapstring", "break_on_hyphens"])?)
}

/// The filter that escapes for HTML, even where autoescaping is off.
fn escape(state: &mut State<'_, '_>, value: &Value) -> Result<Value, Error> {
    if value.is_safe() {
        return Ok(value.clone());
    }
    measure::charge(state, value)?;
    let text = value.to_string();
    Ok(Value::from_safe_string(
        text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;").replace('\'', "&#x27;"),
    ))
}
