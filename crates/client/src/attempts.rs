//! Decides when a call to an aggregator is repeated: failures that may be temporary are tried
//! again, with growing pauses, within bounds of time.

use std::time::Duration;

use dac_proto::reason::Reason;
use dac_types::PostingMode;
use tokio::time::Instant;
use tonic::Code;

use crate::batch::AggregatorError;

/// How long an aggregator may lag behind L1, for example behind an admission or the beginning of an
/// epoch.
const LAG_MAX: Duration = Duration::from_secs(20);
/// The pause after the first failure; it doubles after each further one.
const PAUSE_MIN: Duration = Duration::from_millis(250);
/// The longest pause between two attempts.
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// How a payload or proof is submitted, and for how long failed attempts are repeated.
#[derive(Clone, Copy, Debug)]
pub struct SubmitOptions {
    /// How the batch gets to L1. For a batch that was submitted before, the first submission's
    /// choice counts.
    pub posting: PostingMode,
    /// For how long failed attempts are repeated, counted from the first one.
    pub retry_for: Duration,
    /// The time for one attempt to connect and to get the answer. Its upload has more: as long as
    /// it takes at 64 KiB a second.
    pub answer: Duration,
    /// The time for all attempts together. An attempt that is under way then is given up.
    pub limit: Duration,
    /// Whether L1 says that the rollup is admitted. If so, an aggregator that does not know the
    /// rollup has not read its admission yet, and is asked again.
    pub is_admitted: bool,
}

impl Default for SubmitOptions {
    fn default() -> Self {
        Self {
            posting: PostingMode::Record,
            retry_for: Duration::from_secs(60),
            answer: Duration::from_secs(60),
            limit: Duration::from_secs(60 * 60),
            is_admitted: false,
        }
    }
}

/// The attempts at one call.
#[derive(Debug)]
pub(crate) struct Attempts {
    what: &'static str,
    options: SubmitOptions,
    start: Instant,
    pause: Duration,
    last: Option<AggregatorError>,
}

impl Attempts {
    pub(crate) fn new(what: &'static str, options: SubmitOptions) -> Self {
        Self { what, options, start: Instant::now(), pause: PAUSE_MIN, last: None }
    }

    /// Makes one attempt within `limit` and the time that is left for all attempts. The outer error
    /// ends the attempts when that time is up: it is the failure of the attempt before, if there
    /// was one, since that says more than a timeout.
    pub(crate) async fn one<T>(
        &mut self,
        limit: Duration,
        attempt: impl Future<Output = Result<T, AggregatorError>>,
    ) -> Result<Result<T, AggregatorError>, AggregatorError> {
        let left = self.left();
        match tokio::time::timeout(limit.min(left), attempt).await {
            Ok(outcome) => Ok(outcome),
            Err(_) if limit < left => Ok(Err(AggregatorError::TimedOut { what: self.what, limit })),
            Err(_) => {
                let limit = self.options.limit;
                Err(self.last.take().unwrap_or(AggregatorError::TimedOut { what: self.what, limit }))
            }
        }
    }

    /// Returns the pause before the next attempt and the error, or the error alone if no attempt
    /// may follow.
    pub(crate) fn again(
        &mut self,
        error: AggregatorError,
    ) -> Result<(Duration, &AggregatorError), AggregatorError> {
        let patience = patience_for(&error, &self.options).min(self.options.limit);
        let pause = self.pause;
        if self.start.elapsed() + pause >= patience {
            return Err(error);
        }
        self.pause = (pause * 2).min(PAUSE_MAX);
        Ok((pause.mul_f64(rand::random_range(0.75..1.25)), self.last.insert(error)))
    }

    fn left(&self) -> Duration {
        self.options.limit.saturating_sub(self.start.elapsed())
    }
}

/// For how long after the first attempt a call that failed with `error` is tried again. Each reason
/// that an aggregator can give is listed here.
fn patience_for(error: &AggregatorError, options: &SubmitOptions) -> Duration {
    match error {
        AggregatorError::Unreachable(fault) if fault.is_retryable() => options.retry_for,
        AggregatorError::TimedOut { .. } => options.retry_for,
        AggregatorError::Refused { reason: Some(reason), .. } => match reason {
            // The address is wrong, unless L1 says that the rollup is admitted: then the aggregator
            // has not read it yet.
            Reason::UnknownRollup if options.is_admitted => options.retry_for.min(LAG_MAX),
            Reason::UnknownRollup => Duration::ZERO,
            Reason::UnknownEpoch | Reason::EpochNotActive | Reason::NoActiveCommittee => {
                options.retry_for.min(LAG_MAX)
            }
            // These may pass, but not within a minute.
            Reason::Paused | Reason::QuotaExceeded => Duration::ZERO,
            reason if reason.is_retryable() => options.retry_for,
            _ => Duration::ZERO,
        },
        AggregatorError::Refused { reason: None, code: Code::ResourceExhausted, .. } => options.retry_for,
        _ => Duration::ZERO,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    fn refused(reason: Reason) -> AggregatorError {
        AggregatorError::from_status(&reason.status("why"))
    }

    /// Goes through every reason: those in a short list are tried again, every other one is final.
    #[test]
    fn only_what_may_pass_is_tried_again() {
        let options = SubmitOptions { retry_for: HOUR, ..SubmitOptions::default() };
        for reason in Reason::ALL.iter().copied() {
            let expected = match reason {
                Reason::Busy
                | Reason::RateLimited
                | Reason::StorageFailed
                | Reason::ShuttingDown
                | Reason::TimedOut
                | Reason::L1Stale
                | Reason::NotEncoded
                | Reason::NotCertified
                | Reason::NotSettled
                | Reason::NotHeld
                | Reason::Internal => HOUR,
                Reason::UnknownEpoch | Reason::EpochNotActive | Reason::NoActiveCommittee => LAG_MAX,
                _ => Duration::ZERO,
            };
            assert_eq!(patience_for(&refused(reason), &options), expected, "{reason}");
        }
        let admitted = SubmitOptions { is_admitted: true, ..options };
        assert_eq!(patience_for(&refused(Reason::UnknownRollup), &admitted), LAG_MAX);
    }

    #[tokio::test]
    async fn the_limit_is_for_all_of_it_and_the_last_failure_says_why() {
        let limit = Duration::from_millis(400);
        let options = SubmitOptions { retry_for: HOUR, limit, ..SubmitOptions::default() };
        let mut attempts = Attempts::new("SubmitBatch", options);
        let error = loop {
            let attempt = async {
                tokio::time::sleep(Duration::from_millis(30)).await;
                Err::<(), _>(refused(Reason::StorageFailed))
            };
            match attempts.one(HOUR, attempt).await {
                Err(error) => break error,
                Ok(outcome) => match attempts.again(outcome.unwrap_err()) {
                    Err(error) => break error,
                    Ok((pause, _)) => tokio::time::sleep(pause).await,
                },
            }
        };
        assert_eq!(error.reason(), Some(Reason::StorageFailed));
        let mut attempts = Attempts::new("SubmitBatch", options);
        let silence = attempts.one(HOUR, std::future::pending::<Result<(), _>>()).await.unwrap_err();
        assert!(
            matches!(silence, AggregatorError::TimedOut { limit: told, .. } if told == limit),
            "{silence}"
        );
    }
}
