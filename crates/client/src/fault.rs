//! What went wrong with one member, in three classes: it lies or lacks what it must hold, it
//! refuses for now, it is not there.

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

/// What a fault says about the member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultClass {
    /// It serves wrong bytes, or lacks what its signature promises.
    Failed,
    /// It could not be asked, or did not answer in time: nothing is known of what it holds.
    Unreachable,
}

/// What went wrong with one member.
#[derive(Clone, Debug, Error)]
pub enum MemberFault {
    /// The registry's URL is not one that is connected to.
    #[error("its URL in the registry: {0}")]
    Endpoint(#[from] EndpointError),
    /// No connection, or a broken one.
    #[error("unreachable: {problem}")]
    Unreachable {
        /// What it means, where that is known, and what the transport says.
        problem: String,
        /// What ended the connection, where that is known.
        cause: Option<ConnectionCause>,
    },
    /// Too slow.
    #[error("{what} took longer than {limit:?}")]
    TimedOut {
        /// Which step.
        what: &'static str,
        /// Its deadline.
        limit: Duration,
    },
    /// It answered with a status.
    #[error("it answered {}", refusal(*reason, *code, message))]
    Status {
        /// The machine-readable reason, if it gave one.
        reason: Option<Reason>,
        /// The gRPC code.
        code: Code,
        /// What it says, made printable.
        message: String,
    },
    /// A message that cannot be read.
    #[error("junk: {0}")]
    Junk(#[from] WireError),
    /// A record of some other batch.
    #[error("it sent the record of batch {got} when asked for {expected}")]
    OtherBatch {
        /// Asked for.
        expected: BatchDigest,
        /// Received.
        got: BatchDigest,
    },
    /// The record names an epoch that the registry does not have.
    #[error("its record names epoch {epoch}, which the registry does not have")]
    UnknownEpoch {
        /// The epoch.
        epoch: u64,
    },
    /// Header and submission of the record, or its signatures, do not belong together.
    #[error("its record contradicts itself: {problem}")]
    Contradiction {
        /// How.
        problem: String,
    },
    /// The record does not fit its header.
    #[error("its record: {0}")]
    Record(#[from] RecordError),
    /// The record's certificate does not verify.
    #[error("its certificate: {0}")]
    Certificate(#[from] CertificateError),
    /// A shard that does not pass the member's check.
    #[error("its shard: {0}")]
    Shard(#[from] ShardError),
    /// Stream pieces that are empty or over the limit.
    #[error("it sent a piece of {got} bytes; pieces have 1 to {max} bytes")]
    Piece {
        /// Bytes of the piece.
        got: usize,
        /// Most bytes of a piece.
        max: usize,
    },
    /// A chunk that does not prove to belong to the batch.
    #[error("its chunk: {0}")]
    Chunk(#[from] ChunkError),
    /// Other chunks than those asked for.
    #[error("asked for {expected} chunks in order, it sent {got} or others")]
    ChunkList {
        /// Chunks asked for.
        expected: usize,
        /// Chunks received.
        got: usize,
    },
    /// It answers for a seat that is not its own.
    #[error("it answers for seat {got}, the registry puts it in seat {expected}")]
    OtherSeat {
        /// By the registry.
        expected: Seat,
        /// By its answer.
        got: Seat,
    },
}

impl MemberFault {
    /// From a status that a member answered or that the transport made up.
    pub fn from_status(status: &Status) -> Self {
        let reason = Reason::of(status);
        // Statuses without one of our reasons and with these codes are made by the transport on
        // this side as well.
        let is_of_transport = matches!(status.code(), Code::Unavailable | Code::Unknown | Code::Cancelled)
            || ConnectionCause::of(status).is_some();
        if reason.is_none() && is_of_transport {
            return Self::unreachable(status);
        }
        Self::Status { reason, code: status.code(), message: printable(status.message()) }
    }

    /// From an error of the transport.
    pub(crate) fn unreachable(error: &(dyn std::error::Error + 'static)) -> Self {
        let (text, cause) = (in_one_line(error), ConnectionCause::of(error));
        let problem = match cause {
            Some(cause) => format!("{cause} ({text})"),
            None => text,
        };
        Self::Unreachable { problem: printable(&problem), cause }
    }

    /// What ended the connection, where that is known.
    pub const fn cause(&self) -> Option<ConnectionCause> {
        match self {
            Self::Unreachable { cause, .. } => *cause,
            _ => None,
        }
    }

    /// What it says about the member.
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

    /// Whether asking again may help.
    pub fn is_retryable(&self) -> bool {
        self.class() == FaultClass::Unreachable && !matches!(self, Self::Endpoint(_))
    }

    /// Whether the bytes are those committed to, so that the disperser and not the member is to
    /// blame.
    pub const fn accuses_disperser(&self) -> bool {
        matches!(self, Self::Shard(ShardError::Fingerprint { .. } | ShardError::Padding { .. }))
    }

    /// Whether the member says that it does not hold the batch.
    pub const fn is_unknown_batch(&self) -> bool {
        matches!(self, Self::Status { reason: Some(Reason::UnknownBatch), .. })
    }

    /// A short stable word for machines.
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

/// A status in one line: what it is called, and what it says, if it says anything.
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
