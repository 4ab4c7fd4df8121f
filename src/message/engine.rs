//! The template engine in its sandbox: no files, no includes, bounded work and bounded output.
//!
//! A name that a recipient does not have is a failure and never an empty string: a letter to "Dear ," is worse than
//! none. `{{ name | default("friend") }}` and `{% if name %}` say that it may be missing.

use std::{
    fmt,
    sync::{Arc, OnceLock},
};

use minijinja::{
    AutoEscape, Environment, Error, ErrorKind, State, UndefinedBehavior, Value,
    value::{Enumerator, Object},
};

use super::Fault;
use super::RenderError;
use crate::audience::Fields;

/// What one body may cost: about an instruction, or 64 bytes of output, for each unit.
const FUEL: u64 = 100_000;
/// The largest rendered body, in bytes.
const BODY_MAX: usize = 5 << 20;
/// The largest rendered header value, in bytes.
const HEADER_MAX: usize = 16 << 10;

/// All templates of a campaign while they are judged; each is named by the path of its field.
pub(super) struct Compiler {
    environment: Environment<'static>,
    sources: Vec<(String, String)>,
}

/// The good templates of a campaign. They are compiled anew for the first recipient: most campaigns of a fleet wait or are
/// done, and what is compiled is many times larger than its text.
#[derive(Debug)]
pub(super) struct Engine {
    environment: OnceLock<Environment<'static>>,
    sources: Vec<(String, String)>,
}

/// One template of the campaign.
#[derive(Debug)]
pub(super) struct Part {
    path: String,
    /// The text itself, when nothing in it is a tag.
    constant: Option<String>,
    length_max: usize,
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

fn environment() -> Environment<'static> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::SemiStrict);
    environment.set_fuel(Some(FUEL));
    environment.set_debug(true);
    environment.set_auto_escape_callback(|name| if is_html(name) { AutoEscape::Html } else { AutoEscape::None });
    // It prints all that there is, which no letter wants.
    environment.remove_global("debug");
    environment
}

impl Compiler {
    pub(super) fn new() -> Self {
        Self { environment: environment(), sources: Vec::new() }
    }

    /// Compiles a template and tries it once, so that an unknown filter is known before the first recipient.
    pub(super) fn add(&mut self, path: &str, source: String, place: Place) -> Result<Part, Fault> {
        debug_assert_eq!(is_html(path), place == Place::Html);
        let length_max = if place == Place::Header { HEADER_MAX } else { BODY_MAX };
        if !["{{", "{%", "{#"].iter().any(|open| source.contains(open)) {
            return Ok(Part { path: path.to_owned(), constant: Some(source), length_max });
        }
        let fault = |error: &Error| Fault::new(path, told(error));
        self.environment.add_template_owned(path.to_owned(), source.clone()).map_err(|error| fault(&error))?;
        let template = self.environment.get_template(path).map_err(|error| fault(&error))?;
        if let Err(error) = template.render(Value::from_object(Anything(4)))
            && let Some(error) = unknown(&error)
        {
            return Err(fault(error));
        }
        self.sources.push((path.to_owned(), source));
        Ok(Part { path: path.to_owned(), constant: None, length_max })
    }

    /// What is needed for recipients.
    pub(super) fn finish(self) -> Engine {
        Engine { environment: OnceLock::new(), sources: self.sources }
    }
}

impl Engine {
    fn environment(&self) -> &Environment<'static> {
        self.environment.get_or_init(|| {
            let mut environment = environment();
            for (path, source) in &self.sources {
                // It was compiled before; if it could not be, rendering would say so.
                let _ = environment.add_template_owned(path.clone(), source.clone());
            }
            environment
        })
    }

    /// Prints a template for one recipient.
    pub(super) fn render(&self, part: &Part, root: &Value) -> Result<String, RenderError> {
        if let Some(constant) = &part.constant {
            return Ok(constant.clone());
        }
        let rendered = self.environment().get_template(&part.path).and_then(|template| template.render(root.clone()));
        let text = rendered.map_err(|error| RenderError::new(&part.path, told(&error)))?;
        if text.len() > part.length_max {
            return Err(RenderError::new(&part.path, format!("it came out longer than {} bytes", part.length_max)));
        }
        Ok(text)
    }
}

fn is_html(path: &str) -> bool {
    matches!(path, "spec.content.html" | "spec.content.mjml")
}

/// The error itself or its cause, when it is about a word that the engine does not know.
fn unknown(error: &Error) -> Option<&Error> {
    let mut current = Some(error);
    while let Some(error) = current {
        if matches!(error.kind(), ErrorKind::UnknownFilter | ErrorKind::UnknownTest | ErrorKind::UnknownFunction | ErrorKind::UnknownMethod)
        {
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
    let shown = source.map(|source| source.chars().take(80).collect::<String>());
    let detail = || error.detail().map_or_else(|| error.kind().to_string(), |detail| format!("{}: {detail}", error.kind()));
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

    // No field is a function.
    fn call(self: &Arc<Self>, _: &mut State<'_, '_>, _: &[Value]) -> Result<Value, Error> {
        Err(Error::from(ErrorKind::UnknownFunction))
    }

    fn render(self: &Arc<Self>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("sample")
    }
}
