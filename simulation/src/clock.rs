//! The simulated time behind the trait with which production code reads the clock.

use dac_runtime::clock::Clock;

use crate::cast::NOW;

/// A host's clock: the simulated time, plus the milliseconds by which the clock is wrong.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct SimulatedClock {
    pub(crate) ahead_ms: u64,
}

impl Clock for SimulatedClock {
    fn now_unix_seconds(&self) -> u64 {
        self.now_unix_millis() / 1000
    }

    fn now_unix_millis(&self) -> u64 {
        let elapsed = turmoil::sim_elapsed().unwrap_or_default().as_millis();
        NOW * 1000 + self.ahead_ms + u64::try_from(elapsed).expect("a simulation is short")
    }
}
