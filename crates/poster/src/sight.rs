//! The view of L1 that is used to look at one posting.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use alloy::primitives::Address;

use super::key::PostingDigest;
use dac_chain::BlockRef;
use dac_chain::ChainError;
use dac_chain::Searched;
use dac_chain::{ContractCall, L1};
use dac_contracts::Refusal;

/// Batches whose number is settled already, and how far back their events were searched. A new
/// process starts with none.
pub(crate) type Searches = Mutex<HashMap<PostingDigest, Searched>>;

/// One posting, and the blocks and contracts of L1 at which it is looked at.
pub(crate) struct Sight<'a> {
    pub(crate) l1: &'a dyn L1,
    /// The certificate log.
    pub(crate) log: Address,
    pub(crate) digest: PostingDigest,
    pub(crate) call: &'a ContractCall,
    pub(crate) head: BlockRef,
    /// The newest block that has the required confirmations.
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

    /// Returns how far back the batch's event was searched.
    pub(crate) fn recall(&self) -> Searched {
        let searches = self.searches.lock().unwrap_or_else(PoisonError::into_inner);
        searches.get(&self.digest).copied().unwrap_or_default()
    }

    /// Stores how far back the batch's event was searched.
    pub(crate) fn remember(&self, searched: Searched) {
        self.searches.lock().unwrap_or_else(PoisonError::into_inner).insert(self.digest, searched);
    }
}
