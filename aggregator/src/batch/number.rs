//! Whether a submission may take its batch number (section 8 of `docs/protocol.md`).

use dac_types::BatchDigest;
use thiserror::Error;

use super::id::SubmissionDigest;

/// The batch that holds a batch number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// The batch.
    pub id: SubmissionDigest,
    /// Whether the batch is on L1, or its settlement passed the simulation and may be on its way
    /// there. Then it is too late to replace the batch.
    pub posted: bool,
    /// The digests of its headers, one for each epoch in which it was dispersed.
    pub digests: Vec<BatchDigest>,
}

/// Why a submission may not take its batch number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum NumberTaken {
    /// Another payload holds the number, and the submission does not say that it replaces it.
    #[error("submission {holder} holds this batch number")]
    Conflict {
        /// The batch that holds the number.
        holder: SubmissionDigest,
    },
    /// The submission replaces another batch than the one that holds the number.
    #[error("`replaces` names {named}, but submission {holder} holds this batch number")]
    OtherReplaced {
        /// The batch that holds the number.
        holder: SubmissionDigest,
        /// The batch that the submission names.
        named: BatchDigest,
    },
    /// The batch that holds the number is on L1 or on its way there, and cannot be replaced.
    #[error("`replaces` names {named}, which is posted or on its way to L1")]
    Posted {
        /// The batch that the submission names.
        named: BatchDigest,
    },
}

/// Returns the batch that a submission replaces, if it replaces one. While a batch holds its
/// number, another payload is refused unless it names that batch in `replaces` and that batch is
/// neither posted nor on its way to L1.
///
/// If no batch holds the number, `replaces` is ignored: it names another aggregator's batch, or one
/// that failed.
pub fn may_take_number(
    holder: Option<&Holder>,
    replaces: Option<BatchDigest>,
) -> Result<Option<SubmissionDigest>, NumberTaken> {
    match (holder, replaces) {
        (None, _) => Ok(None),
        (Some(holder), None) => Err(NumberTaken::Conflict { holder: holder.id }),
        (Some(holder), Some(named)) if !holder.digests.contains(&named) => {
            Err(NumberTaken::OtherReplaced { holder: holder.id, named })
        }
        (Some(holder), Some(named)) if holder.posted => Err(NumberTaken::Posted { named }),
        (Some(holder), Some(_)) => Ok(Some(holder.id)),
    }
}
