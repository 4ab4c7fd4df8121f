//! `mailfleet demo`: a tour of some seconds, on this machine; no mail leaves it.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

use clap::Args;
use tokio::sync::watch;

use super::{
    present::{OutputFormat, Table},
    progress,
    text::{self, say},
};
use crate::{
    decide::Decision,
    engine::{self, EngineOptions, View},
    ledger::{Ledger, LedgerOptions},
    meta::bound::grouped,
    resources::{Key, campaign::CampaignState},
    sink::{self, Behaviour, SinkHandle, SinkOptions},
    source::{Files, Options, StatusSink},
};

/// Recipients of the demo.
const RECIPIENTS: u64 = 2000;

/// Sends a campaign through two local SMTP servers and an outbox; one of the servers dies half-way. No mail leaves this machine.
#[derive(Args, Debug)]
#[command(
    after_help = "Exit codes:\n  0  everybody was mailed exactly once, by the servers' own count\n  1  somebody was not\n  2  the demo cannot run here"
)]
pub struct DemoArgs {
    /// Keep YAML, ledger, status files and mail in this folder, which must be empty or absent. Default: a temporary folder.
    #[arg(long, value_name = "DIR")]
    pub keep: Option<PathBuf>,
}

pub async fn run(args: DemoArgs) -> ExitCode {
    let folder = args.keep.clone().unwrap_or_else(|| std::env::temp_dir().join(format!("mailfleet-demo-{}", std::process::id())));
    let result = demo(&folder).await;
    if args.keep.is_none() {
        // What cannot be removed stays in the system's temporary folder.
        let _ = std::fs::remove_dir_all(&folder);
    }
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(message) => {
            text::report(&message);
            ExitCode::from(super::exit::EXIT_CONFIGURATION)
        }
    }
}

async fn demo(folder: &Path) -> Result<bool, String> {
    if std::fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_some()) {
        return Err(format!("{} is not empty; choose another folder with --keep", folder.display()));
    }
    let config = folder.join("config");
    let state = folder.join("state");
    std::fs::create_dir_all(&config).map_err(|error| format!("{} cannot be made: {error}", config.display()))?;
    let logs = ["amsterdam", "dublin"].map(|name| folder.join(format!("{name}.log")));
    let amsterdam = start_sink(&logs[0]).await?;
    let dublin = start_sink(&logs[1]).await?;
    write_config(&config, amsterdam.addr().port(), dublin.addr().port())
        .map_err(|error| format!("{} cannot be written: {error}", config.display()))?;
    say("Two local SMTP servers (amsterdam, dublin) and an outbox; 2,000 recipients; weights 50, 30 and 20.");
    say("Half-way, dublin is shut down: it answers 421, closes its connections, then its port.");
    say("");

    let snapshot = Files::load_once(&[config], &Options { state_dir: Some(state.clone()), ..Options::default() });
    if let Some(fault) = snapshot.faults().next() {
        return Err(fault.to_string());
    }
    let opening = state.clone();
    let ledger =
        tokio::task::spawn_blocking(move || Ledger::open(&opening, LedgerOptions::default())).await.map_err(|error| error.to_string())?;
    let ledger = ledger.map_err(|error| error.to_string())?;
    let (view, seen) = watch::channel(View::default());
    let shown = tokio::spawn(progress::show(seen.clone(), progress::Options::default()));
    let dublin = Arc::new(dublin);
    let killer = tokio::spawn(shut_down_half_way(dublin.clone(), seen.clone()));
    let options = EngineOptions { once: true, ..EngineOptions::new(state.clone()) };
    let sink = StatusSink::open_folder(&state)?;
    let (_sender, snapshots) = watch::channel(Arc::new(snapshot));
    let result = engine::run(options, ledger.clone(), snapshots, sink, view, super::signals::told_to_stop()).await;
    let _ = tokio::time::timeout(Duration::from_secs(2), shown).await;
    killer.abort();
    let _ = tokio::task::spawn_blocking(move || drop(ledger)).await;
    result.map_err(|error| error.to_string())?;
    let decision = seen.borrow().decision.clone();
    amsterdam.stop().await;
    summary(&decision, &logs, &state.join("outbox/default/preview/new"))
}

async fn start_sink(log: &Path) -> Result<SinkHandle, String> {
    sink::start(SinkOptions { log: Some(log.to_owned()), ..SinkOptions::default() })
        .await
        .map_err(|error| format!("a local SMTP server cannot be started: {error}"))
}

async fn shut_down_half_way(dublin: Arc<SinkHandle>, mut views: watch::Receiver<View>) {
    while views.changed().await.is_ok() {
        let accepted: u64 = views.borrow_and_update().report.campaigns.values().map(|campaign| campaign.counts.accepted).sum();
        if accepted >= RECIPIENTS / 2 {
            dublin.set_behaviour(Behaviour::Answer421);
            tokio::time::sleep(Duration::from_millis(300)).await;
            dublin.set_behaviour(Behaviour::Refuse);
            return;
        }
    }
}

fn write_config(config: &Path, amsterdam: u16, dublin: u16) -> std::io::Result<()> {
    let server = |name: &str, port: u16| {
        format!(
            "apiVersion: mailfleet.dev/v1alpha1\nkind: SendingServer\nmetadata: {{name: {name}}}\nspec:\n  provider: {{smtp: {{host: 127.0.0.1, port: {port}, encryption: None}}}}\n  limits: {{rates: [{{messages: 300, per: 1s}}]}}\n  probe: {{interval: 5s, timeout: 1s, retryAfter: 500ms, failureThreshold: 3}}\n---\n"
        )
    };
    let rest = "apiVersion: mailfleet.dev/v1alpha1
kind: SendingServer
metadata: {name: preview}
spec:
  provider: {outbox: {}}
---
apiVersion: mailfleet.dev/v1alpha1
kind: Plan
metadata: {name: pro}
spec:
  servers: [{name: amsterdam, weight: 50}, {name: dublin, weight: 30}, {name: preview, weight: 20}]
  weighting: Strict
---
apiVersion: mailfleet.dev/v1alpha1
kind: Campaign
metadata: {name: spring}
spec:
  planRef: {name: pro}
  from: {name: Example News, address: news@news.example.com}
  subject: Hello {{ name }}
  content:
    html: <p>Hello <b>{{ name }}</b>, spring is here.</p>
  audience: {csv: {path: subscribers.csv}}
";
    std::fs::write(config.join("servers.yaml"), server("amsterdam", amsterdam) + &server("dublin", dublin) + rest)?;
    let rows: String = (1..=RECIPIENTS).map(|i| format!("reader{i}@example.com,Reader {i}\n")).collect();
    std::fs::write(config.join("subscribers.csv"), format!("email,name\n{rows}"))
}

/// What a server received, by its own log.
struct Received {
    name: &'static str,
    weight: u32,
    count: u64,
    share: String,
    state: String,
    why: String,
}

/// Compares the servers' own counts with the ledger's.
fn summary(decision: &Decision, logs: &[PathBuf; 2], outbox: &Path) -> Result<bool, String> {
    let mut mailed: BTreeMap<String, u64> = BTreeMap::new();
    let mut received = [0_u64; 3];
    for (log, count) in logs.iter().zip(&mut received) {
        let text = std::fs::read_to_string(log).map_err(|error| format!("{} cannot be read: {error}", log.display()))?;
        for recipient in text.lines().filter_map(|line| line.strip_prefix("accepted\t")).filter_map(|rest| rest.split('\t').next()) {
            *mailed.entry(recipient.to_owned()).or_default() += 1;
            *count += 1;
        }
    }
    let entries = std::fs::read_dir(outbox).map_err(|error| format!("{} cannot be read: {error}", outbox.display()))?;
    for entry in entries.filter_map(Result::ok) {
        let text = std::fs::read_to_string(entry.path()).map_err(|error| error.to_string())?;
        let recipient = text.lines().find_map(|line| line.strip_prefix("Delivered-To: ")).unwrap_or_default();
        *mailed.entry(recipient.trim_matches(['<', '>']).to_owned()).or_default() += 1;
        received[2] += 1;
    }
    let Some(campaign) = decision.campaigns.values().next() else { return Err("the campaign is gone".to_owned()) };
    let total: u64 = received.iter().sum();
    let percent = |count: u64| format!("{}.{}%", count * 1000 / total.max(1) / 10, count * 1000 / total.max(1) % 10);
    let rows = [("amsterdam", 50), ("dublin", 30), ("preview", 20)].into_iter().zip(received).map(|((name, weight), count)| {
        let server = decision.servers.get(&Key::new("default", name));
        let state = server.map(|server| format!("{:?}", server.status.state)).unwrap_or_default();
        let why = server.map(|server| server.why_inactive.clone()).unwrap_or_default();
        Received { name, weight, count, share: percent(count), state, why }
    });
    let table = Table::empty()
        .column("server", "server", |row: &Received| row.name)
        .column("weight", "weight", |row| row.weight)
        .column("received", "received", |row| row.count)
        .column("share", "share", |row| row.share.clone())
        .column("state", "state", |row| row.state.clone())
        .column("why", "why", |row| row.why.clone())
        .wraps();
    say("");
    let _ = table.print(OutputFormat::Table, &mut std::io::stdout().lock(), rows);
    let doubled = mailed.values().filter(|count| **count > 1).count();
    let counts = &campaign.status.recipients;
    say("");
    say(&format!(
        "{} of {} recipients were mailed, {doubled} of them more than once; the ledger has {} accepted, {} unknown. The campaign is {:?}.",
        grouped(mailed.len()),
        grouped(RECIPIENTS),
        grouped(counts.accepted),
        grouped(counts.unknown),
        campaign.status.state
    ));
    Ok(mailed.len() as u64 == RECIPIENTS && doubled == 0 && campaign.status.state == CampaignState::Completed)
}
