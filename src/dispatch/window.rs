//! How many messages a server may have in flight. Pure.
//!
//! A crash makes every claim without an outcome unknown, so the window is no larger than the round trip needs: the best rate seen,
//! times the round trip plus the commit that precedes it. While it is small it may double, to find out whether more would be faster
//! (like TCP slow start), and make up for what a message waits on our side, signatures included; above its fair share of 64 it may
//! only probe with a quarter more.

use std::time::Duration;

/// The most claims without an outcome in a process, unless rate times round trip is more (rule 8 of the design).
pub const CLAIMS_MAX: usize = 64;
/// The window of a server about which nothing is known yet.
const START: usize = 4;
/// What writing, waking and collecting add to a round trip on our side, milliseconds: the trip itself is measured from the last
/// byte written, and is the smaller part on a fast connection.
const OWN_TIME_MS: f64 = 1.0;
/// The rate is measured over stretches of this length, milliseconds.
const STRETCH_MS: i64 = 25;
/// The number of signatures over which their time is averaged.
const SIGNATURES: f64 = 64.0;
/// The number of stretches for which a measurement counts.
const REMEMBERED: usize = 120;

/// The window of one server, fitted to its measured behavior.
#[derive(Clone, Debug)]
pub struct FlightWindow {
    stretch_start_ms: i64,
    outcomes: u64,
    /// Outcomes per millisecond in the last stretches.
    rates: [f64; REMEMBERED],
    /// The shortest round trip in the last stretches, milliseconds.
    trips: [f64; REMEMBERED],
    next: usize,
    /// How long a message waits for its signature and that of its batch, on average, milliseconds.
    signing: f64,
}

impl Default for FlightWindow {
    fn default() -> Self {
        Self { stretch_start_ms: 0, outcomes: 0, rates: [0.0; REMEMBERED], trips: [f64::INFINITY; REMEMBERED], next: 0, signing: 0.0 }
    }
}

impl FlightWindow {
    /// Notes the outcome of one message, its round trip, and how long its signature took.
    pub fn note(&mut self, now_ms: i64, round_trip: Option<Duration>, signing: Duration) {
        self.roll(now_ms);
        self.outcomes += 1;
        self.signing += (signing.as_secs_f64() * 1000.0 - self.signing) / SIGNATURES;
        if let Some(trip) = round_trip {
            let shortest = &mut self.trips[self.next];
            *shortest = shortest.min(trip.as_secs_f64() * 1000.0);
        }
    }

    fn roll(&mut self, now_ms: i64) {
        let length = now_ms - self.stretch_start_ms;
        if length < STRETCH_MS {
            return;
        }
        // An idle stretch says nothing about what the server can do.
        if self.outcomes > 0 && length < 10 * STRETCH_MS {
            #[allow(clippy::cast_precision_loss)]
            {
                self.rates[self.next] = self.outcomes as f64 / length as f64;
            }
            self.next = (self.next + 1) % REMEMBERED;
            self.rates[self.next] = 0.0;
            self.trips[self.next] = f64::INFINITY;
        }
        self.stretch_start_ms = now_ms;
        self.outcomes = 0;
    }

    /// The number of messages that the round trip and the commit need at the best rate seen.
    #[must_use]
    pub fn needed(&self, commit: Duration) -> f64 {
        let trip = self.trips.iter().copied().fold(f64::INFINITY, f64::min);
        if trip.is_finite() { self.rate() * (trip + commit.as_secs_f64() * 1000.0) } else { 0.0 }
    }

    /// The best rate seen, messages per millisecond.
    fn rate(&self) -> f64 {
        self.rates.iter().copied().fold(0.0, f64::max)
    }

    /// The window now, for a server whose fair share of [`CLAIMS_MAX`] is `share`.
    #[must_use]
    pub fn size(&self, commit: Duration, share: usize) -> usize {
        let needed = self.needed(commit);
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let doubled = (2.0 * (needed + self.rate() * (OWN_TIME_MS + self.signing))).ceil() as usize;
        doubled.min(share).max(self.probing(commit)).max(START.min(share)).max(1)
    }

    /// The number needed, and a quarter more to find out whether it could be faster.
    #[must_use]
    pub fn probing(&self, commit: Duration) -> usize {
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let probing = (1.25 * self.needed(commit)).ceil() as usize;
        probing
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Simulates for 20 s a server that takes at most `rate` messages per millisecond, each after `trip_ms`, and signatures that take
    /// `signing_ms` with this window.
    fn settle_signing(rate: f64, trip_ms: f64, signing_ms: impl Fn(f64) -> f64, share: usize) -> usize {
        let mut window = FlightWindow::default();
        let commit = Duration::from_millis(1);
        let mut size = 0;
        let mut credit = 0.0;
        for now_ms in 0..20_000 {
            size = window.size(commit, share);
            #[allow(clippy::cast_precision_loss)]
            let signing_ms = signing_ms(size as f64);
            #[allow(clippy::cast_precision_loss)]
            let offered = size as f64 / (trip_ms + 1.0 + signing_ms);
            credit += offered.min(rate);
            while credit >= 1.0 {
                credit -= 1.0;
                window.note(now_ms, Some(Duration::from_secs_f64(trip_ms / 1000.0)), Duration::from_secs_f64(signing_ms / 1000.0));
            }
        }
        size
    }

    fn settle(rate: f64, trip_ms: f64, share: usize) -> usize {
        settle_signing(rate, trip_ms, |_| 0.0, share)
    }

    #[test]
    fn signatures_have_their_share_of_it_and_no_more() {
        // Four signatures a millisecond: whatever is in flight waits for them.
        let signing_ms = |size: f64| size / 4.0;
        assert_eq!(settle_signing(4.0, 0.2, signing_ms, 64), 64);
        assert_eq!(settle_signing(4.0, 0.2, signing_ms, 16), 16);
        // A slow server needs no more because of them.
        assert!(settle_signing(0.05, 20.0, signing_ms, 32) <= 4);
        // Beyond the share counts what the round trip needs.
        let size = settle_signing(4.0, 100.0, signing_ms, 64);
        assert!((100..=600).contains(&size), "{size}");
    }

    #[test]
    fn it_grows_to_what_the_round_trip_needs_and_no_further() {
        // Slow server: 0.05 a millisecond over 20 ms needs about one message.
        assert!(settle(0.05, 20.0, 32) <= 4);
        // 2 a millisecond over 10 ms needs 22.
        let size = settle(2.0, 10.0, 64);
        assert!((22..=50).contains(&size), "{size}");
        // 5 a millisecond over 100 ms needs 505, beyond the share.
        let size = settle(5.0, 100.0, 64);
        assert!((500..=700).contains(&size), "{size}");
    }

    #[test]
    fn an_unknown_server_starts_small() {
        assert_eq!(FlightWindow::default().size(Duration::from_millis(1), 32), 4);
        assert_eq!(FlightWindow::default().size(Duration::from_millis(1), 0), 1);
    }
}
