//! How many rendered messages a campaign may have waiting: all campaigns share one budget of bytes. Pure.

use std::{collections::BTreeMap, sync::Arc};

/// The most rendered messages of one campaign that wait, whatever their size.
pub(super) const WAITING_MAX: usize = 256;
/// Rendered messages of all campaigns that wait, bytes: a budget that feeding campaigns share evenly.
pub const BYTES_SHARED: usize = 32 << 20;
/// Above this, because messages are very large or campaigns very many, only a campaign with no message waiting gets another, and
/// only while its namespace has less than its share. Bytes.
pub const BYTES_MAX: usize = 128 << 20;
/// Rendered messages of all campaigns that wait for the same servers, bytes. Above this and [`WAITING_MAX`] messages, a campaign
/// with no message waiting gets one only while its namespace has less than its share of this, or a server has room: rendering more
/// behind such a queue sends nothing sooner.
pub const LINE_BYTES_MAX: usize = 4 << 20;
/// The assumed size of a message before one of its campaign is rendered, bytes.
const BYTES_ASSUMED: usize = 16 << 10;
/// The most messages that are requested before their size is known.
const FIRST: usize = 16;
/// One is enough if the share is small: there are many campaigns, and another's message leaves while the next one is rendered.
const LEAST: usize = 1;

/// A feeding campaign, as far as it concerns the others.
#[derive(Clone, Copy, Debug)]
pub(super) struct Feeding<'a> {
    pub namespace: &'a Arc<str>,
    /// The hash of the servers that it may be sent through.
    pub servers: u64,
    /// Messages that wait or are requested.
    pub held: usize,
    /// Those of them that were requested and have not arrived.
    pub asked: usize,
    /// Those of them that wait for room for their receiving domain: nobody is behind them.
    pub aside: usize,
    /// The size of each, bytes; 0 before one is rendered.
    pub message_bytes: usize,
}

/// The waiting messages, as far as the next requests depend on them.
#[derive(Debug, Default)]
pub(super) struct Rendered {
    feeding: usize,
    all: Line,
    /// The lines of messages, by the hash of the servers that they wait for.
    lines: BTreeMap<u64, Line>,
}

/// A line of waiting messages.
#[derive(Debug, Default)]
struct Line {
    messages: usize,
    bytes: usize,
    /// The bytes of each namespace.
    namespaces: BTreeMap<Arc<str>, usize>,
    /// Messages that were requested from its campaigns and have not arrived.
    asked: usize,
    /// Messages that its servers can take now; `None` until it is needed.
    room: Option<usize>,
}

impl Line {
    fn note(&mut self, namespace: &Arc<str>, messages: usize, bytes: usize) {
        self.messages += messages;
        self.bytes = self.bytes.saturating_add(bytes);
        if let Some(of_namespace) = self.namespaces.get_mut(namespace) {
            *of_namespace = of_namespace.saturating_add(bytes);
        } else {
            self.namespaces.insert(namespace.clone(), bytes);
        }
    }

    /// Whether a namespace has less than its even share of this many bytes.
    fn has_share(&self, namespace: &Arc<str>, bytes: usize) -> bool {
        self.namespaces.get(namespace).copied().unwrap_or(0) < bytes / self.namespaces.len().max(1)
    }
}

impl Rendered {
    /// Counts a feeding campaign.
    pub fn note(&mut self, campaign: Feeding<'_>) {
        self.feeding += 1;
        self.add(campaign, campaign.held, campaign.asked, campaign.aside);
    }

    /// Counts messages that are requested from a campaign.
    pub fn ask(&mut self, campaign: Feeding<'_>, messages: usize) {
        self.add(campaign, messages, messages, 0);
    }

    fn add(&mut self, Feeding { namespace, servers, message_bytes, .. }: Feeding<'_>, messages: usize, asked: usize, aside: usize) {
        let bytes = |messages: usize| messages.saturating_mul(if message_bytes == 0 { BYTES_ASSUMED } else { message_bytes });
        self.all.note(namespace, messages, bytes(messages));
        let (line, behind) = (self.lines.entry(servers).or_default(), messages.saturating_sub(aside));
        line.note(namespace, behind, bytes(behind));
        line.asked += asked;
    }

    /// How many messages of a campaign may wait; `room` returns how many its servers can take now.
    pub fn most(&mut self, campaign: Feeding<'_>, room: impl FnOnce() -> usize) -> usize {
        let Feeding { namespace, servers, held, message_bytes, .. } = campaign;
        if self.all.bytes > BYTES_MAX {
            return usize::from(held == 0 && self.all.has_share(namespace, BYTES_MAX));
        }
        let line = self.lines.entry(servers).or_default();
        if line.bytes > LINE_BYTES_MAX && line.messages > WAITING_MAX {
            let asked = line.asked;
            let may_have_one = held == 0 && (line.has_share(namespace, LINE_BYTES_MAX) || *line.room.get_or_insert_with(room) > asked);
            return usize::from(may_have_one);
        }
        if message_bytes == 0 {
            return (WAITING_MAX / self.feeding.max(1)).clamp(LEAST, FIRST);
        }
        (BYTES_SHARED / self.feeding.max(1) / message_bytes).clamp(LEAST, WAITING_MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn feeding(namespace: &Arc<str>, held: usize, message_bytes: usize) -> Feeding<'_> {
        Feeding { namespace, servers: 1, held, asked: 0, aside: 0, message_bytes }
    }

    fn rendered(campaigns: usize, messages: usize, bytes: usize) -> Rendered {
        let mut rendered = Rendered::default();
        (0..campaigns).for_each(|_| rendered.note(feeding(&"many".into(), messages, bytes)));
        rendered
    }

    fn most(rendered: &mut Rendered, namespace: &str, held: usize, message_bytes: usize) -> usize {
        rendered.most(feeding(&namespace.into(), held, message_bytes), || 0)
    }

    #[test]
    fn campaigns_share_the_budget_evenly() {
        let of = |campaigns, held, bytes| most(&mut rendered(campaigns, held, bytes), "many", 0, bytes);
        assert_eq!(of(1, 0, 0), FIRST, "its size is not known");
        assert_eq!(of(2000, 0, 0), LEAST);
        assert_eq!(of(1, 0, 10_000), WAITING_MAX);
        assert_eq!(of(1, 0, 5 << 20), 6);
        assert_eq!(of(100, 2, 10_000), 33);
        assert_eq!(of(2000, 1, 1_000), 16);
    }

    #[test]
    fn large_messages_of_many_campaigns_keep_nobody_else_waiting() {
        let mut full = rendered(100, 2, 5 << 20);
        full.note(feeding(&"other".into(), 0, 5 << 20));
        assert_eq!(most(&mut full, "many", 0, 5 << 20), 0, "its namespace has more than its share");
        assert_eq!((most(&mut full, "other", 0, 5 << 20), most(&mut full, "other", 1, 5 << 20)), (1, 0));
    }

    #[test]
    fn nobody_is_ready_behind_a_line_that_is_long_enough() {
        let mut full = rendered(500, 1, 10_000);
        assert_eq!(most(&mut full, "many", 0, 10_000), 0, "no server has room");
        assert_eq!(most(&mut full, "other", 0, 10_000), 1, "its namespace has nothing in the line");
        let many: Arc<str> = "many".into();
        assert!(full.most(Feeding { servers: 2, ..feeding(&many, 0, 10_000) }, || 0) > 0, "it waits for other servers");
        // Room that no campaign in the line can use goes to one that has nothing there.
        let mut full = rendered(500, 1, 10_000);
        assert_eq!(full.most(feeding(&many, 1, 10_000), || 1), 0);
        assert_eq!(full.most(feeding(&many, 0, 10_000), || 1), 1);
        full.ask(feeding(&many, 0, 10_000), 1);
        assert_eq!(full.most(feeding(&many, 0, 10_000), || 1), 0, "another was asked");
    }
}
