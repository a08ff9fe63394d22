//! The errors of the poster: the reasons why it does not take an order.

use alloy::primitives::Address;
use thiserror::Error;

use super::key::PostingDigest;
use dac_chain::ChainError;

/// The poster's store failed. The text is for the log.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{0}")]
pub struct StoreError(pub String);

/// Why the poster did not do what its caller asked.
#[derive(Debug, Error)]
pub enum PosterError {
    /// The call's data cannot be encoded, or L1 failed.
    #[error(transparent)]
    Chain(#[from] ChainError),
    /// The poster's queue is full.
    #[error("{limit} batches are waiting to be posted already")]
    QueueFull {
        /// The largest number of postings that may wait.
        limit: usize,
    },
    /// The largest number of one rollup's batches is already waiting to settle.
    #[error("{limit} batches of {settlement} are waiting to settle already")]
    SettlementsQueued {
        /// The settlement contract.
        settlement: Address,
        /// The largest number of settlements that may wait.
        limit: usize,
    },
    /// The largest number of one rollup's renewals is already waiting.
    #[error("{limit} renewals of {settlement} are waiting already")]
    RenewalsQueued {
        /// The settlement contract.
        settlement: Address,
        /// The largest number of renewals that may wait.
        limit: usize,
    },
    /// Another posting of the same batch is under way.
    #[error("another posting of {digest} is under way")]
    OtherPosting {
        /// The digest of the posting.
        digest: PostingDigest,
    },
    /// The poster's store failed.
    #[error("the poster's store failed: {0}")]
    Store(#[from] StoreError),
    /// The poster has stopped.
    #[error("the poster has stopped")]
    Stopped,
}
