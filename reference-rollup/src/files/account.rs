//! A user's key on the rollup and the L1 address that its exits pay: together they are an account.
//! `reference-rollup keygen` writes it, readable for its owner alone.
//!
//! ```json
//! {
//!   "format": "reference-rollup-key/v1",
//!   "secret_key": "<32 bytes, little-endian: a scalar of Baby Jubjub>",
//!   "key_x": "0x<32 bytes>",
//!   "key_y": "0x<32 bytes>",
//!   "recipient": "0x<20 bytes>",
//!   "account_id": "0x<32 bytes>"
//! }
//! ```

use std::path::Path;

use alloy_primitives::{Address, B256, hex};
use dac_secrets::SecretFileError;
use serde::{Deserialize, Serialize};
use thiserror::Error;
use zeroize::Zeroizing;

use crate::exit::Owner;
use crate::field;
use crate::keys::SecretKey;

const FORMAT: &str = "reference-rollup-key/v1";
/// Some 500 bytes are usual.
const FILE_MAX_BYTES: usize = 4096;

/// Why there is no account in a file.
#[derive(Debug, Error)]
pub enum AccountFileError {
    /// Cannot be read or written, or others could read it.
    #[error(transparent)]
    File(#[from] SecretFileError),
    /// Not the document that it should be. What it holds instead is not repeated: it may be the
    /// secret.
    #[error("the account file is not understood: {problem}")]
    Malformed {
        /// What is wrong.
        problem: &'static str,
    },
}

/// A user's account.
#[derive(Debug)]
pub struct AccountFile {
    /// Signs on the rollup.
    pub key: SecretKey,
    /// Is paid on L1.
    pub recipient: Address,
}

/// Borrowed, so that no copy of the secret is left behind.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct AccountJson<'a> {
    format: &'a str,
    secret_key: &'a str,
    key_x: B256,
    key_y: B256,
    recipient: Address,
    account_id: B256,
}

impl AccountFile {
    /// What its id is made of.
    pub fn owner(&self) -> Owner {
        Owner { key: self.key.public(), recipient: self.recipient }
    }

    /// Writes a new file, which only its owner may read. A file of that name is left alone.
    pub fn create(&self, path: &Path) -> Result<(), SecretFileError> {
        let secret_key = Zeroizing::new(hex::encode(&*self.key.to_le_bytes()));
        let owner = self.owner();
        let (x, y) = owner.key.coordinates();
        let document = AccountJson {
            format: FORMAT,
            secret_key: &secret_key,
            key_x: field::to_b256(x),
            key_y: field::to_b256(y),
            recipient: self.recipient,
            account_id: field::to_b256(owner.id().0),
        };
        // Room for all of it at once: a vector that grows leaves copies of the secret behind.
        let mut text = Zeroizing::new(Vec::with_capacity(FILE_MAX_BYTES));
        serde_json::to_writer_pretty(&mut *text, &document).expect("plain structures serialise");
        text.push(b'\n');
        dac_secrets::create(path, &text)
    }

    /// Reads a file that only its owner may read.
    pub fn read(path: &Path) -> Result<Self, AccountFileError> {
        let text = dac_secrets::read(path, FILE_MAX_BYTES)?;
        Self::parse(&text).map_err(|problem| AccountFileError::Malformed { problem })
    }

    fn parse(text: &[u8]) -> Result<Self, &'static str> {
        let json: AccountJson<'_> =
            serde_json::from_slice(text).map_err(|_| "fields are missing or wrong")?;
        if json.format != FORMAT {
            return Err("it has another format");
        }
        let mut bytes = Zeroizing::new([0; 32]);
        hex::decode_to_slice(json.secret_key, &mut *bytes)
            .map_err(|_| "secret_key is not 32 bytes in hex")?;
        let key = SecretKey::from_le_bytes(&bytes).ok_or("secret_key is no scalar of the group")?;
        let account = Self { key, recipient: json.recipient };
        let owner = account.owner();
        let (x, y) = owner.key.coordinates();
        if [json.key_x, json.key_y] != [x, y].map(field::to_b256) {
            return Err("key_x and key_y are not those of secret_key");
        }
        if json.account_id != field::to_b256(owner.id().0) {
            return Err("account_id is not that of key and recipient");
        }
        Ok(account)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use rand_chacha::ChaCha20Rng;
    use rand_chacha::rand_core::SeedableRng as _;

    use super::*;

    fn account() -> AccountFile {
        let key = SecretKey::random(&mut ChaCha20Rng::seed_from_u64(1));
        AccountFile { key, recipient: Address::repeat_byte(7) }
    }

    #[test]
    fn accounts_are_kept_private_whole_and_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("alice.json");
        let account = account();
        account.create(&path).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(AccountFile::read(&path).unwrap().owner(), account.owner());
        assert!(matches!(account.create(&path), Err(SecretFileError::Exists { .. })));
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        assert!(matches!(AccountFile::read(&path), Err(AccountFileError::File(_))));
    }

    #[test]
    fn what_does_not_fit_together_is_refused_and_not_repeated() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("alice.json");
        account().create(&path).unwrap();
        let good = std::fs::read_to_string(&path).unwrap();
        let secret = hex::encode(&*account().key.to_le_bytes());
        for (from, to) in [
            ("key/v1", "key/v2"),
            ("0x07", "0x08"),
            ("\"recipient\"", "\"receiver\""),
            (&secret[..], &"0".repeat(64)[..]),
            (&secret[..], &"f".repeat(64)[..]),
            (&secret[..], &format!("01{}", "0".repeat(62))[..]),
            (&secret[..], &secret[1..]),
        ] {
            let text = good.replacen(from, to, 1);
            let problem = AccountFile::parse(text.as_bytes()).unwrap_err();
            assert!(!problem.contains(&secret[2..10]), "{problem}");
        }
    }
}
