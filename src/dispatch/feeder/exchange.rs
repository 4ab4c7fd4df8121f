//! What a feeder is asked for, what it brings, and what it has to know for that. Plain data.

use std::{collections::BTreeSet, sync::Arc};

use crate::{
    clock::SteadyClock,
    dispatch::{
        index::CampaignIx,
        receivers::{Passing, Receiver},
        sample::Sample,
        stages::{Asleep, Later, ReadyMessage, RenderFailure},
    },
    ledger::{BadRow, DueMessage, RunId},
    message::Template,
    people::{People, Versions},
    report::{WithoutVariant, WithoutZone},
    resources::{Blocker, Key},
    routing::CampaignIntent,
    token::unsubscribe::Links,
};

/// What the feeder is asked for.
#[derive(Debug)]
pub enum Request {
    /// Begin to read: comes first, and once.
    Open,
    /// More recipients of the audience.
    More {
        /// How many.
        count: usize,
        /// Whose people are passed over.
        passing: Option<Arc<Passing>>,
    },
    /// Render these deferred messages again.
    Due(Vec<DueMessage>),
    /// One recipient outside this domain, out of turn.
    Seek(Arc<str>),
}

/// What the feeder brings.
#[derive(Debug)]
pub enum Fed {
    /// Rendered messages.
    Messages {
        /// Those that were rendered; others asked for may have failed or be gone.
        messages: Vec<ReadyMessage>,
        /// How many recipients that had been asked for with `More` are dealt with.
        requested: usize,
        /// How many that had been asked for with `Due` are.
        due: usize,
    },
    /// A recipient whose template failed.
    RenderFailed(RenderFailure),
    /// A deferred recipient is gone from the audience.
    Withdrawn {
        /// The number of the message in its run.
        seq: u64,
        /// The address.
        recipient: Arc<str>,
    },
    /// Whether somebody in another domain was found, who then comes as a message that was not requested.
    Sought(bool),
    /// Receivers of whom somebody was passed over.
    PassedOver(BTreeSet<Receiver>),
    /// People who were passed over because it is not within their own sending hours, of all that were read.
    PassedAsleep(Asleep),
    /// A deferred message was due outside the sending hours of its recipient.
    Later(Later),
    /// How far the audience is read.
    Progress {
        /// Recipients in all, estimated from that.
        estimate: Option<u64>,
        /// Rows so far that bring nobody: bad ones and duplicates.
        useless: u64,
    },
    /// The rows of the audience, counted beside the reading.
    Counted(u64),
    /// The audience is read to its end.
    AudienceEnd {
        /// Usable recipients, each once.
        total: u64,
        /// How many of them are not in the sample yet.
        outside: u64,
        /// Rows that repeat an address.
        duplicates: u64,
        /// Rows of people who are excluded.
        excluded: u64,
        /// Rows that could not be used.
        bad_rows: u64,
        /// The first of them, in words.
        bad_rows_named: String,
        /// Who has no time zone of their own.
        without_zone: Option<WithoutZone>,
        /// Whose value matches no variant.
        without_variant: Option<WithoutVariant>,
        /// Claims of an earlier process, and recipients whose template failed, that match no row.
        unmatched: Vec<u64>,
        /// The versions of what was read.
        versions: Versions,
    },
    /// All rows that cannot be used, by line: of the whole audience, or up to where reading stopped.
    Problems(Vec<BadRow>),
    /// It cannot go on.
    Failed {
        /// Why.
        blocker: Blocker,
        /// What the audience was read with or from, where that is known.
        versions: Versions,
    },
}

/// What a feeder brings, and for whom.
#[derive(Debug)]
pub struct FeederEvent {
    /// The campaign's index.
    pub campaign: CampaignIx,
    /// The number of the feeder in its run: what one that was stopped brings late is recognized by it.
    pub feeder_epoch: u64,
    /// What it brings.
    pub fed: Fed,
}

/// What a feeder needs to know of its campaign.
pub struct FeederSpec {
    /// The campaign's index.
    pub campaign: CampaignIx,
    /// The number of the feeder in its run: what one that was stopped brings late is recognized by it.
    pub feeder_epoch: u64,
    /// The campaign's key.
    pub key: Key,
    /// The run in the ledger.
    pub run_id: RunId,
    /// What is sent.
    pub intent: Arc<CampaignIntent>,
    /// The audience, and who of it is not mailed.
    pub people: Arc<People>,
    /// The compiled templates.
    pub template: Arc<Template>,
    /// The run was closed before: recipients who are not in the ledger are not mailed.
    pub adds_nobody: bool,
    /// The part of the audience that may be mailed; everybody when absent.
    pub sample: Option<Sample>,
    /// Makes the links by which people unsubscribe on our page.
    pub links: Option<Links>,
    /// The clock of the process.
    pub clock: SteadyClock,
}
