//! The kinds of posting, one file for each: the call, the order in which postings are sent, and the
//! meaning of L1's answers. This file lists the kinds and makes orders of them.

mod kind;
mod record;
mod renew;
mod settle;

use alloy::primitives::Bytes;
use dac_chain::{ChainError, RenewOrder, SettleOrder};
use dac_contracts::calls::record_calldata;
use dac_types::{Certificate, Domain};
use serde::{Deserialize, Serialize};

pub(super) use self::kind::{Judgement, Kind, Place};
use self::record::Record;
pub use self::renew::Renew;
pub use self::settle::Settle;
use super::key::PostingDigest;

/// What L1 is asked to do. Database rows keep its JSON, whose form must not change.
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
    /// Returns the kind of this task.
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

/// An order to the poster: a kind of call, and the call itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    /// The digest of the batch or of the renewal.
    pub digest: PostingDigest,
    /// What L1 is asked to do.
    pub task: Task,
    /// The call to the certificate log or to the rollup's contract.
    pub calldata: Bytes,
}

impl Order {
    /// Makes the order to record a certificate in the log.
    pub fn record(certificate: &Certificate, domain: &Domain) -> Result<Self, ChainError> {
        let digest = certificate.header.digest(domain).into();
        Ok(Self { digest, task: Task::Record, calldata: record_calldata(certificate)? })
    }
}

impl From<&SettleOrder> for Order {
    fn from(order: &SettleOrder) -> Self {
        let SettleOrder { digest, settlement, batch_number, expires_at, ref calldata } = *order;
        let task = Task::Settle(Settle { settlement, batch_number, expires_at });
        Self { digest: digest.into(), task, calldata: calldata.clone() }
    }
}

impl From<&RenewOrder> for Order {
    fn from(order: &RenewOrder) -> Self {
        let RenewOrder { digest, settlement, last_batch, expires_at, ref calldata } = *order;
        let task = Task::Renew(Renew { settlement, last_batch, expires_at });
        Self { digest: digest.into(), task, calldata: calldata.clone() }
    }
}
