//! The content of a campaign: its bodies, and what happens when a template fails.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{CountOrPercent, KeyRef, pattern, rule::Rule};

/// The bodies of a message: at least one of HTML, text and MJML; HTML and MJML exclude each other.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-kubernetes-validations" = [
    Rule::new(
        "has(self.html) || has(self.htmlFrom) || has(self.text) || has(self.textFrom) || has(self.mjml) || has(self.mjmlFrom)",
        "a message needs a body: at least one of `html`, `text` and `mjml`, or of `htmlFrom`, `textFrom` and `mjmlFrom`",
    ).required(),
    Rule::new("!(has(self.html) && has(self.htmlFrom))", "the HTML body is given in `html` as well; keep one of the two").at(".htmlFrom").forbidden(),
    Rule::new("!(has(self.text) && has(self.textFrom))", "the text body is given in `text` as well; keep one of the two").at(".textFrom").forbidden(),
    Rule::new("!(has(self.mjml) && has(self.mjmlFrom))", "the MJML body is given in `mjml` as well; keep one of the two").at(".mjmlFrom").forbidden(),
    Rule::new("!has(self.mjml) || !(has(self.html) || has(self.htmlFrom))", "HTML and MJML both make the HTML body; keep one of them")
        .at(".mjml").forbidden(),
    Rule::new("!has(self.mjmlFrom) || !(has(self.html) || has(self.htmlFrom))", "HTML and MJML both make the HTML body; keep one of them")
        .at(".mjmlFrom").forbidden(),
]))]
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
