//! The threads on which feeders run, and the queue of requests to each feeder.
//!
//! A feeder occupies a thread only while it has work, and only a few run at a time. When some of them block (on a slow server, a
//! slow disk), the others go on: while requests wait and hardly any finish, more threads are started.

use std::{
    collections::VecDeque,
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

/// Feeders that run at a time, as long as they make progress.
pub const THREADS: usize = 32;
/// The most threads in all, including those of feeders that are blocked by what they read.
pub const THREADS_MAX: usize = 1024;
/// The interval between two checks for progress: a feeder that needs longer than this for a request counts as blocked.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How long an idle thread is kept.
const IDLE: Duration = Duration::from_secs(10);

/// One unit of work.
type Task = Box<dyn FnOnce() + Send>;

/// The threads of all feeders. A clone is a handle to the same threads.
#[derive(Clone)]
pub struct Threads {
    shared: Arc<Shared>,
    runtime: tokio::runtime::Handle,
}

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
    threads: usize,
}

#[derive(Default)]
struct State {
    /// Tasks that no thread has begun, in the order of arrival.
    waiting: VecDeque<Task>,
    threads: usize,
    idle: usize,
    /// The number of tasks done.
    done: u64,
    /// Whether `watch` is checking that the waiting tasks do not wait too long.
    is_watched: bool,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Threads {
    /// Starts no thread yet; `threads` of them work at a time. With 0, whoever has work does it: in simulated time, where nothing
    /// may happen beside anything else.
    #[must_use]
    pub fn new(threads: usize, runtime: tokio::runtime::Handle) -> Self {
        let shared = Shared { state: Mutex::default(), changed: Condvar::new(), threads };
        Self { shared: Arc::new(shared), runtime }
    }

    /// Ensures that there is a thread.
    ///
    /// # Errors
    /// When there is none and the system cannot start one.
    pub fn ensure(&self) -> io::Result<()> {
        let mut state = self.shared.state();
        if state.threads > 0 || self.shared.threads == 0 { Ok(()) } else { start(&self.shared, &mut state) }
    }

    /// Queues a task.
    fn run(&self, task: Task) {
        if self.shared.threads == 0 {
            return task();
        }
        let mut state = self.shared.state();
        state.waiting.push_back(task);
        if state.waiting.len() > state.idle && state.threads < self.shared.threads {
            // On failure an existing thread runs it later; if there is none, the next task tries again.
            let _ = start(&self.shared, &mut state);
        }
        if state.waiting.len() > state.idle && !std::mem::replace(&mut state.is_watched, true) {
            self.runtime.spawn(watch(Arc::downgrade(&self.shared), state.done));
        }
        drop(state);
        self.shared.changed.notify_one();
    }
}

/// Starts another thread.
fn start(shared: &Arc<Shared>, state: &mut State) -> io::Result<()> {
    let its = shared.clone();
    std::thread::Builder::new().name("feeder".to_owned()).spawn(move || work(&its))?;
    state.threads += 1;
    Ok(())
}

/// While tasks wait and fewer are done in an interval than the usual number of threads, starts another thread for each waiting
/// task, up to the usual number per interval.
async fn watch(shared: Weak<Shared>, mut done: u64) {
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        let Some(shared) = shared.upgrade() else { return };
        let mut state = shared.state();
        if state.waiting.is_empty() {
            state.is_watched = false;
            return;
        }
        if state.done - std::mem::replace(&mut done, state.done) < shared.threads as u64 {
            let more = state.waiting.len().min(shared.threads).min(THREADS_MAX.saturating_sub(state.threads));
            // A thread that the system cannot start now may start in a moment.
            let _ = (0..more).try_for_each(|_| start(&shared, &mut state));
        }
    }
}

/// The loop of a thread: it runs one task after another, and ends when there has been none for a while, or when there is none and
/// there are more threads than usual.
fn work(shared: &Shared) {
    let mut state = shared.state();
    loop {
        if let Some(task) = state.waiting.pop_front() {
            drop(state);
            // The task reports a panic itself; the thread stays counted whatever happens.
            let _ = catch_unwind(AssertUnwindSafe(task));
            state = shared.state();
            state.done += 1;
        } else if state.threads > shared.threads {
            break;
        } else {
            state.idle += 1;
            let (woken, waited) = shared.changed.wait_timeout(state, IDLE).unwrap_or_else(PoisonError::into_inner);
            state = woken;
            state.idle -= 1;
            if waited.timed_out() && state.waiting.is_empty() {
                break;
            }
        }
    }
    state.threads -= 1;
}

/// Handles requests, one after another and never two at a time.
pub trait Asked: Send + 'static {
    /// The type of its requests.
    type Request: Send + 'static;

    /// Handles a request; returns false if it can handle no more.
    fn answer(&mut self, request: Self::Request) -> bool;
}

/// The handle to an [`Asked`]. Once it is dropped, it takes no requests, and those that have not begun are dropped.
pub struct Asking<A: Asked> {
    asked: Arc<Mailbox<A>>,
    threads: Threads,
}

struct Mailbox<A: Asked>(Mutex<Mail<A>>);

struct Mail<A: Asked> {
    /// `None` while it works, and once it is over.
    whom: Option<A>,
    requests: VecDeque<A::Request>,
    is_at_work: bool,
    is_over: bool,
}

impl<A: Asked> Mailbox<A> {
    fn mail(&self) -> MutexGuard<'_, Mail<A>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<A: Asked> Asking<A> {
    /// A handle without any requests yet.
    #[must_use]
    pub fn new(whom: A, threads: Threads) -> Self {
        let mail = Mail { whom: Some(whom), requests: VecDeque::new(), is_at_work: false, is_over: false };
        Self { asked: Arc::new(Mailbox(Mutex::new(mail))), threads }
    }

    /// Queues a request; it is handled when its turn comes.
    pub fn ask(&self, request: A::Request) {
        let mut mail = self.asked.mail();
        if mail.is_over {
            return;
        }
        mail.requests.push_back(request);
        if !std::mem::replace(&mut mail.is_at_work, true) {
            drop(mail);
            turn(&self.asked, &self.threads);
        }
    }
}

impl<A: Asked> Drop for Asking<A> {
    fn drop(&mut self) {
        let mut mail = self.asked.mail();
        mail.is_over = true;
        mail.requests.clear();
        // It closes its files after the lock is released, so that nothing waits for that.
        let whom = mail.whom.take();
        drop(mail);
        drop(whom);
    }
}

/// Queues the next request to be handled; the one after it is queued again, behind those of the others.
fn turn<A: Asked>(asked: &Arc<Mailbox<A>>, threads: &Threads) {
    let (asked, threads_again) = (asked.clone(), threads.clone());
    threads.run(Box::new(move || {
        let mut mail = asked.mail();
        let Some((mut whom, request)) = mail.requests.pop_front().and_then(|request| Some((mail.whom.take()?, request))) else {
            mail.is_at_work = false;
            return;
        };
        drop(mail);
        let goes_on = catch_unwind(AssertUnwindSafe(|| whom.answer(request))).unwrap_or(false);
        let mut mail = asked.mail();
        if mail.is_over || !goes_on {
            mail.is_over = true;
            mail.requests.clear();
            drop(mail);
            return;
        }
        mail.whom = Some(whom);
        mail.is_at_work = !mail.requests.is_empty();
        if mail.is_at_work {
            drop(mail);
            turn(&asked, &threads_again);
        }
    }));
}

#[cfg(test)]
mod tests {
    use std::{
        sync::{
            atomic::{AtomicUsize, Ordering},
            mpsc,
        },
        time::Instant,
    };

    use super::*;

    /// Waits for a word before it answers, and reports how many are at work.
    struct Slow {
        at_work: Arc<AtomicUsize>,
        answers: mpsc::Sender<usize>,
    }

    enum Request {
        Count(usize),
        WaitFor(mpsc::Receiver<()>),
        Panic,
    }

    impl Asked for Slow {
        type Request = Request;

        fn answer(&mut self, request: Request) -> bool {
            let at_work = self.at_work.fetch_add(1, Ordering::SeqCst) + 1;
            let answer = match request {
                Request::Count(count) => {
                    std::thread::sleep(Duration::from_millis(2));
                    count
                }
                Request::WaitFor(word) => {
                    let _ = word.recv();
                    at_work
                }
                Request::Panic => panic!("on purpose"),
            };
            self.at_work.fetch_sub(1, Ordering::SeqCst);
            let _ = self.answers.send(answer);
            true
        }
    }

    fn many(count: usize, threads: &Threads) -> (Vec<Asking<Slow>>, Arc<AtomicUsize>, mpsc::Receiver<usize>) {
        let ((answers, answered), at_work) = (mpsc::channel(), Arc::new(AtomicUsize::new(0)));
        let slow = || Slow { at_work: at_work.clone(), answers: answers.clone() };
        ((0..count).map(|_| Asking::new(slow(), threads.clone())).collect(), at_work, answered)
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn many_share_few_threads_and_each_is_answered_in_order() {
        let threads = Threads::new(4, tokio::runtime::Handle::current());
        let (asked, at_work, answered) = many(100, &threads);
        let mut most = 0;
        for count in 0..5 {
            asked.iter().for_each(|asking| asking.ask(Request::Count(count)));
        }
        let answers: Vec<usize> = (0..500)
            .map(|_| {
                most = most.max(at_work.load(Ordering::SeqCst));
                answered.recv_timeout(Duration::from_secs(30)).expect("an answer")
            })
            .collect();
        assert!(most <= 4, "{most} at a time");
        // Nobody gets a second turn before everybody has had the first.
        assert!(answers[..50].iter().all(|count| *count == 0), "{answers:?}");
        assert_eq!(threads.shared.state().threads, 4);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn those_who_are_kept_waiting_hold_up_nobody_for_long() {
        let threads = Threads::new(4, tokio::runtime::Handle::current());
        let (asked, _, answered) = many(30, &threads);
        let mut words = Vec::new();
        for asking in &asked[..20] {
            let (word, heard) = mpsc::channel();
            words.push(word);
            asking.ask(Request::WaitFor(heard));
        }
        let began = Instant::now();
        asked[20..].iter().for_each(|asking| asking.ask(Request::Count(99)));
        for _ in 20..30 {
            assert_eq!(answered.recv_timeout(Duration::from_secs(30)).expect("an answer"), 99);
        }
        assert!(began.elapsed() < LOOK_EVERY * 10, "{:?}", began.elapsed());
        drop(words);
        // The additional threads end.
        while threads.shared.state().threads > 4 {
            assert!(began.elapsed() < Duration::from_secs(30));
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_panic_ends_one_and_a_dropped_handle_ends_what_was_asked() {
        let threads = Threads::new(1, tokio::runtime::Handle::current());
        let (mut asked, at_work, answered) = many(3, &threads);
        let (word, heard) = mpsc::channel();
        asked[0].ask(Request::Panic);
        asked[0].ask(Request::Count(11));
        asked[1].ask(Request::WaitFor(heard));
        asked[1].ask(Request::Count(12));
        asked[2].ask(Request::Count(13));
        // The one that panicked counts as at work forever.
        let began = Instant::now();
        while at_work.load(Ordering::SeqCst) < 2 {
            assert!(began.elapsed() < Duration::from_secs(30));
            std::thread::sleep(Duration::from_millis(1));
        }
        drop(asked.remove(1));
        drop(word);
        let mut answers: Vec<usize> = (0..2).map(|_| answered.recv_timeout(Duration::from_secs(30)).expect("an answer")).collect();
        answers.sort_unstable();
        assert_eq!((answers, answered.try_recv().ok()), (vec![2, 13], None));
    }
}
