//! The database as the writing thread holds it: its transactions, and what makes sure that no other process writes.

use super::{
    LedgerOptions, LedgerPlace,
    database::Connection,
    error::{Fault, LedgerError},
    folder::Folder,
    hash_file, schema,
    tenure::{Tenure, Transaction},
};

/// The database, as held by the writing thread.
pub(super) struct Book {
    pub(super) connection: Connection,
    keeper: Keeper,
    /// What errors call the database.
    pub(super) name: String,
    /// The number of this process among those that ever sent from this ledger.
    pub(super) epoch: i64,
}

/// What keeps other processes from writing.
enum Keeper {
    /// The lock of a state folder.
    Folder(Folder),
    /// A lease in the database.
    Tenure(Tenure),
}

impl Book {
    /// Takes a ledger over, unless it was moved elsewhere.
    pub(super) fn open(location: &LedgerPlace, options: LedgerOptions) -> Result<Self, LedgerError> {
        let mut book = Self::open_even_if_moved(location, options)?;
        book.read(schema::refuse_moved)?;
        Ok(book)
    }

    /// Takes a ledger over, to complete its move.
    pub(super) fn open_even_if_moved(location: &LedgerPlace, options: LedgerOptions) -> Result<Self, LedgerError> {
        let (keeper, connection, epoch) = match location.database() {
            None => {
                let (folder, connection, epoch) = Folder::open(location.state_dir(), options)?;
                (Keeper::Folder(folder), connection, epoch)
            }
            Some(place) => {
                schema::make_state_dir(location.state_dir())?;
                hash_file::remove_leftovers(location.state_dir())?;
                let (tenure, connection, epoch) = Tenure::open(place)?;
                (Keeper::Tenure(tenure), connection, epoch)
            }
        };
        Ok(Self { connection, keeper, name: location.to_string(), epoch })
    }

    /// Runs `work` in one transaction. It is durable when this returns; otherwise nothing of it happened, unless the error says
    /// `Undecided`.
    pub(super) fn transaction<T>(&mut self, work: impl FnOnce(&Connection) -> Result<T, Fault>) -> Result<T, LedgerError> {
        let done = match &self.keeper {
            Keeper::Folder(folder) => folder.transaction(&self.connection, self.epoch, work),
            Keeper::Tenure(tenure) => tenure.transaction(&mut self.connection, self.epoch, work),
        };
        done.map_err(|fault| fault.at(&self.name))
    }

    /// Runs `work` for reading only.
    pub(super) fn read<T>(&mut self, work: impl FnOnce(&Connection) -> Result<T, Fault>) -> Result<T, LedgerError> {
        if let Keeper::Tenure(tenure) = &self.keeper {
            tenure.reconnect(&mut self.connection)?;
        }
        work(&self.connection).map_err(|fault| fault.at(&self.name))
    }

    /// The transaction of which it is not known whether it was applied.
    pub(super) fn undecided(&self) -> Option<Transaction> {
        if let Keeper::Tenure(tenure) = &self.keeper { tenure.undecided() } else { None }
    }

    /// Whether this transaction was applied, which was undecided; from now on it cannot be.
    pub(super) fn was_applied(&mut self, transaction: Transaction) -> Result<bool, LedgerError> {
        match &self.keeper {
            Keeper::Folder(_) => Ok(false),
            Keeper::Tenure(tenure) => {
                tenure.was_applied(&mut self.connection, self.epoch, transaction).map_err(|fault| fault.at(&self.name))
            }
        }
    }

    /// Extends the lease of this process, where it has one.
    pub(super) fn beat(&mut self) -> Result<(), LedgerError> {
        if matches!(self.keeper, Keeper::Tenure(_)) { self.transaction(|_| Ok(())) } else { Ok(()) }
    }

    /// Housekeeping between jobs.
    pub(super) fn tidy(&self) -> Result<(), LedgerError> {
        let merged = if matches!(self.keeper, Keeper::Folder(_)) { Folder::merge_log(&self.connection) } else { Ok(()) };
        merged.map_err(|fault| fault.at(&self.name))
    }
}

impl Drop for Book {
    /// Gives the ledger back, so that the next process need not wait for the end of a lease.
    fn drop(&mut self) {
        if let Keeper::Tenure(tenure) = &self.keeper {
            tenure.close(&mut self.connection, self.epoch);
        }
    }
}
