//! Tests of the modules together: encoded payloads are checked, decoded and repaired, and each
//! fault is refused with its own error.

use std::num::NonZeroUsize;
use std::sync::Arc;

use bytes::Bytes;
use dac_types::limits::{CHUNK_BYTES, PAYLOAD_MAX_BYTES};
use dac_types::{
    B256, Geometry, GeometryError, HashKind, HeaderError, Record, RecordShapeError, RowFingerprints, Seat,
    keccak256,
};
use proptest::prelude::*;
use reed_solomon_erasure::galois_8::ReedSolomon;
use sha2::{Digest, Sha256};

use crate::decode::{DecodeError, Malformed, Rebuilder, decode};
use crate::encode::{CodingError, PayloadError, check_payload, check_payload_for_seat, encode, encode_on};
use crate::fingerprint::{fingerprint, payload_fingerprint};
use crate::merkle::{MerkleError, ShardTree};
use crate::record::{CheckedRecord, RecordError};
use crate::shard::{CheckedShard, ShardChecker, ShardError};
use crate::testing::{honest, noise};
use crate::{ChunkError, ChunkProof};

fn geometry(n: u16, k: u16) -> Geometry {
    Geometry::new(n, k).unwrap()
}

fn unchecked(geometry: Geometry, payload: &Bytes, kind: HashKind) -> Record {
    let hash = match kind {
        HashKind::Opaque => B256::repeat_byte(7),
        HashKind::Keccak256 => keccak256(payload),
        HashKind::Sha256 => B256::new(Sha256::digest(payload).into()),
    };
    let mut record = honest(geometry, payload.clone(), hash).unwrap().unsigned_record(Seat(0));
    record.header.hash_kind = kind;
    record
}

fn checked(geometry: Geometry, payload: &Bytes, kind: HashKind) -> CheckedRecord {
    CheckedRecord::check(unchecked(geometry, payload, kind), geometry).unwrap()
}

fn all_checked(record: &CheckedRecord, payload: &Bytes) -> Vec<CheckedShard> {
    let encoded = encode(record.geometry(), payload.clone(), record.header().batch_hash).unwrap();
    Seat::all(record.geometry().n())
        .map(|seat| CheckedShard::check(record, seat, encoded.shard(seat)).unwrap())
        .collect()
}

/// Generates a geometry, a payload, and an order of all seats.
fn batch() -> impl Strategy<Value = (Geometry, Bytes, Vec<Seat>)> {
    let around_chunks = prop_oneof![1_usize..200, 4000_usize..4200, 8100_usize..8300, 1_usize..30_000];
    (2_u16..24)
        .prop_flat_map(|n| (Just(n), 1..n))
        .prop_flat_map(move |(n, k)| {
            let seats: Vec<Seat> = Seat::all(n).collect();
            (Just(geometry(n, k)), around_chunks.clone(), any::<u64>(), Just(seats).prop_shuffle())
        })
        .prop_map(|(geometry, length, seed, seats)| (geometry, noise(seed, length).into(), seats))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_k_shards_decode_to_the_payload((geometry, payload, order) in batch()) {
        let record = checked(geometry, &payload, HashKind::Sha256);
        let shards = all_checked(&record, &payload);
        let chosen: Vec<CheckedShard> =
            order[..usize::from(geometry.k())].iter().map(|seat| shards[seat.index()].clone()).collect();
        prop_assert_eq!(&decode(&record, &chosen).unwrap(), &payload);
        prop_assert_eq!(&decode(&record, &shards).unwrap(), &payload, "more than k are as good");
    }

    #[test]
    fn shards_are_those_of_the_reference_implementation((geometry, payload, _) in batch()) {
        let (n, k) = (usize::from(geometry.n()), usize::from(geometry.k()));
        let encoded = encode(geometry, payload.clone(), B256::ZERO).unwrap();
        let mut padded = payload.to_vec();
        padded.resize(k * encoded.shard_length(), 0);
        let mut shards: Vec<Vec<u8>> = padded.chunks(encoded.shard_length()).map(<[u8]>::to_vec).collect();
        shards.resize(n, vec![0; encoded.shard_length()]);
        ReedSolomon::new(k, n - k).unwrap().encode(&mut shards).unwrap();
        for (seat, shard) in Seat::all(geometry.n()).zip(shards) {
            prop_assert_eq!(encoded.shard(seat), shard);
        }
    }

    #[test]
    fn encoding_commutes_with_fingerprinting((geometry, payload, _) in batch()) {
        let record = checked(geometry, &payload, HashKind::Opaque);
        let encoded = encode(geometry, payload.clone(), record.header().batch_hash).unwrap();
        for seat in Seat::all(geometry.n()) {
            let direct = fingerprint(record.points(), &encoded.shard(seat));
            prop_assert_eq!(record.expected_fingerprint(seat).unwrap(), direct);
        }
        let whole = payload_fingerprint(record.points(), &payload);
        prop_assert_eq!(whole.as_bytes(), &encoded.commitment().payload_fingerprint[..]);
    }

    #[test]
    fn a_stream_is_checked_like_a_whole(
        (geometry, payload, order) in batch(),
        sizes in proptest::collection::vec(1_usize..9000, 1..8),
        corruption in proptest::option::of((any::<proptest::sample::Index>(), 1_u8..)),
    ) {
        let record = Arc::new(checked(geometry, &payload, HashKind::Opaque));
        let seat = order[0];
        let mut shard = encode(geometry, payload, record.header().batch_hash).unwrap().shard(seat).to_vec();
        if let Some((index, flip)) = corruption {
            let position = index.index(shard.len());
            shard[position] ^= flip;
        }
        let mut checker = ShardChecker::new(record.clone(), seat).unwrap();
        let mut rest = &shard[..];
        for size in sizes.into_iter().cycle().take_while({ let mut left = shard.len(); move |size| {
            let more = left > 0;
            left = left.saturating_sub(*size);
            more
        } }) {
            let (piece, after) = rest.split_at(size.min(rest.len()));
            checker.update(piece).unwrap();
            rest = after;
        }
        prop_assert_eq!(checker.missing(), 0);
        let streamed = checker.finish().map(|summary| summary.into_tree());
        let whole = CheckedShard::check(&record, seat, shard.into()).map(|shard| shard.tree().clone());
        prop_assert_eq!(streamed.is_ok(), corruption.is_none());
        prop_assert_eq!(streamed, whole);
    }

    #[test]
    fn pieces_rebuild_a_shard((geometry, payload, order) in batch(), piece in 1_usize..9000) {
        let record = checked(geometry, &payload, HashKind::Opaque);
        let encoded = encode(geometry, payload.clone(), record.header().batch_hash).unwrap();
        let (sources, rest) = order.split_at(usize::from(geometry.k()));
        let rebuilder = Rebuilder::new(&record, sources, rest[0]).unwrap();
        let shards: Vec<Bytes> = sources.iter().map(|seat| encoded.shard(*seat)).collect();
        let mut rebuilt = Vec::new();
        while rebuilt.len() < encoded.shard_length() {
            let end = (rebuilt.len() + piece).min(encoded.shard_length());
            let pieces: Vec<&[u8]> = shards.iter().map(|shard| &shard[rebuilt.len()..end]).collect();
            rebuilt.extend(rebuilder.rebuild(&pieces).unwrap());
        }
        prop_assert_eq!(encoded.shard(rest[0]), rebuilt);
    }

    #[test]
    fn chunk_proofs_hold_for_their_chunk_alone(
        (geometry, payload, order) in batch(),
        index in any::<proptest::sample::Index>(),
        flip in any::<proptest::sample::Index>(),
    ) {
        let record = checked(geometry, &payload, HashKind::Opaque);
        let encoded = encode(geometry, payload, record.header().batch_hash).unwrap();
        let seat = order[0];
        let index = index.index(Geometry::chunk_count(encoded.shard_length()));
        let proof =
            ChunkProof::new(&record.record().shard_hashes, seat, encoded.tree(seat), index).unwrap();
        let shard = encoded.shard(seat);
        let chunk = shard.chunks(CHUNK_BYTES).nth(index).unwrap();
        let got = proof.check(record.header(), geometry, seat, index, chunk).unwrap();
        prop_assert_eq!((got.seat, got.index, got.bytes), (seat, index, chunk));
        prop_assert_eq!(Some(got.shard_hash), record.shard_hash(seat));

        let mut wrong = chunk.to_vec();
        wrong[flip.index(chunk.len())] ^= 1;
        prop_assert!(proof.check(record.header(), geometry, seat, index, &wrong).is_err());
        // Seats with equal shards, as all are with k = 1, may have equal proofs.
        for other in order.iter().filter(|other| encoded.shard(**other) != shard) {
            prop_assert!(proof.check(record.header(), geometry, *other, index, chunk).is_err());
        }
        for position in 0..proof.chunk_path.len() + proof.shard_path.len() {
            let mut wrong = proof.clone();
            let chunk_nodes = wrong.chunk_path.len();
            let node = if position < chunk_nodes {
                &mut wrong.chunk_path[position]
            } else {
                &mut wrong.shard_path[position - chunk_nodes]
            };
            node.0[31] ^= 1;
            prop_assert!(wrong.check(record.header(), geometry, seat, index, chunk).is_err());
        }
    }

    #[test]
    fn hostile_chunk_proofs_never_panic(
        n in 2_u16..=256, k in 1_u16..256, length: u64, seat: u8, index: usize,
        chunk in proptest::collection::vec(any::<u8>(), 0..64),
        paths in proptest::collection::vec(proptest::collection::vec(any::<[u8; 32]>(), 0..20), 2),
    ) {
        prop_assume!(k < n);
        let mut header = unchecked(geometry(2, 1), &Bytes::from_static(b"x"), HashKind::Opaque).header;
        header.payload_length = length;
        let path = |i: usize| paths[i].iter().map(|node| B256::new(*node)).collect();
        let proof = ChunkProof { chunk_path: path(0), shard_path: path(1) };
        prop_assert!(proof.check(&header, geometry(n, k), Seat(seat), index, &chunk).is_err());
    }
}

#[test]
fn payloads_of_every_length_around_a_boundary_come_back() {
    let geometry = geometry(5, 3);
    let boundaries = [1, 16, 48, 3 * CHUNK_BYTES, 6 * CHUNK_BYTES];
    for length in boundaries.iter().flat_map(|boundary| boundary.max(&18) - 17..=boundary + 17) {
        let payload = Bytes::from(noise(3, length));
        let record = checked(geometry, &payload, HashKind::Keccak256);
        let shards = all_checked(&record, &payload);
        assert_eq!(decode(&record, &shards[2..]).unwrap(), payload, "{length} bytes");
    }
}

#[test]
fn trailing_zeros_of_a_payload_are_kept() {
    for length in [1, 47, 48, 49, 5000] {
        let payload = Bytes::from(vec![0; length]);
        let record = checked(geometry(4, 3), &payload, HashKind::Sha256);
        let shards = all_checked(&record, &payload);
        assert_eq!(decode(&record, &shards[1..]).unwrap(), payload);
    }
}

#[test]
fn the_extremes_of_geometry_work() {
    for (n, k, length) in [(2, 1, 1), (256, 255, 4081), (256, 1, 40), (256, 86, 100_000), (255, 254, 1)] {
        let payload = Bytes::from(noise(4, length));
        let record = checked(geometry(n, k), &payload, HashKind::Sha256);
        let shards = all_checked(&record, &payload);
        assert_eq!(decode(&record, &shards[usize::from(n - k)..]).unwrap(), payload, "n = {n}, k = {k}");
    }
}

#[test]
fn payloads_out_of_bounds_are_refused() {
    let error = encode(geometry(4, 2), Bytes::new(), B256::ZERO).unwrap_err();
    assert_eq!(error, CodingError::Geometry(GeometryError::PayloadLength { got: 0 }));
    let got = PAYLOAD_MAX_BYTES + 1;
    let long = Bytes::from(vec![0; usize::try_from(got).unwrap()]);
    let error = encode(geometry(4, 2), long, B256::ZERO).unwrap_err();
    assert_eq!(error, CodingError::Geometry(GeometryError::PayloadLength { got }));
}

#[test]
fn any_number_of_threads_encodes_the_same() {
    for (n, k, length) in [(4, 2, 3 << 20), (16, 6, (3 << 20) + 5), (130, 44, 1 << 20), (7, 3, 100)] {
        let geometry = Geometry::new(n, k).unwrap();
        let payload = Bytes::from(noise(7, length));
        let expected = encode(geometry, payload.clone(), B256::ZERO).unwrap();
        for threads in [2, 3, 6, 100] {
            let threads = NonZeroUsize::new(threads).unwrap();
            let got = encode_on(threads, geometry, payload.clone(), B256::ZERO).unwrap();
            assert_eq!(got.commitment(), expected.commitment(), "{n} seats, {threads} threads");
            for seat in Seat::all(n) {
                assert_eq!(
                    got.shard(seat),
                    expected.shard(seat),
                    "{n} seats, {threads} threads, seat {seat}"
                );
                assert_eq!(got.tree(seat), expected.tree(seat), "{n} seats, {threads} threads, seat {seat}");
            }
        }
    }
}

#[test]
fn data_shards_are_slices_of_the_payload() {
    let payload = Bytes::from(noise(5, 3 * 4096 - 1));
    let encoded = encode(geometry(7, 3), payload.clone(), B256::ZERO).unwrap();
    for seat in [0, 1] {
        let offset = usize::from(seat) * encoded.shard_length();
        assert_eq!(encoded.shard(Seat(seat)).as_ptr(), payload[offset..].as_ptr());
    }
}

#[test]
fn records_of_another_shape_are_refused() {
    let payload = Bytes::from(noise(6, 1000));
    let good = || unchecked(geometry(7, 3), &payload, HashKind::Opaque);
    let error = |record| CheckedRecord::check(record, geometry(7, 3)).unwrap_err();

    let mut record = good();
    record.shard_hashes.pop();
    let shape = RecordShapeError::ShardHashCount { expected: 7, got: 6 };
    assert_eq!(error(record), RecordError::Shape(shape));

    let mut record = good();
    record.row_fingerprints = RowFingerprints::new(geometry(7, 2), vec![0; 64]).unwrap();
    let shape = RecordShapeError::FingerprintBytes { expected: 96, got: 64 };
    assert_eq!(error(record), RecordError::Shape(shape));

    let mut record = good();
    record.header.payload_fingerprint.pop();
    let shape = RecordShapeError::Header(HeaderError::FingerprintLength { expected: 32, got: 31 });
    assert_eq!(error(record), RecordError::Shape(shape));

    for length in [0, PAYLOAD_MAX_BYTES + 1, u64::MAX] {
        let mut record = good();
        record.header.payload_length = length;
        let shape = HeaderError::Geometry(GeometryError::PayloadLength { got: length });
        assert_eq!(error(record), RecordError::Shape(RecordShapeError::Header(shape)));
    }
}

#[test]
fn every_committed_field_is_checked() {
    let payload = Bytes::from(noise(7, 1000));
    let good = || unchecked(geometry(7, 3), &payload, HashKind::Opaque);
    let error = |record| CheckedRecord::check(record, geometry(7, 3)).unwrap_err();

    let mut record = good();
    record.shard_hashes.swap(0, 1);
    assert!(matches!(error(record), RecordError::ShardRoot { .. }));
    let mut record = good();
    let mut z = record.row_fingerprints.as_bytes().to_vec();
    z[95] ^= 1;
    record.row_fingerprints = RowFingerprints::new(geometry(7, 3), z).unwrap();
    assert!(matches!(error(record), RecordError::FingerprintsHash { .. }));
    // A different length or batch hash moves the points, and the old z does not add up at the new
    // ones.
    let mut record = good();
    record.header.payload_length -= 1;
    assert!(matches!(error(record), RecordError::PayloadFingerprint { .. }));
    let mut record = good();
    record.header.batch_hash.0[0] ^= 1;
    assert!(matches!(error(record), RecordError::PayloadFingerprint { .. }));
}

#[test]
fn shards_of_wrong_length_or_seat_are_refused() {
    let payload = Bytes::from(noise(8, 3 * 5008));
    let record = checked(geometry(7, 3), &payload, HashKind::Opaque);
    let encoded = encode(geometry(7, 3), payload, record.header().batch_hash).unwrap();
    let check = |seat, bytes| CheckedShard::check(&record, Seat(seat), bytes).map(|_| ());
    let shard = encoded.shard(Seat(4));
    assert_eq!(check(4, shard.clone()), Ok(()));
    assert!(matches!(check(5, shard.clone()), Err(ShardError::Hash { seat: Seat(5), .. })));
    assert_eq!(check(7, shard.clone()), Err(ShardError::Seat { seat: Seat(7), n: 7 }));
    let short = ShardError::TooShort { expected: 5008, got: 5007 };
    assert_eq!(check(4, shard.slice(..5007)), Err(short));
    assert_eq!(check(4, Bytes::new()), Err(ShardError::TooShort { expected: 5008, got: 0 }));
    let long = Bytes::from([&shard[..], &[0]].concat());
    assert_eq!(check(4, long), Err(ShardError::TooLong { expected: 5008, got: 5009 }));
}

#[test]
fn a_stream_that_is_too_long_is_refused_at_once() {
    let payload = Bytes::from(noise(9, 3 * 5008));
    let record = Arc::new(checked(geometry(7, 3), &payload, HashKind::Opaque));
    assert!(matches!(ShardChecker::new(record.clone(), Seat(7)), Err(ShardError::Seat { .. })));
    let mut checker = ShardChecker::new(record, Seat(0)).unwrap();
    checker.update(&payload[..5000]).unwrap();
    assert_eq!(checker.update(&payload[5000..5009]), Err(ShardError::TooLong { expected: 5008, got: 5009 }));
    assert_eq!((checker.received(), checker.missing()), (5000, 8));
}

#[test]
fn decoding_refuses_what_the_caller_got_wrong() {
    let payload = Bytes::from(noise(10, 3000));
    let record = checked(geometry(7, 3), &payload, HashKind::Opaque);
    let shards = all_checked(&record, &payload);
    let error = |shards: &[CheckedShard]| decode(&record, shards).unwrap_err();
    assert_eq!(error(&[]), DecodeError::TooFewShards { needed: 3, got: 0 });
    assert_eq!(error(&shards[..2]), DecodeError::TooFewShards { needed: 3, got: 2 });
    let twice = [shards[4].clone(), shards[0].clone(), shards[4].clone(), shards[1].clone()];
    assert_eq!(error(&twice), DecodeError::DuplicateSeat { seat: Seat(4) });
    let other = Bytes::from(noise(11, 3000));
    let other_record = checked(geometry(7, 3), &other, HashKind::Opaque);
    let stranger = all_checked(&other_record, &other).swap_remove(2);
    let mixed = [shards[0].clone(), stranger, shards[1].clone()];
    assert_eq!(error(&mixed), DecodeError::OtherBatch { seat: Seat(2) });
}

#[test]
fn a_decoded_payload_of_a_checked_kind_has_its_hash() {
    let payload = Bytes::from(noise(12, 3000));
    let mut record = unchecked(geometry(7, 3), &payload, HashKind::Opaque);
    record.header.hash_kind = HashKind::Keccak256;
    let record = CheckedRecord::check(record, geometry(7, 3)).unwrap();
    let shards = all_checked(&record, &payload);
    let verdict = decode(&record, &shards[4..]).unwrap_err();
    assert!(matches!(verdict, DecodeError::Malformed(Malformed::BatchHash { .. })), "{verdict}");
}

#[test]
fn whole_payloads_are_compared_with_everything() {
    let payload = Bytes::from(noise(13, 3 * 5008 - 100));
    for kind in [HashKind::Keccak256, HashKind::Sha256, HashKind::Opaque] {
        let record = checked(geometry(7, 3), &payload, kind);
        let encoded = check_payload(&record, payload.clone()).unwrap();
        for seat in Seat::all(7) {
            let own = check_payload_for_seat(&record, payload.clone(), seat).unwrap();
            assert_eq!((own.seat(), own.bytes()), (seat, &encoded.shard(seat)));
            assert_eq!(own.tree(), &ShardTree::of_shard(&encoded.shard(seat)));
        }
    }
    let record = checked(geometry(7, 3), &payload, HashKind::Sha256);
    let error = |payload: Bytes| {
        let error = check_payload(&record, payload.clone()).unwrap_err();
        assert_eq!(check_payload_for_seat(&record, payload, Seat(3)).unwrap_err(), error);
        error
    };
    let (expected, got) = (payload.len() as u64, payload.len() as u64 - 1);
    assert_eq!(error(payload.slice(1..)), PayloadError::Length { expected, got });
    assert_eq!(error(Bytes::new()), PayloadError::Length { expected, got: 0 });
    let mut wrong = payload.to_vec();
    wrong[100] ^= 1;
    assert!(matches!(error(wrong.into()), PayloadError::BatchHash { kind: HashKind::Sha256, .. }));
    let no_such_seat = check_payload_for_seat(&record, payload, Seat(7)).unwrap_err();
    assert_eq!(no_such_seat, PayloadError::OwnShard(ShardError::Seat { seat: Seat(7), n: 7 }));
}

#[test]
fn a_whole_payload_does_not_pass_for_a_lying_record() {
    use crate::testing::{bad_seat, wrong_row_fingerprint};
    let payload = Bytes::from(noise(14, 3000));
    let hash = B256::new(Sha256::digest(&payload).into());
    let check = |dispersal: crate::testing::Dispersal| {
        let mut record = dispersal.unsigned_record(Seat(0));
        record.header.hash_kind = HashKind::Sha256;
        let record = CheckedRecord::check(record, geometry(7, 3)).unwrap();
        let error = check_payload(&record, payload.clone()).unwrap_err();
        assert_eq!(check_payload_for_seat(&record, payload.clone(), Seat(0)).unwrap_err(), error);
        error
    };
    let error = check(bad_seat(geometry(7, 3), payload.clone(), hash, Seat(5)).unwrap());
    assert!(matches!(error, PayloadError::ShardHash { seat: Seat(5), .. }), "{error}");
    let error = check(wrong_row_fingerprint(geometry(7, 3), payload.clone(), hash, Seat(1)).unwrap());
    assert!(matches!(error, PayloadError::FingerprintsHash { .. }), "{error}");
}

#[test]
fn chunk_proofs_are_refused_by_rule() {
    let payload = Bytes::from(noise(15, 3 * (CHUNK_BYTES + 16)));
    let record = checked(geometry(7, 3), &payload, HashKind::Opaque);
    let encoded = encode(geometry(7, 3), payload, record.header().batch_hash).unwrap();
    let shard = encoded.shard(Seat(2));
    let proof = ChunkProof::new(&record.record().shard_hashes, Seat(2), encoded.tree(Seat(2)), 1).unwrap();
    let check = |proof: &ChunkProof, seat, index, chunk: &[u8]| {
        proof.check(record.header(), geometry(7, 3), Seat(seat), index, chunk).map(|_| ())
    };
    let chunk = &shard[CHUNK_BYTES..];
    assert_eq!(check(&proof, 2, 1, chunk), Ok(()));
    assert_eq!(check(&proof, 7, 1, chunk), Err(ChunkError::Seat { seat: Seat(7), n: 7 }));
    assert_eq!(check(&proof, 2, 2, chunk), Err(ChunkError::Index { index: 2, count: 2 }));
    assert_eq!(check(&proof, 2, usize::MAX, chunk), Err(ChunkError::Index { index: usize::MAX, count: 2 }));
    assert_eq!(check(&proof, 2, 1, &chunk[1..]), Err(ChunkError::Length { index: 1, expected: 16, got: 15 }));
    assert_eq!(
        check(&proof, 2, 0, chunk),
        Err(ChunkError::Length { index: 0, expected: CHUNK_BYTES, got: 16 })
    );
    let mut longer = proof.clone();
    longer.chunk_path.push(B256::ZERO);
    let length = MerkleError::PathLength { index: 1, count: 2, expected: 1, got: 2 };
    assert_eq!(check(&longer, 2, 1, chunk), Err(ChunkError::ChunkPath(length)));
    let mut shorter = proof.clone();
    shorter.shard_path.pop();
    let length = MerkleError::PathLength { index: 2, count: 7, expected: 3, got: 2 };
    assert_eq!(check(&shorter, 2, 1, chunk), Err(ChunkError::ShardPath(length)));
    let mut wrong = proof;
    wrong.shard_path.swap(0, 1);
    assert!(matches!(check(&wrong, 2, 1, chunk), Err(ChunkError::ShardPath(MerkleError::Root { .. }))));
    assert!(ChunkProof::new(&record.record().shard_hashes, Seat(2), encoded.tree(Seat(2)), 2).is_err());
}

#[test]
fn a_rebuilder_refuses_bad_sources() {
    let payload = Bytes::from(noise(16, 3000));
    let record = checked(geometry(7, 3), &payload, HashKind::Opaque);
    let new = |sources: &[u8], target| {
        let sources: Vec<Seat> = sources.iter().map(|seat| Seat(*seat)).collect();
        Rebuilder::new(&record, &sources, Seat(target))
    };
    assert!(new(&[0, 1], 2).is_err(), "too few");
    assert!(new(&[0, 1, 2, 3], 4).is_err(), "too many");
    assert!(new(&[0, 1, 1], 2).is_err(), "twice");
    assert!(new(&[0, 1, 7], 2).is_err() && new(&[0, 1, 2], 7).is_err(), "no such seat");
    let rebuilder = new(&[0, 1, 3], 2).unwrap();
    assert_eq!(rebuilder.rebuild(&[&[1], &[2]]), None);
    assert_eq!(rebuilder.rebuild(&[&[1], &[2], &[3, 4]]), None);
    assert_eq!(rebuilder.rebuild(&[]), None);
    assert_eq!(rebuilder.rebuild(&[&[], &[], &[]]), Some(vec![]));
}
