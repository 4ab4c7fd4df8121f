//! Pages that stay open are told what changed: their content anew, by server-sent events (HTML, 9.2), while it differs.
//!
//! Nothing is made while nobody looks. What is made is made once a second at most for all who look at the same page, and the more pages
//! are open, the less often each is looked at.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::body::Body;
use bytes::Bytes;
use futures::stream;

use super::{Dashboard, query::Route};

/// Pages that are live at a time.
pub(super) const LIVE_MAX: usize = 1000;
/// The shortest time between two looks at a page.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Looks a second at all pages together.
const LOOKS_A_SECOND: usize = 100;
/// After this long without news a page is told that the line still stands, and whoever is gone is noticed.
const SILENCE_MAX: Duration = Duration::from_secs(15);

/// A page that is live; it makes room for another when it is dropped.
pub(super) struct Seat(Arc<AtomicUsize>);

impl Seat {
    /// A seat, if one is free.
    pub(super) fn take(taken: &Arc<AtomicUsize>, most: usize) -> Option<Self> {
        let add = |count: usize| (count < most).then_some(count + 1);
        taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add).ok()?;
        Some(Self(taken.clone()))
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// How long a page rests between two looks while so many are live.
fn pause(live: usize) -> Duration {
    LOOK_EVERY.max(Duration::from_millis((live * 1000 / LOOKS_A_SECOND) as u64))
}

/// What a page is told for as long as it is open; `version` is that of the content that it has.
pub(super) fn events(dashboard: Arc<Dashboard>, route: Route, version: String, seat: Seat) -> Body {
    let first = Bytes::from_static(b"retry: 3000\n\n");
    let state = (dashboard, route, version, seat, Some(first), Duration::ZERO);
    Body::from_stream(stream::unfold(state, async |(dashboard, route, version, seat, first, mut silence)| {
        if let Some(first) = first {
            return Some((Ok::<_, std::convert::Infallible>(first), (dashboard, route, version, seat, None, silence)));
        }
        loop {
            let pause = pause(dashboard.live());
            tokio::time::sleep(pause).await;
            silence += pause;
            let made = dashboard.content(&route).await;
            if made.version != version {
                let data = serde_json::json!({"version": made.version, "title": made.title, "content": made.content});
                let event = Bytes::from(format!("data: {data}\n\n"));
                return Some((Ok(event), (dashboard, route, made.version.clone(), seat, None, Duration::ZERO)));
            }
            if silence >= SILENCE_MAX {
                return Some((Ok(Bytes::from_static(b":\n\n")), (dashboard, route, version, seat, None, Duration::ZERO)));
            }
        }
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seats_are_bounded_and_many_pages_are_looked_at_less_often() {
        let taken = Arc::default();
        let seats: Vec<Seat> = (0..3).map(|_| Seat::take(&taken, 3).expect("a seat")).collect();
        assert!(Seat::take(&taken, 3).is_none());
        drop(seats);
        assert!(Seat::take(&taken, 3).is_some());
        assert_eq!([0, 1, 100, 500, 1000].map(|live| pause(live).as_secs()), [1, 1, 1, 5, 10]);
    }
}
