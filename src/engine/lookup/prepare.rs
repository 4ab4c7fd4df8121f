//! Contents that are read and compiled beside the engine's turns: in turn by namespace, a few at a time, and with a bound on what the
//! templates hold.
//!
//! A look gives out what is new and waits a moment for it, so that an ordinary campaign is ready at once. What takes longer ends
//! when it ends, and wakes the engine. While it waits, a campaign keeps what it had if that is of the same generation.
//!
//! Templates are kept as long as there is room. Where there is none, those of campaigns that do not send now go first, and are made
//! again when they are needed.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use tokio::{
    sync::mpsc,
    time::{Instant, timeout_at},
};

use super::{
    Find, Work,
    content::Stamp,
    queue::{Queue, Rank},
    share::{NAMESPACE_MAX, Shares},
};
use crate::{
    decide::Problem,
    message::Template,
    resources::{Key, Reason},
};

/// So long a look waits for what it has given out, in all.
pub(super) const WAIT_MAX: Duration = Duration::from_millis(250);

/// A content whose preparation has ended.
pub(crate) struct Done {
    key: Key,
    ticket: u64,
    result: Result<Work, Problem>,
}

/// Where a campaign's content stands.
#[derive(Debug, PartialEq)]
enum State {
    /// Not prepared yet as it stands now.
    New,
    /// It can be sent, though its template may have to be made again.
    Ready,
    /// The memory for templates is used up by others that send.
    NoRoom,
    /// It cannot be sent.
    Failed(Problem),
}

/// Whether it is being prepared.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Pending {
    No,
    InLine,
    UnderWay(u64),
}

struct Slot {
    find: Find,
    stamp: Stamp,
    rank: Rank,
    state: State,
    pending: Pending,
    /// What was made last, also of an older stamp.
    work: Option<Work>,
    /// What its template takes, bytes; 0 before it is known.
    cost: usize,
    /// What is set aside for its template, bytes.
    held: usize,
    /// It sends, or did when that was decided last.
    sends: bool,
}

/// The contents of all campaigns.
pub(super) struct Contents {
    slots: BTreeMap<Key, Slot>,
    queue: Queue,
    shares: Shares,
    /// What this look has given out.
    fresh: BTreeSet<Key>,
    tickets: u64,
    sender: mpsc::UnboundedSender<Done>,
    receiver: mpsc::UnboundedReceiver<Done>,
}

impl Contents {
    pub fn new() -> Self {
        let (sender, receiver) = mpsc::unbounded_channel();
        Self {
            slots: BTreeMap::new(),
            queue: Queue::default(),
            shares: Shares::default(),
            fresh: BTreeSet::new(),
            tickets: 0,
            sender,
            receiver,
        }
    }

    /// What a campaign's messages are made of, also while a newer version is being prepared.
    pub fn work(&self, key: &Key) -> Option<&Work> {
        self.slots.get(key)?.work.as_ref()
    }

    /// The fingerprint of what it sends, or why it sends nothing.
    pub fn result(&self, key: &Key) -> Result<u64, Problem> {
        let preparing =
            || Problem::passing(Reason::Preparing, "Its content is being read and its templates compiled; it goes on by itself.");
        let slot = self.slots.get(key).ok_or_else(preparing)?;
        let old = slot.work.as_ref().filter(|work| work.generation == slot.stamp.generation);
        match (&slot.state, old) {
            (State::Ready, Some(work)) => Ok(work.fingerprint),
            // An edit of the spec waits; a file that was written anew holds up nothing.
            (State::New, Some(work)) if work.template.is_some() => Ok(work.fingerprint),
            (State::NoRoom, _) => Err(Problem::passing(
                Reason::WaitingForMemory,
                format!(
                    "Its templates need {} of memory, and those of campaigns that send now take all there is: {} MiB for a namespace, and a bound for all. It goes on when one of them has ended. Suspend another campaign of the namespace, or put less into its templates.",
                    in_words(slot.cost),
                    NAMESPACE_MAX >> 20
                ),
            )),
            (State::Failed(problem), _) => Err(problem.clone()),
            _ => Err(preparing()),
        }
    }

    /// Sees to it that a campaign's content is prepared as it stands now.
    pub fn want(&mut self, find: Find, stamp: Stamp, rank: Rank) {
        let key = find.key.clone();
        let Some(slot) = self.slots.get_mut(&key) else {
            let (state, pending) = (State::New, Pending::InLine);
            let slot = Slot { find, stamp, rank: rank.clone(), state, pending, work: None, cost: 0, held: 0, sends: false };
            self.slots.insert(key.clone(), slot);
            self.queue.push(&key, rank);
            self.fresh.insert(key);
            return;
        };
        let is_same = slot.stamp.is_same(&stamp);
        // What a file system could not do it may do now.
        let tries_again = matches!(&slot.state, State::Failed(problem) if problem.reason != Reason::InvalidContent);
        // Whether an edit sends is not known before it is decided.
        slot.sends &= slot.stamp.generation == stamp.generation;
        (slot.find, slot.stamp, slot.rank) = (find, stamp, rank);
        if !is_same {
            slot.state = State::New;
        }
        if !is_same || (tries_again && slot.pending == Pending::No) {
            slot.pending = Pending::InLine;
            self.queue.push(&key, slot.rank.clone());
            self.fresh.insert(key);
        }
    }

    /// Waits for what was given out since the last time, for [`WAIT_MAX`] at most; says how long it took.
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

    /// The next content whose preparation has ended; [`Contents::take`] follows.
    pub async fn next(&mut self) -> Option<Done> {
        self.receiver.recv().await
    }

    /// Takes what was prepared; the campaign that it is for, unless it has changed meanwhile.
    pub fn take(&mut self, done: Done) -> Option<Key> {
        let Done { key, ticket, result } = done;
        self.queue.ended(&key.namespace);
        let is_of_now = self.slots.get(&key).is_some_and(|slot| slot.pending == Pending::UnderWay(ticket));
        if is_of_now {
            self.fresh.remove(&key);
            self.settle(&key, result);
        }
        self.start();
        is_of_now.then_some(key)
    }

    fn settle(&mut self, key: &Key, result: Result<Work, Problem>) {
        self.hold(key, 0);
        let Some(slot) = self.slots.get_mut(key) else { return };
        slot.pending = Pending::No;
        match result {
            Ok(mut work) => {
                let template = work.template.take();
                let cost = template.as_ref().map_or(0, |template| template.cost());
                (slot.work, slot.cost) = (Some(work), cost);
                if cost > NAMESPACE_MAX {
                    let message = format!(
                        "spec.content: its templates need {} of memory, and {} MiB are the most. Put less into them; data belongs into the audience's fields.",
                        in_words(cost),
                        NAMESPACE_MAX >> 20
                    );
                    (slot.work, slot.state) = (None, State::Failed(Problem::new(Reason::InvalidContent, message)));
                    return;
                }
                // What is not known to send takes no room of others.
                let sends = slot.sends;
                let has_room = if sends { self.make_room(key, cost) } else { self.shares.has_room(&key.namespace, cost) };
                if has_room {
                    self.hold(key, cost);
                }
                let Some(slot) = self.slots.get_mut(key) else { return };
                slot.state = if has_room || !sends { State::Ready } else { State::NoRoom };
                if let Some(work) = &mut slot.work {
                    work.template = template.filter(|_| has_room);
                }
            }
            Err(problem) => (slot.work, slot.state) = (None, State::Failed(problem)),
        }
    }

    /// Learns which campaigns send; those that cannot yet, for want of a template or of room, and those that can again.
    pub fn note(&mut self, sends: impl Fn(&Key) -> bool) -> Vec<Key> {
        let mut changed = Vec::new();
        for (key, slot) in &mut self.slots {
            let lacks = match slot.state {
                State::Ready | State::New => {
                    slot.sends = sends(key) || (slot.sends && slot.state == State::New);
                    slot.sends && slot.state == State::Ready && slot.work.as_ref().is_some_and(|work| work.template.is_none())
                }
                State::NoRoom => true,
                State::Failed(_) => false,
            };
            if lacks {
                changed.push(key.clone());
            }
        }
        changed.retain(|key| self.make_again(key));
        self.start();
        changed
    }

    /// Makes a template again where there is room; whether that changes what the campaign says.
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

    /// Makes room for a template that is to be sent: templates that nobody sends now go. Whether there is enough.
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
            if let Some(work) = self.slots.get_mut(&gone).and_then(|slot| slot.work.as_mut()) {
                work.template = None;
            }
        }
    }

    /// Sets so many bytes aside for a campaign's template, instead of what was.
    fn hold(&mut self, key: &Key, bytes: usize) {
        let Some(slot) = self.slots.get_mut(key) else { return };
        self.shares.remove(&key.namespace, slot.held);
        if bytes > 0 {
            self.shares.add(&key.namespace, bytes);
        }
        slot.held = bytes;
    }

    /// Forgets a campaign whose content is not all there.
    pub fn forget(&mut self, key: &Key) {
        self.hold(key, 0);
        self.queue.remove(key);
        self.slots.remove(key);
    }

    /// Forgets the campaigns that are gone.
    pub fn retain(&mut self, is_there: impl Fn(&Key) -> bool) {
        let gone: Vec<Key> = self.slots.keys().filter(|key| !is_there(key)).cloned().collect();
        gone.iter().for_each(|key| self.forget(key));
    }

    /// Starts as many as may be prepared at a time.
    fn start(&mut self) {
        while let Some(key) = self.queue.next() {
            let Some(slot) = self.slots.get_mut(&key) else {
                self.queue.ended(&key.namespace);
                continue;
            };
            self.tickets += 1;
            let ticket = self.tickets;
            slot.pending = Pending::UnderWay(ticket);
            let (find, stamp) = (slot.find.clone(), slot.stamp.clone());
            let known = slot.work.as_ref().and_then(|work| Some((work.content_hash, work.template.clone()?)));
            let sender = self.sender.clone();
            tokio::task::spawn_blocking(move || {
                let prepared = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| find.work(&stamp, known)));
                let result = prepared.unwrap_or_else(|_| {
                    let message =
                        "spec.content: compiling it ended with a fault of Mailfleet itself (see the log). Report it, with the template.";
                    Err(Problem::new(Reason::InvalidContent, message))
                });
                // A closed channel means that the process is going down.
                let _ = sender.send(Done { key, ticket, result });
            });
        }
    }
}

/// The template of an order that has none now, and is held.
pub(super) fn withdrawn() -> Arc<Template> {
    Arc::new(Template::withdrawn())
}

fn in_words(bytes: usize) -> String {
    if bytes < 1 << 20 { format!("{} KiB", bytes.div_ceil(1 << 10)) } else { format!("{} MiB", bytes.div_ceil(1 << 20)) }
}
