//! `Campaign`: one message to an audience, through the servers that a plan grants.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    Condition, CountOrPercent, Duration, Key, Object, Rate, WEIGHT_DEFAULT, WEIGHT_MAX,
    hours::{SendingHours, StartAt},
    pattern,
    rollout::{Rollout, RolloutStatus},
    rule::Rule,
    sending_server::{NeededSecret, RATES_DIFFER},
    server_table::ServerTable,
    stop_when::{EffectiveStopWhen, StopWhen},
    unsubscribe::Unsubscribe,
};
pub use super::{
    audience::{Audience, AudienceSource, Exclusion, Named, SourceFormat, WhenRowIsBad},
    content::{Attachment, Body, BodySource, Content, TemplatesSource, Variant, WhenRenderFails},
    fate::RecipientCounts,
    json_pages::{JsonAudience, NextPage},
    outcomes::{FIRST_RUN, OutcomeState, OutcomesAudience},
    sql::SqlAudience,
    table::{Place, TableSource},
    workbook::WorkbookSource,
};
use crate::feedback::FeedbackCounts;

/// A campaign.
pub type Campaign = Object<CampaignSpec, CampaignStatus>;

/// What is to be sent, to whom, through which servers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-kubernetes-validations" = [
    Rule::new(
        "!has(self.servers) || self.servers.exists(server, !has(server.weight) || server.weight > 0)",
        "every weight is 0, so no server would send; give at least one a weight of 1 or more",
    ).at(".servers"),
    Rule::new(
        "!has(self.servers) || self.servers.all(a, self.servers.exists_one(b, a.name == b.name && (has(a.__namespace__) ? a.__namespace__ : '') == (has(b.__namespace__) ? b.__namespace__ : '')))",
        "a server is named twice; name it once, with its whole weight",
    ).at(".servers"),
    Rule::new(
        "!has(self.headers) || self.headers.all(a, self.headers.exists_one(b, a.name.lowerAscii() == b.name.lowerAscii()))",
        "a header is given twice (case does not matter); keep one of them",
    ).at(".headers"),
    Rule::new(
        "!has(self.startingDeadline) || duration(self.startingDeadline) >= duration('1s') && duration(self.startingDeadline) <= duration('8760h')",
        "this must be from 1s to 8760h (365 days)",
    ).at(".startingDeadline"),
]))]
pub struct CampaignSpec {
    /// The plan that grants the servers.
    pub plan_ref: PlanRef,
    /// Absent: all granted servers. Present: only these, with these weights.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 100))]
    pub servers: Option<Vec<CampaignServer>>,
    /// Whether a server that has reached its limits passes its share on to the others; as the plan says when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weighting: Option<Weighting>,
    /// How much of this campaign may be sent, through whichever servers; its runs share the windows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<CampaignLimits>,
    /// What happens when none of the campaign's servers is Active; `Stop` when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub when_no_server_is_active: Option<WhenNoServerIsActive>,
    /// The sender that people see.
    pub from: Mailbox,
    /// Where replies go; the sender when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reply_to: Option<Mailbox>,
    /// The subject, a template over the recipient's fields.
    #[schemars(length(min = 1, max = 998), regex(pattern = pattern::ONE_LINE))]
    pub subject: String,
    /// The bodies.
    pub content: Content,
    /// The recipients: exactly one source.
    pub audience: Audience,
    /// The name of the run; `first` when absent. A new value mails everybody again, on purpose.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63), regex(pattern = pattern::RUN))]
    pub run: Option<String>,
    /// A larger number reopens the completed run once: recipients whose rows were added or fixed since are mailed, and nobody else; 0 when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1_000_000_000))]
    pub reopen: Option<u64>,
    /// What happens to a message that may or may not have gone out; `Skip` when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub when_outcome_is_unknown: Option<WhenOutcomeIsUnknown>,
    /// How deferred recipients are retried.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry: Option<Retry>,
    /// When the campaign stops because too much comes back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop_when: Option<StopWhen>,
    /// The steps in which a run reaches its audience, each judged by what comes back for it; everybody at once when absent. It applies to runs that have mailed nobody yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollout: Option<Rollout>,
    /// How recipients unsubscribe.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unsubscribe: Option<Unsubscribe>,
    /// Additional header fields, for example `List-Id`; a field whose value renders empty is left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub headers: Vec<Header>,
    /// When sending begins: a time (RFC 3339), or a local time with its zone, such as `2026-12-01T08:00[Europe/Berlin]`; at once when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>", length(max = 101), regex(pattern = pattern::TIME_OR_LOCAL))]
    pub start_at: Option<StartAt>,
    /// The hours and days in which messages may be sent; at any time when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sending_hours: Option<SendingHours>,
    /// A campaign that has not started this long after `startAt` (or after it was first seen), or after the first of its sending hours from then on, no longer starts automatically; 1s to 8760h.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub starting_deadline: Option<Duration>,
    /// True suspends it: messages in flight are completed, and nothing new is sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suspend: Option<bool>,
}

impl CampaignSpec {
    /// The name of the run.
    #[must_use]
    pub fn run(&self) -> &str {
        self.run.as_deref().unwrap_or(FIRST_RUN)
    }

    /// How often the run has been reopened on purpose.
    #[must_use]
    pub fn reopen(&self) -> u64 {
        self.reopen.unwrap_or(0)
    }

    /// What happens when none of the campaign's servers is Active.
    #[must_use]
    pub fn when_no_server_is_active(&self) -> WhenNoServerIsActive {
        self.when_no_server_is_active.unwrap_or(WhenNoServerIsActive::Stop)
    }

    /// What happens to a message that may or may not have gone out.
    #[must_use]
    pub fn when_outcome_is_unknown(&self) -> WhenOutcomeIsUnknown {
        self.when_outcome_is_unknown.unwrap_or(WhenOutcomeIsUnknown::Skip)
    }

    /// The retries with their defaults.
    #[must_use]
    pub fn retry(&self) -> EffectiveRetry {
        let retry = self.retry.clone().unwrap_or_default();
        EffectiveRetry {
            attempts: retry.attempts.unwrap_or(5),
            initial_delay: retry.initial_delay.unwrap_or(Duration::from_secs(60)),
            deadline: retry.deadline.unwrap_or(Duration::from_secs(120 * 3600)),
        }
    }

    /// When it stops because too much comes back.
    #[must_use]
    pub fn stop_when(&self) -> EffectiveStopWhen {
        self.stop_when.as_ref().map(StopWhen::effective).unwrap_or_default()
    }

    /// Every key of a Secret that it needs.
    #[must_use]
    pub fn secrets(&self) -> Vec<NeededSecret> {
        let auths = self.audience.sources().filter_map(|(field, _, source)| Some((field, source.auth?)));
        let files = self.content.attachments.iter().enumerate();
        let of_files = files.filter_map(|(index, file)| Some((Attachment::field(index), file.auth.as_ref()?)));
        let databases = self.audience.databases().flat_map(|(field, sql)| sql.secrets(&field));
        auths.chain(of_files).flat_map(|(field, auth)| auth.secrets(&format!("{field}.auth"))).chain(databases).collect()
    }

    /// The ConfigMaps that it names.
    pub fn config_maps(&self) -> impl Iterator<Item = &str> {
        let bodies = self.content.bodies_elsewhere().filter_map(|(_, source)| source.config_map_ref.as_ref());
        let audiences = self.audience.sources().filter_map(|(_, _, source)| source.config_map_ref);
        let files = self.content.attachments.iter().filter_map(|file| file.config_map_ref.as_ref());
        let templates = self.content.templates.iter().filter_map(|templates| Some(&*templates.config_map_ref.as_ref()?.name));
        bodies.chain(audiences).chain(files).map(|reference| &*reference.name).chain(templates)
    }

    /// Whether a person suspended it.
    #[must_use]
    pub fn is_suspended(&self) -> bool {
        self.suspend.unwrap_or(false)
    }
}

/// Limits of a campaign.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-kubernetes-validations" = [RATES_DIFFER]))]
pub struct CampaignLimits {
    /// Windows that all apply, each of a different length.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    pub rates: Vec<Rate>,
}

/// A reference to a plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PlanRef {
    /// The plan's name.
    #[schemars(length(min = 1, max = 253), regex(pattern = pattern::NAME))]
    pub name: String,
    /// The plan's namespace; the campaign's own when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63), regex(pattern = pattern::NAMESPACE))]
    pub namespace: Option<String>,
}

impl PlanRef {
    /// The plan, for a campaign in the namespace `own`.
    #[must_use]
    pub fn key(&self, own: &str) -> Key {
        Key::new(self.namespace.as_deref().unwrap_or(own), self.name.as_str())
    }
}

/// A server that a campaign chooses.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CampaignServer {
    /// The server's name: one that the plan grants, or one of the namespace's own.
    #[schemars(length(min = 1, max = 253), regex(pattern = pattern::NAME))]
    pub name: String,
    /// The server's namespace; only needed where a granted and an own server have the same name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63), regex(pattern = pattern::NAMESPACE))]
    pub namespace: Option<String>,
    /// Its share is its weight divided by the sum of the weights of all eligible servers; 1 when absent, 0 sends nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = WEIGHT_MAX))]
    pub weight: Option<u32>,
}

impl CampaignServer {
    /// Its weight.
    #[must_use]
    pub fn weight(&self) -> u32 {
        self.weight.unwrap_or(WEIGHT_DEFAULT)
    }
}

/// Whether a server that has reached its limits passes its share on to the others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Weighting {
    /// Messages beyond a server's limits go to the others at once, so limits add up.
    #[default]
    Overflow,
    /// Shares are kept: messages beyond a server's limits wait for it.
    Strict,
}

/// What happens when none of the campaign's servers is Active.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum WhenNoServerIsActive {
    /// Once messages have left, the campaign stops until `mailfleet resume`, the annotation `mailfleet.dev/resume` or a change of the spec. Before that it is an error, and the campaign starts when a server is Active.
    Stop,
    /// The campaign waits for one.
    Wait,
}

/// What happens to a message that may or may not have gone out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum WhenOutcomeIsUnknown {
    /// It is not sent again (at most once) and is counted as unknown.
    #[default]
    Skip,
    /// It is sent again (at least once) and gets the outcome of the second attempt; `resent` counts these.
    Resend,
}

/// A mailbox (RFC 5322, 3.4).
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Mailbox {
    /// The display name, a template over the recipient's fields.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 998), regex(pattern = pattern::ONE_LINE))]
    pub name: Option<String>,
    /// The address; the same for everybody, not a template.
    #[schemars(length(min = 3, max = 320), regex(pattern = pattern::ADDRESS))]
    pub address: String,
}

/// An additional header field.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-kubernetes-validations" = [Rule::new(
    "!(self.name.lowerAscii() in ['bcc', 'cc', 'date', 'dkim-signature', 'from', 'list-unsubscribe', 'list-unsubscribe-post', 'message-id', 'mime-version', 'received', 'reply-to', 'return-path', 'sender', 'subject', 'to'] || self.name.lowerAscii().startsWith('content-'))",
    "cannot be set here: From, Reply-To, Subject and List-Unsubscribe have fields of their own in the spec, every recipient gets a message of their own, and Mailfleet or servers write the rest; remove it here",
).at(".name").forbidden()]))]
pub struct Header {
    /// The name of the field (RFC 5322, 3.6.8); not one that Mailfleet writes itself.
    #[schemars(length(min = 1, max = 60), regex(pattern = pattern::HEADER_NAME))]
    pub name: String,
    /// The value, a template over the recipient's fields, one line. Only text, phrases and comments may contain characters outside ASCII.
    #[schemars(length(max = 998), regex(pattern = pattern::ONE_LINE))]
    pub value: String,
}

/// How deferred recipients are retried.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-kubernetes-validations" = [
    Rule::new(
        "!has(self.initialDelay) || duration(self.initialDelay) >= duration('1s') && duration(self.initialDelay) <= duration('24h')",
        "this must be from 1s to 24h",
    ).at(".initialDelay"),
    Rule::new(
        "!has(self.deadline) || duration(self.deadline) >= duration('1m') && duration(self.deadline) <= duration('720h')",
        "this must be from 1m to 720h (30 days)",
    ).at(".deadline"),
]))]
pub struct Retry {
    /// Attempts in all, including the first; 5 when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100))]
    pub attempts: Option<u32>,
    /// The delay before the second attempt; it doubles with each further one, up to a day, with 20% jitter; 1s to 24h, 1m when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub initial_delay: Option<Duration>,
    /// A message is given up this long after its first attempt, whatever the cause, and however few attempts were made; 1m to 720h, 120h when absent (RFC 5321, 4.5.4.1).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline: Option<Duration>,
}

/// Retries with all defaults filled in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct EffectiveRetry {
    /// Attempts in all, including the first.
    pub attempts: u32,
    /// The delay before the second attempt.
    pub initial_delay: Duration,
    /// A message is given up this long after its first attempt.
    pub deadline: Duration,
}

/// The state of a campaign.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub enum CampaignState {
    /// It has not begun.
    Scheduled,
    /// It is sending.
    Sending,
    /// It is waiting for a server, a limit, the next attempt or the ledger.
    Waiting,
    /// An operator suspended it.
    Suspended,
    /// It stopped early, and only an operator can resume it.
    Stopped,
    /// Every recipient has a final outcome.
    Completed,
}

impl CampaignState {
    /// All of them.
    pub const ALL: [Self; 6] = [Self::Scheduled, Self::Sending, Self::Waiting, Self::Suspended, Self::Stopped, Self::Completed];
}

/// The observed state of a campaign.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CampaignStatus {
    /// The generation that this status is about.
    pub observed_generation: i64,
    /// Its state.
    pub state: CampaignState,
    /// The run that the counts are about.
    pub run: String,
    /// The value of the annotation `mailfleet.dev/resume` that was acted on last; a restored object with this value resumes nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_handled_resume: Option<String>,
    /// When the run's first message was claimed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub started_at: Option<Timestamp>,
    /// When every recipient had a final outcome.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub completed_at: Option<Timestamp>,
    /// Accepted recipients out of all: `1200/2000`, or `1200/~2000` while the total is an estimate; it is `?` until it is known.
    #[serde(default)]
    pub sent: String,
    /// Recipients that were rejected or given up, or whose template failed.
    #[serde(default)]
    pub failed: u64,
    /// About how long the rest will take, at the recent rate or at what the limits allow, whichever is slower; only while it sends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_left: Option<Duration>,
    /// With `weighting: Strict`, the server that the others wait for: its limit is the lowest for its share. The condition `WeightsKept` says which limit, and how fast the campaign can be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paced_by: Option<String>,
    /// How many recipients the audience is expected to have, until it has been read to its end (`recipients.total`): its rows, counted
    /// ahead without those of excluded people, less the duplicates and bad rows found so far.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected_total: Option<u64>,
    /// Whether `expectedTotal` is an estimate, from how much of the source was read: a URL, or rows that are not counted yet.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub expected_total_is_estimate: bool,
    /// The recipients by outcome.
    pub recipients: RecipientCounts,
    /// What came back for accepted messages: each message counts once for each kind, and its outcome does not change; absent until something comes back.
    #[serde(default, skip_serializing_if = "FeedbackCounts::is_empty")]
    pub feedback: FeedbackCounts,
    /// The progress of its rollout; absent in a run without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollout: Option<RolloutStatus>,
    /// Why each server was or was not picked.
    pub servers: ServerTable,
    /// The effective values where the spec sets none.
    pub effective: EffectiveCampaign,
    /// Why, in detail.
    pub conditions: Vec<Condition>,
}

impl CampaignStatus {
    /// Recipients of the audience who need nothing more. Who was withdrawn is not in the audience; who got nothing because the template
    /// failed is still mailed after a fix, unless the run completed.
    #[must_use]
    pub fn done(&self) -> u64 {
        let counts = &self.recipients;
        let open = if self.state == CampaignState::Completed { 0 } else { counts.render_failed };
        counts.ended().saturating_sub(counts.withdrawn + open)
    }

    /// Sets the recipients by outcome, and what is said of them: after the expected total.
    pub fn count(&mut self, recipients: RecipientCounts) {
        self.failed = recipients.rejected + recipients.expired + recipients.render_failed;
        self.recipients = recipients;
        let of = match self.total() {
            Some((total, is_estimate)) => format!("{}{total}", if is_estimate { "~" } else { "" }),
            None => "?".to_owned(),
        };
        self.sent = format!("{}/{of}", self.recipients.accepted);
    }

    /// How many recipients there are in all, as far as that is known, and whether it is an estimate.
    #[must_use]
    pub fn total(&self) -> Option<(u64, bool)> {
        let expected = self.expected_total.map(|total| (total, self.expected_total_is_estimate));
        self.recipients.total.map(|total| (total, false)).or(expected)
    }
}

/// A campaign's values in force.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct EffectiveCampaign {
    /// Whether a server that has reached its limits passes its share on to the others.
    pub weighting: Weighting,
    /// What happens when none of the campaign's servers is Active.
    pub when_no_server_is_active: WhenNoServerIsActive,
    /// What happens to a message that may or may not have gone out.
    pub when_outcome_is_unknown: WhenOutcomeIsUnknown,
    /// The retries.
    pub retry: EffectiveRetry,
    /// Recipients whose templates may fail before the campaign stops.
    pub max_render_errors: CountOrPercent,
    /// What happens at the end when templates failed for some recipients.
    #[serde(default)]
    pub when_render_fails: WhenRenderFails,
    /// Rows that may be unusable before the campaign stops.
    #[serde(default = "no_bound")]
    pub max_bad_rows: CountOrPercent,
    /// What happens at the end when rows could not be used.
    #[serde(default)]
    pub when_row_is_bad: WhenRowIsBad,
    /// When it stops because too much comes back.
    #[serde(default)]
    pub stop_when: EffectiveStopWhen,
}

/// A status of a version that did not know the bound.
const fn no_bound() -> CountOrPercent {
    CountOrPercent::Percent(100)
}
