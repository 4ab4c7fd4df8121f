//! Progress of a run: a live picture on a terminal, plain lines elsewhere.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    io::{IsTerminal as _, Write as _},
    time::{Duration, Instant},
};

use tokio::sync::watch;

use crate::{
    decide::{CampaignDecision, ServerDecision},
    engine::View,
    resources::{ConditionType, Key, Reason, campaign::CampaignState, condition, fate::Fate, sending_server::ServerState},
};

/// The interval between pictures on a terminal.
const PICTURE_EVERY: Duration = Duration::from_millis(250);
/// The interval between plain lines about the same campaign.
const LINE_EVERY: Duration = Duration::from_secs(5);
/// From how many recipients on the size of the audience is estimated.
const ESTIMATE_FROM: u64 = 20_000;
/// The window of the rate.
const RATE_OVER: Duration = Duration::from_secs(5);

/// Shows progress until the engine ends.
pub async fn show(mut views: watch::Receiver<View>) {
    let mut progress = Progress { terminal: std::io::stderr().is_terminal(), ..Progress::default() };
    let mut ended = tokio::time::timeout(PICTURE_EVERY, views.changed()).await.is_ok_and(|changed| changed.is_err());
    loop {
        let view = views.borrow_and_update().clone();
        progress.show(&view, ended);
        if ended {
            return;
        }
        // The last picture is drawn at once.
        ended = tokio::time::timeout(PICTURE_EVERY, closed(&mut views)).await.is_ok();
    }
}

async fn closed(views: &mut watch::Receiver<View>) {
    while views.changed().await.is_ok() {}
}

#[derive(Default)]
struct Progress {
    terminal: bool,
    lines_up: usize,
    servers: BTreeMap<Key, (ServerState, String)>,
    campaigns: BTreeMap<Key, Shown>,
    last_lines: BTreeMap<Key, String>,
}

/// What was last shown of a campaign.
struct Shown {
    state: CampaignState,
    message: String,
    line_at: Instant,
    /// Numbers of recipients with a final outcome, with their times, oldest first.
    samples: Vec<(Instant, u64)>,
}

impl Progress {
    fn show(&mut self, view: &View, ended: bool) {
        let mut out = String::new();
        let mut picture = String::new();
        let _ = write!(out, "{}", self.server_lines(view));
        for (key, campaign) in &view.decision.campaigns {
            let rate = self.rate(key, campaign);
            let line = campaign_line(key, campaign, view, rate);
            let shown = self.campaigns.get_mut(key);
            let message = ready_message(campaign);
            let fresh = shown.as_ref().is_none_or(|shown| shown.state != campaign.status.state || shown.message != message);
            let due = shown.as_ref().is_some_and(|shown| shown.line_at.elapsed() >= LINE_EVERY)
                && campaign.status.state == CampaignState::Sending;
            if self.terminal {
                let _ = writeln!(picture, "{line}");
                let _ = write!(picture, "{}", share_lines(campaign));
            } else if (fresh || due || ended) && self.last_lines.get(key) != Some(&line) && campaign_is_judged(campaign) {
                let _ = writeln!(out, "{line}");
                self.last_lines.insert(key.clone(), line);
            }
            if let Some(shown) = shown
                && (fresh || due)
            {
                shown.state = campaign.status.state;
                shown.message = message;
                shown.line_at = Instant::now();
            }
        }
        let mut stderr = std::io::stderr().lock();
        if self.terminal {
            if self.lines_up > 0 {
                // Moves to where the last picture began, and clears from there.
                let _ = write!(stderr, "\x1b[{}A\x1b[J", self.lines_up);
            }
            self.lines_up = picture.lines().count();
        }
        let _ = write!(stderr, "{out}{picture}");
        let _ = stderr.flush();
    }

    fn server_lines(&mut self, view: &View) -> String {
        let mut lines = String::new();
        for (key, server) in &view.decision.servers {
            let now = (server.status.state, server.why_inactive.clone());
            if is_pending(server) {
                // No line before the first probe has ended.
                continue;
            }
            if self.servers.get(key) != Some(&now) {
                let why = if now.1.is_empty() { String::new() } else { format!(": {}", now.1) };
                let _ = writeln!(lines, "server {key} {:?}{why}", now.0);
                self.servers.insert(key.clone(), now);
            }
        }
        lines
    }

    /// Recipients per second that get a final outcome.
    fn rate(&mut self, key: &Key, campaign: &CampaignDecision) -> f64 {
        let ended = campaign.status.recipients.ended();
        let now = Instant::now();
        let shown = self.campaigns.entry(key.clone()).or_insert_with(|| Shown {
            state: CampaignState::Scheduled,
            message: String::new(),
            line_at: now,
            samples: vec![(now, ended)],
        });
        shown.samples.push((now, ended));
        while shown.samples.len() > 2 && now - shown.samples[0].0 > RATE_OVER {
            shown.samples.remove(0);
        }
        let (first, count) = shown.samples[0];
        let seconds = (now - first).as_secs_f64();
        #[allow(clippy::cast_precision_loss)]
        let rate = if seconds > 0.2 { ended.saturating_sub(count) as f64 / seconds } else { 0.0 };
        rate
    }
}

/// Whether the first probe has not ended yet.
fn is_pending(server: &ServerDecision) -> bool {
    let ready = condition::find(&server.status.conditions, ConditionType::Ready);
    ready.is_some_and(|ready| ready.reason == Reason::NotProbedYet)
}

fn campaign_is_judged(campaign: &CampaignDecision) -> bool {
    let ready = condition::find(&campaign.status.conditions, ConditionType::Ready);
    ready.is_none_or(|ready| ready.reason != Reason::NotProbedYet)
}

fn ready_message(campaign: &CampaignDecision) -> String {
    let ready = condition::find(&campaign.status.conditions, ConditionType::Ready);
    ready.map(|ready| ready.message.to_string()).unwrap_or_default()
}

/// `campaign default/spring Sending 1,200 of 2,000 (60%), 800/s, 1s left; 3 rejected`.
fn campaign_line(key: &Key, campaign: &CampaignDecision, view: &View, rate: f64) -> String {
    let counts = &campaign.status.recipients;
    let report = view.report.campaigns.get(key);
    let mut line = format!("campaign {key} {:?} {}", campaign.status.state, counts.ended());
    // Before the audience has been read to its end, its size is estimated from how much of the file has been read.
    #[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let total = counts.total.map(|total| (total, "")).or_else(|| {
        let report = report?;
        // A reader buffers: most of a short file is read before much of it is used.
        let progress = report.audience_progress.filter(|progress| *progress > 0.01 && report.audience_seen > ESTIMATE_FROM)?;
        Some(((report.audience_seen as f64 / progress) as u64, "about "))
    });
    if let Some((total, about)) = total.filter(|(total, _)| *total > 0) {
        let _ = write!(line, " of {about}{total} ({}%)", counts.ended() * 100 / total);
        #[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        if rate >= 0.1 && campaign.status.state == CampaignState::Sending {
            let left = (total.saturating_sub(counts.ended()) as f64 / rate).ceil() as u64;
            let _ = write!(line, ", {rate:.0}/s, {} left", crate::resources::Duration::from_secs(left));
        }
    }
    let shown = |fate: &Fate| !matches!(fate, Fate::Accepted | Fate::Claimed | Fate::Unknown);
    let fates = Fate::ALL.into_iter().filter(shown).map(|fate| (counts.of(fate), fate.in_words(), ""));
    let others = [
        (counts.unknown, "unknown", ""),
        (counts.resent, "resent", ""),
        (counts.bad_rows, "bad row", "s"),
        (counts.duplicates, "duplicate", "s"),
    ];
    for (count, what, plural) in fates.chain(others).filter(|(count, ..)| *count > 0) {
        let _ = write!(line, "; {count} {what}{}", if count == 1 { "" } else { plural });
    }
    if !matches!(campaign.status.state, CampaignState::Sending | CampaignState::Completed) {
        let _ = write!(line, ": {}", ready_message(campaign));
    }
    line
}

/// One line per server: what it accepted, its share so far, and the share by weight.
fn share_lines(campaign: &CampaignDecision) -> String {
    let mut lines = String::new();
    let total: u64 = campaign.status.servers.iter().map(|server| server.accepted).sum();
    let weights: u64 = campaign.status.servers.iter().filter(|server| server.chosen).map(|server| u64::from(server.weight)).sum();
    for server in campaign.status.servers.iter().filter(|server| server.chosen || server.accepted > 0) {
        let tenths = |part: u64, whole: u64| (part * 1000).checked_div(whole).unwrap_or(0);
        let (share, wanted) = (tenths(server.accepted, total), tenths(u64::from(server.weight), weights));
        let why = if server.why_not.is_empty() { String::new() } else { format!("  {}", server.why_not) };
        let _ = writeln!(
            lines,
            "  {:<32} {:>9}  {:>3}.{}% (weight {}.{}%){why}",
            server.server,
            server.accepted,
            share / 10,
            share % 10,
            wanted / 10,
            wanted % 10
        );
    }
    lines
}
