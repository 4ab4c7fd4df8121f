//! The world outside of a process: servers that take messages or fail, and what is true whatever a process believes.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::{Mutex, MutexGuard, PoisonError},
};

use super::*;
use crate::{providers::Along, test_support::Chance};

/// 2025-11-24.
pub(super) const START_MS: i64 = 1_764_000_000_000;
/// A message that was claimed may be written so much later: those before it on its connection may hang.
const LATE_MS: i64 = 200_000;
const HANG_MS: u64 = 30_000;

/// How servers fail: of a hundred messages, so many.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Chances {
    pub(super) rejected: usize,
    pub(super) deferred: usize,
    pub(super) server_failed: usize,
    /// The line is cut once the content is written.
    pub(super) cut: usize,
    /// The server says nothing for long, and then hangs up.
    pub(super) hang: usize,
}

/// A message that a server took.
#[derive(Clone, Copy, Debug)]
pub(super) struct Taken {
    pub(super) at_ms: i64,
    pub(super) server: &'static str,
}

/// What is true of the world.
pub(super) struct World {
    pub(super) chance: Chance,
    pub(super) chances: Chances,
    /// When the present process began, by the world's clock and by that of its runtime.
    began: (i64, tokio::time::Instant),
    /// Who took what: by campaign and address.
    pub(super) taken: BTreeMap<(String, String), Vec<Taken>>,
    /// Messages of which a process was told that their outcome is not known.
    pub(super) unknown: u64,
    /// From when on a campaign may use which servers, in order: none while it is held or deleted.
    granted: BTreeMap<String, Vec<(i64, BTreeSet<&'static str>)>>,
    /// Who is not mailed in any campaign, and since when.
    pub(super) suppressed: BTreeMap<String, i64>,
    /// What went wrong.
    pub(super) breaches: Vec<String>,
    /// A digest of all that happened, in order.
    pub(super) digest: u64,
}

impl World {
    pub(super) fn new(seed: u64, chances: Chances) -> Self {
        Self {
            chance: Chance(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1),
            chances,
            began: (START_MS, tokio::time::Instant::now()),
            taken: BTreeMap::new(),
            unknown: 0,
            granted: BTreeMap::new(),
            suppressed: BTreeMap::new(),
            breaches: Vec::new(),
            digest: 0,
        }
    }

    /// A process begins at this time.
    pub(super) fn begin(&mut self, at_ms: i64) {
        self.began = (at_ms, tokio::time::Instant::now());
    }

    pub(super) fn now_ms(&self) -> i64 {
        self.began.0 + i64::try_from(self.began.1.elapsed().as_millis()).expect("a short life")
    }

    pub(super) fn note(&mut self, what: &str) {
        for byte in what.bytes().chain(self.now_ms().to_le_bytes()) {
            self.digest = (self.digest ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }

    /// What a campaign may use from now on.
    pub(super) fn grant(&mut self, campaign: &str, servers: BTreeSet<&'static str>) {
        let now_ms = self.now_ms();
        self.note(campaign);
        self.granted.entry(campaign.to_owned()).or_default().push((now_ms, servers));
    }

    /// Whether a campaign might use a server at some time in the last moments, in which a claim may have been made.
    fn might_use(&self, campaign: &str, server: &str) -> bool {
        let now_ms = self.now_ms();
        let Some(grants) = self.granted.get(campaign) else { return false };
        let ends = grants.iter().skip(1).map(|(at_ms, _)| *at_ms).chain([i64::MAX]);
        grants.iter().zip(ends).any(|((_, servers), ended_ms)| ended_ms > now_ms - LATE_MS && servers.contains(server))
    }

    /// A server takes a message.
    fn take(&mut self, server: &'static str, message: &Outgoing) {
        let now_ms = self.now_ms();
        let (campaign, address) = (message.run.campaign.clone(), message.rcpt_to.to_string());
        if !self.might_use(&campaign, server) {
            self.breaches.push(format!("{server} took a message of {campaign} for {address}, which may not use it"));
        }
        if self.suppressed.get(&address).is_some_and(|since_ms| *since_ms + LATE_MS < now_ms) {
            self.breaches.push(format!("{address} was mailed and had been suppressed"));
        }
        self.note(&format!("{server} {address}"));
        self.taken.entry((campaign, address)).or_default().push(Taken { at_ms: now_ms, server });
    }

    fn draw(&mut self) -> Fate {
        let Chances { rejected, deferred, server_failed, cut, hang } = self.chances;
        let mut drawn = self.chance.below(100);
        for (of_hundred, fate) in [
            (rejected, Fate::Rejected),
            (deferred, Fate::Deferred),
            (server_failed, Fate::Failed),
            (cut, Fate::Cut { is_taken: self.chance.below(2) == 0 }),
            (hang, Fate::Hangs { is_taken: self.chance.below(2) == 0 }),
        ] {
            if drawn < of_hundred {
                return fate;
            }
            drawn -= of_hundred;
        }
        Fate::Taken
    }
}

/// What a server does with a message.
#[derive(Clone, Copy, Debug)]
enum Fate {
    Taken,
    Rejected,
    Deferred,
    Failed,
    Cut { is_taken: bool },
    Hangs { is_taken: bool },
}

/// A server of the world, as a process sees it.
pub(super) struct SimulatedServer {
    pub(super) name: &'static str,
    pub(super) world: Arc<Mutex<World>>,
    pub(super) carriage: Carriage,
    /// How long it takes to answer, milliseconds.
    pub(super) latency_ms: u64,
}

impl SimulatedServer {
    fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn pause(&self, ms: u64) {
        tokio::time::sleep(Duration::from_millis(ms)).await;
    }

    async fn take(&self, message: &Outgoing, gate: Option<Arc<Gate>>) -> Outcome {
        let fate = self.world().draw();
        let lost = || Blocker::passing(Reason::ConnectionLost, "the line was lost");
        self.pause(self.latency_ms).await;
        match fate {
            Fate::Rejected => return Outcome::rejected("550 5.1.1 no such user"),
            Fate::Deferred => return Outcome::deferred("450 4.2.1 not now", None),
            Fate::Failed => return Outcome::ServerFailed(lost()),
            Fate::Taken | Fate::Cut { .. } | Fate::Hangs { .. } => {}
        }
        let pass = match gate {
            Some(gate) => Some(gate.pass(1).await),
            None => None,
        };
        if let Fate::Taken | Fate::Cut { is_taken: true } | Fate::Hangs { is_taken: true } = fate {
            self.world().take(self.name, message);
        }
        if let Some(pass) = pass {
            pass.written(tokio::time::Instant::now().into_std());
        }
        if let Fate::Taken = fate {
            self.pause(self.latency_ms).await;
            return Outcome::Accepted { reply: "250 2.0.0 Ok".to_owned() };
        }
        if let Fate::Hangs { .. } = fate {
            self.pause(HANG_MS).await;
        }
        self.world().unknown += 1;
        Outcome::Unknown(lost())
    }
}

impl Server for SimulatedServer {
    fn probe(&self) -> BoxFuture<'_, Option<Result<Probed, Blocker>>> {
        Box::pin(async { Some(Ok(Probed::default())) })
    }

    fn deliver(&self, _batch: Vec<Outgoing>, _outcomes: mpsc::UnboundedSender<Delivered>) -> BoxFuture<'_, ()> {
        unreachable!("something always comes along")
    }

    fn deliver_with(&self, batch: Vec<Outgoing>, along: Along, outcomes: mpsc::UnboundedSender<Delivered>) -> BoxFuture<'_, ()> {
        let Along { mut more, gate } = along;
        Box::pin(async move {
            let mut queue = VecDeque::from(batch);
            loop {
                while let Ok(message) = more.try_recv() {
                    queue.push_back(message);
                }
                let Some(message) = queue.pop_front() else {
                    if more.is_closed() {
                        return;
                    }
                    more.close();
                    continue;
                };
                let outcome = self.take(&message, gate.clone()).await;
                let round_trip = Some(Duration::from_millis(self.latency_ms));
                let _ = outcomes.send(Delivered { message, outcome, round_trip, signing: Duration::ZERO });
            }
        })
    }

    fn carriage(&self) -> Carriage {
        self.carriage
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {})
    }
}
