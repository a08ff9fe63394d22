//! The time in whole Unix seconds, as the protocol counts it. Code gets its clock passed in, so
//! that tests can set it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// A source of the time.
pub trait Clock: Send + Sync + 'static {
    /// The seconds since 1970, UTC.
    fn now_unix_seconds(&self) -> u64;

    /// The milliseconds since 1970, UTC, for display. A clock without fractions returns whole
    /// seconds.
    fn now_unix_millis(&self) -> u64 {
        self.now_unix_seconds().saturating_mul(1000)
    }
}

/// The machine's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now_unix_seconds(&self) -> u64 {
        self.now_unix_millis() / 1000
    }

    fn now_unix_millis(&self) -> u64 {
        // A clock before 1970 is broken; 0 makes every batch look new and every epoch look
        // inactive, so nothing is signed.
        #[expect(clippy::disallowed_methods, reason = "this is the clock that others ask")]
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_millis());
        let now = u64::try_from(now).unwrap_or(u64::MAX);
        now.saturating_add_signed(offset_seconds().saturating_mul(1000))
    }
}

/// The error of the machine's clock: none in ordinary builds.
#[cfg(not(all(feature = "failpoints", debug_assertions)))]
const fn offset_seconds() -> i64 {
    0
}

/// The error of the machine's clock, which whole-system tests set in the environment. It is read
/// once.
#[cfg(all(feature = "failpoints", debug_assertions))]
fn offset_seconds() -> i64 {
    const VARIABLE: &str = "DAC_CLOCK_OFFSET_SECONDS";
    static OFFSET: std::sync::LazyLock<i64> = std::sync::LazyLock::new(|| match std::env::var(VARIABLE) {
        Ok(text) => text.parse().unwrap_or_else(|error| panic!("{VARIABLE} = {text:?}: {error}")),
        Err(_) => 0,
    });
    *OFFSET
}

/// A clock that stands still until it is set. Clones are the same clock.
#[derive(Clone, Debug, Default)]
pub struct ManualClock(Arc<AtomicU64>);

impl ManualClock {
    /// A clock that stands at `now`.
    pub fn at(now: u64) -> Self {
        Self(Arc::new(AtomicU64::new(now)))
    }

    /// Sets the clock to `now`, forwards or backwards.
    pub fn set(&self, now: u64) {
        self.0.store(now, Ordering::SeqCst);
    }

    /// Moves the clock forward.
    pub fn advance(&self, seconds: u64) {
        self.0.fetch_add(seconds, Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now_unix_seconds(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }
}

impl<C: Clock + ?Sized> Clock for Arc<C> {
    fn now_unix_seconds(&self) -> u64 {
        (**self).now_unix_seconds()
    }

    fn now_unix_millis(&self) -> u64 {
        (**self).now_unix_millis()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manual_clock_is_moved_by_hand() {
        let clock = ManualClock::at(100);
        let shared: Arc<dyn Clock> = Arc::new(clock.clone());
        clock.advance(5);
        assert_eq!(shared.now_unix_seconds(), 105);
        clock.set(1);
        assert_eq!(shared.now_unix_seconds(), 1);
    }

    /// Prints the time in a child process that [`the_clock_is_as_wrong_as_a_test_says`] starts.
    #[test]
    fn the_child() {
        println!("now: {}", SystemClock.now_unix_seconds());
    }

    #[cfg(all(feature = "failpoints", debug_assertions))]
    #[test]
    fn the_clock_is_as_wrong_as_a_test_says() {
        let told = |offset: &str| -> u64 {
            let output = std::process::Command::new(std::env::current_exe().unwrap())
                .args(["--exact", "clock::tests::the_child", "--nocapture"])
                .env("DAC_CLOCK_OFFSET_SECONDS", offset)
                .output()
                .unwrap();
            let text = String::from_utf8(output.stdout).unwrap();
            let (_, rest) = text.split_once("now: ").unwrap();
            rest.lines().next().unwrap().parse().unwrap()
        };
        let now = SystemClock.now_unix_seconds();
        assert!(told("-86400") <= now - 86_400 + 60);
        assert!(told("86400") >= now + 86_400);
    }

    #[test]
    fn the_system_clock_is_in_this_century() {
        assert!((1_700_000_000..4_100_000_000).contains(&SystemClock.now_unix_seconds()));
    }
}
