//! Why a keystore cannot be used. Nothing here repeats a secret.

use dac_secrets::SecretFileError;
use thiserror::Error;

/// Why a keystore cannot be used.
#[derive(Debug, Error)]
pub enum KeystoreError {
    /// The keystore or the password file cannot be used, or the new file not be written.
    #[error(transparent)]
    File(#[from] SecretFileError),
    /// Not JSON of this format.
    #[error("not a keystore of this format: {0}")]
    Format(#[from] serde_json::Error),
    /// Another version of the format.
    #[error("keystore version {got}, expected {expected}")]
    Version {
        /// The file's.
        got: u64,
        /// This format's.
        expected: u64,
    },
    /// A parameter that is unknown, or that would cost too much.
    #[error("keystore parameter {name}: {problem}")]
    Parameter {
        /// Its name in the file.
        name: &'static str,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// The checksum does not match.
    #[error("wrong password, or the keystore is damaged")]
    WrongPassword,
    /// It decrypted to something that is no key.
    #[error("the keystore holds no key of this kind")]
    NotAKey,
    /// The key inside is another than the file says outside.
    #[error("the keystore says {said} but holds another key")]
    OtherKey {
        /// Public key or address in the file.
        said: String,
    },
}
