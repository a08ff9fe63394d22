//! Checks the vectors of records that a malicious disperser could make: the seats that must refuse
//! them, and what the other shards decode to.

use alloy::primitives::B256;
use bytes::Bytes;
use dac_coding::fingerprint::{fingerprints_hash, payload_fingerprint_of_rows};
use dac_coding::merkle::{ShardTree, shard_root};
use dac_coding::testing::Dispersal;
use dac_coding::{
    CheckedRecord, CheckedShard, Commitment, DecodeError, Points, RebuildError, decode, rebuild_shard,
};
use dac_types::{Geometry, RowFingerprints, Seat};
use serde::Deserialize;

use crate::hex_bytes::Hex;

/// If the passing seats have more subsets of k than this, only this many are tried.
const SUBSETS_MAX: usize = 5000;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct File {
    pub(crate) cases: Vec<Case>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Case {
    pub(crate) name: String,
    meaning: String,
    /// The field is `null`, not absent, if the verdict is MALFORMED.
    #[serde(deserialize_with = "Option::deserialize")]
    payload: Option<Hex>,
    n: u16,
    k: u16,
    payload_length: u64,
    batch_hash: B256,
    shards: Vec<Hex>,
    shard_hashes: Vec<B256>,
    shard_root: B256,
    fingerprints: Vec<Hex>,
    fingerprints_hash: B256,
    payload_fingerprint: Hex,
    seats_that_pass: Vec<u8>,
}

/// Panics at the first value that differs.
pub(crate) fn check(case: &Case, name: &str) {
    assert!(!case.meaning.is_empty(), "{name}: meaning");
    let geometry = Geometry::new(case.n, case.k).unwrap();
    let shard_length = geometry.shard_length(case.payload_length).unwrap();
    assert_eq!(case.shards.len(), usize::from(case.n), "{name}: shards");
    let hashes: Vec<B256> = case.shards.iter().map(|shard| ShardTree::of_shard(&shard.0).root()).collect();
    assert_eq!(hashes, case.shard_hashes, "{name}: shard_hashes");
    assert_eq!(shard_root(&hashes), case.shard_root, "{name}: shard_root");
    let z: Vec<u8> = case.fingerprints.iter().flat_map(|z| z.0.clone()).collect();
    assert_eq!(fingerprints_hash(&z), case.fingerprints_hash, "{name}: fingerprints_hash");
    let points = Points::from_record(case.shard_root, case.batch_hash, case.payload_length, geometry);
    let sum = payload_fingerprint_of_rows(&points, shard_length, &z);
    assert_eq!(sum.as_bytes(), case.payload_fingerprint.0, "{name}: payload_fingerprint");

    let record = checked_record(case, geometry, z).unwrap_or_else(|error| panic!("{name}: {error}"));
    let passing: Vec<CheckedShard> = Seat::all(case.n)
        .zip(&case.shards)
        .filter_map(|(seat, shard)| CheckedShard::check(&record, seat, Bytes::from(shard.0.clone())).ok())
        .collect();
    let seats: Vec<u8> = passing.iter().map(|shard| shard.seat().0).collect();
    assert_eq!(seats, case.seats_that_pass, "{name}: seats_that_pass");

    let k = usize::from(case.k);
    assert!(passing.len() >= k, "{name}: payload: nobody can decode it");
    for members in subsets(passing.len(), k) {
        let shards: Vec<CheckedShard> = members.into_iter().map(|index| passing[index].clone()).collect();
        let used: Vec<Seat> = shards.iter().map(CheckedShard::seat).collect();
        match (decode(&record, &shards), &case.payload) {
            (Ok(got), Some(expected)) => {
                assert_eq!(got, expected.0, "{name}: payload, decoded from {used:?}")
            }
            (Err(DecodeError::Malformed(_)), None) => {}
            (got, _) => panic!("{name}: payload: {used:?} decode to {got:?}"),
        }
    }
    for seat in Seat::all(case.n) {
        match rebuild_shard(&record, &passing[..k], seat) {
            Ok(rebuilt) => {
                assert!(case.seats_that_pass.contains(&seat.0), "{name}: seat {seat} was rebuilt");
                assert_eq!(
                    rebuilt.bytes(),
                    &case.shards[seat.index()].0,
                    "{name}: rebuilt shard of seat {seat}"
                );
            }
            Err(RebuildError::BadSeat { .. } | RebuildError::Malformed(_)) => {
                assert!(!case.seats_that_pass.contains(&seat.0), "{name}: seat {seat} cannot be rebuilt");
            }
            Err(other) => panic!("{name}: seat {seat}: {other}"),
        }
    }
}

fn checked_record(
    case: &Case,
    geometry: Geometry,
    z: Vec<u8>,
) -> Result<CheckedRecord, dac_coding::RecordError> {
    let row_fingerprints = RowFingerprints::new(geometry, z)?;
    let dispersal = Dispersal {
        name: "vector",
        geometry,
        payload_length: case.payload_length,
        batch_hash: case.batch_hash,
        row_fingerprints: vec![row_fingerprints.clone(); usize::from(case.n)],
        commitment: Commitment {
            shard_hashes: case.shard_hashes.clone(),
            shard_root: case.shard_root,
            row_fingerprints,
            fingerprints_hash: case.fingerprints_hash,
            payload_fingerprint: case.payload_fingerprint.0.clone(),
        },
        shards: Vec::new(),
        seats_that_pass: Vec::new(),
        payload: None,
    };
    CheckedRecord::check(dispersal.unsigned_record(Seat(0)), geometry)
}

/// Returns subsets of k of n in lexicographic order, at most [`SUBSETS_MAX`].
fn subsets(n: usize, k: usize) -> impl Iterator<Item = Vec<usize>> {
    let mut next = Some((0..k).collect::<Vec<_>>());
    std::iter::from_fn(move || {
        let current = next.take()?;
        next = (0..k).rev().find(|&i| current[i] < n - k + i).map(|i| {
            let mut following = current[..i].to_vec();
            following.extend((current[i] + 1..).take(k - i));
            following
        });
        Some(current)
    })
    .take(SUBSETS_MAX)
}
