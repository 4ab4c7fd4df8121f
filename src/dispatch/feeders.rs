//! The threads that feeders work on, and how each feeder is asked.
//!
//! A feeder has a thread only while it has something to do, and few of them work at a time. Whatever one of them waits for (a slow
//! server, a slow disk), the others go on: while somebody waits and hardly anybody gets done, there are more threads.

use std::{
    collections::VecDeque,
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

/// Feeders that work at a time, while each of them gets on.
pub const THREADS: usize = 32;
/// Threads in all, with those for feeders that are kept waiting by what they read.
pub const THREADS_MAX: usize = 1024;
/// Between two looks at whether those who work get on: whoever needs longer than this for what it is asked is kept waiting.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// A thread that has nothing to do stays for so long.
const IDLE: Duration = Duration::from_secs(10);

/// A stretch of work.
type Task = Box<dyn FnOnce() + Send>;

/// The threads of all feeders. A copy is a handle to the same ones.
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
    /// What nobody has begun yet, in the order of asking.
    waiting: VecDeque<Task>,
    threads: usize,
    idle: usize,
    /// Counts what was done.
    done: u64,
    /// Somebody looks whether those who wait have to wait too long.
    is_watched: bool,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Threads {
    /// No thread yet; `threads` of them work at a time.
    #[must_use]
    pub fn new(threads: usize, runtime: tokio::runtime::Handle) -> Self {
        let shared = Shared { state: Mutex::default(), changed: Condvar::new(), threads };
        Self { shared: Arc::new(shared), runtime }
    }

    /// Ensures that there is a thread.
    ///
    /// # Errors
    /// When there is none, and the system gives none.
    pub fn ensure(&self) -> io::Result<()> {
        let mut state = self.shared.state();
        if state.threads > 0 { Ok(()) } else { start(&self.shared, &mut state) }
    }

    /// Has a task done, when it is its turn.
    fn run(&self, task: Task) {
        let mut state = self.shared.state();
        state.waiting.push_back(task);
        if state.waiting.len() > state.idle && state.threads < self.shared.threads {
            // Whoever has a thread does it later, and the system is asked again where nobody has.
            let _ = start(&self.shared, &mut state);
        }
        if state.waiting.len() > state.idle && !std::mem::replace(&mut state.is_watched, true) {
            self.runtime.spawn(watch(Arc::downgrade(&self.shared), state.done));
        }
        drop(state);
        self.shared.changed.notify_one();
    }
}

/// Starts one thread more.
fn start(shared: &Arc<Shared>, state: &mut State) -> io::Result<()> {
    let its = shared.clone();
    std::thread::Builder::new().name("feeder".to_owned()).spawn(move || work(&its))?;
    state.threads += 1;
    Ok(())
}

/// While tasks wait and fewer are done than there are threads, as many threads more as wait, up to the usual number at a time.
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
            // What the system does not give now it may give in a moment.
            let _ = (0..more).try_for_each(|_| start(&shared, &mut state));
        }
    }
}

/// A thread: one task after the other, and an end when there is none for a while, or when there are more threads than usual.
fn work(shared: &Shared) {
    let mut state = shared.state();
    loop {
        if let Some(task) = state.waiting.pop_front() {
            drop(state);
            // Whoever gave the task tells of a panic; the thread is counted whatever happens.
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

/// Who is asked: one request after the other, never two at a time.
pub trait Asked: Send + 'static {
    /// What it is asked for.
    type Request: Send + 'static;

    /// Does what it is asked for; false when it can do no more.
    fn answer(&mut self, request: Self::Request) -> bool;
}

/// The handle to somebody who is asked. When it is dropped, nothing more is asked, and what was asked and not begun is not done.
pub struct Asking<A: Asked> {
    asked: Arc<Mailbox<A>>,
    threads: Threads,
}

struct Mailbox<A: Asked>(Mutex<Mail<A>>);

struct Mail<A: Asked> {
    /// None while it works, and when it is over.
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
    /// Nobody is asked for anything yet.
    #[must_use]
    pub fn new(whom: A, threads: Threads) -> Self {
        let mail = Mail { whom: Some(whom), requests: VecDeque::new(), is_at_work: false, is_over: false };
        Self { asked: Arc::new(Mailbox(Mutex::new(mail))), threads }
    }

    /// Asks; it is answered when it is its turn.
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
        // It closes its files where nothing else waits for that.
        let whom = mail.whom.take();
        drop(mail);
        drop(whom);
    }
}

/// Has the next request answered; the one after that waits for its turn again, behind the others.
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

    /// Waits for a word before it answers; tells how many are at work.
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
        // Nobody has a second turn before everybody had the first.
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
        // The further threads go again.
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
        // Whoever panicked counts as at work forever.
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
