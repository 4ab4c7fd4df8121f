//! What came back: events are matched to messages, counted once, and people are suppressed where they say so.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use super::{
    database::{Connection, Value, params},
    error::{Fault, LedgerError},
    mailed::{Concerned, person},
    rollouts, standing, suppressions,
    writer::Writer,
};
use crate::{
    audience::canonical,
    feedback::{Complaints, Event, EventKind, Judged, MessageIdentity, MessageReference, Person, Suppression},
    message::message_id,
    meta::bound::shortened,
    resources::fate::Fate,
};

/// The most characters of a detail that are kept.
const DETAIL_CHARS: usize = 250;
/// The latest runs of a server that a Message-ID is looked for in: mail comes back within days.
const RUNS_MAX: i64 = 1_000;
const HOUR_MS: i64 = 3_600_000;
/// How far in the future an event may say that it happened.
const AHEAD_MAX_MS: i64 = HOUR_MS;

/// What became of a batch of events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EventsReceipt {
    /// Events that were recorded for a message or a run.
    pub recorded: u64,
    /// Events that were there already.
    pub repeated: u64,
    /// Events that belong to no message of this ledger, or not to the server that told them.
    pub unmatched: u64,
    /// People who are suppressed from now on.
    pub suppressed: u64,
}

/// A message that an event is about.
#[derive(Clone)]
struct Found {
    run: i64,
    namespace: Arc<str>,
    topic: Option<Arc<str>>,
    partition: i64,
    seq: i64,
    person: String,
    server: Option<i64>,
    /// When the server accepted it, milliseconds; absent where it did not.
    accepted_at_ms: Option<i64>,
}

/// A run that was sent through a server.
struct SentRun {
    id: i64,
    namespace: Arc<str>,
    campaign: String,
    name: String,
    topic: Option<Arc<str>>,
    server: i64,
}

impl Writer {
    pub(super) fn complaints(&mut self, since_ms: i64) -> Result<BTreeMap<String, Complaints>, LedgerError> {
        self.book.read(|connection| complaints(connection, since_ms))
    }

    /// Records events, all or none. `concerned` has the namespaces for those that name no message.
    pub(super) fn record_events(&mut self, events: &[Event], concerned: &Concerned, now_ms: i64) -> Result<EventsReceipt, LedgerError> {
        let (ledger, seed) = (MessageReference::ledger_of(self.seed), self.seed);
        let (receipt, suppressed) = self.book.transaction(|connection| {
            let mut page = Page {
                connection,
                concerned,
                messages: messages(connection, events, ledger)?,
                sent: HashMap::new(),
                ledger,
                seed,
                now_ms,
                receipt: EventsReceipt::default(),
                suppressed: Vec::new(),
            };
            for event in events {
                page.record(event)?;
            }
            Ok((page.receipt, page.suppressed))
        })?;
        self.note_suppressed(suppressed.iter());
        Ok(receipt)
    }
}

/// A message that an event refers to.
struct Message {
    found: Found,
    fate: Option<Fate>,
    /// The server's name.
    server: Option<String>,
}

/// The row of a message: run, partition, number.
fn key(reference: MessageReference) -> [i64; 3] {
    [i64::from(reference.run), i64::from(reference.partition), i64::from(reference.seq)]
}

/// The messages that events refer to, of those that are there.
fn messages(connection: &Connection, events: &[Event], ledger: u32) -> Result<HashMap<[i64; 3], Message>, Fault> {
    let references = events.iter().filter_map(|event| match &event.message {
        MessageIdentity::Reference { reference, .. } if reference.ledger == ledger => Some(key(*reference)),
        _ => None,
    });
    let keys: BTreeSet<[i64; 3]> = references.collect();
    let found = connection.row_of_each(
        "SELECT r.namespace, r.topic, m.recipient, m.server_id, m.state, s.name, m.updated_at_ms, m.run_id, m.partition, m.seq
         FROM messages m JOIN runs r ON r.id = m.run_id LEFT JOIN servers s ON s.id = m.server_id
         WHERE m.run_id = ?1 AND m.partition = ?2 AND m.seq = ?3",
        keys.iter().map(|key| key.map(Value::Integer).to_vec()),
        |row| {
            let (state, at_ms): (i64, i64) = (row.get(4)?, row.get(6)?);
            let found = Found {
                run: row.get(7)?,
                namespace: row.get::<String>(0)?.into(),
                topic: row.get::<Option<String>>(1)?.map(Into::into),
                partition: row.get(8)?,
                seq: row.get(9)?,
                person: canonical(&row.get::<String>(2)?).into_owned(),
                server: row.get(3)?,
                accepted_at_ms: (state == Fate::Accepted.number()).then_some(at_ms),
            };
            Ok(Message { found, fate: Fate::from_number(state), server: row.get(5)? })
        },
    )?;
    Ok(keys.into_iter().zip(found).filter_map(|(key, found)| Some((key, found?))).collect())
}

/// A batch of events while it is being written.
struct Page<'a> {
    connection: &'a Connection,
    /// In which namespaces people are left out of whom an event without a message came.
    concerned: &'a Concerned,
    /// The messages that events refer to.
    messages: HashMap<[i64; 3], Message>,
    /// What servers have sent, of those that were asked for.
    sent: HashMap<String, Arc<[SentRun]>>,
    ledger: u32,
    seed: u64,
    now_ms: i64,
    receipt: EventsReceipt,
    suppressed: Vec<Suppression>,
}

impl Page<'_> {
    fn record(&mut self, event: &Event) -> Result<(), Fault> {
        match &event.message {
            MessageIdentity::Reference { reference, server } => {
                let server = server.as_ref().map(ToString::to_string);
                match self.message(*reference, server.as_deref()) {
                    Some(found) => self.of_message(event, &found),
                    None => self.unmatched(),
                }
            }
            MessageIdentity::Subscription { namespace, topic, run } => {
                let Some(person) = person(event) else { return self.unmatched() };
                if let Some((run, ledger)) = *run
                    && ledger == self.ledger
                    && self.is_run_of(run, namespace)?
                {
                    self.insert(event, i64::from(run), (0, 0), &person, None)?;
                }
                self.suppress(event, namespace, topic.clone(), &person)
            }
            MessageIdentity::MessageId { server, id } => self.of_message_id(event, &server.to_string(), id),
            MessageIdentity::VendorId { server, .. } | MessageIdentity::Recipient { server } => {
                let (Some(person), true) = (person(event), event.kind.suppresses().is_some()) else { return self.unmatched() };
                for namespace in self.concerned.get(&(server.clone(), person.clone())).into_iter().flatten() {
                    self.suppress(event, namespace, None, &person)?;
                }
                Ok(())
            }
        }
    }

    /// A mail can be written by anybody, and a mailbox takes it. So what names a Message-ID is believed only where that is the one
    /// which a run that was sent through the server gave this recipient: nobody else can know it.
    fn of_message_id(&mut self, event: &Event, server: &str, id: &str) -> Result<(), Fault> {
        let (Some(person), Some((_, domain))) = (person(event), id.rsplit_once('@')) else { return self.unmatched() };
        let address = event.recipient.as_deref().unwrap_or_default();
        let runs = self.runs_of(server)?;
        let Some(run) = runs.iter().find(|run| {
            [address, &person].iter().any(|who| message_id(self.seed, &run.namespace, &run.campaign, &run.name, who, domain) == id)
        }) else {
            return self.unmatched();
        };
        if self.insert(event, run.id, (0, 0), &person, Some(run.server))? {
            self.note_result(event.kind, run.server, &run.namespace, self.now_ms)?;
        }
        let topic = if event.kind == EventKind::Unsubscribed { run.topic.clone() } else { None };
        self.suppress(event, &run.namespace, topic, &person)
    }

    /// The latest runs that a server has sent, the newest first.
    fn runs_of(&mut self, server: &str) -> Result<Arc<[SentRun]>, Fault> {
        if let Some(runs) = self.sent.get(server) {
            return Ok(runs.clone());
        }
        let mut statement = self.connection.prepare(
            "SELECT DISTINCT r.id, r.namespace, r.campaign, r.run, r.topic, s.id FROM servers s
             JOIN counts c ON c.server_id = s.id JOIN runs r ON r.id = c.run_id WHERE s.name = ?1 ORDER BY r.id DESC LIMIT ?2",
        )?;
        let runs: Vec<SentRun> = statement.all(params![server, RUNS_MAX], |row| {
            Ok(SentRun {
                id: row.get(0)?,
                namespace: row.get::<String>(1)?.into(),
                campaign: row.get(2)?,
                name: row.get(3)?,
                topic: row.get::<Option<String>>(4)?.map(Into::into),
                server: row.get(5)?,
            })
        })?;
        let runs: Arc<[SentRun]> = runs.into();
        self.sent.insert(server.to_owned(), runs.clone());
        Ok(runs)
    }

    fn unmatched(&mut self) -> Result<(), Fault> {
        self.receipt.unmatched += 1;
        Ok(())
    }

    /// The message of a reference, if it may have left, and by this server.
    fn message(&self, reference: MessageReference, server: Option<&str>) -> Option<Found> {
        let Message { found, fate, server: name } = self.messages.get(&key(reference)).filter(|_| reference.ledger == self.ledger)?;
        let may_have_left = !matches!(fate, None | Some(Fate::RenderFailed | Fate::Withdrawn | Fate::Suppressed));
        let is_its = server.is_none_or(|server| name.as_deref() == Some(server));
        (may_have_left && is_its).then(|| found.clone())
    }

    fn is_run_of(&self, run: u32, namespace: &str) -> Result<bool, Fault> {
        self.connection.value("SELECT EXISTS (SELECT 1 FROM runs WHERE id = ?1 AND namespace = ?2)", params![run, namespace])
    }

    fn of_message(&mut self, event: &Event, found: &Found) -> Result<(), Fault> {
        let is_new = self.insert(event, found.run, (found.partition, found.seq), "", found.server)?;
        if let (true, Some(server), Some(at_ms)) = (is_new, found.server, found.accepted_at_ms) {
            self.note_result(event.kind, server, &found.namespace, at_ms)?;
        }
        if event.kind.suppresses().is_some() {
            // Whoever leaves one list does not leave the others.
            let topic = if event.kind == EventKind::Unsubscribed { found.topic.clone() } else { None };
            self.suppress(event, &found.namespace, topic, &found.person)?;
        }
        Ok(())
    }

    /// Holds a bounce or a complaint against the server, at the time at which it took the message.
    fn note_result(&self, kind: EventKind, server: i64, namespace: &str, at_ms: i64) -> Result<(), Fault> {
        let judged = match kind {
            EventKind::HardBounce => Judged { bounced: 1, ..Judged::default() },
            EventKind::Complaint => Judged { complained: 1, ..Judged::default() },
            EventKind::Delivered | EventKind::SoftBounce | EventKind::Unsubscribed => return Ok(()),
        };
        standing::note(self.connection, server, namespace, judged, at_ms)
    }

    /// Writes an event and counts it, unless one of its kind is there; returns whether it is new.
    fn insert(&mut self, event: &Event, run: i64, row: (i64, i64), person: &str, server: Option<i64>) -> Result<bool, Fault> {
        let at_ms = self.at_ms(event);
        let mut statement = self.connection.prepare(
            "INSERT INTO events (run_id, partition, seq, kind, person, server_id, at_ms, source, detail)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9) ON CONFLICT DO NOTHING",
        )?;
        let detail = shortened(&event.detail, DETAIL_CHARS);
        let kind = event.kind.number();
        if statement.execute(params![run, row.0, row.1, kind, person, server, at_ms, event.source.as_ref(), detail])? == 0 {
            self.receipt.repeated += 1;
            return Ok(false);
        }
        self.receipt.recorded += 1;
        let column = match event.kind {
            EventKind::Delivered => "UPDATE runs SET delivered = delivered + 1 WHERE id = ?1",
            EventKind::SoftBounce => "UPDATE runs SET soft_bounced = soft_bounced + 1 WHERE id = ?1",
            EventKind::HardBounce => "UPDATE runs SET bounced = bounced + 1 WHERE id = ?1",
            EventKind::Complaint => "UPDATE runs SET complained = complained + 1 WHERE id = ?1",
            EventKind::Unsubscribed => "UPDATE runs SET unsubscribed = unsubscribed + 1 WHERE id = ?1",
        };
        self.connection.post(column, [run])?;
        if matches!(event.kind, EventKind::HardBounce | EventKind::Complaint) {
            rollouts::count(self.connection, run, row.1, event.kind == EventKind::HardBounce)?;
        }
        self.connection.post(
            "INSERT INTO feedback (hour, run_id, server_id, kind, count) VALUES (?1, ?2, ?3, ?4, 1)
             ON CONFLICT (hour, run_id, server_id, kind) DO UPDATE SET count = feedback.count + 1",
            [self.now_ms.div_euclid(HOUR_MS), run, server.unwrap_or(0), kind],
        )?;
        Ok(true)
    }

    fn suppress(&mut self, event: &Event, namespace: &Arc<str>, topic: Option<Arc<str>>, person: &str) -> Result<(), Fault> {
        let Some(reason) = event.kind.suppresses() else { return Ok(()) };
        let suppression = Suppression {
            namespace: namespace.clone(),
            person: Person::Address(person.to_owned()),
            topic,
            reason,
            at_ms: self.at_ms(event),
            source: event.source.clone(),
            detail: event.detail.clone(),
        };
        if suppressions::add(self.connection, &suppression)? {
            self.receipt.suppressed += 1;
            self.suppressed.push(suppression);
        }
        Ok(())
    }

    /// When it happened, as far as that can be believed.
    fn at_ms(&self, event: &Event) -> i64 {
        event.at_ms.filter(|at| (0..=self.now_ms + AHEAD_MAX_MS).contains(at)).unwrap_or(self.now_ms)
    }
}

/// What was reported as spam, and how much was accepted, by the namespace of runs that are open or were closed since.
pub(super) fn complaints(connection: &Connection, since_ms: i64) -> Result<BTreeMap<String, Complaints>, Fault> {
    let mut statement = connection.prepare(
        "SELECT r.namespace, CAST(sum(r.complained) AS BIGINT),
            CAST(coalesce(sum((SELECT sum(c.count) FROM counts c WHERE c.run_id = r.id AND c.state = ?2)), 0) AS BIGINT)
         FROM runs r WHERE r.closed_at_ms IS NULL OR r.closed_at_ms >= ?1 GROUP BY r.namespace",
    )?;
    statement.all([since_ms, Fate::Accepted.number()], |row| {
        Ok((row.get(0)?, Complaints { complained: row.count(1)?, accepted: row.count(2)? }))
    })
}
