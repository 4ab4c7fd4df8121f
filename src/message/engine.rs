//! The template engine in its sandbox: no files, no includes, bounded work and bounded output.
//!
//! A name that a recipient does not have is a failure and never an empty string: a letter to "Dear ," is worse than
//! none. `{{ name | default("friend") }}` and `{% if name %}` say that it may be missing.

use std::{
    borrow::Cow,
    fmt,
    sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError},
};

use minijinja::{
    AutoEscape, Environment, Error, ErrorKind, Output, State, UndefinedBehavior, Value, escape_formatter,
    value::{Enumerator, Kwargs, Object, Rest, StringInput, ValueKind},
};
use minijinja_contrib::{filters, pycompat};

use super::{Fault, RenderError, guard, measure, words};
use crate::audience::Fields;

/// What one body may cost: about an instruction, or 64 bytes of output, for each unit.
const FUEL: u64 = 100_000;
/// What the first try of a template may cost, which looks for words that the engine does not know.
const TRIAL_FUEL: u64 = 20_000;
/// The largest rendered body, in bytes.
const BODY_MAX: usize = 5 << 20;
/// The most that an element of JSON is set in by, in characters.
const INDENT_MAX: i64 = 16;
/// The largest rendered header value, in bytes.
const HEADER_MAX: usize = 16 << 10;

/// What a compiled template holds for each byte of its source: the text here, in the engine, and in its instructions.
const COST_OF_BYTE: usize = 4;
/// What it holds for each token of its tags, bytes.
const COST_OF_TOKEN: usize = 80;
/// A campaign whose templates have at most this many tokens in all is compiled again for each small request. That takes about as long as
/// rendering one message, while the engine reserves 10 KiB for each compiled field, however short.
const TOKENS_OF_RESTING: usize = 1000;
/// What the engine holds for each campaign beside its templates, bytes; filters and tests are shared.
const COST_OF_ENVIRONMENT: usize = 32 << 10;

/// How much of a template is shown in a fault, in characters.
const SHOWN_MAX: usize = 80;
/// How much of what the engine says is shown, in characters.
const DETAIL_MAX: usize = 300;

/// All templates of a campaign while they are judged; each is named by the path of its field.
pub(super) struct Compiler {
    environment: Environment<'static>,
    sources: Sources,
}

/// The good templates of a campaign. They are compiled anew for the first recipient: most campaigns of a fleet wait or are
/// done, and what is compiled is many times larger than its text.
#[derive(Debug)]
pub(super) struct Engine {
    held: Mutex<Held>,
    /// Whether the compiled form is dropped between small requests, and only the texts are kept.
    rests: bool,
    /// The most that it holds between requests, bytes.
    pub(super) cost: usize,
}

/// Templates by the paths of their fields. A text that runs as it is written is the campaign's own.
type Sources = Vec<(String, Arc<str>)>;

/// What an [`Engine`] holds.
#[derive(Debug, Default)]
struct Held {
    /// Empty while compiled, unless it rests: the compiled form contains the text.
    sources: Sources,
    compiled: Option<Arc<Environment<'static>>>,
}

/// One template of the campaign.
#[derive(Debug)]
pub(super) struct Part {
    /// The path of the field: `spec.subject`.
    pub(super) path: String,
    /// The text itself, when nothing in it is a tag.
    constant: Option<Arc<str>>,
    length_max: usize,
}

impl Part {
    /// A part of which there is no template.
    pub(super) fn missing(path: &str) -> Self {
        Self { path: path.to_owned(), constant: None, length_max: 0 }
    }

    /// The text, when it is the same for everybody.
    pub(super) fn constant(&self) -> Option<&str> {
        self.constant.as_deref()
    }
}

/// What is printed where: decides on escaping and on the size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// A header: as it is, and short.
    Header,
    /// A text body: as it is.
    Text,
    /// An HTML body: values are escaped.
    Html,
}

/// An environment without a template. Filters, tests and functions are the same for all campaigns, and are held once.
fn environment() -> Environment<'static> {
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
    // What Jinja has beyond the engine's own.
    environment.add_filter("tojson", tojson);
    environment.add_filter("truncate", truncate);
    environment.add_filter("striptags", filters::striptags);
    environment.add_filter("wordwrap", wordwrap);
    environment.add_filter("filesizeformat", filters::filesizeformat);
    environment.add_filter("pluralize", filters::pluralize);
    environment.add_filter("dateformat", |state: &mut State<'_, '_>, value: Value, rest: Rest<Value>, named: Kwargs| {
        filters::dateformat(state, value, by_name(&rest, &named, &["format"])?)
    });
    environment.add_filter("timeformat", |state: &mut State<'_, '_>, value: Value, rest: Rest<Value>, named: Kwargs| {
        filters::timeformat(state, value, by_name(&rest, &named, &["format"])?)
    });
    environment.add_filter("datetimeformat", |state: &mut State<'_, '_>, value: Value, rest: Rest<Value>, named: Kwargs| {
        filters::datetimeformat(state, value, by_name(&rest, &named, &["format"])?)
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
    add_comparisons(&mut environment);
    // It prints all that there is, which no letter wants.
    environment.remove_global("debug");
    // Maps that it joins are looked through once for each way that leads to them, and Jinja does not know it.
    environment.remove_filter("chain");
    environment
}

/// The tests that look into what they compare. Their operand may stand without brackets, where no filter fits.
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

/// Prints a value. The engine's own way writes `/` as `&#x2f;` into HTML, which makes links unreadable and saves nobody.
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

/// Arguments by their names, of which Jinja also takes the first without.
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

/// The engine's own bounds what it writes once it is written: each element may be set in by as much as is asked for.
fn tojson(state: &mut State<'_, '_>, value: &Value, indent: Option<Value>, named: Kwargs) -> Result<Value, Error> {
    let asked = match &indent {
        Some(indent) => Some(indent.clone()),
        None => named.peek::<Option<Value>>("indent").unwrap_or_default(),
    };
    let width = asked.filter(|asked| asked.kind() == ValueKind::Number).and_then(|asked| i64::try_from(asked).ok());
    if width.is_some_and(|width| width > INDENT_MAX) {
        return Err(Error::new(ErrorKind::InvalidOperation, format!("`tojson` sets in by {INDENT_MAX} at most")));
    }
    measure::charge(state, value)?;
    let json = minijinja::filters::tojson(value, indent, named)?;
    state.consume_fuel(json.as_str().map_or(0, str::len) as u64 / 64)?;
    Ok(json)
}

fn truncate(state: &mut State<'_, '_>, value: Value, rest: Rest<Value>, named: Kwargs) -> Result<Value, Error> {
    filters::truncate(state, &value, by_name(&rest, &named, &["length", "killwords", "end", "leeway"])?)
}

fn wordwrap(value: Value, rest: Rest<Value>, named: Kwargs) -> Result<Value, Error> {
    filters::wordwrap(&value, by_name(&rest, &named, &["width", "break_long_words", "wrapstring", "break_on_hyphens"])?)
}

/// The filter that escapes for HTML, also where nothing is escaped by itself.
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

impl Compiler {
    pub(super) fn new() -> Self {
        let mut environment = environment();
        environment.set_fuel(Some(TRIAL_FUEL));
        Self { environment, sources: Vec::new() }
    }

    /// Compiles a template and tries it once, so that an unknown filter is known before the first recipient. What panics in the engine
    /// is a fault of this template.
    pub(super) fn add(&mut self, path: &str, source: Arc<str>, place: Place) -> Result<Part, Fault> {
        let added = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| self.try_add(path, source, place)));
        added.unwrap_or_else(|_| {
            Err(Fault::new(
                path,
                "the template engine broke off at a mistake in it; look for one in a very long line or a very long number",
            ))
        })
    }

    fn try_add(&mut self, path: &str, source: Arc<str>, place: Place) -> Result<Part, Fault> {
        debug_assert_eq!(is_html(path), place == Place::Html);
        let length_max = if place == Place::Header { HEADER_MAX } else { BODY_MAX };
        if !is_template(&source) {
            return Ok(Part { path: path.to_owned(), constant: Some(source), length_max });
        }
        if let Some(message) = words::comment_fault(&source) {
            return Err(Fault::new(path, message));
        }
        let fault = |error: &Error| Fault::new(path, told(error));
        let run = guard::guarded(&source).map_err(|message| Fault::new(path, message))?;
        // First as it is written, so that a mistake is shown as it is written.
        self.environment.add_template_owned(path.to_owned(), source.to_string()).map_err(|error| {
            let position = error.range().map_or(source.len(), |range| range.start);
            Fault::new(path, format!("{}{}", told(&error), words::hint(&source, position)))
        })?;
        if let Some(message) = words::unknown(&source, &|expression| self.environment.compile_expression(expression)?.eval(())) {
            return Err(Fault::new(path, message));
        }
        let run = if *run == *source {
            source
        } else {
            self.environment.add_template_owned(path.to_owned(), run.clone()).map_err(|error| fault(&error))?;
            run.into()
        };
        let template = self.environment.get_template(path).map_err(|error| fault(&error))?;
        if let Err(error) = template.render(Value::from_object(Anything(4)))
            && let Some(error) = unknown(&error)
        {
            return Err(fault(error));
        }
        self.sources.push((path.to_owned(), run));
        Ok(Part { path: path.to_owned(), constant: None, length_max })
    }

    /// What is needed for recipients.
    pub(super) fn finish(self) -> Engine {
        let tokens: usize = self.sources.iter().map(|(_, source)| guard::tokens(source)).sum();
        let bytes: usize = self.sources.iter().map(|(path, source)| path.len() + source.len()).sum();
        let rests = tokens <= TOKENS_OF_RESTING;
        let cost = if rests { bytes } else { COST_OF_BYTE * bytes + COST_OF_TOKEN * tokens + COST_OF_ENVIRONMENT };
        Engine { held: Mutex::new(Held { sources: self.sources, compiled: None }), rests, cost }
    }
}

impl Engine {
    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn environment(&self) -> Arc<Environment<'static>> {
        let mut held = self.held();
        if let Some(compiled) = &held.compiled {
            return compiled.clone();
        }
        let mut environment = environment();
        for (path, source) in &held.sources {
            // It was compiled before; if it could not be, rendering would say so.
            let _ = environment.add_template_owned(path.clone(), source.to_string());
        }
        if !self.rests {
            held.sources = Sources::new();
        }
        held.compiled.insert(Arc::new(environment)).clone()
    }

    /// Drops the compiled form where compiling it again is cheap.
    pub(super) fn rest(&self) {
        if self.rests {
            let compiled = self.held().compiled.take();
            drop(compiled);
        }
    }

    /// Prints a template for one recipient.
    pub(super) fn render(&self, part: &Part, root: &Value) -> Result<String, RenderError> {
        if let Some(constant) = &part.constant {
            return Ok(constant.to_string());
        }
        let rendered = self.environment().get_template(&part.path).and_then(|template| template.render(root.clone()));
        let text = rendered.map_err(|error| RenderError::new(&part.path, told(&error)))?;
        if text.len() > part.length_max {
            return Err(RenderError::new(&part.path, format!("it came out longer than {} bytes", part.length_max)));
        }
        Ok(text)
    }
}

/// Whether anything in it is for the engine.
pub(super) fn is_template(source: &str) -> bool {
    ["{{", "{%", "{#"].iter().any(|open| source.contains(open))
}

fn is_html(path: &str) -> bool {
    matches!(path, "spec.content.html" | "spec.content.mjml")
}

/// The error itself or its cause, when it is about a word that the engine does not know, or arguments that it does not take.
fn unknown(error: &Error) -> Option<&Error> {
    let mut current = Some(error);
    while let Some(error) = current {
        let is_of_the_template = matches!(
            error.kind(),
            ErrorKind::UnknownFilter
                | ErrorKind::UnknownTest
                | ErrorKind::UnknownFunction
                | ErrorKind::UnknownMethod
                | ErrorKind::TooManyArguments
                | ErrorKind::MissingArgument
        );
        if is_of_the_template {
            return Some(error);
        }
        current = std::error::Error::source(error).and_then(|source| source.downcast_ref());
    }
    None
}

/// The error in words, with the line of the template.
fn told(error: &Error) -> String {
    let source =
        error.template_source().zip(error.range()).and_then(|(source, range)| source.get(range)).map(str::trim).filter(|s| !s.is_empty());
    let written = |text: &str, length: usize| guard::as_written(text).chars().take(length).collect::<String>();
    let shown = source.map(|source| written(source, SHOWN_MAX)).filter(|shown| !shown.is_empty());
    let detail =
        || error.detail().map_or_else(|| error.kind().to_string(), |detail| format!("{}: {}", error.kind(), written(detail, DETAIL_MAX)));
    let what = match (error.kind(), shown) {
        (ErrorKind::UndefinedError, Some(shown)) => {
            format!(
                "`{shown}` needs a field that the recipient does not have; where it may be missing write `{{{{ … | default(\"…\") }}}}`"
            )
        }
        (ErrorKind::OutOfFuel, _) => "it takes too much work or prints too much".to_owned(),
        (_, Some(shown)) => format!("{}, at `{shown}`", detail()),
        (_, None) => detail(),
    };
    error.line().map_or_else(|| what.clone(), |line| format!("line {line}: {what}"))
}

/// What a template sees: the recipient's fields by their names, all of them as `fields`, and `campaign`. A field of
/// the recipient goes before.
#[derive(Debug)]
pub(super) struct Root {
    pub(super) fields: Fields,
    pub(super) campaign: Value,
}

impl Root {
    fn value(&self, name: &str) -> Option<Value> {
        self.fields.value(name).or_else(|| match name {
            "campaign" => Some(self.campaign.clone()),
            "fields" => Some(self.fields.to_value()),
            _ => None,
        })
    }
}

impl Object for Root {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        self.value(key.as_str()?)
    }

    fn get_value_by_str(self: &Arc<Self>, key: &str) -> Option<Value> {
        self.value(key)
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::Values(self.fields.names().chain(["campaign", "fields"]).map(Value::from).collect())
    }
}

/// A recipient who has every field, for the first try. Each field has fields again, so many levels deep: a filter
/// that walks through a value must come to its end.
#[derive(Debug)]
struct Anything(u8);

impl Object for Anything {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        // The engine looks for its own functions only where there is no such field.
        if matches!(key.as_str(), Some("dict" | "namespace" | "range")) {
            return None;
        }
        Some(self.0.checked_sub(1).map_or_else(|| Value::from("sample"), |levels| Value::from_object(Self(levels))))
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::Values(vec![Value::from("sample")])
    }

    fn call_method(self: &Arc<Self>, _: &mut State<'_, '_>, name: &str, _: &[Value]) -> Result<Value, Error> {
        let sample = || self.0.checked_sub(1).map_or_else(|| Value::from("sample"), |levels| Value::from_object(Self(levels)));
        match name {
            "items" => Ok(Value::from(vec![Value::from(vec![Value::from("sample"), sample()])])),
            _ if words::METHODS.contains(&name) => Ok(sample()),
            _ => Err(Error::new(ErrorKind::UnknownMethod, format!("there is no method `{name}`"))),
        }
    }

    // No field is a function.
    fn call(self: &Arc<Self>, _: &mut State<'_, '_>, _: &[Value]) -> Result<Value, Error> {
        Err(Error::from(ErrorKind::UnknownFunction))
    }

    fn render(self: &Arc<Self>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("sample")
    }
}
