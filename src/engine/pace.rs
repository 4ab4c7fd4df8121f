//! When the next turn is due: soon after news, but not right after a long turn. Pure.

use std::time::{Duration, Instant};

/// After a turn the loop rests for this many times as long as the turn took, within these bounds: whatever happens meanwhile is
/// decided together, and a large world takes no more than a fifteenth of a core.
const REST_FACTOR: u32 = 14;
const REST_MIN: Duration = Duration::from_millis(5);
const REST_MAX: Duration = Duration::from_secs(2);
/// An event that changes only the time of the next probe waits this long to be handled with others.
const UNHURRIED: Duration = Duration::from_secs(1);

/// The time between two turns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    not_before: Instant,
    turn_at: Instant,
}

impl Pace {
    /// The pace after a turn that ended at `now` and worked for `worked`, with something due `wake` later.
    pub fn after(now: Instant, worked: Duration, wake: Duration) -> Self {
        Self { not_before: now + (worked * REST_FACTOR).clamp(REST_MIN, REST_MAX), turn_at: now + wake }
    }

    /// Notes that something happened; `is_news` says whether it may change a decision.
    pub fn note(&mut self, now: Instant, is_news: bool) {
        self.turn_at = self.turn_at.min(now + if is_news { Duration::ZERO } else { UNHURRIED });
    }

    /// When the next turn is due.
    pub fn due(&self) -> Instant {
        self.turn_at.max(self.not_before)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_turn_comes_when_something_is_due_or_has_happened_and_not_sooner_than_the_rest_is_over() {
        let now = Instant::now();
        let ms = Duration::from_millis;
        let mut pace = Pace::after(now, ms(10), ms(3000));
        assert_eq!(pace.due(), now + ms(3000), "nothing happens");
        pace.note(now + ms(20), false);
        assert_eq!(pace.due(), now + ms(1020), "what is no news waits for company");
        pace.note(now + ms(30), true);
        assert_eq!(pace.due(), now + ms(140), "news are taken once the rest is over");
        pace.note(now + ms(200), true);
        assert_eq!(pace.due(), now + ms(140), "and nothing puts them off");

        assert_eq!(Pace::after(now, ms(0), ms(1)).due(), now + REST_MIN);
        assert_eq!(Pace::after(now, ms(1000), ms(1)).due(), now + REST_MAX);
    }

    #[test]
    fn the_architecture_says_how_long_turns_rest() {
        let document = include_str!("../../ARCHITECTURE.md");
        let rests = format!("rests {REST_FACTOR} times as long as the turn took ({} ms to {} s)", REST_MIN.as_millis(), REST_MAX.as_secs());
        let share =
            format!("turns of up to {} ms take no more than a {}th of a core", (REST_MAX / REST_FACTOR).as_millis(), REST_FACTOR + 1);
        for words in [rests, share] {
            assert!(document.contains(&words), "ARCHITECTURE.md says no more: {words}");
        }
    }
}
