//! `audience` of a campaign: who is mailed, and who is not.

use std::collections::BTreeMap;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use super::{
    CountOrPercent, KeyRef,
    json_pages::JsonAudience,
    outcomes::OutcomesAudience,
    pattern,
    rule::Rule,
    sql::SqlAudience,
    table::{PLACE_RULES, Place, TableSource},
    url_auth::UrlAuth,
    workbook::WorkbookSource,
};

/// The recipients: exactly one of the keys. The address is in the column or field `email`; all others are template fields.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-kubernetes-validations" = [Rule::new(
    "[has(self.csv), has(self.xlsx), has(self.jsonLines), has(self.json), has(self.sql), has(self.inline)].exists_one(given, given) || has(self.outcomes) && ![has(self.csv), has(self.xlsx), has(self.jsonLines), has(self.json), has(self.sql), has(self.inline)].exists(given, given)",
    "exactly one of `csv`, `xlsx`, `jsonLines`, `json`, `sql` and `inline` is needed, or `outcomes` alone",
),
Rule::new(
    "!has(self.outcomes) || !self.outcomes.states.exists(state, state == 'Accepted')",
    "`Accepted` is for `exclude`: these people already have the message; name the audience itself to mail them again",
).at(".outcomes")]))]
pub struct Audience {
    /// A CSV file with a header line; `.gz` and `.zst` are decompressed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub csv: Option<TableSource>,
    /// A sheet of an Excel workbook (`.xlsx`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub xlsx: Option<WorkbookSource>,
    /// One JSON object per line; `.gz` and `.zst` are decompressed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub json_lines: Option<AudienceSource>,
    /// A URL that returns JSON, on one page or on many: an API.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub json: Option<JsonAudience>,
    /// A database query.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sql: Option<SqlAudience>,
    /// The recipients, inline. For testing only: personal addresses do not belong in git.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "inline_recipients")]
    pub inline: Option<Vec<BTreeMap<String, serde_json::Value>>>,
    /// Recipients of another run by their outcome. Alone, they are the audience, with no field but `email`; beside another source, only
    /// those of its recipients are mailed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcomes: Option<OutcomesAudience>,
    /// People of the audience who are not mailed by this campaign: addresses are compared without regard to case and spelling, as on the suppression list.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 10))]
    pub exclude: Vec<Exclusion>,
    /// Rows that may be unusable before the campaign stops: a number, or a share such as `5%`, which is judged from 100 rows on and at the end; `5%` when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_bad_rows: Option<CountOrPercent>,
    /// What happens at the end when rows could not be used; `Stop` when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub when_row_is_bad: Option<WhenRowIsBad>,
}

impl Audience {
    /// Rows that may be unusable before the campaign stops.
    #[must_use]
    pub fn max_bad_rows(&self) -> CountOrPercent {
        self.max_bad_rows.unwrap_or(CountOrPercent::Percent(5))
    }

    /// What happens at the end when rows could not be used.
    #[must_use]
    pub fn when_row_is_bad(&self) -> WhenRowIsBad {
        self.when_row_is_bad.unwrap_or_default()
    }

    /// What names the recipients, unless that is another run.
    #[must_use]
    pub fn named(&self) -> Named<'_> {
        let Self { csv, xlsx, json_lines, json, sql, inline, .. } = self;
        Named {
            csv: csv.as_ref(),
            xlsx: xlsx.as_ref(),
            json_lines: json_lines.as_ref(),
            json: json.as_ref(),
            sql: sql.as_ref(),
            inline: inline.as_ref(),
        }
    }

    /// What names people, of the audience and of the lists of those who are not mailed, with its field: `spec.audience.exclude[0]`.
    fn lists(&self) -> impl Iterator<Item = (String, Named<'_>)> {
        let lists = self.exclude.iter().enumerate().map(|(index, list)| (Exclusion::field(index), list.named()));
        std::iter::once((FIELD.to_owned(), self.named())).chain(lists)
    }

    /// Every file, URL or ConfigMap that it names, with its field: `spec.audience.csv`, `spec.audience.exclude[0].jsonLines`.
    pub fn sources(&self) -> impl Iterator<Item = (String, SourceFormat, Place<'_>)> {
        self.lists().flat_map(|(field, named)| {
            let sources = [
                (SourceFormat::Csv, named.csv.map(TableSource::place)),
                (SourceFormat::Xlsx, named.xlsx.map(WorkbookSource::place)),
                (SourceFormat::JsonLines, named.json_lines.map(AudienceSource::place)),
                (SourceFormat::Json, named.json.map(JsonAudience::place)),
                (SourceFormat::Sqlite, named.sql.and_then(SqlAudience::place)),
            ];
            sources.into_iter().filter_map(move |(format, place)| Some((format!("{field}.{}", format.key()), format, place?)))
        })
    }

    /// Every database that it asks, with its field.
    pub fn databases(&self) -> impl Iterator<Item = (String, &SqlAudience)> {
        self.lists().filter_map(|(field, named)| Some((format!("{field}.{}", SourceFormat::Sqlite.key()), named.sql?)))
    }
}

/// The field of an audience.
const FIELD: &str = "spec.audience";

/// What names the people of an audience or of a list: at most one of these.
#[derive(Clone, Copy, Debug)]
pub struct Named<'a> {
    /// A table.
    pub csv: Option<&'a TableSource>,
    /// A sheet of a workbook.
    pub xlsx: Option<&'a WorkbookSource>,
    /// One JSON object per line.
    pub json_lines: Option<&'a AudienceSource>,
    /// The answers of an API.
    pub json: Option<&'a JsonAudience>,
    /// A query.
    pub sql: Option<&'a SqlAudience>,
    /// The people themselves.
    pub inline: Option<&'a Vec<BTreeMap<String, serde_json::Value>>>,
}

/// The format of a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SourceFormat {
    /// A table with a header line.
    Csv,
    /// A sheet of a workbook.
    Xlsx,
    /// One JSON object per line.
    JsonLines,
    /// The answers of an API, which are never files.
    Json,
    /// A database.
    Sqlite,
}

impl SourceFormat {
    /// The field that names such a source.
    #[must_use]
    pub const fn key(self) -> &'static str {
        match self {
            Self::Csv => "csv",
            Self::Xlsx => "xlsx",
            Self::JsonLines => "jsonLines",
            Self::Json => "json",
            Self::Sqlite => "sql",
        }
    }
}

/// People who are not mailed: exactly one of the keys. Their addresses are in the column or field `email`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-kubernetes-validations" = [
    Rule::new(
        "[has(self.csv), has(self.xlsx), has(self.jsonLines), has(self.json), has(self.sql), has(self.inline), has(self.outcomes)].exists_one(given, given)",
        "exactly one of `csv`, `xlsx`, `jsonLines`, `json`, `sql`, `inline` and `outcomes` is needed",
    ),
    Rule::new("!has(self.maxBadRows) || !has(self.outcomes)", "another run has no rows that cannot be used; remove this").at(".maxBadRows").forbidden(),
]))]
pub struct Exclusion {
    /// A CSV file with a header line; `.gz` and `.zst` are decompressed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub csv: Option<TableSource>,
    /// A sheet of an Excel workbook (`.xlsx`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub xlsx: Option<WorkbookSource>,
    /// One JSON object per line; `.gz` and `.zst` are decompressed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub json_lines: Option<AudienceSource>,
    /// A URL that returns JSON, on one page or on many: an API.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub json: Option<JsonAudience>,
    /// A database query.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sql: Option<SqlAudience>,
    /// The people, inline. For testing only: personal addresses do not belong in git.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "inline_recipients")]
    pub inline: Option<Vec<BTreeMap<String, serde_json::Value>>>,
    /// Recipients of another run by their outcome, such as everybody whom it reached (`Accepted`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcomes: Option<OutcomesAudience>,
    /// Rows that may be unusable: a number, or a share such as `5%`; 0 when absent, since it is unknown whom such a row excludes. With more of them nobody is mailed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_bad_rows: Option<CountOrPercent>,
}

impl Exclusion {
    /// The field of the list with this index.
    #[must_use]
    pub fn field(index: usize) -> String {
        format!("spec.audience.exclude[{index}]")
    }

    /// Rows that may be unusable.
    #[must_use]
    pub fn max_bad_rows(&self) -> CountOrPercent {
        self.max_bad_rows.unwrap_or(CountOrPercent::Count(0))
    }

    /// What names the people, unless that is another run.
    #[must_use]
    pub fn named(&self) -> Named<'_> {
        let Self { csv, xlsx, json_lines, json, sql, inline, outcomes: _, max_bad_rows: _ } = self;
        Named {
            csv: csv.as_ref(),
            xlsx: xlsx.as_ref(),
            json_lines: json_lines.as_ref(),
            json: json.as_ref(),
            sql: sql.as_ref(),
            inline: inline.as_ref(),
        }
    }
}

/// What happens at the end when rows of the audience could not be used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum WhenRowIsBad {
    /// The others are mailed, and the campaign stops instead of completing. Once the rows are fixed, exactly these recipients are mailed.
    #[default]
    Stop,
    /// The campaign completes without them.
    Skip,
}

fn inline_recipients(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "maxItems": 10_000,
        "items": {
            "type": "object",
            "description": "A recipient: the address in `email`, and any further fields for the templates.",
            "properties": {"email": {"type": "string", "maxLength": 998, "description": "The address. One that cannot be mailed is counted as a bad row."}},
            "required": ["email"],
            "x-kubernetes-preserve-unknown-fields": true,
        },
    })
}

/// Where a JSON Lines audience is: exactly one of the keys.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-kubernetes-validations" = PLACE_RULES))]
pub struct AudienceSource {
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
}

impl AudienceSource {
    /// Where it is.
    #[must_use]
    pub fn place(&self) -> Place<'_> {
        let Self { path, url, auth, config_map_ref } = self;
        Place { path: path.as_deref(), url: url.as_deref(), auth: auth.as_ref(), config_map_ref: config_map_ref.as_ref() }
    }
}
