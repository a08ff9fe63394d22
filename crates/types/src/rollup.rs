//! What the registry's owner granted to a rollup, and the times that an order of its must keep. Section 6.

use alloy_primitives::Address;
use thiserror::Error;

use crate::limits::SUBMIT_AHEAD_MAX_SECONDS;
use crate::submission::BatchSubmission;

/// An admitted rollup.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct AdmittedRollup {
    /// Its settlement contract.
    pub rollup: Address,
    /// Whose signature authorises its submissions.
    pub poster: Address,
    /// How far ahead `expiresAt` may lie, in seconds.
    pub retention_max_seconds: u64,
    /// Payload bytes it may submit in one UTC day.
    pub daily_payload_bytes: u64,
}

/// Which time of an order is out of bounds. All are Unix seconds; `now` is the clock of who checks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum TimesError {
    /// The batch has expired.
    #[error("expiresAt {expires_at} is not after {now}")]
    ExpiresTooSoon {
        /// The order's.
        expires_at: u64,
        /// The clock.
        now: u64,
    },
    /// Longer than the rollup may ask for.
    #[error("expiresAt {expires_at} lies more than {retention} s after {now}")]
    ExpiresTooLate {
        /// The order's.
        expires_at: u64,
        /// The rollup's longest retention.
        retention: u64,
        /// The clock.
        now: u64,
    },
    /// The order is void.
    #[error("submitBefore {submit_before} has passed: it is {now}")]
    SubmitBeforePassed {
        /// The order's.
        submit_before: u64,
        /// The clock.
        now: u64,
    },
    /// The order would be good for too long.
    #[error("submitBefore {submit_before} lies more than {SUBMIT_AHEAD_MAX_SECONDS} s after {now}")]
    SubmitBeforeTooFar {
        /// The order's.
        submit_before: u64,
        /// The clock.
        now: u64,
    },
}

impl TimesError {
    /// Nothing is promised or repeated of a batch that has expired: `expiresAt` lies ahead.
    pub const fn check_expiry(expires_at: u64, now: u64) -> Result<(), Self> {
        if expires_at > now { Ok(()) } else { Err(TimesError::ExpiresTooSoon { expires_at, now }) }
    }
}

impl AdmittedRollup {
    /// Whether a new order of this rollup keeps all its times.
    pub const fn check_times(&self, order: &BatchSubmission, now: u64) -> Result<(), TimesError> {
        let BatchSubmission { expires_at, submit_before, .. } = *order;
        if let Err(error) = TimesError::check_expiry(expires_at, now) {
            return Err(error);
        }
        let retention = self.retention_max_seconds;
        if expires_at > now.saturating_add(retention) {
            return Err(TimesError::ExpiresTooLate { expires_at, retention, now });
        }
        if submit_before < now {
            return Err(TimesError::SubmitBeforePassed { submit_before, now });
        }
        if submit_before > now.saturating_add(SUBMIT_AHEAD_MAX_SECONDS) {
            return Err(TimesError::SubmitBeforeTooFar { submit_before, now });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use alloy_primitives::B256;

    use super::*;
    use crate::header::HashKind;

    const NOW: u64 = 1_800_000_000;

    #[test]
    fn times_are_kept_to_the_second() {
        let rollup = AdmittedRollup {
            rollup: Address::ZERO,
            poster: Address::ZERO,
            retention_max_seconds: 1000,
            daily_payload_bytes: 1,
        };
        let order = |expires_at, submit_before| BatchSubmission {
            rollup: Address::ZERO,
            batch_number: 1,
            payload_length: 1,
            expires_at,
            hash_kind: HashKind::Opaque,
            batch_hash: B256::ZERO,
            replaces: B256::ZERO,
            disperser: Address::ZERO,
            submit_before,
        };
        let day = SUBMIT_AHEAD_MAX_SECONDS;
        for (expires_at, submit_before) in [(NOW + 1, NOW), (NOW + 1000, NOW + day)] {
            assert_eq!(rollup.check_times(&order(expires_at, submit_before), NOW), Ok(()));
        }
        let refused = |expires_at, submit_before| {
            rollup.check_times(&order(expires_at, submit_before), NOW).unwrap_err()
        };
        for expires_at in [0, NOW] {
            assert_eq!(refused(expires_at, NOW), TimesError::ExpiresTooSoon { expires_at, now: NOW });
        }
        for expires_at in [NOW + 1001, u64::MAX] {
            let error = TimesError::ExpiresTooLate { expires_at, retention: 1000, now: NOW };
            assert_eq!(refused(expires_at, NOW), error);
        }
        for submit_before in [0, NOW - 1] {
            assert_eq!(
                refused(NOW + 1, submit_before),
                TimesError::SubmitBeforePassed { submit_before, now: NOW }
            );
        }
        for submit_before in [NOW + day + 1, u64::MAX] {
            assert_eq!(
                refused(NOW + 1, submit_before),
                TimesError::SubmitBeforeTooFar { submit_before, now: NOW }
            );
        }
    }
}
