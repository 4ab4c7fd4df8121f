//! What the feeder of a run is asked for, and what is still to come from it. Pure.

use crate::dispatch::stages::ReadyMessage;

/// The feeder of a run as the scheduler sees it, and the deferred messages that go through it.
#[derive(Clone, Debug, Default)]
pub struct FeederState {
    /// Counts the feeders, so that late events of a stopped one are recognized.
    pub epoch: u64,
    /// Whether it is running: nothing is requested before.
    pub is_running: bool,
    /// Whether it is looking for a recipient in another domain.
    pub is_seeking: bool,
    /// Messages that were requested from it and have not arrived.
    pub requested: usize,
    /// Deferred messages that it is rendering.
    pub preparing: usize,
    /// Whether deferred messages are being fetched for it.
    is_fetching: bool,
    /// When the next deferred message is due, milliseconds.
    pub next_due_ms: Option<i64>,
    /// The size of the largest message that was rendered last, bytes; 0 before any was.
    pub message_bytes: usize,
}

impl FeederState {
    /// Another feeder is wanted. `has_deferred`: messages that were fetched for its predecessor and not sent were returned, and may be
    /// due already.
    pub fn begin(&mut self, has_deferred: bool) {
        self.epoch += 1;
        self.requested = 0;
        self.preparing = 0;
        self.next_due_ms = has_deferred.then_some(0);
    }

    /// It is stopped. True if deferred messages are still being fetched for it, which have to be returned.
    pub fn stop(&mut self) -> bool {
        self.epoch += 1;
        self.is_running = false;
        self.is_seeking = false;
        std::mem::take(&mut self.is_fetching)
    }

    /// It brought messages: `requested` of those that were asked for are no longer to come, nor are `due` deferred ones.
    pub fn brought(&mut self, messages: &[ReadyMessage], requested: usize, due: usize) {
        self.requested = self.requested.saturating_sub(requested);
        self.preparing = self.preparing.saturating_sub(due);
        self.message_bytes = messages.iter().map(|message| message.content.own().len()).max().unwrap_or(self.message_bytes);
    }

    /// Deferred messages are fetched for it, all that are due.
    pub fn fetch(&mut self) {
        self.is_fetching = true;
        self.next_due_ms = None;
    }

    /// Deferred messages were fetched, and it is rendering `count` of them.
    pub fn fetched(&mut self, count: usize, next_due_ms: Option<i64>) {
        self.is_fetching = false;
        self.preparing += count;
        if let Some(at_ms) = next_due_ms {
            self.note_due(at_ms);
        }
    }

    /// A deferred message is due at this time.
    pub fn note_due(&mut self, at_ms: i64) {
        self.next_due_ms = Some(self.next_due_ms.map_or(at_ms, |due| due.min(at_ms)));
    }

    /// Whether a deferred message is due.
    #[must_use]
    pub fn is_due(&self, now_ms: i64) -> bool {
        self.next_due_ms.is_some_and(|due| due <= now_ms)
    }

    /// Whether no deferred message is being fetched or rendered.
    #[must_use]
    pub const fn prepares_nothing(&self) -> bool {
        !self.is_fetching && self.preparing == 0
    }

    /// Whether nothing that it was asked for is still to come.
    #[must_use]
    pub const fn owes_nothing(&self) -> bool {
        self.requested == 0 && self.prepares_nothing()
    }

    /// Messages that it was asked for, or is rendering.
    #[must_use]
    pub const fn asked(&self) -> usize {
        self.requested + self.preparing
    }
}
