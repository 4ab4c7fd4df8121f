//! What is sent: a campaign's templates and one recipient become the bytes of a message (RFC 5322, MIME).
//!
//! Pure: no I/O, no clock, no randomness; the same arguments give the same bytes. What data prints can neither leave
//! its header (control characters become spaces) nor its HTML (values are escaped), whatever it holds.

mod attachments;
mod body;
mod content;
mod engine;
mod entities;
mod fault;
mod guard;
mod header;
mod id;
mod images;
mod language;
mod layouts;
mod measure;
mod media;
mod mjml;
mod named;
mod parts;
mod preheader;
mod structured;
mod tags;
mod template_set;
mod text;
mod variants;
mod words;

#[cfg(test)]
mod tests;

use std::{
    borrow::Cow,
    collections::BTreeSet,
    fmt,
    hash::{Hash as _, Hasher as _},
    sync::Arc,
};

use jiff::{Timestamp, fmt::rfc2822::DateTimePrinter, tz::TimeZone};
use minijinja::Value;
use siphasher::sip::SipHasher13;

use self::{
    attachments::Attached,
    engine::{Compiler, Engine, Part, Place, Root, is_template},
    structured::Grammar,
    template_set::{Bodies, TemplateSet, Text},
};
pub use self::{
    attachments::{Attachment, FILE_MAX, FILES_MAX, FileBytes},
    content::Content,
    fault::Fault,
    id::message_id,
    images::unreachable_images,
    named::{NamedField, fields_named, missing_fields, misspelt_fields},
    parts::{PART_MAX, PARTS_BYTES_MAX, Parts, part_named},
    template_set::{CONTENT_ITSELF, Variant},
    variants::{Census, Choice, Chooser},
};
use crate::{
    audience::{Address, Recipient},
    meta::Pieces,
    resources::{
        campaign::Header,
        senders::{Says, Senders, is_of_sender},
    },
};

/// The longest unsubscribe URL once rendered: a header line ends at 998 characters.
const URL_MAX: usize = 950;

/// What a message depends on in addition to its recipient.
#[derive(Clone, Copy, Debug)]
pub struct RenderContext<'a> {
    /// From [`message_id`]; the same on every attempt.
    pub message_id: &'a str,
    /// When the message was made, for its Date field.
    pub date: Timestamp,
    /// The campaign's name; templates may print it as `campaign`.
    pub campaign: &'a str,
    /// The domains from which it may be sent, for what templates print; all when absent.
    pub senders: Option<&'a Senders>,
    /// How this recipient unsubscribes on our page; needed where [`Template::needs_link`].
    pub link: Option<Link<'a>>,
}

/// How a recipient unsubscribes on our page.
#[derive(Clone, Copy, Debug)]
pub struct Link<'a> {
    /// The page.
    pub url: &'a str,
    /// The `mailto:` URI that does the same, where mail to it is read.
    pub mailto: Option<&'a str>,
}

/// A message, ready to leave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rendered {
    /// The whole message, lines ended by CRLF, not dot-stuffed.
    pub content: Pieces,
    /// It has bytes above 127 (only when an address has some): 8BITMIME (RFC 6152) is needed.
    pub needs_8bit: bool,
    /// An address has a local part outside ASCII: SMTPUTF8 (RFC 6531) is needed.
    pub needs_smtputf8: bool,
}

/// Why a message could not be made for one recipient.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RenderError {
    /// The field of the campaign: `spec.subject`, `spec.content.html`.
    pub path: String,
    /// What failed, on which line of the template, and what to do.
    pub message: String,
}

impl RenderError {
    fn new(path: impl Into<String>, message: impl Into<String>) -> Self {
        Self { path: path.into(), message: message.into() }
    }
}

impl fmt::Display for RenderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path, self.message)
    }
}

impl std::error::Error for RenderError {}

/// A campaign's content, compiled once for all its recipients.
#[derive(Debug)]
pub struct Template {
    engine: Engine,
    head: Head,
    /// From and Reply-To have no byte above 127, whatever their names print.
    head_is_ascii: bool,
    subject: Part,
    preheader: Option<Part>,
    bodies: Bodies,
    chooser: Chooser,
    /// What differs in each variant, with the tag of its language, in the order of the chooser's names.
    variants: Vec<(TemplateSet, Option<String>)>,
    headers: Vec<(String, Grammar, Part)>,
    unsubscribe: Option<Part>,
    one_click: bool,
    attached: Vec<Attached>,
    /// The fields that it cannot do without.
    needed: Box<[NamedField]>,
    /// A hash of what it was compiled from.
    content: u64,
}

/// From and Reply-To.
#[derive(Debug)]
enum Head {
    /// The same for everybody, with line ends; and the names in them by the paths of their fields.
    Constant(Vec<u8>, Vec<(String, String)>),
    /// Each field with its name and address; a name is made for each recipient.
    Rendered(Vec<(&'static str, Part, Address)>),
}

/// What one recipient gets of the templates.
struct Chosen<'a> {
    subject: &'a Part,
    preheader: Option<&'a Part>,
    bodies: &'a Bodies,
    /// The tag of its language, where that is known.
    language: Option<&'a str>,
}

impl<'a> Chosen<'a> {
    fn parts(&self) -> impl Iterator<Item = &'a Part> + use<'a> {
        [Some(self.subject), self.preheader].into_iter().flatten().chain(self.bodies.parts())
    }
}

impl Template {
    /// Compiles a campaign's content.
    ///
    /// # Errors
    /// Every fault, each with the path of its field.
    pub fn compile(content: &Content) -> Result<Self, Vec<Fault>> {
        // Nothing that names a part is compiled while one is missing or contains itself.
        let mut faults = parts::faults(content);
        if !faults.is_empty() {
            return Err(faults);
        }
        faults.extend(layouts::lost(content));
        let mut compiler = Compiler::new(content.parts.as_ref());
        let (head, head_is_ascii) = head(content, &mut compiler, &mut faults);
        let own = template_set::own(content, &mut compiler, &mut faults);
        let headers = headers(content, &mut compiler, &mut faults);
        let unsubscribe = content.unsubscribe_url.as_ref().and_then(|url| {
            // What precedes the first tag decides, unless the tag itself prints the start.
            let start = url.split('{').next().unwrap_or_default();
            let is_whole = start.len() == url.len();
            if (is_whole || start.contains(':')) && scheme(&if is_whole { url.clone() } else { format!("{start}x") }).is_none() {
                faults.push(Fault::new(UNSUBSCRIBE, "the URL must start with https://, http:// or mailto:"));
                return None;
            }
            keep(&mut faults, compiler.add(UNSUBSCRIBE, url.as_str().into(), Place::Header))
        });
        let attached = attachments::compile(&content.attachments, &mut compiler, &mut faults);
        let variants = template_set::variants(content, &own, &mut compiler, &mut faults);
        let languages = content.variants.iter().map(|variant| language::language_tag(&variant.name));
        match (own.subject, own.bodies) {
            (Some(subject), Some(bodies)) if faults.is_empty() => Ok(Self {
                engine: compiler.finish(),
                head,
                head_is_ascii,
                subject,
                preheader: own.preheader,
                bodies,
                chooser: content.chooser(),
                variants: variants.into_iter().zip(languages).collect(),
                headers,
                unsubscribe,
                one_click: content.one_click,
                attached,
                content: hash_of(content),
                needed: fields_named(content).into_iter().filter(|field| !field.is_optional).collect(),
            }),
            _ => {
                // A part that several templates name is compiled for each.
                let mut told = BTreeSet::new();
                faults.retain(|fault| told.insert(fault.clone()));
                Err(faults)
            }
        }
    }

    /// The fields that it needs and that nobody in an audience has. `known` are the audience's fields, `email` among them; where
    /// `are_texts`, as in a table, they have no attributes.
    #[must_use]
    pub fn missing_fields(&self, known: &[&str], are_texts: bool) -> Vec<Fault> {
        missing_fields(&self.needed, known, are_texts)
    }

    /// What its attachments add to each message, bytes.
    #[must_use]
    pub fn attached_bytes(&self) -> u64 {
        let encoded = |file: &Attached| file.encoded.bytes().len() * if file.is_invitation() { 2 } else { 1 };
        self.attached.iter().map(encoded).sum::<usize>() as u64
    }

    /// Whether its HTML shows images that go with the message.
    #[must_use]
    pub fn has_inline(&self) -> bool {
        self.attached.iter().any(|file| file.inline.is_some())
    }

    /// Chooses the variant of each recipient.
    #[must_use]
    pub fn chooser(&self) -> &Chooser {
        &self.chooser
    }

    /// What is sent as one of the variants; as the content itself where there is no such variant.
    fn chosen(&self, variant: Option<&str>) -> Chosen<'_> {
        let own = Chosen { subject: &self.subject, preheader: self.preheader.as_ref(), bodies: &self.bodies, language: None };
        let place = variant.and_then(|name| self.chooser.names().position(|other| other == name));
        let Some((set, language)) = place.and_then(|place| self.variants.get(place)) else { return own };
        Chosen {
            subject: set.subject.as_ref().unwrap_or(own.subject),
            // That of the content belongs to the content's bodies.
            preheader: set.preheader.as_ref().or(own.preheader.filter(|_| set.bodies.is_none())),
            bodies: set.bodies.as_ref().unwrap_or(own.bodies),
            language: language.as_deref(),
        }
    }

    /// Whether the template at a path (`spec.content.html`) is part of the messages in a variant, or in the content itself.
    #[must_use]
    pub fn prints(&self, path: &str, variant: Option<&str>) -> bool {
        let is = |part: &Part| part.path == path;
        let mut all = self.chosen(None).parts().chain(self.variants.iter().flat_map(|(set, _)| set.parts()));
        !all.any(is) || self.chosen(variant).parts().any(is)
    }

    /// Whether people unsubscribe on our page, so that each message needs the recipient's link.
    #[must_use]
    pub fn needs_link(&self) -> bool {
        self.one_click && self.unsubscribe.is_none()
    }

    /// Drops the compiled form where compiling it again is cheap; called after a request for a few messages.
    pub fn rest(&self) {
        self.engine.rest();
    }

    /// What it occupies at most after [`Template::rest`], in bytes: texts and the engine's instructions.
    #[must_use]
    pub fn cost(&self) -> usize {
        let files: usize = self.attached.iter().map(Attached::cost).sum();
        let needed = files + self.needed.iter().map(NamedField::cost).sum::<usize>();
        let names: Vec<&Part> = match &self.head {
            Head::Constant(head, _) => return self.engine.cost + needed + head.len() + self.parts(&[]),
            Head::Rendered(mailboxes) => mailboxes.iter().map(|(_, part, _)| part).collect(),
        };
        self.engine.cost + needed + self.parts(&names)
    }

    /// What parts that are the same for everybody occupy.
    fn parts(&self, names: &[&Part]) -> usize {
        let headers = self.headers.iter().map(|(_, _, part)| part).chain(self.attached.iter().map(Attached::filename));
        let sets = self.chosen(None).parts().chain(self.variants.iter().flat_map(|(set, _)| set.parts()));
        sets.chain(&self.unsubscribe)
            .chain(headers)
            .chain(names.iter().copied())
            .map(|part| PART + part.constant().map_or(0, |text| text.len() + text.len() / 4))
            .sum()
    }

    /// Makes the message of one recipient.
    ///
    /// # Errors
    /// When a template fails: a field that the recipient does not have, too much work or output, an invalid URL.
    pub fn render(&self, recipient: &Recipient, context: &RenderContext<'_>) -> Result<Rendered, RenderError> {
        self.render_variant(self.chooser.choose(&recipient.fields).variant(), recipient, context)
    }

    /// Makes the message of one recipient in a variant, whichever they get; in the content itself where that is `None`.
    ///
    /// # Errors
    /// As [`Template::render`].
    pub fn render_variant(
        &self,
        variant: Option<&str>,
        recipient: &Recipient,
        context: &RenderContext<'_>,
    ) -> Result<Rendered, RenderError> {
        let Chosen { subject, preheader, bodies, language } = self.chosen(variant);
        let root = |link| Value::from_object(Root { fields: recipient.fields.clone(), campaign: Value::from(context.campaign), link });
        // A page of one's own is a template too, which cannot name what comes out of it.
        let link = self.link(|part| self.engine.render(part, &root(None)), context.link.map(|link| link.url))?;
        let root = root(link.as_deref().map(Value::from));
        let print = |part: &Part| self.engine.render(part, &root);
        let html = bodies.html.as_ref().map(print).transpose()?;
        let text = match &bodies.text {
            Text::Own(part) => print(part)?,
            Text::Derived(part) => text::tidy(print(part)?),
            Text::FromRendered => text::from_html(html.as_deref().unwrap_or_default()),
        };
        let preheader = preheader.map(print).transpose()?;
        let html = html.map(|html| match &preheader {
            Some(preheader) => preheader::put(html, &header::clean(preheader)),
            None => html,
        });

        let body_length = text.len() + html.as_ref().map_or(0, String::len);
        let mut out = Vec::with_capacity(body_length + body_length / 8 + 2048);
        match &self.head {
            Head::Constant(head, names) => {
                for (path, name) in names {
                    permitted(path, name, Says::Name, context.senders)?;
                }
                out.extend_from_slice(head);
            }
            Head::Rendered(mailboxes) => {
                for (field, part, address) in mailboxes {
                    let name = print(part)?;
                    let name = header::clean_name(&name);
                    permitted(&part.path, &name, Says::Name, context.senders)?;
                    header::mailbox_field(&mut out, field, &name, address);
                }
            }
        }
        let address = recipient.address.to_wire();
        header::to(&mut out, recipient, &address);
        header::unstructured(&mut out, "Subject", &header::clean(&print(subject)?));
        date(&mut out, context.date)?;
        out.extend_from_slice(b"Message-ID: <");
        out.extend(context.message_id.bytes().filter(|byte| byte.is_ascii_graphic() && !matches!(byte, b'<' | b'>')));
        out.extend_from_slice(b">\r\n");
        if let Some(link) = &link {
            self.list_unsubscribe(&mut out, link, context.link.and_then(|link| link.mailto));
        }
        for (name, grammar, part) in &self.headers {
            let value = print(part)?;
            let value = header::clean(&value);
            if !value.is_empty() {
                if is_of_sender(name) {
                    permitted(&part.path, &value, Says::Mailboxes, context.senders)?;
                }
                structured::field(&mut out, name, *grammar, &value).map_err(|why| RenderError::new(&part.path, why))?;
            }
        }
        out.extend_from_slice(b"MIME-Version: 1.0\r\n");
        if let Some(language) = language {
            out.extend_from_slice(format!("Content-Language: {language}\r\n").as_bytes());
        }
        let named = |file| Ok((file, Attached::name(file, print)?));
        let files = self.attached.iter().map(named).collect::<Result<Vec<_>, RenderError>>()?;
        let inserts = body::Body { content: self.content, text: &text, html: html.as_deref(), files: &files }.write(&mut out);

        // Everything else is encoded, so only an address can need more than ASCII.
        let needs_smtputf8 = !self.head_is_ascii || !address.is_ascii();
        Ok(Rendered { content: Pieces::with(out, inserts), needs_8bit: needs_smtputf8, needs_smtputf8 })
    }

    /// Where the recipient unsubscribes, fit for a header field: the campaign's own page, or ours.
    fn link(&self, print: impl FnOnce(&Part) -> Result<String, RenderError>, ours: Option<&str>) -> Result<Option<String>, RenderError> {
        let (path, link) = match &self.unsubscribe {
            Some(part) => (UNSUBSCRIBE, header::escape_url(print(part)?.trim()).into_owned()),
            None if self.one_click => {
                let missing = || RenderError::new(ONE_CLICK, "this recipient has no unsubscribe link");
                (ONE_CLICK, ours.map(str::to_owned).ok_or_else(missing)?)
            }
            None => return Ok(None),
        };
        if scheme(&link).is_none() {
            return Err(RenderError::new(path, "it must come out as an https://, http:// or mailto: URL"));
        }
        if link.len() > URL_MAX {
            return Err(RenderError::new(path, format!("it came out longer than {URL_MAX} characters")));
        }
        Ok(Some(link))
    }

    /// The fields of RFC 2369 and, for an https page that takes its POST, RFC 8058.
    fn list_unsubscribe(&self, out: &mut Vec<u8>, link: &str, mailto: Option<&str>) {
        out.extend_from_slice(b"List-Unsubscribe: <");
        out.extend_from_slice(link.as_bytes());
        // Beside a page of one's own it would be another's: only ours knows what its mail says.
        if let Some(mailto) = mailto.filter(|mailto| self.needs_link() && mailto.len() <= URL_MAX) {
            out.extend_from_slice(b">,\r\n <");
            out.extend_from_slice(mailto.as_bytes());
        }
        out.extend_from_slice(b">\r\n");
        if self.one_click && scheme(link) == Some("https://") {
            out.extend_from_slice(b"List-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n");
        }
    }
}

fn hash_of(content: &Content) -> u64 {
    let mut hasher = SipHasher13::new();
    content.hash(&mut hasher);
    hasher.finish()
}

/// Refuses a value that names a sender who is not permitted.
fn permitted(path: &str, value: &str, says: Says, senders: Option<&Senders>) -> Result<(), RenderError> {
    senders.and_then(|senders| senders.fault(value, says)).map_or(Ok(()), |why| Err(RenderError::new(path, why)))
}

/// What a part occupies in addition to its text, in bytes.
const PART: usize = 512;
const UNSUBSCRIBE: &str = "spec.unsubscribe.url";
const ONE_CLICK: &str = "spec.unsubscribe.oneClick";
/// What templates call the link by which a recipient unsubscribes.
const LINK: &str = "unsubscribe_url";

fn keep<T>(faults: &mut Vec<Fault>, result: Result<T, Fault>) -> Option<T> {
    result.map_err(|fault| faults.push(fault)).ok()
}

/// The scheme of a URL that is allowed in List-Unsubscribe and has something after it.
fn scheme(url: &str) -> Option<&'static str> {
    ["https://", "http://", "mailto:"].into_iter().find(|scheme| {
        url.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme))
            && url.len() > scheme.len()
            && !url[scheme.len()..].starts_with('/')
    })
}

/// From and Reply-To, and whether they are ASCII.
fn head(content: &Content, compiler: &mut Compiler, faults: &mut Vec<Fault>) -> (Head, bool) {
    let mut mailboxes = Vec::new();
    for (field, path, mailbox) in [("From", "spec.from", Some(&content.from)), ("Reply-To", "spec.replyTo", content.reply_to.as_ref())] {
        let Some(mailbox) = mailbox else { continue };
        let name = mailbox.name.as_deref().unwrap_or_default();
        let name = keep(faults, compiler.add(&format!("{path}.name"), name.into(), Place::Header));
        let address = if is_template(&mailbox.address) {
            Err("the address is the same for everybody and cannot be a template; the name can be one".to_owned())
        } else {
            Address::parse(&mailbox.address)
        };
        let address = keep(faults, address.map_err(|why| Fault::new(format!("{path}.address"), why)));
        mailboxes.extend(name.zip(address).map(|(name, address)| (field, name, address)));
    }
    let is_ascii = mailboxes.iter().all(|(_, _, address)| address.to_wire().is_ascii());
    let constant = mailboxes.iter().map(|(field, name, address)| Some((*field, name.constant()?, address))).collect::<Option<Vec<_>>>();
    let constant = constant.map(|found| {
        let mut head = Vec::new();
        for (field, name, address) in found {
            header::mailbox_field(&mut head, field, &header::clean_name(name), address);
        }
        let names = mailboxes.iter().filter_map(|(_, name, _)| Some((name.path.clone(), name.constant()?.to_owned())));
        (head, names.collect())
    });
    (constant.map_or(Head::Rendered(mailboxes), |(head, names)| Head::Constant(head, names)), is_ascii)
}

/// A body without the byte order mark that editors put before it.
fn unmarked(body: &Arc<str>) -> Arc<str> {
    body.strip_prefix('\u{feff}').map_or_else(|| body.clone(), Arc::from)
}

/// An HTML body without its mark, and without what the engine would take for a comment.
fn markup(body: &Arc<str>) -> Arc<str> {
    let body = unmarked(body);
    match words::free_ids(&body) {
        Cow::Owned(freed) => freed.into(),
        Cow::Borrowed(_) => body,
    }
}

fn headers(content: &Content, compiler: &mut Compiler, faults: &mut Vec<Fault>) -> Vec<(String, Grammar, Part)> {
    let mut headers: Vec<(String, Grammar, Part)> = Vec::new();
    for (index, Header { name, value }) in content.headers.iter().enumerate() {
        let path = |field: &str| format!("spec.headers[{index}].{field}");
        if let Err(message) = header::check_name(name) {
            faults.push(Fault::new(path("name"), message));
        } else if headers.iter().any(|(other, ..)| other.eq_ignore_ascii_case(name)) {
            faults.push(Fault::new(path("name"), "this header is already set"));
        } else if let Some(part) = keep(faults, compiler.add(&path("value"), value.as_str().into(), Place::Header)) {
            // A mistake in what is the same for everybody is found before anybody gets it.
            let grammar = structured::grammar(name);
            let written = part.constant().map(|value| structured::field(&mut Vec::new(), name, grammar, &header::clean(value)));
            if let Some(Err(why)) = written {
                faults.push(Fault::new(path("value"), why));
            }
            headers.push((name.clone(), grammar, part));
        }
    }
    headers
}

/// Writes the Date field in UTC (RFC 5322, 3.3).
fn date(out: &mut Vec<u8>, date: Timestamp) -> Result<(), RenderError> {
    out.extend_from_slice(b"Date: ");
    // As `+0000`: a timestamp alone is printed as `-0000`, which says that the sender's time zone is unknown.
    let printed = DateTimePrinter::new().print_zoned(&date.to_zoned(TimeZone::UTC), &mut *out);
    printed.map_err(|error| RenderError::new("Date", format!("the date cannot be written ({error}); set this machine's clock")))?;
    out.extend_from_slice(b"\r\n");
    Ok(())
}
