//! `mailfleet run --kubernetes`: a controller in a cluster.

use std::{process::ExitCode, time::Duration as StdDuration};

use tokio::sync::watch;

use super::{Process, RunArgs, finish};
use crate::{
    cli::{exit::EXIT_SUPERSEDED, signals::told_to_stop, text},
    ledger::LedgerErrorKind,
    resources::Duration,
    serve::ProcessPhase,
    source::{
        StatusSink,
        cluster::{self, ClusterStatuses, Lease, LeaseOptions, Scope},
    },
};

/// The bounds of `--lease-duration`.
const LEASE_MIN: Duration = Duration::from_secs(3);
const LEASE_MAX: Duration = Duration::from_secs(300);
/// Where a pod finds its namespace.
const POD_NAMESPACE_FILE: &str = "/var/run/secrets/kubernetes.io/serviceaccount/namespace";
/// Between two attempts to open a ledger that another process still holds.
const IN_USE_RETRY: StdDuration = StdDuration::from_secs(2);

pub(super) async fn run(args: RunArgs) -> Result<ExitCode, String> {
    let duration = args.cluster.lease_duration;
    if !(LEASE_MIN..=LEASE_MAX).contains(&duration) {
        return Err(format!("--lease-duration {duration} is out of range; {LEASE_MIN} to {LEASE_MAX}."));
    }
    let state_dir = args.state.clone();
    let process = Process::start(args, state_dir).await?;
    let args = &process.args;
    let client = cluster::connect(args.cluster.kubeconfig.as_deref()).await.map_err(|error| error.to_string())?;
    let identity = identity();
    let lease = LeaseOptions {
        namespace: args.cluster.lease_namespace.clone().unwrap_or_else(pod_namespace),
        name: args.cluster.lease_name.clone(),
        duration: duration.std(),
        identity: identity.clone(),
        scope: Scope::new(&args.cluster.namespaces, args.plan_namespace.as_deref()),
    };
    // Heard once for the whole process: a signal while it stands by ends it too.
    let (stopping, mut stop) = watch::channel(false);
    let health = process.health.clone();
    let told = told_to_stop();
    tokio::spawn(async move {
        told.await;
        health.enter(ProcessPhase::Stopping);
        let _ = stopping.send(true);
    });
    let lease = tokio::select! {
        lease = cluster::acquire(&client, lease, || process.health.enter(ProcessPhase::StandingBy)) => lease,
        _ = stop.wait_for(|stop| *stop) => return Ok(ExitCode::SUCCESS),
    };
    text::report(&format!("{identity} leads"));
    process.health.enter(ProcessPhase::Leading);
    let ended = lead(process, &client, &lease, identity, stop).await;
    lease.release().await;
    ended
}

async fn lead(
    process: Process,
    client: &cluster::Client,
    lease: &Lease,
    identity: String,
    mut stop: watch::Receiver<bool>,
) -> Result<ExitCode, String> {
    let mut reported = None;
    let ledger = loop {
        match process.open_ledger().await {
            Ok(ledger) => break ledger,
            // The previous leader may still be ending.
            Err(error) if error.kind == LedgerErrorKind::InUse => {
                if reported.as_ref() != Some(&error.message) {
                    text::report(&error.message);
                    reported = Some(error.message);
                }
            }
            Err(error) => return Err(error.message),
        }
        tokio::select! {
            () = tokio::time::sleep(IN_USE_RETRY) => {}
            _ = stop.wait_for(|stop| *stop) => return Ok(ExitCode::SUCCESS),
            holder = lease.lost() => return Ok(lost(&holder)),
        }
    };
    let statuses = ClusterStatuses::start(client.clone(), &identity);
    let scope = Scope::new(&process.args.cluster.namespaces, process.args.plan_namespace.as_deref());
    let snapshots = tokio::select! {
        snapshots = cluster::watch(client, &scope, &statuses) => snapshots,
        _ = stop.wait_for(|stop| *stop) => return Ok(ExitCode::SUCCESS),
        holder = lease.lost() => return Ok(lost(&holder)),
    };
    for difference in cluster::differences(client).await {
        text::report(&difference);
    }
    let (lose, mut losing) = watch::channel(None);
    let ended = async {
        tokio::select! {
            _ = stop.wait_for(|stop| *stop) => {}
            holder = lease.lost() => { let _ = lose.send(Some(holder)); }
        }
    };
    let result = process.send(ledger, snapshots, StatusSink::Cluster(statuses), ended).await;
    let holder = losing.borrow_and_update().clone();
    Ok(holder.map_or_else(|| finish(result), |holder| lost(&holder)))
}

fn lost(holder: &str) -> ExitCode {
    text::report(&format!("{holder} leads now; this process has stopped sending"));
    ExitCode::from(EXIT_SUPERSEDED)
}

/// The identity of this process: the name of the pod or machine, and a suffix of its own.
fn identity() -> String {
    let mut bytes = [0_u8; 4];
    // Without random bytes the process id must do.
    let _ = getrandom::fill(&mut bytes);
    let random = u32::from_ne_bytes(bytes) ^ std::process::id();
    format!("{}_{random:08x}", gethostname::gethostname().to_string_lossy())
}

fn pod_namespace() -> String {
    std::fs::read_to_string(POD_NAMESPACE_FILE).map_or_else(|_| "default".to_owned(), |namespace| namespace.trim().to_owned())
}
