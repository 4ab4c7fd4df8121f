//! What limits allow a campaign: the least time that its rest takes, and the server that paces it while shares are strict. Pure.

use std::collections::BTreeMap;

use super::{
    super::{Observations, ServerDecision},
    candidates::Candidate,
    run::Run,
};
use crate::{
    hours::Hours,
    meta::bound::rate_in_words,
    resources::{
        Duration, Key, Rate,
        campaign::{CampaignState, Weighting},
    },
};

const DAY_SECS: f64 = 86_400.0;
const DAY_MS: i64 = 86_400_000;
/// How many days of a warm-up are looked at.
const DAYS_MAX: usize = 400;
/// How often the time within a day is halved, to find when the last message leaves: to a second.
const HALVINGS: u32 = 17;

/// A window of a server.
#[derive(Clone, Debug)]
struct Window {
    server: Key,
    /// The server's part of all messages while shares are strict.
    share: f64,
    /// Messages that may leave at once: those left in a window that does not pace.
    free: f64,
    /// Seconds for each further message.
    seconds: f64,
    kind: Kind,
}

/// The kinds of limits.
#[derive(Clone, Debug)]
enum Kind {
    /// A window of the spec, the vendor or the account.
    Window(Rate),
    /// The rate that the server was found to take.
    Found,
    /// The warm-up: its limits.
    Warmup { today: u64, ahead: Vec<u64> },
}

/// What a server may send while others take over from each other.
#[derive(Clone, Debug)]
struct Pooled {
    /// Messages that may leave at once, and messages per second afterwards; `None` without windows.
    windows: Option<(f64, f64)>,
    /// What warm-up leaves for today and allows on the days ahead, after which nothing limits; empty without it.
    days: Vec<f64>,
}

impl Pooled {
    /// The most that it may send within so many seconds of a day, counted from today.
    fn sends(&self, day: usize, secs: f64) -> f64 {
        let by_windows = self.windows.map_or(f64::INFINITY, |(free, rate)| if day == 0 { free } else { 0.0 } + rate * secs);
        self.days.get(day).map_or(by_windows, |limit| by_windows.min(*limit))
    }
}

/// What the limits of a campaign's servers and of its namespace allow.
#[derive(Clone, Debug, Default)]
pub(super) struct Limits {
    /// The windows of all servers that the campaign may be sent through now.
    windows: Vec<Window>,
    /// How many servers those are.
    servers: usize,
    /// What each of them may send where they take over from each other.
    pooled: Vec<Pooled>,
    /// What is left of today, UTC, seconds.
    today_secs: f64,
}

/// The server that the others wait for.
#[derive(Debug, PartialEq)]
pub(super) struct Pacing<'a> {
    pub server: &'a Key,
    /// Its limit, in words.
    pub limit: String,
    /// Its share in percent, one decimal.
    pub share_percent: String,
    /// What all servers send then, in words.
    pub in_all: String,
}

/// How fast a campaign gets on.
pub(super) struct Pace<'a> {
    /// The server that the others wait for.
    pub by: Option<Pacing<'a>>,
    /// About how long the rest takes; only while it sends.
    pub time_left: Option<Duration>,
}

impl<'a> Pace<'a> {
    /// The pace of a run with `left` recipients still to be sent to; `shared` are the windows of its namespace, and its own.
    pub fn of(
        run: &Run<'_>,
        left: Option<u64>,
        state: CampaignState,
        weighting: Weighting,
        limits: &'a Limits,
        (shared, hours): (&[Rate], Option<&Hours>),
        now_ms: i64,
    ) -> Self {
        let is_sent = matches!(state, CampaignState::Sending | CampaignState::Waiting);
        let by = (is_sent && weighting == Weighting::Strict).then(|| limits.pacing(left)).flatten();
        let per_second = run.opened.and_then(|report| report.per_second);
        let time_left = left.filter(|_| state == CampaignState::Sending).and_then(|left| {
            #[allow(clippy::cast_precision_loss)]
            let by_domains = run.opened.and_then(|report| report.gap_ms).map_or(0.0, |gap_ms| left as f64 * gap_ms / 1000.0);
            let by_limits = limits.least_secs(left, weighting).max(least_secs_of_shared(left, shared)).max(by_domains);
            #[allow(clippy::cast_precision_loss)]
            let by_rate = per_second.map(|rate| left as f64 / rate);
            let secs = by_rate.map_or(by_limits, |secs| secs.max(by_limits));
            let is_known = by_rate.is_some() || secs >= 1.0;
            let last_hours_ms = run.opened.and_then(|report| report.last_hours_ms);
            let by_hours = match (hours, last_hours_ms) {
                (Some(hours), _) if hours.zone_field.is_none() => secs_with_pauses(secs, hours, now_ms)?,
                (_, Some(last)) => secs.max(secs_between(now_ms, last)),
                _ => secs,
            };
            (is_known || by_hours >= 1.0).then(|| Duration::rough(by_hours))
        });
        Self { by, time_left }
    }
}

#[allow(clippy::cast_precision_loss)]
fn secs_between(from_ms: i64, to_ms: i64) -> f64 {
    to_ms.saturating_sub(from_ms).max(0) as f64 / 1000.0
}

/// How long it takes to send for this many seconds, with the times outside the sending hours; `None` where that is years.
#[allow(clippy::cast_possible_truncation)]
fn secs_with_pauses(secs: f64, hours: &Hours, now_ms: i64) -> Option<f64> {
    Some(secs_between(now_ms, hours.span.over_at(&hours.zone, now_ms, (secs * 1000.0) as i64)?))
}

/// The least time that the limits of the plan and of the campaign leave, seconds.
#[allow(clippy::cast_precision_loss)]
fn least_secs_of_shared(left: u64, rates: &[Rate]) -> f64 {
    let takes = |rate: &Rate| {
        let free = if rate.paces() { 0.0 } else { rate.messages as f64 };
        (left as f64 - free) * rate.per.std().as_secs_f64() / rate.messages as f64
    };
    rates.iter().map(takes).fold(0.0, f64::max)
}

#[allow(clippy::cast_precision_loss)]
impl Limits {
    /// The limits of those servers that may be used now.
    pub fn of(candidates: &[Candidate], servers: &BTreeMap<Key, ServerDecision>, observed: &Observations, now_ms: i64) -> Self {
        let is_used = |candidate: &&Candidate| {
            candidate.is_wanted() && candidate.unfit.is_none() && candidate.bar.is_none() && candidate.paused.is_none()
        };
        let used = || candidates.iter().filter(is_used).filter_map(|c| Some((c, servers.get(&c.key).filter(|server| server.routed)?)));
        let weights: f64 = used().map(|(candidate, _)| f64::from(candidate.weight)).sum();
        let today_secs = (DAY_MS - now_ms.rem_euclid(DAY_MS)) as f64 / 1000.0;
        let mut limits = Self { today_secs, ..Self::default() };
        for (candidate, server) in used() {
            let load = observed.report.servers.get(&candidate.key);
            let share = f64::from(candidate.weight) / weights;
            let window = |free, seconds, kind| Window { server: candidate.key.clone(), share, free, seconds, kind };
            let before = limits.windows.len();
            for rate in &server.status.effective.rates {
                let left = rate.messages.saturating_sub(load.map_or(0, |load| load.used_in(rate.per)));
                let free = if rate.paces() { 0.0 } else { left as f64 };
                limits.windows.push(window(free, rate.per.std().as_secs_f64() / rate.messages as f64, Kind::Window(*rate)));
            }
            limits.windows.extend(load.and_then(|load| load.slowed_to).map(|per_second| window(0.0, 1.0 / per_second, Kind::Found)));
            let of_server = limits.windows.get(before..).unwrap_or_default();
            let slowest = of_server.iter().max_by(|a, b| a.seconds.total_cmp(&b.seconds));
            let mut pooled = Pooled { windows: slowest.map(|slowest| (slowest.free, 1.0 / slowest.seconds)), days: Vec::new() };
            if let Some((warmup, limit)) = server.warmup.as_ref().and_then(|warmup| Some((warmup, warmup.limit()?))) {
                let left = load.and_then(|load| load.warmup_left).unwrap_or(limit) as f64;
                let ahead: Vec<u64> = warmup.ahead().take(DAYS_MAX).map(|day| day.limit).collect();
                pooled.days = std::iter::once(left).chain(ahead.iter().map(|limit| *limit as f64)).collect();
                limits.windows.push(window(left, DAY_SECS / limit.max(1) as f64, Kind::Warmup { today: limit, ahead }));
            }
            limits.pooled.push(pooled);
            limits.servers += 1;
        }
        limits
    }

    /// The least time that `left` messages take, seconds; 0 without limits.
    pub fn least_secs(&self, left: u64, weighting: Weighting) -> f64 {
        let left = left as f64;
        match weighting {
            Weighting::Strict => self.windows.iter().map(|window| window.takes(left)).fold(0.0, f64::max),
            Weighting::Overflow => self.pooled_secs(left),
        }
    }

    /// The same where servers take over from each other: day by day, since warm-up allows each day another number.
    fn pooled_secs(&self, mut left: f64) -> f64 {
        if self.pooled.is_empty() {
            return 0.0;
        }
        let mut before = 0.0;
        for day in 0..DAYS_MAX {
            let is_warm = self.pooled.iter().all(|server| server.days.len() <= day);
            let sends = |secs: f64| self.pooled.iter().map(|server| server.sends(day, secs)).sum::<f64>();
            if is_warm {
                // Nothing changes from day to day any more.
                let rate: f64 = self.pooled.iter().map(|server| server.windows.map_or(f64::INFINITY, |(_, rate)| rate)).sum();
                return before + if rate > 0.0 { ((left - sends(0.0)) / rate).max(0.0) } else { 0.0 };
            }
            if sends(0.0) >= left {
                return before;
            }
            let length = if day == 0 { self.today_secs } else { DAY_SECS };
            if sends(length) >= left {
                let (mut low, mut high) = (0.0, length);
                for _ in 0..HALVINGS {
                    let middle = f64::midpoint(low, high);
                    (low, high) = if sends(middle) >= left { (low, middle) } else { (middle, high) };
                }
                return before + high;
            }
            left -= sends(length);
            before += length;
        }
        before
    }

    /// The server that the others wait for while shares are strict: the one that takes longest for its share of `left` messages. Before
    /// their number is known, longer windows do not count.
    pub fn pacing(&self, left: Option<u64>) -> Option<Pacing<'_>> {
        if self.servers < 2 {
            return None;
        }
        let takes = |window: &Window| match left {
            Some(left) => window.takes(left as f64),
            None => match &window.kind {
                Kind::Window(rate) if !rate.paces() => 0.0,
                Kind::Window(_) | Kind::Found => window.share * window.seconds,
                Kind::Warmup { .. } => 0.0,
            },
        };
        let slowest = self.windows.iter().max_by(|a, b| takes(a).total_cmp(&takes(b))).filter(|window| takes(window) > 0.0)?;
        let limit = match &slowest.kind {
            Kind::Window(Rate { messages, per }) => format!("its limit is {messages} per {per}"),
            Kind::Found => format!("it accepts {}", rate_in_words(1.0 / slowest.seconds)),
            Kind::Warmup { today, .. } => format!("its warm-up allows {today} today (UTC)"),
        };
        Some(Pacing {
            server: &slowest.server,
            limit,
            share_percent: format!("{:.1}", slowest.share * 100.0),
            in_all: rate_in_words(1.0 / (slowest.seconds * slowest.share)),
        })
    }
}

impl Window {
    /// The least time for its part of `left` messages, seconds.
    fn takes(&self, left: f64) -> f64 {
        let mut rest = left * self.share - self.free;
        let Kind::Warmup { ahead, .. } = &self.kind else { return (rest * self.seconds).max(0.0) };
        let mut days = 0;
        for limit in ahead.iter().map(Some).chain([None]) {
            if rest <= 0.0 {
                break;
            }
            days += 1;
            // After the last of them nothing limits.
            #[allow(clippy::cast_precision_loss)]
            let limit = limit.map_or(f64::INFINITY, |limit| *limit as f64);
            rest -= limit;
        }
        f64::from(days) * DAY_SECS
    }
}
