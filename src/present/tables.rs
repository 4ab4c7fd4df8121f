//! The tables that people and scripts see: their rows, typed, and their columns.

use serde::Serialize;
use serde_json::Value;

use super::Table;
use crate::{
    feedback::{FeedbackCounts, Suppression},
    ledger::{BadRow, Checked, Known, RecipientRow, RunSummary, TableSize},
    meta::bound::{grouped, listed},
    resources::{
        Condition, ConditionType, Duration,
        campaign::CampaignStatus,
        condition,
        fate::Fate,
        plan::{PlanServerStatus, PlanStatus},
        sending_server::{CameBack, DomainUsed, PausedNamespace, SendingServerStatus, WarmupStatus},
        server_table::CampaignServerStatus,
    },
};

/// An object as its status file holds it, without its spec.
#[derive(Debug)]
pub struct Shown<S> {
    pub namespace: String,
    pub name: String,
    pub status: S,
}

/// What the statuses of all kinds have.
pub trait Conditions {
    fn conditions(&self) -> &[Condition];

    /// The sentences that stand in its other tables, and may be part of a condition's message.
    fn sentences(&self) -> impl Iterator<Item = &str> {
        std::iter::empty()
    }
}

impl Conditions for SendingServerStatus {
    fn conditions(&self) -> &[Condition] {
        &self.conditions
    }
}

impl Conditions for PlanStatus {
    fn conditions(&self) -> &[Condition] {
        &self.conditions
    }
}

impl Conditions for CampaignStatus {
    fn conditions(&self) -> &[Condition] {
        &self.conditions
    }

    fn sentences(&self) -> impl Iterator<Item = &str> {
        self.servers.shared_rows().iter().map(|row| &*row.why_not).map(|why| why.strip_prefix("Inactive: ").unwrap_or(why))
    }
}

fn named<S>() -> Table<Shown<S>> {
    Table::empty()
        .column("namespace", "namespace", |row: &Shown<S>| row.namespace.clone())
        .folds()
        .column("name", "name", |row: &Shown<S>| row.name.clone())
        .folds()
}

/// Adds reason and message of the condition Ready.
fn with_ready<S: Conditions>(table: Table<Shown<S>>) -> Table<Shown<S>> {
    let ready = |row: &Shown<S>| condition::find(row.status.conditions(), ConditionType::Ready).cloned();
    table
        .column("reason", "reason", move |row| ready(row).map(|ready| word(ready.reason)))
        .spare(1)
        .wide("message", "message", move |row| ready(row).map(|ready| ready.message.into_owned()))
        .wraps()
}

/// Days ahead that the list of servers shows.
const AHEAD_SHOWN: usize = 5;

/// What was compared in a ledger.
pub fn checked() -> Table<Checked> {
    Table::empty()
        .column("check", "checked", |row: &Checked| row.what)
        .folds()
        .column("wrong", "wrong", |row| row.wrong)
        .column("example", "the first", |row| row.example.clone())
        .wraps()
        .column("then", "what then", |row| (row.wrong > 0).then_some(row.then))
        .wraps()
}

/// The tables of a ledger.
pub fn sizes() -> Table<TableSize> {
    Table::empty().column("table", "table", |row: &TableSize| row.table).column("rows", "rows", |row| row.rows).column(
        "bytes",
        "bytes",
        |row| row.bytes,
    )
}

/// `12.5 MB`
pub fn room(bytes: u64) -> String {
    match bytes {
        0..1_000_000 => format!("{} kB", bytes.div_ceil(1000)),
        1_000_000..1_000_000_000 => format!("{}.{} MB", bytes / 1_000_000, bytes / 100_000 % 10),
        _ => format!("{}.{} GB", grouped(bytes / 1_000_000_000), bytes / 100_000_000 % 10),
    }
}

pub fn servers() -> Table<Shown<SendingServerStatus>> {
    let table = named()
        .column("type", "type", |row: &Shown<SendingServerStatus>| row.status.provider.clone())
        .spare(2)
        .column("state", "state", |row| word(row.status.state))
        .wide("cameBack", "came back", |row| row.status.came_back.as_ref().map(came_back))
        .column("pausedFor", "paused for", |row| row.status.came_back.as_ref().and_then(paused_for))
        .wide("warmup", "warm-up today", |row| row.status.warmup.as_ref().map(warmup_today))
        .wide("ahead", "days ahead", |row| row.status.warmup.as_ref().map(days_ahead));
    with_ready(table)
}

/// `1.2% of 5,000 bounced, 0.01% complained`
fn came_back(back: &CameBack) -> String {
    let CameBack { bounce_percent, complaint_percent, share, .. } = back;
    let share = share.as_ref().map_or_else(String::new, |share| format!("; {share} for now"));
    let sent = grouped(back.accepted + back.rejected);
    format!("{bounce_percent}% of {sent} bounced, {complaint_percent}% complained{share}")
}

/// The namespaces that are not sent through a server.
fn paused_for(back: &CameBack) -> Option<String> {
    let names: Vec<&str> = back.paused.iter().map(|paused| &*paused.namespace).collect();
    (!names.is_empty()).then(|| listed(names))
}

/// Namespaces that are not sent through a server.
pub fn paused() -> Table<PausedNamespace> {
    Table::empty()
        .column("namespace", "paused namespace", |row: &PausedNamespace| row.namespace.clone())
        .column("reason", "reason", |row| row.reason.clone())
        .column("message", "message", |row| row.message.clone())
        .wraps()
}

/// `120/400, day 3 of 14`
fn warmup_today(warmup: &WarmupStatus) -> String {
    format!("{}/{}, day {} of {}", warmup.used.unwrap_or(0), warmup.limit, warmup.step, warmup.steps)
}

/// `800, 1600, 3200, …`, or when it is over.
fn days_ahead(warmup: &WarmupStatus) -> String {
    let shown: Vec<String> = warmup.ahead.iter().take(AHEAD_SHOWN).map(|day| day.limit.to_string()).collect();
    let end = if warmup.ahead.len() > AHEAD_SHOWN { "…".to_owned() } else { format!("none from {}", warmup.over_on) };
    shown.into_iter().chain([end]).collect::<Vec<_>>().join(", ")
}

/// A day of a server's warm-up.
pub struct WarmupRow {
    step: u32,
    day: String,
    limit: u64,
    note: String,
}

/// Today and the days ahead of a warm-up.
pub fn warmup_rows(warmup: &WarmupStatus) -> Vec<WarmupRow> {
    let not_counted = match warmup.days_not_counted {
        0 => String::new(),
        1 => "; 1 day did not count".to_owned(),
        days => format!("; {days} days did not count"),
    };
    let note = format!("{} sent; counts from {}{not_counted}", warmup.used.unwrap_or(0), warmup.needed);
    let today = WarmupRow { step: warmup.step, day: "today".to_owned(), limit: warmup.limit, note };
    let ahead = (warmup.step + 1..).zip(&warmup.ahead);
    let ahead = ahead.map(|(step, day)| WarmupRow { step, day: day.day.to_string(), limit: day.limit, note: String::new() });
    std::iter::once(today).chain(ahead).collect()
}

/// The schedule of a warm-up; each day ahead comes a day later for each day that does not count.
pub fn warmup() -> Table<WarmupRow> {
    Table::empty()
        .column("step", "warm-up day", |row: &WarmupRow| row.step)
        .column("day", "on (UTC)", |row| row.day.clone())
        .column("limit", "limit", |row| row.limit)
        .column("note", "note", |row| row.note.clone())
}

/// A server's limits for receiving domains.
pub fn domains() -> Table<DomainUsed> {
    Table::empty()
        .column("domains", "receiving domains", |row: &DomainUsed| row.domains.join(", "))
        .column("used", "used", |row| row.used.clone())
}

pub fn plans() -> Table<Shown<PlanStatus>> {
    with_ready(
        named()
            .column("active", "active", |row: &Shown<PlanStatus>| row.status.servers_active)
            .column("granted", "granted", |row| row.status.servers_granted)
            .column("campaigns", "campaigns", |row| row.status.campaigns)
            .spare(2),
    )
}

pub fn campaigns() -> Table<Shown<CampaignStatus>> {
    let of = |fate| move |row: &Shown<CampaignStatus>| row.status.recipients.of(fate);
    let table = named()
        .column("state", "state", |row: &Shown<CampaignStatus>| word(row.status.state))
        .column("sent", "sent", |row| amounts(&row.status.sent))
        .column("failed", "failed", |row| row.status.failed)
        .quiet()
        .spare(2)
        .column("timeLeft", "left", |row| row.status.time_left.map(Duration::in_words))
        .spare(3)
        .wide("run", "run", |row| row.status.run.clone())
        .folds()
        .wide("rollout", "rollout", |row| row.status.rollout.as_ref().map(|rollout| rollout.progress.clone()))
        .wide("accepted", "accepted", of(Fate::Accepted))
        .wide("total", "total", |row| row.status.recipients.total);
    // In motion, and soon another.
    let others = Fate::ALL.into_iter().filter(|fate| !matches!(fate, Fate::Accepted | Fate::Claimed));
    let table = others.fold(table, |table, fate| table.wide(fate.key(), heading(fate), of(fate)).quiet());
    with_ready(with_feedback(table, |row| row.status.feedback))
}

/// `1200/~20000` for people: `1,200/~20,000`.
fn amounts(text: &str) -> String {
    let part = |part: &str| {
        let digits = part.trim_start_matches('~');
        digits.parse().map_or_else(|_| part.to_owned(), |number: u64| part.replace(digits, &grouped(number)))
    };
    text.split('/').map(part).collect::<Vec<_>>().join("/")
}

/// Adds what came back.
fn with_feedback<R: 'static>(table: Table<R>, of: impl Fn(&R) -> FeedbackCounts + Copy + 'static) -> Table<R> {
    table
        .wide("delivered", "delivered", move |row| of(row).delivered)
        .quiet()
        .wide("softBounced", "soft bounced", move |row| of(row).soft_bounced)
        .quiet()
        .wide("bounced", "bounced", move |row| of(row).bounced)
        .quiet()
        .wide("complained", "complained", move |row| of(row).complained)
        .quiet()
        .wide("unsubscribed", "unsubscribed", move |row| of(row).unsubscribed)
        .quiet()
}

/// `render failed`
fn heading(fate: Fate) -> String {
    fate.field().replace('_', " ")
}

/// A word as it is written in YAML.
fn word(value: impl Serialize) -> Value {
    serde_json::to_value(value).unwrap_or_default()
}

/// Why each server was or was not picked for a campaign.
pub fn picks() -> Table<CampaignServerStatus> {
    Table::empty()
        .column("server", "server", |row: &CampaignServerStatus| row.server.to_string())
        .folds()
        // Which of these four is not met is in the last column too.
        .column("granted", "granted", |row| row.granted)
        .spare(7)
        .column("chosen", "chosen", |row| row.chosen)
        .spare(6)
        .column("enabled", "enabled", |row| row.enabled)
        .spare(5)
        .column("active", "active", |row| row.active)
        .spare(1)
        .column("weight", "weight", |row| row.weight)
        .spare(3)
        .column("sharePercent", "share", |row| format!("{}%", row.share_percent))
        .spare(2)
        .column("limitLeft", "limit left", |row| row.limit_left)
        .spare(4)
        .column("warmupLeft", "warm-up left", |row| row.warmup_left)
        .spare(4)
        .column("accepted", "accepted", |row| row.accepted)
        .column("whyNot", "why not", |row| row.why_not.to_string())
        .wraps()
}

/// The servers that a plan grants.
pub fn grants() -> Table<PlanServerStatus> {
    Table::empty()
        .column("name", "server", |row: &PlanServerStatus| row.name.clone())
        .folds()
        .column("weight", "weight", |row| row.weight)
        .column("state", "state", |row| row.state.clone())
}

/// The conditions of an object.
pub fn conditions() -> Table<Condition> {
    Table::empty()
        .column("type", "condition", |row: &Condition| word(row.kind))
        .column("status", "status", |row| word(row.status))
        .column("reason", "reason", |row| word(row.reason))
        .column("message", "message", |row| row.message.to_string())
        .wraps()
}

/// Runs in the ledger, with their counts.
pub fn runs() -> Table<RunSummary> {
    let of = |fate| move |row: &RunSummary| row.counts.fates[fate];
    let table = Table::empty()
        .column("namespace", "namespace", |row: &RunSummary| row.record.key.namespace.clone())
        .folds()
        .column("campaign", "campaign", |row| row.record.key.campaign.clone())
        .folds()
        .column("run", "run", |row| row.record.key.run.clone())
        .folds()
        .column("state", "state", |row| if row.record.closed_at_ms.is_some() { "Completed" } else { "Open" })
        .column("total", "total", |row| row.record.total);
    let table =
        Fate::ALL.into_iter().fold(table, |table, fate| table.column(fate.key(), heading(fate), of(fate)).quiet().spare(rank(fate)));
    with_feedback(table, |row: &RunSummary| row.record.feedback)
        .column("resent", "resent", |row| row.counts.resent)
        .quiet()
        .spare(7)
        .column("duplicates", "duplicates", |row| row.record.duplicates)
        .quiet()
        .spare(9)
        .column("excluded", "excluded", |row| row.record.excluded)
        .quiet()
        .spare(9)
        .column("badRows", "bad rows", |row| row.record.bad_rows)
        .quiet()
        .spare(2)
        .wide("startedAt", "started", |row| time(Some(row.record.started_at_ms)))
        .wide("completedAt", "completed", |row| time(row.record.closed_at_ms))
}

/// How readily the count of a fate is left out: what nobody has to look after goes first.
const fn rank(fate: Fate) -> u8 {
    match fate {
        Fate::Accepted => 0,
        Fate::Rejected | Fate::Unknown => 1,
        Fate::RenderFailed | Fate::Held => 2,
        Fate::Expired => 3,
        Fate::Deferred => 4,
        Fate::Claimed => 6,
        Fate::Suppressed => 5,
        Fate::Withdrawn => 8,
    }
}

/// The recipients of a run. As JSON Lines they are an audience.
pub fn recipients() -> Table<RecipientRow> {
    Table::empty()
        .column("email", "recipient", |row: &RecipientRow| row.recipient.clone())
        .folds()
        .column("state", "state", |row| row.fate.as_str())
        .column("attempts", "attempts", attempts)
        .spare(2)
        .column("server", "server", |row| row.server.clone())
        .folds()
        .spare(1)
        .column("time", "time", |row| time(Some(row.updated_at_ms)))
        .spare(3)
        .wide("nextAttempt", "next attempt", |row| time(row.next_attempt_at_ms))
        .wide("resent", "resent", |row| row.resent)
        .column("reply", "reply", |row| row.reply.clone())
        .wraps()
}

/// How often it was handed to a server that answered. A refusal that may be the server's fault does not count until that is known, so
/// that nobody loses an attempt by it; a message that is held had it all the same.
fn attempts(row: &RecipientRow) -> u32 {
    row.attempt + u32::from(row.fate == Fate::Held)
}

/// Who is not mailed.
pub fn suppressions() -> Table<Suppression> {
    Table::empty()
        .column("email", "person", |row: &Suppression| row.person.to_string())
        .folds()
        .column("namespace", "namespace", |row| row.namespace.to_string())
        .folds()
        .spare(1)
        .column("topic", "topic", |row| row.topic.as_deref().map(str::to_owned))
        .column("reason", "reason", |row| row.reason.as_str())
        .column("time", "since", |row| time(Some(row.at_ms)))
        .spare(3)
        .column("source", "source", |row| row.source.to_string())
        .folds()
        .spare(2)
        .wide("detail", "detail", |row| row.detail.clone())
        .wraps()
}

/// What is known of one person.
pub fn known() -> Table<Known> {
    let at = |row: &Known| match row {
        Known::Message { message, .. } => message.updated_at_ms,
        Known::Event { event, .. } => event.at_ms,
        Known::Suppression(suppression) => suppression.at_ms,
    };
    Table::empty()
        .column("time", "time", move |row: &Known| time(Some(at(row))))
        .spare(4)
        .column("namespace", "namespace", |row| match row {
            Known::Message { run: key, .. } | Known::Event { run: key, .. } => key.namespace.clone(),
            Known::Suppression(suppression) => suppression.namespace.to_string(),
        })
        .folds()
        .spare(3)
        .column("campaign", "campaign", |row| match row {
            Known::Message { run: key, .. } | Known::Event { run: key, .. } => Value::from(key.campaign.clone()),
            Known::Suppression(_) => Value::Null,
        })
        .folds()
        .column("run", "run", |row| match row {
            Known::Message { run: key, .. } | Known::Event { run: key, .. } => Value::from(key.run.clone()),
            Known::Suppression(_) => Value::Null,
        })
        .spare(2)
        .column("what", "what", |row| match row {
            Known::Message { message, .. } => message.fate.as_str().to_owned(),
            Known::Event { event, .. } => event.kind.to_string(),
            Known::Suppression(suppression) => match &suppression.topic {
                Some(topic) => format!("not mailed on topic {topic}: {}", suppression.reason),
                None => format!("not mailed: {}", suppression.reason),
            },
        })
        .wraps()
        .column("by", "by", |row| match row {
            Known::Message { message, .. } => message.server.clone().map_or(Value::Null, Value::from),
            Known::Event { event, .. } => Value::from(event.source.clone()),
            Known::Suppression(suppression) => Value::from(suppression.source.to_string()),
        })
        .folds()
        .spare(1)
        .wide("attempts", "attempts", |row| match row {
            Known::Message { message, .. } => Value::from(message.attempt),
            _ => Value::Null,
        })
        .column("detail", "detail", |row| match row {
            Known::Message { message, .. } => message.reply.clone().map_or(Value::Null, Value::from),
            Known::Event { event, .. } => Value::from(event.detail.clone()),
            Known::Suppression(suppression) => Value::from(suppression.detail.clone()),
        })
        .wraps()
}

/// The rows of an audience that could not be used.
pub fn bad_rows() -> Table<BadRow> {
    Table::empty().column("line", "line", |row: &BadRow| row.line).names().column("problem", "problem", |row| row.what.clone()).wraps()
}

/// A time in RFC 3339, of milliseconds since 1970.
fn time(ms: Option<i64>) -> Value {
    ms.and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok()).map_or(Value::Null, |time| time.to_string().into())
}
