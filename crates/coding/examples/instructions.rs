//! Runs one operation on fixed bytes. `tools/instruction-counts` counts the instructions of the
//! function `measured`.
//!
//! `instructions OPERATION N K BYTES`

use std::hint::black_box;

use bytes::Bytes;
use dac_coding::testing::{honest, noise};
use dac_coding::{CheckedRecord, CheckedShard, decode, encode, rebuild_shard};
use dac_types::{B256, Geometry, Seat};

/// Runs the part that is counted.
#[inline(never)]
fn measured<T>(operation: impl FnOnce() -> T) -> T {
    black_box(operation())
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [operation, n, k, bytes] = &arguments[..] else { panic!("instructions OPERATION N K BYTES") };
    let number = |text: &str| text.parse::<usize>().expect("a number");
    let small = |text: &str| u16::try_from(number(text)).expect("at most 65535");
    let geometry = Geometry::new(small(n), small(k)).expect("a valid geometry");
    let payload = Bytes::from(noise(1, number(bytes)));
    if operation == "encode" {
        measured(|| encode(geometry, payload, B256::ZERO).expect("encodes"));
        return;
    }
    let dispersal = honest(geometry, payload, B256::ZERO).expect("an honest dispersal");
    let record =
        CheckedRecord::check(dispersal.unsigned_record(Seat(0)), geometry).expect("an honest record");
    let last = Seat::all(geometry.n()).next_back().expect("a committee has seats");
    let check = |seat: Seat| {
        let shard = dispersal.shards[seat.index()].clone();
        CheckedShard::check(&record, seat, shard).expect("an honest shard")
    };
    let all: Vec<CheckedShard> = Seat::all(geometry.n()).map(check).collect();
    let k = usize::from(geometry.k());
    match operation.as_str() {
        "check" => drop(measured(|| check(last))),
        "decode" => drop(measured(|| decode(&record, &all[all.len() - k..]).expect("decodes"))),
        "repair" => drop(measured(|| rebuild_shard(&record, &all[1..=k], Seat(0)).expect("rebuilds"))),
        other => panic!("{other}: encode, check, decode or repair"),
    }
}
