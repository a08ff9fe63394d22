//! Encoding, checking and decoding of a 22 MiB payload on one thread, beside the floor: the Reed–Solomon code alone in
//! stripes and SHA-256 over all shards, measured in the same run.
//!
//! `cargo bench -p dac-bench --bench coding`, and after `--` optionally a payload size in MiB.

use std::sync::Arc;

use bytes::Bytes;
use dac_bench::Timing;
use dac_coding::testing::{honest, noise};
use dac_coding::{
    CheckedRecord, CheckedShard, ShardChecker, check_payload_for_seat, decode, encode, rebuild_shard,
};
use dac_types::limits::STREAM_PIECE_MAX_BYTES;
use dac_types::{B256, Geometry, Seat};
use reed_solomon_erasure::galois_8::ReedSolomon;
use sha2::{Digest, Sha256};

const RUNS: usize = 7;
const STRIPE_BYTES: usize = 4096;

/// The code of `reed-solomon-erasure` alone, in stripes, into memory that was touched before.
fn code_floor(geometry: Geometry, padded: &[u8], shard_length: usize) -> Timing {
    let (k, parity_count) = (usize::from(geometry.k()), usize::from(geometry.n() - geometry.k()));
    let code = ReedSolomon::new(k, parity_count).expect("a valid geometry");
    let mut parity = vec![1; parity_count * shard_length];
    Timing::of(RUNS, || {
        for start in (0..shard_length).step_by(STRIPE_BYTES) {
            let range = start..(start + STRIPE_BYTES).min(shard_length);
            let data: Vec<&[u8]> = padded.chunks(shard_length).map(|row| &row[range.clone()]).collect();
            let mut outputs: Vec<&mut [u8]> =
                parity.chunks_mut(shard_length).map(|row| &mut row[range.clone()]).collect();
            code.encode_sep(&data, &mut outputs).expect("equal lengths");
        }
    })
}

/// One SHA-256 over as many bytes as all shards have.
fn hash_floor(padded: &[u8], shard_length: usize, n: usize) -> Timing {
    Timing::of(RUNS, || {
        let rows = padded.chunks(shard_length).cycle().take(n);
        rows.map(|row| Sha256::digest(row)[0]).fold(0, |a, b| a ^ b)
    })
}

fn row(operation: &str, timing: Timing, floor: Option<f64>, bytes: usize) {
    let ratio = floor.map_or_else(|| "      –".into(), |floor| format!("{:6.2}×", timing.best_ms() / floor));
    println!(
        "  {operation:<44} {:8.1} ms   (median {:8.1})   {ratio}   {:6.2} GB/s",
        timing.best_ms(),
        timing.median_ms(),
        timing.gigabytes_per_second(bytes)
    );
}

fn main() {
    // Cargo passes `--bench`; the first number is the size.
    let mebibytes = std::env::args().find_map(|argument| argument.parse().ok()).unwrap_or(22_usize);
    let payload = Bytes::from(noise(1, mebibytes << 20));
    println!(
        "One thread, payload {mebibytes} MiB, best and median of {RUNS} runs; the ratio is to the floor of its block."
    );
    println!("GB/s counts payload bytes for encode and decode, shard bytes for checks.");
    println!("Excluded: making the payload, signatures, network, storage. Included: allocating the results.");
    for (n, k) in [(16, 6), (64, 22), (256, 86)] {
        let geometry = Geometry::new(n, k).expect("a valid geometry");
        measure(geometry, &payload);
    }
}

fn measure(geometry: Geometry, payload: &Bytes) {
    let (n, k) = (geometry.n(), geometry.k());
    let hash = B256::repeat_byte(1);
    let shard_length = geometry.shard_length(payload.len() as u64).expect("a valid length");
    println!(
        "\nn = {n}, k = {k}: {} points, shards of {:.2} MB",
        geometry.points(),
        shard_megabytes(shard_length)
    );
    let mut padded = payload.to_vec();
    padded.resize(usize::from(k) * shard_length, 0);
    let code = code_floor(geometry, &padded, shard_length);
    let hashing = hash_floor(&padded, shard_length, usize::from(n));
    let floor = code.best_ms() + hashing.best_ms();
    row("floor: the code alone, in stripes", code, None, payload.len());
    row("floor: SHA-256 over all shards", hashing, None, payload.len());
    println!("  {:<44} {floor:8.1} ms", "floor");
    drop(padded);

    let encoding = Timing::of(RUNS, || encode(geometry, payload.clone(), hash));
    row("encode and commit", encoding, Some(floor), payload.len());

    let dispersal = honest(geometry, payload.clone(), hash).expect("an honest dispersal");
    let record =
        CheckedRecord::check(dispersal.unsigned_record(Seat(0)), geometry).expect("an honest record");
    let record = Arc::new(record);
    let checking_record =
        Timing::of(RUNS, || CheckedRecord::check(dispersal.unsigned_record(Seat(0)), geometry));
    row("member: check of the record", checking_record, None, shard_length);
    let last = Seat::all(n).next_back().expect("a committee has seats");
    for (name, seat) in [("data", Seat(0)), ("parity", last)] {
        let shard = &dispersal.shards[seat.index()];
        let hashing = Timing::of(RUNS, || Sha256::digest(shard));
        let whole = Timing::of(RUNS, || CheckedShard::check(&record, seat, shard.clone()));
        row(&format!("member: check of a {name} shard"), whole, Some(hashing.best_ms()), shard_length);
        let streamed = Timing::of(RUNS, || {
            let mut checker = ShardChecker::new(record.clone(), seat).expect("the seat exists");
            for piece in shard.chunks(STREAM_PIECE_MAX_BYTES) {
                checker.update(piece).expect("not too long");
            }
            checker.finish()
        });
        row("        the same as a stream", streamed, Some(hashing.best_ms()), shard_length);
    }
    let whole_payload = Timing::of(RUNS, || check_payload_for_seat(&record, payload.clone(), last));
    row("member: check of the whole payload", whole_payload, Some(floor), payload.len());

    let checked: Vec<CheckedShard> = Seat::all(n)
        .map(|seat| {
            CheckedShard::check(&record, seat, dispersal.shards[seat.index()].clone()).expect("passes")
        })
        .collect();
    let (data, parity) = checked.split_at(usize::from(k));
    let from_data = Timing::of(RUNS, || decode(&record, data));
    row("decode from the data shards", from_data, None, payload.len());
    // With n < 2k there are not enough parity shards to do without data.
    let worst = &checked[checked.len() - usize::from(k)..];
    let from_parity = Timing::of(RUNS, || decode(&record, worst));
    row("decode from the last k shards", from_parity, None, payload.len());
    let rebuilding = Timing::of(RUNS, || rebuild_shard(&record, &checked[1..=usize::from(k)], Seat(0)));
    row("rebuild one shard, with its check", rebuilding, None, shard_length);
    assert_eq!(decode(&record, parity).as_ref(), Ok(payload), "what was measured is also right");
}

#[allow(clippy::cast_precision_loss)] // Far below 2^52.
fn shard_megabytes(length: usize) -> f64 {
    length as f64 / 1e6
}
