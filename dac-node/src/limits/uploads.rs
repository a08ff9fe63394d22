//! Uploads in flight, counted in the bytes that they are going to send: beyond the limit a caller is told to come back.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use dac_types::Address;
use parking_lot::Mutex;
use thiserror::Error;
use tokio::time::Instant;

/// How an upload's duration enters the running average: 1/8.
const AVERAGE_WEIGHT: u32 = 8;
/// Estimate before anything was observed, and its bounds.
const ESTIMATE_FIRST: Duration = Duration::from_secs(1);
const ESTIMATE_MIN: Duration = Duration::from_millis(100);
const ESTIMATE_MAX: Duration = Duration::from_secs(30);

/// How much may be in flight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UploadLimits {
    /// Bytes of shards and payloads being received.
    pub bytes: u64,
    /// Uploads of one rollup, so that no rollup keeps the others out.
    pub per_rollup: u32,
}

/// No room for this upload now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("{what}: {in_flight} of {limit} are in flight; try again in about {} ms", .retry_after.as_millis())]
pub struct Busy {
    /// Which limit.
    pub what: &'static str,
    /// In flight now.
    pub in_flight: u64,
    /// Allowed.
    pub limit: u64,
    /// An estimate of when there will be room.
    pub retry_after: Duration,
}

#[derive(Debug)]
struct State {
    bytes: u64,
    rollups: HashMap<Address, u32>,
    average: Option<Duration>,
}

/// The uploads in flight.
#[derive(Clone, Debug)]
pub struct Uploads {
    limits: UploadLimits,
    state: Arc<Mutex<State>>,
}

impl Uploads {
    /// None yet.
    pub fn new(limits: UploadLimits) -> Self {
        let state = State { bytes: 0, rollups: HashMap::new(), average: None };
        Self { limits, state: Arc::new(Mutex::new(state)) }
    }

    /// Room for `bytes` of a rollup, until the permit is dropped.
    pub fn admit(&self, rollup: Address, bytes: u64) -> Result<UploadPermit, Busy> {
        let mut state = self.state.lock();
        let retry_after = state.average.unwrap_or(ESTIMATE_FIRST).clamp(ESTIMATE_MIN, ESTIMATE_MAX);
        let busy = |what, in_flight, limit| Busy { what, in_flight, limit, retry_after };
        if state.bytes.saturating_add(bytes) > self.limits.bytes {
            return Err(busy("bytes of uploads", state.bytes, self.limits.bytes));
        }
        let of_rollup = state.rollups.get(&rollup).copied().unwrap_or(0);
        if of_rollup >= self.limits.per_rollup {
            return Err(busy("uploads of this rollup", of_rollup.into(), self.limits.per_rollup.into()));
        }
        state.bytes += bytes;
        state.rollups.insert(rollup, of_rollup + 1);
        metrics::gauge!("dac_node_upload_bytes_in_flight").set(u64_to_f64(state.bytes));
        Ok(UploadPermit { state: Arc::clone(&self.state), rollup, bytes, since: Instant::now() })
    }

    /// Bytes in flight.
    pub fn bytes(&self) -> u64 {
        self.state.lock().bytes
    }
}

/// Room for one upload, given back when dropped.
#[derive(Debug)]
pub struct UploadPermit {
    state: Arc<Mutex<State>>,
    rollup: Address,
    bytes: u64,
    since: Instant,
}

impl Drop for UploadPermit {
    fn drop(&mut self) {
        let mut state = self.state.lock();
        state.bytes = state.bytes.saturating_sub(self.bytes);
        metrics::gauge!("dac_node_upload_bytes_in_flight").set(u64_to_f64(state.bytes));
        if let Some(count) = state.rollups.get_mut(&self.rollup) {
            *count -= 1;
            if *count == 0 {
                state.rollups.remove(&self.rollup);
            }
        }
        let took = self.since.elapsed();
        state.average = Some(match state.average {
            None => took,
            Some(average) => (average * (AVERAGE_WEIGHT - 1) + took) / AVERAGE_WEIGHT,
        });
    }
}

#[expect(clippy::cast_precision_loss, reason = "a gauge")]
fn u64_to_f64(value: u64) -> f64 {
    value as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROLLUP: Address = Address::repeat_byte(1);
    const OTHER: Address = Address::repeat_byte(2);

    #[test]
    fn bytes_come_back_when_a_permit_is_dropped() {
        let uploads = Uploads::new(UploadLimits { bytes: 100, per_rollup: 8 });
        let first = uploads.admit(ROLLUP, 60).unwrap();
        let busy = uploads.admit(OTHER, 41).unwrap_err();
        assert_eq!((busy.in_flight, busy.limit), (60, 100));
        assert!(busy.retry_after >= ESTIMATE_MIN);
        let second = uploads.admit(OTHER, 40).unwrap();
        drop(first);
        assert_eq!(uploads.bytes(), 40);
        drop(second);
        assert_eq!(uploads.bytes(), 0);
        assert!(uploads.state.lock().rollups.is_empty(), "nothing is remembered of rollups that are done");
    }

    #[test]
    fn one_rollup_does_not_keep_the_others_out() {
        let uploads = Uploads::new(UploadLimits { bytes: 1000, per_rollup: 2 });
        let _held = [uploads.admit(ROLLUP, 1).unwrap(), uploads.admit(ROLLUP, 1).unwrap()];
        assert_eq!(uploads.admit(ROLLUP, 1).unwrap_err().limit, 2);
        assert!(uploads.admit(OTHER, 1).is_ok());
    }
}
