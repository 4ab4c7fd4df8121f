//! An audience that cannot be read for now: since when, and when it is tried again. Pure.

use std::time::Duration;

use crate::{
    backoff::Backoff,
    resources::{Blocker, Reason},
};

/// The pause before an audience that could not be read is tried again.
pub const TRY_AGAIN: Backoff = Backoff { first: Duration::from_secs(5), max: Duration::from_mins(5) };

/// How reading an audience has failed for now, again and again.
#[derive(Clone, Debug)]
pub struct Unread {
    /// The first failure since somebody new was read, milliseconds.
    pub since_ms: i64,
    /// Something of it could be read since the last failure.
    pub is_open: bool,
    /// Failures since somebody new was read.
    failures: u32,
    blocker: Blocker,
}

impl Unread {
    /// Notes a failure; one that only a person can end, or that is not about the source, ends the series. Returns the blocker with
    /// the pause that it asks for.
    pub fn note(series: &mut Option<Self>, blocker: Blocker, now_ms: i64) -> Blocker {
        if blocker.reason != Reason::AudienceUnreadable || blocker.needs_person {
            *series = None;
            return blocker;
        }
        let (since_ms, failures) = series.take().map_or((now_ms, 1), |before| (before.since_ms, before.failures.saturating_add(1)));
        let blocker = Blocker { retry_after: blocker.retry_after.or_else(|| Some(TRY_AGAIN.delay(failures))), ..blocker };
        *series = Some(Self { since_ms, is_open: false, failures, blocker: blocker.clone() });
        blocker
    }

    /// What status says while it is tried again.
    #[must_use]
    pub fn shown(&self) -> Option<&Blocker> {
        (!self.is_open).then_some(&self.blocker)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_until_it_can_be_read() {
        let mut series = None;
        let unreadable = || Blocker::passing(Reason::AudienceUnreadable, "no connection");
        let pause =
            |series: &mut Option<Unread>, now_ms| Unread::note(series, unreadable(), now_ms).retry_after.map(|pause| pause.as_secs());
        let pauses: Vec<_> = (0..9).filter_map(|n| pause(&mut series, 1000 + n)).collect();
        assert_eq!(pauses, [5, 10, 20, 40, 80, 160, 300, 300, 300]);
        let unread = series.as_mut().expect("a series");
        assert_eq!((unread.since_ms, unread.shown().map(|blocker| &*blocker.message)), (1000, Some("no connection")));
        // Nothing is in the way while it is read, and the series goes on where it breaks off at the same place.
        unread.is_open = true;
        assert!(unread.shown().is_none());
        assert_eq!((pause(&mut series, 5000), series.as_ref().map(|unread| unread.since_ms)), (Some(300), Some(1000)));
        // What the other side asks for counts.
        let asked = Unread::note(&mut series, unreadable().after(Some(Duration::from_secs(7))), 6000);
        assert_eq!(asked.retry_after, Some(Duration::from_secs(7)));
        for other in [unreadable().for_person(), Blocker::passing(Reason::AudienceChanged, "changed")] {
            let told = Unread::note(&mut series, other.clone(), 7000);
            assert!(series.is_none() && told == other);
            assert_eq!(pause(&mut series, 8000), Some(5));
        }
    }
}
