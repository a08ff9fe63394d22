//! The kinds of posting, one file each: what is asked of L1, whose turn it is, and what an answer
//! means.

mod kind;
mod record;
mod renew;
mod settle;

use serde::{Deserialize, Serialize};

pub(super) use self::kind::{Judgement, Kind, Place};
use self::record::Record;
pub use self::renew::Renew;
pub use self::settle::Settle;

/// What is asked of L1. Rows keep it, so its JSON stays as it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Task {
    /// To record a certificate in the log.
    #[default]
    Record,
    /// To settle a batch.
    Settle(Settle),
    /// To renew a rollup's coverage.
    Renew(Renew),
}

impl Task {
    /// What the poster has to know of it.
    pub(super) const fn kind(&self) -> &dyn Kind {
        match self {
            Self::Record => &Record,
            Self::Settle(settle) => settle,
            Self::Renew(renew) => renew,
        }
    }

    /// Returns whether both are of one kind; rollups and batches may differ.
    pub(super) fn is_like(&self, other: &Self) -> bool {
        std::mem::discriminant(self) == std::mem::discriminant(other)
    }
}
