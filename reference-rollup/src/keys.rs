//! Keys and signatures on Baby Jubjub: Schnorr signatures in the form (challenge, response), with
//! Poseidon as their hash.
//!
//! The challenge has 128 bits: enough for 128-bit security of Schnorr signatures (Neven, Smart and
//! Warinschi, *Hash function requirements for Schnorr signatures*, 2009), and half the work in the
//! circuit. With the challenge in the signature the circuit computes the commitment instead of
//! being told it, so that it is always on the curve. Responses are not reduced again: a second
//! signature for the same message is no harm, because a nonce is spent once.

use std::fmt;

use alloy_primitives::Address;
use ark_bn254::Fr;
use ark_ec::{AffineRepr, CurveGroup, PrimeGroup};
use ark_ed_on_bn254::{EdwardsAffine, EdwardsProjective, Fr as Scalar};
use ark_ff::{BigInteger, PrimeField, UniformRand, Zero};
use rand_chacha::rand_core::{CryptoRng, RngCore};
use zeroize::Zeroize;

use crate::account::AccountId;
use crate::field;
use crate::poseidon;

/// Bits of a challenge.
pub const CHALLENGE_BITS: usize = 128;
/// Bits of a response: those of the group's order, 2^250.6.
pub const RESPONSE_BITS: usize = 252;

/// A secret scalar. Overwritten when dropped; never printed.
pub struct SecretKey(Scalar);

impl Drop for SecretKey {
    fn drop(&mut self) {
        self.0.0.0.zeroize();
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretKey(…)")
    }
}

impl SecretKey {
    /// From its 32 little-endian bytes; `None` for zero and for what is not below the group's
    /// order.
    pub fn from_le_bytes(bytes: &[u8; 32]) -> Option<Self> {
        let scalar = Scalar::from_le_bytes_mod_order(bytes);
        let key = Self(scalar);
        (*key.to_le_bytes() == bytes[..] && !scalar.is_zero()).then_some(key)
    }

    /// Its 32 little-endian bytes, overwritten when dropped.
    pub fn to_le_bytes(&self) -> zeroize::Zeroizing<Vec<u8>> {
        zeroize::Zeroizing::new(self.0.into_bigint().to_bytes_le())
    }

    /// A new key.
    pub fn random(rng: &mut (impl RngCore + CryptoRng)) -> Self {
        loop {
            let scalar = Scalar::rand(rng);
            if !scalar.is_zero() {
                return Self(scalar);
            }
        }
    }

    /// The key that stands in unused slots of a batch. Everybody knows it, and no account has it.
    pub(crate) fn filler() -> Self {
        Self(Scalar::from(1_u8))
    }

    /// The public half.
    pub fn public(&self) -> PublicKey {
        PublicKey((EdwardsProjective::generator() * self.0).into_affine())
    }

    /// A signature over one field element. The nonce comes from `rng`.
    pub fn sign(&self, message: Fr, rng: &mut (impl RngCore + CryptoRng)) -> Signature {
        let nonce = SecretKey::random(rng);
        self.sign_with(message, &nonce)
    }

    /// The same with a nonce of the caller's, who must never use it twice.
    pub(crate) fn sign_with(&self, message: Fr, nonce: &SecretKey) -> Signature {
        let commitment = nonce.public().0;
        let challenge = challenge(&commitment, &self.public(), message);
        // nonce·G = response·G − challenge·key.
        Signature { challenge, response: nonce.0 + self.0 * Scalar::from(challenge) }
    }
}

/// A point of the prime-order subgroup, not the neutral one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PublicKey(pub(crate) EdwardsAffine);

impl PublicKey {
    /// From its coordinates; `None` unless they are a point of the prime-order subgroup, other than
    /// the neutral one.
    pub fn from_coordinates(x: Fr, y: Fr) -> Option<Self> {
        let point = EdwardsAffine::new_unchecked(x, y);
        (point.is_on_curve() && point.is_in_correct_subgroup_assuming_on_curve() && !point.is_zero())
            .then_some(Self(point))
    }

    /// x and y.
    pub fn coordinates(&self) -> (Fr, Fr) {
        (self.0.x, self.0.y)
    }

    /// The account of this key whose exits pay `recipient`.
    pub fn account_id(&self, recipient: Address) -> AccountId {
        AccountId(poseidon::hash(&[self.0.x, self.0.y, field::from_address(recipient)]))
    }

    /// Whether `signature` is this key's over `message`.
    pub fn verifies(&self, message: Fr, signature: &Signature) -> bool {
        let commitment = EdwardsProjective::generator() * signature.response
            - self.0.into_group() * Scalar::from(signature.challenge);
        challenge(&commitment.into_affine(), self, message) == signature.challenge
    }
}

/// Challenge and response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Signature {
    /// Low 128 bits of the hash of commitment, key and message.
    pub challenge: u128,
    /// nonce + challenge·secret.
    pub response: Scalar,
}

fn challenge(commitment: &EdwardsAffine, key: &PublicKey, message: Fr) -> u128 {
    let hash = poseidon::hash(&[commitment.x, commitment.y, key.0.x, key.0.y, message]);
    let bytes = field::to_le_bytes(hash);
    let (low, _) = bytes.split_first_chunk().expect("32 bytes");
    u128::from_le_bytes(*low)
}
