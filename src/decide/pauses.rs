//! Whether a server is paused because too much of what it took comes back: for which namespaces, and what follows. Pure.
//!
//! A pause is in the ledger before it has an effect: [`changes`] says what is to be recorded, and everything else follows from what is
//! recorded. So it outlives the process and every edit.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use jiff::{Timestamp, tz::TimeZone};

use super::{InLedger, ServerInput, ServerPast, World, grants};
use crate::{
    feedback::{Change, Judged, Pause, PauseChange, Standing},
    resources::{
        Blocker, Condition, ConditionStatus, ConditionType, Duration, Key, Percent, Rate, Reason, SendingServerSpec,
        bound::{grouped, rate_in_words, told},
        pause_when::EffectivePauseWhen,
        resume::ServerResume,
        sending_server::{CameBack, PausedNamespace},
    },
};

const DAY_MS: i64 = 86_400_000;
/// A namespace that sent this part of the messages from which on it is judged alone is judged where all together have too much.
const TELLING_PARTS: u64 = 10;
/// A server that is used again by itself is first given about as many messages an hour as are judged at least: in each window of this
/// length, seconds, so many of the hour's parts.
const SHARE_SECS: u64 = 10;
const FIRST_SHARE_PARTS: u64 = 3_600 / SHARE_SECS;
/// How often its share doubles, each time after as many messages as went before, until nothing limits it.
const DOUBLINGS: u32 = 5;

/// What is to be recorded of pauses now.
#[must_use]
pub fn changes(world: &World, now_ms: i64) -> Vec<PauseChange> {
    let mut users = None;
    world.servers.iter().flat_map(|(key, input)| of_server(key, input, world, &mut users, now_ms)).collect()
}

/// Who may use each server.
type Users<'a> = BTreeMap<Key, BTreeSet<&'a str>>;

fn of_server<'a>(key: &Key, input: &ServerInput, world: &'a World, users: &mut Option<Users<'a>>, now_ms: i64) -> Vec<PauseChange> {
    let change = |what| PauseChange { server: key.clone(), what };
    let standing = &input.past.standing;
    // A request without a pause is noted too, so that it ends none that comes later.
    let asked = input.past.resume.as_deref().and_then(|value| ServerResume::parse(value).ok());
    if let Some(ServerResume { token, namespace }) = asked.filter(|asked| !input.past.resume_handled.has(&asked.token)) {
        return vec![change(Change::Resumes { token, namespace })];
    }
    if standing.pauses.iter().any(|pause| pause.ends_at_ms.is_some_and(|at| at <= now_ms)) {
        return vec![change(Change::End)];
    }
    let Some(rule) = input.object.spec.pause_when().filter(|_| standing.whole().is_none()) else { return Vec::new() };
    let users = || users.get_or_insert_with(|| users_of(world)).get(key).cloned().unwrap_or_default();
    judge(key, standing, &rule, users, now_ms).into_iter().map(|pause| change(Change::Begins(pause))).collect()
}

/// The pauses that begin. A namespace with too much is paused as long as another one uses the server, the worst first. If too much of
/// what is left comes back all the same, those who brought most of it go first; if nobody stands out, the server is paused.
fn judge<'a>(
    key: &Key,
    standing: &Standing,
    rule: &EffectivePauseWhen,
    users: impl FnOnce() -> BTreeSet<&'a str>,
    now_ms: i64,
) -> Vec<Pause> {
    let mut open: BTreeMap<&str, Judged> = standing.results.iter().map(|(namespace, judged)| (&**namespace, *judged)).collect();
    open.retain(|namespace, _| standing.of_namespace(namespace).is_none());
    if worst(&open, rule).is_none() && excess(all(&open), rule, rule.after_messages).is_none() {
        return Vec::new();
    }
    let mut others: BTreeSet<String> = users().into_iter().chain(open.keys().copied()).map(str::to_owned).collect();
    others.retain(|namespace| standing.of_namespace(namespace).is_none());
    let mut begun = Vec::new();
    loop {
        let of_all = || excess(all(&open), rule, rule.after_messages);
        let one = worst(&open, rule).or_else(|| most(&open, of_all()?.reason, rule));
        let Some(Offender { excess: over, namespace, judged }) = one else {
            let rest = all(&open);
            begun.extend(of_all().map(|excess| pause(key, None, &excess, rest, rule, now_ms)));
            return begun;
        };
        others.remove(namespace);
        if others.is_empty() {
            begun.push(pause(key, None, &over, judged, rule, now_ms));
            return begun;
        }
        begun.push(pause(key, Some(namespace), &over, judged, rule, now_ms));
        open.remove(namespace);
    }
}

fn all(open: &BTreeMap<&str, Judged>) -> Judged {
    open.values().fold(Judged::default(), |sum, judged| sum.plus(*judged))
}

/// A namespace of whose messages too much came back.
struct Offender<'a> {
    excess: Excess,
    namespace: &'a str,
    judged: Judged,
}

/// Those of whom this finds too much.
fn offenders<'a>(open: &BTreeMap<&'a str, Judged>, excess: impl Fn(Judged) -> Option<Excess>) -> impl Iterator<Item = Offender<'a>> {
    open.iter().filter_map(move |(namespace, judged)| Some(Offender { excess: excess(*judged)?, namespace, judged: *judged }))
}

/// The namespace with the largest share, of those that sent enough to be judged alone.
fn worst<'a>(open: &BTreeMap<&'a str, Judged>, rule: &EffectivePauseWhen) -> Option<Offender<'a>> {
    offenders(open, |judged| excess(judged, rule, rule.after_messages)).max_by_key(|offender| offender.excess.times)
}

/// The namespace that brought most of what is too much of all, of those that sent a part of what is judged and have too much themselves.
fn most<'a>(open: &BTreeMap<&'a str, Judged>, reason: Reason, rule: &EffectivePauseWhen) -> Option<Offender<'a>> {
    let enough = (rule.after_messages / TELLING_PARTS).max(1);
    let brought = |judged: &Judged| if reason == Reason::ComplaintRateTooHigh { judged.complained } else { judged.failed() };
    offenders(open, |judged| excess_of(reason, judged, rule, enough)).max_by_key(|offender| brought(&offender.judged))
}

/// How much too much.
struct Excess {
    reason: Reason,
    share: Percent,
    /// How many times as much as allowed, in thousandths, to find the worst.
    times: u64,
}

/// What is too much of so many messages, if there are enough.
fn excess(judged: Judged, rule: &EffectivePauseWhen, enough: u64) -> Option<Excess> {
    [Reason::BounceRateTooHigh, Reason::ComplaintRateTooHigh].into_iter().find_map(|reason| excess_of(reason, judged, rule, enough))
}

fn excess_of(reason: Reason, judged: Judged, rule: &EffectivePauseWhen, enough: u64) -> Option<Excess> {
    let (limit, count, all) = if reason == Reason::ComplaintRateTooHigh {
        (rule.complaint_percent, judged.complained, judged.accepted)
    } else {
        (rule.bounce_percent, judged.failed(), judged.ended())
    };
    (judged.ended() >= enough && limit.is_exceeded(count, all)).then(|| {
        let share = Percent::share(count, all);
        Excess { reason, share, times: u64::from(share.thousandths()) * 1_000 / u64::from(limit.thousandths().max(1)) }
    })
}

/// A pause that begins now, in words: figures, what they mean, what to do.
fn pause(key: &Key, namespace: Option<&str>, excess: &Excess, judged: Judged, rule: &EffectivePauseWhen, now_ms: i64) -> Pause {
    let Judged { accepted, rejected, bounced, complained } = judged;
    let share = excess.share;
    let what = namespace.map_or_else(|| "it".to_owned(), |namespace| format!("namespace {namespace}"));
    let through = namespace.map_or_else(String::new, |_| format!(" through server {key}"));
    let whose = format!("what {what} sent{through} in {}", rule.window.in_words());
    let (figures, cure) = if excess.reason == Reason::BounceRateTooHigh {
        let figures = format!(
            "{share}% of {whose} came back ({} messages: {} rejected, {} bounced); feedback.pauseWhen.bouncePercent is {}.",
            grouped(judged.ended()),
            grouped(rejected),
            grouped(bounced),
            rule.bounce_percent
        );
        (figures, "Clean the audience that bounces (`mailfleet get runs -o wide` counts them)")
    } else {
        let figures = format!(
            "{share}% of {whose} was reported as spam ({} accepted, {} complaints); feedback.pauseWhen.complaintPercent is {}.",
            grouped(accepted),
            grouped(complained),
            rule.complaint_percent
        );
        (figures, "Check whether these people asked for it, and how they can unsubscribe")
    };
    let meaning = match namespace {
        None => "Nothing more is sent through it, because mailbox providers block servers that ignore this.".to_owned(),
        Some(namespace) => format!("Namespace {namespace} may no longer use this server, so that other namespaces still can."),
    };
    let only = namespace.map_or_else(String::new, |namespace| format!(" --for {namespace}"));
    let ends_at_ms = rule.resume_after.map(|after| now_ms.saturating_add(after.as_millis()));
    let by_itself = ends_at_ms.and_then(|at| Timestamp::from_millisecond(at - at.rem_euclid(1000)).ok());
    let by_itself = by_itself.map_or_else(String::new, |at| format!(" Otherwise it resumes automatically at {at}."));
    let command = format!("`mailfleet resume server/{}{only}`", key.as_arguments());
    // A customer reads this too, and cannot resume the operator's server.
    let resume = namespace.map_or_else(
        || format!("{command} resumes it; what came back before then no longer counts"),
        |namespace| format!("the server's operator can resume {namespace} with {command}; what came back before then no longer counts"),
    );
    let message = format!("{figures} {meaning} {cure}; {resume}.{by_itself}");
    Pause { namespace: namespace.map(Into::into), reason: excess.reason, message, ends_at_ms }
}

/// From when on the results of a server are needed, milliseconds, and from which UTC day on those of whole days, counted since 1970.
#[must_use]
pub fn asks_for(spec: &SendingServerSpec, now_ms: i64) -> (Option<i64>, Option<i64>) {
    let since_ms = spec.pause_when().map(|rule| now_ms - rule.window.as_millis());
    let first = spec.warmup.as_ref().and_then(|warmup| warmup.start_date.to_zoned(TimeZone::UTC).ok());
    (since_ms, first.map(|first| first.timestamp().as_millisecond().div_euclid(DAY_MS)))
}

/// The namespaces with a campaign that is not over and may be sent through each server.
fn users_of(world: &World) -> Users<'_> {
    let mut by_plan: BTreeMap<Key, BTreeSet<&str>> = BTreeMap::new();
    for (key, input) in world.campaigns.iter().filter(|(_, input)| input.in_ledger != InLedger::Closed) {
        by_plan.entry(input.object.spec.plan_ref.key(&key.namespace)).or_default().insert(&key.namespace);
    }
    let mut users = Users::new();
    for (plan_key, namespaces) in by_plan {
        let Some(plan) = world.plans.get(&plan_key).filter(|_| world.plan_counts(&plan_key)).map(|plan| &plan.object) else { continue };
        let namespaces: BTreeSet<&str> =
            namespaces.into_iter().filter(|namespace| grants::allows(plan, namespace, &world.namespaces)).collect();
        for server in grants::granted(&plan.spec, &plan_key.namespace, world).into_keys() {
            users.entry(server).or_default().extend(&namespaces);
        }
        if plan.spec.own_servers.is_some() {
            let own = world.servers.keys().filter(|server| namespaces.contains(&*server.namespace));
            for server in own {
                let namespace = namespaces.get(&*server.namespace).copied();
                users.entry(server.clone()).or_default().extend(namespace);
            }
        }
    }
    users
}

/// Why nothing is sent through a server that is paused.
pub(super) fn blocker(past: &ServerPast) -> Option<Blocker> {
    let pause = past.standing.whole()?;
    let fault = past.resume.as_deref().and_then(|value| ServerResume::parse(value).err());
    let message = fault.map_or_else(|| pause.message.clone(), |fault| format!("{} {fault}", pause.message));
    Some(if pause.ends_at_ms.is_some() { Blocker::passing(pause.reason, message) } else { Blocker::lasting(pause.reason, message) })
}

/// When a pause ends by itself, milliseconds.
pub(super) fn wake_at_ms(standing: &Standing) -> Option<i64> {
    standing.pauses.iter().filter_map(|pause| pause.ends_at_ms).min()
}

/// The condition that names the namespaces that are not sent through a server.
pub(super) fn condition(standing: &Standing) -> Option<Condition> {
    let paused: Vec<&Pause> = standing.pauses.iter().filter(|pause| pause.namespace.is_some()).collect();
    let first = paused.first()?;
    let message = told(paused.iter().map(|pause| pause.message.clone()), "namespaces");
    Some(Condition::new(ConditionType::NamespacePaused, ConditionStatus::True, first.reason, message))
}

/// The window that keeps the share of a server small that is used again without a person's word; `None` once it has done well for long
/// enough.
pub(super) fn first_share(standing: &Standing, spec: &SendingServerSpec, now_ms: i64) -> Option<Rate> {
    let returned = standing.returned?;
    let rule = spec.pause_when().unwrap_or_default();
    let doubled = (1 + returned.taken / rule.after_messages.max(1)).ilog2();
    let is_over = doubled >= DOUBLINGS || now_ms >= returned.at_ms.saturating_add(rule.window.as_millis());
    let messages = rule.after_messages.div_ceil(FIRST_SHARE_PARTS) << doubled.min(DOUBLINGS);
    (!is_over).then(|| Rate { messages, per: Duration::from_secs(SHARE_SECS) })
}

/// When the share of a server that came back is no longer small, whatever it did.
pub(super) fn share_ends_at_ms(standing: &Standing, spec: &SendingServerSpec) -> Option<i64> {
    let window = spec.pause_when().unwrap_or_default().window;
    Some(standing.returned?.at_ms.saturating_add(window.as_millis()))
}

/// What a status says of what came back.
#[allow(clippy::cast_precision_loss)]
pub(super) fn came_back(standing: &Standing, spec: &SendingServerSpec, share: Option<Rate>) -> Option<CameBack> {
    if spec.pause_when().is_none() && standing.pauses.is_empty() && share.is_none() {
        return None;
    }
    let judged = standing.of_all();
    let paused = standing.pauses.iter().filter_map(|pause| {
        Some(PausedNamespace {
            namespace: pause.namespace.as_deref()?.to_owned(),
            reason: pause.reason.as_str().to_owned(),
            message: pause.message.clone(),
        })
    });
    Some(CameBack {
        accepted: judged.accepted,
        rejected: judged.rejected,
        bounced: judged.bounced,
        complained: judged.complained,
        bounce_percent: share_of(judged.failed(), judged.ended()),
        complaint_percent: share_of(judged.complained, judged.accepted),
        paused: paused.collect(),
        share: share.map(|rate| rate_in_words(rate.messages as f64 / rate.per.std().as_secs_f64())),
    })
}

/// The share of none is none.
fn share_of(count: u64, all: u64) -> Percent {
    if count == 0 { Percent::of_thousandths(0) } else { Percent::share(count, all) }
}

/// The days, counted since 1970, that do not count for a warm-up: too much of them came back, or the server was paused on them.
pub(super) fn held_days(standing: &Standing, spec: &SendingServerSpec) -> BTreeSet<i64> {
    let rule = spec.pause_when().unwrap_or_default();
    let over = standing.days.iter().filter(|(_, judged)| excess(**judged, &rule, rule.after_messages).is_some()).map(|(day, _)| *day);
    over.chain(standing.paused_on.iter().copied()).collect()
}

/// The condition of a campaign whose namespace has these pauses.
pub(super) fn of_campaign<'a>(paused: impl Iterator<Item = &'a Pause>) -> Option<Condition> {
    let paused: Vec<&Pause> = paused.collect();
    let message = told(paused.iter().map(|pause| pause.message.clone()), "servers");
    Some(Condition::new(ConditionType::NamespacePaused, ConditionStatus::True, paused.first()?.reason, message))
}
