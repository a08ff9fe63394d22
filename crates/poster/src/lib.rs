//! Records certificates on L1, settles batches and renews coverage there, durably: at any point it
//! may be killed and started again, and none is lost, none posted at the price of two.
//!
//! * [`plan`](self::plan) is pure: from what is stored and what was observed on L1 it decides what
//!   to store, sign and send. Nothing about inclusion is remembered, it is observed anew each time,
//!   so a reorganisation needs no special care.
//! * The actor observes, plans, signs, commits all of it to the [`PosterStore`] and only then
//!   sends.
//! * [`dac_chain::L1`] is what it sees of the chain, [`dac_chain::Broadcast`] where it hands over
//!   transactions.
//!
//! The poster's account must be used by nobody else. If it is all the same, gas is lost, but no
//! certificate.

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

/// Gas of one posting, as a rule: recording takes some 200,000.
const USUAL_GAS: u64 = 250_000;
/// Postings an hour that the usual bound on what an hour may cost leaves room for at the highest
/// price: one in each block of 12 s.
const USUAL_POSTINGS_PER_HOUR: u128 = 300;

/// How the poster works.
#[derive(Clone, Debug)]
pub struct PosterConfig {
    /// Chain and registry whose batches are posted.
    pub domain: Domain,
    /// The certificate log.
    pub log: Address,
    /// Blocks, the including one counted, after which an outcome is final; at least 1.
    pub confirmations: u64,
    /// Transactions under way at once, at most.
    pub window: usize,
    /// Batches waiting or under way, at most.
    pub queue_max: usize,
    /// How often L1 is looked at while something is under way.
    pub poll_interval: Duration,
    /// Blocks without inclusion after which a transaction is replaced by a dearer one.
    pub bump_after_blocks: u64,
    /// Wei per gas that no transaction exceeds.
    pub fee_cap: u128,
    /// Wei per gas of tip that no transaction exceeds; one that replaces another may offer twice as
    /// much.
    pub tip_cap: u128,
    /// Wei per gas of tip that each transaction offers at least, also where an endpoint suggests
    /// less.
    pub tip_floor: u128,
    /// Gas that no transaction exceeds.
    pub gas_limit_max: u64,
    /// Transactions for one batch that may fail on L1 although they were simulated before.
    pub reverts_max: u32,
    /// Nonces given to one posting that may be used without an endpoint showing the transaction.
    pub lost_max: u32,
    /// Nonces that one posting is given, also where L1 hides what became of them.
    pub attempts_max: u32,
    /// Wei that the transactions signed in an hour may cost, at most.
    pub hourly_max: u128,
    /// Wei of the account below which it is warned of.
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

    /// What an hour may cost where nothing else is said: room for a posting in each block of 12 s
    /// at the fee cap.
    pub const fn usual_hourly_max(fee_cap: u128) -> u128 {
        fee_cap.saturating_mul(USUAL_GAS as u128).saturating_mul(USUAL_POSTINGS_PER_HOUR)
    }

    /// Bounds of what is offered for gas.
    pub(crate) const fn fee_bounds(&self) -> FeeBounds {
        FeeBounds { fee_cap: self.fee_cap, tip_cap: self.tip_cap, tip_floor: self.tip_floor }
    }
}

/// How a posting ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// The certificate is recorded, the batch settled, or coverage renewed at least as far, as deep
    /// as was asked for.
    Recorded {
        /// The transaction that did it; none if it was another sender's and lies too far back to be
        /// found.
        tx_hash: Option<B256>,
        /// The block that includes it.
        block: Option<u64>,
        /// The gas that we paid for it; none if another sender did.
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

/// Why a certificate cannot be recorded, a batch not be settled, or coverage not be renewed.
#[derive(Clone, Debug, PartialEq, Eq, Error, Serialize, Deserialize)]
pub enum FailureReason {
    /// The contract refuses it for good.
    #[error("{refusal}")]
    Refused {
        /// The rule that it breaks, under the name that rows have for it.
        #[serde(rename = "revert")]
        refusal: Refusal,
    },
    /// It takes more gas than allowed.
    #[error("it takes {needed} gas, the limit is {limit}")]
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
    /// The rollup settled another batch under this number.
    #[error("the rollup settled {by} under this number")]
    NumberUsed {
        /// Which.
        #[serde(with = "digest_serde")]
        by: BatchDigest,
    },
    /// The batch expired before its turn to settle came, or what the renewal promises is over.
    #[error("it expired at {expires_at}")]
    Expired {
        /// Unix seconds.
        expires_at: u64,
    },
    /// The caller withdrew the order.
    #[error("it was withdrawn")]
    Withdrawn,
}

/// A batch or a renewal that is to be posted: one row of the store, by digest. A batch that is
/// recorded first and settled later has the newer task alone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Posting {
    /// The batch or the renewal.
    pub digest: PostingDigest,
    /// Ascending in the order of arrival; the store keeps it unique.
    pub sequence: u64,
    /// What is asked of L1. Rows from before there was a choice record.
    #[serde(default)]
    pub task: Task,
    /// The call to the certificate log or to the settlement contract; empty once it ended.
    pub calldata: Bytes,
    /// The number of its transactions that failed on L1, with all proofs together.
    pub reverts: u32,
    /// Nonces that were given to it. Rows from before this was counted have none.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub attempts: u32,
    /// Of those, the ones that were used without an endpoint showing the transaction.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub lost: u32,
    /// Once it ended.
    pub outcome: Option<Outcome>,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "as serde calls it")]
const fn is_zero(count: &u32) -> bool {
    *count == 0
}

impl Posting {
    /// One for which nothing was done yet.
    pub const fn new(digest: PostingDigest, sequence: u64, task: Task, calldata: Bytes) -> Self {
        Self { digest, sequence, task, calldata, reverts: 0, attempts: 0, lost: 0, outcome: None }
    }

    /// What is kept of it once it ended: all but the call, which nobody needs any more.
    fn ended(self, outcome: Outcome) -> Self {
        Self { calldata: Bytes::new(), outcome: Some(outcome), ..self }
    }
}

/// A nonce of the poster's account that was given out and is not finally used yet: one row of the
/// store, by nonce.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NonceSlot {
    /// The nonce.
    pub nonce: u64,
    /// What it was given to; none when there is nothing left to do with it but to use it up.
    pub digest: Option<PostingDigest>,
    /// Every transaction signed for it, oldest first. Any of them may be included.
    pub variants: Vec<SentVariant>,
}

impl NonceSlot {
    /// What the nonce costs at most, in wei: a chain includes one transaction of those with the
    /// same nonce.
    fn cost_max(&self, config: &PosterConfig) -> u128 {
        let cost =
            |variant: &SentVariant| variant.fees.cost_max(variant.gas_limit.unwrap_or(config.gas_limit_max));
        self.variants.iter().map(cost).max().unwrap_or(0)
    }
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
    /// Gas that it may take. Rows from before this was written down have none.
    #[serde(default)]
    pub gas_limit: Option<u64>,
    /// Whether it does what the slot's posting asks for, or only uses the nonce up.
    pub purpose: Purpose,
    /// The head when it was signed.
    pub signed_at_block: u64,
}

/// What a transaction is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Purpose {
    /// Does what its posting asks for. Rows have the name of the first kind of posting that there
    /// was.
    #[serde(rename = "Record")]
    Post,
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

/// Where the poster keeps what must survive: two tables of the aggregator's database.
#[async_trait]
pub trait PosterStore: Send + Sync {
    /// All that is not done.
    async fn load(&self) -> Result<Unfinished, StoreError>;
    /// One posting, done or not.
    async fn posting(&self, digest: PostingDigest) -> Result<Option<Posting>, StoreError>;
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
