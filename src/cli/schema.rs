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
The first line of a YAML file makes editors use it:
# yaml-language-server: $schema=https://mailfleet.dev/schemas/mailfleet.schema.json
or a path in the place of the URL.")]
pub struct SchemaArgs {
    /// Only this kind; any of them when absent.
    #[arg(long, value_name = "KIND", value_parser = clap::builder::PossibleValuesParser::new(KINDS))]
    pub kind: Option<String>,
}

/// Runs the command.
#[must_use]
pub fn schema(args: &SchemaArgs) -> ExitCode {
    let written = schema_text(args.kind.as_deref()).and_then(|text| io::stdout().lock().write_all(text.as_bytes()));
    ExitCode::from(u8::from(written.is_err()))
}

/// The schema as it is printed, and committed as `schemas/mailfleet.schema.json`.
///
/// # Errors
/// When there is no such kind.
pub fn schema_text(kind: Option<&str>) -> io::Result<String> {
    let schema = for_editors(kind).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "there is no such kind"))?;
    Ok(format!("{}\n", serde_json::to_string_pretty(&schema)?))
}
