//! Records certificates on L1, durably: at any point it may be killed and started again, and no certificate is lost,
//! none recorded at the price of two.
//!
//! * [`plan`](self::plan) is pure: from what is stored and what was observed on L1 it decides what to store, sign and
//!   send. Nothing about inclusion is remembered, it is observed anew each time, so a reorganisation needs no special care.
//! * The actor observes, plans, signs, commits all of it to the [`PosterStore`] and only then sends.
//! * [`L1`] is what it sees of the chain.
//!
//! The poster's account must be used by nobody else. If it is all the same, gas is lost, but no certificate.

mod actor;
mod l1;
mod plan;

use std::time::Duration;

use alloy::primitives::{Address, B256, Bytes};
use async_trait::async_trait;
use dac_types::{BatchDigest, Domain};
use serde::{Deserialize, Serialize};
use thiserror::Error;

pub use self::actor::{Enqueued, Outcomes, Poster};
pub use self::l1::{ContractCall, L1, RpcL1};
use crate::revert::Revert;
use crate::transaction::Fees;

/// How the poster works.
#[derive(Clone, Debug)]
pub struct PosterConfig {
    /// Chain and registry whose certificates are posted.
    pub domain: Domain,
    /// The certificate log.
    pub log: Address,
    /// Blocks, the including one counted, after which an outcome is final; at least 1.
    pub confirmations: u64,
    /// Transactions under way at once, at most.
    pub window: usize,
    /// Certificates waiting or under way, at most.
    pub queue_max: usize,
    /// How often L1 is looked at while something is under way.
    pub poll_interval: Duration,
    /// Blocks without inclusion after which a transaction is replaced by a dearer one.
    pub bump_after_blocks: u64,
    /// Wei per gas that no transaction exceeds.
    pub fee_cap: u128,
    /// Gas that no transaction exceeds.
    pub gas_limit_max: u64,
    /// Transactions for one certificate that may fail on L1 although they were simulated before.
    pub reverts_max: u32,
}

impl PosterConfig {
    /// Usual values for a chain with blocks of some seconds.
    pub fn new(domain: Domain, log: Address) -> Self {
        Self {
            domain,
            log,
            confirmations: 2,
            window: 8,
            queue_max: 10_000,
            poll_interval: Duration::from_secs(3),
            bump_after_blocks: 5,
            fee_cap: 200_000_000_000,
            gas_limit_max: 3_000_000,
            reverts_max: 5,
        }
    }
}

/// How a posting ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// The certificate is on L1, as deep as was asked for.
    Recorded {
        /// The transaction that recorded it; none if it was somebody else's and lies too far back to be found.
        tx_hash: Option<B256>,
        /// The block that includes it.
        block: Option<u64>,
        /// What we paid for it; none if it was somebody else's.
        gas_used: Option<u64>,
        /// Whether it was our transaction.
        by_us: bool,
    },
    /// L1 will never take it.
    Failed {
        /// Why.
        reason: FailureReason,
    },
}

/// Why a certificate cannot be recorded.
#[derive(Clone, Debug, PartialEq, Eq, Error, Serialize, Deserialize)]
pub enum FailureReason {
    /// The contract refuses it for good.
    #[error("{revert}")]
    Refused {
        /// The rule that it breaks.
        revert: Revert,
    },
    /// Recording it takes more gas than allowed.
    #[error("recording takes {needed} gas, the limit is {limit}")]
    GasLimit {
        /// Gas estimated.
        needed: u64,
        /// Gas allowed.
        limit: u64,
    },
    /// Simulated well every time, and failed on L1 every time.
    #[error("{times} transactions failed on L1 although each was simulated before")]
    FailedRepeatedly {
        /// Transactions.
        times: u32,
    },
}

/// A certificate that is to be recorded: one row of the store, by digest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Posting {
    /// The batch.
    #[serde(with = "digest_serde")]
    pub digest: BatchDigest,
    /// Ascending in the order of arrival; the store keeps it unique.
    pub sequence: u64,
    /// The call to the certificate log.
    pub calldata: Bytes,
    /// Transactions for it that failed on L1.
    pub reverts: u32,
    /// Once it ended.
    pub outcome: Option<Outcome>,
}

/// A nonce of the poster's account that was given out and is not finally used yet: one row of the store, by nonce.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NonceSlot {
    /// The nonce.
    pub nonce: u64,
    /// The certificate it was given to; none when there is nothing left to do with it but to use it up.
    #[serde(with = "optional_digest_serde")]
    pub digest: Option<BatchDigest>,
    /// Every transaction signed for it, oldest first. Any of them may be included.
    pub variants: Vec<SentVariant>,
}

/// A signed transaction.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SentVariant {
    /// Its hash.
    pub hash: B256,
    /// Its bytes.
    pub raw: Bytes,
    /// What it pays.
    pub fees: Fees,
    /// Whether it records the slot's certificate, or only uses the nonce up.
    pub purpose: Purpose,
    /// The head when it was signed.
    pub signed_at_block: u64,
}

/// What a transaction is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Purpose {
    /// Records a certificate.
    Record,
    /// Uses up a nonce that would leave a gap: nothing sent to oneself.
    Cancel,
}

/// A change to what the store holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Insert or replace the row with this digest.
    SavePosting(Posting),
    /// Insert or replace the row with this nonce.
    SaveSlot(NonceSlot),
    /// Delete the row with this nonce.
    ForgetSlot {
        /// The nonce.
        nonce: u64,
    },
}

/// What a store holds that is not done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unfinished {
    /// Postings without an outcome.
    pub postings: Vec<Posting>,
    /// All slots.
    pub slots: Vec<NonceSlot>,
    /// The highest sequence ever given out; 0 if none.
    pub last_sequence: u64,
}

/// The store failed. What it says is for the log.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{0}")]
pub struct StoreError(pub String);

/// Where the poster keeps what must survive: two tables of the aggregator's database.
#[async_trait]
pub trait PosterStore: Send + Sync {
    /// All that is not done.
    async fn load(&self) -> Result<Unfinished, StoreError>;
    /// One posting, done or not.
    async fn posting(&self, digest: BatchDigest) -> Result<Option<Posting>, StoreError>;
    /// All of the changes or none, durable when this returns.
    async fn commit(&self, changes: &[Change]) -> Result<(), StoreError>;
}

mod digest_serde {
    use alloy::primitives::B256;
    use dac_types::BatchDigest;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(super) fn serialize<S: Serializer>(digest: &BatchDigest, serializer: S) -> Result<S::Ok, S::Error> {
        digest.0.serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BatchDigest, D::Error> {
        B256::deserialize(deserializer).map(BatchDigest)
    }
}

mod optional_digest_serde {
    use alloy::primitives::B256;
    use dac_types::BatchDigest;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[allow(clippy::ref_option, reason = "serde's signature")]
    pub(super) fn serialize<S: Serializer>(
        digest: &Option<BatchDigest>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        digest.map(|digest| digest.0).serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<BatchDigest>, D::Error> {
        Ok(Option::<B256>::deserialize(deserializer)?.map(BatchDigest))
    }
}
