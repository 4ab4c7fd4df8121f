//! Status conditions: types, reasons, and the rule that times move only when a status flips.
//!
//! The contract is that of the Kubernetes API conventions and of kstatus: `Ready` on every kind,
//! `Reconciling` and `Stalled` only while they are true, reasons from a closed set, stable messages.

use std::borrow::Cow;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::bound::{MESSAGE_MAX, bounded};

/// What a condition is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub enum ConditionType {
    /// The object works as its spec says.
    Ready,
    /// Present and true while Mailfleet is still trying; no action is needed.
    Reconciling,
    /// Present and true while only an operator can fix it.
    Stalled,
    /// A server: its spec and what it refers to are good.
    Accepted,
    /// A server: the last probe.
    Probed,
    /// A server: whether the dispatcher may use it now (a send failure takes it out at once).
    Routed,
    /// A server with `identity`: the DNS records that its domains need. It does not affect sending unless `identity.requireDns` is true.
    IdentityReady,
    /// A server with `feedback`: whether bounces and complaints are received. It does not affect sending.
    FeedbackReady,
    /// A server with `identity.dkim`: which keys sign, and from which domains messages are sent unsigned.
    Signing,
    /// A campaign: every recipient has a final outcome.
    Completed,
    /// A campaign: the audience was read without bad rows.
    AudienceRead,
    /// A campaign: one of its servers refuses it whoever the recipient is, and is not used for this run until an operator acts.
    RefusedByServer,
    /// While true: too much of what a namespace sent came back. A server: campaigns of some namespaces are not sent through it; a campaign: some of its servers are paused for its namespace.
    NamespacePaused,
    /// A campaign: false while a server accepted more than twice the share of its weight, because others had reached their limits; true while `weighting: Strict` makes the others wait for a server with a limit.
    WeightsKept,
    /// A campaign, only while false: its plan does not grant the namespace the sender's domain. A warning: it is sent all the same.
    SenderAllowed,
    /// A campaign with `unsubscribe`, or with 5,000 recipients or more, until it is completed: whether it meets the bulk sender requirements of Gmail, Yahoo and Outlook. It does not affect sending.
    BulkSenderReady,
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

            /// The word as a status has it.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Reason::$name => stringify!($name)),* }
            }

            /// The reason of this word.
            #[must_use]
            pub fn from_name(name: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|reason| reason.as_str() == name)
            }
        }
    };
}

// What a reason means, then what to do: the documents are generated from these words.
reasons! {
    // Servers
    /// The server is Active: its last probe succeeded and nothing holds it back. Nothing to do.
    Active,
    /// `spec.enabled` is false. Set it to true to probe and use the server.
    Disabled,
    /// The first probe has not finished yet. Wait for it.
    NotProbedYet,
    /// The probe succeeded. Nothing to do.
    ProbeSucceeded,
    /// This type of server cannot be probed without sending; it is Active until a send fails. Nothing to do.
    NotProbeable,
    /// The host name has no address. Check the spelling of `host`, and DNS.
    NameNotResolved,
    /// Nothing listens there. Check host and port, and that the server runs.
    ConnectionRefused,
    /// The connection was closed or broken before the conversation ended. Check the server's log.
    ConnectionLost,
    /// No answer within the time allowed. Check firewalls, host, port and encryption, or raise `probe.timeout`.
    TimedOut,
    /// There is no route to the host. Check host, network and firewalls.
    Unreachable,
    /// TLS could not be set up (certificate, name, version), or is not offered. Renew the certificate, or set `caRef` or `tlsServerName`; the message says which.
    TlsFailed,
    /// The server does not offer STARTTLS though the spec asks for it. Check the port, or use `encryption: Tls`.
    StartTlsNotOffered,
    /// The credentials were refused. Correct the key, or `username` and `password` (or `token`), in the Secret.
    AuthenticationFailed,
    /// The server offers no authentication mechanism that Mailfleet supports. Check `auth.mechanism` and `encryption`, or leave `auth` out.
    AuthenticationNotOffered,
    /// The server refused the connection (a greeting or EHLO other than 2xx, 421, or 5xx of an API). Wait; if it lasts, ask the server's operator.
    ServiceNotAvailable,
    /// The server accepts nothing over an unencrypted connection. Set `encryption` to StartTls, or to Tls with port 465.
    StartTlsRequired,
    /// The server refused the sender address. Have the server accept the From address (vendors verify it or its domain), log in, or allow this machine there.
    SenderRefused,
    /// The server refused the campaign's content (spam, viruses, policy, SPF or DKIM that does not match the From address). Change what the message quotes; other servers continue meanwhile.
    ContentRefused,
    /// The server refused the name given in EHLO. Set `heloName` to a full host name that resolves in DNS.
    HeloRefused,
    /// The server refused this machine's address (a block list, its reputation, no name in DNS, no entry). Do what the message says, log in, or send through a relay.
    ClientRefused,
    /// The server does not relay for us. Log in (`auth`), or allow this machine on the server.
    RelayDenied,
    /// The server's answer does not follow the protocol. Check host and port, or the endpoint.
    ProtocolError,
    /// The server limits our rate. Lower `limits.rates` or `limits.connections`.
    Throttled,
    /// The server allows fewer connections at a time. Lower `limits.connections`; open connections continue meanwhile.
    TooManyConnections,
    /// The vendor's quota or the account's credits are used up. Wait until it resets, or raise it at the vendor; other servers continue meanwhile.
    QuotaExceeded,
    /// The key is valid, but may not do this. Grant it the permission that the message names.
    PermissionDenied,
    /// The vendor has suspended the account. Ask the vendor.
    AccountSuspended,
    /// The vendor has paused sending for the account. Check the vendor's console for the cause.
    SendingPaused,
    /// The account is in the vendor's sandbox and reaches only verified recipients. Ask the vendor for production access.
    SandboxOnly,
    /// What the spec names does not exist at the vendor (a domain, a stream, a region). Correct the field that the message names.
    NotFoundAtVendor,
    /// Messages were refused though probes succeed. Fix what the message quotes.
    SendFailed,
    /// Messages in flight get no answer. Check the server's load; it is probed before it is used again.
    Unresponsive,
    /// The outcome of a message is unknown, because no readable answer came; the server is paused, and then tried with a single message. Check what the message quotes, and the server.
    OutcomeUnknown,
    /// A local file or folder could not be written. Free disk space, or check the folder's mode.
    StorageFailed,

    // DNS
    /// Every DNS record that the identity needs is published. Nothing to do.
    RecordsPublished,
    /// The DNS records are being looked up for the first time. Wait a few seconds.
    NotLookedUpYet,
    /// DNS gave no answer, or an error. Check the resolver (`--resolver`) or the name server that the message names; nothing changes until it answers.
    LookupFailed,
    /// A DKIM key has no record. Publish the one in the message.
    DkimRecordMissing,
    /// The record of a DKIM key is malformed, is for other uses, or holds another key. Publish the one in the message in its place.
    DkimRecordInvalid,
    /// The messages of all domains are signed. Nothing to do; the message names the keys.
    MessagesSigned,
    /// Messages from a domain are not signed, because no key is of it or of a domain above it. Add a key to `identity.dkim`.
    DomainNotSigned,
    /// The vendor rebuilds or changes the message, and signs it itself; `identity.dkim` has no effect. Remove the keys, and set up DKIM at the vendor.
    SignedByVendor,
    /// The domain of the envelope sender has no SPF record. Publish the one in the message, or the vendor's.
    SpfRecordMissing,
    /// An SPF record is malformed, is duplicated, or needs more than 10 lookups. Correct what the message names.
    SpfRecordInvalid,
    /// The SPF record does not permit an address that the server sends from. Publish the record in the message in its place.
    SpfNotPermitted,
    /// A domain of From addresses has no DMARC policy, and no domain above it has one. Publish the one in the message.
    DmarcRecordMissing,
    /// A DMARC record is malformed, or is duplicated. Publish the one in the message in its place.
    DmarcRecordInvalid,
    /// Neither a DKIM key nor the return path belongs to a domain of From addresses, as its DMARC policy requires. Sign with a key of the domain, or set `returnPath` below it.
    DmarcNotAligned,
    /// The domain of the envelope sender accepts no mail, so bounces are lost. Publish the MX record in the message, or the vendor's.
    ReturnPathNotResolved,
    /// An address that the server sends from has no name. Have whoever provides the address set the PTR record in the message.
    PtrRecordMissing,
    /// None of the names of an address that the server sends from has that address. Publish what the message names.
    PtrRecordInvalid,

    // Feedback
    /// Webhook requests are accepted. Nothing to do.
    WebhookReceiving,
    /// No webhook request has arrived since this process started. Give the vendor the address in the message, if it does not have it yet (docs/webhooks.md).
    WebhookWaiting,
    /// Webhook requests arrive and are refused, and none was accepted in the last hour. Compare `feedback.webhook` with the vendor's settings; if they agree, the requests come from someone else.
    WebhookRefused,
    /// Bounces and complaints by mail are read. Nothing to do.
    FeedbackRead,
    /// The mailbox is being read for the first time. Wait a few seconds.
    NotReadYet,
    /// Bounces go to the listener, and this process has none. Start it with `--bounce-address`.
    NotListening,
    /// A folder of the mailbox does not exist, may not be changed, or contains too many other messages. Correct `folder` or `moveTo`, or grant the right that the message names.
    FolderUnusable,

    // What only a person can fix
    /// The spec breaks a rule. Fix the field that the message names; `mailfleet validate` names them all.
    InvalidSpec,
    /// The newest version of the object cannot be read; the last good version, if there was one, stays in use. Fix what the message names; `mailfleet validate` names it too.
    Unreadable,
    /// A referenced Secret does not exist. Create it in the object's namespace.
    SecretNotFound,
    /// A key is missing from a Secret. Add the key.
    SecretKeyNotFound,
    /// A Secret's value cannot be used as it is (not UTF-8, not a certificate). Correct the value.
    SecretInvalid,
    /// A referenced ConfigMap does not exist. Create it in the campaign's namespace.
    ConfigMapNotFound,
    /// A key is missing from a ConfigMap. Add the key.
    ConfigMapKeyNotFound,
    /// No plan allows this namespace to run servers of its own. Name the server in a plan, or set `ownServers` in one.
    NotAllowedByPlan,
    /// The operator does not allow this server to run a program or use the machine's own credentials. Name a Secret, or ask the operator.
    NotAllowedByOperator,
    /// The namespace has more servers of its own than its plans allow. Delete one (the oldest are kept), or raise `ownServers.max`.
    OverMaximum,

    // Plans
    /// At least one granted server is Active. Nothing to do; the message names those that are not Active.
    ServersActive,
    /// None of the granted servers is Active. `mailfleet get servers` says why each of them is not.
    NoActiveServer,
    /// A granted server does not exist. Create it, or remove it from `servers`.
    ServerNotFound,
    /// The plan grants no server. Name some in the plan.
    NoServers,
    /// Only plans in another namespace count (`--plan-namespace`). Put the plan there, or ask the operator to.
    NotThePlanNamespace,

    // Campaigns
    /// The plan does not exist, or does not allow this namespace (the status does not say which). Name another in `planRef`, or ask the operator.
    PlanNotFound,
    /// The plan does not allow campaigns to choose servers. Remove `servers`, or use another plan.
    NarrowingForbidden,
    /// A named server is not granted by the plan and is not the namespace's own. Choose one that the message lists, or ask the operator.
    ServerNotGranted,
    /// A name is both a granted and an own server. Add `namespace` to it.
    AmbiguousServer,
    /// The plan does not allow the namespace to send from a domain in From, Reply-To or another sender field, or a header would control the vendor of the plan's servers. Use a domain that the message lists, or ask the operator to add it to the plan's `senderDomains`; remove such a header.
    SenderNotAllowed,
    /// All weights are zero. Give one a weight of 1 or more.
    NoWeight,
    /// A template, subject or address of the campaign does not work. Fix what the message names.
    InvalidContent,
    /// A file named by the campaign does not exist or is outside the folder. Put it there; Mailfleet looks again every 5 s.
    FileNotFound,
    /// The campaign uses Mailfleet's own unsubscribe links (`unsubscribe.oneClick`), and the process does not know its public URL; nothing is sent without a working link. Start it with `--public-url` and `--public-address`, or set `unsubscribe.url` to a page of your own.
    PublicUrlMissing,
    /// The host resolves to an address that may not be contacted, or not at all (the status does not say which). Use a host on the public internet (an audience can be a ConfigMap), or ask the operator.
    AddressNotAllowed,
    /// The audience cannot be read. Fix what the message names; network errors are retried.
    AudienceUnreadable,
    /// The audience's file was edited while it was in use; it is read again from the start, and nobody is mailed twice. Wait; if this lasts, something keeps writing to the file: replace it by renaming instead.
    AudienceChanged,
    /// Some rows of the audience could not be used (`mailfleet get campaigns NAME --problems` names them). Fix them, and exactly their recipients are mailed; or set `audience.whenRowIsBad: Skip`.
    BadRows,
    /// More rows of the audience could not be used than `audience.maxBadRows` allows. Fix them, or raise the bound; they and the rest are then mailed.
    TooManyBadRows,
    /// Rows were added or fixed after the run was completed; they are not mailed. Raise `reopen` by one to mail them alone.
    RowsAfterCompletion,
    /// The bulk sender requirements of Gmail, Yahoo and Outlook are met, as far as Mailfleet can check. Nothing to do.
    RequirementsMet,
    /// Some bulk sender requirements of Gmail, Yahoo and Outlook are not met; the campaign is sent all the same. Do what the message says about each of them (docs/bulk-senders.md).
    RequirementsOpen,
    /// Some bulk sender requirements of Gmail, Yahoo and Outlook could not be checked. The message says which, and how they could be.
    RequirementsNotKnown,
    /// The campaign has the audience and the message (its subject, its bodies or both) of another one in its namespace that no longer exists: if it was renamed, everybody would be mailed again. Restore the old name, or set `spec.run` to a new value to mail everybody.
    MayBeRenamed,
    /// The template failed for more recipients than `content.maxRenderErrors` allows. Fix the template or the data, or raise the bound; they and the rest are then mailed.
    TooManyRenderErrors,
    /// The template failed for some recipients; all others have an outcome. Fix the template or the data, and exactly these are mailed; or set `content.whenRenderFails: Skip`.
    RenderFailed,
    /// The content is being read, and its templates compiled. Wait a few seconds, or longer while many campaigns of the namespace are new.
    Preparing,
    /// The templates of campaigns that are sending use all the memory for templates; the campaign continues when one of them ends. Wait, suspend another campaign of the namespace, or put less into its templates.
    WaitingForMemory,
    /// Sending begins at `startAt`. Wait for it.
    Scheduled,
    /// It is outside the campaign's `sendingHours`, or outside those of all remaining recipients; the message says until when, and the campaign then continues automatically. Wait, or change `sendingHours` to send sooner.
    OutsideSendingHours,
    /// `startAt` plus `startingDeadline` has passed before the campaign could start. Set a later `startAt`, or remove `startingDeadline`.
    StartingDeadlineExceeded,
    /// `spec.suspend` is true. Set it to false to continue.
    Suspended,
    /// The campaign is being deleted; messages in flight are completed first. Wait a few seconds.
    Deleting,
    /// Messages are being sent. Nothing to do.
    Sending,
    /// None of the campaign's servers is Active, and it waits for one. `mailfleet get servers` says why each of them cannot be used.
    WaitingForServer,
    /// All servers have reached their limits; the message says until when. Wait, or raise `limits` of servers or plan.
    WaitingForLimits,
    /// Other servers reached their limits, and their share went elsewhere. Raise the limits, or set `weighting: Strict`.
    LimitsUsedUp,
    /// `weighting: Strict` keeps the shares, so the limit of one server sets the pace of the whole campaign; the message names it. Raise its `limits`, lower its weight, or set `weighting: Overflow`.
    PacedByServer,
    /// All remaining recipients are deferred; the next attempt is automatic. Wait for it.
    WaitingForRetry,
    /// Nothing is sent, because no process runs: `mailfleet run` was stopped. Start it again; it continues with the rest.
    NotRunning,
    /// None of the campaign's servers is Active and `whenNoServerIsActive` is `Stop`. Fix a server: if nothing has been sent yet, the campaign then starts; otherwise run `mailfleet resume CAMPAIGN`, set the annotation `mailfleet.dev/resume` to a new value, or change the spec: only the rest is mailed.
    NoEligibleServer,
    /// A server refused so many recipients of the campaign in the same way that it must mean all of them; they are held, and none was given up. Fix what the message quotes, then run `mailfleet resume CAMPAIGN --held Retry` (or `--held Reject`, when the recipients are at fault).
    RefusedAlike,
    /// Too many recipients cannot be reached: their addresses were rejected or bounced, more than `stopWhen.bouncePercent` of a run, or `feedback.pauseWhen.bouncePercent` of a server. Clean the audience, then run `mailfleet resume CAMPAIGN`, or `mailfleet resume server/NAME` for a server.
    BounceRateTooHigh,
    /// Too many recipients reported a message as spam, more than `stopWhen.complaintPercent` of a run, or `feedback.pauseWhen.complaintPercent` of a server. Check whether they asked for it, then run `mailfleet resume CAMPAIGN`, or `mailfleet resume server/NAME` for a server.
    ComplaintRateTooHigh,
    /// An operator asked to resume the run (`mailfleet resume`, or the annotation `mailfleet.dev/resume`), and this is in progress. Wait a few seconds.
    Resuming,
    /// A step of the rollout was sent, and Mailfleet waits for its bounces and complaints. Wait: the next step begins at the time in the message; `mailfleet promote CAMPAIGN` begins it at once.
    RolloutPaused,
    /// A step of the rollout was sent, and a person decides whether the next one begins. Look at `status.rollout`, then run `mailfleet promote CAMPAIGN`, or set the annotation `mailfleet.dev/promote` to a new value.
    RolloutWaiting,
    /// The run is over, and no message was accepted. Look at the replies (`mailfleet get campaigns NAME --recipients`): is this the right audience, and the right server? A new `run` mails everybody again.
    NobodyAccepted,
    /// Every recipient has a final outcome. Nothing to do.
    Completed,
    /// The status says that the run began, but the ledger has no record of it. Restore the ledger, or give `run` a new value to mail everybody.
    LedgerMissing,
    /// The ledger cannot be written (full disk, locked); sending waits. Free disk space, or stop what holds the lock.
    LedgerUnavailable,
    /// Everything was read. Nothing to do.
    Read,
}

impl Reason {
    /// Whether a server's first probe, or the first lookup of its DNS records, has not ended yet.
    #[must_use]
    pub const fn is_of_start(self) -> bool {
        matches!(self, Self::NotProbedYet | Self::NotLookedUpYet)
    }

    /// Whether the audience, or the template that meets it, is at fault: another version of a file, or of the Secret that says where
    /// the audience is, may fix it, without a change of the spec.
    #[must_use]
    pub const fn is_of_rows(self) -> bool {
        matches!(
            self,
            Self::AudienceUnreadable
                | Self::AddressNotAllowed
                | Self::SecretInvalid
                | Self::FileNotFound
                | Self::InvalidContent
                | Self::BadRows
                | Self::TooManyBadRows
                | Self::RenderFailed
                | Self::TooManyRenderErrors
        )
    }
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
    /// A condition whose time is filled in by `merge`. Its message is cut at `MESSAGE_MAX`.
    #[must_use]
    pub fn new(kind: ConditionType, status: ConditionStatus, reason: Reason, message: impl Into<Cow<'static, str>>) -> Self {
        let message = bounded(message.into(), MESSAGE_MAX);
        Self { kind, status, reason, message, last_transition_time: Timestamp::UNIX_EPOCH, observed_generation: None }
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
    fn no_message_is_longer_than_an_api_server_takes() {
        let long = Condition::new(ConditionType::Ready, ConditionStatus::False, Reason::NoActiveServer, "ä".repeat(MESSAGE_MAX));
        assert_eq!(long.message.len(), MESSAGE_MAX - 1, "a cut falls between characters");
    }

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
