//! Probes of servers, in the background.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::{Semaphore, mpsc},
    time::Instant,
};

use crate::{
    clock::SteadyClock,
    decide::ProbeResult,
    providers::{Probed, Provider as _, Server},
    resources::{Blocker, Key, Reason, SendingServerSpec, sending_server::EffectiveProbe},
    traces::Span,
};

/// The most probes at a time.
const PROBES_MAX: usize = 64;

/// A probe that has ended.
pub(super) struct ProbeDone {
    pub key: Key,
    /// The type of the server.
    pub provider: &'static str,
    /// The hash of the server when it was probed.
    pub server_hash: u64,
    /// When it began, milliseconds.
    pub began_ms: i64,
    /// How long it took.
    pub took: Duration,
    pub result: ProbeResult,
    /// What it found out.
    pub probed: Probed,
}

/// The probes in progress.
pub(super) struct Probes {
    sender: mpsc::UnboundedSender<ProbeDone>,
    receiver: mpsc::UnboundedReceiver<ProbeDone>,
    permits: Arc<Semaphore>,
}

impl Probes {
    pub fn new() -> Self {
        let (sender, receiver) = mpsc::unbounded_channel();
        Self { sender, receiver, permits: Arc::new(Semaphore::new(PROBES_MAX)) }
    }

    /// Starts a probe; it waits while too many are in progress.
    pub fn start(&self, key: &Key, server_hash: u64, spec: &SendingServerSpec, handle: Arc<dyn Server>, clock: SteadyClock) {
        let (probe, address, provider) = (spec.probe(), spec.provider.address(), spec.provider.type_name());
        let (done, permits, key) = (self.sender.clone(), self.permits.clone(), key.clone());
        tokio::spawn(async move {
            // The semaphore is never closed.
            let _permit = permits.acquire_owned().await;
            let (began_ms, began) = (clock.now_ms(), Instant::now());
            let span = Span::call("probe");
            if span.is_recorded() {
                span.note("mailfleet.server", key.to_string());
                span.note("mailfleet.provider", provider);
                span.note("server.address", address.clone());
            }
            let (result, probed) = span.around(probe_once(handle, &probe, &address)).await;
            if let ProbeResult::Failed(failure) = &result {
                span.fail(failure.reason.as_str());
            }
            drop(span);
            let took = began.elapsed();
            let _ = done.send(ProbeDone { key, provider, server_hash, began_ms, took, result, probed });
        });
    }

    /// The next probe that ends.
    pub async fn next(&mut self) -> Option<ProbeDone> {
        self.receiver.recv().await
    }
}

/// Runs one probe, within its timeout; returns the result and what it found out.
pub(crate) async fn probe_once(server: Arc<dyn Server>, probe: &EffectiveProbe, address: &str) -> (ProbeResult, Probed) {
    let result = match tokio::time::timeout(probe.timeout.std(), server.probe()).await {
        Ok(None) => ProbeResult::NotProbeable,
        Ok(Some(Ok(probed))) => return (ProbeResult::Succeeded, probed),
        Ok(Some(Err(failure))) => ProbeResult::Failed(failure),
        Err(_) => ProbeResult::Failed(Blocker::passing(
            Reason::TimedOut,
            format!(
                "Connection failed: {address} did not answer within {}. Check the host, the port and any firewall in between, or raise probe.timeout.",
                probe.timeout
            ),
        )),
    };
    (result, Probed::default())
}
