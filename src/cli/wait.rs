//! `mailfleet wait`: waits until a process that sends has decided on the objects of a folder, and says so, on a forge as a status of the commit.

mod standing;

use std::{
    path::PathBuf,
    process::ExitCode,
    time::{Duration as StdDuration, Instant},
};

use clap::Args;
use serde_json::Value;

use self::standing::{Standing, standing};
use super::{
    exit::EXIT_CONFIGURATION,
    look::blocking,
    objects::{objects, objects_in_cluster},
    text,
};
use crate::{
    forge::{Client, CommitState, CommitStatus, Forge, Place},
    meta::bound::counted,
    resources::{Campaign, Duration, Key, Kind, Plan, SendingServer},
    source::{Files, Options, Snapshot},
};

/// Between two looks at a state folder.
const FILES_EVERY: StdDuration = StdDuration::from_secs(1);
/// Between two looks at a cluster.
const CLUSTER_EVERY: StdDuration = StdDuration::from_secs(3);
/// The exit code when the status of the commit could not be set.
const EXIT_NOT_SET: u8 = 3;

/// Waits until the objects of a folder are ready: for the specs as the folder has them, decided on by the process that sends.
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
It waits as Flux and Argo CD do: an object is done when its status is about its present \
spec and nothing is under way, and it has failed when only a person can help. A server \
that is switched off is done. A campaign is done while it sends, or waits for its start.

With --commit-status the commit has the result as its status: pending meanwhile, then \
success, or failure with the words of the first condition that says why.

Exit codes:
  0  every object is done
  1  one has failed, or is not done in time
  2  a usage error, or the folder has faults
  3  every object is done, and the status of the commit could not be set")]
pub struct WaitArgs {
    /// Files and folders, as for `mailfleet run`.
    #[arg(value_name = "PATH", default_value = ".")]
    paths: Vec<PathBuf>,
    /// Exclude from folders what matches this gitignore pattern; repeatable.
    #[arg(long, value_name = "PATTERN")]
    exclude: Vec<String>,
    /// The state folder of the process that sends.
    #[arg(long, value_name = "DIR", default_value = text::STATE_DEFAULT, env = text::STATE_VARIABLE)]
    state: PathBuf,
    /// The objects are in a cluster.
    #[arg(long)]
    kubernetes: bool,
    /// With --kubernetes: the kubeconfig file. Default: KUBECONFIG, ~/.kube/config, or the pod's service account.
    #[arg(long, value_name = "FILE", requires = "kubernetes")]
    kubeconfig: Option<PathBuf>,
    /// How long to wait.
    #[arg(long, value_name = "DURATION", default_value = "10m")]
    timeout: Duration,
    /// Set the status of the commit on this forge.
    #[arg(long, value_enum, value_name = "FORGE")]
    commit_status: Option<Forge>,
    /// The commit. Default: that of the job.
    #[arg(long, value_name = "SHA", requires = "commit_status", value_parser = commit)]
    commit: Option<String>,
    /// The name of the status, where a commit has several.
    #[arg(long, value_name = "NAME", default_value = "mailfleet")]
    name: String,
}

fn commit(text: &str) -> Result<String, String> {
    let is_hash = (7..=64).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    if is_hash { Ok(text.to_owned()) } else { Err("give the hash of a commit, 7 to 64 hexadecimal digits".to_owned()) }
}

pub async fn run(args: WaitArgs) -> ExitCode {
    let refuse = |why: &str| {
        text::report(why);
        ExitCode::from(EXIT_CONFIGURATION)
    };
    let target = match target(&args) {
        Ok(target) => target,
        Err(why) => return refuse(&format!("--commit-status: {why}")),
    };
    let snapshot = match load(&args).await {
        Ok(snapshot) => snapshot,
        Err(why) => return refuse(&why),
    };
    let set = async |state: CommitState, description: &str| {
        let Some((client, commit)) = &target else { return true };
        let status = CommitStatus { state, name: args.name.clone(), description: description.to_owned() };
        let set = client.set_status(commit, &status).await;
        set.inspect_err(|error| text::report(&format!("the status of the commit cannot be set: {error}"))).is_ok()
    };
    let mut is_set = set(CommitState::Pending, "waiting for the conditions").await;
    let until = Instant::now() + args.timeout.std();
    let mut told = String::new();
    let (is_done, words) = loop {
        let standings = match look(&args, &snapshot).await {
            Ok(standings) => standings,
            Err(why) => vec![Standing::Pending(why)],
        };
        let verdict = verdict(&standings);
        match verdict {
            (Standing::Done, words) => break (true, words),
            (Standing::Failed(_), words) => break (false, words),
            (Standing::Pending(_), words) if Instant::now() >= until => {
                break (false, format!("not done within {}: {words}", args.timeout));
            }
            (Standing::Pending(_), words) => {
                if told != words {
                    text::report(&format!("waiting: {words}"));
                    told = words;
                }
            }
        }
        let every = if args.kubernetes { CLUSTER_EVERY } else { FILES_EVERY };
        tokio::time::sleep(every.min(until.saturating_duration_since(Instant::now()))).await;
    };
    text::say(&words);
    is_set &= set(if is_done { CommitState::Success } else { CommitState::Failure }, &words).await;
    ExitCode::from(match (is_done, is_set) {
        (false, _) => 1,
        (true, false) => EXIT_NOT_SET,
        (true, true) => 0,
    })
}

/// The forge and the commit.
fn target(args: &WaitArgs) -> Result<Option<(Client, String)>, String> {
    let Some(forge) = args.commit_status else { return Ok(None) };
    let variable = |name: &str| std::env::var(name).ok();
    let place = Place::of_job(forge, variable, &Value::Null)?;
    let of_job = || place.commit.as_deref().ok_or_else(|| "no commit is known; give --commit".to_owned()).and_then(commit);
    let commit = args.commit.clone().map_or_else(of_job, Ok)?;
    Ok(Some((Client::new(place, Place::token(forge, variable)?)?, commit)))
}

/// The objects of the folder.
async fn load(args: &WaitArgs) -> Result<Snapshot, String> {
    let options = Options { exclude: args.exclude.clone(), pipes: true, ..Options::of_process(None, Some(args.state.clone())) };
    let paths = args.paths.clone();
    let snapshot = blocking(move || Files::load_once(&paths, &options)).await;
    let faults: Vec<String> = snapshot.faults().map(ToString::to_string).collect();
    if !faults.is_empty() {
        return Err(format!("the configuration has faults:\n{}", faults.join("\n")));
    }
    if snapshot.is_empty() {
        return Err("there is no object to wait for".to_owned());
    }
    Ok(snapshot)
}

/// How each object stands.
async fn look(args: &WaitArgs, snapshot: &Snapshot) -> Result<Vec<Standing>, String> {
    let servers = found(args, SendingServer::KIND).await?;
    let plans = found(args, Plan::KIND).await?;
    let campaigns = found(args, Campaign::KIND).await?;
    let at = |found: &[(Key, Value)], key: &Key| found.iter().find(|(other, _)| other == key).map(|(_, value)| value.clone());
    let of_servers = snapshot.servers.iter().map(|(key, wanted)| {
        let is_off = !wanted.object.spec.is_enabled();
        standing(&wanted.object, at(&servers, key).as_ref(), is_off)
    });
    let of_plans = snapshot.plans.iter().map(|(key, wanted)| standing(&wanted.object, at(&plans, key).as_ref(), false));
    let of_campaigns = snapshot.campaigns.iter().map(|(key, wanted)| standing(&wanted.object, at(&campaigns, key).as_ref(), false));
    Ok(of_servers.chain(of_plans).chain(of_campaigns).collect())
}

/// The objects of a kind with their statuses.
async fn found(args: &WaitArgs, kind: &str) -> Result<Vec<(Key, Value)>, String> {
    let found = if args.kubernetes {
        objects_in_cluster(args.kubeconfig.as_deref(), kind, None, None).await?
    } else {
        objects(&args.state, kind, None, None)?
    };
    let word = |value: &Value, field: &str| value["metadata"][field].as_str().unwrap_or_default().to_owned();
    Ok(found.into_iter().map(|found| (Key::new(word(&found.value, "namespace"), word(&found.value, "name")), found.value)).collect())
}

/// How all of them stand, in words: the first that failed, or else the first that is not done.
fn verdict(standings: &[Standing]) -> (Standing, String) {
    let failed = standings.iter().find(|standing| matches!(standing, Standing::Failed(_)));
    let pending = || standings.iter().find(|standing| matches!(standing, Standing::Pending(_)));
    match failed.or_else(pending) {
        Some(standing @ (Standing::Failed(words) | Standing::Pending(words))) => (standing.clone(), words.clone()),
        _ => (Standing::Done, counted(standings.len(), "object is ready", "objects are ready")),
    }
}
