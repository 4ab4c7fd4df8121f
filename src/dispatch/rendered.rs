//! How many rendered messages a campaign may have waiting: all campaigns share one budget of bytes. Pure.

use std::{collections::BTreeMap, sync::Arc};

/// Rendered messages of one campaign that wait, whatever their size.
pub(super) const WAITING_MAX: usize = 256;
/// Rendered messages of all campaigns that wait, bytes: what campaigns that feed share evenly.
pub const BYTES_SHARED: usize = 32 << 20;
/// Beyond this, where messages are so large or campaigns so many that two of each are more, only a campaign that has nothing
/// waiting gets one message more, and only while its namespace has less than its share. Bytes.
pub const BYTES_MAX: usize = 128 << 20;
/// Messages that are asked for before their size is known.
const FIRST: usize = 16;
/// Two, so that one is being rendered while the other leaves.
const LEAST: usize = 2;

/// What waits, as far as the next requests have to know.
#[derive(Debug, Default)]
pub(super) struct Rendered {
    feeding: usize,
    bytes: usize,
    namespaces: BTreeMap<Arc<str>, usize>,
}

impl Rendered {
    /// Counts a campaign that feeds: the messages that wait or are asked for, and the size of each.
    pub fn note(&mut self, namespace: &Arc<str>, messages: usize, message_bytes: usize) {
        self.feeding += 1;
        let bytes = messages.saturating_mul(message_bytes);
        self.bytes = self.bytes.saturating_add(bytes);
        if let Some(of_namespace) = self.namespaces.get_mut(namespace) {
            *of_namespace += bytes;
        } else {
            self.namespaces.insert(namespace.clone(), bytes);
        }
    }

    /// How many messages may wait for a campaign that has `held`.
    pub fn most(&self, namespace: &Arc<str>, held: usize, message_bytes: usize) -> usize {
        if self.bytes > BYTES_MAX {
            let of_namespace = self.namespaces.get(namespace).copied().unwrap_or(0);
            let is_below_its_share = of_namespace < BYTES_MAX / self.namespaces.len().max(1);
            return usize::from(held == 0 && is_below_its_share);
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

    fn rendered(campaigns: usize, messages: usize, bytes: usize) -> Rendered {
        let mut rendered = Rendered::default();
        (0..campaigns).for_each(|_| rendered.note(&"many".into(), messages, bytes));
        rendered
    }

    #[test]
    fn campaigns_share_the_budget_evenly() {
        let one = "one".into();
        assert_eq!(rendered(1, 0, 0).most(&one, 0, 0), FIRST, "its size is not known");
        assert_eq!(rendered(2000, 0, 0).most(&one, 0, 0), LEAST);
        assert_eq!(rendered(1, 0, 10_000).most(&one, 0, 10_000), WAITING_MAX);
        assert_eq!(rendered(1, 0, 5 << 20).most(&one, 0, 5 << 20), 6);
        assert_eq!(rendered(100, 10, 10_000).most(&one, 0, 10_000), 33);
        assert_eq!(rendered(2000, 2, 10_000).most(&one, 0, 10_000), LEAST);
    }

    #[test]
    fn large_messages_of_many_campaigns_keep_nobody_else_waiting() {
        let mut full = rendered(100, 2, 5 << 20);
        let other: Arc<str> = "other".into();
        full.note(&other, 0, 5 << 20);
        assert_eq!(full.most(&"many".into(), 0, 5 << 20), 0, "its namespace has more than its share");
        assert_eq!((full.most(&other, 0, 5 << 20), full.most(&other, 1, 5 << 20)), (1, 0));
    }
}
