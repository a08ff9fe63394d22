//! A claim as L1 assembles it for a certified batch.

use bytes::Bytes;
use dac_coding::{CodingError, Points, encode};
use dac_types::{Address, B256, ClaimFields, Geometry, HashKind, PublicClaim};

/// Number of seats and rebuilding threshold of the committee.
const COMMITTEE: (u16, u16) = (7, 3);

/// Returns the claim about a payload with a hash of kind OPAQUE. Fingerprint and points are those
/// to which a disperser commits.
pub(crate) fn of(payload: &Bytes, batch_hash: B256) -> Result<PublicClaim, CodingError> {
    let (n, k) = COMMITTEE;
    let geometry = Geometry::new(n, k)?;
    let payload_length = payload.len() as u64;
    let encoded = encode(geometry, payload.clone(), batch_hash)?;
    let committed = encoded.commitment();
    let points = Points::from_record(committed.shard_root, batch_hash, payload_length, geometry);
    let claim = PublicClaim::new(ClaimFields {
        old_state_root: B256::repeat_byte(1),
        new_state_root: B256::repeat_byte(2),
        chain_id: 1,
        settlement: Address::repeat_byte(3),
        batch_number: 1,
        payload_length,
        hash_kind: HashKind::Opaque,
        batch_hash,
        l1_inputs: B256::ZERO,
        l1_outputs: B256::ZERO,
        points: points.elements().flat_map(|alpha| alpha.to_bytes()).collect(),
        payload_fingerprint: committed.payload_fingerprint.clone(),
    });
    Ok(claim.expect("an encoded batch has a claim"))
}
