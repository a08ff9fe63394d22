//! How the errors of the libraries read here: the exit code, the message, and what to do about it.

use dac_chain::{ChainError, ErrorClass};
use dac_cli::{Exit, Failure};
use dac_client::files::FileError;
use dac_client::verify::VerifyError;
use dac_client::{AggregatorError, MemberFault, RetrieveError, SubmissionError};

/// A failure, as this program tells it.
#[derive(Debug)]
pub(crate) struct CliError(pub(crate) Failure);

impl From<Failure> for CliError {
    fn from(failure: Failure) -> Self {
        Self(failure)
    }
}

impl From<CliError> for Failure {
    fn from(error: CliError) -> Self {
        error.0
    }
}

impl From<FileError> for CliError {
    fn from(error: FileError) -> Self {
        let failure = Failure::usage(&error);
        Self(match error {
            FileError::Exists { .. } => failure.hint("name another file, or add --force"),
            _ => failure,
        })
    }
}

impl From<ChainError> for CliError {
    fn from(error: ChainError) -> Self {
        if let ChainError::Reverted(_) = error {
            return Self(Failure::new(Exit::Refused, format!("the contract refused: {error}")));
        }
        Self(match error.class() {
            ErrorClass::Sender => Failure::new(Exit::Refused, error),
            ErrorClass::Retryable => {
                Failure::new(Exit::Unavailable, format!("L1: {error}")).hint("check --rpc-url and try again")
            }
            ErrorClass::Fatal => Failure::usage(format!("L1: {error}"))
                .hint("check --rpc-url, --registry, --certificate-log or the deployment file"),
        })
    }
}

impl From<AggregatorError> for CliError {
    fn from(error: AggregatorError) -> Self {
        Self(match &error {
            AggregatorError::Submission(_) => Failure::usage(error),
            AggregatorError::Unreachable(MemberFault::Endpoint(_)) => Failure::usage(error),
            AggregatorError::Unreachable(_) | AggregatorError::TimedOut { .. } => {
                Failure::new(Exit::Unavailable, error)
                    .hint("check --aggregator; sending the same submission again is safe")
            }
            AggregatorError::Waiting { .. } => Failure::new(Exit::Unavailable, error)
                .hint("`dac watch` goes on waiting; the aggregator goes on working"),
            AggregatorError::Refused { reason: Some(reason), .. } if reason.is_retryable() => {
                Failure::new(Exit::Unavailable, error).hint("try again later")
            }
            AggregatorError::Refused { .. } => Failure::new(Exit::Refused, error),
            AggregatorError::Junk(_) | AggregatorError::OtherBatch { .. } => {
                Failure::new(Exit::Refused, error).hint("is that an aggregator of this committee?")
            }
            AggregatorError::ProofRejected { .. } => {
                Failure::new(Exit::Failed, error).hint("`dac submit-proof` takes another one")
            }
            AggregatorError::Ended { .. } => Failure::new(Exit::Failed, error),
        })
    }
}

impl From<SubmissionError> for CliError {
    fn from(error: SubmissionError) -> Self {
        Self(Failure::usage(error))
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
        let failure = Failure::new(exit, error);
        Self(if refused_private {
            failure.hint("add --allow-private-endpoints if members are meant to be there")
        } else {
            failure
        })
    }
}

impl From<VerifyError> for CliError {
    fn from(error: VerifyError) -> Self {
        if error.is_verdict() {
            return Self(Failure::new(Exit::Failed, error));
        }
        match error {
            VerifyError::Chain(error) => error.into(),
            error => Self(Failure::usage(error)),
        }
    }
}
