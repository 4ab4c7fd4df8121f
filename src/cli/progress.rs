//! Progress of a run: a live picture on a terminal, plain lines elsewhere.

mod picture;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    time::{Duration, Instant},
};

use tokio::sync::watch;

use super::{
    json_log,
    screen::{self, Colour, Line},
    text::Commands,
};
use crate::{
    backoff::Backoff,
    decide::CampaignDecision,
    engine::View,
    meta::bound::{counted, grouped},
    present::words::without_said,
    resources::{
        ConditionType, Key, Reason,
        campaign::{CampaignState, CampaignStatus},
        condition,
        fate::Fate,
        rollout::RolloutState,
        sending_server::ServerState,
    },
};
use picture::Part;

/// The interval between pictures on a terminal.
const PICTURE_EVERY: Duration = Duration::from_millis(250);
/// The interval between plain lines about the same campaign, at first and later on: hours of them fill a log.
const LINES: Backoff = Backoff { first: Duration::from_secs(5), max: Duration::from_mins(1) };
/// Lines at the first interval.
const LINES_AT_FIRST: u32 = 12;
/// Rows that a picture leaves free: for lines that a terminal wraps when it becomes narrower, which would scroll others away.
const ROWS_FREE: usize = 2;
/// Rows that the last picture leaves free, for what is said below it.
const ROWS_FREE_AT_END: usize = 4;

/// Recipients accepted before this process began, by campaign and run.
pub type Before = BTreeMap<(Key, String), u64>;

/// How progress is shown.
#[derive(Default)]
pub struct Options {
    /// What earlier processes sent.
    pub before: Before,
    /// The commands that messages name.
    pub commands: Commands,
    /// What is wrong with the files, as it was said just before.
    pub findings: Vec<String>,
    /// Whether the process ends when every campaign has: what failed is then told after the last picture.
    pub once: bool,
}

/// Shows progress until the engine ends; returns what was said.
pub async fn show(mut views: watch::Receiver<View>, options: Options) -> Progress {
    let redraws = screen::can_redraw();
    let _drawing = redraws.then_some(screen::Drawing);
    let mut progress = Progress { redraws, options, ..Progress::default() };
    let mut ended = tokio::time::timeout(PICTURE_EVERY, views.changed()).await.is_ok_and(|changed| changed.is_err());
    loop {
        let view = views.borrow_and_update().clone();
        progress.show(&view, ended);
        if ended {
            return progress;
        }
        // The last picture is drawn at once.
        ended = tokio::time::timeout(PICTURE_EVERY, closed(&mut views)).await.is_ok();
    }
}

async fn closed(views: &mut watch::Receiver<View>) {
    while views.changed().await.is_ok() {}
}

/// What was shown of a run.
#[derive(Default)]
pub struct Progress {
    redraws: bool,
    options: Options,
    servers: BTreeMap<Key, (ServerState, String)>,
    campaigns: BTreeMap<Key, Shown>,
    last_lines: BTreeMap<Key, Line>,
    /// Messages that were printed as a whole, in lines that stay.
    said: BTreeSet<(Key, String)>,
}

/// What was last shown of a campaign.
struct Shown {
    state: CampaignState,
    message: String,
    /// The message for people.
    told: String,
    /// What was said of rows that were added after the run was completed.
    added: String,
    line_at: Instant,
    /// Lines about it in its present state that only bring new numbers.
    lines: u32,
}

impl Shown {
    fn new(now: Instant) -> Self {
        Self { state: CampaignState::Scheduled, message: String::new(), told: String::new(), added: String::new(), line_at: now, lines: 0 }
    }

    /// Whether new numbers are worth a line.
    fn is_line_due(&self) -> bool {
        self.line_at.elapsed() >= pause_after(self.lines)
    }
}

impl Progress {
    /// That of a run of which nothing was shown.
    #[must_use]
    pub fn silent(commands: Commands) -> Self {
        Self { options: Options { commands, ..Options::default() }, ..Self::default() }
    }

    /// Whether this message was printed as a whole.
    #[must_use]
    pub fn has_said(&self, key: &Key, message: &str) -> bool {
        self.said.contains(&(key.clone(), message.to_owned()))
    }

    /// A message for people: its commands completed, and without the sentences on servers that were said already.
    #[must_use]
    pub fn told(&self, message: &str) -> String {
        let of_servers = self.servers.values().map(|(_, why)| why.as_str());
        without_said(&self.options.commands.in_text(message), of_servers.chain(self.options.findings.iter().map(String::as_str)))
    }

    fn show(&mut self, view: &View, ended: bool) {
        let is_json = json_log::is_on();
        let (columns, has_colours) = (screen::stderr_columns().filter(|_| !is_json), screen::has_colours() && !is_json);
        let mut above = String::new();
        for line in self.server_lines(view) {
            above.push_str(&line.block(columns, has_colours));
        }
        let mut parts = Vec::new();
        let now = Instant::now();
        for (key, campaign) in &view.decision.campaigns {
            let status = &campaign.status;
            let (message, is_sending) = (ready_message(campaign), status.state == CampaignState::Sending);
            let mut shown = self.campaigns.remove(key).unwrap_or_else(|| Shown::new(now));
            let rate = view.report.campaigns.get(key).and_then(|report| report.per_second);
            let is_over = matches!(status.state, CampaignState::Completed | CampaignState::Stopped);
            // At once: said only at the end, it would repeat the line of a run that had nothing left to do.
            let before = self.options.before.get(&(key.clone(), status.run.clone())).filter(|_| ended || is_over);
            let head = head(key, status, rate, before.copied());
            let says_why = !matches!(status.state, CampaignState::Sending | CampaignState::Completed);
            let is_fresh = shown.state != status.state || shown.message != message;
            let is_due = is_sending && shown.is_line_due();
            if is_fresh {
                shown.told = self.told(&message);
            }
            if let Some(line) = self.rows_added(key, status, &mut shown) {
                above.push_str(&line.block(columns, has_colours));
            }
            if self.redraws {
                let is_told_below = ended && self.options.once && condition::find(&status.conditions, ConditionType::Stalled).is_some();
                let message = if says_why && !is_told_below { shown.told.clone() } else { String::new() };
                parts.push(Part { head, message, is_over, servers: picture::servers(status) });
            } else if (is_fresh || is_due || ended) && campaign_is_judged(campaign) {
                let line = if says_why { head.then(": ").then(&shown.told) } else { head };
                if self.last_lines.get(key) != Some(&line) {
                    above.push_str(&line.block(columns, has_colours));
                    self.last_lines.insert(key.clone(), line);
                }
                if says_why {
                    self.said.insert((key.clone(), message.clone()));
                }
            }
            if is_fresh || is_due {
                shown.lines = if is_fresh { 0 } else { shown.lines.saturating_add(1) };
                (shown.state, shown.message, shown.line_at) = (status.state, message, now);
            }
            self.campaigns.insert(key.clone(), shown);
        }
        if self.redraws {
            let mut size = screen::size();
            size.rows = size.rows.saturating_sub(if ended { ROWS_FREE_AT_END } else { ROWS_FREE }).max(2);
            screen::draw(&above, picture::lines(&parts, size));
            if ended {
                screen::leave();
            }
        } else if is_json {
            above.lines().for_each(|line| screen::print(json_log::said(line).as_bytes()));
        } else if !above.is_empty() {
            screen::print(above.as_bytes());
        }
    }

    /// What there is to say of rows that were added after the run was completed: once for each number of them.
    fn rows_added(&mut self, key: &Key, status: &CampaignStatus, shown: &mut Shown) -> Option<Line> {
        let read = condition::find(&status.conditions, ConditionType::AudienceRead);
        let message = read.filter(|read| read.reason == Reason::RowsAfterCompletion).map(|read| read.message.to_string());
        let message = message.unwrap_or_default();
        if message == shown.added {
            return None;
        }
        shown.added.clone_from(&message);
        if message.is_empty() {
            return None;
        }
        let line = Line::plain(format!("campaign {key}: {}", self.told(&message)));
        self.said.insert((key.clone(), message));
        Some(line)
    }

    fn server_lines(&mut self, view: &View) -> Vec<Line> {
        let mut lines = Vec::new();
        for (key, server) in &view.decision.servers {
            let now = (server.status.state, server.why_inactive.clone());
            if server.is_pending() {
                // No line before the first probe has ended.
                continue;
            }
            if self.servers.get(key) != Some(&now) {
                let why = without_said(&self.options.commands.in_text(&now.1), self.options.findings.iter().map(String::as_str));
                let why = if why.is_empty() { why } else { format!(": {why}") };
                let colour = if now.0 == ServerState::Active { Colour::Green } else { Colour::Red };
                lines.push(Line::plain(format!("server {key} ")).coloured(&format!("{:?}", now.0), colour).then(&why));
                self.servers.insert(key.clone(), now);
            }
        }
        lines
    }
}

/// The pause before the next plain line with new numbers, after so many of them.
fn pause_after(lines: u32) -> Duration {
    LINES.delay((lines + 1).saturating_sub(LINES_AT_FIRST))
}

/// `120/s`, `12/min`, `5/h`.
fn rate_in_words(per_second: f64) -> String {
    match per_second {
        10.0.. => format!("{}/s", grouped(format!("{per_second:.0}").parse().unwrap_or(u64::MAX))),
        1.0.. => format!("{per_second:.1}/s"),
        _ if per_second * 60.0 >= 1.0 => format!("{:.0}/min", per_second * 60.0),
        _ => format!("{:.0}/h", (per_second * 3600.0).max(1.0)),
    }
}

fn campaign_is_judged(campaign: &CampaignDecision) -> bool {
    let ready = condition::find(&campaign.status.conditions, ConditionType::Ready);
    ready.is_none_or(|ready| ready.reason != Reason::NotProbedYet)
}

fn ready_message(campaign: &CampaignDecision) -> String {
    let ready = condition::find(&campaign.status.conditions, ConditionType::Ready);
    ready.map(|ready| ready.message.to_string()).unwrap_or_default()
}

const fn colour(state: CampaignState) -> Colour {
    match state {
        CampaignState::Sending | CampaignState::Completed => Colour::Green,
        CampaignState::Scheduled | CampaignState::Waiting | CampaignState::Suspended => Colour::Yellow,
        CampaignState::Stopped => Colour::Red,
    }
}

/// `campaign default/spring Sending 1,200 of ~2,000 (60%), 800/s, 1s left; 3 rejected`.
///
/// `before` is what an earlier process sent of the run, at the end of this one.
fn head(key: &Key, status: &CampaignStatus, rate: Option<f64>, before: Option<u64>) -> Line {
    let counts = &status.recipients;
    let mut line = format!(" {}", grouped(status.done()));
    let total = status.total().filter(|(total, _)| *total > 0);
    if let Some((total, is_estimate)) = total {
        let about = if is_estimate { "~" } else { "" };
        let _ = write!(line, " of {about}{} ({}%)", grouped(total), (status.done() * 100 / total).min(100));
    }
    if let Some(rate) = rate.filter(|_| status.state == CampaignState::Sending) {
        let _ = write!(line, ", {}", rate_in_words(rate));
    }
    if let Some(left) = status.time_left {
        let _ = write!(line, ", {} left", left.in_words());
    }
    if let Some(rollout) = status.rollout.as_ref().filter(|rollout| rollout.state == RolloutState::Sending) {
        let _ = write!(line, ", step {}", rollout.progress);
    }
    if let Some(server) = &status.paced_by {
        let _ = write!(line, ", paced by {server}");
    }
    if let Some(before) = before.filter(|before| *before > 0) {
        let now = counts.accepted.saturating_sub(before);
        let _ = write!(line, "; {} sent now, {} before", grouped(now), grouped(before));
    }
    // Done with is not accepted: at the end it is said how many were.
    let is_over = matches!(status.state, CampaignState::Completed | CampaignState::Stopped) && status.done() > counts.accepted;
    if is_over {
        let _ = write!(line, "; {} accepted", grouped(counts.accepted));
    }
    let shown = |fate: &Fate| !matches!(fate, Fate::Accepted | Fate::Claimed | Fate::Unknown);
    for fate in Fate::ALL.into_iter().filter(shown).filter(|fate| counts.of(*fate) > 0) {
        let _ = write!(line, "; {} {}", grouped(counts.of(fate)), fate.in_words());
    }
    for (count, what) in [(counts.unknown, "unknown"), (counts.resent, "resent")] {
        if count > 0 {
            let _ = write!(line, "; {} {what}", grouped(count));
        }
    }
    for (count, one, several) in [
        (counts.bad_rows, "bad row", "bad rows"),
        (counts.duplicates, "duplicate", "duplicates"),
        (counts.excluded, "excluded", "excluded"),
    ] {
        if count > 0 {
            let _ = write!(line, "; {}", counted(count, one, several));
        }
    }
    Line::plain(format!("campaign {key} ")).coloured(&format!("{:?}", status.state), colour(status.state)).then(&line)
}

/// What is said of each campaign that goes on at the next start, when a process was told to stop; `command` starts it.
pub fn left_behind(view: &View, command: &str) -> Vec<String> {
    let campaigns = view.decision.campaigns.iter().filter_map(|(key, campaign)| {
        let status = &campaign.status;
        if condition::find(&status.conditions, ConditionType::Stalled).is_some() {
            return None;
        }
        let sent = status.recipients.accepted;
        let of = status
            .total()
            .map_or_else(String::new, |(total, is_estimate)| format!(" of {}{}", if is_estimate { "~" } else { "" }, grouped(total)));
        match status.state {
            CampaignState::Waiting if campaign.waits_for_person => Some(format!("campaign {key}: {}", ready_message(campaign))),
            CampaignState::Sending | CampaignState::Waiting => {
                Some(format!("campaign {key}: {}{of} sent; the rest is sent at the next start: `{command}`", grouped(sent)))
            }
            CampaignState::Scheduled => Some(format!("campaign {key}: not begun; it begins once `{command}` runs and its time has come")),
            CampaignState::Suspended | CampaignState::Stopped | CampaignState::Completed => None,
        }
    });
    campaigns.collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::test_support::campaign_status;

    #[test]
    fn nobody_accepted_is_said_at_the_end() {
        let key = Key::new("default", "spring");
        let line = |state: &str, accepted: u64, rejected: u64| {
            let recipients = json!({"total": accepted + rejected, "accepted": accepted, "rejected": rejected});
            let status = campaign_status(state, "first", recipients);
            head(&key, &serde_json::from_value(status).expect("a status"), None, None).text().to_owned()
        };
        assert_eq!(line("Completed", 0, 2), "campaign default/spring Completed 2 of 2 (100%); 0 accepted; 2 rejected");
        assert_eq!(line("Completed", 2, 0), "campaign default/spring Completed 2 of 2 (100%)");
        assert_eq!(line("Sending", 1, 1), "campaign default/spring Sending 2 of 2 (100%); 1 rejected");
        let mut status = campaign_status("Sending", "first", json!({"total": 2000, "accepted": 12}));
        status["rollout"] = json!({
            "progress": "1/2 (1%)", "step": 1, "steps": 2, "percent": "1", "state": "Sending", "verdict": "Undecided", "messages": 12,
            "bounced": 0, "complained": 0, "message": "",
        });
        let line = head(&key, &serde_json::from_value(status).expect("a status"), None, None);
        assert_eq!(line.text(), "campaign default/spring Sending 12 of 2,000 (0%), step 1/2 (1%)");
    }

    #[test]
    fn lines_become_fewer_with_time() {
        assert!((0..LINES_AT_FIRST).all(|lines| pause_after(lines).as_secs() == 5));
        let later: Vec<u64> = (LINES_AT_FIRST..LINES_AT_FIRST + 6).map(|lines| pause_after(lines).as_secs()).collect();
        assert_eq!(later, [5, 10, 20, 40, 60, 60]);
    }

    #[test]
    fn rates_are_no_finer_than_a_person_needs() {
        assert_eq!([0.0003, 0.5, 1.26, 99.6, 28_220.4].map(rate_in_words), ["1/h", "30/min", "1.3/s", "100/s", "28,220/s"]);
    }
}
