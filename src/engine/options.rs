//! How the engine runs: what the command line decides.

use std::{net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use tokio::sync::watch;

use crate::{
    egress::Egress,
    feedback::Intake,
    resources::Key,
    token::{
        Keys,
        unsubscribe::{Links, Tokens},
    },
};

/// How the engine runs.
#[derive(Clone, Debug)]
pub struct EngineOptions {
    /// The state folder, which holds the ledger and the statuses.
    pub state_dir: PathBuf,
    /// End when every campaign has ended.
    pub once: bool,
    /// Send everything into outboxes.
    pub dry_run: bool,
    /// How long messages in flight may take when the process is told to stop.
    pub grace: Duration,
    /// In a cluster: the only namespace whose plans count.
    pub plan_namespace: Option<String>,
    /// Where audiences may be fetched from, and where customers' servers may be.
    pub egress: Egress,
    /// The resolver for the DNS records of identities; this machine's when absent.
    pub resolver: Option<SocketAddr>,
    /// The programs that servers of the operator may run as sendmail.
    pub allow_sendmail: Arc<[PathBuf]>,
    /// A number that grows whenever something came back, or somebody was suppressed.
    pub came_back: watch::Receiver<u64>,
    /// The links by which people unsubscribe on our page; without them, campaigns that need them are not sent.
    pub links: Option<Links>,
    /// What comes back by mail.
    pub returns: Returns,
}

/// What is needed to take in what comes back by mail.
#[derive(Clone, Default)]
pub struct Returns {
    /// The keys of return paths; without them envelope senders name no message.
    pub keys: Option<Arc<Keys>>,
    /// Reads tokens of `mailto:` links for unsubscribing.
    pub unsubscribe: Option<Tokens>,
    /// Where events go; without it no mailbox is read.
    pub intake: Option<Intake>,
    /// Whether this process listens for bounces.
    pub listens: bool,
}

impl std::fmt::Debug for Returns {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Returns").field("keys", &self.keys).field("listens", &self.listens).finish_non_exhaustive()
    }
}

impl EngineOptions {
    /// A process that runs on and sends, alone on its machine: what the command line says without any option, but for links and mail
    /// that comes back, for which there are no keys.
    #[must_use]
    pub fn new(state_dir: PathBuf) -> Self {
        Self {
            state_dir,
            once: false,
            dry_run: false,
            grace: Duration::from_secs(30),
            plan_namespace: None,
            egress: Egress::Everywhere,
            resolver: None,
            allow_sendmail: Arc::default(),
            came_back: watch::channel(0).1,
            links: None,
            returns: Returns::default(),
        }
    }

    /// A process that only says what it would decide: nothing is opened, so that no Secret is needed to know what is granted.
    #[must_use]
    pub fn looking(state_dir: PathBuf, plan_namespace: Option<String>) -> Self {
        // As the process does that a server with `feedback.bounces` asks for.
        let returns = Returns { listens: true, ..Returns::default() };
        Self { once: true, dry_run: true, plan_namespace, returns, ..Self::new(state_dir) }
    }

    /// The same without a network, where there may be no keys for links either.
    #[must_use]
    pub fn offline(state_dir: PathBuf, plan_namespace: Option<String>) -> Self {
        Self { links: Some(Links::sample(None)), egress: Egress::PublicOnly, ..Self::looking(state_dir, plan_namespace) }
    }

    /// Whether a server in this namespace is the operator's: with a plan namespace, those in all others are customers'.
    pub(super) fn is_operators(&self, key: &Key) -> bool {
        self.plan_namespace.as_ref().is_none_or(|namespace| **namespace == *key.namespace)
    }

    /// Which addresses a server may be concerned with.
    pub(super) fn egress_of(&self, key: &Key) -> Egress {
        if self.is_operators(key) { Egress::Everywhere } else { self.egress }
    }
}
