//! Every metric: its name, type, unit and labels, and what it means. What is written, documented and drawn comes from this table. Pure.

use prometheus_client::{metrics::MetricType, registry::Unit};

/// A metric, which may have many series.
#[derive(Debug)]
pub struct Metric {
    /// The program's part of the name: without `mailfleet_`, the unit and what the type adds.
    pub(super) name: &'static str,
    /// Its type.
    pub kind: Kind,
    /// The base unit; where it ends the name, OpenMetrics is told so.
    pub unit: Option<&'static str>,
    /// The names of its labels.
    pub labels: &'static [&'static str],
    /// What it means.
    pub help: &'static str,
}

/// The types of metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It only grows, until the process starts again.
    Counter,
    /// It goes up and down.
    Gauge,
    /// Counts by how long something took.
    Histogram,
    /// Texts, as labels; its value is 1.
    Info,
}

impl Kind {
    pub(super) const fn in_text(self) -> MetricType {
        match self {
            Self::Counter => MetricType::Counter,
            Self::Gauge => MetricType::Gauge,
            Self::Histogram => MetricType::Histogram,
            Self::Info => MetricType::Info,
        }
    }

    /// The word of OpenMetrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
            Self::Info => "info",
        }
    }
}

/// What every name begins with, but for those that all programs share.
pub(super) const PREFIX: &str = "mailfleet";

impl Metric {
    /// Whether it is one that all programs share.
    pub(super) fn is_common(&self) -> bool {
        self.name.starts_with("process_")
    }

    /// The unit that is appended to the name.
    pub(super) fn suffix(&self) -> Option<&'static Unit> {
        match self.unit {
            Some("seconds") => Some(&Unit::Seconds),
            Some("bytes") => Some(&Unit::Bytes),
            _ => None,
        }
    }

    /// The name by which it is queried; a histogram's series add `_bucket`, `_sum` and `_count`.
    #[must_use]
    pub fn full_name(&self) -> String {
        let prefix = if self.is_common() { String::new() } else { format!("{PREFIX}_") };
        let unit = self.suffix().map(|unit| format!("_{}", unit.as_str())).unwrap_or_default();
        let end = match self.kind {
            Kind::Counter => "_total",
            Kind::Info => "_info",
            Kind::Gauge | Kind::Histogram => "",
        };
        format!("{prefix}{}{unit}{end}", self.name)
    }

    /// The names of its series.
    #[must_use]
    pub fn series(&self) -> Vec<String> {
        let name = self.full_name();
        match self.kind {
            Kind::Histogram => ["_bucket", "_sum", "_count"].iter().map(|end| format!("{name}{end}")).collect(),
            _ => vec![name],
        }
    }
}

macro_rules! metrics {
    ($($title:literal: { $($id:ident = $kind:ident $name:literal $([$unit:literal])? ($($label:literal),*) $help:literal;)* })*) => {
        $($(pub(super) static $id: Metric = Metric {
            name: $name,
            kind: Kind::$kind,
            unit: metrics!(@unit $($unit)?),
            labels: &[$($label),*],
            help: $help,
        };)*)*

        /// Every metric, in groups with their titles.
        pub static METRICS: &[(&str, &[&Metric])] = &[$(($title, &[$(&$id),*])),*];
    };
    (@unit) => { None };
    (@unit $unit:literal) => { Some($unit) };
}

metrics! {
    "The process": {
        BUILD = Info "build" ("version") "The version of this process";
        LEADER = Gauge "leader" () "1 while this process decides and sends; 0 while it starts, stands by or stops";
        CPU = Counter "process_cpu" ["seconds"] () "Processor time, user and system";
        RESIDENT = Gauge "process_resident_memory" ["bytes"] () "Memory that is in use";
        VIRTUAL = Gauge "process_virtual_memory" ["bytes"] () "Address space that is in use";
        OPEN_FDS = Gauge "process_open_fds" () "Open file descriptors";
        MAX_FDS = Gauge "process_max_fds" () "The most file descriptors that may be open; absent without a limit";
        STARTED = Gauge "process_start_time" ["seconds"] () "When the process started, as Unix time";
    }
    "Deciding": {
        LAST_TURN = Gauge "last_turn_timestamp" ["seconds"] () "When the engine last decided, as Unix time; it decides at least every 5 s";
        TURNS = Histogram "turn_duration" ["seconds"] () "How long turns of the engine took: looking up what objects refer to, deciding, acting";
        LONGEST_TURN = Gauge "turn_longest" ["seconds"] () "The longest turn since this process started; a second or more means that something delays statuses and probes";
        CONFIG_READ = Gauge "config_last_reload_timestamp" ["seconds"] () "When changed objects were last read, as Unix time";
        CONFIG_GOOD_AT = Gauge "config_last_reload_success_timestamp" ["seconds"] () "When objects were last read without any fault, as Unix time";
        CONFIG_GOOD = Gauge "config_last_reload_successful" () "0 while the newest version of some object or file cannot be used";
        CONFIG_BROKEN = Gauge "config_broken_objects" ("kind") "Objects whose newest version cannot be used; the last good one is used, if there is one";
        CONFIG_FAULTS = Gauge "config_faults" () "Faults of files, as `mailfleet validate` lists them; 0 in a cluster";
        SERVERS = Gauge "servers" ("state") "Servers by state";
        PLANS = Gauge "plans" ("ready") "Plans with a granted server that is Active, and plans without one";
        CAMPAIGNS = Gauge "campaigns" ("state") "Campaigns by state";
        BACKLOG = Gauge "backlog_recipients" () "Recipients who are still to be mailed, of all campaigns that are Sending or Waiting";
        LEFT_OUT = Gauge "objects_left_out" ("kind") "Objects without series of their own: there are too many, or they completed more than a day ago";
    }
    "The ledger": {
        WRITABLE = Gauge "ledger_writable" () "0 while nothing is sent because the ledger cannot be written";
        COMMITS = Histogram "ledger_commit_duration" ["seconds"] () "How long commits of the ledger took, until they were durable";
        UNRESOLVED = Gauge "claims_unresolved" () "Messages on the wire: claimed, with no durable outcome yet";
        LEDGER_SIZE = Gauge "ledger_size" ["bytes"] () "The size of the ledger with its log";
        LEDGER_FREE = Gauge "ledger_filesystem_free" ["bytes"] () "Room that is left on the ledger's file system";
        LEDGER_DISK = Gauge "ledger_filesystem_size" ["bytes"] () "The size of the ledger's file system";
    }
    "Servers": {
        SERVER = Info "server" ("server", "provider") "The type of the server";
        SERVER_ACTIVE = Gauge "server_active" ("server") "1 while the server is Active";
        SERVER_REASON = Gauge "server_reason" ("server", "reason") "1 for the reason of the server's condition `Ready`";
        SERVER_CONDITION = Gauge "server_condition" ("server", "condition", "status") "1 for the status that the condition has, 0 for the other two; `Probed` is the last probe";
        SERVER_CAMPAIGNS = Gauge "server_campaigns" ("server") "Campaigns that are Sending or Waiting and may use the server";
        SERVER_MESSAGES = Counter "server_messages" ("server", "outcome") "Messages by the server's answer since this process started: `Accepted`; `Refused` for good and `Deferred` for now; `Failed`, certainly not sent; `Unknown`, without an answer that says";
        SERVER_FAILURES = Counter "server_failures" ("server") "Failures that took the server out of use until a probe or a trial succeeded";
        SERVER_IN_FLIGHT = Gauge "server_in_flight" ("server") "Messages on the wire to the server";
        SERVER_CONNECTIONS = Gauge "server_connections_limit" ("server") "The most connections that the server is given now";
        SERVER_THROTTLED = Gauge "server_throttled" ("server") "1 while the server gets less, or nothing, since it said that it got too much";
        SERVER_LIMIT = Gauge "server_limit_messages" ("server", "window") "The most messages in any window of this length";
        SERVER_USED = Gauge "server_limit_used_messages" ("server", "window") "Messages in the window that ends now; for windows longer than a minute";
        SERVER_LEFT = Gauge "server_limit_left_messages" ("server") "Messages left in the server's longer windows";
        WARMUP_LIMIT = Gauge "server_warmup_limit_messages" ("server") "Today's limit of the warm-up";
        WARMUP_USED = Gauge "server_warmup_used_messages" ("server") "Messages sent today, UTC, of the warm-up's limit";
        WARMUP_STEP = Gauge "server_warmup_step" ("server") "The day of the warm-up's schedule that applies today, from 1";
        WARMUP_STEPS = Gauge "server_warmup_steps" ("server") "Days of the warm-up's schedule";
        WARMUP_HELD = Gauge "server_warmup_held_steps" ("server") "UTC days since the warm-up began that did not count, since too little was sent or too much came back";
        BOUNCES = Gauge "server_bounce_ratio" ["ratio"] ("server") "Rejected and bounced messages of those accepted and rejected, as `feedback.pauseWhen` judges them";
        COMPLAINTS = Gauge "server_complaint_ratio" ["ratio"] ("server") "Complaints of accepted messages, as `feedback.pauseWhen` judges them";
        PAUSED = Gauge "server_paused_namespaces" ("server") "Namespaces whose campaigns are not sent through the server, since too much came back";
        PROBES = Histogram "probe_duration" ["seconds"] ("provider", "result") "How long probes took, by the type of the server and the result: `Succeeded` or `Failed`";
        ROUND_TRIPS = Histogram "delivery_duration" ["seconds"] ("provider") "How long servers of a type took to answer: from the end of a message (SMTP), or from the request (APIs)";
    }
    "Plans": {
        PLAN_ACTIVE = Gauge "plan_servers_active" ("plan") "Granted servers that are Active";
        PLAN_GRANTED = Gauge "plan_servers_granted" ("plan") "Granted servers";
        PLAN_CAMPAIGNS = Gauge "plan_campaigns" ("plan") "Campaigns that use the plan";
    }
    "Campaigns": {
        CAMPAIGN_STATE = Gauge "campaign_state" ("campaign", "state") "1 for the state that the campaign is in, 0 for the others";
        CAMPAIGN_REASON = Gauge "campaign_reason" ("campaign", "reason") "1 for the reason of the campaign's condition `Ready`";
        CAMPAIGN_CONDITION = Gauge "campaign_condition" ("campaign", "condition", "status") "1 for the status that the condition has, 0 for the other two";
        CAMPAIGN_RECIPIENTS = Gauge "campaign_recipients" ("campaign", "outcome") "Recipients of the run by outcome, as `status.recipients` has them; `Sending` are on the wire, and `Pending` have none yet, once the audience has been read completely";
        CAMPAIGN_EXPECTED = Gauge "campaign_recipients_expected" ("campaign", "estimate") "Recipients of the run in all: counted ahead, or estimated, until the audience has been read completely";
        CAMPAIGN_BACKLOG = Gauge "campaign_backlog_recipients" ("campaign") "Recipients who are still to be mailed; absent while nothing is known of their number";
        CAMPAIGN_TIME_LEFT = Gauge "campaign_time_left" ["seconds"] ("campaign") "About how long the rest will take; while it sends";
        CAMPAIGN_STARTED = Gauge "campaign_started_timestamp" ["seconds"] ("campaign") "When the first message of the run was claimed, as Unix time";
        CAMPAIGN_COMPLETED = Gauge "campaign_completed_timestamp" ["seconds"] ("campaign") "When every recipient had a final outcome, as Unix time";
        CAMPAIGN_FEEDBACK = Gauge "campaign_feedback_messages" ("campaign", "kind") "Messages of the run of which this came back: `Delivered`, `SoftBounced`, `Bounced`, `Complained`, `Unsubscribed`";
        CAMPAIGN_BOUNCE_LIMIT = Gauge "campaign_stop_bounce_ratio" ["ratio"] ("campaign") "The share of rejected and bounced recipients above which the campaign stops";
        CAMPAIGN_COMPLAINT_LIMIT = Gauge "campaign_stop_complaint_ratio" ["ratio"] ("campaign") "The share of complaints above which the campaign stops";
        ROLLOUT_STEP = Gauge "campaign_rollout_step" ("campaign") "The step of the rollout, from 1; one more than there are once all are over";
        ROLLOUT_STEPS = Gauge "campaign_rollout_steps" ("campaign") "Steps of the rollout";
        ROLLOUT_RATIO = Gauge "campaign_rollout_ratio" ["ratio"] ("campaign") "The share of the audience that may be mailed now";
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_are_as_prometheus_and_openmetrics_want_them() {
        let all: Vec<&Metric> = METRICS.iter().flat_map(|(_, metrics)| metrics.iter().copied()).collect();
        let names: BTreeSet<String> = all.iter().map(|metric| metric.full_name()).collect();
        assert_eq!(names.len(), all.len(), "a name is there twice");
        for metric in all {
            let name = metric.full_name();
            assert!(name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_'), "{name}");
            assert!(!name.contains("__"), "{name}");
            if let Some(unit) = metric.unit {
                assert!(name.trim_end_matches("_total").ends_with(unit), "{name} does not end with its unit");
            }
            for end in ["_total", "_info", "_bucket", "_sum", "_count", "_created"] {
                assert!(!metric.name.ends_with(end), "{name}: {end} is what a type adds");
            }
            assert!(!metric.help.is_empty() && !metric.help.ends_with('.') && !metric.help.contains(['"', '\\', '\n']), "{name}");
            for label in metric.labels {
                // What Prometheus gives each series of its own accord, or keeps to itself.
                assert!(!["job", "instance", "namespace", "pod", "le", "quantile"].contains(label), "{name} has the label {label}");
            }
        }
    }
}
