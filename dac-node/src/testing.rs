//! A committee, a rollup and a disperser for tests. All signatures are real.

use std::sync::Arc;

use bytes::Bytes;
use dac_bls::{CommitteeKeys, SecretKey};
use dac_chain::{BlockRef, RegistryView};
use dac_coding::testing::{Dispersal, honest, noise};
use dac_coding::{CheckedRecord, CheckedShard, payload_hash};
use dac_proto::v1;
use dac_types::EcdsaKey;
use dac_types::limits::STORED_ROW_BYTES;
use dac_types::{
    Address, AdmittedRollup, AggregateAttestation, B256, BatchDigest, BatchHeader, BatchSubmission,
    Committee, Domain, EcdsaSignature, Geometry, HashKind, Member, PublicKeyBytes, Quorum, Record, Seat,
    SignedSubmission,
};

/// The Unix time in seconds at which all tests take place.
pub(crate) const NOW: u64 = 1_800_000_000;
/// The number of seconds for which the rollup may have its batches kept.
pub(crate) const RETENTION: u64 = 30 * 24 * 3600;
/// The rollup's settlement contract.
pub(crate) const ROLLUP: Address = Address::repeat_byte(0x11);
/// The number of bytes that the rollup may spend in a day.
pub(crate) const DAILY_BYTES: u64 = 100_000_000;
/// The epoch that is active.
pub(crate) const EPOCH: u64 = 2;

/// A committee of 7 (k 3, q 5), a rollup and a disperser.
pub(crate) struct World {
    pub(crate) domain: Domain,
    pub(crate) quorum: Quorum,
    pub(crate) members: Vec<SecretKey>,
    pub(crate) poster: EcdsaKey,
    pub(crate) disperser: EcdsaKey,
}

/// What may differ from an ordinary batch.
#[derive(Clone)]
pub(crate) struct Wish {
    pub(crate) batch_number: u64,
    pub(crate) epoch: u64,
    pub(crate) expires_at: u64,
    pub(crate) submit_before: u64,
    pub(crate) hash_kind: HashKind,
    pub(crate) rollup: Address,
}

impl Default for Wish {
    fn default() -> Self {
        Self {
            batch_number: 1,
            epoch: EPOCH,
            expires_at: NOW + 3600,
            submit_before: NOW + 600,
            hash_kind: HashKind::Opaque,
            rollup: ROLLUP,
        }
    }
}

/// A batch signed by poster and disperser, with what is sent to each seat.
#[derive(Clone)]
pub(crate) struct Batch {
    pub(crate) header: BatchHeader,
    pub(crate) digest: BatchDigest,
    pub(crate) submission: SignedSubmission,
    pub(crate) disperser_signature: EcdsaSignature,
    pub(crate) dispersal: Dispersal,
    pub(crate) payload: Bytes,
    pub(crate) certificate: Option<AggregateAttestation>,
}

impl World {
    pub(crate) fn new() -> Self {
        Self {
            domain: Domain { chain_id: 31337, registry: Address::repeat_byte(0xDA) },
            quorum: Quorum::new(7, 3, 5).unwrap(),
            members: (1..=7).map(|seed| SecretKey::derive(&[seed; 32])).collect(),
            poster: EcdsaKey::from_slice(&[0x51; 32]).unwrap(),
            disperser: EcdsaKey::from_slice(&[0x52; 32]).unwrap(),
        }
    }

    pub(crate) fn geometry(&self) -> Geometry {
        self.quorum.geometry()
    }

    pub(crate) fn public_key(&self, seat: Seat) -> PublicKeyBytes {
        self.members[seat.index()].public_key().to_compressed()
    }

    pub(crate) fn committee(&self, epoch: u64, from: u64, until: u64) -> Committee {
        let members = Seat::all(7)
            .map(|seat| Member {
                operator: Address::repeat_byte(0x70 + seat.0),
                public_key: self.public_key(seat),
                dispersal_url: format!("http://127.0.0.1:{}", 7000 + u16::from(seat.0)),
                retrieval_url: format!("http://127.0.0.1:{}", 8000 + u16::from(seat.0)),
            })
            .collect();
        Committee::new(epoch, self.quorum, members, from, until, until.saturating_add(3600)).unwrap()
    }

    /// Returns a registry in which epoch 1 is over, 2 is active, and 3 is to come.
    pub(crate) fn view(&self) -> RegistryView {
        let committees = [
            self.committee(1, NOW - 10_000, NOW - 1000),
            self.committee(EPOCH, NOW - 1000, NOW + 100_000),
            self.committee(3, NOW + 100_000, u64::MAX),
        ];
        let admitted = AdmittedRollup {
            rollup: ROLLUP,
            poster: self.poster.address(),
            retention_max_seconds: RETENTION,
            daily_payload_bytes: DAILY_BYTES,
        };
        RegistryView {
            chain_id: self.domain.chain_id,
            registry: self.domain.registry,
            head: BlockRef { number: 100, hash: B256::repeat_byte(1), timestamp: NOW },
            committees: committees.map(|committee| (committee.epoch(), Arc::new(committee))).into(),
            current_epoch: Some(EPOCH),
            rollups: [(ROLLUP, admitted)].into(),
            paused: false,
        }
    }

    /// Makes an ordinary batch of `length` bytes that look random.
    pub(crate) fn batch(&self, seed: u64, length: usize) -> Batch {
        self.batch_with(seed, length, &Wish { batch_number: seed, ..Wish::default() })
    }

    pub(crate) fn batch_with(&self, seed: u64, length: usize, wish: &Wish) -> Batch {
        let payload = Bytes::from(noise(seed, length));
        let hash = payload_hash(wish.hash_kind, &payload).unwrap_or(B256::repeat_byte(0x33));
        let dispersal = honest(self.geometry(), payload.clone(), hash).unwrap();
        Batch { payload, ..self.sign(dispersal, wish) }
    }

    /// Signs a dispersal as an honest disperser would, also one that it made up.
    pub(crate) fn sign(&self, dispersal: Dispersal, wish: &Wish) -> Batch {
        let mut header = BatchHeader {
            rollup: wish.rollup,
            batch_number: wish.batch_number,
            epoch: wish.epoch,
            expires_at: wish.expires_at,
            payload_length: 0,
            hash_kind: wish.hash_kind,
            batch_hash: B256::ZERO,
            shard_root: B256::ZERO,
            fingerprints_hash: B256::ZERO,
            payload_fingerprint: Vec::new(),
        };
        dispersal.fill(&mut header);
        let order = BatchSubmission {
            rollup: header.rollup,
            batch_number: header.batch_number,
            payload_length: header.payload_length,
            expires_at: header.expires_at,
            hash_kind: header.hash_kind,
            batch_hash: header.batch_hash,
            replaces: B256::ZERO,
            disperser: self.disperser.address(),
            submit_before: wish.submit_before,
        };
        let digest = header.digest(&self.domain);
        Batch {
            submission: self.order(order),
            disperser_signature: ecdsa(&self.disperser, digest.0),
            payload: dispersal.payload.clone().unwrap_or_default(),
            header,
            digest,
            dispersal,
            certificate: None,
        }
    }

    /// Makes a submission signed by the poster.
    pub(crate) fn order(&self, submission: BatchSubmission) -> SignedSubmission {
        let signature = ecdsa(&self.poster, submission.digest(&self.domain));
        SignedSubmission { submission, signature }
    }

    /// Sums the signatures of the first q seats.
    pub(crate) fn certify(&self, batch: &Batch) -> AggregateAttestation {
        let committee = self.committee(batch.header.epoch, 0, u64::MAX);
        let keys = CommitteeKeys::new(&committee).unwrap();
        let signatures: Vec<_> = Seat::all(self.quorum.q())
            .map(|seat| (seat, self.members[seat.index()].sign_digest(&batch.digest)))
            .collect();
        keys.aggregate(&batch.digest, &signatures).unwrap()
    }
}

impl Batch {
    pub(crate) fn record(&self, seat: Seat) -> Record {
        let mut record = self.dispersal.record(
            seat,
            self.header.clone(),
            self.submission.clone(),
            self.disperser_signature,
        );
        record.certificate.clone_from(&self.certificate);
        record
    }

    pub(crate) fn checked_record(&self, seat: Seat) -> Arc<CheckedRecord> {
        Arc::new(CheckedRecord::check(self.record(seat), self.dispersal.geometry).unwrap())
    }

    /// Returns the number of rows in which the shard of a seat is stored.
    pub(crate) fn rows(&self, seat: Seat) -> u64 {
        self.shard(seat).len().div_ceil(STORED_ROW_BYTES) as u64
    }

    pub(crate) fn shard(&self, seat: Seat) -> Bytes {
        self.dispersal.shards[seat.index()].clone()
    }

    pub(crate) fn checked_shard(&self, seat: Seat) -> CheckedShard {
        CheckedShard::check(&self.checked_record(seat), seat, self.shard(seat)).unwrap()
    }

    /// Returns what the disperser sends after `open`.
    pub(crate) fn body(&self, seat: Seat) -> Bytes {
        if self.header.hash_kind.is_checked() { self.payload.clone() } else { self.shard(seat) }
    }

    pub(crate) fn open(&self, world: &World, seat: Seat) -> v1::StoreShardOpen {
        v1::StoreShardOpen {
            chain_id: world.domain.chain_id,
            registry: Bytes::copy_from_slice(world.domain.registry.as_slice()),
            seat: seat.0.into(),
            record: Some((&self.record(seat)).into()),
            certificate_only: false,
        }
    }
}

/// Signs in this protocol's form.
pub(crate) fn ecdsa(signer: &EcdsaKey, digest: B256) -> EcdsaSignature {
    signer.sign(digest)
}
