//! Threads for what keeps a processor busy: as many as there are processors, begun when they are needed.
//!
//! Its queue is no longer than the messages in flight, which the flight window bounds.

use std::{
    collections::VecDeque,
    sync::{Arc, Condvar, LazyLock, Mutex, MutexGuard, PoisonError},
    thread,
};

/// The most threads.
const THREADS_MAX: usize = 64;
/// As many threads as there are processors. To ask reads files of the control group: as long as a tenth of a signature takes.
static THREADS: LazyLock<usize> = LazyLock::new(|| thread::available_parallelism().map_or(1, usize::from).min(THREADS_MAX));

/// What a thread is to do.
pub type Job = Box<dyn FnOnce() + Send>;

/// The threads.
#[derive(Default)]
pub struct Pool {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    wake: Condvar,
}

#[derive(Default)]
struct State {
    jobs: VecDeque<Job>,
    threads: usize,
    idle: usize,
    is_closed: bool,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // The state is consistent whatever happened to the last holder of the lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn work(&self) {
        let mut state = self.lock();
        loop {
            if let Some(job) = state.jobs.pop_front() {
                drop(state);
                job();
                state = self.lock();
            } else if state.is_closed {
                return;
            } else {
                state.idle += 1;
                state = self.wake.wait(state).unwrap_or_else(PoisonError::into_inner);
                state.idle -= 1;
            }
        }
    }
}

impl Pool {
    /// Does it as soon as a thread is free.
    pub fn run(&self, job: Job) {
        let mut state = self.shared.lock();
        state.jobs.push_back(job);
        // Those that are idle and woken have not taken their jobs yet.
        if state.idle >= state.jobs.len() {
            drop(state);
            self.shared.wake.notify_one();
            return;
        }
        if state.threads >= *THREADS {
            return;
        }
        let shared = self.shared.clone();
        if thread::Builder::new().name("sign".to_owned()).spawn(move || shared.work()).is_ok() {
            state.threads += 1;
        } else if state.threads == 0
            && let Some(job) = state.jobs.pop_back()
        {
            // No thread can be had: it is done here.
            drop(state);
            job();
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.shared.lock().is_closed = true;
        self.shared.wake.notify_all();
    }
}
