//! The rights that the registry's owner granted to a rollup, and the times that its orders must
//! keep. See section 6.

use alloy_primitives::Address;
use thiserror::Error;

use crate::limits::SUBMIT_AHEAD_MAX_SECONDS;
use crate::submission::BatchSubmission;

/// A rollup that the registry admits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct AdmittedRollup {
    /// The address of its settlement contract.
    pub rollup: Address,
    /// The address of the key that signs the rollup's submissions.
    pub poster: Address,
    /// How far ahead of the present `expiresAt` may lie, in seconds.
    pub retention_max_seconds: u64,
    /// The largest number of payload bytes that it may submit in one UTC day.
    pub daily_payload_bytes: u64,
}

/// The time of an order that is out of bounds. All values are Unix seconds; `now` is the clock of
/// the process that checks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum TimesError {
    /// The batch has expired already.
    #[error("expiresAt {expires_at} is not after {now}")]
    ExpiresTooSoon {
        /// The expiry time that the order names.
        expires_at: u64,
        /// The time of the check.
        now: u64,
    },
    /// The order asks for a longer retention than the rollup may have.
    #[error("expiresAt {expires_at} lies more than {retention} s after {now}")]
    ExpiresTooLate {
        /// The expiry time that the order names.
        expires_at: u64,
        /// The longest retention of the rollup in seconds.
        retention: u64,
        /// The time of the check.
        now: u64,
    },
    /// The time until which the order could be submitted has passed.
    #[error("submitBefore {submit_before} has passed: it is {now}")]
    SubmitBeforePassed {
        /// The submission deadline that the order names.
        submit_before: u64,
        /// The time of the check.
        now: u64,
    },
    /// The order would stay valid for longer than a day.
    #[error("submitBefore {submit_before} lies more than {SUBMIT_AHEAD_MAX_SECONDS} s after {now}")]
    SubmitBeforeTooFar {
        /// The submission deadline that the order names.
        submit_before: u64,
        /// The time of the check.
        now: u64,
    },
}

impl TimesError {
    /// Checks that `expires_at` lies after `now`. Nothing is promised about an expired batch, and
    /// no earlier promise is repeated.
    pub const fn check_expiry(expires_at: u64, now: u64) -> Result<(), Self> {
        if expires_at > now { Ok(()) } else { Err(TimesError::ExpiresTooSoon { expires_at, now }) }
    }
}

impl AdmittedRollup {
    /// Checks that all times of a new order of this rollup are in bounds.
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
