//! The content of a campaign: its bodies, their variants, and what happens when a template fails.

use std::{collections::BTreeMap, sync::Arc};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    CountOrPercent, KeyRef, LocalRef, pattern,
    rule::Rule,
    table::{PLACE_RULES, Place},
    url_auth::UrlAuth,
};

/// The most variants of a content.
const VARIANTS_MAX: u32 = 50;

/// What holds for the bodies of a message, wherever they are written.
const BODY_RULES: [Rule; 5] = [
    Rule::new("!(has(self.html) && has(self.htmlFrom))", "the HTML body is given in `html` as well; keep one of the two")
        .at(".htmlFrom")
        .forbidden(),
    Rule::new("!(has(self.text) && has(self.textFrom))", "the text body is given in `text` as well; keep one of the two")
        .at(".textFrom")
        .forbidden(),
    Rule::new("!(has(self.mjml) && has(self.mjmlFrom))", "the MJML body is given in `mjml` as well; keep one of the two")
        .at(".mjmlFrom")
        .forbidden(),
    Rule::new("!has(self.mjml) || !(has(self.html) || has(self.htmlFrom))", "HTML and MJML both make the HTML body; keep one of them")
        .at(".mjml")
        .forbidden(),
    Rule::new("!has(self.mjmlFrom) || !(has(self.html) || has(self.htmlFrom))", "HTML and MJML both make the HTML body; keep one of them")
        .at(".mjmlFrom")
        .forbidden(),
];

/// What holds for a content.
const CONTENT_RULES: [Rule; 8] = [
    Rule::new(
        "has(self.html) || has(self.htmlFrom) || has(self.text) || has(self.textFrom) || has(self.mjml) || has(self.mjmlFrom)",
        "a message needs a body: at least one of `html`, `text` and `mjml`, or of `htmlFrom`, `textFrom` and `mjmlFrom`",
    )
    .required(),
    BODY_RULES[0],
    BODY_RULES[1],
    BODY_RULES[2],
    BODY_RULES[3],
    BODY_RULES[4],
    Rule::new(
        "!has(self.variants) || has(self.variantField)",
        "`variants` are chosen by a field of the audience; name it in `variantField`, for example `language`",
    )
    .at(".variantField")
    .required(),
    Rule::new(
        "!has(self.variantField) || has(self.variants)",
        "this chooses among `variants`, and there are none; write them, or remove this",
    )
    .at(".variantField")
    .forbidden(),
];

/// What holds for a variant.
const VARIANT_RULES: [Rule; 6] = [
    BODY_RULES[0],
    BODY_RULES[1],
    BODY_RULES[2],
    BODY_RULES[3],
    BODY_RULES[4],
    Rule::new(
        "has(self.subject) || !(has(self.html) || has(self.htmlFrom) || has(self.text) || has(self.textFrom) || has(self.mjml) || has(self.mjmlFrom))",
        "a variant with bodies of its own needs a subject of its own too, or its subject would be in another language",
    )
    .at(".subject")
    .required(),
];

/// The bodies of a message: at least one of HTML, text and MJML; HTML and MJML exclude each other.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-kubernetes-validations" = CONTENT_RULES))]
pub struct Content {
    /// The HTML body, a template.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1_048_576), regex(pattern = pattern::NOT_BLANK))]
    pub html: Option<Arc<str>>,
    /// Where the HTML body is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub html_from: Option<BodySource>,
    /// The plain text body, a template; made from the HTML when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1_048_576), regex(pattern = pattern::NOT_BLANK))]
    pub text: Option<Arc<str>>,
    /// Where the plain text body is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text_from: Option<BodySource>,
    /// The HTML body as MJML, a template.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1_048_576), regex(pattern = pattern::NOT_BLANK))]
    pub mjml: Option<Arc<str>>,
    /// Where the MJML body is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mjml_from: Option<BodySource>,
    /// Where the templates find what they extend, include and import, and MJML what it includes; without it they can read nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub templates: Option<TemplatesSource>,
    /// The text that inboxes show after the subject, a template; inserted, hidden, at the start of the HTML body. It is plain text, and not part of the text body.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 998), regex(pattern = pattern::ONE_LINE))]
    pub preheader: Option<String>,
    /// The field of the audience whose value chooses one of `variants` for each recipient, for example `language`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256), regex(pattern = pattern::ONE_LINE))]
    pub variant_field: Option<String>,
    /// Other forms of the message, by the values of `variantField`: `de`, `fr`. A value that is none of them is looked up without its last part (`de-AT` is `de`); recipients without one get the content itself.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = VARIANTS_MAX))]
    pub variants: BTreeMap<String, Variant>,
    /// The files that go with every message: 20 at most, of 25 MiB each and 28 MiB together.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 20))]
    pub attachments: Vec<Attachment>,
    /// Recipients whose templates may fail before the campaign stops: a number, or a share such as `5%`, which is judged from 100
    /// recipients on and at the end; 100 when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_render_errors: Option<CountOrPercent>,
    /// What happens at the end when templates failed for some recipients; `Stop` when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub when_render_fails: Option<WhenRenderFails>,
}

impl Content {
    /// Recipients whose templates may fail before the campaign stops.
    #[must_use]
    pub fn max_render_errors(&self) -> CountOrPercent {
        self.max_render_errors.unwrap_or(CountOrPercent::Count(100))
    }

    /// What happens at the end when templates failed for some recipients.
    #[must_use]
    pub fn when_render_fails(&self) -> WhenRenderFails {
        self.when_render_fails.unwrap_or_default()
    }

    /// Its own bodies: `html`, `text` and `mjml`.
    #[must_use]
    pub fn bodies(&self) -> [Body<'_>; 3] {
        let Self { html, html_from, text, text_from, mjml, mjml_from, .. } = self;
        Body::all("spec.content", [(html, html_from), (text, text_from), (mjml, mjml_from)])
    }

    /// The bodies that are kept elsewhere, those of variants included, each with its field and where it is.
    pub fn bodies_elsewhere(&self) -> impl Iterator<Item = (String, &BodySource)> {
        let of_variants = self.variants.iter().flat_map(|(name, variant)| variant.bodies(name));
        self.bodies().into_iter().chain(of_variants).filter_map(|body| Some((body.field, body.elsewhere?)))
    }
}

/// Another form of a message: what it gives takes the place of what the content gives.
///
/// Bodies are taken together: a variant that gives one has no other body of the content. One that gives nothing says which language the
/// content is in.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-kubernetes-validations" = VARIANT_RULES))]
pub struct Variant {
    /// The subject, a template; that of the campaign when absent, which is allowed only where the bodies are the content's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 998), regex(pattern = pattern::ONE_LINE))]
    pub subject: Option<String>,
    /// The preheader, a template; needed in a variant with bodies of its own where the content has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 998), regex(pattern = pattern::ONE_LINE))]
    pub preheader: Option<String>,
    /// The HTML body, a template.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1_048_576), regex(pattern = pattern::NOT_BLANK))]
    pub html: Option<Arc<str>>,
    /// Where the HTML body is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub html_from: Option<BodySource>,
    /// The plain text body, a template; made from the variant's HTML when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1_048_576), regex(pattern = pattern::NOT_BLANK))]
    pub text: Option<Arc<str>>,
    /// Where the plain text body is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text_from: Option<BodySource>,
    /// The HTML body as MJML, a template.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1_048_576), regex(pattern = pattern::NOT_BLANK))]
    pub mjml: Option<Arc<str>>,
    /// Where the MJML body is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mjml_from: Option<BodySource>,
}

impl Variant {
    /// The field of the variant of this name: `spec.content.variants.de`.
    #[must_use]
    pub fn field(name: &str) -> String {
        format!("spec.content.variants.{name}")
    }

    /// The bodies of the variant of this name.
    #[must_use]
    pub fn bodies(&self, name: &str) -> [Body<'_>; 3] {
        let Self { html, html_from, text, text_from, mjml, mjml_from, .. } = self;
        Body::all(&Self::field(name), [(html, html_from), (text, text_from), (mjml, mjml_from)])
    }
}

/// A body of a message as the spec has it.
#[derive(Clone, Debug)]
pub struct Body<'a> {
    /// Its field: `spec.content.html`. What is kept elsewhere is named in the field with `From` behind it.
    pub field: String,
    /// The template, where the spec has it.
    pub own: Option<&'a Arc<str>>,
    /// Where the template is kept.
    pub elsewhere: Option<&'a BodySource>,
}

impl<'a> Body<'a> {
    fn all(below: &str, bodies: [(&'a Option<Arc<str>>, &'a Option<BodySource>); 3]) -> [Self; 3] {
        let [html, text, mjml] = bodies;
        [("html", html), ("text", text), ("mjml", mjml)].map(|(name, (own, elsewhere))| Self {
            field: format!("{below}.{name}"),
            own: own.as_ref(),
            elsewhere: elsewhere.as_ref(),
        })
    }
}

/// A file that goes with every message: exactly one of `path`, `configMapRef` and `url` says where it is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-kubernetes-validations" = PLACE_RULES))]
pub struct Attachment {
    /// A file, relative to the campaign's own and inside the folder. Only for campaigns that are read from files: an API server accepts it, and a campaign in a cluster is then Stalled (`FileNotFound`); use `url` or `configMapRef` there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 4096), regex(pattern = pattern::RELATIVE_PATH))]
    pub path: Option<String>,
    /// An http or https URL, which is fetched once; credentials go into `auth`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 8, max = 4096), regex(pattern = pattern::URL))]
    pub url: Option<String>,
    /// With `url`: credentials from Secrets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auth: Option<UrlAuth>,
    /// A key of a ConfigMap in the campaign's namespace; its `binaryData` holds any file of up to 1 MiB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_map_ref: Option<KeyRef>,
    /// The name that recipients see, a template; the file's own when absent, which is the last part of `path`, `url` or the key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 998), regex(pattern = pattern::ONE_LINE))]
    pub filename: Option<String>,
    /// The media type with its parameters, like `text/calendar; method=REQUEST`; derived from the name when absent. A calendar with a method is shown as an invitation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 3, max = 255), regex(pattern = pattern::MEDIA_TYPE))]
    pub content_type: Option<String>,
    /// The id by which the HTML shows the file, as in `<img src="cid:logo">` for `logo`; it is then not listed among the attachments.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 128), regex(pattern = pattern::CONTENT_ID))]
    pub inline: Option<String>,
}

impl Attachment {
    /// Its field: `spec.content.attachments[0]`.
    #[must_use]
    pub fn field(index: usize) -> String {
        format!("spec.content.attachments[{index}]")
    }

    /// Where it is.
    #[must_use]
    pub fn place(&self) -> Place<'_> {
        let Self { path, url, auth, config_map_ref, .. } = self;
        Place { path: path.as_deref(), url: url.as_deref(), auth: auth.as_ref(), config_map_ref: config_map_ref.as_ref() }
    }

    /// The name that recipients see, a template.
    #[must_use]
    pub fn filename(&self) -> String {
        let last = |text: &str| text.rsplit('/').next().unwrap_or_default().to_owned();
        let of_url = |url: &str| {
            let path = url.split(['?', '#']).next().unwrap_or_default();
            let path = path.split_once("://").and_then(|(_, rest)| rest.split_once('/')).map_or("", |(_, path)| path);
            percent_encoding::percent_decode_str(&last(path)).decode_utf8_lossy().into_owned()
        };
        // What is not written as a template is none.
        let literal = |name: String| name.replace("{{", "__").replace("{%", "__").replace("{#", "__");
        let own = || {
            let path = self.path.as_deref().map(last);
            path.or_else(|| self.url.as_deref().map(of_url)).or_else(|| Some(self.config_map_ref.as_ref()?.key.clone())).unwrap_or_default()
        };
        self.filename
            .clone()
            .unwrap_or_else(|| Some(literal(own())).filter(|name| !name.is_empty()).unwrap_or_else(|| "attachment".to_owned()))
    }
}

/// What happens at the end when templates failed for some recipients.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum WhenRenderFails {
    /// The others are mailed, and the campaign stops instead of completing. Once the template or the data are fixed, exactly these recipients are mailed.
    #[default]
    Stop,
    /// The campaign completes without them.
    Skip,
}

/// Where a template is: exactly one of the two.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-kubernetes-validations" = [Rule::new(
    "[has(self.path), has(self.configMapRef)].exists_one(given, given)",
    "exactly one of `path` and `configMapRef` is needed",
)]))]
pub struct BodySource {
    /// A file, relative to the campaign's own and inside the folder. Only for campaigns that are read from files: an API server accepts it, and a campaign in a cluster is then Stalled (`FileNotFound`); use `configMapRef` there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 4096), regex(pattern = pattern::RELATIVE_PATH))]
    pub path: Option<String>,
    /// A key of a ConfigMap in the campaign's namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_map_ref: Option<KeyRef>,
}

/// Where the layouts and parts of a campaign's templates are: exactly one of the two.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-kubernetes-validations" = [Rule::new(
    "[has(self.path), has(self.configMapRef)].exists_one(given, given)",
    "exactly one of `path` and `configMapRef` is needed",
)]))]
pub struct TemplatesSource {
    /// A folder, relative to the campaign's own file and inside the folder that is read; templates name files in it, as in `parts/footer.html`. Only for campaigns that are read from files: an API server accepts it, and a campaign in a cluster is then Stalled (`FileNotFound`); use `configMapRef` there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 4096), regex(pattern = pattern::RELATIVE_PATH))]
    pub path: Option<String>,
    /// A ConfigMap in the campaign's namespace; templates name its keys.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_map_ref: Option<LocalRef>,
}

impl TemplatesSource {
    /// Its field.
    pub const FIELD: &str = "spec.content.templates";
}
