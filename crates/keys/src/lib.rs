#![doc = include_str!("../README.md")]

mod cipher;
mod eip2335;
mod error;
mod hexadecimal;
mod kdf;
mod scrypt_narrow;
mod uuid;
mod web3;

use std::path::Path;

use dac_bls::SecretKey;
use dac_types::EcdsaKey;
use zeroize::Zeroizing;

pub use dac_secrets::{Password, SecretFileError};
pub use error::KeystoreError;
pub use kdf::KdfCost;

/// The largest size of a keystore file in bytes.
const FILE_MAX_BYTES: usize = 64 << 10;

/// Encrypts a BLS key into a new file that only its owner may read. A file that exists is an error
/// and stays unchanged.
pub fn create_bls_keystore(
    path: &Path,
    key: &SecretKey,
    password: &Password,
    cost: KdfCost,
) -> Result<(), KeystoreError> {
    let json = eip2335::encrypt(key, password, cost);
    Ok(dac_secrets::create(path, json.as_bytes())?)
}

/// Decrypts an EIP-2335 keystore with the password that `password_file` holds.
pub fn load_bls_keystore(path: &Path, password_file: &Path) -> Result<SecretKey, KeystoreError> {
    let json = read(path)?;
    eip2335::decrypt(&json, &Password::read(password_file)?)
}

/// Encrypts a secp256k1 key into a new file that only its owner may read. A file that exists is an
/// error and stays unchanged.
pub fn create_ecdsa_keystore(
    path: &Path,
    key: &EcdsaKey,
    password: &Password,
    cost: KdfCost,
) -> Result<(), KeystoreError> {
    let json = web3::encrypt(key, password, cost);
    Ok(dac_secrets::create(path, json.as_bytes())?)
}

/// Decrypts a Web3 keystore with the password that `password_file` holds.
pub fn load_ecdsa_keystore(path: &Path, password_file: &Path) -> Result<EcdsaKey, KeystoreError> {
    let json = read(path)?;
    web3::decrypt(&json, &Password::read(password_file)?)
}

/// Writes a new random password into a new file and returns it.
pub fn create_password_file(path: &Path) -> Result<Password, KeystoreError> {
    let mut random = Zeroizing::new([0; 24]);
    rand::Rng::fill(&mut rand::rng(), random.as_mut());
    let password = Password::new(alloy_primitives::hex::encode(random.as_slice()));
    dac_secrets::create(path, password.expose().as_bytes())?;
    Ok(password)
}

/// Reads a keystore. The file's permissions must be as strict as those of a password file: the
/// keystore is encrypted, but a person with a copy may guess its password without limit.
fn read(path: &Path) -> Result<Zeroizing<String>, KeystoreError> {
    let bytes = dac_secrets::read(path, FILE_MAX_BYTES)?;
    // Some editors put a byte-order mark at the start of a file.
    let text = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&bytes);
    match std::str::from_utf8(text) {
        Ok(text) => Ok(Zeroizing::new(text.to_owned())),
        Err(_) => Err(SecretFileError::NotText { path: path.to_owned() }.into()),
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
