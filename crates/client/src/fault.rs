//! Faults of members, in three classes: the member serves wrong data or lacks what it must hold, it
//! refuses for now, or it cannot be reached.

use std::time::Duration;

use dac_bls::CertificateError;
use dac_coding::{ChunkError, RecordError, ShardError};
use dac_proto::reason::Reason;
use dac_proto::wire::WireError;
use dac_types::{BatchDigest, Seat};
use thiserror::Error;
use tonic::{Code, Status};

use crate::cause::{ConnectionCause, in_one_line};
use crate::endpoint::EndpointError;
use crate::text::printable;

/// What a fault shows about the member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultClass {
    /// The member serves wrong bytes, or lacks what its signature promises.
    Failed,
    /// The member could not be asked, or did not answer in time: what it holds is not known.
    Unreachable,
}

/// Why a call to one member failed, or why its answer was refused.
#[derive(Clone, Debug, Error)]
pub enum MemberFault {
    /// The member's URL in the registry is refused.
    #[error("its URL in the registry: {0}")]
    Endpoint(#[from] EndpointError),
    /// There is no connection, or it broke.
    #[error("unreachable: {problem}")]
    Unreachable {
        /// What the failure means, if that is known, and what the transport says.
        problem: String,
        /// What ended the connection, if that is known.
        cause: Option<ConnectionCause>,
    },
    /// A step took longer than its deadline.
    #[error("{what} took longer than {limit:?}")]
    TimedOut {
        /// The step.
        what: &'static str,
        /// The step's deadline.
        limit: Duration,
    },
    /// The member answered with an error status.
    #[error("it answered {}", refusal(*reason, *code, message))]
    Status {
        /// The machine-readable reason, if it gave one.
        reason: Option<Reason>,
        /// The gRPC status code.
        code: Code,
        /// The member's message, made printable.
        message: String,
    },
    /// The member's message does not parse.
    #[error("junk: {0}")]
    Junk(#[from] WireError),
    /// The member sent the record of another batch.
    #[error("it sent the record of batch {got} when asked for {expected}")]
    OtherBatch {
        /// The batch that was asked for.
        expected: BatchDigest,
        /// The batch that the record belongs to.
        got: BatchDigest,
    },
    /// The record names an epoch that the registry does not have.
    #[error("its record names epoch {epoch}, which the registry does not have")]
    UnknownEpoch {
        /// The epoch that the record names.
        epoch: u64,
    },
    /// Header and submission of the record, or its signatures, do not belong together.
    #[error("its record contradicts itself: {problem}")]
    Contradiction {
        /// The contradiction.
        problem: String,
    },
    /// The record does not match its header.
    #[error("its record: {0}")]
    Record(#[from] RecordError),
    /// The record's certificate does not verify.
    #[error("its certificate: {0}")]
    Certificate(#[from] CertificateError),
    /// The shard does not pass the member's check.
    #[error("its shard: {0}")]
    Shard(#[from] ShardError),
    /// A piece of the stream is empty or over the limit.
    #[error("it sent a piece of {got} bytes; pieces have 1 to {max} bytes")]
    Piece {
        /// The piece's size in bytes.
        got: usize,
        /// The most bytes of a piece.
        max: usize,
    },
    /// A chunk's proof does not show that it belongs to the batch.
    #[error("its chunk: {0}")]
    Chunk(#[from] ChunkError),
    /// The member sent other chunks than those asked for.
    #[error("asked for {expected} chunks in order, it sent {got} or others")]
    ChunkList {
        /// The number of chunks asked for.
        expected: usize,
        /// The number of chunks received.
        got: usize,
    },
    /// The member answers for another seat than the registry gives it.
    #[error("it answers for seat {got}, the registry puts it in seat {expected}")]
    OtherSeat {
        /// The seat according to the registry.
        expected: Seat,
        /// The seat in the answer.
        got: Seat,
    },
}

impl MemberFault {
    /// Makes a fault of a status that a member answered or that the transport made up.
    pub fn from_status(status: &Status) -> Self {
        let reason = Reason::of(status);
        // Statuses with these codes and without one of our reasons can come from this side's
        // transport.
        let is_of_transport = matches!(status.code(), Code::Unavailable | Code::Unknown | Code::Cancelled)
            || ConnectionCause::of(status).is_some();
        if reason.is_none() && is_of_transport {
            return Self::unreachable(status);
        }
        Self::Status { reason, code: status.code(), message: printable(status.message()) }
    }

    /// Makes a fault of a transport error.
    pub(crate) fn unreachable(error: &(dyn std::error::Error + 'static)) -> Self {
        let (text, cause) = (in_one_line(error), ConnectionCause::of(error));
        let problem = match cause {
            Some(cause) => format!("{cause} ({text})"),
            None => text,
        };
        Self::Unreachable { problem: printable(&problem), cause }
    }

    /// Returns what ended the connection, if that is known.
    pub const fn cause(&self) -> Option<ConnectionCause> {
        match self {
            Self::Unreachable { cause, .. } => *cause,
            _ => None,
        }
    }

    /// Returns what the fault shows about the member.
    pub fn class(&self) -> FaultClass {
        match self {
            Self::Endpoint(_) | Self::Unreachable { .. } | Self::TimedOut { .. } => FaultClass::Unreachable,
            Self::Status { reason: Some(reason), .. } if reason.is_retryable() => FaultClass::Unreachable,
            Self::Status {
                reason: None,
                code:
                    Code::Unavailable | Code::ResourceExhausted | Code::DeadlineExceeded | Code::Unimplemented,
                ..
            } => FaultClass::Unreachable,
            _ => FaultClass::Failed,
        }
    }

    /// Whether asking the member again may help.
    pub fn is_retryable(&self) -> bool {
        self.class() == FaultClass::Unreachable && !matches!(self, Self::Endpoint(_))
    }

    /// Whether the bytes are those that the disperser committed to, so that the disperser and not
    /// the member is at fault.
    pub const fn accuses_disperser(&self) -> bool {
        matches!(self, Self::Shard(ShardError::Fingerprint { .. } | ShardError::Padding { .. }))
    }

    /// Whether the member says that it does not hold the batch.
    pub const fn is_unknown_batch(&self) -> bool {
        matches!(self, Self::Status { reason: Some(Reason::UnknownBatch), .. })
    }

    /// A short stable word for programs.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Endpoint(_) => "ENDPOINT_REFUSED",
            Self::Unreachable { .. } => "UNREACHABLE",
            Self::TimedOut { .. } => "TIMED_OUT",
            Self::Status { reason: Some(reason), .. } => reason.as_str(),
            Self::Status { .. } => "STATUS",
            Self::Junk(_) => "JUNK",
            Self::OtherBatch { .. } => "OTHER_BATCH",
            Self::UnknownEpoch { .. } => "UNKNOWN_EPOCH",
            Self::Contradiction { .. } => "CONTRADICTION",
            Self::Record(_) => "BAD_RECORD",
            Self::Certificate(_) => "BAD_CERTIFICATE",
            Self::Shard(_) if self.accuses_disperser() => "BAD_SEAT",
            Self::Shard(_) => "BAD_SHARD",
            Self::Piece { .. } => "BAD_PIECE",
            Self::Chunk(_) => "BAD_CHUNK",
            Self::ChunkList { .. } => "WRONG_CHUNKS",
            Self::OtherSeat { .. } => "OTHER_SEAT",
        }
    }
}

/// A status in one line: its reason or code, and its message if it has one.
pub(crate) fn refusal(reason: Option<Reason>, code: Code, message: &str) -> String {
    let name = reason.map_or_else(|| format!("{code:?}"), |reason| reason.to_string());
    if message.is_empty() { name } else { format!("{name}: {message}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lies_are_told_from_absence() {
        let fault = |reason: Reason| MemberFault::from_status(&reason.status("text"));
        assert_eq!(fault(Reason::Busy).class(), FaultClass::Unreachable);
        assert_eq!(fault(Reason::RateLimited).class(), FaultClass::Unreachable);
        assert_eq!(fault(Reason::UnknownBatch).class(), FaultClass::Failed);
        assert_eq!(fault(Reason::Corrupt).class(), FaultClass::Failed);
        assert!(fault(Reason::UnknownBatch).is_unknown_batch());
        assert_eq!(MemberFault::from_status(&Status::unavailable("x")).class(), FaultClass::Unreachable);
        assert_eq!(MemberFault::from_status(&Status::out_of_range("x")).class(), FaultClass::Failed);
        assert!(!MemberFault::Endpoint(EndpointError::TooLong { got: 300 }).is_retryable());
    }

    #[test]
    fn a_known_cause_goes_before_what_the_transport_says() {
        let fault = |kind, text: &str| {
            let fault = MemberFault::unreachable(&std::io::Error::new(kind, text.to_owned()));
            (fault.cause(), fault.to_string())
        };
        let (cause, told) = fault(std::io::ErrorKind::BrokenPipe, "stream closed");
        assert_eq!(cause, Some(ConnectionCause::BrokenOff));
        assert!(told.starts_with("unreachable: the server broke the connection off"), "{told}");
        assert!(told.ends_with("(stream closed)"), "{told}");
        let (cause, told) = fault(std::io::ErrorKind::Other, "something else");
        assert_eq!((cause, &told[..]), (None, "unreachable: something else"));
    }

    #[test]
    fn an_empty_message_leaves_no_colon() {
        let fault = |message: &str| MemberFault::from_status(&Status::unimplemented(message)).to_string();
        assert_eq!(fault(""), "it answered Unimplemented");
        assert_eq!(fault("no such call"), "it answered Unimplemented: no such call");
    }

    #[test]
    fn what_a_member_says_is_made_printable() {
        let fault = MemberFault::from_status(&Reason::Corrupt.status("\x1b[2J".repeat(500)));
        let text = fault.to_string();
        assert!(text.len() < 400 && !text.contains('\x1b'), "{text:?}");
    }
}
