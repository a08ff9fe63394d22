//! The types that are written to the store and read from it.

use bytes::Bytes;
use dac_types::BatchDigest;

use crate::batch::{Batch, NumberTaken, SubmissionDigest};

/// The version of a batch that was just created.
pub const FIRST_VERSION: i64 = 1;

/// The name of a stored payload, drawn at random for every upload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UploadId(pub [u8; 16]);

impl UploadId {
    pub(super) fn random() -> Self {
        Self(rand::random())
    }
}

/// A payload that has arrived completely.
#[derive(Clone, Debug)]
pub struct Arrived {
    /// The payload's name.
    pub upload: UploadId,
    /// The number of rows that were staged before. If it is 0, the store does not know the upload
    /// yet.
    pub staged_rows: u32,
    /// The rows that follow and are not stored yet. Each has `STORED_ROW_BYTES`; only the last one
    /// may be shorter.
    pub rest: Vec<Bytes>,
}

/// A batch as read, and the version that a change must be made from.
#[derive(Clone, Debug)]
pub struct Versioned {
    /// The batch.
    pub batch: Batch,
    /// The number that rises with each of its changes.
    pub version: i64,
    /// The name of its payload.
    pub upload: UploadId,
}

/// The outcome of creating a batch from an upload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Creation {
    /// The upload is a batch now. It took the number of a former batch if it named that batch.
    Created {
        /// The batch that failed for it.
        replaced: Option<SubmissionDigest>,
    },
    /// The same submission was made a batch before.
    Exists,
    /// The batch number is taken.
    Refused(NumberTaken),
}

/// A batch in a listing.
#[derive(Clone, Debug)]
pub struct Listed {
    /// The batch, without members and record.
    pub batch: Batch,
    /// The digest of its newest header.
    pub digest: Option<BatchDigest>,
    /// The epoch of its newest header; 0 if there is none.
    pub epoch: u64,
}

/// Where a listing goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageToken {
    /// The time of the last batch on the former page.
    pub received_at_ms: u64,
    /// The last batch on the former page.
    pub id: SubmissionDigest,
}

/// One page of a listing.
#[derive(Clone, Debug)]
pub struct Page {
    /// The batches, newest first.
    pub batches: Vec<Listed>,
    /// Where the next page begins; none on the last page.
    pub next: Option<PageToken>,
}
