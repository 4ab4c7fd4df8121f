//! What a campaign says, as it is written: the templates, the files, and the parts that templates name.

use std::{fmt, sync::Arc};

use super::{Attachment, Chooser, Parts, Variant, template_set::Written};
use crate::resources::campaign::{Header, Mailbox};

/// The content of a campaign, its bodies already loaded.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Content {
    /// The visible sender.
    pub from: Mailbox,
    /// Where answers go; to `from` when absent.
    pub reply_to: Option<Mailbox>,
    /// The subject, a template.
    pub subject: String,
    /// The HTML body, a template; excludes `mjml`.
    pub html: Option<Arc<str>>,
    /// The text body, a template; made from the HTML when absent.
    pub text: Option<Arc<str>>,
    /// The HTML body as MJML, a template.
    pub mjml: Option<Arc<str>>,
    /// Further header fields; the values are templates. One that comes out empty is left out.
    pub headers: Vec<Header>,
    /// The List-Unsubscribe URL (RFC 2369), a template; http, https or mailto.
    pub unsubscribe_url: Option<String>,
    /// Whether an https URL takes the POST of RFC 8058; without a URL it is our page that does.
    pub one_click: bool,
    /// The files that go with every message.
    pub attachments: Vec<Attachment>,
    /// What the templates may extend, include and import; nothing when absent.
    pub parts: Option<Parts>,
    /// The text that inboxes show after the subject, a template.
    pub preheader: Option<String>,
    /// The field of the audience that chooses a variant.
    pub variant_field: Option<String>,
    /// Other forms of the message.
    pub variants: Vec<Variant>,
}

impl Content {
    /// A sender and a subject: no body, and nothing of what a campaign may leave out.
    #[must_use]
    pub fn bare(from: Mailbox, subject: impl Into<String>) -> Self {
        Self {
            from,
            reply_to: None,
            subject: subject.into(),
            html: None,
            text: None,
            mjml: None,
            headers: Vec::new(),
            unsubscribe_url: None,
            one_click: false,
            attachments: Vec::new(),
            parts: None,
            preheader: None,
            variant_field: None,
            variants: Vec::new(),
        }
    }
}

impl fmt::Debug for Content {
    /// As before there were attachments, preheaders, variants and parts where there are none: the ledger keeps a hash of this.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { from, reply_to, subject, html, text, mjml, headers, unsubscribe_url, one_click, attachments, parts, .. } = self;
        let mut shown = f.debug_struct("Content");
        shown.field("from", from).field("reply_to", reply_to).field("subject", subject);
        shown.field("html", html).field("text", text).field("mjml", mjml).field("headers", headers);
        shown.field("unsubscribe_url", unsubscribe_url).field("one_click", one_click);
        if !attachments.is_empty() {
            shown.field("attachments", attachments);
        }
        if let Some(preheader) = &self.preheader {
            shown.field("preheader", preheader);
        }
        if !self.variants.is_empty() {
            shown.field("variant_field", &self.variant_field).field("variants", &self.variants);
        }
        if let Some(parts) = parts {
            shown.field("parts", parts);
        }
        shown.finish()
    }
}

impl Content {
    /// What is written of each set of templates: of the content itself, and of each variant.
    pub(super) fn written(&self) -> impl Iterator<Item = Written<'_>> {
        std::iter::once(Written::of_content(self)).chain(self.variants.iter().map(Written::of_variant))
    }

    /// The templates of the bodies, of whichever form, and the parts that templates name: those that a recipient may get, together.
    pub fn bodies(&self) -> impl Iterator<Item = Vec<&str>> {
        let parts = || self.parts.iter().flat_map(|parts| parts.texts().map(|(_, text)| &**text));
        self.written().filter(Written::has_bodies).map(move |written| written.bodies().chain(parts()).collect())
    }

    /// Chooses the variant of each recipient.
    #[must_use]
    pub fn chooser(&self) -> Chooser {
        Chooser::new(self.variant_field.as_deref(), self.variants.iter().map(|variant| &*variant.name))
    }
}
