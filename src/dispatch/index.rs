//! The numbers of campaigns and servers within a process: each its own type, so that one is not taken for the other. Pure.

/// A campaign that the dispatcher knows. Given once in a process and never again, so that whatever comes late for a campaign
/// that is gone finds nobody.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CampaignIx(u64);

/// A server that the dispatcher knows. Given once in a process, as [`CampaignIx`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LaneIx(u64);

impl CampaignIx {
    /// The campaign of this number.
    #[must_use]
    pub const fn new(number: u64) -> Self {
        Self(number)
    }
}

impl LaneIx {
    /// The lowest of all.
    pub const FIRST: Self = Self(0);

    /// The server of this number.
    #[must_use]
    pub const fn new(number: u64) -> Self {
        Self(number)
    }
}
