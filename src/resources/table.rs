//! A CSV file of recipients: where it is, and how spreadsheets wrote it.

use std::collections::BTreeMap;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use super::{KeyRef, pattern, rule::Rule, url_auth::UrlAuth};

/// What spreadsheets and databases write CSV in, by the names of the WHATWG's Encoding Standard.
pub const CHARSETS: &[&str] = &[
    "utf-8",
    "utf-16le",
    "utf-16be",
    "windows-1250",
    "windows-1251",
    "windows-1252",
    "windows-1253",
    "windows-1254",
    "windows-1255",
    "windows-1256",
    "windows-1257",
    "windows-1258",
    "windows-874",
    "iso-8859-1",
    "iso-8859-2",
    "iso-8859-3",
    "iso-8859-4",
    "iso-8859-5",
    "iso-8859-6",
    "iso-8859-7",
    "iso-8859-8",
    "iso-8859-9",
    "iso-8859-10",
    "iso-8859-13",
    "iso-8859-14",
    "iso-8859-15",
    "iso-8859-16",
    "koi8-r",
    "koi8-u",
    "ibm866",
    "macintosh",
    "x-mac-cyrillic",
    "gbk",
    "gb18030",
    "big5",
    "shift_jis",
    "euc-jp",
    "euc-kr",
];

/// Where a source is: exactly one of the three.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    /// A file beside the campaign's own.
    pub path: Option<&'a str>,
    /// A URL.
    pub url: Option<&'a str>,
    /// With a URL: credentials.
    pub auth: Option<&'a UrlAuth>,
    /// A key of a ConfigMap.
    pub config_map_ref: Option<&'a KeyRef>,
}

/// What holds for everything that is read from one of three places.
pub(super) const PLACE_RULES: [Rule; 3] = [
    Rule::new(
        "[has(self.path), has(self.url), has(self.configMapRef)].exists_one(given, given)",
        "exactly one of `path`, `url` and `configMapRef` is needed",
    ),
    Rule::new("!has(self.auth) || has(self.url)", "only a `url` is authenticated; remove this, or give a `url`").at(".auth").forbidden(),
    AUTH_RULE,
];

/// What holds for a URL with credentials.
pub(super) const AUTH_RULE: Rule = Rule::new(
    "!has(self.auth) || !has(self.url) || self.url.matches('^(https://|http://(localhost|127\\\\.0\\\\.0\\\\.1|\\\\[::1\\\\])([:/?#]|$))')",
    "`auth` is sent over https only (over http to this machine); write https://",
)
.at(".url");

/// A CSV file with a header line: exactly one of `path`, `url` and `configMapRef`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-kubernetes-validations" = PLACE_RULES))]
pub struct TableSource {
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
    /// A key of a ConfigMap in the campaign's namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_map_ref: Option<KeyRef>,
    /// Columns whose header is not the name of the field: `{email: "E-mail"}`. A column that has the name already is then not read.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "columns")]
    pub columns: BTreeMap<String, String>,
    /// What separates the columns: `,`, `;`, a tab (`"\t"`) or `|`. When absent, what Excel's `sep=` in the first line says, or `,`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1), regex(pattern = pattern::DELIMITER))]
    pub delimiter: Option<String>,
    /// The encoding of the text, such as `windows-1252`; `utf-8` when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "charset")]
    pub charset: Option<String>,
}

impl TableSource {
    /// Where it is.
    #[must_use]
    pub fn place(&self) -> Place<'_> {
        let Self { path, url, auth, config_map_ref, .. } = self;
        Place { path: path.as_deref(), url: url.as_deref(), auth: auth.as_ref(), config_map_ref: config_map_ref.as_ref() }
    }
}

/// Fields, and the header of the column of each.
pub(super) fn columns(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "maxProperties": 100,
        "additionalProperties": {"type": "string", "minLength": 1, "maxLength": 200},
    })
}

fn charset(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "string", "enum": CHARSETS})
}
