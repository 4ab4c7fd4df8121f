//! `mailfleet check`: problems of a campaign's messages, over a sample of its audience or over all of it.

mod spam;

use std::{
    collections::BTreeSet,
    io::{self, Write},
    ops::ControlFlow,
    process::ExitCode,
    time::{Duration, Instant},
};

use clap::Args;

use self::spam::{SpamFilter, SpamScore};
use super::{
    exit::EXIT_CONFIGURATION,
    look::{CampaignArgs, Look, Parts, Sample, Stop, look},
    present::{OutputFormat, Table},
    screen, validate,
};
use crate::{
    audience::Recipient,
    inspect::{Check, Concern, Message, Tally, inspect},
    message::Census,
    meta::bound::{counted, grouped},
    source::{Finding, Severity},
};

/// The largest sample: its recipients are held in memory.
const SAMPLE_MAX: i64 = 10_000;
/// The interval at which a long check says how far it is.
const SAID_EVERY: Duration = Duration::from_secs(1);

/// Makes the messages of a sample of the audience, and reports problems at mailbox providers, in mail programs or for readers. It needs
/// no server, Secret or ledger, and sends nothing.
#[derive(Args, Debug)]
#[command(after_help = "\
Exit codes:
  0  no warnings (notes count only with --strict)
  1  a warning
  2  usage error, the campaign has faults or was not found, or the audience cannot be read

The sample is chosen from the whole audience by address, and stays the same as long \
as the audience does. docs/check.md describes each check, and what to do.

Examples:
  mailfleet check spring
  mailfleet check shop/spring campaigns --all --strict
  mailfleet check spring -o markdown >> \"$GITHUB_STEP_SUMMARY\"")]
pub struct CheckArgs {
    #[command(flatten)]
    campaign: CampaignArgs,
    /// How many recipients the sample has.
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u16).range(1..=SAMPLE_MAX))]
    sample: u16,
    /// Check the messages of all recipients.
    #[arg(long, conflicts_with = "sample")]
    all: bool,
    /// Also check the first message with a spam filter on this machine. Default FILTER: whichever is installed.
    #[arg(long, value_enum, value_name = "FILTER", num_args = 0..=1, default_missing_value = "installed", require_equals = true)]
    spam: Option<SpamFilter>,
    /// Fail for notes too.
    #[arg(long)]
    strict: bool,
    /// The output format.
    #[arg(short, long, value_enum, default_value_t = OutputFormat::Table)]
    output: OutputFormat,
}

/// What is said of a campaign: one line of the table.
struct Row {
    severity: Severity,
    check: &'static str,
    what: String,
    fix: &'static str,
    messages: Option<u64>,
    example: Option<String>,
}

/// What a check has found.
struct Checked {
    rows: Vec<Row>,
    messages: u64,
    /// Recipients from whom the sample was chosen.
    audience: u64,
    campaign: String,
    /// Messages that were looked at by variant, in words; empty without variants.
    variants: String,
    /// The first message, for a spam filter.
    first: Option<Vec<u8>>,
}

pub async fn run(args: CheckArgs) -> ExitCode {
    let sample = (!args.all).then_some(usize::from(args.sample));
    match look(&args.campaign, None, move |look, runtime| check(&look, sample, runtime)).await {
        Ok(mut checked) => {
            if let Some((filter, message)) = args.spam.zip(checked.first.take()) {
                match spam::ask(filter, &message).await {
                    Ok(score) => checked.rows.extend(of_filter(&score)),
                    Err(why) => return Stop::configuration(why).report(),
                }
                checked.rows.sort_by_key(|row| row.severity);
            }
            let printed = print(&mut io::stdout().lock(), &checked, args.output);
            if let Err(error) = printed.or_else(|error| if error.kind() == io::ErrorKind::BrokenPipe { Ok(()) } else { Err(error) }) {
                return Stop::configuration(format!("cannot print: {error}")).report();
            }
            let fails = |row: &Row| row.severity == Severity::Warning || args.strict;
            if checked.rows.iter().any(fails) { ExitCode::FAILURE } else { ExitCode::SUCCESS }
        }
        // What `preview` fails with is no finding of this command.
        Err(mut stop) => {
            stop.code = EXIT_CONFIGURATION;
            stop.report()
        }
    }
}

fn check(look: &Look, sample: Option<usize>, runtime: &tokio::runtime::Handle) -> Result<Checked, Stop> {
    let (mut tally, mut first, mut looked_at) = (Tally::default(), None, Census::default());
    let progress = &mut Progress::default();
    let mut look_at = |recipient: &Recipient| {
        looked_at.add(&look.choice(recipient));
        of_recipient(look, recipient, &mut tally, &mut first);
        tally.messages()
    };
    let (census, audience) = if let Some(count) = sample {
        let Sample { recipients, census, all } = look.sample(count, runtime)?;
        for recipient in &recipients {
            look_at(recipient);
        }
        (Some(census), all)
    } else {
        let all = look.each(runtime, |recipient| {
            progress.say(look_at(&recipient));
            ControlFlow::Continue(())
        })?;
        (None, all)
    };
    let census = census.unwrap_or_else(|| looked_at.clone());
    progress.end();
    if tally.messages() == 0 {
        return Err(look.nobody());
    }
    let findings = validate::findings_of(&look.key, &look.campaign, &look.snapshot, runtime).into_iter();
    // Who gets which variant is told of the whole audience here, and of its beginning there.
    let is_told_here = |finding: &Finding| look.has_variants() && finding.field.as_deref() == Some(validate::VARIANT_FIELD);
    let is_of_documents = |finding: &Finding| finding.severity != Severity::Fault && !is_told_here(finding);
    let of_documents = findings.filter(is_of_documents).map(|finding| Row {
        severity: finding.severity,
        check: "documents",
        what: format!(
            "{}: {}",
            finding.place(),
            [finding.field.as_deref(), Some(&finding.message)].into_iter().flatten().collect::<Vec<_>>().join(": ")
        ),
        fix: "",
        messages: None,
        example: None,
    });
    let of_messages = tally.counted().into_iter().map(|found| {
        let rule = found.check.rule();
        Row {
            severity: if rule.is_warning { Severity::Warning } else { Severity::Note },
            check: rule.name,
            what: found.what,
            fix: rule.fix,
            messages: Some(found.messages),
            example: found.example,
        }
    });
    let mut rows: Vec<Row> = of_documents.chain(of_messages).chain(of_variants(look, &census, audience)).collect();
    rows.sort_by_key(|row| row.severity);
    let variants = in_words(look, &looked_at);
    Ok(Checked { rows, messages: tally.messages(), audience, campaign: look.key.to_string(), variants, first })
}

/// Who of the whole audience gets no variant though a value is there, and which variant nobody gets.
fn of_variants(look: &Look, census: &Census, audience: u64) -> Vec<Row> {
    let Some(field) = look.variant_field() else { return Vec::new() };
    let row = |check: Check, what: String| {
        let rule = check.rule();
        Row { severity: Severity::Note, check: rule.name, what, fix: rule.fix, messages: None, example: None }
    };
    let unmatched = (census.unmatched() > 0).then(|| {
        let (count, values) = (grouped(census.unmatched()), census.values_named());
        row(Check::NoVariant, format!("`{field}` matches no variant for {count} of {} recipients: {values}", grouped(audience)))
    });
    let unused = look.variants().filter(|name| census.of(name) == 0).map(|name| format!("`{name}`")).collect::<Vec<_>>();
    let unused = (!unused.is_empty()).then(|| row(Check::UnusedVariant, format!("nobody gets {}", unused.join(", "))));
    unmatched.into_iter().chain(unused).collect()
}

/// How many messages were looked at of each variant: ` (de 40, fr 30, none 30)`.
fn in_words(look: &Look, looked_at: &Census) -> String {
    if !look.has_variants() {
        return String::new();
    }
    let counts = look.variants().map(|name| (name, looked_at.of(name))).chain([("none", looked_at.of_content())]);
    let counts: Vec<String> = counts.filter(|(_, count)| *count > 0).map(|(name, count)| format!("{name} {}", grouped(count))).collect();
    format!(" ({})", counts.join(", "))
}

/// What a spam filter has to say, if anything.
fn of_filter(score: &SpamScore) -> Option<Row> {
    let severity = if score.is_spam() { Severity::Warning } else { Severity::Note };
    let fix = "look up its rules; your recipients' filters see more, such as the sending server";
    Some(Row { severity, check: "spam", what: score.words()?, fix, messages: None, example: None })
}

/// Looks at the message of a recipient; the first that can be made is kept.
fn of_recipient(look: &Look, recipient: &Recipient, tally: &mut Tally, first: &mut Option<Vec<u8>>) {
    let address = recipient.fields.address().as_str();
    let variant = look.choice(recipient).variant();
    let mut concerns = match look.rendered(variant, recipient, look.campaign.object.spec.run()) {
        Ok(rendered) => Parts::without_files(&rendered).map_or_else(Vec::new, |parts| {
            let subject = parts.headers.iter().find(|(name, _)| name == "Subject").map_or("", |(_, value)| value);
            let mut concerns = inspect(&Message { subject, text: &parts.text, html: parts.html.as_deref() });
            let is_empty = |name: &&str| recipient.fields.get(name).is_none_or(|value| value.trim().is_empty());
            let empty: BTreeSet<&str> = look.named_fields(variant).filter(is_empty).collect();
            let of_field = |name: &str| Concern { check: Check::EmptyField, what: format!("the field `{name}` is empty"), size: None };
            concerns.extend(empty.into_iter().map(of_field));
            first.get_or_insert_with(|| rendered.content.whole().into_owned());
            concerns
        }),
        Err(error) => {
            vec![Concern { check: Check::Unmade, what: format!("no message can be made: {}: {}", error.path, error.message), size: None }]
        }
    };
    if let Some(variant) = variant {
        concerns.iter_mut().for_each(|concern| concern.what = format!("{variant}: {}", concern.what));
    }
    tally.add(address, concerns);
}

fn print(out: &mut impl Write, checked: &Checked, format: OutputFormat) -> io::Result<()> {
    let Checked { rows, messages, audience, campaign, variants, .. } = checked;
    let of = |severity| rows.iter().filter(|row| row.severity == severity).count();
    let (warnings, notes) = (of(Severity::Warning), of(Severity::Note));
    let all = if messages == audience { String::new() } else { format!(" of {}", grouped(*audience)) };
    let head = format!(
        "{campaign}: {}{all} looked at{variants}: {}, {}",
        if all.is_empty() {
            counted(usize::try_from(*messages).unwrap_or(usize::MAX), "message", "messages")
        } else {
            format!("{} messages", grouped(*messages))
        },
        counted(warnings, "warning", "warnings"),
        counted(notes, "note", "notes"),
    );
    match format {
        OutputFormat::Table | OutputFormat::Wide => writeln!(out, "{head}")?,
        OutputFormat::Markdown => writeln!(out, "### {head}\n")?,
        OutputFormat::Json | OutputFormat::JsonLines | OutputFormat::Yaml => {}
    }
    let is_for_people = matches!(format, OutputFormat::Table | OutputFormat::Wide | OutputFormat::Markdown);
    if rows.is_empty() && is_for_people {
        return Ok(());
    }
    if matches!(format, OutputFormat::Table | OutputFormat::Wide) {
        writeln!(out)?;
    }
    let table = table();
    let mut printer = table.printer(format, out);
    rows.iter().try_for_each(|row| printer.row(row))?;
    printer.finish()
}

fn table() -> Table<Row> {
    Table::empty()
        .column("severity", "severity", |row: &Row| row.severity.to_string())
        .column("check", "check", |row| row.check)
        .column("messages", "messages", |row| row.messages)
        .column("what", "what", |row| row.what.clone())
        .wraps()
        .column("fix", "what to do", |row| row.fix)
        .wraps()
        .wide("example", "such as that of", |row| row.example.clone())
        .folds()
}

/// How far a long check is, on a terminal.
#[derive(Default)]
struct Progress {
    said_at: Option<Instant>,
    began: Option<Instant>,
}

impl Progress {
    fn say(&mut self, messages: u64) {
        let began = *self.began.get_or_insert_with(Instant::now);
        if screen::can_redraw() && self.said_at.unwrap_or(began).elapsed() >= SAID_EVERY {
            self.said_at = Some(Instant::now());
            // A closed standard error is no reason to fail.
            let _ = write!(io::stderr(), "\r{} messages looked at", grouped(messages));
        }
    }

    fn end(&self) {
        if self.said_at.is_some() {
            let _ = write!(io::stderr(), "\r\x1b[K");
        }
    }
}
