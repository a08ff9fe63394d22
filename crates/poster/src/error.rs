//! Why the poster does not take what is to be posted.

use alloy::primitives::Address;
use thiserror::Error;

use super::key::PostingDigest;
use dac_chain::ChainError;

/// The poster's store failed. The text is for the log.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{0}")]
pub struct StoreError(pub String);

/// What went wrong between the poster and who asks it.
#[derive(Debug, Error)]
pub enum PosterError {
    /// The call cannot be written, or L1 failed.
    #[error(transparent)]
    Chain(#[from] ChainError),
    /// The poster's queue is full.
    #[error("{limit} batches are waiting to be posted already")]
    QueueFull {
        /// Certificates waiting at most.
        limit: usize,
    },
    /// One rollup has all the room in the poster's queue that it may have.
    #[error("{limit} batches of {settlement} are waiting to settle already")]
    SettlementsQueued {
        /// The settlement contract.
        settlement: Address,
        /// Settlements waiting at most.
        limit: usize,
    },
    /// One rollup's renewals have all the room that they may have.
    #[error("{limit} renewals of {settlement} are waiting already")]
    RenewalsQueued {
        /// The settlement contract.
        settlement: Address,
        /// Renewals waiting at most.
        limit: usize,
    },
    /// Another posting of the same batch is under way.
    #[error("another posting of {digest} is under way")]
    OtherPosting {
        /// What is posted.
        digest: PostingDigest,
    },
    /// The poster's store failed.
    #[error("the poster's store failed: {0}")]
    Store(#[from] StoreError),
    /// The poster has stopped.
    #[error("the poster has stopped")]
    Stopped,
}
