//! The view of L1 for code that follows its events.

use async_trait::async_trait;

use super::cursor::Cursor;
use super::second::{SecondReading, read_again};
use super::step::{Step, head, step};
use super::view::{FeedConfig, L1View};
use crate::error::ChainError;
use crate::rpc::BlockRef;

/// L1 for code that follows its events: one node, or several of which one answers.
#[async_trait]
pub trait L1Events: Send + Sync {
    /// The newest block that has `confirmations` blocks on top.
    async fn head(&self, confirmations: u64) -> Result<BlockRef, ChainError>;
    /// Makes one bounded step. An error leaves nothing behind, so the same step may be repeated,
    /// after a pause that grows with every failure.
    async fn step(&self, cursor: &Cursor, config: &FeedConfig) -> Result<Step, ChainError>;
    /// Reads a page of blocks a second time if that is due, from another node if there are several;
    /// returns `None` if nothing is due. An error leaves nothing behind.
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
