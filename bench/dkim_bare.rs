//! What signing costs at least: hashes and signatures by aws-lc-rs alone, and our signer around them. Prints one line of JSON.
//!
//! `dkim-bare KEY.pem MESSAGE.eml THREADS SECONDS`: signatures a second on so many threads, and processor time for each.

#![allow(clippy::print_stdout, clippy::print_stderr, clippy::exit, clippy::expect_used, clippy::cast_precision_loss)]

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use aws_lc_rs::digest::{SHA256, digest};
use mailfleet::dkim::{Content, Covered, Fields, PrivateKey, Signer, body_hash};
use rustix::time::{ClockId, clock_gettime};

/// Processor time of this process, microseconds.
fn processor_us() -> f64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    time.tv_sec as f64 * 1e6 + time.tv_nsec as f64 / 1e3
}

/// Does it on so many threads for so long: how often a second, and processor time for each, microseconds.
fn measure(threads: usize, seconds: f64, work: impl Fn() + Send + Sync) -> (f64, f64) {
    let (done, until) = (AtomicU64::new(0), Instant::now() + Duration::from_secs_f64(seconds));
    let (began, before) = (Instant::now(), processor_us());
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while Instant::now() < until {
                    (0..16).for_each(|_| work());
                    done.fetch_add(16, Ordering::Relaxed);
                }
            });
        }
    });
    let done = done.into_inner() as f64;
    (done / began.elapsed().as_secs_f64(), (processor_us() - before) / done)
}

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [key, message, threads, seconds] = &words[..] else {
        eprintln!("dkim-bare KEY.pem MESSAGE.eml THREADS SECONDS");
        std::process::exit(2);
    };
    let key = Arc::new(PrivateKey::parse(&std::fs::read(key).expect("the key")).expect("a key"));
    let message = std::fs::read(message).expect("the message");
    let (threads, seconds): (usize, f64) = (threads.parse().expect("a number"), seconds.parse().expect("seconds"));
    let read = Content::read(&message);
    let signer = Signer::new("news.example.com", "s1", key.clone());
    // What is hashed beside the body: the header fields, and the signature's own without the signature.
    let mut field = Vec::new();
    let mut covered = Covered::default();
    read.cover(&Fields::UNTOUCHED, &mut covered);
    signer.write(&mut covered, &body_hash(read.body), 1_790_000_000, &mut field).expect("a signature");
    let unsigned = field.windows(3).rposition(|end| end == b" b=").map_or(0, |at| at + 3);
    let header = [&field[..unsigned], &message[..message.len() - read.body.len()]].concat();
    let bare = || {
        std::hint::black_box(digest(&SHA256, read.body));
        std::hint::black_box(key.sign(&digest(&SHA256, &header)).expect("a signature"));
    };
    let ours = || {
        let read = Content::read(&message);
        let (mut covered, hash, mut out) = (Covered::default(), body_hash(read.body), Vec::with_capacity(1024));
        read.cover(&Fields::UNTOUCHED, &mut covered);
        signer.write(&mut covered, &hash, 1_790_000_000, &mut out).expect("a signature");
        std::hint::black_box(out);
    };
    // In turn, so that whatever else runs disturbs both.
    let rounds = [(); 3].map(|()| (measure(threads, seconds / 6.0, bare), measure(threads, seconds / 6.0, ours)));
    let most = |each: [f64; 3]| each.into_iter().fold(0.0, f64::max);
    let least = |each: [f64; 3]| each.into_iter().fold(f64::INFINITY, f64::min);
    println!(
        "{{\"bare_per_second\": {:.1}, \"bare_us\": {:.2}, \"signer_per_second\": {:.1}, \"signer_us\": {:.2}}}",
        most(rounds.map(|(bare, _)| bare.0)),
        least(rounds.map(|(bare, _)| bare.1)),
        most(rounds.map(|(_, ours)| ours.0)),
        least(rounds.map(|(_, ours)| ours.1)),
    );
}
