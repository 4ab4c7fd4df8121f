//! Holds contents back as short rate windows require. A message is claimed, and its envelope is accepted, before its content is
//! written; how long that takes depends on the server. So a window of seconds is enforced where the content begins, by the times at
//! which contents were wholly written.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use crate::meta::Rate;

/// Windows up to this length are enforced here; longer ones by what is claimed.
pub const GATED_MAX: Duration = Duration::from_secs(10);
/// A window is enlarged by this fraction of its length, and by no more than this: what is in transit does not
/// arrive evenly.
const MARGIN: u32 = 128;
const MARGIN_MAX: Duration = Duration::from_millis(10);
/// How soon to ask again while contents are being written and it is not known when they will be.
const ASK_AGAIN: Duration = Duration::from_millis(2);

/// The short windows of one server, over all its connections.
#[derive(Debug, Default)]
pub struct Gate {
    windows: Mutex<Vec<Window>>,
}

#[derive(Debug)]
struct Window {
    messages: usize,
    per: Duration,
    /// When the last contents were written, the oldest first.
    written: VecDeque<Instant>,
    writing: usize,
}

impl Window {
    /// When this many may pass; none when they may now.
    fn opens_at(&mut self, count: usize, now: Instant) -> Option<Instant> {
        while self.written.front().is_some_and(|at| *at + self.per <= now) {
            self.written.pop_front();
        }
        // A call that carries more than the window allows would never pass.
        let room = self.messages.saturating_sub(count.min(self.messages));
        if self.written.len() + self.writing <= room {
            return None;
        }
        let excess = self.written.len() + self.writing - room;
        // What is being written may be abandoned, or stay in the window for its whole length.
        Some(self.written.get(excess - 1).map_or(now + ASK_AGAIN, |at| *at + self.per))
    }
}

impl Gate {
    /// Replaces the windows; what was written before still counts.
    pub fn set(&self, rates: &[Rate]) {
        let mut windows = self.lock();
        let old = std::mem::take(&mut *windows);
        let (last, writing) =
            old.into_iter().max_by_key(|window| window.per).map_or((VecDeque::new(), 0), |window| (window.written, window.writing));
        *windows = rates
            .iter()
            .filter(|rate| rate.per.std() <= GATED_MAX)
            .map(|rate| Window {
                messages: usize::try_from(rate.messages).unwrap_or(usize::MAX),
                per: rate.per.std() + (rate.per.std() / MARGIN).min(MARGIN_MAX),
                written: last.clone(),
                writing,
            })
            .collect();
    }

    /// Whether anything is held back here.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.lock().is_empty()
    }

    /// Lets this many contents pass now.
    ///
    /// # Errors
    /// When to ask again.
    pub fn try_pass(self: &Arc<Self>, count: usize, now: Instant) -> Result<Pass, Instant> {
        let mut windows = self.lock();
        if let Some(at) = windows.iter_mut().filter_map(|window| window.opens_at(count, now)).max() {
            return Err(at);
        }
        windows.iter_mut().for_each(|window| window.writing += count);
        Ok(Pass { gate: Some(self.clone()), count })
    }

    /// Waits until this many contents may pass.
    pub async fn pass(self: Arc<Self>, count: usize) -> Pass {
        loop {
            // The clock by which it waits.
            match self.try_pass(count, tokio::time::Instant::now().into_std()) {
                Ok(pass) => return pass,
                Err(at) => tokio::time::sleep_until(at.into()).await,
            }
        }
    }

    fn end(&self, count: usize, written: Option<Instant>) {
        for window in self.lock().iter_mut() {
            window.writing = window.writing.saturating_sub(count);
            if let Some(at) = written {
                // Nearly always the newest.
                let later = window.written.iter().rev().take_while(|other| **other > at).count();
                let position = window.written.len() - later;
                (0..count).for_each(|_| window.written.insert(position, at));
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Window>> {
        // Counts are consistent whatever happened to the last holder of the lock.
        self.windows.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Contents that may be written. Dropped before they are, it gives its room back.
#[derive(Debug)]
pub struct Pass {
    gate: Option<Arc<Gate>>,
    count: usize,
}

impl Pass {
    /// The contents are wholly written.
    pub fn written(mut self, at: Instant) {
        if let Some(gate) = self.gate.take() {
            gate.end(self.count, Some(at));
        }
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        if let Some(gate) = self.gate.take() {
            gate.end(self.count, None);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gate(messages: u64, millis: u64) -> Arc<Gate> {
        let gate = Arc::new(Gate::default());
        gate.set(&[Rate { messages, per: crate::meta::Duration::from_millis(millis) }]);
        gate
    }

    #[test]
    fn no_window_is_exceeded_however_long_writing_takes() {
        let gate = gate(5, 1000);
        let begin = Instant::now();
        let (mut writing, mut written): (VecDeque<(u64, Pass)>, Vec<u64>) = (VecDeque::new(), Vec::new());
        for ms in 0..60_000_u64 {
            let now = begin + Duration::from_millis(ms);
            while writing.front().is_some_and(|(until, _)| *until <= ms) {
                let (_, pass) = writing.pop_front().expect("one");
                pass.written(now);
                written.push(ms);
            }
            while let Ok(pass) = gate.try_pass(1, now) {
                // In the order of their ends.
                let until = ms.max(writing.back().map_or(0, |(until, _)| *until)) + ms * 7919 % 400;
                writing.push_back((until, pass));
            }
        }
        for (at, ms) in written.iter().enumerate() {
            let within = written[at..].iter().take_while(|later| **later - ms < 1000).count();
            assert!(within <= 5, "{within} in the second after {ms}");
        }
        assert!(written.len() > 150, "{} in a minute", written.len());
    }

    #[test]
    fn abandoned_contents_make_room_and_without_windows_all_pass() {
        let gate = gate(1, 1000);
        let now = Instant::now();
        let pass = gate.try_pass(1, now).expect("room");
        assert_eq!(gate.try_pass(1, now).expect_err("full"), now + ASK_AGAIN);
        drop(pass);
        gate.try_pass(1, now).expect("room").written(now);
        let opens = gate.try_pass(1, now).expect_err("full");
        assert!(opens >= now + Duration::from_millis(1000));
        assert!(gate.try_pass(9, opens).is_ok(), "a call that carries more than the window passes when it is empty");
        gate.try_pass(1, opens).expect("room").written(opens);
        gate.set(&[Rate { messages: 2, per: crate::meta::Duration::from_secs(5) }]);
        assert!(gate.try_pass(2, opens).is_err(), "what was written counts on");
        gate.set(&[Rate { messages: 2, per: crate::meta::Duration::from_secs(60) }]);
        assert!(gate.is_open() && gate.try_pass(100, now).is_ok());
    }
}
