//! What L1 says that members owe: certificates recorded, batches settled, coverage renewed; read once each, in order, and
//! taken back where the chain was reorganised.
//!
//! * [`Cursor`] is all that is remembered of one contract. Whoever keeps what was learned stores it in the same transaction.
//! * [`step`] makes one bounded step from a cursor over one [`L1View`]; it holds nothing else, so it may be repeated at any time.
//! * [`read_again`] reads what was read once more when it lies deeper: what a node did not have yet is found then.
//! * [`RpcEvents`] does both over JSON-RPC: all of one step from one endpoint, and from the next one where that fails.
//!
//! **Reorganisations.** A cursor has the hashes of blocks that were read, dense near the newest and ever sparser behind it. Where
//! one is no longer on the chain, the step is [`Step::Rewind`]: to the newest that is. When none is, reading begins anew.
//!
//! **Endpoints that differ.** A block counts as replaced only when another one is seen in its place. A head that goes back over
//! the same blocks, because an endpoint is behind, is [`Step::Behind`]: nothing is taken back, nothing is learned.

mod cursor;
mod pages;
mod rpc;
#[cfg(test)]
mod rpc_tests;
mod second;
#[cfg(test)]
mod second_tests;
mod step;
#[cfg(test)]
mod step_tests;

use alloy::primitives::{Address, B256};
use async_trait::async_trait;
use dac_types::RenewalDigest;
use serde::{Deserialize, Serialize};

pub use self::cursor::{Checkpoint, Cursor, CursorError};
pub use self::rpc::RpcEvents;
pub use self::second::{SecondReading, read_again};
pub use self::step::{head, step};
use crate::error::ChainError;
use crate::log::RecordedCertificate;
use crate::rpc::BlockRef;
use crate::settlement::SettledBatch;

/// The contract that is read, and so which events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Origin {
    /// The certificate log at this address.
    Log(Address),
    /// A rollup's settlement contract.
    Settlement(Address),
}

impl Origin {
    /// The contract's address.
    pub const fn address(&self) -> Address {
        match self {
            Self::Log(address) | Self::Settlement(address) => *address,
        }
    }
}

/// Coverage that was renewed on L1: a quorum holds all batches up to one, and serves them for longer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RenewedCoverage {
    /// What the quorum signed.
    pub digest: RenewalDigest,
    /// The rollup's settlement contract.
    pub rollup: Address,
    /// Batches 1 to this one.
    pub last_batch: u64,
    /// The epoch that signed.
    pub epoch: u64,
    /// Unix seconds until which they are served.
    pub expires_at: u64,
    /// Unix seconds until which all settled batches are covered now.
    pub coverage_until: u64,
    /// The block that has it.
    pub block: u64,
    /// The transaction that did it.
    pub tx: B256,
}

/// What L1 says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fact {
    /// The log recorded a certificate.
    Recorded(RecordedCertificate),
    /// A rollup settled a batch.
    Settled {
        /// The rollup: the contract that said so.
        rollup: Address,
        /// The batch.
        batch: SettledBatch,
    },
    /// A rollup's coverage was renewed.
    Renewed(RenewedCoverage),
}

impl Fact {
    /// The block that has it.
    pub const fn block(&self) -> u64 {
        match self {
            Self::Recorded(certificate) => certificate.block,
            Self::Settled { batch, .. } => batch.block,
            Self::Renewed(renewed) => renewed.block,
        }
    }
}

/// How far one step brought.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// The chain was reorganised: what came from blocks above `to_block` is no longer so. Undo it, store the cursor, go on.
    Rewind {
        /// The newest block that still counts; 0 when reading begins anew.
        to_block: u64,
        /// From where to go on.
        cursor: Cursor,
    },
    /// Some more blocks were read. There may be no facts in them; the cursor is to be stored all the same.
    Facts {
        /// In the order in which they happened.
        facts: Vec<Fact>,
        /// From where to go on.
        cursor: Cursor,
        /// The newest block with the confirmations asked for. All was read when the cursor has come to it.
        head: BlockRef,
    },
    /// Everything up to the head was read before.
    UpToDate {
        /// The newest block with the confirmations asked for.
        head: BlockRef,
    },
    /// The endpoint has less of the chain than was read before, and nothing that contradicts it: it lags, or a reorganisation
    /// is still shorter than what it replaces. What was learned stays; ask again later.
    Behind {
        /// Its newest block with the confirmations asked for.
        head: BlockRef,
    },
}

impl Step {
    /// Whether all is read that has the confirmations asked for.
    pub fn is_caught_up(&self) -> bool {
        match self {
            Self::Rewind { .. } | Self::Behind { .. } => false,
            Self::Facts { cursor, head, .. } => cursor.next_block() > head.number,
            Self::UpToDate { .. } => true,
        }
    }
}

/// How the chain is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FeedConfig {
    /// Blocks that must lie on top of one before it is read.
    pub confirmations: u64,
    /// Blocks of one step, at most; at least 1.
    pub page_blocks: u64,
}

impl FeedConfig {
    /// Usual pages.
    pub const fn new(confirmations: u64) -> Self {
        Self { confirmations, page_blocks: crate::events::BLOCKS_PER_PAGE }
    }
}

/// L1 as one node shows it.
#[async_trait]
pub trait L1View: Send + Sync {
    /// The newest block.
    async fn latest(&self) -> Result<BlockRef, ChainError>;
    /// The block of this number; none if the node has none.
    async fn block_at(&self, number: u64) -> Result<Option<BlockRef>, ChainError>;
    /// What a contract says in blocks `from` to `to`, both included, in order. [`ChainError::may_be_crowded`] where that may be too
    /// much at once.
    async fn facts(&self, origin: Origin, from: u64, to: u64) -> Result<Vec<Fact>, ChainError>;
    /// How many of so many blocks should be asked for at once, at least 1, by what the node granted before.
    fn page_width(&self, blocks: u64) -> u64 {
        blocks
    }
}

/// L1 as those see it who follow it: one node, or several of which one answers.
#[async_trait]
pub trait L1Events: Send + Sync {
    /// The newest block that has `confirmations` blocks on top.
    async fn head(&self, confirmations: u64) -> Result<BlockRef, ChainError>;
    /// One bounded step. Errors leave nothing behind: the same step may be made again, after a pause that grows with every
    /// failure.
    async fn step(&self, cursor: &Cursor, config: &FeedConfig) -> Result<Step, ChainError>;
    /// Reads a page of blocks a second time where that is due, elsewhere where there are several nodes; none where nothing is due.
    /// Errors leave nothing behind.
    async fn read_again(
        &self,
        cursor: &Cursor,
        head: u64,
        config: &FeedConfig,
    ) -> Result<Option<SecondReading>, ChainError>;
}

#[async_trait]
impl<V: L1View> L1Events for V {
    async fn head(&self, confirmations: u64) -> Result<BlockRef, ChainError> {
        head(self, confirmations).await
    }

    async fn step(&self, cursor: &Cursor, config: &FeedConfig) -> Result<Step, ChainError> {
        step(self, cursor, config).await
    }

    async fn read_again(
        &self,
        cursor: &Cursor,
        head: u64,
        config: &FeedConfig,
    ) -> Result<Option<SecondReading>, ChainError> {
        read_again(self, cursor, head, config).await
    }
}
