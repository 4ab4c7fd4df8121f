//! How often each client may ask. Pure.

use std::{collections::HashMap, time::Duration};

use super::client::Client;

/// Between two requests of a client, in the long run: 50 a second. A mailbox provider asks for many of its users from one address.
pub(super) const EVERY_MS: u64 = 20;
/// Between two calls of a vendor, in the long run: 1,000 a second, since some make one for each event, from few addresses. Whoever
/// has no credential is held up besides.
pub(super) const VENDOR_EVERY_MS: u64 = 1;
/// Requests that a client may make at once after a pause.
const BURST: u64 = 200;
/// Clients that are known; beyond them, those who are new share one rate.
const CLIENTS_MAX: usize = 65_536;
/// Between two looks for clients who have paused for long enough to be forgotten.
const FORGET_EVERY_MS: u64 = 1_000;

/// The requests of each client: when the last one would have come if all had come at their pace (the generic cell rate algorithm).
#[derive(Default)]
pub(super) struct Rates {
    last_ms: HashMap<Option<Client>, u64>,
    forgot_ms: u64,
}

impl Rates {
    /// One more request now, milliseconds since the listener began; or how long the client has to wait. `every_ms` is between two
    /// such requests in the long run.
    pub fn take(&mut self, client: Client, every_ms: u64, now_ms: u64) -> Result<(), Duration> {
        if self.last_ms.len() >= CLIENTS_MAX && now_ms >= self.forgot_ms + FORGET_EVERY_MS {
            self.last_ms.retain(|_, last| *last > now_ms);
            self.forgot_ms = now_ms;
        }
        let is_known = self.last_ms.len() < CLIENTS_MAX || self.last_ms.contains_key(&Some(client));
        let last = self.last_ms.entry(is_known.then_some(client)).or_insert(0);
        let next = now_ms.max(*last) + every_ms;
        let bound = now_ms + EVERY_MS * BURST;
        if next > bound {
            return Err(Duration::from_millis(next - bound));
        }
        *last = next;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(number: u32) -> Client {
        Client::of(std::net::Ipv4Addr::from_bits(number).into())
    }

    #[test]
    fn a_client_has_a_rate_and_takes_it_from_nobody() {
        let mut rates = Rates::default();
        let taken =
            |rates: &mut Rates, who: u32, now_ms: u64| (0..1_000).take_while(|_| rates.take(client(who), EVERY_MS, now_ms).is_ok()).count();
        assert_eq!(taken(&mut rates, 1, 5), 200);
        assert_eq!(rates.take(client(1), EVERY_MS, 5), Err(Duration::from_millis(20)));
        assert_eq!(taken(&mut rates, 2, 5), 200, "another client");
        assert_eq!(taken(&mut rates, 1, 1_005), 50, "50 a second");
        assert_eq!(taken(&mut rates, 1, 100_000), 200, "no more than that after a long pause");
    }

    #[test]
    fn the_number_of_clients_has_a_bound() {
        let mut rates = Rates::default();
        for who in 0..2 * u32::try_from(CLIENTS_MAX).unwrap() {
            let _ = rates.take(client(who), EVERY_MS, 0);
        }
        assert!(rates.last_ms.len() <= CLIENTS_MAX + 1);
        assert!(rates.take(client(u32::MAX), EVERY_MS, 0).is_err(), "those who are new share a rate");
        assert_eq!(rates.take(client(1), EVERY_MS, 0), Ok(()), "who was there before has its own");
        assert_eq!(rates.take(client(u32::MAX), EVERY_MS, 10_000), Ok(()), "who paused is forgotten");
        assert!(rates.last_ms.len() < 10);
    }
}
