//! The errors of keystores. No message repeats a secret.

use dac_secrets::SecretFileError;
use thiserror::Error;

/// The reasons why a keystore cannot be used.
#[derive(Debug, Error)]
pub enum KeystoreError {
    /// The keystore or the password file cannot be used, or the new file cannot be written.
    #[error(transparent)]
    File(#[from] SecretFileError),
    /// The text is not JSON of this format.
    #[error("not a keystore of this format: {0}")]
    Format(#[from] serde_json::Error),
    /// The keystore has another version of the format.
    #[error("keystore version {got}, expected {expected}")]
    Version {
        /// The version in the file.
        got: u64,
        /// The version that this format has.
        expected: u64,
    },
    /// A parameter is unknown, or its value would cost too much time or memory.
    #[error("keystore parameter {name}: {problem}")]
    Parameter {
        /// The parameter's name in the file.
        name: &'static str,
        /// What is wrong with the value, and what to do.
        problem: &'static str,
    },
    /// The checksum does not match.
    #[error("wrong password, or the keystore is damaged")]
    WrongPassword,
    /// The decrypted bytes are not a key of this kind.
    #[error("the keystore holds no key of this kind")]
    NotAKey,
    /// The decrypted key is not the one that the file names.
    #[error("the keystore says {said} but holds another key")]
    OtherKey {
        /// The public key or address that the file names.
        said: String,
    },
}
