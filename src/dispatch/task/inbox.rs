//! The channels through which the task learns what goes on beside it.

use tokio::sync::mpsc;

use super::{Answer, CallEnded, Delivered, FeederEvent};

/// A channel whose sender is handed out again and again.
pub(super) struct Channel<T> {
    sender: mpsc::UnboundedSender<T>,
    pub(super) receiver: mpsc::UnboundedReceiver<T>,
}

impl<T> Channel<T> {
    /// A sender for somebody who works in the background.
    pub(super) fn sender(&self) -> mpsc::UnboundedSender<T> {
        self.sender.clone()
    }
}

impl<T> Default for Channel<T> {
    fn default() -> Self {
        let (sender, receiver) = mpsc::unbounded_channel();
        Self { sender, receiver }
    }
}

/// What comes in.
#[derive(Default)]
pub(super) struct Inbox {
    /// The outcomes of messages.
    pub(super) outcomes: Channel<Delivered>,
    /// Calls of `deliver` that are over, unless they have begun again since.
    pub(super) ended_calls: Channel<CallEnded>,
    /// What feeders bring.
    pub(super) feeders: Channel<FeederEvent>,
    /// What the ledger and files answer.
    pub(super) answers: Channel<Answer>,
}
