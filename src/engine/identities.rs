//! The DNS records of servers' identities: what each server needs, and looks at them in the background.

use std::{collections::BTreeMap, net::SocketAddr, sync::Arc};

use tokio::sync::{Semaphore, mpsc};

use super::EngineOptions;
use crate::{
    dkim::Ring,
    dns::{Looked, Resolver, Subject},
    egress::Egress,
    resources::{Key, KeyRef, Reason, SendingServer, secret::SecretValue},
    source::{SecretStore, Snapshot},
};

/// The most servers whose records are looked up at a time.
const LOOKS_MAX: usize = 64;

/// A private key, or why there is none.
type Private = Result<SecretValue, (Reason, String)>;
/// A server as it was last judged: the object, its private keys, and what DNS must confirm.
type Known = (Arc<SendingServer>, Vec<Private>, Option<Arc<Subject>>);

/// What DNS must confirm of each server. The public half of a key is derived once for each version of it.
#[derive(Default)]
pub(super) struct Subjects {
    known: BTreeMap<Key, Known>,
}

impl Subjects {
    /// What DNS must confirm of the servers of a snapshot.
    pub fn of(&mut self, snapshot: &Snapshot, options: &EngineOptions, ring: &Ring) -> BTreeMap<Key, Arc<Subject>> {
        self.known.retain(|key, _| snapshot.servers.contains_key(key));
        let mut subjects = BTreeMap::new();
        for (key, sourced) in snapshot.servers.iter() {
            let object = &sourced.object;
            if object.spec.identity.is_none() {
                self.known.remove(key);
                continue;
            }
            let signing = object.spec.signing_keys().iter();
            let private: Vec<Private> = signing.map(|one| private_key(key, &one.private_key_ref, &snapshot.secrets)).collect();
            let is_known =
                self.known.get(key).is_some_and(|(of, with, _)| (Arc::ptr_eq(of, object) || of.spec == object.spec) && *with == private);
            if !is_known {
                let subject = subject(key, object, &snapshot.secrets, options.egress_of(key), ring).map(Arc::new);
                self.known.insert(key.clone(), (object.clone(), private, subject));
            }
            if let Some((_, _, Some(subject))) = self.known.get(key) {
                subjects.insert(key.clone(), subject.clone());
            }
        }
        subjects
    }
}

/// What DNS must confirm of a server.
pub(crate) fn subject(key: &Key, object: &SendingServer, secrets: &SecretStore, egress: Egress, ring: &Ring) -> Option<Subject> {
    let public = |reference: &KeyRef| {
        let pem = private_key(key, reference, secrets)?;
        let private = ring.get(pem.expose());
        private
            .map(|key| key.public().to_vec())
            .map_err(|why| (Reason::SecretInvalid, format!("key `{}` of Secret `{}` {why}", reference.key, reference.name)))
    };
    Subject::of(&object.spec, egress, public)
}

fn private_key(server: &Key, reference: &KeyRef, secrets: &SecretStore) -> Private {
    secrets.get(&server.namespace, &reference.name, &reference.key).map_err(|missing| (missing.reason(), missing.to_string()))
}

/// A look that has ended.
pub(super) struct LookDone {
    pub key: Key,
    /// What was looked up.
    pub subject: Arc<Subject>,
    pub looked: Looked,
}

/// The looks in progress.
pub(super) struct Looks {
    resolver: Resolver,
    sender: mpsc::UnboundedSender<LookDone>,
    receiver: mpsc::UnboundedReceiver<LookDone>,
    permits: Arc<Semaphore>,
}

impl Looks {
    /// Looks through the resolver at this address, or the system's.
    pub fn new(resolver: Option<SocketAddr>) -> Self {
        let (sender, receiver) = mpsc::unbounded_channel();
        Self { resolver: Resolver::new(resolver), sender, receiver, permits: Arc::new(Semaphore::new(LOOKS_MAX)) }
    }

    /// Starts a look; it waits while too many are in progress.
    pub fn start(&self, key: &Key, subject: Arc<Subject>) {
        let (resolver, done, permits, key) = (self.resolver.clone(), self.sender.clone(), self.permits.clone(), key.clone());
        tokio::spawn(async move {
            // The semaphore is never closed.
            let _permit = permits.acquire_owned().await;
            let looked = resolver.look(&subject).await;
            let _ = done.send(LookDone { key, subject, looked });
        });
    }

    /// The next look that ends.
    pub async fn next(&mut self) -> Option<LookDone> {
        self.receiver.recv().await
    }
}
