//! How a command ends: the same exit codes as `dac`'s, what was expected and came, and what to do about it.

use std::fmt;
use std::process::ExitCode;

use dac_chain::{ChainError, ErrorClass, Revert};
use dac_client::files::FileError;
use dac_keys::KeystoreError;
use dac_secrets::SecretFileError;
use reference_rollup::exit::{ExitProofFault, NoExit};
use reference_rollup::files::AccountFileError;
use reference_rollup::l1::{L1Error, Refusal};
use reference_rollup::prover::KeysError;
use reference_rollup::rebuild::RebuildError;

/// Why a command failed, as scripts see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// Checked and found wanting.
    Failed,
    /// Wrong arguments or files.
    Usage,
    /// Out of reach.
    Unavailable,
    /// Refused by a contract.
    Refused,
    /// A fault here.
    Internal,
    /// Stopped by the user.
    Interrupted,
}

impl Failure {
    pub(crate) const fn code(self) -> u8 {
        match self {
            Self::Failed => 1,
            Self::Usage => 2,
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
            Self::Unavailable => "UNAVAILABLE",
            Self::Refused => "REFUSED",
            Self::Internal => "INTERNAL",
            Self::Interrupted => "INTERRUPTED",
        }
    }
}

impl From<Failure> for ExitCode {
    fn from(failure: Failure) -> Self {
        Self::from(failure.code())
    }
}

/// A failure and what to do about it.
#[derive(Debug)]
pub(crate) struct CliError {
    pub(crate) failure: Failure,
    pub(crate) message: String,
    pub(crate) hint: Option<String>,
}

impl CliError {
    pub(crate) fn new(failure: Failure, message: impl fmt::Display) -> Self {
        Self { failure, message: message.to_string(), hint: None }
    }

    pub(crate) fn usage(message: impl fmt::Display) -> Self {
        Self::new(Failure::Usage, message)
    }

    pub(crate) fn internal(message: impl fmt::Display) -> Self {
        Self::new(Failure::Internal, message)
    }

    pub(crate) fn interrupted() -> Self {
        Self::new(Failure::Interrupted, "interrupted")
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

impl From<SecretFileError> for CliError {
    fn from(error: SecretFileError) -> Self {
        Self::usage(error)
    }
}

impl From<AccountFileError> for CliError {
    fn from(error: AccountFileError) -> Self {
        Self::usage(error).hint("`reference-rollup keygen` makes such a file")
    }
}

impl From<KeystoreError> for CliError {
    fn from(error: KeystoreError) -> Self {
        Self::usage(format!("the keystore: {error}")).hint("`dac keygen ethereum` makes one")
    }
}

impl From<KeysError> for CliError {
    fn from(error: KeysError) -> Self {
        match error {
            KeysError::Io { .. } => Self::usage(error),
            error => Self::internal(error),
        }
    }
}

impl From<ChainError> for CliError {
    fn from(error: ChainError) -> Self {
        L1Error::from(error).into()
    }
}

impl From<L1Error> for CliError {
    fn from(error: L1Error) -> Self {
        match error {
            L1Error::Refused(refusal) => refused(&refusal),
            L1Error::Chain(error) => match error.class() {
                ErrorClass::Sender => Self::new(Failure::Refused, error),
                ErrorClass::Retryable => Self::new(Failure::Unavailable, format!("L1: {error}"))
                    .hint("check --rpc-url and try again"),
                ErrorClass::Fatal => {
                    Self::usage(format!("L1: {error}")).hint("check --rpc-url and the rollup file")
                }
            },
            L1Error::Incomplete { .. } => {
                Self::new(Failure::Unavailable, error).hint("try again, or another --rpc-url")
            }
            L1Error::Entry { .. } | L1Error::TooLong { .. } => Self::new(Failure::Failed, error),
        }
    }
}

fn refused(refusal: &Refusal) -> CliError {
    let failure = CliError::new(Failure::Refused, format!("the contract refused: {refusal}"));
    match refusal {
        Refusal::NotFrozen => {
            failure.hint("`reference-rollup freeze` once there is a reason; `status` says so")
        }
        Refusal::StateMismatch { .. } => {
            failure.hint("`reference-rollup rebuild` makes a proof of the last state")
        }
        Refusal::Common(Revert::IsFrozen { .. }) => {
            failure.hint("`reference-rollup rebuild`, then `exit`: users can leave")
        }
        _ => failure,
    }
}

impl From<RebuildError> for CliError {
    fn from(error: RebuildError) -> Self {
        match &error {
            RebuildError::MissingPayload { digest, batch } => {
                let hint = format!("dac retrieve {digest} --out PAYLOAD_DIR/{batch:06}.bin");
                Self::usage(error).hint(hint)
            }
            _ => Self::new(Failure::Failed, error),
        }
    }
}

impl From<NoExit> for CliError {
    fn from(error: NoExit) -> Self {
        Self::new(Failure::Failed, error)
    }
}

impl From<ExitProofFault> for CliError {
    fn from(error: ExitProofFault) -> Self {
        Self::new(Failure::Failed, error).hint("`reference-rollup rebuild` makes a proof of the last state")
    }
}
