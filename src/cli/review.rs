//! `mailfleet review`: all that is to be said of a pull request in one comment, and that comment kept up to date on a forge.
//!
//! The parts are those of `validate`, `test`, `diff` and `preview`; `messages` makes messages for an invented person, and `comment` puts all of
//! it together within what a comment holds.

mod comment;
mod messages;

use std::{
    io::{self, Write as _},
    path::PathBuf,
    process::ExitCode,
};

use clap::Args;
use serde_json::Value;

use self::comment::{Review, Servers};
use super::{
    diff::{self, DiffArgs, side::Source},
    exit::EXIT_CONFIGURATION,
    ledger_args::LedgerArgs,
    look::{Stop, blocking},
    test::{self, changes},
    text, validate,
};
use crate::{
    forge::{Client, Forge, Kept, Place, is_fork},
    providers::Permissions,
    source::{Options, Severity},
};

/// The exit code when a server failed its test.
const EXIT_FAILED: u8 = 1;
/// The exit code when nothing blocks the merge, and the comment could not be written.
const EXIT_NOT_WRITTEN: u8 = 3;
/// The exit code of --fail-on-danger.
const EXIT_DANGEROUS: u8 = 11;
/// The largest file of an event that is read, bytes.
const EVENT_MAX: u64 = 16 << 20;

/// Reviews a pull request: validates the documents, tries the servers that change, says what the merge would do, and shows the messages that change.
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
The review is printed in Markdown. With --comment it is also kept as one comment under \
the pull request, found by a hidden mark; the variables of the job say which (GITHUB_*, \
CI_*), and MAILFLEET_FORGE_TOKEN, or else GITHUB_TOKEN, GITLAB_TOKEN or FORGEJO_TOKEN, \
is the token.

  mailfleet review git:origin/main objects --comment github

Servers are tried with the Secrets of the job: --secrets-dir, or MAILFLEET_SECRET__… in \
the environment. For a pull request from a fork none is tried, whatever the job has.

Messages are made for an invented person; no audience is read for them.

Exit codes:
  0   nothing blocks the merge
  1   a server failed its test
  2   a usage error, or a document has a fault
  3   nothing blocks the merge, and the comment could not be written
  11  something dangerous changes, with --fail-on-danger")]
pub struct ReviewArgs {
    /// The objects as they are, as for `mailfleet diff`: git:REV, git:REV:PATH, a folder or a file.
    #[arg(value_name = "OLD")]
    old: Source,
    /// The objects as they would be: a folder or a file.
    #[arg(value_name = "NEW", default_value = ".")]
    new: PathBuf,
    /// Exclude from folders what matches this gitignore pattern; repeatable.
    #[arg(long, value_name = "PATTERN")]
    exclude: Vec<String>,
    /// A folder with Secrets as NAMESPACE/NAME/KEY files.
    #[arg(long, value_name = "DIR")]
    secrets_dir: Option<PathBuf>,
    /// The state folder of `mailfleet run`, if it is at hand: its ledger says who was mailed.
    #[arg(long, value_name = "DIR", default_value = text::STATE_DEFAULT, env = text::STATE_VARIABLE)]
    state: PathBuf,
    #[command(flatten)]
    ledger: LedgerArgs,
    /// The only namespace whose plans count, as for `mailfleet run`.
    #[arg(long, value_name = "NAMESPACE")]
    plan_namespace: Option<String>,
    /// Count each warning as a fault.
    #[arg(long)]
    strict: bool,
    /// Try no server.
    #[arg(long)]
    no_test: bool,
    /// Exit with 11 where something dangerous changes, so that a second person is asked.
    #[arg(long)]
    fail_on_danger: bool,
    /// Keep the review as one comment under the pull request of this job.
    #[arg(long, value_enum, value_name = "FORGE")]
    comment: Option<Forge>,
    /// Which comment, where a pull request has several reviews. Default: NEW.
    #[arg(long, value_name = "NAME")]
    label: Option<String>,
}

pub async fn run(args: ReviewArgs) -> ExitCode {
    let event = event();
    let variable = |name: &str| std::env::var(name).ok();
    let from_fork = is_fork(variable, &event);
    // What cannot be written to is told before a minute of tests.
    let target = match args.comment.map(|forge| target(forge, variable, &event)).transpose() {
        Ok(target) => target,
        Err(why) if from_fork => {
            text::report(&format!("the comment is not written, since this job is of a fork's pull request: {why}"));
            None
        }
        Err(why) => return Stop::configuration(format!("--comment: {why}")).report(),
    };
    let review = match review(&args, from_fork).await {
        Ok(review) => review,
        Err(stop) => return stop.report(),
    };
    let label = args.label.clone().unwrap_or_else(|| args.new.display().to_string());
    let comment = review.comment(&label);
    if let Err(error) = io::stdout().lock().write_all(comment.as_bytes())
        && error.kind() != io::ErrorKind::BrokenPipe
    {
        return Stop::configuration(format!("the review cannot be printed: {error}")).report();
    }
    let mut is_written = true;
    if let Some((client, number)) = target {
        match client.keep_comment(number, &comment::marker(&label), &comment).await {
            Ok(Kept::Created) => text::report("the comment is written"),
            Ok(Kept::Edited) => text::report("the comment is updated"),
            Ok(Kept::Same) => text::report("the comment is already up to date"),
            Err(error) if from_fork && error.is_refused => {
                text::report(&format!("the comment is not written, since a job of a fork's pull request may not: {error}"));
            }
            Err(error) => {
                text::report(&format!("the comment cannot be written: {error}"));
                is_written = false;
            }
        }
    }
    ExitCode::from(match review.exit_code(args.fail_on_danger) {
        0 if !is_written => EXIT_NOT_WRITTEN,
        code => code,
    })
}

/// The event of a job, where the forge leaves one in a file.
fn event() -> Value {
    let path = std::env::var_os("GITHUB_EVENT_PATH").map(PathBuf::from);
    let is_fit = |path: &PathBuf| std::fs::metadata(path).is_ok_and(|metadata| metadata.is_file() && metadata.len() <= EVENT_MAX);
    let text = path.filter(is_fit).and_then(|path| std::fs::read(path).ok());
    text.and_then(|text| serde_json::from_slice(&text).ok()).unwrap_or_default()
}

/// The forge, and the number of the pull request.
fn target(forge: Forge, variable: impl Fn(&str) -> Option<String> + Copy, event: &Value) -> Result<(Client, u64), String> {
    let place = Place::of_job(forge, variable, event)?;
    let number = place.number.ok_or("this job is not for a pull request; run it for pull requests, or omit --comment")?;
    Ok((Client::new(place, Place::token(forge, variable)?)?, number))
}

/// Looks at everything.
async fn review(args: &ReviewArgs, from_fork: bool) -> Result<Review, Stop> {
    let options = Options {
        exclude: args.exclude.clone(),
        plan_namespace: args.plan_namespace.clone(),
        ..Options::of_process(args.secrets_dir.clone(), Some(args.state.clone()))
    };
    let (paths, for_loading, is_strict) = (vec![args.new.clone()], options.clone(), args.strict);
    let snapshot = blocking(move || validate::load(&paths, &for_loading)).await;
    let mut findings = snapshot.findings.clone();
    if is_strict {
        let warnings = findings.iter_mut().filter(|finding| finding.severity == Severity::Warning);
        warnings.for_each(|warning| warning.severity = Severity::Fault);
    }

    let new = Source::Path(args.new.clone());
    let compared =
        diff::report(&DiffArgs::of_review(args.old.clone(), new.clone(), &options, (args.state.clone(), args.ledger.clone()))).await?;
    let (old, new) = test::sides(args.old.clone(), new, options).await.map_err(Stop::configuration)?;

    let changes = changes(&old.snapshot, &new.snapshot);
    let servers = changes.servers(&new.snapshot);
    let mut notes = changes.notes(&old.name);
    let tried = if servers.is_empty() {
        Vec::new()
    } else if from_fork {
        notes.push("Not tried: this pull request is from a fork, and no secret is used for one. Somebody of this repository can run `mailfleet test` on it.".to_owned());
        Vec::new()
    } else if args.no_test {
        notes.push("Not tried, since --no-test is given.".to_owned());
        Vec::new()
    } else {
        test::try_all(&servers, &new.snapshot.secrets, &args.state, Permissions { ambient_credentials: true, ..Permissions::default() })
            .await
    };

    let keys = compared.campaigns();
    let shown = blocking(move || keys.iter().filter_map(|key| messages::shown(key, &new.snapshot)).collect()).await;
    Ok(Review { findings, documents: snapshot.counts.documents, servers: Servers { tried, notes }, compared, messages: shown })
}

impl Review {
    /// The exit code.
    fn exit_code(&self, fails_on_danger: bool) -> u8 {
        match () {
            () if self.has_faults() => EXIT_CONFIGURATION,
            () if test::exit_code(&self.servers.tried) == EXIT_FAILED => EXIT_FAILED,
            () if fails_on_danger && self.compared.dangerous() > 0 => EXIT_DANGEROUS,
            () => 0,
        }
    }
}
