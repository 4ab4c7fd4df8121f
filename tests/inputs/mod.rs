//! Bad input that shows only at run time: audiences, templates, ledgers. Each case runs through the library, and the texts that
//! people see (status, problems, recipients) are kept beside it.
//!
//! `UPDATE_GOLDEN=1 cargo test` rewrites them; read them as a user would before committing.

mod cases;

use std::{
    collections::BTreeSet,
    fmt::Write as _,
    fs,
    ops::ControlFlow,
    path::{Path, PathBuf},
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use mailfleet::{
    decide::Decision,
    engine::{self, EngineOptions, View},
    ledger::{Ledger, LedgerErrorKind, LedgerOptions, LedgerReader},
    resources::{Condition, ConditionStatus, ConditionType, Reason},
    source::{Files, Options, Severity, StatusSink},
};
use tokio::sync::watch;

use crate::skipped;

/// No case may take longer.
const CASE_MAX: Duration = Duration::from_secs(60);

/// One case: its files, and what happens to the folder between two runs.
#[derive(Default)]
struct Case {
    /// The name of the golden text.
    name: &'static str,
    /// The content in the campaign's spec; a good text when empty.
    content: &'static str,
    /// The audience; two good inline rows when empty.
    audience: String,
    /// Files beside the YAML.
    files: Vec<(&'static str, Vec<u8>)>,
    /// Applied to the state folder before the run, and with `after_a_run` after a good first run.
    spoil: Option<fn(&Path)>,
    /// The campaign has completed a run before.
    after_a_run: bool,
    /// Header fields of the mail to show.
    shown_headers: &'static [&'static str],
    /// Texts that differ from run to run, and their replacements.
    varying: Vec<(String, &'static str)>,
}

struct Place(PathBuf);

impl Place {
    fn new() -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let name = format!("mailfleet-inputs-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        // Within target: a last probe may create its outbox again after the removal.
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        fs::create_dir_all(folder.join("config")).expect("a folder");
        Self(folder.canonicalize().expect("it is there"))
    }

    fn config(&self) -> PathBuf {
        self.0.join("config")
    }

    fn state(&self) -> PathBuf {
        self.0.join("state")
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn yaml(case: &Case) -> String {
    let content = if case.content.is_empty() { "subject: Hello\n  content: {text: Dear reader}" } else { case.content };
    let audience = if case.audience.is_empty() { "{inline: [{email: a@example.com}, {email: b@example.com}]}" } else { &case.audience };
    format!(
        "apiVersion: mailfleet.dev/v1alpha1
kind: SendingServer
metadata: {{name: preview}}
spec:
  provider: {{outbox: {{}}}}
---
apiVersion: mailfleet.dev/v1alpha1
kind: Plan
metadata: {{name: pro}}
spec:
  servers: [{{name: preview}}]
---
apiVersion: mailfleet.dev/v1alpha1
kind: Campaign
metadata: {{name: hello}}
spec:
  planRef: {{name: pro}}
  from: {{address: news@example.com}}
  {content}
  audience: {audience}
"
    )
}

/// Runs a case; returns what people see.
async fn run(case: &Case) -> String {
    let place = Place::new();
    fs::write(place.config().join("fleet.yaml"), yaml(case)).expect("written");
    for (name, bytes) in &case.files {
        fs::write(place.config().join(name), bytes).expect("written");
    }
    if case.after_a_run {
        let first = run_once(&place).await;
        assert!(first.contains("hello: Completed"), "{}: the first run should be good:\n{first}", case.name);
        wait_until_free(&place.state()).await;
    }
    // A file that holds a lock lives until the case is over.
    if let Some(spoil) = case.spoil {
        spoil(&place.state());
    }
    let mut text = run_once(&place).await;
    for header in case.shown_headers {
        text.push_str(&headers(&place, header));
    }
    let mut text = text.replace(&place.0.display().to_string(), "FOLDER");
    for (from, to) in &case.varying {
        text = text.replace(from, to);
    }
    text
}

/// The threads that read an audience may hold the ledger a moment longer than the run; in a real process they end with it.
async fn wait_until_free(state: &Path) {
    for _ in 0..500 {
        let state = state.to_owned();
        let opened = tokio::task::spawn_blocking(move || Ledger::open(&state, LedgerOptions::default()).map(drop));
        if !opened.await.expect("it ends").is_err_and(|error| error.kind == LedgerErrorKind::InUse) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("the ledger of the first run was never released");
}

/// What `mailfleet run --once` reports, as text. What would retry forever is stopped once it says why.
async fn run_once(place: &Place) -> String {
    let mut text = String::new();
    let options = Options { state_dir: Some(place.state()), settles: true, ..Options::default() };
    let snapshot = Files::load_once(&[place.config()], &options);
    for finding in snapshot.findings.iter().filter(|finding| finding.severity != Severity::Note) {
        let _ = writeln!(text, "{finding}");
    }
    if snapshot.faults().next().is_some() {
        return text + "nothing is started\n";
    }
    let state = place.state();
    let opened = tokio::task::spawn_blocking(move || {
        Ledger::open(&state, LedgerOptions { busy_timeout: Duration::from_millis(100), ..LedgerOptions::default() })
    });
    let ledger = match opened.await.expect("it ends") {
        Ok(ledger) => ledger,
        Err(error) => return format!("{text}refused: {error}\n"),
    };
    let (view, mut seen) = watch::channel(View::default());
    let stop = async move {
        let tries_again = |condition: &Condition| condition.kind == ConditionType::Reconciling && condition.reason != Reason::NotProbedYet;
        let is_waiting = |view: &View| view.decision.campaigns.values().any(|campaign| campaign.status.conditions.iter().any(tries_again));
        if seen.wait_for(is_waiting).await.is_err() {
            std::future::pending::<()>().await;
        }
    };
    let shown = view.subscribe();
    let engine_options = EngineOptions { once: true, ..EngineOptions::new(place.state()) };
    let (_sender, snapshots) = watch::channel(Arc::new(snapshot));
    let sink = match StatusSink::open_folder(&place.state()) {
        Ok(sink) => sink,
        Err(error) => return format!("{text}refused: {error}\n"),
    };
    let ended = engine::run(engine_options, ledger.clone(), snapshots, sink, view, stop).await;
    tokio::task::spawn_blocking(move || drop(ledger)).await.expect("it ends");
    if let Err(error) = ended {
        return format!("{text}refused: {error}\n");
    }
    let decision = shown.borrow().decision.clone();
    assert_dated(&decision);
    for campaign in decision.campaigns.values() {
        let _ = writeln!(text, "Campaign hello: {:?}", campaign.status.state);
        conditions(&mut text, &campaign.status.conditions);
        let counts = serde_json::to_value(&campaign.status.recipients).expect("plain data");
        let counts: Vec<String> = counts
            .as_object()
            .expect("an object")
            .iter()
            .filter(|(_, count)| **count != 0)
            .map(|(name, count)| format!("{name} {count}"))
            .collect();
        let _ = writeln!(text, "    recipients: {}", if counts.is_empty() { "none".to_owned() } else { counts.join(", ") });
    }
    text + &kept(&place.state())
}

/// Whoever looks at the engine sees when conditions changed, and not the epoch that they are made with.
fn assert_dated(decision: &Decision) {
    let servers = decision.servers.values().flat_map(|server| &server.status.conditions);
    let plans = decision.plans.values().flat_map(|plan| &plan.conditions);
    let campaigns = decision.campaigns.values().flat_map(|campaign| &campaign.status.conditions);
    let mut count = 0;
    for condition in servers.chain(plans).chain(campaigns) {
        assert!(condition.last_transition_time > jiff::Timestamp::UNIX_EPOCH, "{condition:?}");
        count += 1;
    }
    assert!(count > 0, "no condition was looked at");
}

/// What `get campaigns hello --problems` and `--recipients` show.
fn kept(state: &Path) -> String {
    let mut text = String::new();
    let reader = match LedgerReader::open(state) {
        Ok(reader) => reader,
        Err(error) => return format!("ledger: {error}\n"),
    };
    for run in reader.runs().expect("runs") {
        for problem in reader.bad_rows(run.record.id).expect("problems") {
            let _ = writeln!(text, "problem in line {}: {}", problem.line, problem.what);
        }
        // Recipients are mailed in any order.
        let mut recipients = BTreeSet::new();
        reader
            .recipients(run.record.id, &[], |row| {
                let reply = if row.fate == mailfleet::resources::fate::Fate::Accepted {
                    String::new()
                } else {
                    row.reply.map(|reply| format!(": {reply}")).unwrap_or_default()
                };
                recipients.insert(format!("{} {:?}{reply}\n", row.recipient, row.fate));
                ControlFlow::Continue(())
            })
            .expect("recipients");
        text.extend(recipients);
    }
    text
}

fn conditions(text: &mut String, conditions: &[Condition]) {
    for condition in conditions {
        if matches!(condition.kind, ConditionType::Stalled | ConditionType::Reconciling) {
            assert_eq!(condition.status, ConditionStatus::True, "present only while true");
            let _ = writeln!(text, "    {:?}", condition.kind);
        } else {
            let _ = writeln!(text, "    {:?}={:?} {}: {}", condition.kind, condition.status, condition.reason, condition.message);
        }
    }
}

/// The lines of each message's header that begin with this name, with their continuations.
fn headers(place: &Place, name: &str) -> String {
    let mut lines = BTreeSet::new();
    for entry in fs::read_dir(place.state().join("outbox/default/preview/new")).expect("the outbox") {
        let message = fs::read_to_string(entry.expect("an entry").path()).expect("a message");
        let (header, _) = message.split_once("\r\n\r\n").or_else(|| message.split_once("\n\n")).expect("a header and a body");
        let found: Vec<&str> = header.lines().filter(|line| line.to_ascii_lowercase().starts_with(&name.to_ascii_lowercase())).collect();
        lines.insert(if found.is_empty() { format!("no header {name}\n") } else { format!("{}\n", found.join("\n")) });
    }
    lines.into_iter().collect()
}

fn check_golden(name: &str, actual: &str) -> Result<(), String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/inputs").join(format!("{name}.txt"));
    let kept = fs::read_to_string(&path).unwrap_or_default();
    if kept == actual {
        return Ok(());
    }
    if std::env::var_os("UPDATE_GOLDEN").is_some_and(|value| value == "1") {
        return fs::write(&path, actual).map_err(|error| error.to_string());
    }
    Err(format!("{} differs; UPDATE_GOLDEN=1 rewrites it.\n--- kept\n{kept}\n--- now\n{actual}", path.display()))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_bad_input_of_a_run_has_its_message() {
    let cases = cases::all();
    let names: BTreeSet<&str> = cases.iter().map(|case| case.name).collect();
    assert!(cases.len() >= 18 && names.len() == cases.len(), "{} cases, {} names", cases.len(), names.len());
    let mut running = tokio::task::JoinSet::new();
    for case in cases {
        running.spawn(async move {
            let told =
                tokio::time::timeout(CASE_MAX, run(&case)).await.map_err(|_| format!("{}: no end within {CASE_MAX:?}", case.name))?;
            check_golden(case.name, &told)
        });
    }
    let failures: Vec<String> = running.join_all().await.into_iter().filter_map(Result::err).collect();
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
}

#[test]
fn every_kept_text_has_its_case() {
    let names: BTreeSet<&str> = cases::all().iter().map(|case| case.name).collect();
    for entry in fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/inputs")).expect("the folder") {
        let path = entry.expect("an entry").path();
        if path.extension().is_some_and(|extension| extension == "txt") {
            let name = path.file_stem().and_then(|name| name.to_str()).expect("a name");
            assert!(names.contains(name) || name == cases::NOT_WRITABLE, "{} belongs to no case", path.display());
        }
    }
}

/// Set for the process that runs a test without the capabilities to write everywhere.
const WITHOUT_CAPABILITIES: &str = "MAILFLEET_WITHOUT_CAPABILITIES";

/// Root may write everywhere, so as root this test runs itself again without the capabilities that allow it.
#[tokio::test(flavor = "multi_thread")]
async fn a_state_folder_that_cannot_be_written_has_its_message() {
    let case = cases::not_writable();
    let told = run(&case).await;
    if !told.contains("hello: Completed") {
        return check_golden(case.name, &told).unwrap_or_else(|different| panic!("{different}"));
    }
    assert!(std::env::var_os(WITHOUT_CAPABILITIES).is_none(), "the folder was written: {told}");
    let test = "inputs::a_state_folder_that_cannot_be_written_has_its_message";
    let without = ["--bounding-set=-dac_override,-dac_read_search", "--inh-caps=-dac_override,-dac_read_search"];
    if !Command::new("setpriv").args(without).arg("true").status().is_ok_and(|status| status.success()) {
        return skipped::skip(test, "a user that may not write everywhere, or setpriv (Debian: util-linux)");
    }
    let program = std::env::current_exe().expect("this program");
    let again = Command::new("setpriv").args(without).arg(program).args(["--exact", test]).env(WITHOUT_CAPABILITIES, "1").output();
    let again = again.expect("it starts");
    let output = String::from_utf8_lossy(&again.stdout);
    assert!(again.status.success() && output.contains("1 passed"), "{output}");
}
