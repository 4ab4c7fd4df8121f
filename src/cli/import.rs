//! `mailfleet import`: moving in from other programs. Here their databases and files are read, and a folder is written;
//! `crate::import` decides what is in it.

mod database;
mod write;

use std::{collections::BTreeMap, fs, io::Read as _, path::PathBuf, process::ExitCode};

use clap::{Args, Subcommand, ValueEnum};

use super::{exit::EXIT_CONFIGURATION, text};
use crate::{
    import::{Imported, acellemail, kumomta, listmonk, mautic},
    meta::secret::SecretValue,
};

/// The longest file of another program that is read, bytes.
const FILE_MAX: u64 = 4 << 20;

/// Writes what another program keeps about servers, lists and campaigns as a folder of YAML. Nothing in it sends before you say so: campaigns are suspended.
#[derive(Args, Debug)]
#[command(after_help = "\
The source is only read. No password is written into the folder: the report lists \
the Secrets to make, and --secrets writes those that the source holds into a file \
of their own, which is never to be committed.

Exit codes:
  0  the folder is written; nothing was left behind
  1  the folder is written; the report names what was not carried over
  2  usage error, or the source cannot be read; nothing is written

Examples:
  mailfleet import listmonk --config config.toml --output mail
  mailfleet import listmonk --database postgres://reader:…@db.example.com/listmonk
  mailfleet import mautic --config config/local.php --output mail
  mailfleet import acellemail --database mysql://reader:…@db.example.com/acelle
  mailfleet import kumomta /opt/kumomta/etc/policy --host mta.example.com")]
pub struct ImportArgs {
    /// From where.
    #[command(subcommand)]
    pub from: ImportFrom,
}

/// The programs.
#[derive(Subcommand, Debug)]
pub enum ImportFrom {
    /// listmonk: its settings, lists, templates and campaigns, from its database.
    Listmonk(ListmonkArgs),
    /// Mautic: its mailer, segments, emails and do-not-contact entries, from its database.
    Mautic(MauticArgs),
    /// AcelleMail: its sending servers, plans with weights, lists and campaigns, from its database.
    #[command(name = "acellemail")]
    AcelleMail(AcelleMailArgs),
    /// KumoMTA: sources, pools with weights, limits for domains and DKIM keys, from its TOML and JSON files.
    Kumomta(KumomtaArgs),
}

/// Options of every import.
#[derive(Args, Debug)]
pub struct OutputArgs {
    /// The folder that is written; it is made if it is not there.
    #[arg(long, value_name = "DIR", default_value = "imported")]
    pub output: PathBuf,
    /// The namespace of the objects. Default: none is written, which is `default`.
    #[arg(long, short, value_name = "NAMESPACE", value_parser = namespace)]
    pub namespace: Option<String>,
    /// Replace files that are there.
    #[arg(long)]
    pub force: bool,
    /// Write the Secrets whose values the source holds into this file, for its owner alone. Never commit it.
    #[arg(long, value_name = "FILE")]
    pub secrets: Option<PathBuf>,
    /// The format of the report.
    #[arg(long = "report", short = 'o', value_enum, default_value_t = ReportFormat::Text)]
    pub format: ReportFormat,
}

/// Options of those that read a database.
#[derive(Args, Debug)]
pub struct DatabaseArgs {
    /// The URL of its database, with user and password; a user that may only read is enough. In the environment nobody else sees it.
    #[arg(long, value_name = "URL", env = "MAILFLEET_IMPORT_DATABASE", hide_env_values = true)]
    pub database: Option<String>,
    /// CA certificates (PEM) to trust for the database; the system's by default.
    #[arg(long, value_name = "FILE")]
    pub ca: Option<PathBuf>,
    /// How long the database may take for one statement.
    #[arg(long, value_name = "DURATION", default_value = "5m")]
    pub timeout: crate::meta::Duration,
}

/// Options of `import listmonk`.
#[derive(Args, Debug)]
pub struct ListmonkArgs {
    /// listmonk's config.toml, which says where its database is; its variables LISTMONK_db__… are read as well.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    #[command(flatten)]
    pub database: DatabaseArgs,
    #[command(flatten)]
    pub output: OutputArgs,
}

/// Options of `import mautic`.
#[derive(Args, Debug)]
pub struct MauticArgs {
    /// Mautic's config/local.php, which says where its database is, and how it sends.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// What the names of its tables begin with; as local.php says by default.
    #[arg(long, value_name = "PREFIX")]
    pub table_prefix: Option<String>,
    #[command(flatten)]
    pub database: DatabaseArgs,
    #[command(flatten)]
    pub output: OutputArgs,
}

/// Options of `import acellemail`.
#[derive(Args, Debug)]
pub struct AcelleMailArgs {
    /// What the names of its tables begin with.
    #[arg(long, value_name = "PREFIX", default_value = "")]
    pub table_prefix: String,
    #[command(flatten)]
    pub database: DatabaseArgs,
    #[command(flatten)]
    pub output: OutputArgs,
}

/// Options of `import kumomta`.
#[derive(Args, Debug)]
pub struct KumomtaArgs {
    /// Its files (sources.toml, shaping.toml, queues.toml, listener_domains.toml, dkim_data.toml, or .json), or folders with them.
    #[arg(required = true, value_name = "PATH")]
    pub paths: Vec<PathBuf>,
    /// The host of its SMTP listener.
    #[arg(long, value_name = "HOST")]
    pub host: String,
    /// The port of its SMTP listener.
    #[arg(long, value_name = "PORT", default_value_t = 25)]
    pub port: u16,
    #[command(flatten)]
    pub output: OutputArgs,
}

/// The formats of a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ReportFormat {
    /// A line for each finding.
    Text,
    /// One JSON object.
    Json,
    /// Markdown, as in REPORT.md.
    Markdown,
}

fn namespace(text: &str) -> Result<String, String> {
    let is_name = !text.is_empty()
        && text.len() <= 63
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        && !text.starts_with('-')
        && !text.ends_with('-');
    if is_name { Ok(text.to_owned()) } else { Err("a namespace has small letters, digits and hyphens, 63 at most".to_owned()) }
}

/// Runs the command.
pub async fn run(args: ImportArgs) -> ExitCode {
    // All of it blocks: databases are read on threads of their own.
    let done = tokio::task::spawn_blocking(move || match args.from {
        ImportFrom::Listmonk(args) => write::write(&from_listmonk(&args)?, &args.output),
        ImportFrom::Mautic(args) => write::write(&from_mautic(&args)?, &args.output),
        ImportFrom::AcelleMail(args) => write::write(&from_acellemail(&args)?, &args.output),
        ImportFrom::Kumomta(args) => write::write(&from_kumomta(&args)?, &args.output),
    });
    done.await.unwrap_or_else(|error| Err(error.to_string())).unwrap_or_else(|message| {
        text::report(&message);
        ExitCode::from(EXIT_CONFIGURATION)
    })
}

fn from_listmonk(args: &ListmonkArgs) -> Result<Imported, String> {
    let mut doubts = Vec::new();
    let url = match (&args.database.database, &args.config) {
        (Some(url), _) => SecretValue::new(url.as_str()),
        (None, Some(path)) => {
            let source = read_text(path)?;
            let variables: BTreeMap<String, String> = std::env::vars().filter(|(name, _)| name.starts_with("LISTMONK_")).collect();
            let config = listmonk::config(&source, &variables).map_err(|what| format!("{}: {what}", path.display()))?;
            doubts = config.doubts.into_iter().map(|doubt| (path.display().to_string(), doubt)).collect();
            config.url
        }
        (None, None) => return Err("name listmonk's config.toml with `--config`, or its database with `--database`".to_owned()),
    };
    let reader = database::Reader::new(url, &args.database)?;
    reader.require(database::Kind::Postgres, "listmonk")?;
    let tables = reader.tables()?;
    let mut facts = listmonk::Facts::default();
    reader.rows(listmonk::query(&tables).map_err(|what| reader.named(&what))?, |row| facts.take(row))?;
    let mut imported = facts.import(reader.url());
    for (place, doubt) in doubts {
        imported.report.check(place, doubt, "");
    }
    Ok(imported)
}

fn from_mautic(args: &MauticArgs) -> Result<Imported, String> {
    let config = match &args.config {
        Some(path) => Some(mautic::config(&read_text(path)?).map_err(|what| format!("{}: {what}", path.display()))?),
        None => None,
    };
    let url = match (&args.database.database, &config) {
        (Some(url), _) => SecretValue::new(url.as_str()),
        (None, Some(config)) => mautic::database_url(config)?,
        (None, None) => return Err("name Mautic's config/local.php with `--config`, or its database with `--database`".to_owned()),
    };
    let prefix = args.table_prefix.clone().unwrap_or_else(|| config.as_ref().map(mautic::table_prefix).unwrap_or_default());
    let reader = database::Reader::new(url, &args.database)?;
    reader.require(database::Kind::MySql, "Mautic")?;
    let tables = reader.tables()?.with_prefix(&prefix);
    let mut facts = mautic::Facts::default();
    reader.rows(mautic::query(&tables).map_err(|what| reader.named(&what))?, |row| facts.take(row))?;
    Ok(facts.import(&tables, config.as_ref(), reader.url()))
}

fn from_acellemail(args: &AcelleMailArgs) -> Result<Imported, String> {
    let Some(url) = &args.database.database else {
        return Err("name AcelleMail's database with `--database`".to_owned());
    };
    let reader = database::Reader::new(SecretValue::new(url.as_str()), &args.database)?;
    reader.require(database::Kind::MySql, "AcelleMail")?;
    let tables = reader.tables()?.with_prefix(&args.table_prefix);
    let mut facts = acellemail::Facts::default();
    reader.rows(acellemail::query(&tables).map_err(|what| reader.named(&what))?, |row| facts.take(row))?;
    Ok(facts.import(&tables, reader.url()))
}

fn from_kumomta(args: &KumomtaArgs) -> Result<Imported, String> {
    let mut files = BTreeMap::new();
    for path in &args.paths {
        if !path.is_dir() {
            files.insert(path.display().to_string(), read_text(path)?);
            continue;
        }
        let entries = fs::read_dir(path).map_err(|error| format!("{}: the folder cannot be read: {error}", path.display()))?;
        for entry in entries {
            let file = entry.map_err(|error| format!("{}: the folder cannot be read: {error}", path.display()))?.path();
            if file.is_file() && kumomta::is_known(&file) {
                files.insert(file.display().to_string(), read_text(&file)?);
            }
        }
    }
    if files.is_empty() {
        return Err(format!("there is no {} in these folders", kumomta::FILES.join(", ")));
    }
    kumomta::import(&files, &args.host, args.port)
}

/// A file of another program.
fn read_text(path: &std::path::Path) -> Result<String, String> {
    let name = path.display();
    let file = fs::File::open(path).map_err(|error| format!("{name}: the file cannot be read: {error}"))?;
    let mut text = String::new();
    file.take(FILE_MAX + 1).read_to_string(&mut text).map_err(|error| format!("{name}: the file cannot be read: {error}"))?;
    if text.len() as u64 > FILE_MAX {
        return Err(format!("{name}: the file is longer than {} MiB", FILE_MAX >> 20));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_other_programs_have_a_bound() {
        let file = std::env::temp_dir().join(format!("mailfleet-import-{}", std::process::id()));
        let longest = usize::try_from(FILE_MAX).expect("a size");
        let read = |length: usize| {
            fs::write(&file, "x".repeat(length)).expect("a file");
            read_text(&file).map(|text| text.len())
        };
        assert_eq!(read(longest), Ok(longest));
        assert!(read(longest + 1).is_err_and(|why| why.ends_with("the file is longer than 4 MiB")));
        fs::remove_file(&file).expect("the file");
    }
}
