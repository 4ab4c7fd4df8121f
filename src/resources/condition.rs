//! Status conditions: types, reasons, and the rule that times move only when a status flips.
//!
//! The contract is that of the Kubernetes API conventions and of kstatus: `Ready` on every kind,
//! `Reconciling` and `Stalled` only while they are true, reasons from a closed set, stable messages.

use std::borrow::Cow;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What a condition is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub enum ConditionType {
    /// The object does what it is there for.
    Ready,
    /// Present and true while Mailfleet is still trying; it mends itself.
    Reconciling,
    /// Present and true while only a person can mend it.
    Stalled,
    /// A server: its spec and what it refers to are good.
    Accepted,
    /// A server: the last probe.
    Probed,
    /// A server: whether it may be used now by the dispatcher (a send failure takes it out at once).
    Routed,
    /// A campaign: every recipient has an end.
    Completed,
    /// A campaign or server: some fields are accepted and have no effect in this version.
    FieldsInEffect,
    /// A campaign: the audience was read without bad rows.
    AudienceRead,
    /// Files: the newest version of the object's file could not be read; the last good one is in use.
    SourceRead,
}

/// The three values of a condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ConditionStatus {
    /// It holds.
    True,
    /// It does not hold.
    False,
    /// It is not known.
    Unknown,
}

macro_rules! reasons {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {
        /// Why a condition has its status. A closed set: scripts may match on it.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
        pub enum Reason { $($(#[$doc])* $name),* }

        impl Reason {
            /// Every reason, in the order of the documentation.
            pub const ALL: &'static [Reason] = &[$(Reason::$name),*];

            /// The word as it stands in a status.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Reason::$name => stringify!($name)),* }
            }
        }
    };
}

reasons! {
    // Servers
    /// The server is Active: its last probe succeeded and nothing holds it back.
    Active,
    /// `spec.enabled` is false.
    Disabled,
    /// The first probe has not ended yet.
    NotProbedYet,
    /// The probe succeeded.
    ProbeSucceeded,
    /// This type of server cannot be probed without sending; it is Active until a send fails.
    NotProbeable,
    /// The host name has no address.
    NameNotResolved,
    /// Nothing listens there.
    ConnectionRefused,
    /// The connection was closed or broken before the conversation ended.
    ConnectionLost,
    /// No answer within the time allowed.
    TimedOut,
    /// The network has no way there.
    Unreachable,
    /// TLS could not be set up (certificate, name, version), or is not offered.
    TlsFailed,
    /// The server does not offer STARTTLS though the spec asks for it.
    StartTlsNotOffered,
    /// The credentials were refused.
    AuthenticationFailed,
    /// The server offers no authentication method that Mailfleet speaks.
    AuthenticationNotOffered,
    /// The server refused to talk (a greeting or EHLO other than 2xx, or 421).
    ServiceNotAvailable,
    /// The server refused the sender address.
    SenderRefused,
    /// The server answered something that is not SMTP.
    ProtocolError,
    /// The server slows us down.
    Throttled,
    /// Messages were refused though probes succeed.
    SendFailed,
    /// Messages on the wire get no answer.
    Stalling,
    /// A local file or folder could not be written.
    StorageFailed,

    // What only a person can mend
    /// The spec breaks a rule.
    InvalidSpec,
    /// The newest version of the object cannot be read; the last good version, if there was one, stays in use.
    Unreadable,
    /// A named Secret is not there.
    SecretNotFound,
    /// A Secret lacks a key.
    SecretKeyNotFound,
    /// A Secret's value cannot be used as it is (not UTF-8, not a certificate).
    SecretInvalid,
    /// A named ConfigMap is not there.
    ConfigMapNotFound,
    /// A ConfigMap lacks a key.
    ConfigMapKeyNotFound,
    /// No plan allows this namespace to run servers of its own.
    NotAllowedByPlan,
    /// The namespace has more servers of its own than its plans allow.
    OverMaximum,

    // Plans
    /// At least one granted server is Active.
    ServersActive,
    /// None of the granted servers is Active.
    NoServerActive,
    /// A granted server does not exist.
    ServerNotFound,
    /// The plan grants no server.
    NoServers,
    /// Plans count in another namespace only (`--plan-namespace`).
    NotThePlanNamespace,

    // Campaigns
    /// The plan does not exist, or does not allow this namespace (the two read the same).
    PlanNotFound,
    /// The plan does not let campaigns choose servers.
    NarrowingForbidden,
    /// A named server is not granted by the plan and is not the namespace's own.
    ServerNotGranted,
    /// A name is both a granted and an own server.
    AmbiguousServer,
    /// All weights are zero.
    NoWeight,
    /// A template, subject or address of the campaign does not work.
    InvalidContent,
    /// A file named by the campaign is not there or lies outside the folder.
    FileNotFound,
    /// The audience's URL leads to an address that may not be contacted (or the host does not exist; the two read the same).
    AddressNotAllowed,
    /// The audience cannot be read.
    AudienceUnreadable,
    /// Some rows of the audience were not usable.
    BadRows,
    /// Rows were added after the run was completed; they are not mailed.
    RowsAfterCompletion,
    /// More recipients failed to render than `content.maxRenderErrors`.
    TooManyRenderErrors,
    /// Waits for `startAt`.
    Scheduled,
    /// `startAt` plus `startingDeadline` has passed before the campaign could start.
    StartingDeadlineExceeded,
    /// `spec.suspend` is true.
    Suspended,
    /// Somebody deletes the campaign; what is on the wire ends first.
    Deleting,
    /// Messages are being sent.
    Sending,
    /// None of the campaign's servers is Active, and it waits for one.
    WaitingForServer,
    /// All servers have used up their limits; the message says until when.
    WaitingForLimits,
    /// Everything left is deferred; the next attempt comes by itself.
    WaitingForRetry,
    /// None of the campaign's servers is Active and `whenNoServerIsActive` is `Stop`.
    NoServerIsActive,
    /// Every recipient has an end.
    Completed,
    /// Status says that the run began, and the ledger knows nothing of it.
    LedgerMissing,
    /// The ledger cannot be written (full disk, locked); sending waits.
    LedgerUnavailable,
    /// Fields of the spec that have no effect in this version.
    NotYetInEffect,
    /// All is read.
    Read,
}

impl std::fmt::Display for Reason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One condition of a status.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    /// What it is about.
    #[serde(rename = "type")]
    pub kind: ConditionType,
    /// Whether it holds.
    pub status: ConditionStatus,
    /// Why, as one word.
    pub reason: Reason,
    /// Why, and what to do, in words.
    pub message: Cow<'static, str>,
    /// When `status` last changed.
    #[schemars(with = "String")]
    pub last_transition_time: Timestamp,
    /// The generation that it was judged for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
}

impl Condition {
    /// A condition whose time is filled in by [`merge`].
    #[must_use]
    pub fn new(kind: ConditionType, status: ConditionStatus, reason: Reason, message: impl Into<Cow<'static, str>>) -> Self {
        Self { kind, status, reason, message: message.into(), last_transition_time: Timestamp::UNIX_EPOCH, observed_generation: None }
    }
}

/// Gives `wanted` their times: a condition keeps its time from `old` unless its status flipped.
#[must_use]
pub fn merge(old: &[Condition], mut wanted: Vec<Condition>, generation: i64, now: Timestamp) -> Vec<Condition> {
    for condition in &mut wanted {
        condition.observed_generation = Some(generation);
        condition.last_transition_time =
            old.iter().find(|o| o.kind == condition.kind && o.status == condition.status).map_or(now, |o| o.last_transition_time);
    }
    wanted.sort_by_key(|condition| condition.kind);
    wanted
}

/// Finds a condition by its type.
#[must_use]
pub fn find(conditions: &[Condition], kind: ConditionType) -> Option<&Condition> {
    conditions.iter().find(|condition| condition.kind == kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_moves_only_when_the_status_flips() {
        let at = |secs| Timestamp::from_second(secs).expect("in range");
        let wanted = |status, message: &'static str| vec![Condition::new(ConditionType::Ready, status, Reason::Active, message)];
        let first = merge(&[], wanted(ConditionStatus::True, "a"), 1, at(10));
        let second = merge(&first, wanted(ConditionStatus::True, "b"), 2, at(20));
        let third = merge(&second, wanted(ConditionStatus::False, "b"), 2, at(30));
        assert_eq!([&first, &second, &third].map(|c| c[0].last_transition_time), [at(10), at(10), at(30)]);
        assert_eq!(second[0].observed_generation, Some(2));
    }
}
