//! What the poster is asked to post.

use alloy::primitives::Bytes;
use dac_types::{Certificate, Domain};

use super::key::PostingDigest;
use super::kinds::{Renew, Settle, Task};
use dac_chain::ChainError;
use dac_chain::{RenewOrder, SettleOrder};
use dac_contracts::calls::record_calldata;

/// What is to be posted: a kind of call, and the call itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    /// The batch or the renewal.
    pub digest: PostingDigest,
    /// What is asked of L1.
    pub task: Task,
    /// The call to the certificate log or to the rollup's contract.
    pub calldata: Bytes,
}

impl Order {
    /// To record a certificate in the log.
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
