//! The time: milliseconds since 1970 that never step back.

use std::time::Instant;

/// A clock that never steps back: wall time at the start, then the steady clock.
#[derive(Clone, Copy, Debug)]
pub struct SteadyClock {
    wall_ms: i64,
    started: Instant,
}

impl Default for SteadyClock {
    fn default() -> Self {
        Self { wall_ms: jiff::Timestamp::now().as_millisecond(), started: Instant::now() }
    }
}

impl SteadyClock {
    /// Milliseconds since 1970.
    #[must_use]
    pub fn now_ms(&self) -> i64 {
        self.wall_ms + i64::try_from(self.started.elapsed().as_millis()).unwrap_or(0)
    }
}
