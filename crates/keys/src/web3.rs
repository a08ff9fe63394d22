//! Keystores of secp256k1 keys in the format Web3 Secret Storage, version 3, as geth and others
//! write them.

use alloy_primitives::{hex, keccak256};
use dac_secrets::Password;
use dac_types::EcdsaKey;
use serde::{Deserialize, Serialize};

use crate::cipher::{self, CIPHER};
use crate::error::KeystoreError;
use crate::hexadecimal::HexBytes;
use crate::kdf::{Kdf, KdfCost, Pbkdf2Params, ScryptParams};
use crate::uuid;

const VERSION: u64 = 3;

#[derive(Deserialize, Serialize)]
struct Keystore {
    #[serde(default)]
    address: String,
    #[serde(alias = "Crypto")]
    crypto: Crypto,
    #[serde(default)]
    id: String,
    version: u64,
}

#[derive(Deserialize, Serialize)]
struct Crypto {
    cipher: String,
    cipherparams: CipherParams,
    ciphertext: HexBytes,
    #[serde(flatten)]
    kdf: KdfFields,
    mac: HexBytes,
}

#[derive(Deserialize, Serialize)]
#[serde(tag = "kdf", content = "kdfparams", rename_all = "lowercase")]
enum KdfFields {
    Scrypt(ScryptParams),
    Pbkdf2(Pbkdf2Params),
}

#[derive(Deserialize, Serialize)]
struct CipherParams {
    iv: HexBytes,
}

pub(crate) fn encrypt(key: &EcdsaKey, password: &Password, cost: KdfCost) -> String {
    let params = ScryptParams::new(cost);
    let derived = Kdf::Scrypt(params.clone())
        .derive(password.expose().as_bytes())
        .expect("our own parameters are within bounds");
    let iv = cipher::random_iv();
    let encrypted = cipher::apply(&derived, &iv, key.to_bytes().as_slice()).expect("a key has 32 bytes");
    let keystore = Keystore {
        address: hex::encode(key.address()),
        crypto: Crypto {
            cipher: CIPHER.into(),
            cipherparams: CipherParams { iv },
            mac: HexBytes(mac(cipher::checksum_half(&derived), encrypted.as_slice())),
            ciphertext: HexBytes(encrypted.to_vec()),
            kdf: KdfFields::Scrypt(params),
        },
        id: uuid::random(),
        version: VERSION,
    };
    serde_json::to_string_pretty(&keystore).expect("a keystore is JSON")
}

pub(crate) fn decrypt(json: &str, password: &Password) -> Result<EcdsaKey, KeystoreError> {
    let keystore: Keystore = serde_json::from_str(json)?;
    if keystore.version != VERSION {
        return Err(KeystoreError::Version { got: keystore.version, expected: VERSION });
    }
    let Crypto { cipher: name, cipherparams, ciphertext, kdf, mac: sum } = keystore.crypto;
    if name != CIPHER {
        return Err(KeystoreError::Parameter { name: "cipher", problem: "must be aes-128-ctr" });
    }
    let kdf = match kdf {
        KdfFields::Scrypt(params) => Kdf::Scrypt(params),
        KdfFields::Pbkdf2(params) => Kdf::Pbkdf2(params),
    };
    let derived = kdf.derive(password.expose().as_bytes())?;
    if mac(cipher::checksum_half(&derived), &ciphertext.0) != sum.0 {
        return Err(KeystoreError::WrongPassword);
    }
    let secret = cipher::apply_padded(&derived, &cipherparams.iv, &ciphertext.0)?;
    let key = EcdsaKey::from_slice(secret.as_slice()).map_err(|_| KeystoreError::NotAKey)?;
    let said = keystore.address.trim_start_matches("0x").to_lowercase();
    if !said.is_empty() && said != hex::encode(key.address()) {
        return Err(KeystoreError::OtherKey { said });
    }
    Ok(key)
}

fn mac(half: &[u8], encrypted: &[u8]) -> Vec<u8> {
    keccak256([half, encrypted].concat()).to_vec()
}
