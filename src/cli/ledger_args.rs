//! Where the ledger is, as commands are told.

use std::{
    convert::Infallible,
    path::{Path, PathBuf},
};

use clap::Args;

use super::text;
use crate::{
    ledger::{DatabasePlace, LedgerPlace},
    meta::secret::SecretValue,
};

/// The ledger's database, where it is not in the state folder.
#[derive(Args, Clone, Debug, Default)]
pub struct LedgerArgs {
    /// Keep the ledger in this PostgreSQL database instead: postgres://USER:PASSWORD@HOST/DATABASE, with `?schema=NAME` for another
    /// schema than `mailfleet`.
    #[arg(long, value_name = "URL", env = "MAILFLEET_LEDGER", hide_env_values = true, value_parser = secret)]
    pub ledger: Option<SecretValue>,
    /// The password of --ledger, in a file.
    #[arg(long, value_name = "FILE", env = "MAILFLEET_LEDGER_PASSWORD_FILE", requires = "ledger")]
    pub ledger_password_file: Option<PathBuf>,
}

/// Whatever is written there: what the command line's parser refuses it would quote, with the password in it.
pub fn secret(text: &str) -> Result<SecretValue, Infallible> {
    Ok(SecretValue::new(text))
}

impl LedgerArgs {
    /// Where the ledger is.
    ///
    /// # Errors
    /// When the URL or the password cannot be read, in words.
    pub fn location(&self, state_dir: &Path) -> Result<LedgerPlace, String> {
        self.location_of("--ledger", state_dir)
    }

    /// The same, where the options are those of `option` (`--to`).
    ///
    /// # Errors
    /// As above.
    pub fn location_of(&self, option: &str, state_dir: &Path) -> Result<LedgerPlace, String> {
        let Some(url) = &self.ledger else { return Ok(state_dir.into()) };
        let place = DatabasePlace::parse(url.expose_text().unwrap_or_default()).map_err(|why| format!("The URL of {option} {why}."))?;
        let place = match &self.ledger_password_file {
            None => place,
            Some(path) => {
                let text = std::fs::read_to_string(path)
                    .map_err(|error| format!("{option}-password-file {} cannot be read: {error}", path.display()))?;
                place.with_password(SecretValue::new(text.trim_end_matches(['\r', '\n'])))
            }
        };
        Ok(LedgerPlace::in_database(place, state_dir))
    }
}

/// The ledger of a command that needs nothing else of the state folder.
#[derive(Args, Debug)]
pub struct StateArgs {
    /// The state folder, with the ledger.
    #[arg(long, value_name = "DIR", default_value = text::STATE_DEFAULT, env = text::STATE_VARIABLE)]
    pub state: PathBuf,
    #[command(flatten)]
    pub ledger: LedgerArgs,
}

impl StateArgs {
    /// Where the ledger is.
    ///
    /// # Errors
    /// When the URL or the password cannot be read, in words.
    pub fn location(&self) -> Result<LedgerPlace, String> {
        self.ledger.location(&self.state)
    }
}
