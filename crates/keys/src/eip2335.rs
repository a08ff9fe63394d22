//! Keystores of BLS keys in the format EIP-2335, version 4.

use alloy_primitives::hex;
use dac_bls::SecretKey;
use dac_secrets::Password;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use unicode_normalization::UnicodeNormalization;
use zeroize::Zeroizing;

use crate::cipher::{self, CIPHER};
use crate::error::KeystoreError;
use crate::hexadecimal::HexBytes;
use crate::kdf::{Kdf, KdfCost, Pbkdf2Params, ScryptParams};
use crate::uuid;

const VERSION: u64 = 4;

#[derive(Deserialize, Serialize)]
struct Keystore {
    crypto: Crypto,
    #[serde(default)]
    description: String,
    #[serde(default)]
    pubkey: String,
    #[serde(default)]
    path: String,
    #[serde(default)]
    uuid: String,
    version: u64,
}

#[derive(Deserialize, Serialize)]
struct Crypto {
    kdf: KdfModule,
    checksum: Module<Empty>,
    cipher: Module<CipherParams>,
}

#[derive(Deserialize, Serialize)]
#[serde(tag = "function", rename_all = "lowercase")]
enum KdfModule {
    Scrypt { params: ScryptParams, message: String },
    Pbkdf2 { params: Pbkdf2Params, message: String },
}

#[derive(Deserialize, Serialize)]
struct Module<P> {
    function: String,
    params: P,
    message: HexBytes,
}

#[derive(Deserialize, Serialize)]
struct Empty {}

#[derive(Deserialize, Serialize)]
struct CipherParams {
    iv: HexBytes,
}

pub(crate) fn encrypt(key: &SecretKey, password: &Password, cost: KdfCost) -> String {
    let params = ScryptParams::new(cost);
    let derived = Kdf::Scrypt(params.clone())
        .derive(&password_bytes(password))
        .expect("our own parameters are within bounds");
    let iv = cipher::random_iv();
    let encrypted = cipher::apply(&derived, &iv, key.to_bytes().as_slice()).expect("a key has 32 bytes");
    let keystore = Keystore {
        crypto: Crypto {
            checksum: Module {
                function: "sha256".into(),
                params: Empty {},
                message: HexBytes(checksum(cipher::checksum_half(&derived), encrypted.as_slice())),
            },
            cipher: Module {
                function: CIPHER.into(),
                params: CipherParams { iv },
                message: HexBytes(encrypted.to_vec()),
            },
            kdf: KdfModule::Scrypt { params, message: String::new() },
        },
        description: "Validium DAC member key (BLS12-381, public key in G2)".into(),
        pubkey: public_key_of(key),
        path: String::new(),
        uuid: uuid::random(),
        version: VERSION,
    };
    serde_json::to_string_pretty(&keystore).expect("a keystore is JSON")
}

pub(crate) fn decrypt(json: &str, password: &Password) -> Result<SecretKey, KeystoreError> {
    let keystore: Keystore = serde_json::from_str(json)?;
    if keystore.version != VERSION {
        return Err(KeystoreError::Version { got: keystore.version, expected: VERSION });
    }
    let Crypto { kdf, checksum: sum, cipher: encrypted } = keystore.crypto;
    if sum.function != "sha256" {
        return Err(KeystoreError::Parameter { name: "checksum", problem: "must be sha256" });
    }
    if encrypted.function != CIPHER {
        return Err(KeystoreError::Parameter { name: "cipher", problem: "must be aes-128-ctr" });
    }
    let kdf = match kdf {
        KdfModule::Scrypt { params, .. } => Kdf::Scrypt(params),
        KdfModule::Pbkdf2 { params, .. } => Kdf::Pbkdf2(params),
    };
    let derived = kdf.derive(&password_bytes(password))?;
    if checksum(cipher::checksum_half(&derived), &encrypted.message.0) != sum.message.0 {
        return Err(KeystoreError::WrongPassword);
    }
    let secret = cipher::apply(&derived, &encrypted.params.iv, &encrypted.message.0)?;
    let key = SecretKey::from_bytes(secret.as_slice()).map_err(|_| KeystoreError::NotAKey)?;
    // A keystore of an Ethereum validator names a public key in G1, half as long as a member's. Its
    // secret can be used all the same, so a name of another length is not compared.
    let said = keystore.pubkey.trim_start_matches("0x").to_lowercase();
    let own = public_key_of(&key);
    if said.len() == own.len() && said != own {
        return Err(KeystoreError::OtherKey { said });
    }
    Ok(key)
}

fn public_key_of(key: &SecretKey) -> String {
    hex::encode(key.public_key().to_compressed().as_bytes())
}

fn checksum(half: &[u8], encrypted: &[u8]) -> Vec<u8> {
    Sha256::new().chain_update(half).chain_update(encrypted).finalize().to_vec()
}

/// Returns the password as EIP-2335 wants it: NFKD-normalised, without control characters, in
/// UTF-8.
fn password_bytes(password: &Password) -> Zeroizing<Vec<u8>> {
    // NFKD turns one character into at most 18, of at most 4 bytes each. With enough capacity from
    // the start, no copy of the password is left behind by a reallocation.
    let mut bytes = Zeroizing::new(Vec::with_capacity(password.expose().len() * 18 * 4));
    for character in password.expose().nfkd().filter(|character| !character.is_control()) {
        bytes.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_normalised() {
        let password = Password::new("𝔱𝔢𝔰𝔱\u{7f}𝔭𝔞𝔰𝔰\u{85}𝔴𝔬𝔯𝔡\u{1}🔑");
        assert_eq!(hex::encode(password_bytes(&password).as_slice()), "7465737470617373776f7264f09f9491");
    }
}
