//! Who may see the dashboard, from the command line.

use std::path::PathBuf;

use clap::Args;
use http::HeaderName;

use crate::{
    ledger::LedgerPlace,
    present::words::Commands,
    serve::{DashboardOptions, Token},
};

/// Who may see the dashboard at --admin-address.
#[derive(Args, Clone, Debug)]
pub struct DashboardArgs {
    /// Let those see the dashboard who have the token in this file, of 16 characters or more: in a form, or as `Authorization: Bearer`.
    /// Without this or --admin-proxy-header, a dashboard at an address that is not loopback is closed.
    #[arg(long, value_name = "FILE", requires = "admin_address")]
    pub admin_token_file: Option<PathBuf>,
    /// Let those see the dashboard who come through a proxy that authenticates them and sets this header, such as `X-Forwarded-User`. Nobody else may
    /// reach the address, since anybody can send a header.
    #[arg(long, value_name = "NAME", requires = "admin_address")]
    pub admin_proxy_header: Option<HeaderName>,
    /// Show addresses of recipients on the dashboard; otherwise they are masked: `a***@example.com`.
    #[arg(long, requires = "admin_address")]
    pub dashboard_recipients: bool,
}

impl DashboardArgs {
    /// How the dashboard is served, by a process with this ledger, and with which commands. Reads the token.
    pub(super) fn options(&self, ledger: &LedgerPlace, commands: Commands) -> Result<DashboardOptions, String> {
        let read = |path: &PathBuf| {
            let text = std::fs::read_to_string(path).map_err(|error| error.to_string());
            text.and_then(|text| Token::read(&text)).map_err(|why| format!("--admin-token-file {} cannot be used: {why}.", path.display()))
        };
        Ok(DashboardOptions {
            ledger: ledger.clone(),
            commands,
            token: self.admin_token_file.as_ref().map(read).transpose()?,
            proxy_header: self.admin_proxy_header.clone(),
            shows_recipients: self.dashboard_recipients,
        })
    }
}
