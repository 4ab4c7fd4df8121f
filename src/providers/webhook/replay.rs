//! Calls that were taken, so that none is taken twice: a bounded memory for each server. Pure.
//!
//! It is remembered from when a call is judged, and forgotten again if it is not taken, so that the vendor may repeat it. What is
//! older than the memory reaches is either refused (where the vendor's signature does not cover the body, so that an old signature
//! could carry anything), or found in the ledger by the ids of its events.

use std::collections::{HashMap, VecDeque};

use aws_lc_rs::digest::{SHA256, digest};

use super::Refused;

/// Calls that are remembered of a server; 2 MiB at most.
const REMEMBERED_MAX: usize = 20_000;

/// What makes a call one that is taken once only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Once {
    /// A hash of what the vendor signed.
    digest: [u8; 16],
    /// When the vendor signed it, milliseconds since 1970.
    signed_at_ms: i64,
    /// Whether the signature covers the body.
    covers_body: bool,
}

impl Once {
    /// Of the parts that the vendor signed.
    #[must_use]
    pub fn new(parts: &[&[u8]], signed_at_ms: i64, covers_body: bool) -> Self {
        let mut digest_of = [0; 16];
        digest_of.copy_from_slice(&digest(&SHA256, &parts.concat()).as_ref()[..16]);
        Self { digest: digest_of, signed_at_ms, covers_body }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// It is being taken.
    Pending,
    /// It is durable: when it comes again, it is acknowledged and not recorded.
    Taken,
}

/// The memory of one server.
#[derive(Debug, Default)]
pub struct Replays {
    known: HashMap<[u8; 16], State>,
    order: VecDeque<Once>,
    /// What was signed then or before, without its body, has been forgotten.
    forgotten_ms: Option<i64>,
}

impl Replays {
    /// Takes note that a call is being taken.
    ///
    /// # Errors
    /// When it was taken, is being taken, or may have been.
    pub fn begin(&mut self, once: Once) -> Result<(), Refused> {
        match self.known.get(&once.digest) {
            Some(State::Taken) => return Err(Refused::Replayed),
            Some(State::Pending) => return Err(Refused::NotNow("the same call is being processed")),
            None => {}
        }
        if !once.covers_body && self.forgotten_ms.is_some_and(|forgotten| once.signed_at_ms <= forgotten) {
            return Err(Refused::Late);
        }
        while self.order.len() >= REMEMBERED_MAX {
            let Some(oldest) = self.order.pop_front() else { break };
            self.known.remove(&oldest.digest);
            if !oldest.covers_body {
                self.forgotten_ms = self.forgotten_ms.max(Some(oldest.signed_at_ms));
            }
        }
        self.known.insert(once.digest, State::Pending);
        self.order.push_back(once);
        Ok(())
    }

    /// The call was taken, or not.
    pub fn end(&mut self, once: Once, is_taken: bool) {
        if is_taken {
            if let Some(state) = self.known.get_mut(&once.digest) {
                *state = State::Taken;
            }
        } else if self.known.remove(&once.digest).is_some()
            && let Some(at) = self.order.iter().rposition(|known| known.digest == once.digest)
        {
            self.order.remove(at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(number: usize, covers_body: bool) -> Once {
        Once::new(&[&number.to_be_bytes()], i64::try_from(number).unwrap(), covers_body)
    }

    #[test]
    fn a_call_is_taken_once_and_may_be_repeated_until_it_is() {
        let mut replays = Replays::default();
        replays.begin(call(1, true)).unwrap();
        assert_eq!(replays.begin(call(1, true)), Err(Refused::NotNow("the same call is being processed")));
        replays.end(call(1, true), false);
        replays.begin(call(1, true)).unwrap();
        replays.end(call(1, true), true);
        assert_eq!(replays.begin(call(1, true)), Err(Refused::Replayed));
        replays.begin(call(2, true)).unwrap();
    }

    #[test]
    fn what_was_forgotten_is_not_taken_where_the_body_is_not_signed() {
        for covers_body in [true, false] {
            let mut replays = Replays::default();
            for number in 0..REMEMBERED_MAX * 2 {
                replays.begin(call(number, covers_body)).unwrap();
                replays.end(call(number, covers_body), true);
            }
            assert!(replays.known.len() <= REMEMBERED_MAX && replays.order.len() <= REMEMBERED_MAX);
            assert_eq!(replays.begin(call(REMEMBERED_MAX, covers_body)), Err(Refused::Replayed), "the oldest that is remembered");
            let forgotten = replays.begin(call(REMEMBERED_MAX - 1, covers_body));
            assert_eq!(forgotten, if covers_body { Ok(()) } else { Err(Refused::Late) });
        }
    }
}
