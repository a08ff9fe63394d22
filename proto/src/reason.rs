//! Machine-readable reasons of failed calls: `google.rpc.ErrorInfo` with domain `dac.v1`, one list for all services.

use std::time::Duration;

use dac_types::TimesError;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

/// The domain of every `ErrorInfo` made here.
pub const DOMAIN: &str = "dac.v1";

/// Longest text that a status of ours carries; huge ones make HTTP/2 peers hang.
const MESSAGE_MAX_BYTES: usize = 512;

macro_rules! reasons {
    ($($(#[$doc:meta])* $variant:ident = $text:literal, $code:ident;)*) => {
        /// Why a call failed. The text is stable: machines may compare it.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Reason {
            $($(#[$doc])* $variant,)*
        }

        impl Reason {
            /// All reasons.
            pub const ALL: &'static [Reason] = &[$(Reason::$variant,)*];

            /// The stable text.
            pub const fn as_str(self) -> &'static str {
                match self { $(Reason::$variant => $text,)* }
            }

            /// The gRPC code it travels with.
            pub const fn code(self) -> Code {
                match self { $(Reason::$variant => Code::$code,)* }
            }
        }
    };
}

reasons! {
    /// A field is missing, of the wrong length, or unknown.
    MalformedRequest = "MALFORMED_REQUEST", InvalidArgument;
    /// Other chain id or registry than ours.
    WrongDomain = "WRONG_DOMAIN", FailedPrecondition;
    /// No such epoch in the registry.
    UnknownEpoch = "UNKNOWN_EPOCH", FailedPrecondition;
    /// The epoch is over or not yet begun.
    EpochNotActive = "EPOCH_NOT_ACTIVE", FailedPrecondition;
    /// No epoch is active.
    NoActiveCommittee = "NO_ACTIVE_COMMITTEE", Unavailable;
    /// The shard is for a seat that this member does not hold.
    WrongSeat = "WRONG_SEAT", FailedPrecondition;
    /// The registry does not admit this rollup.
    UnknownRollup = "UNKNOWN_ROLLUP", PermissionDenied;
    /// The submission's signature is malformed, malleable or recovers to nobody.
    BadSubmissionSignature = "BAD_SUBMISSION_SIGNATURE", Unauthenticated;
    /// The submission was signed by somebody else than the rollup's poster.
    WrongPoster = "WRONG_POSTER", PermissionDenied;
    /// The header's signature is malformed, malleable or recovers to nobody.
    BadDisperserSignature = "BAD_DISPERSER_SIGNATURE", Unauthenticated;
    /// Signed by, or addressed to, another disperser than the submission names.
    WrongDisperser = "WRONG_DISPERSER", PermissionDenied;
    /// Header and submission disagree in a field.
    SubmissionMismatch = "SUBMISSION_MISMATCH", InvalidArgument;
    /// expiresAt is past.
    ExpiresTooSoon = "EXPIRES_TOO_SOON", FailedPrecondition;
    /// expiresAt lies beyond the rollup's retention.
    ExpiresTooLate = "EXPIRES_TOO_LATE", FailedPrecondition;
    /// submitBefore is past.
    SubmitBeforePassed = "SUBMIT_BEFORE_PASSED", FailedPrecondition;
    /// submitBefore lies over a day ahead.
    SubmitBeforeTooFar = "SUBMIT_BEFORE_TOO_FAR", FailedPrecondition;
    /// The rollup's bytes of this UTC day are spent.
    QuotaExceeded = "QUOTA_EXCEEDED", ResourceExhausted;
    /// Another header was already signed for this submission and epoch.
    ConflictingHeader = "CONFLICTING_HEADER", AlreadyExists;
    /// Another payload holds this batch number.
    ConflictingBatch = "CONFLICTING_BATCH", AlreadyExists;
    /// `replaces` does not name the batch that holds this number, or that batch is posted or on its way to L1.
    ReplacesMismatch = "REPLACES_MISMATCH", FailedPrecondition;
    /// Shard hashes, fingerprints and header do not fit one another.
    BadRecord = "BAD_RECORD", InvalidArgument;
    /// The certificate in the record does not verify.
    BadCertificate = "BAD_CERTIFICATE", InvalidArgument;
    /// The shard does not pass the member's check.
    BadShard = "BAD_SHARD", InvalidArgument;
    /// The payload does not fit the header.
    BadPayload = "BAD_PAYLOAD", InvalidArgument;
    /// More or fewer bytes than announced.
    LengthMismatch = "LENGTH_MISMATCH", InvalidArgument;
    /// The registry is paused: no new batches.
    Paused = "PAUSED", FailedPrecondition;
    /// L1 was not reachable for too long to know who sits where.
    L1Stale = "L1_STALE", Unavailable;
    /// At the limit of work in flight; try again.
    Busy = "BUSY", ResourceExhausted;
    /// This client asks for more than its share; try again later.
    RateLimited = "RATE_LIMITED", ResourceExhausted;
    /// The store failed; nothing was signed; try again.
    StorageFailed = "STORAGE_FAILED", Unavailable;
    /// The process is stopping; try again elsewhere or later.
    ShuttingDown = "SHUTTING_DOWN", Unavailable;
    /// The caller did not finish in time.
    TimedOut = "TIMED_OUT", DeadlineExceeded;
    /// No such batch here.
    UnknownBatch = "UNKNOWN_BATCH", NotFound;
    /// No certificate yet.
    NotCertified = "NOT_CERTIFIED", FailedPrecondition;
    /// The batch has no digest yet: no proof can be about it. Try again soon.
    NotEncoded = "NOT_ENCODED", FailedPrecondition;
    /// A proof has 1 byte to 64 KiB.
    ProofLength = "PROOF_LENGTH", InvalidArgument;
    /// The proof's signature is malformed, malleable or recovers to nobody.
    BadProofSignature = "BAD_PROOF_SIGNATURE", Unauthenticated;
    /// Another proof of this batch is under way.
    ConflictingProof = "CONFLICTING_PROOF", AlreadyExists;
    /// The batch is settled, failed or expired: nothing is left to prove.
    BatchEnded = "BATCH_ENDED", FailedPrecondition;
    /// What is stored here fails its check and is not served.
    Corrupt = "CORRUPT", DataLoss;
    /// The disperser committed a shard for this seat that is none of the code: nobody can have it. The other seats' are good.
    SeatBad = "SEAT_BAD", DataLoss;
    /// L1 does not show, as far as this member has read it, that so many batches of the rollup are settled. Try again later.
    NotSettled = "NOT_SETTLED", Unavailable;
    /// Settled batches are missing here, corrupt, or not of this member's committee. Repair goes on; try again later.
    NotHeld = "NOT_HELD", Unavailable;
    /// The shard has no chunk of this index.
    NoSuchChunk = "NO_SUCH_CHUNK", OutOfRange;
    /// More chunks than one call serves.
    TooManyChunks = "TOO_MANY_CHUNKS", InvalidArgument;
    /// A fault of ours that the log explains.
    Internal = "INTERNAL", Internal;
}

impl Reason {
    /// A status with this reason and a message for people (cut where it is too long).
    pub fn status(self, message: impl Into<String>) -> Status {
        self.status_with_details(message.into(), ErrorDetails::new())
    }

    /// As [`Reason::status`], with an estimate of when to try again (`google.rpc.RetryInfo`).
    pub fn status_with_retry(self, message: impl Into<String>, retry_after: Duration) -> Status {
        self.status_with_details(message.into(), ErrorDetails::with_retry_info(Some(retry_after)))
    }

    fn status_with_details(self, mut message: String, mut details: ErrorDetails) -> Status {
        if message.len() > MESSAGE_MAX_BYTES {
            let end = (0..=MESSAGE_MAX_BYTES).rev().find(|i| message.is_char_boundary(*i)).unwrap_or(0);
            message.truncate(end);
        }
        details.set_error_info(self.as_str(), DOMAIN, [] as [(String, String); 0]);
        Status::with_error_details(self.code(), message, details)
    }

    /// The reason that a status carries, if it is one of ours.
    pub fn of(status: &Status) -> Option<Reason> {
        let info = status.get_details_error_info()?;
        if info.domain != DOMAIN {
            return None;
        }
        Reason::ALL.iter().copied().find(|reason| reason.as_str() == info.reason)
    }

    /// Whether the same call may succeed later, unchanged.
    pub const fn is_retryable(self) -> bool {
        matches!(
            self,
            Reason::Busy
                | Reason::RateLimited
                | Reason::StorageFailed
                | Reason::ShuttingDown
                | Reason::TimedOut
                | Reason::L1Stale
                | Reason::NoActiveCommittee
                | Reason::UnknownEpoch
                | Reason::EpochNotActive
                | Reason::NotEncoded
                | Reason::NotCertified
                | Reason::Paused
                | Reason::QuotaExceeded
                | Reason::NotSettled
                | Reason::NotHeld
                | Reason::Internal
        )
    }
}

impl From<TimesError> for Reason {
    fn from(error: TimesError) -> Self {
        match error {
            TimesError::ExpiresTooSoon { .. } => Reason::ExpiresTooSoon,
            TimesError::ExpiresTooLate { .. } => Reason::ExpiresTooLate,
            TimesError::SubmitBeforePassed { .. } => Reason::SubmitBeforePassed,
            TimesError::SubmitBeforeTooFar { .. } => Reason::SubmitBeforeTooFar,
        }
    }
}

impl std::fmt::Display for Reason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_survives_the_wire() {
        for reason in Reason::ALL {
            assert_eq!(Reason::of(&reason.status("why")), Some(*reason));
            let status = reason.status_with_retry("why", Duration::from_millis(1500));
            assert_eq!(Reason::of(&status), Some(*reason));
            let retry = status.get_details_retry_info().unwrap().retry_delay;
            assert_eq!(retry, Some(Duration::from_millis(1500)));
        }
        assert_eq!(Reason::of(&Status::internal("none of ours")), None);
    }

    #[test]
    fn long_messages_are_cut_at_a_character() {
        let status = Reason::Internal.status("ä".repeat(1000));
        assert_eq!(status.message().len(), MESSAGE_MAX_BYTES);
    }
}
