//! How recipients of a campaign unsubscribe. Pure.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::pattern;

/// How recipients unsubscribe.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Unsubscribe {
    /// Your unsubscribe page, a template over the recipient's fields; it becomes the List-Unsubscribe header (RFC 2369).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 2048), regex(pattern = pattern::UNSUBSCRIBE_URL))]
    pub url: Option<String>,
    /// One-click unsubscription (RFC 8058). Without `url`, Mailfleet makes a link for each recipient, accepts the POST, and serves a page; the process needs `--public-url`, without which the campaign is Stalled (`PublicUrlMissing`). With `url`: that page accepts the POST, and the List-Unsubscribe-Post header says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub one_click: Option<OneClick>,
}

/// One-click unsubscription (RFC 8058).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct OneClick {
    /// What people unsubscribe from, for example `offers`: they still get what the namespace sends under other topics; all mail of the namespace when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63), regex(pattern = pattern::NAME))]
    pub topic: Option<String>,
}

impl Unsubscribe {
    /// Whether people unsubscribe on Mailfleet's own page.
    #[must_use]
    pub fn is_ours(&self) -> bool {
        self.one_click.is_some() && self.url.is_none()
    }

    /// The topic of the subscription that people end; all mail of the namespace when absent.
    #[must_use]
    pub fn topic(&self) -> Option<&str> {
        self.one_click.as_ref()?.topic.as_deref()
    }
}
