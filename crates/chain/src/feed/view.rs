//! L1 as one node shows it, and how much of it is read at once.

use async_trait::async_trait;

use super::fact::{Fact, Origin};
use crate::error::ChainError;
use crate::events::BLOCKS_PER_PAGE;
use crate::rpc::BlockRef;

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
        Self { confirmations, page_blocks: BLOCKS_PER_PAGE }
    }
}

/// L1 as one node shows it.
#[async_trait]
pub trait L1View: Send + Sync {
    /// The newest block.
    async fn latest(&self) -> Result<BlockRef, ChainError>;
    /// The block of this number; none if the node has none.
    async fn block_at(&self, number: u64) -> Result<Option<BlockRef>, ChainError>;
    /// What a contract says in blocks `from` to `to`, both included, in order. The error is
    /// [`ChainError::may_be_crowded`] where that may be too much at once.
    async fn facts(&self, origin: Origin, from: u64, to: u64) -> Result<Vec<Fact>, ChainError>;
    /// How many of so many blocks should be asked for at once, at least 1, by what the node granted
    /// before.
    fn page_width(&self, blocks: u64) -> u64 {
        blocks
    }
}
