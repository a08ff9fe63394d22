//! Records certificates on L1, settles batches and renews coverage there, durably: the process may
//! be killed at any point and started again, and no posting is lost or paid for twice.
//!
//! * `plan` is pure: from what is stored and what was observed on L1 it decides what
//!   to store, sign and send. Inclusion is never stored but observed anew each time, so a
//!   reorganisation needs no special care.
//! * The actor observes, plans, signs, commits all of it to the [`PosterStore`] and only then
//!   sends.
//! * The actor reads the chain through [`dac_chain::L1`] and hands over transactions through
//!   [`dac_chain::Broadcast`].
//!
//! No other program may send transactions from the poster's account. If one does, gas is lost, but
//! no certificate.

mod actor;
mod again;
mod command;
mod error;
mod handle;
mod key;
mod kinds;
mod observe;
mod plan;
mod progress;
mod queue;
mod report;
mod sending;
mod sight;
mod spending;
mod state;
#[cfg(feature = "testing")]
pub mod testing;
mod trouble;
mod verdict;

use std::time::Duration;

use alloy::primitives::{Address, B256, Bytes};
use async_trait::async_trait;
use dac_types::{BatchDigest, Domain};
use serde::{Deserialize, Serialize};
use thiserror::Error;

pub use self::command::Enqueued;
pub use self::error::{PosterError, StoreError};
pub use self::handle::{Outcomes, Poster};
pub use self::key::PostingDigest;
pub use self::kinds::{Order, Renew, Settle, Task};
pub use self::progress::{Progress, ProgressMap};
pub use self::trouble::{Payer, Trouble};
use dac_chain::amount::GWEI;
use dac_chain::{FeeBounds, Fees};
use dac_contracts::Refusal;

/// The usual gas of one posting: recording a certificate takes some 200,000.
const USUAL_GAS: u64 = 250_000;
/// Postings per hour, at the fee cap, that the default hourly spending bound allows: one in each
/// block of 12 s.
const USUAL_POSTINGS_PER_HOUR: u128 = 300;

/// The poster's configuration.
#[derive(Clone, Debug)]
pub struct PosterConfig {
    /// The chain and the registry whose batches are posted.
    pub domain: Domain,
    /// The address of the certificate log.
    pub log: Address,
    /// The number of blocks after which an outcome is final, counting the block that includes it;
    /// at least 1.
    pub confirmations: u64,
    /// The largest number of transactions that are under way at once.
    pub window: usize,
    /// The largest number of batches that are waiting or under way.
    pub queue_max: usize,
    /// The pause between two looks at L1 while a posting is under way.
    pub poll_interval: Duration,
    /// The number of blocks without inclusion after which a transaction is replaced by one that
    /// pays more.
    pub bump_after_blocks: u64,
    /// The highest price per gas, in wei, that a transaction offers.
    pub fee_cap: u128,
    /// The highest tip per gas, in wei, that a transaction offers. A transaction that replaces
    /// another may offer twice as much.
    pub tip_cap: u128,
    /// The lowest tip per gas, in wei, that a transaction offers, even if an endpoint suggests
    /// less.
    pub tip_floor: u128,
    /// The highest gas limit that a transaction has.
    pub gas_limit_max: u64,
    /// The largest number of transactions for one batch that may fail on L1 although each was
    /// simulated before.
    pub reverts_max: u32,
    /// The largest number of nonces of one posting that may be used up without any endpoint showing
    /// the transaction.
    pub lost_max: u32,
    /// The largest number of nonces that one posting is given, even if L1 hides what became of
    /// them.
    pub attempts_max: u32,
    /// The most that the transactions signed in one hour may cost, in wei.
    pub hourly_max: u128,
    /// The balance of the account, in wei, below which the poster warns.
    pub balance_floor: u128,
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
            fee_cap: 200 * GWEI,
            tip_cap: 5 * GWEI,
            tip_floor: GWEI / 100,
            gas_limit_max: 3_000_000,
            reverts_max: 5,
            lost_max: 3,
            attempts_max: 10,
            hourly_max: Self::usual_hourly_max(200 * GWEI),
            balance_floor: GWEI * GWEI / 20,
        }
    }

    /// Returns the default of `hourly_max`, in wei: enough for one posting at the fee cap in each
    /// block of 12 s.
    pub const fn usual_hourly_max(fee_cap: u128) -> u128 {
        fee_cap.saturating_mul(USUAL_GAS as u128).saturating_mul(USUAL_POSTINGS_PER_HOUR)
    }

    /// Returns the bounds of the fees that a transaction offers.
    pub(crate) const fn fee_bounds(&self) -> FeeBounds {
        FeeBounds { fee_cap: self.fee_cap, tip_cap: self.tip_cap, tip_floor: self.tip_floor }
    }
}

/// How a posting ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// The certificate is recorded, the batch settled, or coverage renewed at least as far as was
    /// asked for, with the configured number of confirmations.
    Recorded {
        /// The transaction that did it; `None` if another sender's transaction did it and lies too
        /// far back to be found.
        tx_hash: Option<B256>,
        /// The block that includes it.
        block: Option<u64>,
        /// The gas that this poster paid for; `None` if another sender did it.
        gas_used: Option<u64>,
        /// Whether this poster's transaction did it.
        by_us: bool,
    },
    /// L1 will never accept the posting.
    Failed {
        /// The reason.
        reason: FailureReason,
    },
}

/// Why a certificate cannot be recorded, a batch cannot settle, or coverage cannot be renewed.
#[derive(Clone, Debug, PartialEq, Eq, Error, Serialize, Deserialize)]
pub enum FailureReason {
    /// The contract refuses the call for good.
    #[error("{refusal}")]
    Refused {
        /// The rule that the call breaks. Database rows call this field `revert`.
        #[serde(rename = "revert")]
        refusal: Refusal,
    },
    /// The call takes more gas than allowed.
    #[error("it takes {needed} gas, the limit is {limit}")]
    GasLimit {
        /// The estimated gas.
        needed: u64,
        /// The allowed gas.
        limit: u64,
    },
    /// Every transaction succeeded in simulation and failed on L1.
    #[error("{times} transactions failed on L1 although each was simulated before")]
    FailedRepeatedly {
        /// The number of transactions that failed.
        times: u32,
    },
    /// The rollup settled another batch under this number.
    #[error("the rollup settled {by} under this number")]
    NumberUsed {
        /// The digest of that other batch.
        #[serde(with = "digest_serde")]
        by: BatchDigest,
    },
    /// The batch expired before its turn to settle came, or the time that the renewal promises is
    /// over.
    #[error("it expired at {expires_at}")]
    Expired {
        /// The expiry time, in Unix seconds.
        expires_at: u64,
    },
    /// The caller withdrew the order.
    #[error("it was withdrawn")]
    Withdrawn,
}

/// A batch or a renewal that is to be posted: one row of the store, whose key is the digest. When a
/// batch that was recorded is to settle later, the newer task replaces the older one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Posting {
    /// The digest of the batch or of the renewal.
    pub digest: PostingDigest,
    /// The posting's number in the order of arrival. The store keeps it unique.
    pub sequence: u64,
    /// What the posting asks of L1. Old rows lack this field; they mean [`Task::Record`].
    #[serde(default)]
    pub task: Task,
    /// The call to the certificate log or to the settlement contract; empty once the posting ended.
    pub calldata: Bytes,
    /// The number of its transactions that failed on L1, counted over all proofs of the batch.
    pub reverts: u32,
    /// The number of nonces that were given to it. Old rows lack this field, which means 0.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub attempts: u32,
    /// The number of those nonces that were used up without any endpoint showing the transaction.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub lost: u32,
    /// How the posting ended; `None` until then.
    pub outcome: Option<Outcome>,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "as serde calls it")]
const fn is_zero(count: &u32) -> bool {
    *count == 0
}

impl Posting {
    /// Makes a posting for which nothing was done yet.
    pub const fn new(digest: PostingDigest, sequence: u64, task: Task, calldata: Bytes) -> Self {
        Self { digest, sequence, task, calldata, reverts: 0, attempts: 0, lost: 0, outcome: None }
    }

    /// Returns the row to keep once the posting ended: all but the call, which is not needed again.
    fn ended(self, outcome: Outcome) -> Self {
        Self { calldata: Bytes::new(), outcome: Some(outcome), ..self }
    }
}

/// A nonce of the poster's account that was given out and whose use is not final yet: one row of
/// the store, whose key is the nonce.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NonceSlot {
    /// The nonce.
    pub nonce: u64,
    /// The posting that the nonce was given to; `None` when the nonce only has to be used up.
    pub digest: Option<PostingDigest>,
    /// Every transaction that was signed with this nonce, oldest first. Any of them may be
    /// included.
    pub variants: Vec<SentVariant>,
}

impl NonceSlot {
    /// Returns the most that the nonce may cost, in wei. This is the cost of its most expensive
    /// transaction, because a chain includes only one transaction of a nonce.
    fn cost_max(&self, config: &PosterConfig) -> u128 {
        let cost =
            |variant: &SentVariant| variant.fees.cost_max(variant.gas_limit.unwrap_or(config.gas_limit_max));
        self.variants.iter().map(cost).max().unwrap_or(0)
    }
}

/// A signed transaction.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SentVariant {
    /// The transaction's hash.
    pub hash: B256,
    /// The transaction's encoded bytes.
    pub raw: Bytes,
    /// The fees that it offers.
    pub fees: Fees,
    /// The transaction's gas limit; `None` in old rows, which lack this field.
    #[serde(default)]
    pub gas_limit: Option<u64>,
    /// Whether it does what the slot's posting asks for, or only uses the nonce up.
    pub purpose: Purpose,
    /// The number of the head block when the transaction was signed.
    pub signed_at_block: u64,
}

/// What a transaction is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Purpose {
    /// Does what its posting asks for. Database rows call it `Record`, after the first kind of
    /// posting that existed.
    #[serde(rename = "Record")]
    Post,
    /// Uses up a nonce that would leave a gap: the account sends zero wei to itself.
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

/// The postings and nonces of a store that are not finished.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unfinished {
    /// Postings without an outcome.
    pub postings: Vec<Posting>,
    /// All slots.
    pub slots: Vec<NonceSlot>,
    /// The highest sequence ever given out; 0 if none.
    pub last_sequence: u64,
}

/// The store of what must survive the process: two tables of the aggregator's database.
#[async_trait]
pub trait PosterStore: Send + Sync {
    /// Returns all unfinished postings and nonces.
    async fn load(&self) -> Result<Unfinished, StoreError>;
    /// Returns one posting, finished or not; `None` if the store has none with this digest.
    async fn posting(&self, digest: PostingDigest) -> Result<Option<Posting>, StoreError>;
    /// Applies all of the changes or none; they are durable when this returns.
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
