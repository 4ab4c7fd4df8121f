//! The indices of campaigns and servers in a process: distinct types, so that they cannot be confused. Pure.

/// The index of a campaign in the dispatcher. Never reused in a process, so that late events of a removed campaign match nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CampaignIx(u64);

/// The index of a server's lane in the dispatcher. Never reused in a process, like [`CampaignIx`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LaneIx(u64);

impl CampaignIx {
    /// The campaign with this number.
    #[must_use]
    pub const fn new(number: u64) -> Self {
        Self(number)
    }
}

impl LaneIx {
    /// The lowest index.
    pub const FIRST: Self = Self(0);

    /// The server with this number.
    #[must_use]
    pub const fn new(number: u64) -> Self {
        Self(number)
    }
}
