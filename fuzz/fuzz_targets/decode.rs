//! Checks records and sets of shards from hostile members: a record with any change is refused, and
//! every set of checked shards decodes to the payload or gives an error that names the caller's
//! mistake.
#![no_main]

use std::sync::OnceLock;

use arbitrary::Arbitrary;
use bytes::Bytes;
use dac_coding::testing::{Dispersal, honest, noise};
use dac_coding::{CheckedRecord, CheckedShard, DecodeError, RebuildError, decode, rebuild_shard};
use dac_types::{B256, Geometry, RowFingerprints, Seat};
use libfuzzer_sys::fuzz_target;

#[derive(Arbitrary, Debug)]
struct Input {
    /// The shards to decode from, each as a seat and the choice between two batches.
    shards: Vec<(u8, bool)>,
    rebuilt: u8,
    record: RecordEdits,
}

#[derive(Arbitrary, Debug)]
struct RecordEdits {
    n: u16,
    k: u16,
    payload_length: u64,
    shard_hashes: Vec<[u8; 32]>,
    row_fingerprints: Vec<u8>,
    payload_fingerprint: Vec<u8>,
}

struct Batch {
    dispersal: Dispersal,
    record: CheckedRecord,
    shards: Vec<CheckedShard>,
}

fn batches() -> &'static [Batch; 2] {
    static BATCHES: OnceLock<[Batch; 2]> = OnceLock::new();
    BATCHES.get_or_init(|| {
        [3, 4].map(|seed| {
            let geometry = Geometry::new(7, 3).expect("valid");
            let dispersal = honest(geometry, Bytes::from(noise(seed, 5000)), B256::ZERO).expect("valid");
            let record = CheckedRecord::check(dispersal.unsigned_record(Seat(0)), geometry).expect("honest");
            let shards = Seat::all(7)
                .map(|seat| {
                    CheckedShard::check(&record, seat, dispersal.shards[seat.index()].clone())
                        .expect("honest")
                })
                .collect();
            Batch { dispersal, record, shards }
        })
    })
}

fuzz_target!(|input: Input| {
    let [batch, other] = batches();
    let shards: Vec<CheckedShard> = input
        .shards
        .iter()
        .take(16)
        .map(|(seat, strange)| {
            let from = if *strange { other } else { batch };
            from.shards[usize::from(*seat) % 7].clone()
        })
        .collect();
    let strange = input.shards.iter().take(16).any(|(_, strange)| *strange);
    let mut seats: Vec<Seat> = shards.iter().map(CheckedShard::seat).collect();
    seats.sort_unstable();
    let twice = seats.windows(2).any(|pair| pair[0] == pair[1]);
    match decode(&batch.record, &shards) {
        Ok(payload) => {
            assert!(!strange && !twice);
            assert_eq!(Some(payload), batch.dispersal.payload);
        }
        Err(DecodeError::TooFewShards { .. }) => assert!(shards.len() < 3),
        Err(DecodeError::DuplicateSeat { .. }) => assert!(twice),
        Err(DecodeError::OtherBatch { .. }) => assert!(strange),
        Err(verdict) => panic!("an honest batch: {verdict}"),
    }
    match rebuild_shard(&batch.record, &shards, Seat(input.rebuilt)) {
        Ok(shard) => assert_eq!(shard.bytes(), &batch.dispersal.shards[shard.seat().index()]),
        Err(RebuildError::Sources(_)) => assert!(strange || twice || shards.len() < 3),
        Err(RebuildError::Seat { .. }) => assert!(input.rebuilt >= 7),
        Err(verdict) => panic!("an honest batch: {verdict}"),
    }

    let edits = input.record;
    if let Ok(geometry) = Geometry::new(edits.n, edits.k) {
        let mut record = batch.dispersal.unsigned_record(Seat(0));
        record.header.payload_length = edits.payload_length;
        record.header.payload_fingerprint = edits.payload_fingerprint;
        record.shard_hashes = edits.shard_hashes.into_iter().map(B256::new).collect();
        if let Ok(z) = RowFingerprints::new(geometry, edits.row_fingerprints) {
            record.row_fingerprints = z;
        }
        assert!(CheckedRecord::check(record, geometry).is_err());
    }
});
