//! The template engine in its sandbox: no files, no parts but those that the campaign has, bounded work and bounded output.
//!
//! A field that a recipient does not have is a failure and never an empty string: a message to "Dear ," is worse than
//! none. `{{ name | default("friend") }}` and `{% if name %}` say that it may be missing.

mod filters;
mod scope;

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use minijinja::{Environment, Error, ErrorKind, Value};

pub(super) use self::scope::Root;
use self::{filters::environment, scope::Anything};
use super::{
    Fault, RenderError,
    guard::{self, Guarded},
    parts::{self, Parts},
    words,
};

/// What one body may cost: each unit is about one instruction, or 64 bytes of output.
const FUEL: u64 = 100_000;
/// What the trial run of a template may cost, which finds words that the engine does not know.
const TRIAL_FUEL: u64 = 20_000;
/// The largest rendered body, in bytes.
const BODY_MAX: usize = 5 << 20;
/// The largest rendered header value, in bytes.
const HEADER_MAX: usize = 16 << 10;

/// What a compiled template holds for each byte of its source: the text here, in the engine, and in its instructions.
const COST_OF_BYTE: usize = 4;
/// What it holds for each token of its tags, bytes.
const COST_OF_TOKEN: usize = 80;
/// A campaign whose templates have at most this many tokens in all is compiled again for each small request. That takes about as long as
/// rendering one message, while the engine reserves 10 KiB for each compiled field, however short.
const TOKENS_OF_RESTING: usize = 1000;
/// What the engine holds for each campaign beside its templates, bytes; filters and tests are shared. A few fields are in it.
const COST_OF_ENVIRONMENT: usize = 32 << 10;
/// Fields that are counted with the environment.
const FIELDS_OF_ENVIRONMENT: usize = 3;
/// What the engine reserves for each compiled field, however short, bytes.
const COST_OF_FIELD: usize = 10 << 10;

/// What all templates of a campaign may hold together while they are compiled, bytes: as much as those of a namespace.
const HELD_MAX: usize = 128 << 20;

/// How much of a template a fault quotes, in characters.
const SHOWN_MAX: usize = 80;
/// How much of the engine's message is shown, in characters.
const DETAIL_MAX: usize = 300;

/// All templates of a campaign while they are checked; each is named by the path of its field.
pub(super) struct Compiler {
    environment: Environment<'static>,
    sources: Sources,
    /// What templates may extend, include and import.
    parts: Option<Parts>,
    /// The names of the parts that were compiled, as the engine knows them.
    compiled: BTreeSet<String>,
    /// How much all parts hold of what the engine does not charge for.
    of_parts: Bounds,
    /// The tokens of `sources`.
    tokens: usize,
    /// What is held so far, bytes.
    held: usize,
}

/// How much templates hold of what the engine does not charge for.
#[derive(Debug, Default)]
struct Bounds {
    tags: usize,
    tokens: usize,
    named_blocks: usize,
}

/// The valid templates of a campaign. They are compiled again for the first recipient: most campaigns of a fleet wait or are
/// done, and a compiled template is many times larger than its text.
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
    /// The text, where it is the same for everybody.
    pub(super) fn constant(&self) -> Option<&str> {
        self.constant.as_deref()
    }
}

/// Where a value is printed: decides on escaping and size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// A header: not escaped, and short.
    Header,
    /// A text body: not escaped.
    Text,
    /// An HTML body: values are escaped.
    Html,
}

impl Compiler {
    pub(super) fn new(parts: Option<&Parts>) -> Self {
        let mut environment = environment();
        environment.set_fuel(Some(TRIAL_FUEL));
        let (parts, compiled, of_parts) = (parts.cloned(), BTreeSet::new(), Bounds::default());
        Self { environment, sources: Vec::new(), parts, compiled, of_parts, tokens: 0, held: 0 }
    }

    /// What templates may extend, include and import.
    pub(super) fn parts(&self) -> Option<&Parts> {
        self.parts.as_ref()
    }

    /// Compiles a template and runs it once, so that an unknown filter is found before the first recipient. A panic in the engine
    /// is a fault of this template.
    pub(super) fn add(&mut self, path: &str, source: Arc<str>, place: Place) -> Result<Part, Fault> {
        caught(path, || self.try_add(path, source, place))
    }

    fn try_add(&mut self, path: &str, source: Arc<str>, place: Place) -> Result<Part, Fault> {
        debug_assert_eq!(is_html(path), place == Place::Html);
        let length_max = if place == Place::Header { HEADER_MAX } else { BODY_MAX };
        if !is_template(&source) {
            self.hold(path, source.len())?;
            return Ok(Part { path: path.to_owned(), constant: Some(source), length_max });
        }
        let guarded = self.checked(path, path, &source)?;
        self.add_parts(&source, place == Place::Html)?;
        let template = self.environment.get_template(path).map_err(|error| told(path, &error))?;
        if let Err(error) = template.render(Value::from_object(Anything(4)))
            && let Some(error) = unknown(&error)
        {
            return Err(told(path, error));
        }
        self.keep_source(path.to_owned(), source, guarded);
        Ok(Part { path: path.to_owned(), constant: None, length_max })
    }

    /// Makes a template known to the engine under a name, and says how it is run. Faults are at `path`.
    fn checked(&mut self, path: &str, name: &str, source: &str) -> Result<Guarded, Fault> {
        if let Some(message) = words::comment_fault(source) {
            return Err(Fault::new(path, message));
        }
        let unclosed = || unclosed(path, source);
        let guarded = guard::guarded(source).map_err(|message| unclosed().unwrap_or_else(|| Fault::new(path, message)))?;
        self.hold(path, COST_OF_BYTE * guarded.run.len() + COST_OF_TOKEN * guarded.run_tokens + COST_OF_FIELD)?;
        // First as it is written, so that a mistake is quoted as it is written.
        self.environment.add_template_owned(name.to_owned(), source.to_owned()).map_err(|error| {
            let position = error.range().map_or(source.len(), |range| range.start);
            unclosed().unwrap_or_else(|| Fault::new(path, format!("{}{}", in_words(&error), words::hint(source, position))))
        })?;
        if let Some(message) = words::unknown(source, self.parts.is_some(), &|word| self.environment.compile_expression(word)?.eval(())) {
            return Err(Fault::new(path, message));
        }
        if guarded.run != source {
            self.environment.add_template_owned(name.to_owned(), guarded.run.clone()).map_err(|error| told(path, &error))?;
        }
        Ok(guarded)
    }

    /// Compiles the parts that a template's tags name, and those that these name. What is not there was told before.
    fn add_parts(&mut self, source: &str, is_html: bool) -> Result<(), Fault> {
        for named in parts::named_in(source).into_iter().filter(parts::Named::is_by_tag) {
            let name = known_as(&named.name, is_html);
            if !self.compiled.insert(name.clone()) {
                continue;
            }
            let Some(text) = self.parts.as_ref().and_then(|parts| parts.source(&named.name, is_html)) else { continue };
            let guarded = self.part(&named.name, &name, &text)?;
            self.keep_source(name, text.clone(), guarded);
            self.add_parts(&text, is_html)?;
        }
        Ok(())
    }

    /// Looks for mistakes in a part of MJML, which is compiled where it is included.
    pub(super) fn check_part(&mut self, name: &str, source: &str) -> Result<(), Fault> {
        if !is_template(source) || !self.compiled.insert(format!("mjml:{name}")) {
            return Ok(());
        }
        caught(&parts::path_of(name), || {
            self.part(name, &known_as(name, true), source)?;
            self.add_parts(source, true)
        })
    }

    fn part(&mut self, name: &str, known_as: &str, source: &str) -> Result<Guarded, Fault> {
        let path = parts::path_of(name);
        let guarded = self.checked(&path, known_as, source)?;
        let Bounds { tags, tokens, named_blocks } = &mut self.of_parts;
        *tags += guarded.tags;
        *tokens += guarded.tokens;
        *named_blocks += guarded.named_blocks;
        let bounds = [
            (*tags, guard::TAGS_MAX, "tags"),
            (*tokens, guard::TOKENS_MAX, "words and signs in tags"),
            (*named_blocks, guard::NAMED_BLOCKS_MAX, "`{% block %}`s"),
        ];
        match bounds.into_iter().find(|(held, most, _)| held > most) {
            Some((_, most, what)) => {
                Err(Fault::new(path, format!("with this part, the campaign's parts have more than {most} {what}; make them shorter")))
            }
            None => Ok(guarded),
        }
    }

    /// Keeps a template as it is run: the campaign's own text, where that is the same.
    fn keep_source(&mut self, name: String, source: Arc<str>, Guarded { run, run_tokens, .. }: Guarded) {
        self.tokens += run_tokens;
        self.sources.push((name, if *run == *source { source } else { run.into() }));
    }

    /// Whether the templates hold too much together: no further one is compiled.
    pub(super) fn is_full(&self) -> bool {
        self.held > HELD_MAX
    }

    /// Counts what one more template holds.
    fn hold(&mut self, path: &str, bytes: usize) -> Result<(), Fault> {
        self.held = self.held.saturating_add(bytes);
        let too_much = || {
            let max = HELD_MAX >> 20;
            Fault::new(
                path,
                format!(
                    "with this one, the templates of the campaign need more than {max} MiB of memory; make them smaller, or write fewer variants"
                ),
            )
        };
        if self.is_full() { Err(too_much()) } else { Ok(()) }
    }

    /// What is needed for recipients.
    pub(super) fn finish(self) -> Engine {
        let bytes: usize = self.sources.iter().map(|(path, source)| path.len() + source.len()).sum();
        let rests = self.tokens <= TOKENS_OF_RESTING;
        // What an allocator rounds up and leaves between two texts is an eighth at most.
        let cost = if rests {
            bytes + bytes / 8
        } else {
            // The fields of a campaign without variants are counted with its environment.
            let fields = self.sources.len().saturating_sub(FIELDS_OF_ENVIRONMENT);
            COST_OF_BYTE * bytes + COST_OF_TOKEN * self.tokens + COST_OF_ENVIRONMENT + COST_OF_FIELD * fields
        };
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
        let text = rendered.map_err(|error| {
            let Fault { path, message, .. } = told(&part.path, &error);
            RenderError::new(path, message)
        })?;
        if text.len() > part.length_max {
            return Err(RenderError::new(&part.path, format!("it came out longer than {} bytes", part.length_max)));
        }
        Ok(text)
    }
}

/// A panic in the engine is a fault of the template.
fn caught<T>(path: &str, compile: impl FnOnce() -> Result<T, Fault>) -> Result<T, Fault> {
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(compile))
        .unwrap_or_else(|_| Err(Fault::new(path, "the template engine failed on it; look for a mistake in a very long line or number")))
}

/// The fault of a template that the engine refuses, where a tag is not closed and is not CSS or JavaScript.
fn unclosed(path: &str, source: &str) -> Option<Fault> {
    let (line, start, quote) = words::unclosed(source)?;
    let close = if quote.starts_with("{{") { "}}" } else { "%}" };
    let message = format!("line {line}: syntax error: `{close}` is missing: `{quote}` is not closed");
    words::hint(source, start + 2).is_empty().then(|| Fault::new(path, message).quoting(quote))
}

/// Whether it contains anything for the engine.
pub(super) fn is_template(source: &str) -> bool {
    ["{{", "{%", "{#"].iter().any(|open| source.contains(open))
}

/// Whether a path is that of an HTML body, in which values are escaped: of the content, or of a variant.
pub(super) fn is_html(path: &str) -> bool {
    if path.starts_with(HTML_PART) {
        return true;
    }
    let Some(field) = path.strip_prefix("spec.content.") else { return false };
    let of_variant = field.strip_prefix("variants.").and_then(|rest| rest.split_once('.'));
    matches!(of_variant.map_or(field, |(_, field)| field), "html" | "mjml")
}

/// Before the names of parts as the engine knows them: in HTML values are escaped, so that one that is named in HTML and in text is
/// compiled for each.
const HTML_PART: &str = "html:";
const TEXT_PART: &str = "text:";

/// A part's name as the engine knows it.
fn known_as(name: &str, is_html: bool) -> String {
    format!("{}{name}", if is_html { HTML_PART } else { TEXT_PART })
}

/// The path of a template that the engine knows by this name.
fn path_of(known_as: &str) -> String {
    let part = known_as.strip_prefix(HTML_PART).or_else(|| known_as.strip_prefix(TEXT_PART));
    part.map_or_else(|| known_as.to_owned(), parts::path_of)
}

/// What the engine says of blocks that cannot work, whoever the recipient is.
const OF_BLOCKS: [&str; 4] = ["cannot super outside of block", "no parent block exists", "tried to extend a second time", "Required block"];

/// The error or its cause, where it is about a word that the engine does not know, or arguments that it does not accept.
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
                | ErrorKind::UnknownBlock
        ) || error.detail().is_some_and(|detail| OF_BLOCKS.iter().any(|words| detail.contains(words)));
        if is_of_the_template {
            return Some(error);
        }
        current = std::error::Error::source(error).and_then(|source| source.downcast_ref());
    }
    None
}

/// The error at the template that it is in: `path`, or a part that it is made of.
fn told(path: &str, error: &Error) -> Fault {
    let mut error = error;
    while matches!(error.kind(), ErrorKind::BadInclude | ErrorKind::EvalBlock)
        && let Some(inner) = std::error::Error::source(error).and_then(|source| source.downcast_ref())
    {
        error = inner;
    }
    Fault::new(error.name().map_or_else(|| path.to_owned(), path_of), in_words(error))
}

/// The error in words, with the template's line.
fn in_words(error: &Error) -> String {
    let source =
        error.template_source().zip(error.range()).and_then(|(source, range)| source.get(range)).map(str::trim).filter(|s| !s.is_empty());
    let written = |text: &str, length: usize| guard::as_written(text).chars().take(length).collect::<String>();
    let shown = source.map(|source| written(source, SHOWN_MAX)).filter(|shown| !shown.is_empty());
    let detail =
        || error.detail().map_or_else(|| error.kind().to_string(), |detail| format!("{}: {}", error.kind(), written(detail, DETAIL_MAX)));
    let what = match (error.kind(), shown) {
        (ErrorKind::UndefinedError, Some(shown)) => {
            format!(
                "`{shown}` needs a field that the recipient does not have; where it may be missing, write `{{{{ … | default(\"…\") }}}}`"
            )
        }
        (ErrorKind::OutOfFuel, _) => "it needs too much computation or prints too much".to_owned(),
        (_, Some(shown)) => format!("{}, at `{shown}`", detail()),
        (_, None) => detail(),
    };
    error.line().map_or_else(|| what.clone(), |line| format!("line {line}: {what}"))
}
