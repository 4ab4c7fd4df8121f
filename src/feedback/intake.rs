//! The way of feedback into the ledger: batches in, an answer once they are durable.

use thiserror::Error;
use tokio::sync::{mpsc, oneshot};

use super::Event;

/// How many batches may wait. Whoever brings another waits for room, and the other side for its answer.
const WAITING_MAX: usize = 64;

/// Takes events in. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Intake {
    batches: mpsc::Sender<Batch>,
}

/// Events that are taken together or not at all.
#[derive(Debug)]
pub struct Batch {
    /// What becomes durable together, or not at all.
    pub events: Vec<Event>,
    /// Told once they are durable, or why they are not.
    pub done: oneshot::Sender<Result<(), NotTaken>>,
}

/// Why no event of a batch was taken. The other side is to bring them again.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("the feedback could not be recorded, and must be sent again: {0}")]
pub struct NotTaken(pub String);

impl Intake {
    /// An intake, and where its batches arrive.
    #[must_use]
    pub fn new() -> (Self, mpsc::Receiver<Batch>) {
        let (batches, arriving) = mpsc::channel(WAITING_MAX);
        (Self { batches }, arriving)
    }

    /// Gives events to the ledger, all or none, and returns once they are durable.
    ///
    /// # Errors
    /// Then none of them was recorded.
    pub async fn take(&self, events: Vec<Event>) -> Result<(), NotTaken> {
        if events.is_empty() {
            return Ok(());
        }
        let (done, answer) = oneshot::channel();
        let ended = || NotTaken("this process is stopping".to_owned());
        self.batches.send(Batch { events, done }).await.map_err(|_| ended())?;
        answer.await.unwrap_or_else(|_| Err(ended()))
    }
}
