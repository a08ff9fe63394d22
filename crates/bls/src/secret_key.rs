//! Secret keys, which are never printed and are overwritten with zeros when they are dropped.

use std::fmt;

use blst::min_sig as blst_sig;
use dac_types::signing_domain::{ATTESTATION_DST, POSSESSION_DST};
use dac_types::{Address, Domain, SignedDigest};
use rand::CryptoRng;
use zeroize::Zeroizing;

use crate::error::SecretKeyError;
use crate::public_key::PublicKey;
use crate::signature::Signature;

/// The length of a secret key in bytes.
pub const SECRET_KEY_BYTES: usize = 32;

/// A member's secret key. It wraps blst's type, which overwrites itself but prints the key in
/// `Debug`.
///
/// # Example
///
/// ```
/// use dac_bls::SecretKey;
/// use dac_types::{B256, BatchDigest};
///
/// let key = SecretKey::generate(&mut rand::rng());
/// let digest = BatchDigest(B256::repeat_byte(1));
/// let signature = key.sign_digest(&digest);
///
/// assert!(key.public_key().verify(&digest, &signature).is_ok());
/// let other = BatchDigest(B256::repeat_byte(2));
/// assert!(key.public_key().verify(&other, &signature).is_err());
/// ```
#[derive(Clone)]
pub struct SecretKey(blst_sig::SecretKey);

impl SecretKey {
    /// Decodes 32 bytes as a big-endian number, which must be above zero and below the order of the
    /// group.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, SecretKeyError> {
        if bytes.len() != SECRET_KEY_BYTES {
            return Err(SecretKeyError::Length { got: bytes.len() });
        }
        blst_sig::SecretKey::from_bytes(bytes).map(Self).map_err(|_| SecretKeyError::OutOfRange)
    }

    /// Draws a new key from a cryptographic random generator.
    pub fn generate(rng: &mut impl CryptoRng) -> Self {
        let mut material = Zeroizing::new([0; SECRET_KEY_BYTES]);
        rng.fill_bytes(material.as_mut());
        Self::derive(&material)
    }

    /// Derives a key from secret material with KeyGen of the BLS signature draft. Tests give it
    /// constants.
    pub fn derive(material: &[u8; SECRET_KEY_BYTES]) -> Self {
        Self(blst_sig::SecretKey::key_gen(material, &[]).expect("32 bytes of material are enough"))
    }

    /// Returns the key as 32 bytes big-endian. Only code that writes a keystore should call this.
    pub fn to_bytes(&self) -> Zeroizing<[u8; SECRET_KEY_BYTES]> {
        Zeroizing::new(self.0.to_bytes())
    }

    /// Returns the public key.
    pub fn public_key(&self) -> PublicKey {
        PublicKey::from_unchecked(self.0.sk_to_pk())
            .expect("a secret key in range has a public key in the subgroup")
    }

    /// Signs the digest of a batch or a renewal. The signature promises that shards are stored and
    /// served, so only code that holds a receipt of the store may call this.
    pub fn sign_digest(&self, digest: &impl SignedDigest) -> Signature {
        self.sign_message(digest.message(), ATTESTATION_DST)
    }

    /// Signs a proof for the registry that `operator` knows this key.
    ///
    /// # Example
    ///
    /// ```
    /// use dac_bls::SecretKey;
    /// use dac_types::{Address, Domain};
    ///
    /// let domain = Domain { chain_id: 1, registry: Address::repeat_byte(1) };
    /// let (operator, thief) = (Address::repeat_byte(2), Address::repeat_byte(3));
    /// let key = SecretKey::generate(&mut rand::rng());
    /// let proof = key.prove_possession(&domain, operator);
    ///
    /// assert!(key.public_key().verify_possession(&domain, operator, &proof).is_ok());
    /// assert!(key.public_key().verify_possession(&domain, thief, &proof).is_err());
    /// ```
    pub fn prove_possession(&self, domain: &Domain, operator: Address) -> Signature {
        let message = domain.possession_message(operator, &self.public_key().to_eip2537());
        self.sign_message(message.as_slice(), POSSESSION_DST)
    }

    pub(crate) fn sign_message(&self, message: &[u8], dst: &[u8]) -> Signature {
        Signature::from_unchecked(self.0.sign(message, dst, &[]))
            .expect("hash-to-curve lands in the subgroup")
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecretKey(of {:?})", self.public_key())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The order of the group, big-endian.
    const ORDER: &str = "73eda753299d7d483339d80809a1d80553bda402fffe5bfeffffffff00000001";

    #[test]
    fn scalars_outside_the_order_are_refused() {
        let order = hex::decode(ORDER).unwrap();
        let mut below = order.clone();
        below[31] = 0;
        let mut above = order.clone();
        above[31] = 2;
        assert!(SecretKey::from_bytes(&below).is_ok());
        for bad in [&order[..], &above, &[0; 32], &[0xff; 32]] {
            assert_eq!(SecretKey::from_bytes(bad).unwrap_err(), SecretKeyError::OutOfRange);
        }
        for length in [0, 31, 33] {
            let bytes = vec![1; length];
            assert_eq!(SecretKey::from_bytes(&bytes).unwrap_err(), SecretKeyError::Length { got: length });
        }
    }

    #[test]
    fn debug_does_not_show_the_key() {
        let key = SecretKey::derive(&[1; 32]);
        let shown = format!("{key:?} {key:#?}");
        let secret = key.to_bytes();
        assert!(!shown.contains(&hex::encode(secret.as_slice())));
        assert!(!shown.contains(&hex::encode(&secret[..8])));
        assert!(!shown.contains(&format!("{:?}", &secret[..4])));
    }

    #[test]
    fn generated_keys_differ() {
        let (a, b) = (SecretKey::generate(&mut rand::rng()), SecretKey::generate(&mut rand::rng()));
        assert_ne!(a.public_key(), b.public_key());
    }

    proptest! {
        #[test]
        fn bytes_round_trip_or_are_refused(bytes in any::<[u8; 32]>()) {
            if let Ok(key) = SecretKey::from_bytes(&bytes) {
                prop_assert_eq!(*key.to_bytes(), bytes);
            }
        }
    }
}
