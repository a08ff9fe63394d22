//! How the errors of the libraries read here: the exit code, the message, and what to do about it.

use dac_chain::contracts::Settlement;
use dac_chain::{ChainError, ErrorClass};
use dac_cli::{Exit, Failure};
use dac_client::files::FileError;
use dac_keys::KeystoreError;
use dac_secrets::SecretFileError;
use reference_rollup::exit::{ExitProofFault, NoExit};
use reference_rollup::files::AccountFileError;
use reference_rollup::l1::{L1Error, RollupRefusal};
use reference_rollup::prover::KeysError;
use reference_rollup::rebuild::RebuildError;

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

impl From<SecretFileError> for CliError {
    fn from(error: SecretFileError) -> Self {
        Self(Failure::usage(error))
    }
}

impl From<AccountFileError> for CliError {
    fn from(error: AccountFileError) -> Self {
        Self(Failure::usage(error).hint("`reference-rollup keygen` makes such a file"))
    }
}

impl From<KeystoreError> for CliError {
    fn from(error: KeystoreError) -> Self {
        Self(Failure::usage(format!("the keystore: {error}")).hint("`dac keygen ethereum` makes one"))
    }
}

impl From<KeysError> for CliError {
    fn from(error: KeysError) -> Self {
        Self(match error {
            KeysError::Io { .. } => Failure::usage(error),
            error => Failure::internal(error),
        })
    }
}

impl From<ChainError> for CliError {
    fn from(error: ChainError) -> Self {
        L1Error::from(error).into()
    }
}

impl From<L1Error> for CliError {
    fn from(error: L1Error) -> Self {
        Self(match error {
            L1Error::Refused(refusal) => refused(&refusal),
            L1Error::Chain(ChainError::Unfunded { account, .. }) => {
                let hint =
                    format!("fund {account} and run the command again, or name another account by --key");
                Failure::new(Exit::Refused, format!("L1: {error}")).hint(hint)
            }
            L1Error::Chain(error) => match error.class() {
                ErrorClass::Sender => Failure::new(Exit::Refused, error),
                ErrorClass::Retryable => Failure::new(Exit::Unavailable, format!("L1: {error}"))
                    .hint("check --rpc-url and try again"),
                ErrorClass::Fatal => {
                    Failure::usage(format!("L1: {error}")).hint("check --rpc-url and the rollup file")
                }
            },
            L1Error::Incomplete { .. } => {
                Failure::new(Exit::Unavailable, error).hint("try again, or another --rpc-url")
            }
            L1Error::Entry { .. } | L1Error::TooLong { .. } => Failure::new(Exit::Failed, error),
        })
    }
}

fn refused(refusal: &RollupRefusal) -> Failure {
    let failure = Failure::new(Exit::Refused, format!("the contract refused: {refusal}"));
    match refusal {
        RollupRefusal::Common(common) if common.is::<Settlement::NotFrozen>() => {
            failure.hint("`reference-rollup freeze` once there is a reason; `status` says so")
        }
        RollupRefusal::StateMismatch { .. } => {
            failure.hint("`reference-rollup rebuild` makes a proof of the last state")
        }
        RollupRefusal::Common(common) if common.is::<Settlement::IsFrozen>() => {
            failure.hint("`reference-rollup rebuild`, then `exit`: users can leave")
        }
        _ => failure,
    }
}

impl From<RebuildError> for CliError {
    fn from(error: RebuildError) -> Self {
        Self(match &error {
            RebuildError::MissingPayload { digest, batch } => {
                let hint = format!("dac retrieve {digest} --out PAYLOAD_DIR/{batch:06}.bin");
                Failure::usage(error).hint(hint)
            }
            _ => Failure::new(Exit::Failed, error),
        })
    }
}

impl From<NoExit> for CliError {
    fn from(error: NoExit) -> Self {
        Self(Failure::new(Exit::Failed, error))
    }
}

impl From<ExitProofFault> for CliError {
    fn from(error: ExitProofFault) -> Self {
        Self(
            Failure::new(Exit::Failed, error)
                .hint("`reference-rollup rebuild` makes a proof of the last state"),
        )
    }
}
