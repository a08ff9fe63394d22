//! What is read from the store and what comes of a change.

use dac_types::BatchDigest;

use super::UploadId;
use crate::batch::{Batch, SubmissionDigest};
use crate::submit::NumberTaken;

/// The version of a batch that was just created.
pub const FIRST_VERSION: i64 = 1;

/// A batch as read, and the version that a change must be made from.
#[derive(Clone, Debug)]
pub struct Versioned {
    /// The batch.
    pub batch: Batch,
    /// Counts its changes.
    pub version: i64,
    /// Its payload.
    pub upload: UploadId,
}

/// The batch that holds a batch number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// Which.
    pub id: SubmissionDigest,
    /// It is on L1, or its settlement passed the simulation and may be on its way there: too late
    /// to replace it.
    pub posted: bool,
    /// The digests of its headers, one for each epoch it was dispersed in.
    pub digests: Vec<BatchDigest>,
}

/// What became of an upload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Creation {
    /// It is a batch now; and took the number of a former one, if it said so.
    Created {
        /// The batch that failed for it.
        replaced: Option<SubmissionDigest>,
    },
    /// The same submission was made a batch before.
    Exists,
    /// Its number is taken.
    Refused(NumberTaken),
}

/// A batch in a listing.
#[derive(Clone, Debug)]
pub struct Listed {
    /// Without members and record.
    pub batch: Batch,
    /// Of its newest header.
    pub digest: Option<BatchDigest>,
    /// Of its newest header; 0 if there is none.
    pub epoch: u64,
}

/// Where a listing goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageToken {
    /// Of the last batch on the former page.
    pub received_at_ms: u64,
    /// Of the last batch on the former page.
    pub id: SubmissionDigest,
}

/// One page of a listing.
#[derive(Clone, Debug)]
pub struct Page {
    /// Newest first.
    pub batches: Vec<Listed>,
    /// None where this is the last page.
    pub next: Option<PageToken>,
}
