//! Malicious dispersers for tests: what each commits to, what it sends to every seat, and what must
//! follow.
//!
//! A [`Dispersal`] is complete: a test fills a header from it, signs the header as any disperser
//! would, and sends it to live members.

use bytes::Bytes;
use dac_types::{
    Address, B256, BatchHeader, BatchSubmission, EcdsaSignature, Geometry, HashKind, Record, RowFingerprints,
    Seat, SignedSubmission,
};
use sha2::{Digest, Sha256};

use crate::encode::{CodingError, Commitment, encode};
use crate::fingerprint::{Points, fingerprint, fingerprints_hash, payload_fingerprint_of_rows};
use crate::merkle::ShardTree;

/// Everything that an honest or malicious disperser sends.
#[derive(Clone, Debug)]
pub struct Dispersal {
    /// The name of the attack in the vectors and in reports.
    pub name: &'static str,
    /// n and k of the committee.
    pub geometry: Geometry,
    /// The length in the header, in bytes.
    pub payload_length: u64,
    /// The batch hash in the header.
    pub batch_hash: B256,
    /// The commitment in header and record.
    pub commitment: Commitment,
    /// The bytes that each seat is sent as its shard.
    pub shards: Vec<Bytes>,
    /// The bytes that each seat is sent as z. They are the committed z except in the attack that
    /// varies them.
    pub row_fingerprints: Vec<RowFingerprints>,
    /// Exactly the seats whose member's check succeeds.
    pub seats_that_pass: Vec<Seat>,
    /// The payload that any k passing shards decode to. `None` if the verdict is MALFORMED or if
    /// fewer than k shards pass.
    pub payload: Option<Bytes>,
}

impl Dispersal {
    fn new(
        name: &'static str,
        geometry: Geometry,
        payload_length: u64,
        batch_hash: B256,
        shards: Vec<Bytes>,
    ) -> Result<Self, CodingError> {
        let shard_hashes = shards.iter().map(|shard| ShardTree::of_shard(shard).root()).collect();
        let commitment = Commitment::new(geometry, payload_length, batch_hash, shard_hashes, |points| {
            let rows = &shards[..usize::from(geometry.k())];
            rows.iter().flat_map(|row| fingerprint(points, row).as_bytes().to_vec()).collect()
        })?;
        Ok(Self {
            name,
            geometry,
            payload_length,
            batch_hash,
            row_fingerprints: vec![commitment.row_fingerprints.clone(); usize::from(geometry.n())],
            commitment,
            shards,
            seats_that_pass: Seat::all(geometry.n()).collect(),
            payload: None,
        })
    }

    fn points(&self) -> Points {
        Points::from_record(self.commitment.shard_root, self.batch_hash, self.payload_length, self.geometry)
    }

    /// Replaces the committed z, and everything that is computed from it.
    fn commit_to_row_fingerprints(&mut self, z: Vec<u8>) -> Result<(), CodingError> {
        let shard_length = self.geometry.shard_length(self.payload_length)?;
        let sum = payload_fingerprint_of_rows(&self.points(), shard_length, &z);
        self.commitment.payload_fingerprint = sum.as_bytes().to_vec();
        self.commitment.fingerprints_hash = fingerprints_hash(&z);
        self.commitment.row_fingerprints = RowFingerprints::new(self.geometry, z)?;
        self.row_fingerprints =
            vec![self.commitment.row_fingerprints.clone(); usize::from(self.geometry.n())];
        Ok(())
    }

    /// Writes length, hash and commitment into a header. The caller sets the other fields.
    pub fn fill(&self, header: &mut BatchHeader) {
        header.payload_length = self.payload_length;
        header.batch_hash = self.batch_hash;
        header.shard_root = self.commitment.shard_root;
        header.fingerprints_hash = self.commitment.fingerprints_hash;
        header.payload_fingerprint.clone_from(&self.commitment.payload_fingerprint);
    }

    /// Returns the record as `seat` gets it, under a header that was filled from this dispersal.
    pub fn record(
        &self,
        seat: Seat,
        header: BatchHeader,
        submission: SignedSubmission,
        disperser_signature: EcdsaSignature,
    ) -> Record {
        Record {
            header,
            shard_hashes: self.commitment.shard_hashes.clone(),
            row_fingerprints: self.row_fingerprints[seat.index()].clone(),
            submission,
            disperser_signature,
            certificate: None,
        }
    }

    /// Returns the record with placeholders for the rest of the header, the submission and the
    /// signatures, for checks that look at none of them.
    pub fn unsigned_record(&self, seat: Seat) -> Record {
        let mut header = BatchHeader {
            rollup: Address::repeat_byte(0x11),
            batch_number: 1,
            epoch: 1,
            expires_at: 2_000_000_000,
            payload_length: 0,
            hash_kind: HashKind::Opaque,
            batch_hash: B256::ZERO,
            shard_root: B256::ZERO,
            fingerprints_hash: B256::ZERO,
            payload_fingerprint: Vec::new(),
        };
        self.fill(&mut header);
        let submission = BatchSubmission {
            rollup: header.rollup,
            batch_number: header.batch_number,
            payload_length: header.payload_length,
            expires_at: header.expires_at,
            hash_kind: header.hash_kind,
            batch_hash: header.batch_hash,
            replaces: B256::ZERO,
            disperser: Address::repeat_byte(0x22),
            submit_before: header.expires_at,
        };
        let mut signature = [1; 65];
        signature[64] = 27;
        let signature = EcdsaSignature::try_from(&signature[..]).expect("well-formed, if nobody's");
        self.record(seat, header, SignedSubmission { submission, signature }, signature)
    }
}

/// Returns bytes that look random and are the same in every run.
pub fn noise(seed: u64, length: usize) -> Vec<u8> {
    (0_u64..)
        .flat_map(|block| {
            let hash: [u8; 32] = Sha256::new()
                .chain_update(seed.to_be_bytes())
                .chain_update(block.to_be_bytes())
                .finalize()
                .into();
            hash
        })
        .take(length)
        .collect()
}

fn all_shards(geometry: Geometry, payload: Bytes, batch_hash: B256) -> Result<Vec<Bytes>, CodingError> {
    let encoded = encode(geometry, payload, batch_hash)?;
    Ok(Seat::all(geometry.n()).map(|seat| encoded.shard(seat)).collect())
}

/// Makes an honest dispersal: every seat passes, and the shards decode to the payload.
pub fn honest(geometry: Geometry, payload: Bytes, batch_hash: B256) -> Result<Dispersal, CodingError> {
    let shards = all_shards(geometry, payload.clone(), batch_hash)?;
    let mut dispersal = Dispersal::new("honest", geometry, payload.len() as u64, batch_hash, shards)?;
    dispersal.payload = Some(payload);
    Ok(dispersal)
}

/// Commits to garbage for one parity seat. The other seats pass and decode to the payload; that
/// seat can never be repaired.
///
/// # Panics
///
/// It panics if the seat holds a data row or does not exist.
pub fn bad_seat(
    geometry: Geometry,
    payload: Bytes,
    batch_hash: B256,
    seat: Seat,
) -> Result<Dispersal, CodingError> {
    assert!(seat.index() >= usize::from(geometry.k()), "fingerprints would be taken of the garbage");
    let mut shards = all_shards(geometry, payload.clone(), batch_hash)?;
    let length = shards[seat.index()].len();
    shards[seat.index()] = noise(0xBAD, length).into();
    let mut dispersal = Dispersal::new("bad_seat", geometry, payload.len() as u64, batch_hash, shards)?;
    dispersal.seats_that_pass.retain(|passing| *passing != seat);
    dispersal.payload = Some(payload);
    Ok(dispersal)
}

/// Fills the padding with garbage. The seats that hold some of it refuse, and decoding gives the
/// verdict MALFORMED.
///
/// # Panics
///
/// It panics if the payload fills its rows exactly.
pub fn dirty_padding(geometry: Geometry, payload: Bytes, batch_hash: B256) -> Result<Dispersal, CodingError> {
    let shard_length = geometry.shard_length(payload.len() as u64)?;
    let (length, padded_length) = (payload.len(), usize::from(geometry.k()) * shard_length);
    assert!(length < padded_length, "this payload has no padding");
    let mut padded = payload.to_vec();
    padded.resize(padded_length, 0xDD);
    let shards = all_shards(geometry, padded.into(), batch_hash)?;
    let mut dispersal = Dispersal::new("dirty_padding", geometry, length as u64, batch_hash, shards)?;
    let is_clean = |seat: &Seat| {
        seat.index() >= usize::from(geometry.k()) || (seat.index() + 1) * shard_length <= length
    };
    dispersal.seats_that_pass.retain(is_clean);
    Ok(dispersal)
}

/// Makes random shards, with the fingerprints of the first k. No parity seat passes.
pub fn not_a_codeword(
    geometry: Geometry,
    payload_length: u64,
    batch_hash: B256,
) -> Result<Dispersal, CodingError> {
    let shard_length = geometry.shard_length(payload_length)?;
    let padded = noise(0xC0DE, usize::from(geometry.n()) * shard_length);
    let mut shards: Vec<Bytes> = padded.chunks(shard_length).map(Bytes::copy_from_slice).collect();
    let mut payload = padded;
    payload.truncate(usize::try_from(payload_length).expect("at most 64 MiB"));
    payload.resize(usize::from(geometry.k()) * shard_length, 0);
    for (shard, row) in shards.iter_mut().zip(payload.chunks(shard_length)) {
        *shard = Bytes::copy_from_slice(row);
    }
    payload.truncate(usize::try_from(payload_length).expect("at most 64 MiB"));
    let mut dispersal = Dispersal::new("not_a_codeword", geometry, payload_length, batch_hash, shards)?;
    dispersal.seats_that_pass.truncate(usize::from(geometry.k()));
    dispersal.payload = Some(payload.into());
    Ok(dispersal)
}

/// Gives seats below `split` the shards of one payload and the others those of another payload,
/// with the fingerprints of the first.
///
/// # Panics
///
/// It panics if the payloads differ in length, or if `split` is below k or above n.
pub fn two_codewords(
    geometry: Geometry,
    payload: Bytes,
    other: Bytes,
    batch_hash: B256,
    split: u16,
) -> Result<Dispersal, CodingError> {
    assert_eq!(payload.len(), other.len(), "one header has one length");
    assert!(
        (geometry.k()..=geometry.n()).contains(&split),
        "fingerprints are taken of the first payload's rows"
    );
    let split = usize::from(split);
    let mut shards = all_shards(geometry, payload.clone(), batch_hash)?;
    shards.truncate(split);
    shards.extend_from_slice(&all_shards(geometry, other, batch_hash)?[split..]);
    let mut dispersal = Dispersal::new("two_codewords", geometry, payload.len() as u64, batch_hash, shards)?;
    dispersal.seats_that_pass.truncate(split);
    dispersal.payload = Some(payload);
    Ok(dispersal)
}

/// Does what [`two_codewords`] does, but sends every seat the z of its own payload. Only one z has
/// the hash in the header, so the seats with the other one refuse the record. If the header did not
/// commit to z, all of them would sign.
///
/// # Panics
///
/// It panics under the conditions of [`two_codewords`].
pub fn per_member_fingerprints(
    geometry: Geometry,
    payload: Bytes,
    other: Bytes,
    batch_hash: B256,
    split: u16,
) -> Result<Dispersal, CodingError> {
    let other_rows = all_shards(geometry, other.clone(), batch_hash)?;
    let mut dispersal = two_codewords(geometry, payload, other, batch_hash, split)?;
    dispersal.name = "per_member_fingerprints";
    let points = dispersal.points();
    let rows = &other_rows[..usize::from(geometry.k())];
    let z = rows.iter().flat_map(|row| fingerprint(&points, row).as_bytes().to_vec()).collect();
    let z = RowFingerprints::new(geometry, z)?;
    dispersal.row_fingerprints[usize::from(split)..].fill(z);
    Ok(dispersal)
}

/// Makes an honest codeword with a z that is wrong for `row` and hashed correctly. Only the other
/// data rows pass.
///
/// # Panics
///
/// It panics if there is no such row.
pub fn wrong_row_fingerprint(
    geometry: Geometry,
    payload: Bytes,
    batch_hash: B256,
    row: Seat,
) -> Result<Dispersal, CodingError> {
    assert!(row.index() < usize::from(geometry.k()), "there is no such row");
    let mut dispersal = honest(geometry, payload, batch_hash)?;
    dispersal.name = "wrong_row_fingerprint";
    let mut z = dispersal.commitment.row_fingerprints.as_bytes().to_vec();
    z[row.index() * geometry.fingerprint_bytes()] ^= 1;
    dispersal.commit_to_row_fingerprints(z)?;
    dispersal.seats_that_pass.retain(|seat| seat.index() < usize::from(geometry.k()) && *seat != row);
    dispersal.payload = None;
    Ok(dispersal)
}

/// Makes an honest batch and spoils its commitment, so that no seat accepts the record.
fn refused_record(
    name: &'static str,
    geometry: Geometry,
    payload: Bytes,
    batch_hash: B256,
    spoil: impl FnOnce(&mut Commitment),
) -> Result<Dispersal, CodingError> {
    let mut dispersal = honest(geometry, payload, batch_hash)?;
    dispersal.name = name;
    spoil(&mut dispersal.commitment);
    dispersal.seats_that_pass.clear();
    dispersal.payload = None;
    Ok(dispersal)
}

/// Makes a z that does not have the hash in the header. No seat accepts the record.
pub fn wrong_fingerprints_hash(
    geometry: Geometry,
    payload: Bytes,
    batch_hash: B256,
) -> Result<Dispersal, CodingError> {
    refused_record("wrong_fingerprints_hash", geometry, payload, batch_hash, |commitment| {
        commitment.fingerprints_hash.0[0] ^= 1
    })
}

/// Makes a payload fingerprint that does not follow from z, so that a validity proof could be about
/// a different payload. No seat accepts the record.
pub fn wrong_payload_fingerprint(
    geometry: Geometry,
    payload: Bytes,
    batch_hash: B256,
) -> Result<Dispersal, CodingError> {
    refused_record("wrong_payload_fingerprint", geometry, payload, batch_hash, |commitment| {
        commitment.payload_fingerprint[0] ^= 1
    })
}

/// Makes shard hashes that do not have the root in the header. No seat accepts the record.
pub fn wrong_shard_root(
    geometry: Geometry,
    payload: Bytes,
    batch_hash: B256,
) -> Result<Dispersal, CodingError> {
    refused_record("wrong_shard_root", geometry, payload, batch_hash, |commitment| {
        commitment.shard_root.0[0] ^= 1
    })
}

/// Commits honestly and sends every seat the shard of the next one. No seat passes.
pub fn misdelivered(geometry: Geometry, payload: Bytes, batch_hash: B256) -> Result<Dispersal, CodingError> {
    let mut dispersal = honest(geometry, payload, batch_hash)?;
    dispersal.name = "misdelivered";
    dispersal.shards.rotate_left(1);
    dispersal.seats_that_pass.clear();
    dispersal.payload = None;
    Ok(dispersal)
}

/// Makes every dispersal of this module, with noise as payloads. The length leaves padding, k ≥ 2,
/// and the shards differ.
///
/// # Panics
///
/// It panics if k = 1. Then all shards are equal, so that most attacks have no effect.
pub fn all(geometry: Geometry) -> Result<Vec<Dispersal>, CodingError> {
    assert!(geometry.k() > 1, "with k = 1 every shard is the payload");
    let length = usize::from(geometry.k()) * 5008 - 21;
    let payload = Bytes::from(noise(1, length));
    let other = Bytes::from(noise(2, length));
    let hash = B256::repeat_byte(0x33);
    let last = Seat::all(geometry.n()).next_back().unwrap_or(Seat(1));
    let split = geometry.k() + (geometry.n() - geometry.k()) / 2;
    Ok(vec![
        honest(geometry, payload.clone(), hash)?,
        bad_seat(geometry, payload.clone(), hash, last)?,
        dirty_padding(geometry, payload.clone(), hash)?,
        not_a_codeword(geometry, length as u64, hash)?,
        two_codewords(geometry, payload.clone(), other.clone(), hash, split)?,
        per_member_fingerprints(geometry, payload.clone(), other, hash, split)?,
        wrong_row_fingerprint(geometry, payload.clone(), hash, Seat(0))?,
        wrong_fingerprints_hash(geometry, payload.clone(), hash)?,
        wrong_payload_fingerprint(geometry, payload.clone(), hash)?,
        wrong_shard_root(geometry, payload.clone(), hash)?,
        misdelivered(geometry, payload, hash)?,
    ])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::{DecodeError, Malformed, RebuildError, decode, rebuild_shard};
    use crate::record::{CheckedRecord, RecordError};
    use crate::shard::{CheckedShard, ShardError};

    fn geometry() -> Geometry {
        Geometry::new(7, 3).unwrap()
    }

    fn by_name(name: &str) -> Dispersal {
        all(geometry()).unwrap().into_iter().find(|dispersal| dispersal.name == name).unwrap()
    }

    fn record(dispersal: &Dispersal, seat: Seat) -> Result<CheckedRecord, RecordError> {
        CheckedRecord::check(dispersal.unsigned_record(seat), dispersal.geometry)
    }

    fn shard(dispersal: &Dispersal, seat: u8) -> Result<CheckedShard, ShardError> {
        let record = record(dispersal, Seat(seat)).unwrap();
        CheckedShard::check(&record, Seat(seat), dispersal.shards[usize::from(seat)].clone())
    }

    #[test]
    fn exactly_the_named_seats_pass_and_all_their_subsets_agree() {
        for geometry in [geometry(), Geometry::new(4, 2).unwrap(), Geometry::new(10, 9).unwrap()] {
            for dispersal in all(geometry).unwrap() {
                let passing: Vec<(CheckedRecord, CheckedShard)> = Seat::all(geometry.n())
                    .filter_map(|seat| {
                        let record = record(&dispersal, seat).ok()?;
                        let bytes = dispersal.shards[seat.index()].clone();
                        let shard = CheckedShard::check(&record, seat, bytes).ok()?;
                        Some((record, shard))
                    })
                    .collect();
                let seats: Vec<Seat> = passing.iter().map(|(_, shard)| shard.seat()).collect();
                assert_eq!(seats, dispersal.seats_that_pass, "{}", dispersal.name);
                let k = usize::from(geometry.k());
                for chosen in (0_u32..1 << passing.len()).filter(|set| set.count_ones() as usize == k) {
                    let members = (0..passing.len()).filter(|i| chosen >> i & 1 == 1);
                    let shards: Vec<CheckedShard> = members.map(|i| passing[i].1.clone()).collect();
                    match (decode(&passing[0].0, &shards), &dispersal.payload) {
                        (Ok(got), Some(expected)) => assert_eq!(got, expected, "{}", dispersal.name),
                        (Err(DecodeError::Malformed(_)), None) => {}
                        (other, _) => panic!("{}: {other:?}", dispersal.name),
                    }
                }
            }
        }
    }

    #[test]
    fn a_bad_seat_is_named_and_the_others_are_repaired() {
        let dispersal = by_name("bad_seat");
        assert!(matches!(shard(&dispersal, 6), Err(ShardError::Fingerprint { seat: Seat(6), .. })));
        let record = record(&dispersal, Seat(0)).unwrap();
        let sources = [5, 1, 4].map(|seat| shard(&dispersal, seat).unwrap());
        for seat in [0, 2, 3] {
            let rebuilt = rebuild_shard(&record, &sources, Seat(seat)).unwrap();
            assert_eq!(rebuilt.bytes(), &dispersal.shards[usize::from(seat)]);
        }
        let verdict = rebuild_shard(&record, &sources, Seat(6)).unwrap_err();
        assert!(matches!(verdict, RebuildError::BadSeat { seat: Seat(6), .. }), "{verdict}");
        let verdict = rebuild_shard(&record, &sources, Seat(7)).unwrap_err();
        assert_eq!(verdict, RebuildError::Seat { seat: Seat(7), n: 7 });
    }

    #[test]
    fn dirt_is_located() {
        let dispersal = by_name("dirty_padding");
        let error = shard(&dispersal, 2).unwrap_err();
        assert_eq!(error, ShardError::Padding { seat: Seat(2), offset: 5008 - 21 });
        let record = record(&dispersal, Seat(0)).unwrap();
        let sources = [0, 1, 5].map(|seat| shard(&dispersal, seat).unwrap());
        let length = 3 * 5008 - 21;
        let expected = Malformed::Padding { offset: length, length };
        assert_eq!(decode(&record, &sources), Err(DecodeError::Malformed(expected)));
        assert_eq!(rebuild_shard(&record, &sources, Seat(2)).unwrap_err(), RebuildError::Malformed(expected));
        let parity = rebuild_shard(&record, &sources, Seat(6)).unwrap();
        assert_eq!(
            parity.bytes(),
            &dispersal.shards[6],
            "parity of a malformed batch is still what was committed"
        );
    }

    #[test]
    fn every_lie_has_its_own_error() {
        let error = |name: &str, seat: u8| record(&by_name(name), Seat(seat)).unwrap_err();
        assert!(matches!(error("wrong_shard_root", 0), RecordError::ShardRoot { .. }));
        assert!(matches!(error("wrong_fingerprints_hash", 0), RecordError::FingerprintsHash { .. }));
        assert!(matches!(error("wrong_payload_fingerprint", 0), RecordError::PayloadFingerprint { .. }));
        assert!(record(&by_name("per_member_fingerprints"), Seat(0)).is_ok());
        assert!(matches!(error("per_member_fingerprints", 6), RecordError::FingerprintsHash { .. }));
        let error = |name: &str, seat: u8| shard(&by_name(name), seat).unwrap_err();
        assert!(matches!(error("misdelivered", 0), ShardError::Hash { seat: Seat(0), .. }));
        assert!(matches!(error("not_a_codeword", 3), ShardError::Fingerprint { seat: Seat(3), .. }));
        assert!(matches!(error("two_codewords", 6), ShardError::Fingerprint { seat: Seat(6), .. }));
        assert!(matches!(error("wrong_row_fingerprint", 0), ShardError::Fingerprint { seat: Seat(0), .. }));
    }
}
