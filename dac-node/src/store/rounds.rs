//! How far re-verification has come.

use async_trait::async_trait;
use dac_types::BatchDigest;

use super::error::StoreError;

/// Where the round of re-verification stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Scrub {
    /// Batches up to this place in the order of storing were looked at.
    pub after: u64,
    /// The Unix time in seconds at which the round began. It is 0 where none is under way.
    pub began_at: u64,
    /// The Unix time in seconds at which the last full round ended. It is 0 where none has.
    pub ended_at: u64,
}

/// The progress of re-verification. A restart goes on where the last process was.
#[async_trait]
pub trait Rounds: Send + Sync + 'static {
    /// Returns at most `limit` stored batches after a place in the order of storing, with their
    /// places.
    async fn stored_after(&self, after: u64, limit: u32) -> Result<Vec<(u64, BatchDigest)>, StoreError>;

    /// Returns where re-verification stands.
    async fn scrub(&self) -> Result<Scrub, StoreError>;

    /// Sets where re-verification goes on. It is durable when this returns.
    async fn set_scrub(&self, scrub: Scrub) -> Result<(), StoreError>;
}
