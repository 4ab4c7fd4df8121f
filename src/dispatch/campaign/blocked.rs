//! What stops a run, and until when. Pure.

use crate::{dispatch::unread::Unread, resources::Blocker};

/// How long a campaign waits after a transient blocker that names no time, milliseconds.
const TRY_AGAIN_MS: i64 = 15_000;

/// Why a run does not get on, if anything stops it.
#[derive(Clone, Debug, Default)]
pub struct Blocked {
    /// What stops it.
    pub by: Option<Blocker>,
    /// When the campaign is retried after a transient blocker, milliseconds.
    try_again_ms: Option<i64>,
    /// How reading its audience has failed for now, if it has.
    unread: Option<Unread>,
}

impl Blocked {
    /// It is stopped: until somebody acts, or, by a transient blocker, for as long as that says.
    pub fn stop(&mut self, blocker: Blocker, now_ms: i64) {
        let after = blocker.retry_after.map_or(TRY_AGAIN_MS, |after| i64::try_from(after.as_millis()).unwrap_or(i64::MAX));
        self.try_again_ms = (!blocker.needs_person).then_some(now_ms.saturating_add(after));
        self.by = Some(blocker);
    }

    /// Nothing stops it any more.
    pub fn clear(&mut self) {
        self.by = None;
        self.try_again_ms = None;
    }

    /// Ends a wait that is over by now. True if there was one.
    pub fn has_waited(&mut self, now_ms: i64) -> bool {
        let is_over = self.try_again_ms.is_some_and(|at| at <= now_ms);
        if is_over {
            self.clear();
        }
        is_over
    }

    /// What status says of it.
    #[must_use]
    pub fn shown(&self) -> Option<&Blocker> {
        self.by.as_ref().or_else(|| self.unread.as_ref()?.shown())
    }

    // ── the audience ──

    /// Reading the audience failed. Returns the blocker with the pause that it asks for.
    pub fn not_read(&mut self, blocker: Blocker, now_ms: i64) -> Blocker {
        Unread::note(&mut self.unread, blocker, now_ms)
    }

    /// Something of the audience could be read.
    pub fn audience_opened(&mut self) {
        if let Some(unread) = &mut self.unread {
            unread.is_open = true;
        }
    }

    /// Somebody new was read, or the audience is another one.
    pub fn audience_read(&mut self) {
        self.unread = None;
    }

    /// Since when the audience cannot be read, milliseconds.
    #[must_use]
    pub fn unread_since_ms(&self) -> Option<i64> {
        self.unread.as_ref().map(|unread| unread.since_ms)
    }
}
