//! Derivation of a key from a password with scrypt or PBKDF2, whose cost is bounded.

use hmac::Hmac;
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::error::KeystoreError;
use crate::hexadecimal::HexBytes;
use crate::scrypt_narrow;

/// The length of a derived key in bytes. Half is the cipher's key, half goes into the checksum.
pub(crate) const DERIVED_BYTES: usize = 32;

/// The largest memory for scrypt in bytes: 128·n·r.
const SCRYPT_MAX_BYTES: u64 = 1 << 30;
/// The largest work for scrypt, in blocks of 128 bytes: n·r·p. This is four times standard cost.
const SCRYPT_MAX_BLOCKS: u64 = 1 << 23;
/// The largest number of rounds of PBKDF2.
const PBKDF2_MAX_ROUNDS: u32 = 10_000_000;
/// The longest salt in bytes.
const SALT_MAX_BYTES: usize = 256;

/// How expensive it is to guess the password, and so how long loading the key takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum KdfCost {
    /// The cost in both formats' specifications: 256 MiB and about a second.
    #[default]
    Standard,
    /// A cost of milliseconds, for throw-away keys of tests and demonstrations.
    Light,
}

/// The parameters of scrypt as a file holds them. They are unchecked.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct ScryptParams {
    dklen: u64,
    n: u64,
    p: u32,
    r: u32,
    salt: HexBytes,
}

/// The parameters of PBKDF2 as a file holds them. They are unchecked.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Pbkdf2Params {
    dklen: u64,
    c: u32,
    prf: String,
    salt: HexBytes,
}

#[derive(Clone, Debug)]
pub(crate) enum Kdf {
    Scrypt(ScryptParams),
    Pbkdf2(Pbkdf2Params),
}

impl ScryptParams {
    /// Makes parameters of this cost with a random salt.
    pub(crate) fn new(cost: KdfCost) -> Self {
        let log_n = match cost {
            KdfCost::Standard => 18,
            KdfCost::Light => 10,
        };
        Self {
            dklen: DERIVED_BYTES as u64,
            n: 1 << log_n,
            p: 1,
            r: 8,
            salt: HexBytes(rand::random::<[u8; 32]>().to_vec()),
        }
    }
}

impl Kdf {
    /// Checks the parameters and then derives the key, which takes as long as they demand.
    pub(crate) fn derive(&self, password: &[u8]) -> Result<Zeroizing<[u8; DERIVED_BYTES]>, KeystoreError> {
        let refuse = |name, problem| Err(KeystoreError::Parameter { name, problem });
        let (dklen, salt) = match self {
            Kdf::Scrypt(params) => (params.dklen, &params.salt.0),
            Kdf::Pbkdf2(params) => (params.dklen, &params.salt.0),
        };
        if dklen != DERIVED_BYTES as u64 {
            return refuse("dklen", "must be 32");
        }
        if salt.is_empty() || salt.len() > SALT_MAX_BYTES {
            return refuse("salt", "must have 1 to 256 bytes");
        }
        let mut key = Zeroizing::new([0; DERIVED_BYTES]);
        match self {
            &Kdf::Scrypt(ScryptParams { n, p, r, .. }) => {
                if n < 2 || !n.is_power_of_two() {
                    return refuse("n", "must be a power of two above 1");
                }
                let blocks = n.saturating_mul(u64::from(r));
                if blocks > SCRYPT_MAX_BYTES / 128 || blocks.saturating_mul(u64::from(p)) > SCRYPT_MAX_BLOCKS
                {
                    return refuse(
                        "n·r·p",
                        "would take too long or too much memory: encrypt the key anew, with n = 262144, r = 8, p = 1",
                    );
                }
                if r == 0 || p == 0 {
                    return refuse("r, p", "must be above 0");
                }
                let log_n = u8::try_from(n.ilog2()).expect("below 64");
                match scrypt::Params::new(log_n, r, p, DERIVED_BYTES) {
                    Ok(params) => {
                        scrypt::scrypt(password, salt, &params, key.as_mut())
                            .expect("32 bytes can be derived");
                    }
                    Err(_) => scrypt_narrow::scrypt(password, salt, n, r, p, key.as_mut()),
                }
            }
            Kdf::Pbkdf2(params) => {
                if params.prf != "hmac-sha256" {
                    return refuse("prf", "must be hmac-sha256");
                }
                if params.c == 0 || params.c > PBKDF2_MAX_ROUNDS {
                    return refuse("c", "must be 1 to 10,000,000: encrypt the key anew, with fewer rounds");
                }
                pbkdf2::pbkdf2::<Hmac<Sha256>>(password, salt, params.c, key.as_mut())
                    .expect("HMAC takes keys of any length");
            }
        }
        Ok(key)
    }
}
