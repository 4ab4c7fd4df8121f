//! The mailboxes of servers in which bounces arrive: a task for each, for as long as the spec and the Secret are the same.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use tokio::{sync::mpsc, task::AbortHandle};

use super::EngineOptions;
use crate::{
    bounces::{
        Origin,
        mailbox::{self, Account},
    },
    decide::Decision,
    providers::connect::own_tls,
    resources::{Blocker, Key, Reason, feedback::Imap, secret::SecretValue},
    source::{SecretStore, Snapshot},
};

/// Mailboxes that are read at a time.
const MAILBOXES_MAX: usize = 1000;

/// How a mailbox stands.
pub(super) struct Told {
    key: Key,
    number: u64,
    result: Result<(), Blocker>,
}

/// What a task was started with.
#[derive(Clone, PartialEq)]
struct Made {
    imap: Imap,
    username: SecretValue,
    password: SecretValue,
    ca: Option<SecretValue>,
}

struct Running {
    made: Made,
    number: u64,
    task: AbortHandle,
}

/// Ended with it, so that nobody reads a mailbox that is read elsewhere.
impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The mailboxes that are being read.
pub(super) struct Mailboxes {
    options: EngineOptions,
    running: BTreeMap<Key, Running>,
    started: AtomicU64,
    sender: mpsc::UnboundedSender<Told>,
    receiver: mpsc::UnboundedReceiver<Told>,
}

impl Mailboxes {
    pub fn new(options: &EngineOptions) -> Self {
        let (sender, receiver) = mpsc::unbounded_channel();
        Self { options: options.clone(), running: BTreeMap::new(), started: AtomicU64::new(0), sender, receiver }
    }

    /// Reads the mailboxes of these servers, and no others any more. `known` is how each stands.
    pub fn follow(&mut self, snapshot: &Snapshot, decision: &Decision, known: &mut BTreeMap<Key, Result<(), Blocker>>) {
        let imap = |key: &Key| {
            let spec = &snapshot.servers.get(key)?.object.spec;
            let is_read = decision.servers.get(key).is_some_and(|server| server.reads_mailbox) && !self.options.dry_run;
            spec.feedback.as_ref()?.mailbox.as_ref().filter(|_| is_read).map(|mailbox| &mailbox.imap)
        };
        let wanted: BTreeMap<Key, Imap> = snapshot.servers.keys().filter_map(|key| Some((key.clone(), imap(key)?.clone()))).collect();
        self.running.retain(|key, _| wanted.contains_key(key));
        known.retain(|key, _| wanted.contains_key(key));
        for (key, imap) in wanted {
            let made = match made(&key, &imap, &snapshot.secrets) {
                Ok(made) => made,
                Err(blocker) => {
                    self.running.remove(&key);
                    known.insert(key, Err(blocker));
                    continue;
                }
            };
            if self.running.get(&key).is_some_and(|running| running.made == made) {
                continue;
            }
            self.running.remove(&key);
            known.remove(&key);
            match self.start(&key, made) {
                Ok(running) => drop(self.running.insert(key, running)),
                Err(blocker) => drop(known.insert(key, Err(blocker))),
            }
        }
    }

    fn start(&self, key: &Key, made: Made) -> Result<Running, Blocker> {
        if self.running.len() >= MAILBOXES_MAX {
            let message = format!("At most {MAILBOXES_MAX} mailboxes are read: share one between several servers.");
            return Err(Blocker::lasting(Reason::OverMaximum, message));
        }
        let own_tls = made.ca.as_ref().map(|ca| own_tls(ca.expose())).transpose();
        let own_tls = own_tls.map_err(|what| Blocker::lasting(Reason::SecretInvalid, format!("The key of caRef {what}.")))?;
        let returns = &self.options.returns;
        let Some(intake) = returns.intake.clone() else {
            return Err(Blocker::passing(Reason::NotReadYet, "This process does not record feedback, so the mailbox is not read."));
        };
        let account = Account {
            imap: made.imap.clone(),
            username: made.username.clone(),
            password: made.password.clone(),
            own_tls,
            egress: self.options.egress_of(key),
        };
        let origin = Origin {
            keys: returns.keys.clone(),
            unsubscribe: returns.unsubscribe.clone(),
            server: Some(key.clone()),
            source: Arc::from(format!("mailbox of {key}")),
            unread: Arc::default(),
        };
        let number = self.started.fetch_add(1, Ordering::Relaxed);
        let (sender, of) = (self.sender.clone(), key.clone());
        let tell = move |result| {
            let _ = sender.send(Told { key: of.clone(), number, result });
        };
        let task = tokio::spawn(mailbox::read_forever(account, origin, intake, tell)).abort_handle();
        Ok(Running { made, number, task })
    }

    /// The next word of a mailbox; pass it to [`Mailboxes::note`].
    pub async fn next(&mut self) -> Option<Told> {
        self.receiver.recv().await
    }

    /// Takes how a mailbox stands; returns whether that is news.
    pub fn note(&self, told: Told, known: &mut BTreeMap<Key, Result<(), Blocker>>) -> bool {
        let is_current = self.running.get(&told.key).is_some_and(|running| running.number == told.number);
        is_current && known.insert(told.key, told.result.clone()) != Some(told.result)
    }
}

/// What a mailbox is opened with.
fn made(key: &Key, imap: &Imap, store: &SecretStore) -> Result<Made, Blocker> {
    let get = |path: &str, name: &str, entry: &str| {
        store
            .get(&key.namespace, name, entry)
            .map_err(|missing| Blocker::lasting(missing.reason(), format!("spec.feedback.mailbox.imap.{path}: {missing}.")))
    };
    let login = |entry: &str| {
        let name = &imap.auth.secret_ref.name;
        let value = get("auth.secretRef", name, entry)?;
        match value.expose_text() {
            Some(text) if !text.is_empty() && !text.contains(['\0', '\r', '\n']) => Ok(SecretValue::new(text)),
            _ => Err(Blocker::lasting(
                Reason::SecretInvalid,
                format!(
                    "spec.feedback.mailbox.imap.auth.secretRef: key `{entry}` of Secret `{name}` is empty, or not a single line of text."
                ),
            )),
        }
    };
    let ca = imap.ca_ref.as_ref().map(|ca| get("caRef", &ca.name, &ca.key)).transpose()?;
    Ok(Made { imap: imap.clone(), username: login("username")?, password: login("password")?, ca })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{
        egress::Egress,
        engine::Returns,
        feedback::Intake,
        resources::{LocalRef, feedback::ImapAuth},
    };

    fn made_of(host: &str) -> Made {
        let auth = ImapAuth { secret_ref: LocalRef { name: "login".to_owned() } };
        let imap = Imap {
            host: host.to_owned(),
            port: None,
            encryption: None,
            auth,
            ca_ref: None,
            folder: None,
            when_read: None,
            move_to: None,
            interval: None,
        };
        Made { imap, username: SecretValue::new("u"), password: SecretValue::new("password"), ca: None }
    }

    fn options(intake: Option<Intake>) -> EngineOptions {
        let returns = Returns { intake, ..Returns::default() };
        EngineOptions { egress: Egress::PublicOnly, returns, ..EngineOptions::new(std::path::PathBuf::new()) }
    }

    #[tokio::test]
    async fn mailboxes_have_a_bound() {
        let mut mailboxes = Mailboxes::new(&options(Some(Intake::new().0)));
        for number in 0..MAILBOXES_MAX {
            let task = tokio::spawn(std::future::pending::<()>()).abort_handle();
            mailboxes
                .running
                .insert(Key::new("shop", format!("s{number}").as_str()), Running { made: made_of("a.example"), number: 0, task });
        }
        let refused = mailboxes.start(&Key::new("shop", "more"), made_of("b.example")).err().expect("one too many");
        assert_eq!(refused.reason, Reason::OverMaximum);
        mailboxes.running.clear();
        assert!(mailboxes.start(&Key::new("shop", "more"), made_of("b.example")).is_ok());
    }

    /// A customer's mailbox is at a public address; what a task says after it was replaced is no news.
    #[tokio::test]
    async fn a_customers_mailbox_is_not_of_this_network() {
        let mut options = options(Some(Intake::new().0));
        options.plan_namespace = Some("ops".to_owned());
        let mut mailboxes = Mailboxes::new(&options);
        let (key, mut known) = (Key::new("shop", "relay"), BTreeMap::new());
        let running = mailboxes.start(&key, made_of("127.0.0.1")).expect("started");
        mailboxes.running.insert(key.clone(), running);
        let told = tokio::time::timeout(Duration::from_secs(10), mailboxes.next()).await.expect("in time").expect("a word");
        let again = Told { key: key.clone(), number: told.number, result: told.result.clone() };
        let old = Told { key: key.clone(), number: told.number + 1, result: Ok(()) };
        assert!(mailboxes.note(told, &mut known) && !mailboxes.note(again, &mut known) && !mailboxes.note(old, &mut known));
        assert!(matches!(&known[&key], Err(blocker) if blocker.reason == Reason::AddressNotAllowed), "{known:?}");
    }
}
