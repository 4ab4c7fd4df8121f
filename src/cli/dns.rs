//! `mailfleet dns`: the records that the servers of a folder need in DNS, and whether they are published.

use std::{
    io::{self, Write},
    net::SocketAddr,
    path::PathBuf,
    process::ExitCode,
};

use clap::{Args, ValueEnum};
use futures::{StreamExt as _, stream};

use super::{
    present::{OutputFormat, Table},
    text,
};
use crate::{
    dkim::Ring,
    dns::{Answers, Check, Purpose, RecordType, Resolver, Verdict, judge, resolver_address, spf, zone},
    egress::Egress,
    engine::subject,
    meta::net::is_at_or_below,
    resources::Key,
    source::{Files, Options},
};

/// Shows the DNS records that the servers' identities need: DKIM, SPF, DMARC, the return path, and the names of sending addresses.
#[derive(Args, Debug)]
#[command(
    after_help = "Exit codes:\n  0  every record is published, or --no-lookup is given\n  1  a record is missing or wrong\n  2  usage error, or the configuration has faults\n  3  nothing is wrong, but a record could not be looked up\n\nWhat a vendor needs for itself (the CNAMEs of SendGrid, the MX of an SES MAIL FROM domain) is not known here: ask the vendor. Publish a printed zone file by adding its lines to the zone, or by $INCLUDE."
)]
pub struct DnsArgs {
    /// Files or folders with YAML or JSON.
    #[arg(default_value = ".", value_name = "PATH")]
    pub paths: Vec<PathBuf>,
    /// Skip files and folders that match this gitignore pattern; repeatable.
    #[arg(long, value_name = "PATTERN")]
    pub exclude: Vec<String>,
    /// Secrets as NAMESPACE/NAME/KEY files: the records of DKIM keys are derived from them.
    #[arg(long, value_name = "DIR")]
    pub secrets_dir: Option<PathBuf>,
    /// The state folder of `mailfleet run`, which is not read as configuration.
    #[arg(long, value_name = "DIR", default_value = text::STATE_DEFAULT, env = text::STATE_VARIABLE)]
    pub state: PathBuf,
    /// The resolver: an IP address, with `:PORT` if it is not 53. Default: this machine's (/etc/resolv.conf).
    #[arg(long, value_name = "ADDRESS", env = "MAILFLEET_RESOLVER", value_parser = resolver_address)]
    pub resolver: Option<SocketAddr>,
    /// Make no lookups: only show what to publish.
    #[arg(long)]
    pub no_lookup: bool,
    /// Only the records at or below this domain, such as those of one zone.
    #[arg(long, value_name = "DOMAIN")]
    pub zone: Option<String>,
    /// The output format.
    #[arg(long, short, value_enum, default_value_t = DnsOutput::Table)]
    pub output: DnsOutput,
}

/// The output formats.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum DnsOutput {
    /// A table for people.
    Table,
    /// Lines of a zone file (RFC 1035).
    Zone,
    /// One JSON document, for scripts.
    Json,
    /// YAML.
    Yaml,
    /// The table in Markdown.
    Markdown,
}

/// The exit code when something could not be looked up.
const EXIT_NOT_KNOWN: u8 = 3;

/// A record that one or more servers need.
#[derive(Clone, Debug)]
struct Row {
    servers: Vec<String>,
    check: Check,
}

pub async fn run(args: DnsArgs) -> ExitCode {
    let checks = match checks(&args).await {
        Ok(checks) => checks,
        Err(message) => {
            text::report(&message);
            return ExitCode::from(super::exit::EXIT_CONFIGURATION);
        }
    };
    let mut rows = rows(checks);
    if let Some(zone) = args.zone.as_deref().map(|zone| zone.trim_end_matches('.').to_ascii_lowercase()) {
        rows.retain(|row| is_at_or_below(&row.check.name, &zone));
    }
    let verdict = |wanted: &[Verdict]| rows.iter().any(|row| row.check.is_needed && wanted.contains(&row.check.verdict));
    let code = match (args.no_lookup, verdict(&[Verdict::Missing, Verdict::Wrong]), verdict(&[Verdict::NotKnown])) {
        (false, true, _) => 1,
        (false, false, true) => EXIT_NOT_KNOWN,
        _ => 0,
    };
    match print(&args, rows, &mut io::stdout().lock()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            text::report(&format!("the records cannot be printed: {error}"));
            ExitCode::from(super::exit::EXIT_CONFIGURATION)
        }
        _ => ExitCode::from(code),
    }
}

/// The records of each server.
async fn checks(args: &DnsArgs) -> Result<Vec<(Key, Vec<Check>)>, String> {
    let options = Options { exclude: args.exclude.clone(), ..Options::of_process(args.secrets_dir.clone(), Some(args.state.clone())) };
    let snapshot = Files::load_once(&args.paths, &options);
    let faults: Vec<String> = snapshot.faults().map(ToString::to_string).collect();
    if !faults.is_empty() {
        return Err(format!("the configuration has faults:\n{}", faults.join("\n")));
    }
    let ring = Ring::default();
    let subjects = snapshot
        .servers
        .iter()
        .filter_map(|(key, sourced)| Some((key, subject(key, &sourced.object, &snapshot.secrets, Egress::Everywhere, &ring)?)));
    let subjects: Vec<_> = subjects.collect();
    if subjects.is_empty() {
        text::report("no server here has an identity with domains or a return path, so no record is needed");
    }
    let resolver = Resolver::new(args.resolver);
    let checked = stream::iter(subjects).map(|(key, subject)| {
        let resolver = resolver.clone();
        async move {
            let offline = args.no_lookup.then(|| judge(&subject, &mut Answers::offline(NOT_LOOKED_UP)));
            let checks = match offline {
                Some(checks) => checks,
                None => resolver.look(&subject).await.checks,
            };
            (key.clone(), checks)
        }
    });
    Ok(checked.buffered(SERVERS_AT_A_TIME).collect().await)
}

/// Servers whose records are looked up at a time.
const SERVERS_AT_A_TIME: usize = 16;
const NOT_LOOKED_UP: &str = "--no-lookup is given";

/// One row for each record: what several servers need is there once, and one SPF record permits all of them.
fn rows(checks: Vec<(Key, Vec<Check>)>) -> Vec<Row> {
    let mut rows: Vec<Row> = Vec::new();
    for (key, check) in checks.into_iter().flat_map(|(key, checks)| checks.into_iter().map(move |check| (key.clone(), check))) {
        let is_same = |row: &&mut Row| {
            let known = &row.check;
            (known.purpose, &known.name, known.kind) == (check.purpose, &check.name, check.kind)
                && (check.purpose == Purpose::Spf || known.value == check.value)
        };
        match rows.iter_mut().find(is_same) {
            Some(row) => row.join(&key, check),
            None => rows.push(Row { servers: vec![key.to_string()], check }),
        }
    }
    rows.sort_by(|a, b| {
        (backwards(&a.check.name), a.check.kind, a.check.purpose).cmp(&(backwards(&b.check.name), b.check.kind, b.check.purpose))
    });
    rows
}

/// The labels of a name from the last to the first: the names of a zone stand together.
fn backwards(name: &str) -> Vec<&str> {
    name.rsplit('.').collect()
}

impl Row {
    fn join(&mut self, key: &Key, other: Check) {
        self.servers.push(key.to_string());
        self.servers.dedup();
        let rank = |check: &Check| match check.verdict {
            Verdict::Wrong => 3,
            Verdict::Missing => 2,
            Verdict::NotKnown => 1,
            Verdict::Good => 0,
        };
        let values: Vec<String> = [&self.check.value, &other.value].into_iter().flatten().cloned().collect();
        let merged = if values.len() == 2 && values[0] != values[1] { spf::merged(&values) } else { values.into_iter().next() };
        if rank(&other) > rank(&self.check) {
            self.check = other;
        }
        self.check.value = merged;
    }

    /// What is there now, with the alias on the way.
    fn found(&self) -> Option<String> {
        let check = &self.check;
        let mut shown: Vec<String> = check.alias.iter().map(|target| format!("CNAME {target}")).collect();
        shown.extend(check.found.iter().cloned());
        (!shown.is_empty()).then(|| shown.join(" / "))
    }
}

fn print(args: &DnsArgs, rows: Vec<Row>, out: &mut impl Write) -> io::Result<()> {
    let format = match args.output {
        DnsOutput::Zone => return print_zone(&rows, args.no_lookup, out),
        DnsOutput::Table => OutputFormat::Table,
        DnsOutput::Json => OutputFormat::Json,
        DnsOutput::Yaml => OutputFormat::Yaml,
        DnsOutput::Markdown => OutputFormat::Markdown,
    };
    let is_scripts = matches!(args.output, DnsOutput::Json | DnsOutput::Yaml);
    let mut table = Table::empty()
        .column("name", "name", |row: &Row| row.check.name.clone())
        .folds()
        .column("type", "type", |row| row.check.kind.as_str())
        .column("purpose", "for", |row| row.check.purpose.as_str());
    if is_scripts {
        table = table.column("servers", "servers", |row| row.servers.clone());
    }
    if !args.no_lookup {
        table = table.column("verdict", "verdict", |row| row.check.verdict.as_str()).column("found", "now", Row::found).wraps();
    }
    table = table.column("value", "value", |row| row.check.value.clone()).wraps();
    if is_scripts {
        table = table
            .column("record", "record", |row| row.check.line())
            .column("message", "message", |row| (!row.check.words.is_empty()).then(|| row.check.words.clone()));
    }
    table.print(format, out, rows)
}

fn print_zone(rows: &[Row], no_lookup: bool, out: &mut impl Write) -> io::Result<()> {
    let mut printed: Vec<String> = Vec::new();
    for Row { servers, check } in rows {
        let line = match (&check.alias, &check.value) {
            // A name with an alias has no other record.
            (Some(target), _) if check.verdict == Verdict::Good => zone::alias(&check.name, target),
            (_, Some(value)) => zone::record(&check.name, check.kind, value),
            (_, None) => {
                writeln!(
                    out,
                    "; {}. {}: for {} of {}; {}",
                    check.name,
                    check.kind.as_str(),
                    check.purpose.as_str(),
                    servers.join(", "),
                    unknown(check)
                )?;
                continue;
            }
        };
        if printed.contains(&line) {
            continue;
        }
        if !no_lookup && check.verdict == Verdict::NotKnown && check.kind == RecordType::Txt {
            writeln!(out, "; Merge the next record with what is published: it could not be looked up.")?;
        }
        writeln!(out, "{line}")?;
        printed.push(line);
    }
    Ok(())
}

/// Why there is no value to publish.
fn unknown(check: &Check) -> &str {
    if check.words.is_empty() || check.words.contains(NOT_LOOKED_UP) {
        "only the server's operator or vendor knows it"
    } else {
        &check.words
    }
}
