//! Looking at L1: what the plan decides by, gathered as of one head.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use alloy::primitives::B256;

use super::l1::{ContractCall, L1};
use super::plan::{Observation, State, Verdict};
use super::{NonceSlot, PosterConfig, Posting, PostingDigest, Task};
use crate::error::ChainError;
use crate::revert::Revert;
use crate::rpc::{BlockRef, Head, Receipt};
use crate::settlement::{RenewalRefusal, Searched, SettledBatch};

/// Waiting postings looked at in one round beyond those that could start: enough to notice that some expired.
const WAITING_LOOKED_AT: usize = 32;

/// Looks at L1.
#[derive(Clone)]
pub(super) struct Eyes {
    pub(super) config: Arc<PosterConfig>,
    pub(super) l1: Arc<dyn L1>,
    pub(super) account: alloy::primitives::Address,
    pub(super) memory: Arc<Mutex<Memory>>,
}

/// What a look remembers of those before; a new process begins anew.
#[derive(Debug, Default)]
pub(super) struct Memory {
    /// Batches whose number is settled already, and how far back that was looked for.
    searches: HashMap<PostingDigest, Searched>,
    /// Looks so far.
    looks: usize,
    /// The last one that was looked at, where there are more than are looked at in one round.
    after: u64,
}

impl Eyes {
    pub(super) async fn look(&self, state: &State) -> Result<Observation, ChainError> {
        let head = self.l1.head().await?;
        let confirmed = self.confirmed(head).await?;
        let nonce = self.l1.nonce(self.account, head.block.hash).await?;
        let confirmed_nonce = match confirmed == head.block {
            true => nonce,
            false => self.l1.nonce(self.account, confirmed.hash).await?,
        };
        let priority_fee = self.l1.priority_fee().await?;

        let mut receipts = HashMap::new();
        for slot in state.slots() {
            self.receipts(slot, &mut receipts).await?;
        }
        let is_included = |slot: &NonceSlot, receipts: &HashMap<B256, Receipt>| {
            slot.variants.iter().any(|variant| receipts.contains_key(&variant.hash))
        };
        let included: Vec<_> = state
            .slots()
            .filter(|slot| is_included(slot, &receipts))
            .filter_map(|slot| slot.digest)
            .collect();

        let (mut verdicts, mut problems) = (HashMap::new(), HashMap::new());
        let looked_at = self.config.window + WAITING_LOOKED_AT;
        let under_way = state.under_way().filter(|posting| !included.contains(&posting.digest));
        for posting in under_way.chain(self.candidates(state, looked_at)) {
            match (self.verdict(posting, head.block, confirmed).await, posting.task) {
                (Ok((verdict, problem)), _) => {
                    problems.extend(problem.map(|problem| (posting.digest, problem)));
                    verdicts.insert(posting.digest, verdict);
                }
                (Err(error), Task::Record) => return Err(error),
                // The code that ran is the rollup's own: whatever it makes of the node is nobody else's trouble.
                (Err(error), Task::Settle { .. } | Task::Renew { .. }) => {
                    problems.insert(posting.digest, error.to_string());
                }
            }
        }
        // Nodes answer for a block they are just leaving with what the next one brought. Before a certificate under way
        // counts as somebody else's, the receipts, asked for again, must still know nothing of it.
        for slot in state.slots() {
            let verdict = slot.digest.and_then(|digest| verdicts.get(&digest));
            if !matches!(verdict, None | Some(Verdict::Recordable { .. })) {
                self.receipts(slot, &mut receipts).await?;
            }
        }
        Ok(Observation {
            head,
            confirmed,
            nonce,
            confirmed_nonce,
            priority_fee,
            receipts,
            verdicts,
            problems,
        })
    }

    /// Those that are looked at now: where there are too many for one round, the others have the next ones.
    fn candidates<'a>(&self, state: &'a State, most: usize) -> Vec<&'a Posting> {
        let mut memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
        memory.looks = memory.looks.wrapping_add(1);
        memory.searches.retain(|digest, _| state.posting(*digest).is_some());
        let mut all = state.candidates(memory.looks, |digest| memory.searches.contains_key(&digest));
        if all.len() > most {
            let first = all.partition_point(|posting| posting.sequence <= memory.after);
            let length = all.len();
            all.rotate_left(first % length);
            all.truncate(most);
            memory.after = all.last().map_or(0, |posting| posting.sequence);
        }
        all
    }

    async fn receipts(
        &self,
        slot: &NonceSlot,
        receipts: &mut HashMap<B256, Receipt>,
    ) -> Result<(), ChainError> {
        for variant in &slot.variants {
            if let Some(receipt) = self.l1.receipt(variant.hash).await? {
                receipts.insert(variant.hash, receipt);
            }
        }
        Ok(())
    }

    /// The newest block with the confirmations asked for, itself counted.
    async fn confirmed(&self, head: Head) -> Result<BlockRef, ChainError> {
        let deeper = self.config.confirmations.saturating_sub(1);
        if deeper == 0 {
            return Ok(head.block);
        }
        let number = head.block.number.saturating_sub(deeper);
        self.l1.block_at(number).await?.ok_or(ChainError::BlockRange { from: number, to: head.block.number })
    }

    async fn verdict(
        &self,
        posting: &Posting,
        head: BlockRef,
        confirmed: BlockRef,
    ) -> Result<(Verdict, Option<String>), ChainError> {
        let (to, returns) = match posting.task.settlement() {
            None => (self.config.log, true),
            Some(settlement) => (settlement, false),
        };
        let call = ContractCall { from: self.account, to, data: posting.calldata.clone(), returns };
        let revert = match self.l1.simulate(&call, head.hash).await? {
            Ok(()) => match self.l1.estimate_gas(&call).await? {
                Ok(gas) => return Ok((Verdict::Recordable { gas }, None)),
                // More gas than the node allows, whichever block: as with our own limit.
                Err(revert @ Revert::Halted { .. }) => {
                    return Ok((Verdict::Refused { revert, confirmed: true }, None));
                }
                Err(revert) => revert,
            },
            Err(revert) => revert,
        };
        let at_confirmed = match confirmed == head {
            true => Err(revert.clone()),
            false => self.l1.simulate(&call, confirmed.hash).await?,
        };
        if let (Task::Settle { settlement, batch_number, .. }, Revert::BatchAlreadySettled { .. }) =
            (posting.task, &revert)
        {
            // Whose it was, only the event tells. Meanwhile, and for ever if there is none, later numbers go on.
            let digest = posting.digest;
            let recall = || self.memory.lock().unwrap_or_else(PoisonError::into_inner);
            let mut searched = recall().searches.get(&digest).copied().unwrap_or_default();
            let found = self.l1.find_settled(settlement, batch_number, head.number, &mut searched).await;
            recall().searches.insert(digest, searched);
            let problem = match found {
                Ok(Some(SettledBatch { digest: by, block, tx, .. })) => {
                    let confirmed = block <= confirmed.number;
                    let verdict = match PostingDigest::from(by) == digest {
                        true => Verdict::Recorded { confirmed, found: Some((block, tx)) },
                        false => Verdict::NumberUsed { by, confirmed },
                    };
                    return Ok((verdict, None));
                }
                Ok(None) if searched.is_over() => {
                    format!("batch {batch_number} is settled, but its event was not found")
                }
                Ok(None) => format!("batch {batch_number} is settled, its event is looked for"),
                Err(error) => {
                    format!("batch {batch_number} is settled, but its event was not found: {error}")
                }
            };
            return Ok((Verdict::Refused { revert, confirmed: false }, Some(problem)));
        }
        // The same rule, though its values may differ: an expiry names the block's time.
        let same = at_confirmed
            .is_err_and(|earlier| std::mem::discriminant(&earlier) == std::mem::discriminant(&revert));
        let is_done = match posting.task {
            Task::Renew { .. } => RenewalRefusal::of(&revert) == RenewalRefusal::Covered,
            Task::Record | Task::Settle { .. } => matches!(revert, Revert::AlreadyRecorded { .. }),
        };
        if !is_done {
            return Ok((Verdict::Refused { revert, confirmed: same }, None));
        }
        let found = match posting.digest.batch() {
            // A courtesy to the reader; not finding it, or not being allowed to look, must not hold anything up.
            Some(digest) if same => {
                self.l1.find_recorded(self.config.log, digest, head.number).await.ok().flatten()
            }
            // Which transaction covers as much, nobody needs to know.
            _ => None,
        };
        let found = found.map(|recorded| (recorded.block, recorded.tx));
        Ok((Verdict::Recorded { confirmed: same, found }, None))
    }
}
