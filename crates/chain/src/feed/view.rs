//! L1 as one node shows it, and how many blocks are read at once.

use async_trait::async_trait;

use super::fact::{Fact, Origin};
use crate::error::ChainError;
use crate::events::BLOCKS_PER_PAGE;
use crate::rpc::BlockRef;

/// The limits of reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FeedConfig {
    /// The number of blocks that must lie on top of one before it is read.
    pub confirmations: u64,
    /// The most blocks of one step; at least 1.
    pub page_blocks: u64,
}

impl FeedConfig {
    /// A configuration with pages of the usual size.
    pub const fn new(confirmations: u64) -> Self {
        Self { confirmations, page_blocks: BLOCKS_PER_PAGE }
    }
}

/// L1 as one node shows it.
#[async_trait]
pub trait L1View: Send + Sync {
    /// The newest block.
    async fn latest(&self) -> Result<BlockRef, ChainError>;
    /// The block of this number; `None` if the node has none.
    async fn block_at(&self, number: u64) -> Result<Option<BlockRef>, ChainError>;
    /// A contract's facts in blocks `from` to `to`, both included, in order. If the range may have
    /// been too wide, the error is [`ChainError::may_be_crowded`].
    async fn facts(&self, origin: Origin, from: u64, to: u64) -> Result<Vec<Fact>, ChainError>;
    /// How many of `blocks` blocks should be asked for at once, at least 1, given what the node
    /// granted before.
    fn page_width(&self, blocks: u64) -> u64 {
        blocks
    }
}
