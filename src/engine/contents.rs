//! Reads and compiles contents in the background: round robin by namespace, a few at a time, and with a bound on the memory of
//! templates.
//!
//! A look queues what is new and waits briefly for it, so that an ordinary campaign is ready at once. Whatever takes longer
//! finishes later, and wakes the engine. Meanwhile, a campaign keeps its previous content if that is of the same generation.
//!
//! Templates are kept as long as there is room. If there is none, those of campaigns that do not send now are dropped first, and
//! compiled again when they are needed.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    sync::Arc,
    time::Duration,
};

use tokio::{
    sync::mpsc,
    time::{Instant, timeout_at},
};

use queue::{Queue, Rank};
pub(crate) use resolver::{ContentResolver, NewestSecrets};
use resolver::{PartsRead, Prepared, Stamp};
use share::{NAMESPACE_MAX, Shares};

use crate::{
    decide::InLedger,
    dispatch::Content,
    engine::{EngineOptions, facts::LedgerFacts},
    message::Template,
    people::People,
    resources::{Blocker, Campaign, Key, Kind as _, Reason},
    routing::Work,
    source::{Snapshot, Sourced},
};

mod audience;
mod queue;
mod resolver;
mod share;
#[cfg(test)]
mod tests;

/// How long a look waits for what it has queued, in all.
pub(super) const WAIT_MAX: Duration = Duration::from_millis(250);

/// The result of preparing a content.
pub(crate) struct Done {
    key: Key,
    ticket: u64,
    result: Result<Prepared, Blocker>,
    /// The files of parts that were read for it.
    parts: PartsRead,
}

/// The state of a campaign's content.
#[derive(Debug, PartialEq)]
enum State {
    /// Its current version has not been prepared yet.
    New,
    /// It can be sent, though its template may have to be compiled again.
    Ready,
    /// The memory for templates is used up by others that send.
    NoRoom,
    /// It cannot be sent.
    Failed(Blocker),
    /// It cannot be looked up, which [`Contents::blocked`] explains.
    Blocked,
}

/// Whether it is being prepared.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Pending {
    No,
    InLine,
    UnderWay(u64),
}

/// The content that was last prepared for a campaign, perhaps of an older version.
struct Made {
    generation: i64,
    work: Arc<Work>,
    content_hash: u64,
    people: Arc<People>,
    /// `None` while it is not sent and others need the memory.
    template: Option<Arc<Template>>,
}

struct Slot {
    resolver: ContentResolver,
    stamp: Stamp,
    /// The files of parts that were read last.
    parts: PartsRead,
    rank: Rank,
    state: State,
    pending: Pending,
    made: Option<Made>,
    /// The size of its template, bytes; 0 before it is known.
    cost: usize,
    /// The memory that is reserved for its template, bytes.
    held: usize,
    /// Whether the campaign sends, according to the last decision.
    sends: bool,
}

impl Slot {
    /// Nothing new is rendered. What was last sent stays known: messages of it may be in flight.
    fn cannot_be_sent(&mut self, state: State) {
        self.state = state;
        if let Some(made) = &mut self.made {
            made.template = None;
        }
    }
}

/// The contents of all campaigns.
pub(super) struct Contents {
    slots: BTreeMap<Key, Slot>,
    queue: Queue,
    shares: Shares,
    /// Campaigns whose content cannot be looked up now, and why.
    blocked: BTreeMap<Key, Blocker>,
    /// For audiences' URLs.
    secrets: NewestSecrets,
    /// Whether a file of a content is being written now: it is looked up again in a moment.
    is_being_written: bool,
    /// The campaigns that this look has queued.
    fresh: BTreeSet<Key>,
    /// Changes whenever anything changes that [`Contents::get`] returns.
    version: u64,
    tickets: u64,
    sender: mpsc::UnboundedSender<Done>,
    receiver: mpsc::UnboundedReceiver<Done>,
    /// Whether nothing is fetched.
    is_offline: bool,
}

impl Contents {
    pub fn new() -> Self {
        let (sender, receiver) = mpsc::unbounded_channel();
        Self {
            slots: BTreeMap::new(),
            queue: Queue::default(),
            shares: Shares::default(),
            blocked: BTreeMap::new(),
            secrets: NewestSecrets::default(),
            is_being_written: false,
            fresh: BTreeSet::new(),
            version: 0,
            tickets: 0,
            sender,
            receiver,
            is_offline: false,
        }
    }

    /// The same without files from URLs: nothing is fetched, and messages are taken to have none.
    pub fn offline() -> Self {
        Self { is_offline: true, ..Self::new() }
    }

    /// The content of a campaign's messages, even while a newer version is being prepared.
    pub fn get(&self, key: &Key) -> Option<Content> {
        let made = self.slots.get(key)?.made.as_ref()?;
        Some(Content { people: made.people.clone(), template: made.template.clone() })
    }

    /// Changes whenever anything changes that [`Contents::get`] returns.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// Whether a file of a content is being written now, or was while it was read: it is looked up again in a moment.
    pub fn is_being_written(&self) -> bool {
        let is_written =
            |slot: &Slot| matches!(&slot.state, State::Failed(blocker) if !blocker.needs_person && blocker.reason == Reason::FileNotFound);
        self.is_being_written || self.slots.values().any(is_written)
    }

    /// Whether some content cannot be sent and may be fixed without a change of any object: a file, a ConfigMap.
    pub fn needs_another_look(&self) -> bool {
        let failed = self.slots.values().filter_map(|slot| if let State::Failed(blocker) = &slot.state { Some(blocker) } else { None });
        failed.chain(self.blocked.values()).any(|blocker| blocker.needs_person)
    }

    /// What a campaign sends, or why it cannot send.
    pub fn work(&self, key: &Key) -> Result<Arc<Work>, Blocker> {
        if let Some(blocker) = self.blocked.get(key) {
            return Err(blocker.clone());
        }
        let preparing = || Blocker::passing(Reason::Preparing, "Its content is being read and its templates are being compiled.");
        let slot = self.slots.get(key).ok_or_else(preparing)?;
        let old = slot.made.as_ref().filter(|made| made.generation == slot.stamp.generation);
        match (&slot.state, old) {
            (State::Ready, Some(made)) => Ok(made.work.clone()),
            // An edit of the spec waits; a rewritten file holds up nothing.
            (State::New, Some(made)) if made.template.is_some() => Ok(made.work.clone()),
            (State::NoRoom, _) => Err(Blocker::passing(
                Reason::WaitingForMemory,
                format!(
                    "Its templates need {} of memory, and those of campaigns that are being sent use all of it: {} MiB for a namespace, within a bound for all namespaces. It starts when one of them ends. Suspend another campaign of the namespace, or make its templates smaller.",
                    in_words(slot.cost),
                    NAMESPACE_MAX >> 20
                ),
            )),
            (State::Failed(blocker), _) => Err(blocker.clone()),
            _ => Err(preparing()),
        }
    }

    /// What it last sent, whatever has become of its content since.
    pub fn last_work(&self, key: &Key) -> Option<Arc<Work>> {
        Some(self.slots.get(key)?.made.as_ref()?.work.clone())
    }

    /// Ensures that the current contents of all campaigns of a snapshot are prepared.
    pub fn want_all(&mut self, snapshot: &Snapshot, facts: &LedgerFacts, options: &EngineOptions) {
        let (egress, has_links, scratch): (_, _, Arc<Path>) = (options.egress, options.links.is_some(), options.state_dir.as_path().into());
        let gone: Vec<Key> = self.slots.keys().filter(|key| !snapshot.campaigns.contains_key(*key)).cloned().collect();
        gone.iter().for_each(|key| self.forget(key));
        self.blocked.clear();
        self.is_being_written = false;
        self.secrets.set(snapshot.secrets.clone());
        for (key, sourced) in snapshot.campaigns.iter() {
            let (key_of, origin, config_maps) = (key.clone(), sourced.origin.clone(), snapshot.config_maps.clone());
            let (secrets, scratch) = (self.secrets.clone(), scratch.clone());
            let fetching = tokio::runtime::Handle::try_current().ok().filter(|_| !self.is_offline);
            self.look_for(
                ContentResolver { key: key_of, origin, config_maps, egress, secrets, scratch, fetching, has_links },
                sourced,
                facts,
            );
        }
    }

    fn look_for(&mut self, resolver: ContentResolver, sourced: &Sourced<Campaign>, facts: &LedgerFacts) {
        let key = resolver.key.clone();
        let dated = facts.generations.get(&(Campaign::KIND, key.clone()));
        let of_object = || sourced.object.metadata.creation_timestamp.map_or(0, jiff::Timestamp::as_millisecond);
        let generation = dated.map_or_else(|| sourced.object.generation(), |dated| dated.number);
        let of_parts = || self.slots.get(&key)?.parts.being_written();
        if let Some(blocker) = resolver.being_written(&sourced.object.spec).or_else(of_parts) {
            self.is_being_written = true;
            // Until then, what was last read completely stays valid.
            let made = self.slots.get(&key).and_then(|slot| slot.made.as_ref());
            if made.is_none_or(|made| made.generation != generation) {
                self.blocked.insert(key, blocker);
            }
            return;
        }
        match resolver.stamp(&sourced.object, generation) {
            Ok(stamp) => {
                let is_begun = facts.runs.get(&key).is_some_and(|run| run.in_ledger == InLedger::Begun);
                let created_ms = dated.map_or_else(of_object, |dated| dated.created_at_ms);
                let name = key.name.clone();
                self.want(resolver, stamp, Rank { is_new: !is_begun, created_ms, name });
            }
            Err(blocker) => {
                self.block(&key);
                self.blocked.insert(key, blocker);
            }
        }
    }

    /// Notes that the content of a campaign cannot be looked up.
    fn block(&mut self, key: &Key) {
        self.hold(key, 0);
        self.queue.remove(key);
        let Some(slot) = self.slots.get_mut(key).filter(|slot| slot.state != State::Blocked) else { return };
        slot.pending = Pending::No;
        slot.cannot_be_sent(State::Blocked);
        self.version += 1;
    }

    /// Ensures that the current content of a campaign is prepared.
    fn want(&mut self, resolver: ContentResolver, stamp: Stamp, rank: Rank) {
        let key = resolver.key.clone();
        let Some(slot) = self.slots.get_mut(&key) else {
            let (state, pending) = (State::New, Pending::InLine);
            let parts = PartsRead::default();
            let slot = Slot { resolver, stamp, parts, rank: rank.clone(), state, pending, made: None, cost: 0, held: 0, sends: false };
            self.slots.insert(key.clone(), slot);
            self.queue.push(&key, rank);
            self.fresh.insert(key);
            return;
        };
        // Asked for once: those that are read anew are known when they are.
        let is_same = slot.stamp.is_same(&stamp) && slot.parts.holds();
        // What failed in a file system may succeed now.
        let tries_again = match &slot.state {
            State::Failed(problem) => problem.reason != Reason::InvalidContent,
            State::Blocked => true,
            State::New | State::Ready | State::NoRoom => false,
        };
        // Whether an edited campaign sends is not known before the next decision.
        slot.sends &= slot.stamp.generation == stamp.generation;
        (slot.resolver, slot.stamp, slot.rank) = (resolver, stamp, rank);
        if !is_same {
            slot.state = State::New;
            slot.parts = PartsRead::default();
        }
        if !is_same || (tries_again && slot.pending == Pending::No) {
            slot.pending = Pending::InLine;
            self.queue.push(&key, slot.rank.clone());
            self.fresh.insert(key);
        }
    }

    /// Waits for what was queued since the last time, for [`WAIT_MAX`] at most; returns how long it waited.
    pub async fn wait(&mut self) -> Duration {
        let began = Instant::now();
        self.start();
        while !self.fresh.is_empty()
            && let Ok(Some(done)) = timeout_at(began + WAIT_MAX, self.receiver.recv()).await
        {
            self.take(done);
        }
        self.fresh.clear();
        began.elapsed()
    }

    /// Waits until everything that was queued is prepared, however long it takes.
    pub async fn wait_for_all(&mut self) {
        self.start();
        while self.slots.values().any(|slot| slot.pending != Pending::No)
            && let Some(done) = self.next().await
        {
            self.take(done);
        }
        self.fresh.clear();
    }

    /// The next content that has been prepared; pass it to [`Contents::take`].
    pub async fn next(&mut self) -> Option<Done> {
        self.receiver.recv().await
    }

    /// Takes a prepared content; returns its campaign, unless that has changed meanwhile.
    pub fn take(&mut self, done: Done) -> Option<Key> {
        let Done { key, ticket, result, parts } = done;
        self.queue.ended(&key.namespace);
        let is_of_now = self.slots.get(&key).is_some_and(|slot| slot.pending == Pending::UnderWay(ticket));
        if is_of_now {
            self.fresh.remove(&key);
            if let Some(slot) = self.slots.get_mut(&key) {
                slot.parts = parts;
            }
            self.settle(&key, result);
        }
        self.start();
        is_of_now.then_some(key)
    }

    fn settle(&mut self, key: &Key, result: Result<Prepared, Blocker>) {
        self.hold(key, 0);
        self.version += 1;
        let Some(slot) = self.slots.get_mut(key) else { return };
        slot.pending = Pending::No;
        let Prepared { generation, work, content_hash, people, template } = match result {
            Ok(prepared) => prepared,
            Err(blocker) => {
                slot.cannot_be_sent(State::Failed(blocker));
                return;
            }
        };
        let cost = template.cost();
        slot.cost = cost;
        if cost > NAMESPACE_MAX {
            let message = format!(
                "spec.content: its templates need {} of memory; the maximum is {} MiB. Make them smaller; data belongs in the fields of the audience.",
                in_words(cost),
                NAMESPACE_MAX >> 20
            );
            slot.cannot_be_sent(State::Failed(Blocker::lasting(Reason::InvalidContent, message)));
            return;
        }
        slot.made = Some(Made { generation, work, content_hash, people, template: None });
        // A campaign that is not known to send takes no room from others.
        let sends = slot.sends;
        let has_room = if sends { self.make_room(key, cost) } else { self.shares.has_room(&key.namespace, cost) };
        if has_room {
            self.hold(key, cost);
        }
        let Some(slot) = self.slots.get_mut(key) else { return };
        slot.state = if has_room || !sends { State::Ready } else { State::NoRoom };
        if let Some(made) = &mut slot.made {
            made.template = has_room.then_some(template);
        }
    }

    /// Learns which campaigns send. Returns those that cannot yet, for lack of a template or of room, and those that can again.
    pub fn note(&mut self, sends: impl Fn(&Key) -> bool) -> Vec<Key> {
        let mut changed = Vec::new();
        for (key, slot) in &mut self.slots {
            let lacks = match slot.state {
                State::Ready | State::New => {
                    slot.sends = sends(key) || (slot.sends && slot.state == State::New);
                    slot.sends && slot.state == State::Ready && slot.made.as_ref().is_some_and(|made| made.template.is_none())
                }
                State::NoRoom => true,
                State::Failed(_) | State::Blocked => false,
            };
            if lacks {
                changed.push(key.clone());
            }
        }
        changed.retain(|key| self.make_again(key));
        self.start();
        changed
    }

    /// Compiles a template again if there is room; returns whether that changes the campaign's state.
    fn make_again(&mut self, key: &Key) -> bool {
        let Some(cost) = self.slots.get(key).map(|slot| slot.cost) else { return false };
        let has_room = self.make_room(key, cost);
        if has_room {
            self.hold(key, cost);
        }
        let Some(slot) = self.slots.get_mut(key) else { return false };
        let state = if has_room { State::New } else { State::NoRoom };
        let has_changed = slot.state != state;
        slot.state = state;
        if has_room {
            slot.pending = Pending::InLine;
            self.queue.push(key, slot.rank.clone());
        }
        has_changed
    }

    /// Makes room for a template that is to be sent by dropping templates that are not sent now; returns whether there is enough.
    fn make_room(&mut self, key: &Key, cost: usize) -> bool {
        loop {
            if self.shares.has_room(&key.namespace, cost) {
                return true;
            }
            let is_idle = |slot: &Slot| slot.held > 0 && !slot.sends && slot.pending == Pending::No;
            let idle: BTreeMap<&str, &Key> =
                self.slots.iter().filter(|(_, slot)| is_idle(slot)).map(|(key, _)| (&*key.namespace, key)).collect();
            let Some(namespace) = self.shares.makes_room(&key.namespace, cost, |name| idle.contains_key(name)) else { return false };
            let Some(gone) = idle.get(&*namespace).map(|key| (*key).clone()) else { return false };
            self.hold(&gone, 0);
            if let Some(made) = self.slots.get_mut(&gone).and_then(|slot| slot.made.as_mut()) {
                made.template = None;
                self.version += 1;
            }
        }
    }

    /// Reserves this many bytes for a campaign's template, in place of its previous reservation.
    fn hold(&mut self, key: &Key, bytes: usize) {
        let Some(slot) = self.slots.get_mut(key) else { return };
        self.shares.remove(&key.namespace, slot.held);
        if bytes > 0 {
            self.shares.add(&key.namespace, bytes);
        }
        slot.held = bytes;
    }

    /// Forgets a campaign that is gone.
    fn forget(&mut self, key: &Key) {
        self.hold(key, 0);
        self.queue.remove(key);
        self.version += u64::from(self.slots.remove(key).is_some());
    }

    /// Starts as many preparations as may run at a time.
    fn start(&mut self) {
        while let Some(key) = self.queue.next() {
            let Some(slot) = self.slots.get_mut(&key) else {
                self.queue.ended(&key.namespace);
                continue;
            };
            self.tickets += 1;
            let ticket = self.tickets;
            slot.pending = Pending::UnderWay(ticket);
            let (resolver, stamp) = (slot.resolver.clone(), slot.stamp.clone());
            let known = slot.made.as_ref().and_then(|made| Some((made.content_hash, made.template.clone()?)));
            let sender = self.sender.clone();
            tokio::task::spawn_blocking(move || {
                let mut parts = PartsRead::default();
                let prepared = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| resolver.prepare(&stamp, known, &mut parts)));
                let result = prepared.unwrap_or_else(|_| Err(Blocker::internal(Reason::InvalidContent, "compiling spec.content")));
                // A closed channel means that the process is going down.
                let _ = sender.send(Done { key, ticket, result, parts });
            });
        }
    }
}

fn in_words(bytes: usize) -> String {
    if bytes < 1 << 20 { format!("{} KiB", bytes.div_ceil(1 << 10)) } else { format!("{} MiB", bytes.div_ceil(1 << 20)) }
}
