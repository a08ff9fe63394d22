//! Signatures and sums of signatures, which are valid points of G1.

use std::fmt;

use blst::min_sig as blst_sig;
use dac_types::SignatureBytes;

use crate::eip2537::{pad, unpad};
use crate::error::PointError;

/// The length of a G1 point in EIP-2537 encoding, in bytes.
pub const G1_EIP2537_BYTES: usize = 128;

const COORDINATES: [usize; 2] = [0, 1];

/// A signature, or a sum of signatures. It is in the subgroup of G1 and not at infinity. Signers
/// and message are not known until it is verified.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Signature(blst_sig::Signature);

impl Signature {
    /// Decodes and validates the 48 bytes of the usual compressed encoding.
    pub fn from_compressed(bytes: &SignatureBytes) -> Result<Self, PointError> {
        let point = blst_sig::Signature::uncompress(&bytes.0).map_err(PointError::from_blst)?;
        let signature = Self::from_unchecked(point)?;
        if signature.to_compressed() == *bytes { Ok(signature) } else { Err(PointError::Encoding) }
    }

    /// Decodes and validates the 128 bytes of the EIP-2537 encoding, which L1 uses.
    pub fn from_eip2537(bytes: &[u8; G1_EIP2537_BYTES]) -> Result<Self, PointError> {
        if bytes.iter().all(|&byte| byte == 0) {
            return Err(PointError::Infinity);
        }
        let serialised: [u8; 96] = unpad(bytes, COORDINATES)?;
        Self::from_unchecked(blst_sig::Signature::deserialize(&serialised).map_err(PointError::from_blst)?)
    }

    pub(crate) fn from_unchecked(point: blst_sig::Signature) -> Result<Self, PointError> {
        point.validate(true).map_err(PointError::from_blst)?;
        Ok(Self(point))
    }

    /// Returns the usual compressed encoding.
    pub fn to_compressed(&self) -> SignatureBytes {
        SignatureBytes(self.0.compress())
    }

    /// Returns the EIP-2537 encoding, which L1 uses.
    pub fn to_eip2537(&self) -> [u8; G1_EIP2537_BYTES] {
        pad(&self.0.serialize(), COORDINATES)
    }

    pub(crate) const fn as_blst(&self) -> &blst_sig::Signature {
        &self.0
    }
}

/// Returns the sum of signatures over one message. The error is infinity if there are none or they
/// cancel out.
pub fn aggregate_signatures(signatures: &[Signature]) -> Result<Signature, PointError> {
    let points: Vec<_> = signatures.iter().map(Signature::as_blst).collect();
    let sum = blst_sig::AggregateSignature::aggregate(&points, false).map_err(|_| PointError::Infinity)?;
    Signature::from_unchecked(sum.to_signature())
}

impl fmt::Debug for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Signature({})", self.to_compressed())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{BadSignature, SecretKey};
    use dac_types::BatchDigest;
    use proptest::prelude::*;

    const DIGEST: BatchDigest = BatchDigest(dac_types::B256::repeat_byte(5));

    fn signature(seed: u8) -> Signature {
        SecretKey::derive(&[seed; 32]).sign_digest(&DIGEST)
    }

    fn compressed_outside_subgroup() -> SignatureBytes {
        (1..=u8::MAX)
            .map(|x| {
                let mut bytes = [0; 48];
                (bytes[0], bytes[47]) = (0x80, x);
                bytes
            })
            .find(|bytes| {
                blst_sig::Signature::uncompress(bytes).is_ok_and(|point| point.validate(true).is_err())
            })
            .map(SignatureBytes)
            .unwrap()
    }

    #[test]
    fn both_encodings_round_trip() {
        for seed in 0..8 {
            let signature = signature(seed);
            assert_eq!(Signature::from_compressed(&signature.to_compressed()), Ok(signature));
            assert_eq!(Signature::from_eip2537(&signature.to_eip2537()), Ok(signature));
        }
    }

    #[test]
    fn infinity_is_refused() {
        let mut compressed = [0; 48];
        compressed[0] = 0xc0;
        assert_eq!(Signature::from_compressed(&SignatureBytes(compressed)), Err(PointError::Infinity));
        assert_eq!(Signature::from_eip2537(&[0; 128]), Err(PointError::Infinity));
        assert_eq!(aggregate_signatures(&[]), Err(PointError::Infinity));
        let mut negated = signature(1).to_compressed();
        negated.0[0] ^= 0x20;
        let negated = Signature::from_compressed(&negated).unwrap();
        assert_eq!(aggregate_signatures(&[signature(1), negated]), Err(PointError::Infinity));
    }

    #[test]
    fn points_off_the_curve_or_the_subgroup_are_refused() {
        assert_eq!(
            Signature::from_compressed(&compressed_outside_subgroup()),
            Err(PointError::NotInSubgroup)
        );
        let outside = blst_sig::Signature::uncompress(&compressed_outside_subgroup().0).unwrap();
        assert_eq!(
            Signature::from_eip2537(&pad(&outside.serialize(), COORDINATES)),
            Err(PointError::NotInSubgroup)
        );
        let mut off_curve = signature(1).to_eip2537();
        off_curve[127] ^= 1;
        assert_eq!(Signature::from_eip2537(&off_curve), Err(PointError::NotOnCurve));
    }

    #[test]
    fn encodings_that_are_not_canonical_are_refused() {
        let mut flags = signature(1).to_compressed();
        flags.0[0] &= 0x7f;
        assert_eq!(Signature::from_compressed(&flags), Err(PointError::Encoding));
        let mut infinity_with_tail = [0; 48];
        (infinity_with_tail[0], infinity_with_tail[47]) = (0xc0, 1);
        assert_eq!(
            Signature::from_compressed(&SignatureBytes(infinity_with_tail)),
            Err(PointError::Encoding)
        );
        let mut padding = signature(1).to_eip2537();
        padding[0] = 1;
        assert_eq!(Signature::from_eip2537(&padding), Err(PointError::Encoding));
        let mut beyond_modulus = signature(1).to_eip2537();
        beyond_modulus[80..128].fill(0xff);
        assert_eq!(Signature::from_eip2537(&beyond_modulus), Err(PointError::Encoding));
    }

    #[test]
    fn a_signature_is_one_keys_over_one_digest() {
        let secret = SecretKey::derive(&[1; 32]);
        let other = SecretKey::derive(&[2; 32]).public_key();
        let signature = secret.sign_digest(&DIGEST);
        assert_eq!(secret.public_key().verify(&DIGEST, &signature), Ok(()));
        assert_eq!(other.verify(&DIGEST, &signature), Err(BadSignature));
        let another = BatchDigest(dac_types::B256::repeat_byte(6));
        assert_eq!(secret.public_key().verify(&another, &signature), Err(BadSignature));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]

        #[test]
        fn no_bytes_panic_the_decoders(bytes in proptest::collection::vec(any::<u8>(), 128), flags in any::<u8>()) {
            let mut compressed: [u8; 48] = bytes[..48].try_into().unwrap();
            compressed[0] = (compressed[0] & 0x1f) | (flags & 0xe0);
            let _ = Signature::from_compressed(&SignatureBytes(compressed));
            let mut padded: [u8; 128] = bytes.try_into().unwrap();
            let _ = Signature::from_eip2537(&padded);
            for element in padded.chunks_mut(64) {
                element[..16].fill(0);
                element[16] &= 0x0f;
            }
            prop_assert_eq!(Signature::from_eip2537(&padded), Err(PointError::NotOnCurve));
        }

        #[test]
        fn what_decodes_is_canonical(bit in 0_usize..384, seed in any::<u8>()) {
            let mut bytes = signature(seed).to_compressed();
            bytes.0[bit / 8] ^= 1 << (bit % 8);
            if let Ok(decoded) = Signature::from_compressed(&bytes) {
                prop_assert_eq!(decoded.to_compressed(), bytes);
                prop_assert_ne!(decoded, signature(seed));
            }
        }
    }
}
