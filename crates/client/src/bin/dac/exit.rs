//! Turns the errors of the libraries into an exit code, a message and a hint.

use dac_chain::{ChainError, ErrorClass};
use dac_cli::{Exit, Failure};
use dac_client::files::FileError;
use dac_client::verify::VerifyError;
use dac_client::{AggregatorError, MemberFault, RetrieveError, SubmissionError};
use dac_proto::reason::Reason;
use tonic::Code;

/// A failure with its exit code, message and hint.
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
        if let ChainError::Unfunded { account, .. } = error {
            let hint = format!("fund {account} and run the command again, or name another account by --key");
            return Self(Failure::new(Exit::Refused, format!("L1: {error}")).hint(hint));
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

/// Converts an error of reading a settlement contract. If there is no contract, the hint is about
/// the rollup's address, not the committee's.
pub(crate) fn of_settlement(error: ChainError) -> CliError {
    match error {
        ChainError::NoContract { .. } => CliError(Failure::usage(format!("L1: {error}")).hint(
            "check the rollup's address; a rollup without such a contract has its batches recorded, not settled: \
             `dac retrieve DIGEST` fetches one, `dac batches` lists them",
        )),
        error => error.into(),
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
            AggregatorError::Refused { reason: Some(reason), .. } => {
                // The aggregator may not have read yet that L1 admits the rollup, but most often
                // the address is wrong.
                let is_passing = reason.is_retryable() && *reason != Reason::UnknownRollup;
                let exit = if is_passing { Exit::Unavailable } else { Exit::Refused };
                match remedy(*reason) {
                    Some(remedy) => Failure::new(exit, error).hint(remedy),
                    None if is_passing => Failure::new(exit, error).hint("try again later"),
                    None => Failure::new(exit, error),
                }
            }
            AggregatorError::Refused { code: Code::Unimplemented, .. } => Failure::new(Exit::Refused, error)
                .hint("is that an aggregator's URL? A member does not know this call"),
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

/// Returns what the user can do about a refusal, if that is known.
const fn remedy(reason: Reason) -> Option<&'static str> {
    Some(match reason {
        Reason::ConflictingBatch => {
            "the first run's --submission file where it is the same batch; the next --batch-number; or \
             --replaces with the digest of the batch that holds the number"
        }
        Reason::ReplacesMismatch => "`dac status` shows the digest of the batch that holds the number",
        Reason::ExpiresTooLate => {
            "a shorter --expires-in: at most the retention that `dac admin admit-rollup` gave the rollup"
        }
        Reason::ExpiresTooSoon => {
            "a longer --expires-in; an order in an old --submission file is signed anew in another file"
        }
        Reason::SubmitBeforePassed => "another file for --submission: the order in this one is too old",
        Reason::SubmitBeforeTooFar => "--submit-within of at most 1d; is this machine's clock right?",
        Reason::UnknownRollup => {
            "check --rollup; a rollup that was admitted a moment ago is known once the aggregator has read L1"
        }
        Reason::WrongPoster | Reason::BadSubmissionSignature => {
            "check --poster, --rollup and --deployment; an order with any other value has another signer"
        }
        Reason::WrongDisperser => "check --disperser: `dac aggregator status` shows the aggregator's address",
        Reason::WrongDomain => "check --deployment: the aggregator serves another registry or chain",
        Reason::QuotaExceeded => {
            "try again after 00:00 UTC, when the next day's quota begins; the committee's owner can raise it"
        }
        Reason::Paused => "try again when the committee's owner has unpaused it",
        Reason::NotCertified => "`dac watch` waits for the certificate",
        _ => return None,
    })
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

#[cfg(test)]
mod tests {
    use super::*;
    use dac_types::Address;

    fn told(reason: Reason) -> Failure {
        let error =
            AggregatorError::Refused { reason: Some(reason), code: reason.code(), message: "why".into() };
        CliError::from(error).0
    }

    #[test]
    fn an_address_without_a_settlement_contract_is_no_wrong_endpoint() {
        let nothing =
            || ChainError::NoContract { contract: "settlement contract", address: Address::repeat_byte(7) };
        let failure = of_settlement(nothing()).0;
        assert_eq!(failure.exit, Exit::Usage);
        let hint = failure.hint.unwrap();
        assert!(hint.contains("the rollup's address") && !hint.contains("--rpc-url"), "{hint}");
        let other = CliError::from(nothing()).0.hint.unwrap();
        assert!(other.contains("--registry"), "{other}");
    }

    #[test]
    fn refusals_say_what_to_do_and_only_what_passes_is_worth_another_try() {
        for reason in Reason::ALL.iter().copied() {
            let failure = told(reason);
            let is_passing = reason.is_retryable() && reason != Reason::UnknownRollup;
            let expected = if is_passing { Exit::Unavailable } else { Exit::Refused };
            assert_eq!(failure.exit, expected, "{reason}");
            let advises = failure.hint.as_deref().is_some_and(|hint| hint.contains("try again"));
            assert!(is_passing || !advises, "{reason}: {failure:?}");
        }
        for (reason, word) in [
            (Reason::ConflictingBatch, "--replaces"),
            (Reason::ExpiresTooLate, "--expires-in"),
            (Reason::WrongDisperser, "dac aggregator status"),
        ] {
            assert!(told(reason).hint.unwrap().contains(word), "{reason}");
        }
    }
}
