//! `mailfleet run --kubernetes`: the same, as a controller in a cluster.

use std::{process::ExitCode, time::Duration};

use tokio::sync::watch;

use super::{EXIT_SUPERSEDED, RunArgs, close, finish, open_ledger, refuse, told_to_stop};
use crate::{
    cli::{progress, text},
    engine::{self, EngineOptions, View},
    ledger::LedgerErrorKind,
    resources::Duration as Span,
    serve::ProcessPhase,
    source::{
        StatusSink,
        cluster::{self, ClusterStatuses, Lease, LeaseOptions, Scope},
    },
};

/// The bounds of `--lease-duration`.
const LEASE_MIN: Span = Span::from_secs(3);
const LEASE_MAX: Span = Span::from_secs(300);
/// Where a pod finds its namespace.
const POD_NAMESPACE_FILE: &str = "/var/run/secrets/kubernetes.io/serviceaccount/namespace";
/// Between two tries to open a ledger that another process still holds.
const IN_USE_RETRY: Duration = Duration::from_secs(2);

pub(super) async fn run(args: RunArgs) -> ExitCode {
    let duration = args.cluster.lease_duration;
    if !(LEASE_MIN..=LEASE_MAX).contains(&duration) {
        return refuse(&format!("--lease-duration {duration} is out of range; {LEASE_MIN} to {LEASE_MAX}."));
    }
    let (view, seen) = watch::channel(View::default());
    let health = match super::serve_admin(&args, &seen).await {
        Ok(health) => health,
        Err(message) => return refuse(&message),
    };
    let client = match cluster::connect(args.cluster.kubeconfig.as_deref()).await {
        Ok(client) => client,
        Err(error) => return refuse(&error.to_string()),
    };
    let identity = identity();
    let lease = LeaseOptions {
        namespace: args.cluster.lease_namespace.clone().unwrap_or_else(pod_namespace),
        name: args.cluster.lease_name.clone(),
        duration: duration.std(),
        identity: identity.clone(),
        scope: Scope::new(&args.cluster.namespaces, args.plan_namespace.as_deref()),
    };
    // Told once for the whole process: a signal while it stands by ends it too.
    let (stopping, mut stop) = watch::channel(false);
    let stopped = health.clone();
    tokio::spawn(async move {
        told_to_stop().await;
        stopped.enter(ProcessPhase::Stopping);
        let _ = stopping.send(true);
    });
    let lease = tokio::select! {
        lease = cluster::acquire(&client, lease, || health.enter(ProcessPhase::StandingBy)) => lease,
        _ = stop.wait_for(|stop| *stop) => return ExitCode::SUCCESS,
    };
    text::tell(&format!("{identity} leads"));
    health.enter(ProcessPhase::Leading);
    let code = lead(&args, &client, &lease, identity, (view, seen), stop).await;
    lease.release().await;
    code
}

async fn lead(
    args: &RunArgs,
    client: &cluster::Client,
    lease: &Lease,
    identity: String,
    (view, seen): (watch::Sender<View>, watch::Receiver<View>),
    mut stop: watch::Receiver<bool>,
) -> ExitCode {
    let mut told = None;
    let ledger = loop {
        match open_ledger(&args.state, args.synchronous).await {
            Ok(ledger) => break ledger,
            // The leader before may still be ending.
            Err(error) if error.kind == LedgerErrorKind::InUse => {
                let words = error.to_string();
                if told.replace(words.clone()) != Some(words) {
                    text::tell(&error.to_string());
                }
            }
            Err(error) => return refuse(&error.to_string()),
        }
        tokio::select! {
            () = tokio::time::sleep(IN_USE_RETRY) => {}
            _ = stop.wait_for(|stop| *stop) => return ExitCode::SUCCESS,
            holder = lease.lost() => return lost(&holder),
        }
    };
    let statuses = ClusterStatuses::start(client.clone(), &identity);
    let scope = Scope::new(&args.cluster.namespaces, args.plan_namespace.as_deref());
    let snapshots = tokio::select! {
        snapshots = cluster::watch(client, &scope, &statuses) => snapshots,
        _ = stop.wait_for(|stop| *stop) => return ExitCode::SUCCESS,
        holder = lease.lost() => return lost(&holder),
    };
    for difference in cluster::differences(client).await {
        text::tell(&difference);
    }
    let shown = (!args.quiet).then(|| tokio::spawn(progress::show(seen)));
    let engine = EngineOptions {
        state_dir: args.state.clone(),
        once: false,
        dry_run: false,
        grace: args.grace.std(),
        plan_namespace: args.plan_namespace.clone(),
        egress: args.egress(),
        allow_sendmail: args.allow_sendmail.clone().into(),
    };
    let (lose, mut losing) = watch::channel(None);
    let ended = async {
        tokio::select! {
            _ = stop.wait_for(|stop| *stop) => {}
            holder = lease.lost() => { let _ = lose.send(Some(holder)); }
        }
    };
    let result = engine::run(engine, ledger.clone(), snapshots, StatusSink::Cluster(statuses), view, ended).await;
    if let Some(shown) = shown {
        let _ = tokio::time::timeout(Duration::from_secs(2), shown).await;
    }
    close(ledger).await;
    let holder = losing.borrow_and_update().clone();
    match holder {
        Some(holder) => lost(&holder),
        None => finish(result),
    }
}

fn lost(holder: &str) -> ExitCode {
    text::tell(&format!("{holder} leads now; this process has stopped sending"));
    ExitCode::from(EXIT_SUPERSEDED)
}

/// Who this process is: the pod's or machine's name, and something that no other process has.
fn identity() -> String {
    let mut bytes = [0_u8; 4];
    // Without chance the process id must do.
    let _ = getrandom::fill(&mut bytes);
    let chance = u32::from_ne_bytes(bytes) ^ std::process::id();
    format!("{}_{chance:08x}", gethostname::gethostname().to_string_lossy())
}

fn pod_namespace() -> String {
    std::fs::read_to_string(POD_NAMESPACE_FILE).map_or_else(|_| "default".to_owned(), |namespace| namespace.trim().to_owned())
}
