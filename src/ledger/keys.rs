//! With which keys people were forgotten: whoever uses others neither keeps a hash that counts, nor finds those who have one.

use super::{
    Ledger,
    database::Connection,
    error::{Fault, LedgerError, LedgerErrorKind},
    meta,
    writer::Writer,
};
use crate::token::Keys;

/// The entry of `meta` that says with which keys a process last sent: `1:9f86d081884c7d65`, the one for what is new first.
const ENTRY: &str = "keys";
/// What keys are derived for.
const PURPOSE: &str = "check of the ledger's keys";
/// The bytes of a check that are kept: enough to tell keys apart, and nothing from which one could be learned.
const CHECK_BYTES: usize = 8;

impl Ledger {
    /// Uses the keys of a process that sends, and remembers which they are. False: people were forgotten with a key that is not among
    /// them, so that they would be mailed again.
    ///
    /// # Errors
    /// When the ledger cannot be read or written.
    pub async fn adopt_keys(&self, keys: Keys) -> Result<bool, LedgerError> {
        self.set_keys(keys.clone()).await?;
        self.call(move |writer| writer.adopt_keys(&keys)).await
    }
}

impl Writer {
    fn adopt_keys(&mut self, keys: &Keys) -> Result<bool, LedgerError> {
        self.book.transaction(|connection| {
            meta::set_text(connection, ENTRY, &checks(keys).join(" "))?;
            let mut statement =
                connection.prepare("SELECT DISTINCT person FROM suppressions WHERE person >= 'forgotten:' AND person < 'forgotten;'")?;
            let people: Vec<String> = statement.all((), |row| row.get(0))?;
            let is_known = |person: &String| {
                let id = person.split(':').nth(1).and_then(|id| id.parse::<u8>().ok());
                id.is_some_and(|id| keys.ids().any(|known| known == id))
            };
            Ok(people.iter().all(is_known))
        })
    }

    /// Refuses keys that are not those of the process that last sent.
    pub(super) fn check_keys(&mut self, keys: &Keys) -> Result<(), LedgerError> {
        let of_process = self.book.read(last)?;
        if of_process.is_none_or(|newest| checks(keys).contains(&newest)) {
            return Ok(());
        }
        Err(LedgerError::new(
            LedgerErrorKind::Conflict,
            "nothing was removed: these are not the keys with which `mailfleet run` last sent from this folder, so that the person would be mailed again; name their file with --keys (or MAILFLEET_KEYS)",
        ))
    }
}

/// The check of the key for what is new of the process that last sent.
fn last(connection: &Connection) -> Result<Option<String>, Fault> {
    Ok(meta::text(connection, ENTRY)?.and_then(|text| text.split(' ').next().map(str::to_owned)))
}

fn checks(keys: &Keys) -> Vec<String> {
    let check = |id| {
        let mac = keys.derived(id, PURPOSE)?;
        let digits: String = mac.iter().take(CHECK_BYTES).map(|byte| format!("{byte:02x}")).collect();
        Some(format!("{id}:{digits}"))
    };
    keys.ids().filter_map(check).collect()
}
