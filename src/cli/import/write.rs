//! The folder that an import writes, and its report.

use std::{
    fs::{self, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    path::Path,
    process::ExitCode,
};

use super::{
    super::{text, validate},
    OutputArgs, ReportFormat,
};
use crate::{
    import::{Imported, Outcome, REPORT_FILE, files, secrets_document},
    meta::bound::counted,
    source::{Options, Severity},
};

/// Files that are named where some are in the way.
const NAMED: usize = 5;

/// Writes the folder, checks it as `validate` does, and prints the report.
///
/// # Errors
/// When something cannot be written; nothing is if a file is in the way.
pub fn write(imported: &Imported, args: &OutputArgs) -> Result<ExitCode, String> {
    let folder = &args.output;
    let namespace = args.namespace.as_deref();
    let mut imported_files = files(imported, namespace)?;
    let secrets = args.secrets.as_ref().map(|path| (path, secrets_document(imported, namespace)));
    if !args.force {
        let mut there: Vec<String> = imported_files
            .keys()
            .map(|path| folder.join(path))
            .filter(|path| path.exists())
            .map(|path| path.display().to_string())
            .collect();
        there.extend(secrets.iter().filter(|(path, _)| path.exists()).map(|(path, _)| path.display().to_string()));
        if !there.is_empty() {
            let more = if there.len() > NAMED { format!(" and {} more", there.len() - NAMED) } else { String::new() };
            there.truncate(NAMED);
            return Err(format!(
                "{}{more} would be replaced; name another folder with `--output`, or replace them with `--force`",
                there.join(", ")
            ));
        }
    }
    let report = imported_files.remove(REPORT_FILE).unwrap_or_default();
    // What fails most easily is first, so that nothing is written then.
    if let Some((path, document)) = &secrets
        && let Some(document) = document
    {
        write_file(path, document.expose(), true)?;
    }
    for (path, content) in &imported_files {
        write_file(&folder.join(path), content.as_bytes(), Path::new(path).extension().is_some_and(|extension| extension == "csv"))?;
    }
    let faults = faults(folder);
    let report = report + &of_faults(&faults);
    write_file(&folder.join(REPORT_FILE), report.as_bytes(), false)?;
    print(imported, args, &report, &faults).map_err(|error| format!("the report cannot be printed: {error}"))?;
    let objects = imported.servers.len() + imported.plans.len() + imported.campaigns.len();
    let lost = imported.report.count(Outcome::NotCarriedOver) + imported.report.left_out_lost;
    text::report(&format!(
        "{} in {}; {} to be checked, {} not carried over: see {}",
        counted(objects as u64, "object", "objects"),
        folder.display(),
        imported.report.count(Outcome::Check),
        lost,
        folder.join(REPORT_FILE).display()
    ));
    if let Some((path, Some(_))) = &secrets {
        text::report(&format!("the Secrets are in {}; never commit that file", path.display()));
    }
    Ok(if lost == 0 && faults.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What `validate` says of the folder.
fn faults(folder: &Path) -> Vec<String> {
    let options = Options { exclude: Vec::new(), pipes: false, plan_namespace: None, ..Options::of_process(None, None) };
    let snapshot = validate::load(&[folder.to_owned()], &options);
    snapshot.findings.iter().filter(|finding| finding.severity == Severity::Fault).map(ToString::to_string).collect()
}

fn of_faults(faults: &[String]) -> String {
    if faults.is_empty() {
        return String::new();
    }
    let lines: String = faults.iter().map(|fault| format!("- {}\n", fault.replace('\n', " "))).collect();
    format!("\n## Faults that `mailfleet validate` finds\n\n{lines}")
}

fn print(imported: &Imported, args: &OutputArgs, report: &str, faults: &[String]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    let printed = match args.format {
        ReportFormat::Markdown => out.write_all(report.as_bytes()),
        ReportFormat::Json => {
            let secrets: Vec<_> = imported
                .secrets
                .iter()
                .map(|secret| serde_json::json!({"name": secret.name, "keys": secret.keys.keys().collect::<Vec<_>>(), "purpose": secret.purpose}))
                .collect();
            let document = serde_json::json!({"report": imported.report, "secrets": secrets, "faults": faults});
            writeln!(out, "{document:#}")
        }
        ReportFormat::Text => {
            let mut lines = imported.report.lines();
            if !imported.secrets.is_empty() {
                lines.push(format!("Secrets to make ({}):", imported.secrets.len()));
            }
            for secret in &imported.secrets {
                let keys: Vec<&str> = secret.keys.keys().map(String::as_str).collect();
                lines.push(format!("  {} with {}: {}", secret.name, keys.join(" and "), secret.purpose));
            }
            lines.extend(faults.iter().map(|fault| format!("validate: {fault}")));
            lines.iter().try_for_each(|line| out.write_all(text::block(line).as_bytes()))
        }
    };
    match printed {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error),
        _ => Ok(()),
    }
}

/// Writes a file into place; what holds secrets or people's addresses is for its owner alone.
fn write_file(path: &Path, content: &[u8], is_private: bool) -> Result<(), String> {
    let failed = |error: io::Error| format!("{}: the file cannot be written: {error}", path.display());
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        fs::create_dir_all(folder).map_err(failed)?;
    }
    let mode = if is_private { 0o600 } else { 0o666 };
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(mode).open(path).map_err(failed)?;
    if is_private {
        // One that was there keeps its mode otherwise.
        file.set_permissions(fs::Permissions::from_mode(0o600)).map_err(failed)?;
    }
    file.write_all(content).map_err(failed)
}
