//! What of a message is in one language: its subject, its preheader and its bodies.

use std::sync::Arc;

use super::{
    Content, Fault,
    engine::{Compiler, Part, Place},
    keep, markup,
    mjml::{self, MjmlFault},
    parts, text, unmarked,
    variants::Chooser,
};

/// The variant that no campaign may have: it is how people call the content itself.
pub const CONTENT_ITSELF: &str = "default";
/// The longest name of a variant, bytes.
const NAME_MAX: usize = 63;

/// Another form of a content, its bodies already loaded; what it does not give is the content's.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Variant {
    /// Its name, for example a tag of a language.
    pub name: String,
    /// The subject, a template.
    pub subject: Option<String>,
    /// The preheader, a template.
    pub preheader: Option<String>,
    /// The HTML body, a template; excludes `mjml`.
    pub html: Option<Arc<str>>,
    /// The text body, a template.
    pub text: Option<Arc<str>>,
    /// The HTML body as MJML, a template.
    pub mjml: Option<Arc<str>>,
}

/// The templates of one set as they are written: those of the content, or what a variant gives.
#[derive(Clone, Debug)]
pub(super) struct Written<'a> {
    /// The path of the subject's field.
    pub subject_path: String,
    /// What the paths of the other fields begin with: `spec.content`.
    below: String,
    pub subject: Option<&'a str>,
    pub preheader: Option<&'a str>,
    pub html: Option<&'a Arc<str>>,
    pub text: Option<&'a Arc<str>>,
    pub mjml: Option<&'a Arc<str>>,
}

impl<'a> Written<'a> {
    /// The templates of the content itself.
    pub fn of_content(content: &'a Content) -> Self {
        Self {
            subject_path: "spec.subject".to_owned(),
            below: "spec.content".to_owned(),
            subject: Some(&content.subject),
            preheader: content.preheader.as_deref(),
            html: content.html.as_ref(),
            text: content.text.as_ref(),
            mjml: content.mjml.as_ref(),
        }
    }

    /// What a variant gives.
    pub fn of_variant(variant: &'a Variant) -> Self {
        let below = crate::resources::campaign::Variant::field(&variant.name);
        Self {
            subject_path: format!("{below}.subject"),
            below,
            subject: variant.subject.as_deref(),
            preheader: variant.preheader.as_deref(),
            html: variant.html.as_ref(),
            text: variant.text.as_ref(),
            mjml: variant.mjml.as_ref(),
        }
    }

    /// The path of a field: `spec.content.html`.
    pub fn path(&self, field: &str) -> String {
        format!("{}.{field}", self.below)
    }

    /// Its bodies, whichever there are.
    pub fn bodies(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        [self.html, self.text, self.mjml].into_iter().flatten().map(|body| &**body)
    }

    pub fn has_bodies(&self) -> bool {
        self.bodies().next().is_some()
    }
}

/// The compiled templates of one set; a variant's lacks what the content gives.
#[derive(Debug)]
pub(super) struct TemplateSet {
    pub subject: Option<Part>,
    pub preheader: Option<Part>,
    pub bodies: Option<Bodies>,
}

/// The bodies of a set.
#[derive(Debug)]
pub(super) struct Bodies {
    pub html: Option<Part>,
    pub text: Text,
    /// Whether its MJML has a preheader of its own.
    has_preview: bool,
}

/// Where the text body comes from.
#[derive(Debug)]
pub(super) enum Text {
    /// Written by the author of the campaign.
    Own(Part),
    /// A template made from the HTML template.
    Derived(Part),
    /// From each rendered HTML body.
    FromRendered,
}

impl TemplateSet {
    /// Compiles what is written of a set.
    pub fn compile(written: &Written<'_>, compiler: &mut Compiler, faults: &mut Vec<Fault>) -> Self {
        let mut header = |path: &str, text: Option<&str>| keep(faults, compiler.add(path, text?.into(), Place::Header));
        let subject = header(&written.subject_path, written.subject);
        let preheader = header(&written.path("preheader"), written.preheader);
        Self { subject, preheader, bodies: Bodies::compile(written, compiler, faults) }
    }

    /// Its templates.
    pub fn parts(&self) -> impl Iterator<Item = &Part> {
        let own = [self.subject.as_ref(), self.preheader.as_ref()].into_iter().flatten();
        own.chain(self.bodies.iter().flat_map(Bodies::parts))
    }

    /// A preheader that has no place, in a set with these bodies: there is no HTML, or that has one already.
    fn preheader_fault(path: String, bodies: &Bodies) -> Option<Fault> {
        if bodies.html.is_none() {
            let why = "there is no HTML body to put it into; inboxes show the beginning of the text: write it there, and remove it here";
            return Some(Fault::new(path, why));
        }
        bodies.has_preview.then(|| Fault::new(path, "the MJML has an <mj-preview>, which is a preheader as well; keep one of the two"))
    }
}

impl Bodies {
    /// Its templates.
    pub fn parts(&self) -> impl Iterator<Item = &Part> {
        let text = match &self.text {
            Text::Own(part) | Text::Derived(part) => Some(part),
            Text::FromRendered => None,
        };
        self.html.iter().chain(text)
    }

    fn compile(written: &Written<'_>, compiler: &mut Compiler, faults: &mut Vec<Fault>) -> Option<Self> {
        let html = html(written, compiler, faults);
        let text = match (written.text, &html) {
            (Some(text), _) => keep(faults, compiler.add(&written.path("text"), unmarked(text), Place::Text)).map(Text::Own)?,
            (None, Some((_, source))) => {
                let derived =
                    text::from_template(source).and_then(|text| compiler.add(&written.path(DERIVED), text.into(), Place::Text).ok());
                derived.map_or(Text::FromRendered, Text::Derived)
            }
            (None, None) => return None,
        };
        let has_preview = written.mjml.is_some() && html.as_ref().is_some_and(|(_, source)| mjml::has_preview(source));
        Some(Self { html: html.map(|(part, _)| part), text, has_preview })
    }
}

const DERIVED: &str = "html, as text";

/// The HTML part and its template.
fn html(written: &Written<'_>, compiler: &mut Compiler, faults: &mut Vec<Fault>) -> Option<(Part, Arc<str>)> {
    let (path, source) = match (written.html, written.mjml) {
        (Some(_), Some(_)) => {
            faults.push(Fault::new(written.below.as_str(), "`html` and `mjml` are mutually exclusive"));
            return None;
        }
        (Some(html), None) => (written.path("html"), markup(html)),
        (None, Some(mjml)) => {
            let (path, mjml) = (written.path("mjml"), markup(mjml));
            // First as it is written, so that a fault in a tag has the line of the MJML.
            keep(faults, compiler.add(&path, mjml.clone(), Place::Html))?;
            let parts = compiler.parts().cloned();
            let part = |name: &str| parts.as_ref()?.source(name, true);
            for (name, part) in parts::included(&mjml, &part) {
                keep(faults, compiler.check_part(&name, &part))?;
            }
            let html = mjml::to_html(&mjml, &part).map_err(|MjmlFault { part, message }| {
                Fault::new(part.map_or_else(|| path.clone(), |name| parts::path_of(&name)), message)
            });
            (path, keep(faults, html)?.into())
        }
        (None, None) => return None,
    };
    let part = keep(faults, compiler.add(&path, source.clone(), Place::Html))?;
    Some((part, source))
}

/// Compiles the set of the content itself.
pub(super) fn own(content: &Content, compiler: &mut Compiler, faults: &mut Vec<Fault>) -> TemplateSet {
    let written = Written::of_content(content);
    if !written.has_bodies() {
        faults.push(Fault::new("spec.content", "there is no body: set `html`, `mjml` or `text`"));
    }
    let set = TemplateSet::compile(&written, compiler, faults);
    let bodies = set.bodies.as_ref().filter(|_| set.preheader.is_some());
    faults.extend(bodies.and_then(|bodies| TemplateSet::preheader_fault(written.path("preheader"), bodies)));
    set
}

/// Compiles the variants of a content whose own set is `own`.
pub(super) fn variants(content: &Content, own: &TemplateSet, compiler: &mut Compiler, faults: &mut Vec<Fault>) -> Vec<TemplateSet> {
    let mut sets = Vec::with_capacity(content.variants.len());
    let is_html = content.html.is_some() || content.mjml.is_some();
    for (index, variant) in content.variants.iter().enumerate() {
        if compiler.is_full() {
            break;
        }
        if let Some(why) = name_fault(&variant.name, &content.variants[..index]) {
            faults.push(Fault::new("spec.content.variants", why));
            continue;
        }
        let written = Written::of_variant(variant);
        let set = TemplateSet::compile(&written, compiler, faults);
        if written.has_bodies() && is_html && written.html.is_none() && written.mjml.is_none() {
            let why = "the content has an HTML body, and this variant has none: its recipients would get only the text; write `html` or `mjml` for it too";
            faults.push(Fault::new(written.below.as_str(), why));
        }
        let bodies = set.bodies.as_ref().or(own.bodies.as_ref());
        if set.preheader.is_some() {
            faults.extend(bodies.and_then(|bodies| TemplateSet::preheader_fault(written.path("preheader"), bodies)));
        } else if content.preheader.is_some() && set.bodies.as_ref().is_some_and(|bodies| !bodies.has_preview) {
            let why = "the content has a preheader, and this variant has bodies of its own but no preheader; write one, or it would be in another language";
            faults.push(Fault::new(written.path("preheader"), why));
        }
        sets.push(set);
    }
    sets
}

/// Why a variant cannot have a name, beside those before it.
fn name_fault(name: &str, before: &[Variant]) -> Option<String> {
    let is_word = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric());
    if name.len() > NAME_MAX || !name.split(['-', '_']).all(is_word) {
        let shown: String = name.chars().take(NAME_MAX).collect();
        return Some(format!(
            "`{shown}` is not the name of a variant: letters and digits, with `-` or `_` between them, like `de` or `pt-BR`, {NAME_MAX} characters at most"
        ));
    }
    if name.eq_ignore_ascii_case(CONTENT_ITSELF) {
        return Some(format!("`{name}` is what the content itself is called; write it into `spec.content` and `spec.subject`"));
    }
    let same = before.iter().find(|other| Chooser::are_same(&other.name, name))?;
    Some(format!("`{}` and `{name}` are the same variant, since capitals do not matter and `_` is `-`; keep one of them", same.name))
}
