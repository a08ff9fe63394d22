//! The results of a load: counts, bytes and latencies. Callers pass in all times; nothing here
//! reads a clock.

use std::collections::BTreeMap;
use std::time::Duration;

use hdrhistogram::Histogram;

/// The largest latency that is told apart; longer ones count as this one.
const LATENCY_MAX: Duration = Duration::from_secs(3600);
/// The number of decimal digits of latencies that are kept.
const LATENCY_DIGITS: u8 = 3;

/// The outcome of one batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// A quorum signed the batch.
    Certified {
        /// The time from when the batch was due until the aggregator had it on durable storage.
        received: Duration,
        /// The time from when the batch was due until this program knew of its certificate.
        certified: Duration,
    },
    /// The aggregator refused the batch.
    Refused {
        /// The reason's name.
        reason: String,
    },
    /// The batch failed for another reason.
    Failed {
        /// A name of the error.
        error: String,
    },
}

/// The distribution of one kind of latency.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Latencies {
    /// The number of latencies.
    pub count: u64,
    /// The median.
    pub p50: Duration,
    /// The 90th percentile.
    pub p90: Duration,
    /// The 99th percentile.
    pub p99: Duration,
    /// The 99.9th percentile.
    pub p999: Duration,
    /// The longest latency.
    pub max: Duration,
}

impl Latencies {
    fn of(histogram: &Histogram<u64>) -> Self {
        let at = |quantile| Duration::from_micros(histogram.value_at_quantile(quantile));
        Self {
            count: histogram.len(),
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p999: at(0.999),
            max: Duration::from_micros(histogram.max()),
        }
    }
}

/// The state of a running load.
#[derive(Clone, Debug, PartialEq)]
pub struct Snapshot {
    /// The time since the start of the load.
    pub elapsed: Duration,
    /// The number of batches sent whose outcome is not known yet.
    pub in_flight: usize,
    /// Certificates a second since the last snapshot.
    pub certificates_per_second: f64,
    /// Certified payload bytes a second since the last snapshot.
    pub bytes_per_second: f64,
    /// The latencies from due time to certificate of all batches so far, without the warm-up.
    pub latency: Latencies,
    /// The number of batches dropped.
    pub dropped: u64,
    /// The number of refusals by the aggregator for each reason.
    pub refused: BTreeMap<String, u64>,
    /// The number of other failures for each error.
    pub failed: BTreeMap<String, u64>,
}

/// The results of a load.
#[derive(Clone, Debug, PartialEq)]
pub struct Summary {
    /// The measured time, which follows the warm-up.
    pub window: Duration,
    /// The number of batches due in the measured time, dropped ones included.
    pub due: u64,
    /// The payload bytes of these batches.
    pub due_bytes: u64,
    /// The number of these batches that were certified, however late.
    pub certified: u64,
    /// The certificates a second that came within the measured time, including those of batches
    /// that were due before.
    pub certificates_per_second: f64,
    /// The payload bytes a second of these certificates.
    pub bytes_per_second: f64,
    /// The payload bytes certified in all, including those of the warm-up and of the wait at the
    /// end.
    pub all_bytes: u64,
    /// The latencies from due time to certificate.
    pub certificate_latency: Latencies,
    /// The latencies from due time to the aggregator's receipt.
    pub receipt_latency: Latencies,
    /// The delays from due time until this program began to send. If they are above a few
    /// milliseconds, this machine is too slow for the load, and causes part of the other latencies.
    pub sender_lateness: Latencies,
    /// The number of batches that were dropped because the bound of batches in flight was reached.
    pub dropped: u64,
    /// The number of refusals by the aggregator for each reason.
    pub refused: BTreeMap<String, u64>,
    /// The number of other failures for each error.
    pub failed: BTreeMap<String, u64>,
    /// The number of batches still in flight when waiting for them ended.
    pub unfinished: u64,
}

/// Collects the outcomes of a load.
#[derive(Debug)]
pub struct Statistics {
    warm_up: Duration,
    end: Duration,
    due: u64,
    due_bytes: u64,
    certified: u64,
    window_certificates: u64,
    window_bytes: u64,
    all_bytes: u64,
    certificate: Histogram<u64>,
    receipt: Histogram<u64>,
    lateness: Histogram<u64>,
    dropped: u64,
    refused: BTreeMap<String, u64>,
    failed: BTreeMap<String, u64>,
    last: Duration,
    since_last_certificates: u64,
    since_last_bytes: u64,
}

impl Statistics {
    /// Begins the statistics of a load that is measured from `warm_up` to `end`, both counted from
    /// its start.
    pub fn new(warm_up: Duration, end: Duration) -> Self {
        let histogram = || {
            let longest = u64::try_from(LATENCY_MAX.as_micros()).unwrap_or(u64::MAX);
            Histogram::new_with_bounds(1, longest, LATENCY_DIGITS).expect("bounds of a histogram")
        };
        Self {
            warm_up,
            end,
            due: 0,
            due_bytes: 0,
            certified: 0,
            window_certificates: 0,
            window_bytes: 0,
            all_bytes: 0,
            certificate: histogram(),
            receipt: histogram(),
            lateness: histogram(),
            dropped: 0,
            refused: BTreeMap::new(),
            failed: BTreeMap::new(),
            last: Duration::ZERO,
            since_last_certificates: 0,
            since_last_bytes: 0,
        }
    }

    /// Counts a batch that was due at `at`.
    pub fn due(&mut self, at: Duration, bytes: usize) {
        if at >= self.warm_up {
            self.due += 1;
            self.due_bytes += bytes as u64;
        }
    }

    /// Counts the batch that was due at `at` as dropped.
    pub fn dropped(&mut self, at: Duration) {
        if at >= self.warm_up {
            self.dropped += 1;
        }
    }

    /// Counts the delay `late` with which a batch's sending began.
    pub fn sent(&mut self, at: Duration, late: Duration) {
        if at >= self.warm_up {
            record(&mut self.lateness, late);
        }
    }

    /// Counts the outcome of a batch that was due at `at` and ended at `now`, both counted from the
    /// start.
    pub fn ended(&mut self, at: Duration, bytes: usize, outcome: Outcome, now: Duration) {
        let is_measured = at >= self.warm_up;
        match outcome {
            Outcome::Certified { received, certified } => {
                self.since_last_certificates += 1;
                self.since_last_bytes += bytes as u64;
                self.all_bytes += bytes as u64;
                if (self.warm_up..=self.end).contains(&now) {
                    self.window_certificates += 1;
                    self.window_bytes += bytes as u64;
                }
                if is_measured {
                    self.certified += 1;
                    record(&mut self.receipt, received);
                    record(&mut self.certificate, certified);
                }
            }
            Outcome::Refused { reason } if is_measured => *self.refused.entry(reason).or_default() += 1,
            Outcome::Failed { error } if is_measured => *self.failed.entry(error).or_default() += 1,
            Outcome::Refused { .. } | Outcome::Failed { .. } => {}
        }
    }

    /// Returns the current state, with the rates since the last call.
    pub fn snapshot(&mut self, now: Duration, in_flight: usize) -> Snapshot {
        let since = now.saturating_sub(self.last);
        let snapshot = Snapshot {
            elapsed: now,
            in_flight,
            certificates_per_second: per_second(self.since_last_certificates, since),
            bytes_per_second: per_second(self.since_last_bytes, since),
            latency: Latencies::of(&self.certificate),
            dropped: self.dropped,
            refused: self.refused.clone(),
            failed: self.failed.clone(),
        };
        (self.last, self.since_last_certificates, self.since_last_bytes) = (now, 0, 0);
        snapshot
    }

    /// Returns the results, with `unfinished` batches that were given up.
    pub fn summary(self, unfinished: u64) -> Summary {
        let window = self.end.saturating_sub(self.warm_up);
        Summary {
            window,
            due: self.due,
            due_bytes: self.due_bytes,
            certified: self.certified,
            certificates_per_second: per_second(self.window_certificates, window),
            bytes_per_second: per_second(self.window_bytes, window),
            all_bytes: self.all_bytes,
            certificate_latency: Latencies::of(&self.certificate),
            receipt_latency: Latencies::of(&self.receipt),
            sender_lateness: Latencies::of(&self.lateness),
            dropped: self.dropped,
            refused: self.refused,
            failed: self.failed,
            unfinished,
        }
    }
}

fn record(histogram: &mut Histogram<u64>, latency: Duration) {
    histogram.saturating_record(u64::try_from(latency.as_micros()).unwrap_or(u64::MAX));
}

#[allow(clippy::cast_precision_loss)] // A load has far fewer than 2^52 of anything.
fn per_second(count: u64, time: Duration) -> f64 {
    if time.is_zero() { 0.0 } else { count as f64 / time.as_secs_f64() }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(milliseconds: u64) -> Duration {
        Duration::from_millis(milliseconds)
    }

    fn certified(latency: Duration) -> Outcome {
        Outcome::Certified { received: latency / 2, certified: latency }
    }

    #[test]
    fn quantiles_are_those_of_what_was_recorded() {
        let mut statistics = Statistics::new(ms(0), ms(10_000));
        for latency in 1..=1000 {
            statistics.due(ms(0), 1);
            statistics.ended(ms(0), 1, certified(ms(latency)), ms(latency));
        }
        let Latencies { count, p50, p90, p99, p999, max } = statistics.summary(0).certificate_latency;
        assert_eq!(count, 1000);
        for (got, expected) in [(p50, 500), (p90, 900), (p99, 990), (p999, 999), (max, 1000)] {
            let error = got.abs_diff(ms(expected)).as_secs_f64() / ms(expected).as_secs_f64();
            assert!(error < 0.002, "{got:?} for {expected} ms");
        }
    }

    #[test]
    fn a_service_that_stands_still_pays_for_everyone_who_waited() {
        // One batch is due every 10 ms; from 1 s to 2 s none ends, then all of them do at once.
        let mut statistics = Statistics::new(ms(0), ms(3_000));
        for at in (0..3_000).step_by(10) {
            let end = if (1_000..2_000).contains(&at) { 2_000 } else { at + 1 };
            statistics.ended(ms(at), 1, certified(ms(end - at)), ms(end));
        }
        let latency = statistics.summary(0).certificate_latency;
        assert!(latency.p90 > ms(650) && latency.max >= ms(1_000), "{latency:?}");
    }

    #[test]
    fn the_warm_up_is_not_measured_and_rates_are_those_of_the_window() {
        let mut statistics = Statistics::new(ms(1_000), ms(3_000));
        for at in (0..3_000).step_by(500) {
            statistics.due(ms(at), 100);
            statistics.ended(ms(at), 100, certified(ms(600)), ms(at + 600));
        }
        statistics.dropped(ms(200));
        statistics.dropped(ms(1_200));
        statistics.ended(ms(10), 100, Outcome::Refused { reason: "BUSY".into() }, ms(20));
        statistics.ended(ms(1_010), 100, Outcome::Refused { reason: "BUSY".into() }, ms(1_020));
        statistics.ended(ms(1_010), 100, Outcome::Failed { error: "UNREACHABLE".into() }, ms(1_020));
        let summary = statistics.summary(2);
        assert_eq!((summary.due, summary.due_bytes, summary.certified), (4, 400, 4));
        assert_eq!((summary.dropped, summary.unfinished), (1, 2));
        assert_eq!(summary.all_bytes, 600);
        // Ended at 600, 1100, 1600, 2100, 2600 and 3100: four within the two seconds.
        assert!((summary.certificates_per_second - 2.0).abs() < 1e-9);
        assert!((summary.bytes_per_second - 200.0).abs() < 1e-9);
        assert_eq!(summary.refused, BTreeMap::from([("BUSY".to_owned(), 1)]));
        assert_eq!(summary.failed, BTreeMap::from([("UNREACHABLE".to_owned(), 1)]));
    }

    #[test]
    fn snapshots_tell_what_is_new() {
        let mut statistics = Statistics::new(ms(0), ms(10_000));
        statistics.ended(ms(0), 500, certified(ms(5)), ms(5));
        let first = statistics.snapshot(ms(500), 3);
        assert!((first.certificates_per_second - 2.0).abs() < 1e-9);
        assert!((first.bytes_per_second - 1_000.0).abs() < 1e-9);
        assert_eq!(first.in_flight, 3);
        let second = statistics.snapshot(ms(1_000), 0);
        assert!(second.certificates_per_second.abs() < 1e-9);
        assert_eq!(second.latency.count, 1, "latencies are of all so far");
    }

    #[test]
    fn what_takes_for_ever_is_counted() {
        let mut statistics = Statistics::new(ms(0), ms(1));
        statistics.ended(ms(0), 1, certified(Duration::MAX), ms(1));
        assert!(statistics.summary(0).certificate_latency.max >= LATENCY_MAX);
    }
}
