//! One posting, as it is looked at on L1.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use alloy::primitives::Address;

use super::key::PostingDigest;
use dac_chain::BlockRef;
use dac_chain::ChainError;
use dac_chain::Searched;
use dac_chain::{ContractCall, L1};
use dac_contracts::Refusal;

/// Batches whose number is settled already, and how far back their events were looked for; a new
/// process begins anew.
pub(crate) type Searches = Mutex<HashMap<PostingDigest, Searched>>;

/// One posting, and where L1 is looked at for it.
pub(crate) struct Sight<'a> {
    pub(crate) l1: &'a dyn L1,
    /// The certificate log.
    pub(crate) log: Address,
    pub(crate) digest: PostingDigest,
    pub(crate) call: &'a ContractCall,
    pub(crate) head: BlockRef,
    /// The newest block that is deep enough.
    pub(crate) confirmed: BlockRef,
    pub(crate) searches: &'a Searches,
}

impl Sight<'_> {
    /// Whether the call breaks the same rule as of the confirmed block.
    pub(crate) async fn is_refused_when_confirmed(&self, refusal: &Refusal) -> Result<bool, ChainError> {
        if self.confirmed == self.head {
            return Ok(true);
        }
        let earlier = self.l1.simulate(self.call, self.confirmed.hash).await?;
        Ok(earlier.is_err_and(|earlier| earlier.is_same_rule(refusal)))
    }

    /// How far back the batch's event was looked for.
    pub(crate) fn recall(&self) -> Searched {
        let searches = self.searches.lock().unwrap_or_else(PoisonError::into_inner);
        searches.get(&self.digest).copied().unwrap_or_default()
    }

    /// Keeps how far back the batch's event was looked for.
    pub(crate) fn remember(&self, searched: Searched) {
        self.searches.lock().unwrap_or_else(PoisonError::into_inner).insert(self.digest, searched);
    }
}
