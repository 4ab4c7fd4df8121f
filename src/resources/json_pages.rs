//! An API as an audience: a URL that answers JSON, and where its next page is.

use std::collections::BTreeMap;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use super::{
    pattern,
    rule::Rule,
    table::{AUTH_RULE, Place},
    url_auth::UrlAuth,
};

/// A URL that answers JSON with a list of people, all at once or page by page.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-kubernetes-validations" = [AUTH_RULE]))]
pub struct JsonAudience {
    /// An http or https URL: that of the first page. Credentials go into `auth`.
    #[schemars(length(min = 8, max = 4096), regex(pattern = pattern::URL))]
    pub url: String,
    /// Credentials from Secrets. A page on another host than `url` is requested without them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auth: Option<UrlAuth>,
    /// Where in an answer the list is, as a JSON pointer (RFC 6901): `/data/results`. When absent, the answer is the list.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256), regex(pattern = pattern::JSON_POINTER))]
    pub items: Option<String>,
    /// How the next page is found; only the first one is read when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<NextPage>,
    /// Fields, and where in an item they are, as JSON pointers: `{email: /properties/email, city: /addresses/0/city}`. The members of the item itself are fields by their own names.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "pointers")]
    pub columns: BTreeMap<String, String>,
}

impl JsonAudience {
    /// Where it is.
    #[must_use]
    pub fn place(&self) -> Place<'_> {
        Place { path: None, url: Some(&self.url), auth: self.auth.as_ref(), config_map_ref: None }
    }
}

/// How the next page is found: exactly one of the keys.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-kubernetes-validations" = [Rule::new(
    "[has(self.link), has(self.url), has(self.cursor), has(self.page), has(self.offset)].exists_one(given, given)",
    "exactly one of `link`, `url`, `cursor`, `page` and `offset` is needed",
)]))]
pub struct NextPage {
    /// The answer's `Link` header names it, with `rel="next"` (RFC 8288).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link: Option<LinkHeader>,
    /// The answer has its URL, at this JSON pointer: `/paging/next`. The last page has none there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256), regex(pattern = pattern::JSON_POINTER))]
    pub url: Option<String>,
    /// The answer has a cursor, which goes into the query of `url`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<Cursor>,
    /// Pages have numbers, one after the other, until one is empty.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub page: Option<PageNumber>,
    /// The query says how many were read before, until a page is empty.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub offset: Option<Offset>,
}

/// The `Link` header (RFC 8288).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LinkHeader {}

/// A cursor.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Cursor {
    /// Where in the answer it is, as a JSON pointer: `/meta/next_cursor`. The last page has none there.
    #[schemars(length(min = 1, max = 256), regex(pattern = pattern::JSON_POINTER))]
    pub pointer: String,
    /// The query parameter for it.
    #[schemars(length(min = 1, max = 100), regex(pattern = pattern::QUERY_PARAMETER))]
    pub parameter: String,
}

/// The number of a page.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PageNumber {
    /// The query parameter for it.
    #[schemars(length(min = 1, max = 100), regex(pattern = pattern::QUERY_PARAMETER))]
    pub parameter: String,
    /// The number of the first page; 1 when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1))]
    pub first: Option<u64>,
}

/// How many were read before.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Offset {
    /// The query parameter for it.
    #[schemars(length(min = 1, max = 100), regex(pattern = pattern::QUERY_PARAMETER))]
    pub parameter: String,
}

/// Fields, and the pointer to the value of each.
fn pointers(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "maxProperties": 100,
        "additionalProperties": {"type": "string", "minLength": 1, "maxLength": 256, "pattern": pattern::JSON_POINTER},
    })
}
