//! `mailfleet schema`: the JSON Schema that editors use.

use std::{
    io::{self, Write},
    process::ExitCode,
};

use clap::Args;

use crate::resources::schema::{KINDS, for_editors};

/// Prints the JSON Schema (draft 2020-12) of the YAML, for editors.
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Editors use it for a YAML file that begins with this line (a path works as well as a URL):
  # yaml-language-server: $schema=https://mailfleet.dev/schemas/mailfleet.schema.json")]
pub struct SchemaArgs {
    /// Accept only this kind. Default: all of them.
    #[arg(long, value_name = "KIND", value_parser = clap::builder::PossibleValuesParser::new(KINDS))]
    pub kind: Option<String>,
}

/// Runs the command.
#[must_use]
pub fn schema(args: &SchemaArgs) -> ExitCode {
    let written = schema_text(args.kind.as_deref()).and_then(|text| io::stdout().lock().write_all(text.as_bytes()));
    ExitCode::from(u8::from(written.is_err()))
}

/// The schema as printed, and as committed in `schemas/mailfleet.schema.json`.
///
/// # Errors
/// When there is no such kind.
pub fn schema_text(kind: Option<&str>) -> io::Result<String> {
    let schema = for_editors(kind).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "unknown kind"))?;
    Ok(format!("{}\n", serde_json::to_string_pretty(&schema)?))
}
