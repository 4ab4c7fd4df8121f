//! The facts of feedback. Pure.

use std::{fmt, str::FromStr, sync::Arc};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::SuppressionReason;
use crate::meta::Key;

/// One thing that happened to a message or a recipient after the message was handed over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// What happened.
    pub kind: EventKind,
    /// Which message it is about, as far as the sender of the feedback says.
    pub message: MessageIdentity,
    /// The recipient's address as the feedback gives it; the ledger knows it when the message is known.
    pub recipient: Option<Arc<str>>,
    /// When it happened, milliseconds since 1970; absent where the feedback does not say.
    pub at_ms: Option<i64>,
    /// Who told it, for people: `webhook of ops/sendgrid`, `bounce listener`, `mailbox of ops/relay`, `one-click`.
    pub source: Arc<str>,
    /// The sender's own identity of the event, by which the same event delivered twice counts once; absent where it has none.
    pub id: Option<String>,
    /// The enhanced status code (RFC 3463) or reply code and the other side's words, at most 250 characters, without secrets.
    pub detail: String,
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EventKind {
    /// The receiving server took it (a vendor's word; RFC 3464 `Action: delivered`).
    Delivered,
    /// It was not delivered, for a reason that may pass, or one that says nothing of the recipient (5.7.x, content, reputation).
    SoftBounce,
    /// The recipient's address takes no mail and will not: no such mailbox, no such domain.
    HardBounce,
    /// The recipient, or their provider, reported it as spam (RFC 5965).
    Complaint,
    /// The recipient asked for no more mail.
    Unsubscribed,
}

impl EventKind {
    /// Every kind, in the order of its number.
    pub const ALL: [Self; 5] = [Self::Delivered, Self::SoftBounce, Self::HardBounce, Self::Complaint, Self::Unsubscribed];

    /// The word in tables and views.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Delivered => "Delivered",
            Self::SoftBounce => "SoftBounce",
            Self::HardBounce => "HardBounce",
            Self::Complaint => "Complaint",
            Self::Unsubscribed => "Unsubscribed",
        }
    }

    /// Why its recipient is not mailed any more after such an event.
    #[must_use]
    pub const fn suppresses(self) -> Option<SuppressionReason> {
        match self {
            Self::HardBounce => Some(SuppressionReason::HardBounce),
            Self::Complaint => Some(SuppressionReason::Complaint),
            Self::Unsubscribed => Some(SuppressionReason::Unsubscribed),
            Self::Delivered | Self::SoftBounce => None,
        }
    }

    /// The number in the ledger; it never changes its meaning.
    #[must_use]
    pub const fn number(self) -> i64 {
        self as i64
    }

    /// The kind of a number in the ledger.
    #[must_use]
    pub fn from_number(number: i64) -> Option<Self> {
        usize::try_from(number).ok().and_then(|number| Self::ALL.get(number)).copied()
    }
}

impl fmt::Display for EventKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What came back of a run: people of whom such an event came, each once for each kind. Beside the fates, which it does not change.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FeedbackCounts {
    /// Accepted by the receiving server, according to the vendor.
    pub delivered: u64,
    /// Not delivered, for a reason that may pass or that says nothing about the recipient.
    pub soft_bounced: u64,
    /// Not delivered, because the address does not accept mail.
    pub bounced: u64,
    /// Reported as spam.
    pub complained: u64,
    /// Unsubscribed.
    pub unsubscribed: u64,
}

impl FeedbackCounts {
    /// Whether nothing came back.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// What was reported as spam, and of how much.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Complaints {
    /// Messages that servers accepted.
    pub accepted: u64,
    /// Those that were reported as spam.
    pub complained: u64,
}

/// What a run is judged by: its counts, less those when a person resumed it last. And what a server is judged by: those of a window.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Judged {
    /// Messages that servers accepted.
    pub accepted: u64,
    /// Recipients whom servers rejected.
    pub rejected: u64,
    /// Accepted messages that bounced for good.
    pub bounced: u64,
    /// Complaints.
    pub complained: u64,
}

impl Judged {
    /// What came since.
    #[must_use]
    pub const fn since(self, before: Self) -> Self {
        Self {
            accepted: self.accepted.saturating_sub(before.accepted),
            rejected: self.rejected.saturating_sub(before.rejected),
            bounced: self.bounced.saturating_sub(before.bounced),
            complained: self.complained.saturating_sub(before.complained),
        }
    }
}

impl Judged {
    /// Both together.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self {
            accepted: self.accepted + other.accepted,
            rejected: self.rejected + other.rejected,
            bounced: self.bounced + other.bounced,
            complained: self.complained + other.complained,
        }
    }

    /// Messages that were accepted or rejected.
    #[must_use]
    pub const fn ended(self) -> u64 {
        self.accepted + self.rejected
    }

    /// Messages whose recipient cannot be reached.
    #[must_use]
    pub const fn failed(self) -> u64 {
        self.rejected + self.bounced
    }
}

/// What identifies the message of an event, from the most exact to the least.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MessageIdentity {
    /// Its row in the ledger: from a token of our own that was authenticated, or from metadata that a vendor gave back in an
    /// authenticated call for this server.
    Reference {
        /// The row.
        reference: MessageReference,
        /// The `SendingServer` whose feedback it is; the message must have been sent through it. Absent for a token of our own.
        server: Option<Key>,
    },
    /// A vendor's id of the message, as its reply had it when it was accepted by this server.
    VendorId {
        /// The `SendingServer`.
        server: Key,
        /// As the vendor knows the message.
        id: String,
    },
    /// Its Message-ID, without angle brackets, told by the feedback of this server.
    MessageId {
        /// The `SendingServer`.
        server: Key,
        /// As it is in the header field, without the angle brackets.
        id: String,
    },
    /// No message: the recipient's subscription in this namespace, to this topic or to everything.
    Subscription {
        /// The namespace of the campaigns.
        namespace: Arc<str>,
        /// The topic; all when absent.
        topic: Option<Arc<str>>,
        /// The number of the run whose message was answered, where it is known, and [`MessageReference::ledger_of`] its ledger.
        run: Option<(u32, u32)>,
    },
    /// Nothing but the recipient is known, by the feedback of this server: for whichever namespaces were sent through it.
    Recipient {
        /// The `SendingServer`.
        server: Key,
    },
}

/// The row of a message in a ledger. It fits into the local part of an address (VERP) and into a vendor's metadata.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct MessageReference {
    /// Which ledger: [`MessageReference::ledger_of`] its seed, so that another's feedback is not taken for ours.
    pub ledger: u32,
    /// The run's number in the ledger.
    pub run: u32,
    /// The partition of the run.
    pub partition: u16,
    /// The message's number in the partition.
    pub seq: u32,
}

impl MessageReference {
    /// The bytes of [`MessageReference::to_bytes`].
    pub const BYTES: usize = 14;

    /// What stands for a ledger with this seed; the seed cannot be told from it.
    #[must_use]
    pub fn ledger_of(seed: u64) -> u32 {
        use std::hash::Hasher as _;
        let mut hasher = siphasher::sip::SipHasher13::new_with_keys(seed, 0x6665_6564_6261_636b);
        hasher.write(b"ledger");
        let hash = hasher.finish().to_be_bytes();
        u32::from_be_bytes([hash[0], hash[1], hash[2], hash[3]])
    }

    /// Big-endian, in the order of the fields.
    #[must_use]
    pub fn to_bytes(self) -> [u8; Self::BYTES] {
        let mut bytes = [0; Self::BYTES];
        bytes[..4].copy_from_slice(&self.ledger.to_be_bytes());
        bytes[4..8].copy_from_slice(&self.run.to_be_bytes());
        bytes[8..10].copy_from_slice(&self.partition.to_be_bytes());
        bytes[10..].copy_from_slice(&self.seq.to_be_bytes());
        bytes
    }

    /// The opposite of [`MessageReference::to_bytes`].
    #[must_use]
    pub fn from_bytes(bytes: [u8; Self::BYTES]) -> Self {
        let [l0, l1, l2, l3, r0, r1, r2, r3, p0, p1, s0, s1, s2, s3] = bytes;
        Self {
            ledger: u32::from_be_bytes([l0, l1, l2, l3]),
            run: u32::from_be_bytes([r0, r1, r2, r3]),
            partition: u16::from_be_bytes([p0, p1]),
            seq: u32::from_be_bytes([s0, s1, s2, s3]),
        }
    }
}

/// As it stands in a vendor's metadata: hexadecimal numbers between hyphens, `1f2e3d4c-7-0-3a98`.
impl fmt::Display for MessageReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}-{:x}-{:x}-{:x}", self.ledger, self.run, self.partition, self.seq)
    }
}

impl FromStr for MessageReference {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let mut parts = text.split('-');
        let mut next = || {
            let part = parts.next().filter(|part| part.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b)))?;
            u32::from_str_radix(part, 16).ok()
        };
        let (ledger, run, partition, seq) = (next().ok_or(())?, next().ok_or(())?, next().ok_or(())?, next().ok_or(())?);
        let partition = u16::try_from(partition).map_err(|_| ())?;
        if parts.next().is_some() { Err(()) } else { Ok(Self { ledger, run, partition, seq }) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reference_comes_back_from_text_and_bytes() {
        for (run, partition, seq) in [(0, 0, 0), (7, 0, 15_000), (u32::MAX, u16::MAX, u32::MAX)] {
            let reference = MessageReference { ledger: MessageReference::ledger_of(42), run, partition, seq };
            assert_eq!(reference.to_string().parse(), Ok(reference));
            assert_eq!(MessageReference::from_bytes(reference.to_bytes()), reference);
        }
        for bad in ["", "1-2-3", "1-2-3-4-5", "1-2-10000-4", "1--3-4", "+1-2-3-4", "A-2-3-4", "1-2-3-100000000"] {
            assert_eq!(bad.parse::<MessageReference>(), Err(()), "{bad}");
        }
    }

    #[test]
    fn numbers_of_kinds_are_those_of_the_ledger() {
        for (number, kind) in (0..).zip(EventKind::ALL) {
            assert_eq!((kind.number(), EventKind::from_number(number)), (number, Some(kind)));
        }
        assert_eq!(EventKind::from_number(5), None);
    }

    #[test]
    fn a_resumed_run_is_judged_by_what_came_since() {
        let before = Judged { accepted: 100, rejected: 150, bounced: 3, complained: 1 };
        let now = Judged { accepted: 400, rejected: 160, bounced: 5, complained: 1 };
        assert_eq!(now.since(before), Judged { accepted: 300, rejected: 10, bounced: 2, complained: 0 });
        assert_eq!(before.since(now), Judged::default(), "a restored ledger may have fewer");
    }
}
