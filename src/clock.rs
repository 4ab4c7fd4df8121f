//! The time: milliseconds since 1970 that never step back. One clock serves a process.

use std::{sync::LazyLock, time::Duration};

/// A clock that never steps back: wall time at the start, then advanced by the time since boot, which includes sleep. So whatever
/// falls due while the machine sleeps is not delayed by it.
///
/// Clocks that were tied to wall time at two moments could differ, so a process has one.
#[derive(Clone, Copy, Debug)]
pub struct SteadyClock {
    wall_ms: i64,
    started: Duration,
    /// What it is advanced by.
    elapsed: fn() -> Duration,
}

impl SteadyClock {
    /// The clock of this process, which was tied to wall time when it was first asked for.
    #[must_use]
    pub fn of_process() -> Self {
        static TIED: LazyLock<SteadyClock> = LazyLock::new(|| SteadyClock::at(jiff::Timestamp::now().as_millisecond(), since_boot));
        *TIED
    }

    /// A clock that shows `wall_ms` now, and goes on as `elapsed` does.
    pub(crate) fn at(wall_ms: i64, elapsed: fn() -> Duration) -> Self {
        Self { wall_ms, started: elapsed(), elapsed }
    }

    /// Milliseconds since 1970.
    #[must_use]
    pub fn now_ms(&self) -> i64 {
        let elapsed = (self.elapsed)().saturating_sub(self.started);
        self.wall_ms.saturating_add(i64::try_from(elapsed.as_millis()).unwrap_or(i64::MAX))
    }
}

/// The time that processors have worked for this process, all threads together (`CLOCK_PROCESS_CPUTIME_ID`).
pub fn processor_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_nsec).unwrap_or(0))
}

/// The time since boot, sleep included (`CLOCK_BOOTTIME`).
#[cfg(target_os = "linux")]
fn since_boot() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_nsec).unwrap_or(0))
}

/// The time since the first call; other systems share no clock of this kind.
#[cfg(not(target_os = "linux"))]
fn since_boot() -> Duration {
    static FIRST: LazyLock<std::time::Instant> = LazyLock::new(std::time::Instant::now);
    FIRST.elapsed()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_of_processors_is_that_of_work() {
        // This thread's own share, since the other tests of the process work beside it.
        let of_thread = || {
            let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
            Duration::new(u64::try_from(time.tv_sec).expect("time"), u32::try_from(time.tv_nsec).expect("time"))
        };
        let before = processor_time();
        let ours = of_thread();
        while of_thread() < ours + Duration::from_millis(20) {
            std::hint::black_box(0);
        }
        let worked = processor_time().saturating_sub(before);
        assert!(worked >= Duration::from_millis(19), "{worked:?}");
    }

    #[test]
    fn it_goes_with_the_wall_clock_and_counts_sleep() {
        let clock = SteadyClock::of_process();
        let wall = || jiff::Timestamp::now().as_millisecond();
        let (before, ours) = (wall(), clock.now_ms());
        assert!((ours - before).abs() < 1000, "{ours} {before}");
        std::thread::sleep(Duration::from_millis(30));
        let later = clock.now_ms();
        assert!((30..5000).contains(&(later - ours)), "{}", later - ours);
        // Whoever asks later has the same clock, and not one that was tied again.
        let again = SteadyClock::of_process();
        assert_eq!((again.wall_ms, again.started), (clock.wall_ms, clock.started));
        // The system's own time since boot, which includes sleep.
        #[cfg(target_os = "linux")]
        {
            let text = std::fs::read_to_string("/proc/uptime").expect("Linux has it");
            let uptime: f64 = text.split(' ').next().and_then(|first| first.parse().ok()).expect("seconds");
            assert!((since_boot().as_secs_f64() - uptime).abs() < 1.0, "{uptime}");
        }
    }
}
