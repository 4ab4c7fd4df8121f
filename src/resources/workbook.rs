//! An Excel workbook of recipients: where it is, and which of its sheets.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    KeyRef, pattern,
    table::{PLACE_RULES, Place, columns},
    url_auth::UrlAuth,
};

/// A sheet of an Excel workbook (`.xlsx`) whose first row names the columns: exactly one of `path`, `url` and `configMapRef`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-kubernetes-validations" = PLACE_RULES))]
pub struct WorkbookSource {
    /// A file, relative to the campaign's own and inside the folder. Only for campaigns that are read from files: an API server accepts it, and a campaign in a cluster is then Stalled (`FileNotFound`); use `url` or `configMapRef` there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 4096), regex(pattern = pattern::RELATIVE_PATH))]
    pub path: Option<String>,
    /// An http or https URL; credentials go into `auth`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 8, max = 4096), regex(pattern = pattern::URL))]
    pub url: Option<String>,
    /// With `url`: credentials from Secrets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auth: Option<UrlAuth>,
    /// A key of a ConfigMap in the campaign's namespace, in its `binaryData`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_map_ref: Option<KeyRef>,
    /// The sheet, by the name on its tab; the first that is not hidden when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 255))]
    pub sheet: Option<String>,
    /// Columns whose header is not the name of the field: `{email: "E-mail"}`. A column that has the name already is then not read.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "columns")]
    pub columns: BTreeMap<String, String>,
}

impl WorkbookSource {
    /// Where it is.
    #[must_use]
    pub fn place(&self) -> Place<'_> {
        let Self { path, url, auth, config_map_ref, .. } = self;
        Place { path: path.as_deref(), url: url.as_deref(), auth: auth.as_ref(), config_map_ref: config_map_ref.as_ref() }
    }
}
