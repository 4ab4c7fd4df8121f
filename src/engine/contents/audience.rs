//! Whom a campaign mails and whom it does not, as what names them, with its files, URLs and Secrets found.

use super::resolver::ContentResolver;
use crate::{
    audience::{
        Input, Layout,
        pages::{Next, Pages, Pointer},
        sql,
        xlsx::{Folder, Sheet},
    },
    people::{Exclusion, List, People},
    resources::{
        Blocker, CampaignSpec, KeyRef, Reason,
        campaign::{self, JsonAudience, Named, NextPage, SourceFormat, SqlAudience, TableSource, WorkbookSource},
    },
    routing::OutcomesOf,
    source::Purpose,
};

impl ContentResolver {
    /// Whom the campaign mails, and whom it does not.
    pub fn people(&self, spec: &CampaignSpec) -> Result<People, Blocker> {
        Ok(People { input: self.input(spec)?, exclude: self.exclude(spec).collect::<Result<_, _>>()? })
    }

    /// The lists of people who are not mailed, each unless something of it is missing.
    pub fn exclude<'a>(&'a self, spec: &'a CampaignSpec) -> impl Iterator<Item = Result<Exclusion, Blocker>> + 'a {
        spec.audience.exclude.iter().enumerate().map(|(index, list)| self.exclusion(index, list))
    }

    fn exclusion(&self, index: usize, list: &campaign::Exclusion) -> Result<Exclusion, Blocker> {
        let field = campaign::Exclusion::field(index);
        let found = match (self.named(&field, &list.named()).transpose()?, &list.outcomes) {
            (Some(input), _) => List::Input(input),
            (None, Some(outcomes)) => List::Outcomes(OutcomesOf::of(outcomes)),
            (None, None) => {
                let what = format!("{field}: give csv, xlsx, jsonLines, json, sql, inline or outcomes.");
                return Err(Blocker::lasting(Reason::InvalidSpec, what));
            }
        };
        Ok(Exclusion { field, list: found, max_bad_rows: list.max_bad_rows() })
    }

    /// The source of the recipients.
    pub fn input(&self, spec: &CampaignSpec) -> Result<Input, Blocker> {
        const FIELD: &str = "spec.audience";
        match self.named(FIELD, &spec.audience.named()) {
            Some(input) => input,
            None if spec.audience.outcomes.is_some() => Ok(Input::Recorded),
            None => {
                let what = format!("{FIELD}: give csv, xlsx, jsonLines, json, sql, inline or outcomes.");
                Err(Blocker::lasting(Reason::InvalidSpec, what))
            }
        }
    }

    /// What a field names people by; none where it names none of these.
    fn named(&self, field: &str, named: &Named<'_>) -> Option<Result<Input, Blocker>> {
        let Named { csv, xlsx, json_lines, json, sql, inline } = named;
        let below = |format: SourceFormat| format!("{field}.{}", format.key());
        if let Some(rows) = inline {
            return Some(Ok(Input::Inline((*rows).clone())));
        }
        if let Some(csv) = csv {
            return Some(self.table(&below(SourceFormat::Csv), csv));
        }
        if let Some(workbook) = xlsx {
            return Some(self.sheet(&below(SourceFormat::Xlsx), workbook));
        }
        if let Some(json_lines) = json_lines {
            let field = below(SourceFormat::JsonLines);
            return Some(self.location(&field, json_lines.place(), Purpose::JsonLines).map(Input::JsonLines));
        }
        if let Some(json) = json {
            return Some(self.pages(&below(SourceFormat::Json), json));
        }
        sql.map(|sql| self.query(&below(SourceFormat::Sqlite), sql).map(|query| Input::Sql(Box::new(query))))
    }

    fn query(&self, field: &str, sql: &SqlAudience) -> Result<sql::Query, Blocker> {
        let database = match (self.access(field, sql), &sql.path) {
            (Some(access), _) => sql::Database::Server(access, self.egress),
            (None, Some(path)) => sql::Database::Sqlite(self.named_file(field, path, Purpose::Sqlite)?),
            (None, None) => return Err(Blocker::lasting(Reason::InvalidSpec, format!("{field}: give a urlRef or a path."))),
        };
        Ok(sql::Query {
            database,
            text: sql.query.clone(),
            parameters: sql.parameters.clone(),
            columns: sql.columns.clone(),
            timeout: sql.timeout(),
            folder: self.scratch.to_path_buf(),
        })
    }

    /// What a database server is reached with, from the Secrets as they are at each reading.
    pub(super) fn access(&self, field: &str, sql: &SqlAudience) -> Option<sql::Access> {
        let (url, authorities) = (sql.url_ref.clone()?, sql.ca_ref.clone());
        let (secrets, namespace, field) = (self.secrets.clone(), self.key.namespace.clone(), field.to_owned());
        Some(sql::Access::new(move || {
            let secrets = secrets.get();
            let value = |name: &str, reference: &KeyRef| {
                secrets
                    .get(&namespace, &reference.name, &reference.key)
                    .map_err(|missing| Blocker::lasting(missing.reason(), format!("{field}.{name}: {missing}.")))
            };
            let authorities = authorities.as_ref().map(|reference| value("caRef", reference)).transpose()?;
            Ok(sql::Key { url: value("urlRef", &url)?, authorities })
        }))
    }

    fn sheet(&self, field: &str, workbook: &WorkbookSource) -> Result<Input, Blocker> {
        Ok(Input::Xlsx(Box::new(Sheet {
            location: self.location(field, workbook.place(), Purpose::Xlsx)?,
            name: workbook.sheet.clone(),
            columns: workbook.columns.clone(),
            folder: Folder(self.scratch.to_path_buf()),
        })))
    }

    fn pages(&self, field: &str, json: &JsonAudience) -> Result<Input, Blocker> {
        let invalid = |field: String| Blocker::lasting(Reason::InvalidSpec, format!("{field}: this is not a JSON pointer."));
        let pointer = |name: &str, text: &str| Pointer::parse(text).ok_or_else(|| invalid(format!("{field}.{name}")));
        let columns = json.columns.iter().map(|(name, text)| Ok((name.clone(), pointer(&format!("columns.{name}"), text)?)));
        Ok(Input::Json(Box::new(Pages {
            remote: self.remote(field, &json.url, json.auth.as_ref()),
            items: pointer("items", json.items.as_deref().unwrap_or_default())?,
            next: json.next.as_ref().map(|next| next_page(next, pointer)).transpose()?.flatten(),
            columns: columns.collect::<Result<_, Blocker>>()?,
            folder: Folder(self.scratch.to_path_buf()),
        })))
    }

    fn table(&self, field: &str, csv: &TableSource) -> Result<Input, Blocker> {
        let layout = Layout {
            columns: csv.columns.clone(),
            delimiter: csv.delimiter.as_ref().and_then(|delimiter| delimiter.bytes().next()),
            charset: csv.charset.as_ref().and_then(|charset| encoding_rs::Encoding::for_label(charset.as_bytes())),
        };
        Ok(Input::Csv(self.location(field, csv.place(), Purpose::Csv)?, layout))
    }
}

/// How the next page of an API is found; none where no way is given.
fn next_page(next: &NextPage, pointer: impl Fn(&str, &str) -> Result<Pointer, Blocker>) -> Result<Option<Next>, Blocker> {
    let NextPage { link, url, cursor, page, offset } = next;
    Ok(if link.is_some() {
        Some(Next::Link)
    } else if let Some(url) = url {
        Some(Next::Url(pointer("next.url", url)?))
    } else if let Some(cursor) = cursor {
        Some(Next::Cursor(pointer("next.cursor.pointer", &cursor.pointer)?, cursor.parameter.clone()))
    } else if let Some(page) = page {
        Some(Next::Page(page.parameter.clone(), page.first.unwrap_or(1)))
    } else {
        offset.as_ref().map(|offset| Next::Offset(offset.parameter.clone()))
    })
}
