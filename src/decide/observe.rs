//! Observed state: probes and send failures, kept as small state machines. Pure.

use std::{borrow::Cow, collections::BTreeMap, sync::Arc};

use super::{ServerInput, feedback::WebhookObservation, identity::IdentityObservation};
use crate::{
    backoff::{Backoff, spread_ms},
    chance::jitter,
    providers::Quota,
    report::Report,
    resources::{Blocker, ConditionStatus, Duration, Key, Rate, Reason, sending_server::EffectiveProbe},
};

/// The complete observed state.
#[derive(Clone, Default)]
pub struct Observations {
    /// What probes and sends showed of each server.
    pub servers: BTreeMap<Key, ServerObservation>,
    /// What DNS says of the identities of servers.
    pub identities: BTreeMap<Key, IdentityObservation>,
    /// What is known of the webhooks of servers.
    pub webhooks: BTreeMap<Key, WebhookObservation>,
    /// How the reading of each server's mailbox stands; absent until it was read once.
    pub mailboxes: BTreeMap<Key, Result<(), Blocker>>,
    /// The report of the data plane.
    pub report: Arc<Report>,
    /// The seed for jitter.
    pub seed: u64,
}

impl Observations {
    /// The observation of a server. A server that was deleted and applied again starts with the failures that the dispatcher
    /// counted before: the dispatcher routes through it only once all of them are acknowledged.
    pub fn server_mut(&mut self, key: &Key, report: &Report) -> &mut ServerObservation {
        self.servers.entry(key.clone()).or_insert_with(|| ServerObservation {
            acknowledged_failures: report.servers.get(key).map_or(0, |server| server.failures),
            ..ServerObservation::default()
        })
    }

    /// Uses servers again whose send failures are due to be forgotten.
    pub fn readmit(&mut self, servers: &BTreeMap<Key, ServerInput>, now_ms: i64) {
        for (key, observation) in &mut self.servers {
            let Some(input) = servers.get(key) else { continue };
            let accepted = self.report.servers.get(key).map_or(0, |server| server.accepted);
            observation.readmit(&input.object.spec.probe(), accepted, now_ms);
        }
    }
}

/// What came of a probe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProbeResult {
    /// The server can be reached, and would take messages.
    Succeeded,
    /// It cannot be used, for this reason.
    Failed(Blocker),
    /// This type cannot be probed without sending.
    NotProbeable,
}

impl ProbeResult {
    /// What the condition Probed says of it.
    #[must_use]
    pub fn words(&self) -> (ConditionStatus, Reason, Cow<'static, str>) {
        match self {
            Self::NotProbeable => (
                ConditionStatus::Unknown,
                Reason::NotProbeable,
                "This type of server cannot be probed without sending; it is Active until a send fails.".into(),
            ),
            Self::Succeeded => (ConditionStatus::True, Reason::ProbeSucceeded, "Connection successful.".into()),
            Self::Failed(failure) => (ConditionStatus::False, failure.reason, failure.message.clone().into()),
        }
    }
}

/// The failure that took a server out of routing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SendFailure {
    /// When it failed, milliseconds.
    pub at_ms: i64,
    /// The cause.
    pub failure: Blocker,
    /// Consecutive failures, with no message accepted in between.
    pub in_a_row: u32,
    /// Messages that the server had accepted when it failed.
    pub accepted_before: u64,
}

/// The observation of a server, for one version of its spec and Secrets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServerObservation {
    /// The hash of that version.
    pub server_hash: u64,
    /// The result of the latest probe.
    pub last_probe: Option<ProbeResult>,
    /// When it ended, milliseconds.
    pub last_probe_ms: i64,
    /// When it began, milliseconds.
    pub last_probe_began_ms: i64,
    /// Whether one is in progress.
    pub probing: bool,
    /// Consecutive failed probes.
    pub failures: u32,
    /// Consecutive successful probes.
    pub successes: u32,
    /// Whether it is Active as far as probes are concerned: changes only at the thresholds.
    pub probes_good: bool,
    /// A send failure that is not fixed yet.
    pub send_failure: Option<SendFailure>,
    /// The last send failure after which it was used again, until it accepts a message.
    pub fixed: Option<SendFailure>,
    /// How many of the failures that the dispatcher counted are handled.
    pub acknowledged_failures: u64,
    /// The number of probes so far, for jitter.
    pub probes: u64,
    /// The windows of the vendor's account, minus what others have used of them.
    pub quotas: Vec<Rate>,
    /// The largest message that it takes, bytes, as it said last.
    pub size_max: Option<u64>,
}

impl ServerObservation {
    /// A fresh observation for a new version; the dispatcher's count of failures is kept.
    #[must_use]
    pub fn renewed(&self, server_hash: u64) -> Self {
        Self { server_hash, acknowledged_failures: self.acknowledged_failures, probes: self.probes, probing: false, ..Self::default() }
    }

    /// Notes the result of a probe.
    pub fn note_probe(&mut self, result: ProbeResult, began_ms: i64, now_ms: i64, probe: &EffectiveProbe) {
        self.probing = false;
        self.probes += 1;
        self.last_probe_ms = now_ms;
        self.last_probe_began_ms = began_ms;
        match &result {
            ProbeResult::Succeeded | ProbeResult::NotProbeable => {
                self.failures = 0;
                self.successes = self.successes.saturating_add(1);
                if self.successes >= probe.success_threshold || result == ProbeResult::NotProbeable {
                    self.probes_good = true;
                }
            }
            // It answers, but accepts no more for now.
            ProbeResult::Failed(failure) if failure.is_pause() && self.probes_good => {}
            ProbeResult::Failed(_) => {
                self.successes = 0;
                self.failures = self.failures.saturating_add(1);
                if self.failures >= probe.failure_threshold {
                    self.probes_good = false;
                }
            }
        }
        self.last_probe = Some(result);
    }

    /// Notes what the vendor reports about the account's windows. What others have used of a window is not ours to use: `ours`
    /// returns what we sent in a window of a given length.
    pub fn note_quotas(&mut self, quotas: &[Quota], ours: impl Fn(Duration) -> u64) {
        let left = |quota: &Quota| quota.rate.messages.saturating_sub(quota.used.saturating_sub(ours(quota.rate.per))).max(1);
        self.quotas = quotas.iter().map(|quota| Rate { messages: left(quota), ..quota.rate }).collect();
    }

    /// Notes that the dispatcher took the server out of use; `accepted` is the number of messages that it has accepted so far.
    pub fn note_send_failure(&mut self, failure: Blocker, count: u64, accepted: u64, now_ms: i64) {
        self.acknowledged_failures = count;
        let before = match (&self.send_failure, &self.fixed) {
            (Some(open), _) => open.in_a_row,
            (None, Some(fixed)) if fixed.accepted_before == accepted => fixed.in_a_row,
            _ => 0,
        };
        self.send_failure = Some(SendFailure { at_ms: now_ms, failure, in_a_row: before + 1, accepted_before: accepted });
    }

    /// When a send failure may be forgotten: after a successful probe that began after it, and later the more consecutive failures
    /// there were.
    #[must_use]
    pub fn readmit_at_ms(&self, probe: &EffectiveProbe) -> Option<i64> {
        let open = self.send_failure.as_ref()?;
        if self.last_probe_began_ms < open.at_ms || !matches!(self.last_probe, Some(ProbeResult::Succeeded | ProbeResult::NotProbeable)) {
            return None;
        }
        let pause = match open.in_a_row {
            // Being reachable says nothing about how much it accepts.
            1 if self.last_probe == Some(ProbeResult::Succeeded) && (!open.failure.is_pause() || open.failure.retry_after.is_some()) => 0,
            count => backoff_ms(probe, count.saturating_sub(1)),
        };
        let asked = open.failure.retry_after.map_or(0, |after| i64::try_from(after.as_millis()).unwrap_or(i64::MAX));
        Some(open.at_ms.saturating_add(pause.max(asked)))
    }

    /// Forgets a send failure that is due to be forgotten; returns whether there was one.
    pub fn readmit(&mut self, probe: &EffectiveProbe, accepted: u64, now_ms: i64) -> bool {
        if self.readmit_at_ms(probe).is_none_or(|at| at > now_ms) {
            return false;
        }
        if let Some(open) = self.send_failure.take() {
            self.fixed = Some(SendFailure { accepted_before: accepted, ..open });
        }
        true
    }

    /// The failure that keeps it Inactive although its probes succeed: too many sends have failed in a row, and none has succeeded
    /// since. One message may show that they succeed again.
    #[must_use]
    pub fn unproven(&self, probe: &EffectiveProbe, accepted: u64) -> Option<&SendFailure> {
        let failed = self.send_failure.as_ref().or_else(|| self.fixed.as_ref().filter(|fixed| fixed.accepted_before == accepted))?;
        // A server that only accepts no more for now is as good as before.
        (failed.in_a_row >= probe.failure_threshold && !failed.failure.is_pause()).then_some(failed)
    }

    /// When the next probe is due, milliseconds.
    #[must_use]
    pub fn probe_at_ms(&self, probe: &EffectiveProbe, key: &Key, seed: u64) -> Option<i64> {
        if self.probing {
            return None;
        }
        if self.last_probe.is_none() {
            return Some(0);
        }
        let name = key.to_string();
        // So that a thousand servers are not probed at once.
        let spread = |delay: i64| spread_ms(delay, jitter(seed, &name, self.probes));
        if let Some(open) = &self.send_failure
            && self.last_probe_began_ms < open.at_ms
        {
            // The first probe after a failure is due at once.
            return Some(open.at_ms);
        }
        let retry = probe.retry_after.as_millis();
        let delay = match &self.last_probe {
            Some(ProbeResult::Failed(_)) if self.probes_good => retry,
            Some(ProbeResult::Failed(_)) => spread(backoff_ms(probe, self.failures.saturating_sub(probe.failure_threshold) + 1)),
            _ if self.successes < probe.success_threshold && !self.probes_good => retry,
            _ => spread(probe.interval.as_millis()),
        };
        Some(self.last_probe_ms + delay)
    }
}

/// The delay after this many consecutive failures, from 1, milliseconds.
fn backoff_ms(probe: &EffectiveProbe, failures: u32) -> i64 {
    let backoff = Backoff { first: probe.retry_after.std(), max: probe.interval.std() };
    i64::try_from(backoff.delay(failures).as_millis()).unwrap_or(i64::MAX)
}
