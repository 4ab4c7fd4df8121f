//! `mailfleet validate`: checks files offline and reports every fault with its place.

mod audience;
mod content;
mod servers;

use std::{
    io::{self, Write},
    path::PathBuf,
    process::ExitCode,
};

use clap::{Args, ValueEnum};
use serde_json::json;

use super::{ledger_args::LedgerArgs, screen, text};
use crate::{
    engine,
    ledger::{LedgerPlace, RecordedFacts},
    meta::bound::counted,
    resources::Key,
    source::{Files, Finding, Options, Severity, Snapshot},
};

pub(super) use audience::VARIANT_FIELD;
pub use content::campaign_findings;
pub(super) use content::{findings_of, of_fault, resolver};
use servers::server_findings;

/// What stands before an excerpt, beside its line number: `  21 | `.
const MARGIN: usize = 5;
/// The narrowest part of a line that says something.
const WINDOW_MIN: usize = 20;

/// Checks files offline, and reports every fault with file, line, column and field.
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Exit codes:
  0  no faults (notes do not count, and warnings only with --strict)
  1  the findings could not be printed
  2  a fault, or a usage error

A fault means that a document is not used, or that a campaign cannot be sent. A \
warning means that a document is used but probably not as intended, such as one \
that names a plan, server, Secret or file not found offline. A note is about a \
document that is not Mailfleet's, or a reminder.

Templates are compiled, and the fields that they name are looked for in the \
audience: at most 100,000 rows and 16 MiB of it are read, and no URL.

Secrets are looked up below --secrets-dir, then in the documents, then in the \
environment as MAILFLEET_SECRET__<NAMESPACE>__<NAME>__<KEY>, in capitals, with `_` \
for `-` and, in a key, for `.`. A namespace or name with a dot or with two \
consecutive hyphens has no variable, since it could be taken for another's.")]
pub struct ValidateArgs {
    /// Files and folders; `-` is standard input, and a pipe is read like a file. In folders, .yaml, .yml and .json files are read;
    /// hidden names and what a .mailfleetignore excludes are skipped.
    #[arg(default_value = ".", value_name = "PATH")]
    pub paths: Vec<PathBuf>,
    /// Skip files and folders that match this gitignore pattern; repeatable.
    #[arg(long, value_name = "PATTERN")]
    pub exclude: Vec<String>,
    /// A folder with Secrets as NAMESPACE/NAME/KEY files.
    #[arg(long, value_name = "DIR")]
    pub secrets_dir: Option<PathBuf>,
    /// Count each warning as a fault, for CI: a plan, server or file that is not there, for example.
    #[arg(long)]
    pub strict: bool,
    /// The state folder of `mailfleet run`: warn about campaigns that may have been renamed.
    #[arg(long, value_name = "DIR", default_value = text::STATE_DEFAULT, env = text::STATE_VARIABLE)]
    pub state: PathBuf,
    /// Where its ledger is.
    #[command(flatten)]
    pub ledger: LedgerArgs,
    /// The namespace of the operator's plans, as for `mailfleet run`: campaigns in any other may only be sent from granted domains.
    #[arg(long, value_name = "NAMESPACE")]
    pub plan_namespace: Option<String>,
    /// The output format.
    #[arg(short, long, value_enum, default_value = "text")]
    pub output: ValidateOutput,
}

/// The output formats.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ValidateOutput {
    /// One paragraph per finding, with the line of the file.
    Text,
    /// One JSON object.
    Json,
}

/// Runs the command.
#[must_use]
pub fn validate(args: &ValidateArgs) -> ExitCode {
    let options = Options {
        exclude: args.exclude.clone(),
        pipes: true,
        plan_namespace: args.plan_namespace.clone(),
        ..Options::of_process(args.secrets_dir.clone(), Some(args.state.clone()))
    };
    let mut snapshot = load(&args.paths, &options);
    let renamed = args.ledger.location(&args.state).map(|location| renamed(&snapshot, location)).unwrap_or_default();
    snapshot.findings.extend(renamed);
    if args.strict {
        let warnings = snapshot.findings.iter_mut().filter(|finding| finding.severity == Severity::Warning);
        warnings.for_each(|warning| warning.severity = Severity::Fault);
    }
    let mut out = io::stdout().lock();
    let printed = match args.output {
        ValidateOutput::Text => print_text(&mut out, &snapshot),
        ValidateOutput::Json => print_json(&mut out, &snapshot),
    };
    let is_broken_pipe = printed.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::BrokenPipe);
    if printed.is_err() && !is_broken_pipe {
        return ExitCode::from(1);
    }
    ExitCode::from(if snapshot.faults().next().is_some() { 2 } else { 0 })
}

/// Reads files, and adds to their findings what can be said of what campaigns send, and to whom.
#[must_use]
pub fn load(paths: &[PathBuf], options: &Options) -> Snapshot {
    let mut snapshot = Files::load_once(paths, options);
    let of_campaigns = campaign_findings(&snapshot);
    // Of what a campaign sends and to whom, a fault says the same as a warning at its field, and more.
    let is_of_content = |warning: &Finding| {
        warning.field.as_ref().is_some_and(|field| field.starts_with("spec.content") || field.starts_with("spec.audience"))
    };
    let is_told = |warning: &Finding| {
        is_of_content(warning) && of_campaigns.iter().any(|fault| fault.severity == Severity::Fault && is_same_place(fault, warning))
    };
    snapshot.findings.retain(|finding| finding.severity != Severity::Warning || !is_told(finding));
    snapshot.findings.extend(of_campaigns);
    let of_servers = server_findings(&snapshot);
    snapshot.findings.extend(of_servers);
    snapshot.findings.sort_by(|a, b| (&a.file, a.line, a.column).cmp(&(&b.file, b.line, b.column)));
    snapshot
}

fn is_same_place(one: &Finding, other: &Finding) -> bool {
    (&one.file, one.line, one.column, &one.field) == (&other.file, other.line, other.column, &other.field)
}

/// Campaigns that do not start since they may be others, renamed: the ledger goes by name, and would mail everybody again.
fn renamed(snapshot: &Snapshot, location: LedgerPlace) -> Vec<Finding> {
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    let (Ok(runtime), Ok(facts)) = (runtime, RecordedFacts::open(location)) else { return Vec::new() };
    let renamed = runtime.block_on(engine::renamed(snapshot, facts, jiff::Timestamp::now().as_millisecond()));
    let finding = |(key, old): (Key, String)| {
        let place = snapshot.campaigns.get(&key)?.origin.file()?;
        let message = format!(
            "this has the audience and the message (or a part of it) of campaign {old}, which is no longer here. If it was renamed, everybody would be mailed again, so it does not start; keep the name {old} to mail only the rest, or set spec.run to a new value to mail everybody"
        );
        let warning = Finding::of_file(Severity::Warning, &place.file, message);
        Some(Finding { line: place.line, column: 1, resource: Some(format!("Campaign {key}")), ..warning })
    };
    renamed.into_iter().filter_map(finding).collect()
}

/// Prints the findings for people.
///
/// # Errors
/// When the output cannot be written.
pub fn print_text(out: &mut impl Write, snapshot: &Snapshot) -> io::Result<()> {
    for finding in &snapshot.findings {
        print_finding(out, finding)?;
    }
    writeln!(out, "{}", summary(snapshot))
}

pub(super) fn print_finding(out: &mut impl Write, finding: &Finding) -> io::Result<()> {
    write!(out, "{}", text::block(&printable(&finding.to_string())))?;
    if let Some(line) = &finding.excerpt {
        let number = finding.line.to_string();
        let room = screen::stdout_columns().map_or(usize::MAX, |columns| columns.saturating_sub(number.len() + MARGIN));
        let (line, column) = window(&printable(line), finding.column, room);
        let before = line.chars().take(column.saturating_sub(1));
        // A tab stays a tab, so that the caret is below its character whatever the width of tabs.
        let indent: String = before.map(|c| if c == '\t' { '\t' } else { ' ' }).collect();
        writeln!(out, "  {number} | {line}")?;
        writeln!(out, "  {:>width$} | {indent}^", "", width = number.len())?;
    }
    Ok(())
}

/// The part of a line around a column that has room in that many columns, and the column in it: the caret stays below its character.
fn window(line: &str, column: usize, room: usize) -> (String, usize) {
    let letters: Vec<char> = line.chars().collect();
    if letters.len() <= room || room < WINDOW_MIN {
        return (line.to_owned(), column);
    }
    let at = column.saturating_sub(1);
    // The place is well within what is shown, and the end of the line is not passed.
    let start = if at < room * 3 / 4 { 0 } else { (at - room / 2).min(letters.len() - room) };
    let end = start + room;
    let mut part: Vec<char> = letters[start..end.min(letters.len())].to_vec();
    if start > 0
        && let Some(first) = part.first_mut()
    {
        *first = '…';
    }
    if end < letters.len()
        && let Some(last) = part.last_mut()
    {
        *last = '…';
    }
    (part.into_iter().collect(), column - start)
}

/// Without control characters, which could steer the terminal.
pub(super) fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() && c != '\t' { '\u{fffd}' } else { c }).collect()
}

fn summary(snapshot: &Snapshot) -> String {
    let count = |severity| snapshot.findings.iter().filter(|finding| finding.severity == severity).count();
    let mut text =
        format!("{} in {}: ", counted(snapshot.counts.documents, "document", "documents"), counted(snapshot.counts.files, "file", "files"));
    let faults = count(Severity::Fault);
    text.push_str(&if faults == 0 { "no faults".to_owned() } else { counted(faults, "fault", "faults") });
    for (severity, one, several) in [(Severity::Warning, "warning", "warnings"), (Severity::Note, "note", "notes")] {
        if count(severity) > 0 {
            text.push_str(&format!(", {}", counted(count(severity), one, several)));
        }
    }
    text
}

/// Prints the findings for scripts.
///
/// # Errors
/// When the output cannot be written.
pub fn print_json(out: &mut impl Write, snapshot: &Snapshot) -> io::Result<()> {
    let count = |severity| snapshot.findings.iter().filter(|finding| finding.severity == severity).count();
    let report = json!({
        "documents": snapshot.counts.documents,
        "files": snapshot.counts.files,
        "faults": count(Severity::Fault),
        "warnings": count(Severity::Warning),
        "notes": count(Severity::Note),
        "findings": snapshot.findings,
    });
    serde_json::to_writer_pretty(&mut *out, &report)?;
    writeln!(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_line_is_shown_around_its_fault() {
        let line: String = ('a'..='z').cycle().take(100).collect();
        for (column, room) in [(1, 40), (29, 40), (31, 40), (60, 40), (100, 40), (101, 40), (50, 99)] {
            let (part, at) = window(&line, column, room);
            assert_eq!(part.chars().count(), room);
            let letter = part.chars().nth(at - 1);
            let is_shown = letter == line.chars().nth(column - 1) || letter.is_none() && column > 100;
            assert!(is_shown, "{column} in {room}: {part} at {at}");
            assert_eq!((part.starts_with('…'), part.ends_with('…')), (!part.starts_with('a'), !part.ends_with(&line[99..])), "{part}");
        }
        assert_eq!(window(&line, 50, 100), (line.clone(), 50));
        assert_eq!(window(&line, 50, 10), (line.clone(), 50), "too narrow to say anything");
    }
}
