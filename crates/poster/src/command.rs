//! Requests to the poster, and its answers.

use alloy::primitives::Bytes;
use tokio::sync::oneshot;

use super::error::PosterError;
use super::key::PostingDigest;
use super::{Outcome, Task};

/// What became of a request to post something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Enqueued {
    /// The digest of the batch or the renewal.
    pub digest: PostingDigest,
    /// How it ended, if it was posted before.
    pub outcome: Option<Outcome>,
}

/// A request to the actor.
#[derive(Debug)]
pub(super) struct Command {
    pub(super) digest: PostingDigest,
    pub(super) what: What,
    pub(super) reply: oneshot::Sender<Result<Enqueued, PosterError>>,
}

/// What the actor is asked to do with a posting.
#[derive(Debug)]
pub(super) enum What {
    Post { task: Task, calldata: Bytes },
    Withdraw,
}
