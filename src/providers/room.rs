//! Memory for large messages that are written as one: requests of vendors' APIs, and the input of programs.
//!
//! An attachment is held once for all messages of a campaign; a request holds a copy of it, in base64 and in JSON. What all calls of the
//! process hold at a time is bounded here.

use tokio::sync::{Semaphore, SemaphorePermit};

/// What large messages may hold in all, KiB.
const ROOM_KIB: u32 = 192 << 10;
/// Messages up to this size, bytes, are not counted: the number of connections bounds them.
const SMALL_MAX: usize = 256 << 10;
/// How often a message is held while a request is made of it.
const COPIES: usize = 3;

static ROOM: Semaphore = Semaphore::const_new(ROOM_KIB as usize);

/// Waits until there is room for messages of this many bytes in all; it lasts as long as what is returned.
pub async fn room(bytes: usize) -> Option<SemaphorePermit<'static>> {
    if bytes <= SMALL_MAX {
        return None;
    }
    let wanted = u32::try_from(bytes.saturating_mul(COPIES) >> 10).unwrap_or(u32::MAX).min(ROOM_KIB);
    // It is never closed.
    ROOM.acquire_many(wanted).await.ok()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn large_messages_wait_for_each_other_and_small_ones_do_not() {
        let first = room(60 << 20).await;
        assert!(first.is_some() && room(SMALL_MAX).await.is_none());
        let second = tokio::spawn(room(60 << 20));
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert!(!second.is_finished(), "there is room for one of them");
        drop(first);
        let second = second.await.expect("it ends");
        drop(second);
        assert!(room(usize::MAX).await.is_some(), "one alone always has room");
    }
}
