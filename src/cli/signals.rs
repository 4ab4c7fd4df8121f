//! The signals that end a process which sends.

use tokio::signal::unix::{Signal, SignalKind, signal};

/// Resolves on SIGTERM, Ctrl-C, or SIGHUP when the terminal is closed, unless `nohup` had that ignored. From this call on, not from
/// the first poll, none of them ends the process at once.
pub(crate) fn told_to_stop() -> impl Future<Output = ()> + Send + 'static {
    let (interrupt, terminate) = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()));
    let hang_up = (!is_hang_up_ignored()).then(|| signal(SignalKind::hangup()));
    async move {
        let told = |of: std::io::Result<Signal>| async {
            match of {
                Ok(mut signal) => drop(signal.recv().await),
                // It cannot be heard, and ends the process as ever.
                Err(_) => std::future::pending().await,
            }
        };
        tokio::select! {
            () = told(interrupt) => {}
            () = told(terminate) => {}
            () = async { match hang_up {
                Some(hang_up) => told(hang_up).await,
                None => std::future::pending().await,
            } } => {}
        }
    }
}

/// Whether this process was started with SIGHUP ignored (`nohup`): it is to outlive its terminal then. As Linux tells it; elsewhere
/// it is taken for not ignored.
fn is_hang_up_ignored() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    // Signal 1 is the lowest bit.
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).is_some_and(|mask| mask & 1 == 1)
}
