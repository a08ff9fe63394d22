//! Measures the floor: the CPU work of one batch that any implementation needs. The aggregator
//! recovers the signer of the submission, encodes the payload and commits to it, signs the header
//! and verifies the sum of the members' signatures; each member recovers the signers of submission
//! and header, checks its shard, signs, and verifies the certificate. The floor has no moving or
//! storing of bytes, no encryption and no parsing of messages.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use dac_bls::aggregate_signatures;
use dac_chain::{EcdsaKey, TransactionSigner as _};
use dac_coding::testing::{honest, noise};
use dac_coding::{CheckedRecord, CheckedShard, encode};
use dac_types::{B256, BatchDigest, EcdsaSignature, Geometry, Seat};

use crate::Timing;
use crate::committee::{DOMAIN, Signers};

/// The number of runs of each operation, of which the best counts.
const RUNS: usize = 5;
/// The number of certificates that a busy member verifies together.
const TOGETHER: u32 = 32;

/// The CPU work in seconds of one core.
#[derive(Clone, Copy, Debug)]
pub struct Floor {
    /// The work of the aggregator.
    pub aggregator: Duration,
    /// The work of one member, on average over all seats.
    pub member: Duration,
    /// The work of all processes.
    pub total: Duration,
}

impl Floor {
    /// Measures the work for payloads of this size, on one thread.
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
        let signers = Signers::new(geometry);
        let Signers { secrets, keys } = &signers;
        let signing = Timing::of(RUNS, || secrets[0].sign_digest(&digest)).best;
        let signatures: Vec<_> = secrets.iter().map(|key| key.sign_digest(&digest)).collect();
        let verifying = Timing::of(RUNS, || {
            let sum = aggregate_signatures(&signatures).expect("honest signatures");
            // The sum of all keys is the same for every batch that all members sign, so computing
            // it does not count.
            keys.sum().verify(&digest, &sum).expect("an honest sum");
        })
        .best;
        let certificates = signers.certificates(TOGETHER.into());
        let verify = || assert!(keys.verify_certificates(&certificates, &DOMAIN).iter().all(Result::is_ok));
        let certified = Timing::of(RUNS, verify).best / TOGETHER;

        let signer = EcdsaKey::random();
        let sign = || signer.sign_hash(&hash).expect("a key in memory signs");
        let signing_header = Timing::of(RUNS, sign).best;
        let signature = EcdsaSignature::try_from(&sign().as_bytes()[..]).expect("well-formed");
        let recovering = Timing::of(RUNS, || signature.recover(hash).expect("a signer")).best;

        let aggregator = recovering + encoding + signing_header + verifying;
        let member = recovering * 2 + checks / n + signing + certified;
        Self { aggregator, member, total: aggregator + member * n }
    }

    /// Returns the batches a second that this number of cores could do.
    #[allow(clippy::cast_precision_loss)] // Cores.
    pub fn batches_per_second(&self, cores: usize) -> f64 {
        cores as f64 / self.total.as_secs_f64()
    }
}
