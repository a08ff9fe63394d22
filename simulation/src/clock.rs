//! The simulated time as production code asks for it.

use dac_runtime::clock::Clock;

use crate::cast::NOW;

/// Simulated time, and how wrong this host's clock is.
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
