//! Checks a shard that arrives in pieces from a hostile disperser: the verdict on the stream is the
//! same as on the whole shard, and only the committed bytes pass.
#![no_main]

use std::sync::{Arc, OnceLock};

use arbitrary::Arbitrary;
use bytes::Bytes;
use dac_coding::testing::{Dispersal, honest, noise};
use dac_coding::{CheckedRecord, CheckedShard, ShardChecker, ShardError};
use dac_types::{B256, Geometry, Seat};
use libfuzzer_sys::fuzz_target;

#[derive(Arbitrary, Debug)]
struct Input {
    seat: u8,
    edits: Vec<(u16, u8)>,
    /// The number of bytes that are added to the shard, or cut off if it is negative.
    length_change: i8,
    pieces: Vec<u16>,
}

fn batch() -> &'static (Dispersal, Arc<CheckedRecord>) {
    static BATCH: OnceLock<(Dispersal, Arc<CheckedRecord>)> = OnceLock::new();
    BATCH.get_or_init(|| {
        let geometry = Geometry::new(7, 3).expect("valid");
        let dispersal = honest(geometry, Bytes::from(noise(2, 3 * 9008 - 50)), B256::ZERO).expect("valid");
        let record = CheckedRecord::check(dispersal.unsigned_record(Seat(0)), geometry).expect("honest");
        (dispersal, Arc::new(record))
    })
}

fuzz_target!(|input: Input| {
    let (dispersal, record) = batch();
    let committed = &dispersal.shards[usize::from(input.seat) % 7];
    let mut sent = committed.to_vec();
    sent.resize(sent.len().saturating_add_signed(input.length_change.into()), 0);
    for (place, change) in input.edits {
        let position = usize::from(place) % sent.len();
        sent[position] ^= change;
    }
    let whole = CheckedShard::check(record, Seat(input.seat), Bytes::from(sent.clone()));
    let streamed = ShardChecker::new(record.clone(), Seat(input.seat)).and_then(|mut checker| {
        let mut rest = &sent[..];
        for size in input.pieces {
            let (piece, after) = rest.split_at(usize::from(size).min(rest.len()));
            checker.update(piece)?;
            rest = after;
        }
        checker.update(rest)?;
        checker.finish()
    });
    assert_eq!(whole.is_ok(), input.seat < 7 && sent == *committed);
    match (whole, streamed) {
        (Ok(whole), Ok(streamed)) => assert_eq!(whole.tree(), streamed.tree()),
        // A stream is refused as soon as it is too long, so its error may name a smaller length.
        (Err(ShardError::TooLong { .. }), Err(ShardError::TooLong { .. })) => {}
        (whole, streamed) => assert_eq!(whole.unwrap_err(), streamed.unwrap_err()),
    }
});
