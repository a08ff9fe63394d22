//! The CPU work of one batch that nobody can do without: it is encoded and committed to, each member checks its shard and signs, and
//! the signatures are verified as one. No bytes are moved or stored, nothing is encrypted, no message is parsed.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use dac_bls::{SecretKey, aggregate_keys, aggregate_signatures};
use dac_coding::testing::{honest, noise};
use dac_coding::{CheckedRecord, CheckedShard, encode};
use dac_types::{B256, BatchDigest, Geometry, Seat};

use crate::Timing;

/// Runs of everything; the best counts.
const RUNS: usize = 5;

/// Seconds of one core.
#[derive(Clone, Copy, Debug)]
pub struct Floor {
    /// By the aggregator.
    pub aggregator: Duration,
    /// By one member, on average over all seats.
    pub member: Duration,
    /// By all of them.
    pub total: Duration,
}

impl Floor {
    /// Measures it for payloads of this size, on one thread.
    pub fn measure(geometry: Geometry, bytes: usize) -> Self {
        let hash = B256::repeat_byte(1);
        let payload = Bytes::from(noise(1, bytes));
        let encoding = Timing::of(RUNS, || encode(geometry, payload.clone(), hash)).best;
        let dispersal = honest(geometry, payload, hash).expect("an honest dispersal");
        let record = CheckedRecord::check(dispersal.unsigned_record(Seat(0)), geometry).expect("honest");
        let record = Arc::new(record);
        let check = |seat: Seat| {
            let shard = dispersal.shards[seat.index()].clone();
            Timing::of(RUNS, || CheckedShard::check(&record, seat, shard.clone()).expect("honest")).best
        };
        let (n, k) = (u32::from(geometry.n()), u32::from(geometry.k()));
        let last = Seat::all(geometry.n()).next_back().expect("a committee has seats");
        let checks = check(Seat(0)) * k + check(last) * (n - k);

        let digest = BatchDigest(hash);
        let keys: Vec<_> = (0..geometry.n()).map(secret).collect();
        let public: Vec<_> = keys.iter().map(SecretKey::public_key).collect();
        let signing = Timing::of(RUNS, || keys[0].sign_digest(&digest)).best;
        let signatures: Vec<_> = keys.iter().map(|key| key.sign_digest(&digest)).collect();
        // The sum of all keys is the same for every batch that all sign.
        let key = aggregate_keys(&public).expect("honest keys");
        let verifying = Timing::of(RUNS, || {
            let sum = aggregate_signatures(&signatures).expect("honest signatures");
            key.verify(&digest, &sum).expect("an honest sum");
        })
        .best;

        let (aggregator, member) = (encoding + verifying, checks / n + signing);
        Self { aggregator, member, total: aggregator + member * n }
    }

    /// Batches a second that so many cores could do.
    #[allow(clippy::cast_precision_loss)] // Cores.
    pub fn batches_per_second(&self, cores: usize) -> f64 {
        cores as f64 / self.total.as_secs_f64()
    }
}

fn secret(seat: u16) -> SecretKey {
    let mut material = [1; 32];
    material[..2].copy_from_slice(&seat.to_be_bytes());
    SecretKey::derive(&material)
}
