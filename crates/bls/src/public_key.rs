//! Public keys, which are valid points of G2.

use std::fmt;

use blst::min_sig as blst_sig;
use blst::{BLST_ERROR, Pairing, blst_p1_affine, blst_p2_affine};
use dac_types::signing_domain::{ATTESTATION_DST, POSSESSION_DST};
use dac_types::{Address, Domain, PublicKeyBytes, SignedDigest};

use crate::eip2537::{pad, unpad};
use crate::error::{BadSignature, PointError};
use crate::signature::Signature;

/// The length of a G2 point in EIP-2537 encoding, in bytes.
pub const G2_EIP2537_BYTES: usize = 256;

/// Maps blst's order x.c1, x.c0, y.c1, y.c0 to EIP-2537's x.c0, x.c1, y.c0, y.c1 and back.
const COORDINATES: [usize; 4] = [1, 0, 3, 2];

/// A member's public key. It is in the subgroup of G2 and not at infinity.
///
/// # Example
///
/// ```
/// use dac_bls::{PublicKey, SecretKey};
/// use dac_types::PublicKeyBytes;
///
/// let key = SecretKey::generate(&mut rand::rng()).public_key();
/// // Bytes from a file, a wire or L1 become a key only if they are the encoding of a valid point.
/// let bytes: PublicKeyBytes = key.to_compressed();
/// assert_eq!(PublicKey::from_compressed(&bytes)?, key);
/// assert!(PublicKey::from_compressed(&PublicKeyBytes([0; 96])).is_err());
/// # Ok::<(), dac_bls::PointError>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct PublicKey(blst_sig::PublicKey);

impl PublicKey {
    /// Decodes and validates the 96 bytes of the usual compressed encoding.
    pub fn from_compressed(bytes: &PublicKeyBytes) -> Result<Self, PointError> {
        let point = blst_sig::PublicKey::uncompress(&bytes.0).map_err(PointError::from_blst)?;
        let key = Self::from_unchecked(point)?;
        if key.to_compressed() == *bytes { Ok(key) } else { Err(PointError::Encoding) }
    }

    /// Decodes and validates the 256 bytes of the EIP-2537 encoding, which L1 uses.
    pub fn from_eip2537(bytes: &[u8; G2_EIP2537_BYTES]) -> Result<Self, PointError> {
        if bytes.iter().all(|&byte| byte == 0) {
            return Err(PointError::Infinity);
        }
        let serialised: [u8; 192] = unpad(bytes, COORDINATES)?;
        Self::from_unchecked(blst_sig::PublicKey::deserialize(&serialised).map_err(PointError::from_blst)?)
    }

    pub(crate) fn from_unchecked(point: blst_sig::PublicKey) -> Result<Self, PointError> {
        point.validate().map_err(PointError::from_blst)?;
        Ok(Self(point))
    }

    /// Returns the usual compressed encoding.
    pub fn to_compressed(&self) -> PublicKeyBytes {
        PublicKeyBytes(self.0.compress())
    }

    /// Returns the EIP-2537 encoding, which L1 uses.
    pub fn to_eip2537(&self) -> [u8; G2_EIP2537_BYTES] {
        pad(&self.0.serialize(), COORDINATES)
    }

    /// Verifies that `signature` is this key's signature over the digest of a batch or a renewal.
    /// For a sum of keys, it must be the sum of the signatures of all of them.
    pub fn verify(&self, digest: &impl SignedDigest, signature: &Signature) -> Result<(), BadSignature> {
        self.verify_message(digest.message(), ATTESTATION_DST, signature)
    }

    /// Verifies that `signature` proves that `operator` knows this key's secret, in this domain.
    pub fn verify_possession(
        &self,
        domain: &Domain,
        operator: Address,
        signature: &Signature,
    ) -> Result<(), BadSignature> {
        let message = domain.possession_message(operator, &self.to_eip2537());
        self.verify_message(message.as_slice(), POSSESSION_DST, signature)
    }

    fn verify_message(&self, message: &[u8], dst: &[u8], signature: &Signature) -> Result<(), BadSignature> {
        let key: &blst_p2_affine = (&self.0).into();
        let point: &blst_p1_affine = signature.as_blst().into();
        // Both points were validated when they were made. blst's own `verify` would start this
        // single pairing on a thread pool.
        let mut pairing = Pairing::new(true, dst);
        if pairing.aggregate(key, false, point, false, message, &[]) != BLST_ERROR::BLST_SUCCESS {
            return Err(BadSignature);
        }
        pairing.commit();
        if pairing.finalverify(None) { Ok(()) } else { Err(BadSignature) }
    }

    pub(crate) const fn as_blst(&self) -> &blst_sig::PublicKey {
        &self.0
    }
}

/// Returns whether each signature is its key's signature over its digest, with one product of
/// pairings for all. It does not tell which one is wrong.
///
/// Each signature gets a random factor of 64 bits, so that wrong ones cancel out with a probability
/// of 2^−64 (M. Bellare, J. Garay, T. Rabin, "Fast Batch Verification for Modular Exponentiation
/// and Digital Signatures", EUROCRYPT 1998).
pub(crate) fn all_verify<'a, D: SignedDigest + 'a>(
    signatures: impl IntoIterator<Item = (&'a PublicKey, &'a D, &'a Signature)>,
) -> bool {
    let mut pairing = Pairing::new(true, ATTESTATION_DST);
    for (key, digest, signature) in signatures {
        let key: &blst_p2_affine = (&key.0).into();
        let point: &blst_p1_affine = signature.as_blst().into();
        // A factor of zero would leave the signature out.
        let factor = rand::random_range(1..=u64::MAX).to_le_bytes();
        let (bits, message) = (8 * factor.len(), digest.message());
        let added = pairing.mul_n_aggregate(key, false, point, false, &factor, bits, message, &[]);
        if added != BLST_ERROR::BLST_SUCCESS {
            return false;
        }
    }
    pairing.commit();
    pairing.finalverify(None)
}

/// Returns the sum of keys, which verifies the sum of their signatures over one message. The error
/// is infinity if there are no keys or they cancel out.
///
/// Sum only keys whose possession was proved; otherwise a rogue key can cancel the others.
pub fn aggregate_keys(keys: &[PublicKey]) -> Result<PublicKey, PointError> {
    let points: Vec<_> = keys.iter().map(PublicKey::as_blst).collect();
    let sum = blst_sig::AggregatePublicKey::aggregate(&points, false).map_err(|_| PointError::Infinity)?;
    PublicKey::from_unchecked(sum.to_public_key())
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({})", self.to_compressed())
    }
}

#[cfg(test)]
mod tests {
    use dac_types::BatchDigest;

    use super::*;
    use crate::SecretKey;
    use proptest::prelude::*;

    fn key(seed: u8) -> PublicKey {
        SecretKey::derive(&[seed; 32]).public_key()
    }

    /// Returns the first x-coordinate that blst decodes to a point which `validate` refuses.
    fn compressed_outside_subgroup() -> PublicKeyBytes {
        (1..=u8::MAX)
            .map(|x| {
                let mut bytes = [0; 96];
                (bytes[0], bytes[95]) = (0x80, x);
                bytes
            })
            .find(|bytes| blst_sig::PublicKey::uncompress(bytes).is_ok_and(|point| point.validate().is_err()))
            .map(PublicKeyBytes)
            .unwrap()
    }

    #[test]
    fn both_encodings_round_trip() {
        for seed in 0..8 {
            let key = key(seed);
            assert_eq!(PublicKey::from_compressed(&key.to_compressed()), Ok(key));
            assert_eq!(PublicKey::from_eip2537(&key.to_eip2537()), Ok(key));
        }
    }

    #[test]
    fn eip2537_puts_c0_first() {
        let key = key(1);
        let (compressed, padded) = (key.to_compressed().0, key.to_eip2537());
        assert_eq!(padded[16..64], compressed[48..]);
        assert_eq!(padded[81..128], compressed[1..48], "all but the byte that carries the flags");
    }

    #[test]
    fn infinity_is_refused() {
        let mut compressed = [0; 96];
        compressed[0] = 0xc0;
        assert_eq!(PublicKey::from_compressed(&PublicKeyBytes(compressed)), Err(PointError::Infinity));
        assert_eq!(PublicKey::from_eip2537(&[0; 256]), Err(PointError::Infinity));
        assert_eq!(aggregate_keys(&[]), Err(PointError::Infinity));
        let key = key(1);
        let mut negated = key.to_compressed();
        negated.0[0] ^= 0x20;
        let negated = PublicKey::from_compressed(&negated).unwrap();
        assert_eq!(aggregate_keys(&[key, negated]), Err(PointError::Infinity));
    }

    #[test]
    fn points_off_the_curve_or_the_subgroup_are_refused() {
        assert_eq!(
            PublicKey::from_compressed(&compressed_outside_subgroup()),
            Err(PointError::NotInSubgroup)
        );
        let outside = blst_sig::PublicKey::uncompress(&compressed_outside_subgroup().0).unwrap();
        assert_eq!(
            PublicKey::from_eip2537(&pad(&outside.serialize(), COORDINATES)),
            Err(PointError::NotInSubgroup)
        );
        let mut off_curve = key(1).to_eip2537();
        off_curve[255] ^= 1;
        assert_eq!(PublicKey::from_eip2537(&off_curve), Err(PointError::NotOnCurve));
    }

    #[test]
    fn encodings_that_are_not_canonical_are_refused() {
        let key = key(1);
        let mut flags = key.to_compressed();
        flags.0[0] &= 0x7f;
        assert_eq!(PublicKey::from_compressed(&flags), Err(PointError::Encoding), "no compression flag");
        let mut infinity_with_tail = [0; 96];
        (infinity_with_tail[0], infinity_with_tail[95]) = (0xc0, 1);
        assert_eq!(
            PublicKey::from_compressed(&PublicKeyBytes(infinity_with_tail)),
            Err(PointError::Encoding)
        );
        let mut infinity_with_sign = [0; 96];
        infinity_with_sign[0] = 0xe0;
        assert!(PublicKey::from_compressed(&PublicKeyBytes(infinity_with_sign)).is_err());
        assert_eq!(PublicKey::from_compressed(&PublicKeyBytes([0xff; 96])), Err(PointError::Encoding));

        let mut padding = key.to_eip2537();
        padding[64] = 1;
        assert_eq!(PublicKey::from_eip2537(&padding), Err(PointError::Encoding));
        let mut beyond_modulus = key.to_eip2537();
        beyond_modulus[16..64].fill(0xff);
        assert_eq!(PublicKey::from_eip2537(&beyond_modulus), Err(PointError::Encoding));
    }

    #[test]
    fn a_rogue_key_cannot_prove_possession() {
        let domain = Domain { chain_id: 1, registry: Address::repeat_byte(7) };
        let operator = Address::repeat_byte(9);
        let (honest, attacker) = (key(1), SecretKey::derive(&[2; 32]));
        let mut negated = honest.to_compressed();
        negated.0[0] ^= 0x20;
        let negated = PublicKey::from_compressed(&negated).unwrap();
        let rogue = aggregate_keys(&[attacker.public_key(), negated]).unwrap();

        // In a sum the rogue key would work: the attacker alone could sign for both.
        let digest = BatchDigest([3; 32].into());
        let sum = aggregate_keys(&[honest, rogue]).unwrap();
        assert_eq!(sum.verify(&digest, &attacker.sign_digest(&digest)), Ok(()));
        // Therefore the registry must refuse to register such a key.
        let message = domain.possession_message(operator, &rogue.to_eip2537());
        let forged = attacker.sign_message(message.as_slice(), POSSESSION_DST);
        assert_eq!(rogue.verify_possession(&domain, operator, &forged), Err(BadSignature));
    }

    #[test]
    fn possession_is_bound_to_domain_operator_and_ciphersuite() {
        let domain = Domain { chain_id: 1, registry: Address::repeat_byte(7) };
        let operator = Address::repeat_byte(9);
        let secret = SecretKey::derive(&[1; 32]);
        let key = secret.public_key();
        let proof = secret.prove_possession(&domain, operator);
        assert_eq!(key.verify_possession(&domain, operator, &proof), Ok(()));
        let elsewhere = Domain { chain_id: 2, ..domain };
        assert_eq!(key.verify_possession(&elsewhere, operator, &proof), Err(BadSignature));
        assert_eq!(key.verify_possession(&domain, Address::repeat_byte(8), &proof), Err(BadSignature));
        let message = BatchDigest(domain.possession_message(operator, &key.to_eip2537()));
        assert_eq!(key.verify(&message, &proof), Err(BadSignature), "a proof is no attestation");
        assert_eq!(
            key.verify_possession(&domain, operator, &secret.sign_digest(&message)),
            Err(BadSignature)
        );
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]

        #[test]
        fn no_bytes_panic_the_decoders(bytes in proptest::collection::vec(any::<u8>(), 256), flags in any::<u8>()) {
            let mut compressed: [u8; 96] = bytes[..96].try_into().unwrap();
            compressed[0] = (compressed[0] & 0x1f) | (flags & 0xe0);
            let _ = PublicKey::from_compressed(&PublicKeyBytes(compressed));
            let mut padded: [u8; 256] = bytes.try_into().unwrap();
            let _ = PublicKey::from_eip2537(&padded);
            for element in padded.chunks_mut(64) {
                element[..16].fill(0);
                element[16] &= 0x0f;
            }
            prop_assert_eq!(PublicKey::from_eip2537(&padded), Err(PointError::NotOnCurve));
        }

        #[test]
        fn what_decodes_is_canonical(bit in 0_usize..768, seed in any::<u8>()) {
            let mut bytes = key(seed).to_compressed();
            bytes.0[bit / 8] ^= 1 << (bit % 8);
            if let Ok(decoded) = PublicKey::from_compressed(&bytes) {
                prop_assert_eq!(decoded.to_compressed(), bytes);
                prop_assert_ne!(decoded, key(seed));
            }
        }
    }
}
