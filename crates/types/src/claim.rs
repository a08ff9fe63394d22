//! The public claim: the statement that a validity proof must prove. L1 assembles the same claim
//! from its own storage. See section 5.

use alloc::vec::Vec;

use alloy_primitives::{Address, B256, b256};
use thiserror::Error;

use crate::geometry::{GeometryError, check_payload_length};
use crate::header::{HashKind, UnknownHashKind};
use crate::limits::{BLOCK_BYTES, FINGERPRINT_MAX_POINTS, FINGERPRINT_MIN_POINTS};
use crate::signing_domain::{ROLLUP_LABEL, StructHash};

/// The length of the part of the canonical encoding before the points, including the byte for their
/// number.
const FIXED_BYTES: usize = 5 * 32 + 3 * 8 + 20 + 1 + 1;
/// Bytes in one packed input. Any 31 bytes, read as an integer, are below the order of BN254's
/// scalar field.
const PIECE_BYTES: usize = 31;
/// The length of the domain in the packed context, in bytes.
const DOMAIN_BYTES: usize = 16;
/// The order of BN254's scalar field, big-endian.
pub const BN254_ORDER: B256 = b256!("30644e72e131a029b85045b68181585d2833e84879b9709143e1f593f0000001");

/// The reasons why fields are not a valid public claim, or bytes not the encoding of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ClaimError {
    /// The payload length is not between 1 byte and 64 MiB.
    #[error(transparent)]
    PayloadLength(#[from] GeometryError),
    /// The hash kind is unknown.
    #[error(transparent)]
    HashKind(#[from] UnknownHashKind),
    /// The length of the points is not a multiple of 16 bytes, or no committee has this number of
    /// points.
    #[error(
        "points have 16t bytes with t from {FINGERPRINT_MIN_POINTS} to {FINGERPRINT_MAX_POINTS}, got {got}"
    )]
    PointsLength {
        /// The length of the points that were received, in bytes.
        got: usize,
    },
    /// The fingerprint does not have one value of 16 bytes for each point.
    #[error("payloadFingerprint must have {expected} bytes, as many as the points, got {got}")]
    FingerprintLength {
        /// The length of the points in bytes, which the fingerprint must have too.
        expected: usize,
        /// The length of the fingerprint that was received, in bytes.
        got: usize,
    },
    /// The encoding is cut short, or further bytes follow it.
    #[error("the encoding of such a claim has {expected} bytes, got {got}")]
    EncodingLength {
        /// The length that the encoding must have, in bytes.
        expected: usize,
        /// The length that was received, in bytes.
        got: usize,
    },
}

/// A Groth16 input that is not below the field's order, so that the field would reduce it to a
/// different number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("input {index} of the proof must be below the field's order, got {value}")]
pub struct InputNotInField {
    /// The index among the inputs, from 0.
    pub index: usize,
    /// The input as a big-endian integer.
    pub value: B256,
}

/// The fields of a public claim, before their lengths are checked.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ClaimFields {
    /// The state root before the batch. L1 takes it from its own storage.
    pub old_state_root: B256,
    /// The state root after the batch.
    pub new_state_root: B256,
    /// The EIP-155 chain id of L1.
    pub chain_id: u64,
    /// The rollup's settlement contract.
    pub settlement: Address,
    /// The rollup's own number of the batch. L1 takes it from its own storage.
    pub batch_number: u64,
    /// The length L of the payload in bytes.
    pub payload_length: u64,
    /// How `batch_hash` commits to the payload.
    pub hash_kind: HashKind,
    /// The rollup's commitment to the payload.
    pub batch_hash: B256,
    /// The commitment to all L1 inputs (deposits, exit requests) that were consumed by this batch
    /// and those before it.
    pub l1_inputs: B256,
    /// The commitment to what the batch pays out on L1 (withdrawals).
    pub l1_outputs: B256,
    /// α_0 ‖ … ‖ α_{t−1}: 16t bytes, which L1 derives from the certified header.
    pub points: Vec<u8>,
    /// The payload's value at each point: 16t bytes.
    pub payload_fingerprint: Vec<u8>,
}

/// A public claim whose lengths have been checked. Each claim has exactly one encoding.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PublicClaim(ClaimFields);

impl PublicClaim {
    /// Checks the payload length, the number of points and the number of values.
    pub fn new(fields: ClaimFields) -> Result<Self, ClaimError> {
        check_payload_length(fields.payload_length)?;
        let got = fields.points.len();
        if !got.is_multiple_of(BLOCK_BYTES)
            || !(FINGERPRINT_MIN_POINTS..=FINGERPRINT_MAX_POINTS).contains(&(got / BLOCK_BYTES))
        {
            return Err(ClaimError::PointsLength { got });
        }
        let expected = got;
        let got = fields.payload_fingerprint.len();
        if got != expected {
            return Err(ClaimError::FingerprintLength { expected, got });
        }
        Ok(Self(fields))
    }

    /// Returns the fields of the claim.
    pub const fn fields(&self) -> &ClaimFields {
        &self.0
    }

    /// Returns the fields, for example to build a different claim from them.
    pub fn into_fields(self) -> ClaimFields {
        self.0
    }

    /// Returns the number t of points.
    pub fn point_count(&self) -> usize {
        self.0.points.len() / BLOCK_BYTES
    }

    /// Returns the canonical encoding, which is the public values of an SP1 guest and the journal
    /// of a RISC Zero guest. Integers are big-endian; numbers below are lengths in bytes.
    ///
    /// ```text
    /// oldStateRoot 32 | newStateRoot 32 | chainId 8 | settlement 20 | batchNumber 8
    /// | payloadLength 8 | hashKind 1 | batchHash 32 | l1Inputs 32 | l1Outputs 32
    /// | t 1 | points 16t | payloadFingerprint 16t
    /// ```
    pub fn encode(&self) -> Vec<u8> {
        let fields = &self.0;
        let mut bytes = Vec::with_capacity(encoded_bytes(self.point_count()));
        bytes.extend_from_slice(fields.old_state_root.as_slice());
        bytes.extend_from_slice(fields.new_state_root.as_slice());
        bytes.extend_from_slice(&fields.chain_id.to_be_bytes());
        bytes.extend_from_slice(fields.settlement.as_slice());
        bytes.extend_from_slice(&fields.batch_number.to_be_bytes());
        bytes.extend_from_slice(&fields.payload_length.to_be_bytes());
        bytes.push(fields.hash_kind as u8);
        bytes.extend_from_slice(fields.batch_hash.as_slice());
        bytes.extend_from_slice(fields.l1_inputs.as_slice());
        bytes.extend_from_slice(fields.l1_outputs.as_slice());
        bytes.push(u8::try_from(self.point_count()).expect("at most 4"));
        bytes.extend_from_slice(&fields.points);
        bytes.extend_from_slice(&fields.payload_fingerprint);
        bytes
    }

    /// Decodes the canonical encoding. Bytes that are missing or left over are an error.
    pub fn decode(bytes: &[u8]) -> Result<Self, ClaimError> {
        let mut reader = Reader(bytes);
        Self::read(&mut reader).unwrap_or(Err(ClaimError::EncodingLength {
            expected: encoded_bytes(FINGERPRINT_MIN_POINTS),
            got: bytes.len(),
        }))
    }

    /// Reads a claim. The result is `None` if the bytes end before the number of points.
    fn read(reader: &mut Reader<'_>) -> Option<Result<Self, ClaimError>> {
        let got = reader.0.len();
        let old_state_root = B256::new(reader.array()?);
        let new_state_root = B256::new(reader.array()?);
        let chain_id = reader.number()?;
        let settlement = Address::new(reader.array()?);
        let batch_number = reader.number()?;
        let payload_length = reader.number()?;
        let [hash_kind] = reader.array()?;
        let batch_hash = B256::new(reader.array()?);
        let l1_inputs = B256::new(reader.array()?);
        let l1_outputs = B256::new(reader.array()?);
        let [point_count] = reader.array()?;

        let hash_kind = match HashKind::try_from(u64::from(hash_kind)) {
            Ok(hash_kind) => hash_kind,
            Err(error) => return Some(Err(error.into())),
        };
        let point_count = usize::from(point_count);
        if !(FINGERPRINT_MIN_POINTS..=FINGERPRINT_MAX_POINTS).contains(&point_count) {
            return Some(Err(ClaimError::PointsLength { got: point_count * BLOCK_BYTES }));
        }
        let expected = encoded_bytes(point_count);
        if got != expected {
            return Some(Err(ClaimError::EncodingLength { expected, got }));
        }
        let (points, payload_fingerprint) = reader.0.split_at(point_count * BLOCK_BYTES);
        Some(Self::new(ClaimFields {
            old_state_root,
            new_state_root,
            chain_id,
            settlement,
            batch_number,
            payload_length,
            hash_kind,
            batch_hash,
            l1_inputs,
            l1_outputs,
            points: points.to_vec(),
            payload_fingerprint: payload_fingerprint.to_vec(),
        }))
    }

    /// Returns the domain, which ties a proof to one rollup on one chain: the first 16 bytes of
    /// keccak256(abi.encode(keccak256("dac/v1/rollup"), chainId, settlement)).
    pub fn domain(&self) -> [u8; DOMAIN_BYTES] {
        Self::domain_of(self.0.chain_id, self.0.settlement)
    }

    /// Returns the domain of a rollup without a claim. Users of a rollup sign it.
    pub fn domain_of(chain_id: u64, settlement: Address) -> [u8; DOMAIN_BYTES] {
        let hash = StructHash::new(ROLLUP_LABEL).number(chain_id).address(settlement).finish();
        *hash.first_chunk().expect("a hash is longer than the domain")
    }

    /// Returns the packed context: points ‖ payloadFingerprint ‖ u64 batchNumber ‖ u32
    /// payloadLength ‖ domain, cut into pieces of 31 bytes. Each piece is a little-endian integer
    /// of 32 bytes whose last byte is zero, so it is below the field's order. At t = 2 there are
    /// three pieces.
    pub fn groth16_context(&self) -> Vec<[u8; 32]> {
        let fields = &self.0;
        let payload_length = u32::try_from(fields.payload_length).expect("at most 64 MiB");
        let mut context = Vec::with_capacity(2 * fields.points.len() + 8 + 4 + DOMAIN_BYTES);
        context.extend_from_slice(&fields.points);
        context.extend_from_slice(&fields.payload_fingerprint);
        context.extend_from_slice(&fields.batch_number.to_be_bytes());
        context.extend_from_slice(&payload_length.to_be_bytes());
        context.extend_from_slice(&self.domain());
        let pieces = context.chunks(PIECE_BYTES).map(|bytes| {
            let mut piece = [0; 32];
            piece[..bytes.len()].copy_from_slice(bytes);
            piece
        });
        pieces.collect()
    }

    /// Returns all inputs of a Groth16 proof over BN254 as little-endian integers: the old and the
    /// new state root, batchHash, l1Inputs and l1Outputs (which are big-endian words on L1), then
    /// the packed context. A word that is not below the field's order is an error. A checked hash
    /// has 256 bits, more than an element of the field, so it takes two inputs: its first 16 bytes
    /// and its last 16.
    pub fn groth16_inputs(&self) -> Result<Vec<[u8; 32]>, InputNotInField> {
        let ClaimFields { old_state_root, new_state_root, batch_hash, l1_inputs, l1_outputs, .. } = self.0;
        let mut words = Vec::with_capacity(6);
        words.extend([old_state_root, new_state_root]);
        if self.0.hash_kind.is_checked() {
            words.extend(batch_hash.chunks(16).map(B256::left_padding_from));
        } else {
            words.push(batch_hash);
        }
        words.extend([l1_inputs, l1_outputs]);
        let mut inputs = Vec::with_capacity(words.len() + 6);
        for (index, value) in words.into_iter().enumerate() {
            if value >= BN254_ORDER {
                return Err(InputNotInField { index, value });
            }
            let mut little_endian = value.0;
            little_endian.reverse();
            inputs.push(little_endian);
        }
        inputs.extend(self.groth16_context());
        Ok(inputs)
    }
}

const fn encoded_bytes(point_count: usize) -> usize {
    FIXED_BYTES + 2 * point_count * BLOCK_BYTES
}

/// The bytes that are still to be read.
struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (array, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*array)
    }

    fn number(&mut self) -> Option<u64> {
        self.array().map(u64::from_be_bytes)
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use alloy_primitives::keccak256;
    use proptest::prelude::*;

    use super::*;
    use crate::limits::PAYLOAD_MAX_BYTES;

    fn claim(point_count: usize) -> PublicClaim {
        PublicClaim::new(ClaimFields {
            old_state_root: B256::repeat_byte(1),
            new_state_root: B256::repeat_byte(2),
            chain_id: 0x0102_0304_0506_0708,
            settlement: Address::repeat_byte(3),
            batch_number: 0x1112_1314_1516_1718,
            payload_length: 0x0203_0405,
            hash_kind: HashKind::Sha256,
            batch_hash: B256::repeat_byte(4),
            l1_inputs: B256::repeat_byte(5),
            l1_outputs: B256::repeat_byte(6),
            points: (0..16 * point_count).map(|i| i.to_le_bytes()[0]).collect(),
            payload_fingerprint: vec![0xEE; 16 * point_count],
        })
        .unwrap()
    }

    /// Returns the claim with one change made to its fields.
    fn changed(change: impl FnOnce(&mut ClaimFields)) -> Result<PublicClaim, ClaimError> {
        let mut fields = claim(2).into_fields();
        change(&mut fields);
        PublicClaim::new(fields)
    }

    #[test]
    fn every_field_has_its_place() {
        let bytes = claim(2).encode();
        assert_eq!(bytes.len(), 206 + 64);
        assert_eq!(bytes[..32], [1; 32]);
        assert_eq!(bytes[32..64], [2; 32]);
        assert_eq!(bytes[64..72], [1, 2, 3, 4, 5, 6, 7, 8]);
        assert_eq!(bytes[72..92], [3; 20]);
        assert_eq!(bytes[92..100], [0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17, 0x18]);
        assert_eq!(bytes[100..108], [0, 0, 0, 0, 2, 3, 4, 5]);
        assert_eq!(bytes[108], 2);
        assert_eq!(bytes[109..141], [4; 32]);
        assert_eq!(bytes[141..173], [5; 32]);
        assert_eq!(bytes[173..205], [6; 32]);
        assert_eq!(bytes[205], 2);
        assert_eq!(bytes[206..238], core::array::from_fn::<u8, 32, _>(|i| i.to_le_bytes()[0]));
        assert_eq!(bytes[238..], [0xEE; 32]);
    }

    #[test]
    fn what_is_encoded_decodes_and_nothing_shorter_or_longer() {
        for point_count in 2..=4 {
            let claim = claim(point_count);
            let bytes = claim.encode();
            assert_eq!(PublicClaim::decode(&bytes), Ok(claim));
            for got in 0..bytes.len() {
                // If the number of points is cut off too, the error names the length of the
                // shortest claim.
                let expected = if got < FIXED_BYTES { 270 } else { bytes.len() };
                let error = ClaimError::EncodingLength { expected, got };
                assert_eq!(PublicClaim::decode(&bytes[..got]), Err(error));
            }
            let longer = [&bytes[..], &[0]].concat();
            let error = ClaimError::EncodingLength { expected: bytes.len(), got: bytes.len() + 1 };
            assert_eq!(PublicClaim::decode(&longer), Err(error));
        }
    }

    #[test]
    fn lengths_out_of_bounds_are_refused() {
        for got in [0, 15, 16, 31, 33, 80] {
            let error = changed(|fields| fields.points = vec![0; got]);
            assert_eq!(error, Err(ClaimError::PointsLength { got }));
        }
        for got in [0, 16, 31, 33, 48] {
            let error = changed(|fields| fields.payload_fingerprint = vec![0; got]);
            assert_eq!(error, Err(ClaimError::FingerprintLength { expected: 32, got }));
        }
        for got in [0, PAYLOAD_MAX_BYTES + 1, 1 << 32, (1 << 32) + 5, u64::MAX] {
            let error = changed(|fields| fields.payload_length = got);
            assert_eq!(error, Err(ClaimError::PayloadLength(GeometryError::PayloadLength { got })));
        }
    }

    #[test]
    fn encodings_of_no_claim_are_refused() {
        let bytes = claim(2).encode();
        let with = |position: usize, value: u8| {
            let mut bytes = bytes.clone();
            bytes[position] = value;
            PublicClaim::decode(&bytes)
        };
        assert_eq!(with(108, 3), Err(ClaimError::HashKind(UnknownHashKind(3))));
        assert_eq!(with(205, 1), Err(ClaimError::PointsLength { got: 16 }));
        assert_eq!(with(205, 5), Err(ClaimError::PointsLength { got: 80 }));
        assert_eq!(with(205, 3), Err(ClaimError::EncodingLength { expected: 302, got: 270 }));
        let got = 0x0100_0000_0203_0405;
        assert_eq!(
            with(100, 1),
            Err(ClaimError::PayloadLength(GeometryError::PayloadLength { got })),
            "not what 32 bits of it are"
        );
    }

    #[test]
    fn the_domain_is_the_hash_of_three_words() {
        let claim = claim(2);
        let mut words = [0; 96];
        words[..32].copy_from_slice(keccak256("dac/v1/rollup").as_slice());
        words[56..64].copy_from_slice(&[1, 2, 3, 4, 5, 6, 7, 8]);
        words[76..].copy_from_slice(&[3; 20]);
        assert_eq!(claim.domain(), keccak256(words)[..16]);
    }

    #[test]
    fn the_context_is_cut_in_pieces_below_the_order() {
        for (point_count, pieces) in [(2, 3), (3, 4), (4, 6)] {
            let mut fields = claim(point_count).into_fields();
            fields.hash_kind = HashKind::Opaque;
            let claim = PublicClaim::new(fields).unwrap();
            let context = claim.groth16_context();
            assert_eq!(context.len(), pieces);
            let inputs = claim.groth16_inputs().unwrap();
            assert_eq!(inputs[..5], [1, 2, 4, 5, 6].map(|byte| [byte; 32]));
            assert_eq!(inputs[5..], context);

            let (bytes, padding): (Vec<u8>, Vec<u8>) = {
                let joined: Vec<u8> = context.iter().flat_map(|piece| piece[..31].iter().copied()).collect();
                let (bytes, padding) = joined.split_at(32 * point_count + 28);
                (bytes.to_vec(), padding.to_vec())
            };
            assert!(context.iter().all(|piece| piece[31] == 0));
            assert!(padding.iter().all(|byte| *byte == 0));
            let fields = claim.fields();
            let expected = [
                &fields.points[..],
                &fields.payload_fingerprint,
                &[0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17, 0x18],
                &[2, 3, 4, 5],
                &claim.domain(),
            ]
            .concat();
            assert_eq!(bytes, expected);
        }
    }

    #[test]
    fn words_of_the_order_or_more_are_no_inputs() {
        let below =
            B256::from(alloy_primitives::U256::from_be_bytes(BN254_ORDER.0) - alloy_primitives::U256::ONE);
        let places: [fn(&mut ClaimFields) -> &mut B256; 5] = [
            |fields| &mut fields.old_state_root,
            |fields| &mut fields.new_state_root,
            |fields| &mut fields.batch_hash,
            |fields| &mut fields.l1_inputs,
            |fields| &mut fields.l1_outputs,
        ];
        let opaque = |place: fn(&mut ClaimFields) -> &mut B256, value| {
            let change = |fields: &mut ClaimFields| {
                fields.hash_kind = HashKind::Opaque;
                *place(fields) = value;
            };
            changed(change).unwrap()
        };
        for (index, place) in places.into_iter().enumerate() {
            for value in [BN254_ORDER, B256::repeat_byte(0xFF)] {
                let claim = opaque(place, value);
                assert_eq!(claim.groth16_inputs(), Err(InputNotInField { index, value }));
            }
            let claim = opaque(place, below);
            let mut input = claim.groth16_inputs().unwrap()[index];
            input.reverse();
            assert_eq!(input, below.0, "big-endian on L1");
        }
    }

    #[test]
    fn a_checked_hash_takes_two_inputs_of_sixteen_bytes() {
        for kind in [HashKind::Keccak256, HashKind::Sha256] {
            let claim = changed(|fields| {
                fields.hash_kind = kind;
                fields.batch_hash = B256::repeat_byte(0xFF);
                fields.batch_hash.0[0] = 0xEE;
            })
            .unwrap();
            let inputs = claim.groth16_inputs().unwrap();
            let mut halves = [[0; 32]; 2];
            halves[0][..15].fill(0xFF);
            halves[0][15] = 0xEE;
            halves[1][..16].fill(0xFF);
            assert_eq!(inputs[2..4], halves);
            assert_eq!(inputs[6..], claim.groth16_context());
        }
    }

    proptest! {
        #[test]
        fn no_two_encodings_decode_to_one_claim(position in 0_usize..334, flip in 1_u8..) {
            let claim = claim(4);
            let mut bytes = claim.encode();
            bytes[position] ^= flip;
            if let Ok(other) = PublicClaim::decode(&bytes) {
                prop_assert_ne!(&other, &claim);
                prop_assert_eq!(other.encode(), bytes);
            }
        }

        #[test]
        fn whatever_decodes_encodes_to_the_same(bytes in proptest::collection::vec(any::<u8>(), 200..340)) {
            if let Ok(claim) = PublicClaim::decode(&bytes) {
                prop_assert_eq!(claim.encode(), bytes);
            }
        }
    }
}
