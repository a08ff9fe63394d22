//! How a command ends: an exit code that scripts can rely on, what was expected and came, and what to do about it.

use std::fmt;
use std::process::ExitCode;

use dac_chain::{ChainError, ErrorClass};
use dac_client::files::FileError;
use dac_client::verify::VerifyError;
use dac_client::{AggregatorError, MemberFault, RetrieveError, SubmissionError};

/// Why a command failed, as scripts see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Checked and found wanting.
    Failed,
    /// Wrong arguments or files.
    Usage,
    /// The batch is no payload.
    Malformed,
    /// Out of reach.
    Unavailable,
    /// Refused by a contract or the aggregator.
    Refused,
    /// A fault here.
    Internal,
    /// Stopped by the user.
    Interrupted,
}

impl Exit {
    pub(crate) const fn code(self) -> u8 {
        match self {
            Self::Failed => 1,
            Self::Usage => 2,
            Self::Malformed => 3,
            Self::Unavailable => 4,
            Self::Refused => 5,
            Self::Internal => 70,
            Self::Interrupted => 130,
        }
    }

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Failed => "FAILED",
            Self::Usage => "USAGE",
            Self::Malformed => "MALFORMED",
            Self::Unavailable => "UNAVAILABLE",
            Self::Refused => "REFUSED",
            Self::Internal => "INTERNAL",
            Self::Interrupted => "INTERRUPTED",
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

/// A failure and what to do about it.
#[derive(Debug)]
pub(crate) struct CliError {
    pub(crate) exit: Exit,
    pub(crate) message: String,
    pub(crate) hint: Option<String>,
}

impl CliError {
    pub(crate) fn new(exit: Exit, message: impl fmt::Display) -> Self {
        Self { exit, message: message.to_string(), hint: None }
    }

    pub(crate) fn usage(message: impl fmt::Display) -> Self {
        Self::new(Exit::Usage, message)
    }

    pub(crate) fn internal(message: impl fmt::Display) -> Self {
        Self::new(Exit::Internal, message)
    }

    pub(crate) fn interrupted() -> Self {
        Self::new(Exit::Interrupted, "interrupted")
    }

    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl From<FileError> for CliError {
    fn from(error: FileError) -> Self {
        let failure = Self::usage(&error);
        match error {
            FileError::Exists { .. } => failure.hint("name another file, or add --force"),
            _ => failure,
        }
    }
}

impl From<ChainError> for CliError {
    fn from(error: ChainError) -> Self {
        if let ChainError::Reverted(_) = error {
            return Self::new(Exit::Refused, format!("the contract refused: {error}"));
        }
        match error.class() {
            ErrorClass::Sender => Self::new(Exit::Refused, error),
            ErrorClass::Retryable => {
                Self::new(Exit::Unavailable, format!("L1: {error}")).hint("check --rpc-url and try again")
            }
            ErrorClass::Fatal => Self::usage(format!("L1: {error}"))
                .hint("check --rpc-url, --registry, --certificate-log or the deployment file"),
        }
    }
}

impl From<AggregatorError> for CliError {
    fn from(error: AggregatorError) -> Self {
        match &error {
            AggregatorError::Submission(_) => Self::usage(error),
            AggregatorError::Unreachable(MemberFault::Endpoint(_)) => Self::usage(error),
            AggregatorError::Unreachable(_) | AggregatorError::TimedOut { .. } => {
                Self::new(Exit::Unavailable, error)
                    .hint("check --aggregator; sending the same submission again is safe")
            }
            AggregatorError::Waiting { .. } => Self::new(Exit::Unavailable, error)
                .hint("`dac watch` goes on waiting; the aggregator goes on working"),
            AggregatorError::Refused { reason: Some(reason), .. } if reason.is_retryable() => {
                Self::new(Exit::Unavailable, error).hint("try again later")
            }
            AggregatorError::Refused { .. } => Self::new(Exit::Refused, error),
            AggregatorError::Junk(_) | AggregatorError::OtherBatch { .. } => {
                Self::new(Exit::Refused, error).hint("is that an aggregator of this committee?")
            }
            AggregatorError::ProofRejected { .. } => {
                Self::new(Exit::Failed, error).hint("`dac submit-proof` takes another one")
            }
            AggregatorError::Ended { .. } => Self::new(Exit::Failed, error),
        }
    }
}

impl From<SubmissionError> for CliError {
    fn from(error: SubmissionError) -> Self {
        Self::usage(error)
    }
}

impl From<RetrieveError> for CliError {
    fn from(error: RetrieveError) -> Self {
        let exit = match &error {
            RetrieveError::Malformed { .. } => Exit::Malformed,
            RetrieveError::OtherRollup { .. } => Exit::Failed,
            RetrieveError::Decode { .. } | RetrieveError::Stopped => Exit::Internal,
            RetrieveError::NoRecord { .. }
            | RetrieveError::NotCertified { .. }
            | RetrieveError::NotEnoughShards { .. }
            | RetrieveError::Deadline { .. } => Exit::Unavailable,
        };
        let refused_private = match &error {
            RetrieveError::NoRecord { faults, .. } => {
                faults.iter().any(|fault| matches!(fault.fault, MemberFault::Endpoint(_)))
            }
            _ => false,
        };
        let failure = Self::new(exit, error);
        if refused_private {
            failure.hint("add --allow-private-endpoints if members are meant to be there")
        } else {
            failure
        }
    }
}

impl From<VerifyError> for CliError {
    fn from(error: VerifyError) -> Self {
        if error.is_verdict() {
            return Self::new(Exit::Failed, error);
        }
        match error {
            VerifyError::Chain(error) => error.into(),
            error => Self::usage(error),
        }
    }
}
