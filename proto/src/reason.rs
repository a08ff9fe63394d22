//! Machine-readable reasons of failed calls: `google.rpc.ErrorInfo` with domain `dac.v1`. All
//! services share one list.

use std::time::Duration;

use dac_types::TimesError;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

/// The domain of every `ErrorInfo` that is made here.
pub const DOMAIN: &str = "dac.v1";

/// The longest message of a status, in bytes. With very long ones, HTTP/2 peers hang.
const MESSAGE_MAX_BYTES: usize = 512;

macro_rules! reasons {
    ($($(#[$doc:meta])* $variant:ident = $text:literal, $code:ident;)*) => {
        /// The reason why a call failed. Its text is stable, so that programs may compare it.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Reason {
            $($(#[$doc])* $variant,)*
        }

        impl Reason {
            /// All reasons.
            pub const ALL: &'static [Reason] = &[$(Reason::$variant,)*];

            /// Returns the stable text.
            pub const fn as_str(self) -> &'static str {
                match self { $(Reason::$variant => $text,)* }
            }

            /// Returns the gRPC code that the reason is sent with.
            pub const fn code(self) -> Code {
                match self { $(Reason::$variant => Code::$code,)* }
            }
        }
    };
}

reasons! {
    /// A field is missing, has the wrong length, or has an unknown value.
    MalformedRequest = "MALFORMED_REQUEST", InvalidArgument;
    /// The caller's chain id or registry differs from this server's.
    WrongDomain = "WRONG_DOMAIN", FailedPrecondition;
    /// The registry has no such epoch.
    UnknownEpoch = "UNKNOWN_EPOCH", FailedPrecondition;
    /// The epoch is over or has not begun.
    EpochNotActive = "EPOCH_NOT_ACTIVE", FailedPrecondition;
    /// No epoch is active.
    NoActiveCommittee = "NO_ACTIVE_COMMITTEE", Unavailable;
    /// The shard is for a seat that this member does not hold.
    WrongSeat = "WRONG_SEAT", FailedPrecondition;
    /// The registry does not admit this rollup.
    UnknownRollup = "UNKNOWN_ROLLUP", PermissionDenied;
    /// The submission's signature is malformed or malleable, or no key recovers from it.
    BadSubmissionSignature = "BAD_SUBMISSION_SIGNATURE", Unauthenticated;
    /// The signer of the submission is not the rollup's poster.
    WrongPoster = "WRONG_POSTER", PermissionDenied;
    /// The header's signature is malformed or malleable, or no key recovers from it.
    BadDisperserSignature = "BAD_DISPERSER_SIGNATURE", Unauthenticated;
    /// The header was signed by, or the submission sent to, a disperser that the submission does
    /// not name.
    WrongDisperser = "WRONG_DISPERSER", PermissionDenied;
    /// Header and submission disagree in a field.
    SubmissionMismatch = "SUBMISSION_MISMATCH", InvalidArgument;
    /// expiresAt has passed.
    ExpiresTooSoon = "EXPIRES_TOO_SOON", FailedPrecondition;
    /// expiresAt lies beyond the rollup's longest retention.
    ExpiresTooLate = "EXPIRES_TOO_LATE", FailedPrecondition;
    /// submitBefore has passed.
    SubmitBeforePassed = "SUBMIT_BEFORE_PASSED", FailedPrecondition;
    /// submitBefore lies more than a day ahead.
    SubmitBeforeTooFar = "SUBMIT_BEFORE_TOO_FAR", FailedPrecondition;
    /// The rollup has used up its bytes for this UTC day.
    QuotaExceeded = "QUOTA_EXCEEDED", ResourceExhausted;
    /// Another header was already signed for this submission and epoch.
    ConflictingHeader = "CONFLICTING_HEADER", AlreadyExists;
    /// Another payload has this batch number.
    ConflictingBatch = "CONFLICTING_BATCH", AlreadyExists;
    /// `replaces` does not name the batch that has this number, or that batch is posted or on its
    /// way to L1.
    ReplacesMismatch = "REPLACES_MISMATCH", FailedPrecondition;
    /// Shard hashes, fingerprints and header do not match each other.
    BadRecord = "BAD_RECORD", InvalidArgument;
    /// The certificate in the record does not verify.
    BadCertificate = "BAD_CERTIFICATE", InvalidArgument;
    /// The shard does not pass the member's check.
    BadShard = "BAD_SHARD", InvalidArgument;
    /// The payload does not match the header.
    BadPayload = "BAD_PAYLOAD", InvalidArgument;
    /// More or fewer bytes came than were announced.
    LengthMismatch = "LENGTH_MISMATCH", InvalidArgument;
    /// The registry is paused and accepts no new batches.
    Paused = "PAUSED", FailedPrecondition;
    /// L1 has been unreachable for so long that the committee is not known reliably.
    L1Stale = "L1_STALE", Unavailable;
    /// The limit of concurrent work is reached. Try again.
    Busy = "BUSY", ResourceExhausted;
    /// This client asks for more than its share. Try again later.
    RateLimited = "RATE_LIMITED", ResourceExhausted;
    /// The store failed, and nothing was signed. Try again.
    StorageFailed = "STORAGE_FAILED", Unavailable;
    /// The process is stopping. Try again elsewhere or later.
    ShuttingDown = "SHUTTING_DOWN", Unavailable;
    /// The caller did not finish in time.
    TimedOut = "TIMED_OUT", DeadlineExceeded;
    /// The batch is not known here.
    UnknownBatch = "UNKNOWN_BATCH", NotFound;
    /// The batch has no certificate yet.
    NotCertified = "NOT_CERTIFIED", FailedPrecondition;
    /// The batch has no digest yet, so no proof can be about it. Try again soon.
    NotEncoded = "NOT_ENCODED", FailedPrecondition;
    /// The proof does not have 1 byte to 64 KiB.
    ProofLength = "PROOF_LENGTH", InvalidArgument;
    /// The proof's signature is malformed or malleable, or no key recovers from it.
    BadProofSignature = "BAD_PROOF_SIGNATURE", Unauthenticated;
    /// A different proof of this batch is being processed.
    ConflictingProof = "CONFLICTING_PROOF", AlreadyExists;
    /// The batch is settled, failed or expired, so nothing is left to prove.
    BatchEnded = "BATCH_ENDED", FailedPrecondition;
    /// The data that is stored here fails its check and is not served.
    Corrupt = "CORRUPT", DataLoss;
    /// The disperser committed to a shard for this seat that is not part of a codeword, so it
    /// cannot exist. The shards of the other seats are good.
    SeatBad = "SEAT_BAD", DataLoss;
    /// As far as this member has read L1, fewer batches of the rollup are settled. Try again later.
    NotSettled = "NOT_SETTLED", Unavailable;
    /// Settled batches are missing here, corrupt, or not of this member's committee. Repair
    /// continues; try again later.
    NotHeld = "NOT_HELD", Unavailable;
    /// The shard has no chunk with this index.
    NoSuchChunk = "NO_SUCH_CHUNK", OutOfRange;
    /// More chunks were requested than one call serves.
    TooManyChunks = "TOO_MANY_CHUNKS", InvalidArgument;
    /// An internal error happened; this server's log has the details.
    Internal = "INTERNAL", Internal;
}

impl Reason {
    /// Makes a status with this reason and a message for people, which is cut if it is too long.
    pub fn status(self, message: impl Into<String>) -> Status {
        self.status_with_details(message.into(), ErrorDetails::new())
    }

    /// Does what [`Reason::status`] does, and adds an estimate of when to try again
    /// (`google.rpc.RetryInfo`).
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

    /// Returns the reason that a status carries, or `None` if it has none of this list.
    pub fn of(status: &Status) -> Option<Reason> {
        let info = status.get_details_error_info()?;
        if info.domain != DOMAIN {
            return None;
        }
        Reason::ALL.iter().copied().find(|reason| reason.as_str() == info.reason)
    }

    /// Returns whether the same call may succeed later without changes.
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
