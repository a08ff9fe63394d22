//! The prover's part of section 5: a check that a payload is the one that a public claim names, and
//! therefore the one that the committee's shards decode to.
//!
//! It is meant for zkVM guests: it uses no `std`, no Reed–Solomon code and no SIMD, and does not
//! branch on the payload. The points are public inputs that L1 derives from the certified header,
//! so a guest takes them from the claim unchecked.

use dac_types::limits::BLOCK_BYTES;
use dac_types::{B256, HashKind, PublicClaim, keccak256};
use sha2::{Digest, Sha256};
use thiserror::Error;

use crate::field::Element;
use crate::fingerprint::Fingerprint;
use crate::kernels::horner::Horner;

/// The reasons why a payload is not the one of a public claim.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum BindingError {
    /// The payload does not have the claimed length. Zeros at the end leave the fingerprint
    /// unchanged, so only this check notices them.
    #[error("the payload has {got} bytes, the claim says {expected}")]
    Length {
        /// The length in the claim, in bytes.
        expected: u64,
        /// The length of the payload, in bytes.
        got: u64,
    },
    /// The payload has another value at some point.
    #[error("the payload's fingerprint is {got}, the claim says {expected}")]
    PayloadFingerprint {
        /// The fingerprint in the claim.
        expected: Fingerprint,
        /// The fingerprint of the payload.
        got: Fingerprint,
    },
    /// The claim's hash is the rollup's own, and the caller did not compute it.
    #[error("the claim's hash is of kind OPAQUE: only the rollup's own program can compute it")]
    OpaqueHashMissing,
    /// The payload has another hash.
    #[error("the payload's {kind} hash is {got}, the claim says {expected}", kind = .kind.name())]
    BatchHash {
        /// The kind of the hash.
        kind: HashKind,
        /// The hash in the claim.
        expected: B256,
        /// The hash of the payload.
        got: B256,
    },
}

/// Checks all that section 5 demands of a prover about its payload: length, value at every point,
/// and hash.
///
/// For a claim of kind OPAQUE, the caller passes in `opaque_hash` the rollup's hash of *this
/// payload's* exact bytes, which it must compute and not copy from the claim. The other kinds are
/// hashed here and ignore `opaque_hash`.
///
/// # Example
///
/// ```
/// use bytes::Bytes;
/// use dac_coding::{Points, check_binding, encode, payload_hash};
/// use dac_types::{Address, B256, ClaimFields, Geometry, HashKind, PublicClaim};
///
/// let geometry = Geometry::new(7, 3)?;
/// let payload = Bytes::from_static(b"transactions of a rollup");
/// let (payload_length, hash_kind) = (payload.len() as u64, HashKind::Sha256);
/// let batch_hash = payload_hash(hash_kind, &payload).ok_or("a checked kind")?;
///
/// // The committee certifies the commitment. The settlement contract makes the claim of it.
/// let batch = encode(geometry, payload.clone(), batch_hash)?;
/// let committed = batch.commitment();
/// let points = Points::from_record(committed.shard_root, batch_hash, payload_length, geometry);
/// let claim = PublicClaim::new(ClaimFields {
///     old_state_root: B256::repeat_byte(1),
///     new_state_root: B256::repeat_byte(2),
///     chain_id: 1,
///     settlement: Address::repeat_byte(3),
///     batch_number: 1,
///     payload_length,
///     hash_kind,
///     batch_hash,
///     l1_inputs: B256::ZERO,
///     l1_outputs: B256::ZERO,
///     points: points.elements().flat_map(|alpha| alpha.to_bytes()).collect(),
///     payload_fingerprint: committed.payload_fingerprint.clone(),
/// })?;
///
/// assert!(check_binding(&payload, &claim, None).is_ok());
/// assert!(check_binding(b"transactions of another.", &claim, None).is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn check_binding(
    payload: &[u8],
    claim: &PublicClaim,
    opaque_hash: Option<B256>,
) -> Result<(), BindingError> {
    check_payload_fingerprint(payload, claim)?;
    check_batch_hash(payload, claim, opaque_hash)
}

/// Checks the length and the value at every point, but not the hash.
// This is a separate function in every build, so that its instructions can be counted.
#[inline(never)]
pub fn check_payload_fingerprint(payload: &[u8], claim: &PublicClaim) -> Result<(), BindingError> {
    let fields = claim.fields();
    let (expected, got) = (fields.payload_length, payload.len() as u64);
    if got != expected {
        return Err(BindingError::Length { expected, got });
    }
    let (points, _) = fields.points.as_chunks::<BLOCK_BYTES>();
    let mut polynomial = Horner::new(payload);
    let got =
        Fingerprint::from_elements(points.iter().map(|alpha| polynomial.at(Element::from_bytes(*alpha))));
    if got.as_bytes() == fields.payload_fingerprint {
        Ok(())
    } else {
        let (values, _) = fields.payload_fingerprint.as_chunks();
        let expected = Fingerprint::from_elements(values.iter().copied().map(Element::from_bytes));
        Err(BindingError::PayloadFingerprint { expected, got })
    }
}

fn check_batch_hash(
    payload: &[u8],
    claim: &PublicClaim,
    opaque_hash: Option<B256>,
) -> Result<(), BindingError> {
    let (kind, expected) = (claim.fields().hash_kind, claim.fields().batch_hash);
    let got = payload_hash(kind, payload).or(opaque_hash).ok_or(BindingError::OpaqueHashMissing)?;
    if got == expected { Ok(()) } else { Err(BindingError::BatchHash { kind, expected, got }) }
}

/// Returns the hash of the payload for a checked kind, or `None` for [`HashKind::Opaque`], which
/// only the rollup can compute.
///
/// # Example
///
/// ```
/// use dac_coding::payload_hash;
/// use dac_types::{HashKind, keccak256};
///
/// assert_eq!(payload_hash(HashKind::Keccak256, b"payload"), Some(keccak256(b"payload")));
/// assert_eq!(payload_hash(HashKind::Opaque, b"payload"), None);
/// ```
pub fn payload_hash(kind: HashKind, payload: &[u8]) -> Option<B256> {
    match kind {
        HashKind::Opaque => None,
        HashKind::Keccak256 => Some(keccak256(payload)),
        HashKind::Sha256 => Some(B256::new(Sha256::digest(payload).into())),
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;
    use alloc::vec::Vec;

    use dac_types::{Address, ClaimError, ClaimFields, Geometry};
    use proptest::prelude::*;

    use super::*;
    use crate::fingerprint::{Points, payload_fingerprint};

    const KINDS: [HashKind; 3] = [HashKind::Opaque, HashKind::Keccak256, HashKind::Sha256];

    /// Takes the place of a rollup's own hash. It covers the exact bytes with their length.
    fn own_hash(payload: &[u8]) -> B256 {
        keccak256([&payload.len().to_be_bytes(), payload].concat())
    }

    fn hash(kind: HashKind, payload: &[u8]) -> B256 {
        payload_hash(kind, payload).unwrap_or_else(|| own_hash(payload))
    }

    fn fields(n: u16, kind: HashKind, payload: &[u8]) -> ClaimFields {
        let geometry = Geometry::new(n, 1).unwrap();
        let (payload_length, batch_hash) = (payload.len() as u64, hash(kind, payload));
        let points = Points::from_record(B256::repeat_byte(9), batch_hash, payload_length, geometry);
        ClaimFields {
            old_state_root: B256::repeat_byte(1),
            new_state_root: B256::repeat_byte(2),
            chain_id: 3,
            settlement: Address::repeat_byte(4),
            batch_number: 5,
            payload_length,
            hash_kind: kind,
            batch_hash,
            l1_inputs: B256::repeat_byte(6),
            l1_outputs: B256::repeat_byte(7),
            points: points.elements().flat_map(Element::to_bytes).collect(),
            payload_fingerprint: payload_fingerprint(&points, payload).as_bytes().to_vec(),
        }
    }

    /// Checks the payload as a guest does, with its own hash if the kind is OPAQUE.
    fn check(payload: &[u8], fields: ClaimFields) -> Result<(), BindingError> {
        check_binding(payload, &PublicClaim::new(fields).unwrap(), Some(own_hash(payload)))
    }

    fn payload(length: usize) -> Vec<u8> {
        (0..length).map(|i| (i * i / 7 + 1).to_le_bytes()[0]).collect()
    }

    #[test]
    fn the_claimed_payload_passes_whatever_its_length_kind_and_points() {
        for kind in KINDS {
            for n in [2, 84, 85, 190, 191, 256] {
                for length in [1, 15, 16, 17, 672, 8191, 8192, 8193, 10_000] {
                    let payload = payload(length);
                    assert_eq!(check(&payload, fields(n, kind, &payload)), Ok(()), "{kind:?}, {n}, {length}");
                }
            }
        }
    }

    #[test]
    fn an_opaque_hash_has_to_be_computed_by_somebody() {
        let payload = payload(100);
        let claim = |kind| PublicClaim::new(fields(7, kind, &payload)).unwrap();
        let opaque = check_binding(&payload, &claim(HashKind::Opaque), None);
        assert_eq!(opaque, Err(BindingError::OpaqueHashMissing));
        assert_eq!(check_payload_fingerprint(&payload, &claim(HashKind::Opaque)), Ok(()));
        for kind in [HashKind::Keccak256, HashKind::Sha256] {
            assert_eq!(check_binding(&payload, &claim(kind), None), Ok(()));
            // For a checked kind, the hash that the caller passes is ignored.
            let claim = PublicClaim::new(ClaimFields { batch_hash: B256::ZERO, ..fields(7, kind, &payload) });
            let said = check_binding(&payload, &claim.unwrap(), Some(B256::ZERO));
            let got = hash(kind, &payload);
            assert_eq!(said, Err(BindingError::BatchHash { kind, expected: B256::ZERO, got }));
        }
    }

    #[test]
    fn every_field_that_speaks_of_the_payload_is_checked() {
        for kind in KINDS {
            for length in [40, 9000] {
                let payload = payload(length);
                let honest = fields(85, kind, &payload);
                let error = |change: &dyn Fn(&mut ClaimFields)| {
                    let mut fields = honest.clone();
                    change(&mut fields);
                    check(&payload, fields).unwrap_err()
                };
                for expected in [1, length as u64 - 1, length as u64 + 1, 64 << 20] {
                    let got = length as u64;
                    assert_eq!(
                        error(&|fields| fields.payload_length = expected),
                        BindingError::Length { expected, got }
                    );
                }
                for other in KINDS.into_iter().filter(|other| *other != kind) {
                    let (expected, got) = (hash(kind, &payload), hash(other, &payload));
                    assert_eq!(
                        error(&|fields| fields.hash_kind = other),
                        BindingError::BatchHash { kind: other, expected, got }
                    );
                }
                for byte in 0..32 {
                    assert!(matches!(
                        error(&|fields| fields.batch_hash[byte] ^= 1),
                        BindingError::BatchHash { .. }
                    ));
                }
                for byte in 0..48 {
                    let point = error(&|fields| fields.points[byte] ^= 0x80);
                    assert!(matches!(point, BindingError::PayloadFingerprint { .. }), "byte {byte}");
                    let value = error(&|fields| fields.payload_fingerprint[byte] ^= 1);
                    assert!(matches!(value, BindingError::PayloadFingerprint { .. }), "byte {byte}");
                }
                // Points and values must correspond, in their order.
                assert!(matches!(
                    error(&|fields| fields.payload_fingerprint.rotate_left(16)),
                    BindingError::PayloadFingerprint { .. }
                ));
            }
        }
    }

    #[test]
    fn every_other_field_is_in_what_the_guest_commits_to() {
        let payload = payload(40);
        let honest = fields(7, HashKind::Opaque, &payload);
        let changes: [fn(&mut ClaimFields); 7] = [
            |fields| fields.old_state_root[31] ^= 1,
            |fields| fields.new_state_root[31] ^= 1,
            |fields| fields.chain_id ^= 1,
            |fields| fields.settlement[19] ^= 1,
            |fields| fields.batch_number ^= 1,
            |fields| fields.l1_inputs[31] ^= 1,
            |fields| fields.l1_outputs[31] ^= 1,
        ];
        let encoded = |fields: &ClaimFields| PublicClaim::new(fields.clone()).unwrap().encode();
        for change in changes {
            let mut fields = honest.clone();
            change(&mut fields);
            assert_ne!(encoded(&fields), encoded(&honest));
            assert_eq!(check(&payload, fields), Ok(()), "not for the payload to tell");
        }
    }

    #[test]
    fn zeros_at_the_end_make_another_payload() {
        for kind in KINDS {
            for length in [30, 32, 3001] {
                let short = payload(length);
                let long = [&short[..], &[0]].concat();
                let honest = fields(7, kind, &short);
                let lengths = (length as u64, length as u64 + 1);
                let (expected, got) = lengths;
                assert_eq!(check(&long, honest.clone()), Err(BindingError::Length { expected, got }));

                // The fingerprints are equal, so only the hash tells the payloads apart.
                let longer = ClaimFields { payload_length: got, ..honest.clone() };
                let (got, expected) = (hash(kind, &long), hash(kind, &short));
                assert_eq!(
                    check(&long, longer.clone()),
                    Err(BindingError::BatchHash { kind, expected, got })
                );
                let (got, expected) = lengths;
                assert_eq!(check(&short, longer), Err(BindingError::Length { got, expected }));
            }
        }
    }

    #[test]
    fn points_are_whole_and_as_many_as_the_values() {
        let payload = payload(40);
        let honest = fields(7, HashKind::Opaque, &payload);
        for got in [0, 16, 31, 33, 80] {
            let fields = ClaimFields { points: vec![1; got], ..honest.clone() };
            assert_eq!(PublicClaim::new(fields), Err(ClaimError::PointsLength { got }));
        }
        let fields = ClaimFields { points: [&honest.points[..], &[1; 16]].concat(), ..honest.clone() };
        assert_eq!(PublicClaim::new(fields), Err(ClaimError::FingerprintLength { expected: 48, got: 32 }));
    }

    #[test]
    fn points_of_a_claim_give_the_same_fingerprint() {
        for length in [1, 16, 5000] {
            let payload = payload(length);
            let claim = PublicClaim::new(fields(191, HashKind::Sha256, &payload)).unwrap();
            let points = Points::from_claim(&claim);
            assert_eq!(points.count(), 4);
            let fingerprint = payload_fingerprint(&points, &payload);
            assert_eq!(fingerprint.as_bytes(), claim.fields().payload_fingerprint);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn another_payload_of_the_same_length_is_refused(
            payload in proptest::collection::vec(any::<u8>(), 1..5000),
            position in any::<proptest::sample::Index>(),
            flip in 1_u8..,
        ) {
            let mut other = payload.clone();
            other[position.index(payload.len())] ^= flip;
            for kind in KINDS {
                let is_refused = matches!(
                    check(&other, fields(7, kind, &payload)),
                    Err(BindingError::PayloadFingerprint { .. })
                );
                prop_assert!(is_refused);
            }
        }
    }
}
