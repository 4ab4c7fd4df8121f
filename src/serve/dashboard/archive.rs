//! What the ledger knows, read beside the process that writes it.

use super::{
    moment::{Moment, Past},
    query::{List, Route},
    servers::DAYS,
};
use crate::{
    ledger::{HistoryOf, HistoryRow, LedgerError, LedgerErrorKind, LedgerPlace, LedgerReader, RunKey},
    resources::{Campaign, Key, Kind as _, Plan, SendingServer},
};

/// Rows of the history on the page of an object.
const OF_OBJECT_MAX: usize = 25;
/// Rows of the history on a page of it.
const AUDIT_MAX: usize = 50;
const HOUR_MS: i64 = 3_600_000;

/// Reads what a page needs. Blocking.
pub fn read(ledger: LedgerPlace, route: &Route, moment: &Moment) -> Past {
    if matches!(route, Route::Servers(_) | Route::Campaigns(_) | Route::Plans(_)) {
        return Past::default();
    }
    let past = LedgerReader::open(ledger).and_then(|reader| of(&reader, route, moment));
    match past {
        Ok(past) => past,
        // Nothing was sent yet.
        Err(error) if error.kind == LedgerErrorKind::Missing => Past::default(),
        Err(error) => Past { problem: Some(moment.text(&error.message)), ..Past::default() },
    }
}

fn of(reader: &LedgerReader, route: &Route, moment: &Moment) -> Result<Past, LedgerError> {
    let day_ago = moment.now_ms - 24 * HOUR_MS;
    let history = |kind: &str, key: &Key| {
        let of = HistoryOf { object: Some((kind.to_owned(), key.clone())), ..HistoryOf::default() };
        reader.history(&of, OF_OBJECT_MAX + 1).map(|rows| bounded(rows, OF_OBJECT_MAX))
    };
    let mut past = Past::default();
    match route {
        Route::Overview => past.hours = reader.by_hour(day_ago, None)?,
        Route::Server(key) => {
            let name = key.to_string();
            past.hours = reader.by_hour(day_ago, Some(&name))?;
            past.days = reader.by_day(moment.now_ms - DAYS * 24 * HOUR_MS, Some(&name))?;
            (past.history, past.has_more) = history(SendingServer::KIND, key)?;
        }
        Route::Plan(key) => (past.history, past.has_more) = history(Plan::KIND, key)?,
        Route::Campaign(key) => {
            (past.history, past.has_more) = history(Campaign::KIND, key)?;
            if let Some(campaign) = moment.view.decision.campaigns.get(key)
                && let Some(run) = reader.run(&RunKey::new(&*key.namespace, &*key.name, &*campaign.status.run))?
            {
                past.failures = reader.failures(run.record.id)?;
            }
        }
        Route::Audit(list) => {
            let List { text, kind, state, before, .. } = list.clone();
            let some = |text: String| (!text.is_empty()).then_some(text);
            let of = HistoryOf { object: None, kind: some(kind), what: some(state), text: some(text), before };
            (past.history, past.has_more) = bounded(reader.history(&of, AUDIT_MAX + 1)?, AUDIT_MAX);
        }
        Route::Servers(_) | Route::Campaigns(_) | Route::Plans(_) => {}
    }
    Ok(past)
}

/// So many rows, and whether there are more.
fn bounded(mut rows: Vec<HistoryRow>, max: usize) -> (Vec<HistoryRow>, bool) {
    let has_more = rows.len() > max;
    rows.truncate(max);
    (rows, has_more)
}
