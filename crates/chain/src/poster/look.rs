//! Looking at L1: what the plan decides by, gathered as of one head.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use alloy::primitives::{B256, U256};
use dac_types::BatchDigest;

use super::l1::{ContractCall, L1};
use super::plan::{Observation, Verdict, usual_cost};
use super::state::State;
use super::{NonceSlot, PosterConfig, Posting, PostingDigest, Task};
use crate::contracts::{CertificateLog, Effect, Refusal, Settlement};
use crate::error::ChainError;
use crate::rpc::{BlockRef, Head, Receipt};
use crate::settlement::{RenewalRefusal, Searched, SettledBatch};
use crate::transaction::{Market, USUAL_TIP};

/// Waiting postings looked at in one round beyond those that could start: enough to notice that some expired.
const WAITING_LOOKED_AT: usize = 32;

/// Postings in a row that could not be asked about, after which the others have the next look: the endpoint is gone.
const UNASKED_IN_A_ROW_MAX: usize = 3;

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
    /// The tip suggested last.
    tip: Option<u128>,
}

/// What the account owns, and what a posting costs.
#[derive(Clone, Copy, Debug)]
pub(super) struct Purse {
    pub(super) balance: U256,
    pub(super) needed: u128,
}

impl Eyes {
    /// Looks at the account alone, where nothing is to be posted.
    pub(super) async fn purse(&self) -> Result<Purse, ChainError> {
        let head = self.l1.head().await?;
        let market = Market {
            base_fee: head.base_fee,
            suggested_tip: self.tip().await,
            asked_tip: 0,
            bounds: self.config.fee_bounds(),
        };
        let balance = self.l1.balance(self.account, head.block.hash).await?;
        Ok(Purse { balance, needed: usual_cost(&self.config, &market) })
    }

    /// As an endpoint suggests it: no reason to post nothing where it does not, since it is bounded anyway.
    async fn tip(&self) -> u128 {
        let suggested = self.l1.priority_fee().await.ok();
        let mut memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
        memory.tip = suggested.or(memory.tip);
        memory.tip.unwrap_or(USUAL_TIP)
    }

    pub(super) async fn look(&self, state: &State) -> Result<Observation, ChainError> {
        let head = self.l1.head().await?;
        let confirmed = self.confirmed(head).await?;
        let nonce = self.l1.nonce(self.account, head.block.hash).await?;
        let confirmed_nonce = match confirmed == head.block {
            true => nonce,
            false => self.l1.nonce(self.account, confirmed.hash).await?,
        };
        let priority_fee = self.tip().await;
        let balance = self.l1.balance(self.account, head.block.hash).await.ok();

        let (mut receipts, mut unseen) = (HashMap::new(), HashSet::new());
        for slot in state.slots() {
            self.receipts(slot, &mut receipts, &mut unseen).await;
        }
        let is_included = |slot: &NonceSlot, receipts: &HashMap<B256, Receipt>| {
            slot.variants.iter().any(|variant| receipts.contains_key(&variant.hash))
        };
        let included: Vec<_> = state
            .slots()
            .filter(|slot| is_included(slot, &receipts))
            .filter_map(|slot| slot.digest)
            .collect();

        let (mut verdicts, mut problems, mut unasked) = (HashMap::new(), HashMap::new(), HashSet::new());
        let looked_at = self.config.window + WAITING_LOOKED_AT;
        let under_way = state.under_way().filter(|posting| !included.contains(&posting.digest));
        let mut in_a_row = 0;
        for posting in under_way.chain(self.candidates(state, looked_at)) {
            let digest = posting.digest;
            match self.verdict(posting, head.block, confirmed).await {
                Ok((verdict, problem)) => {
                    problems.extend(problem.map(|problem| (digest, problem)));
                    verdicts.insert(digest, verdict);
                    in_a_row = 0;
                }
                Err(error) => {
                    // The code of a settlement is the rollup's own, and what the node makes of it is that rollup's trouble alone.
                    if posting.task == Task::Record && is_lost_on_the_way(&error) {
                        unasked.insert(digest);
                    }
                    problems.insert(digest, error.to_string());
                    in_a_row += 1;
                    if in_a_row >= UNASKED_IN_A_ROW_MAX && is_lost_on_the_way(&error) {
                        break;
                    }
                }
            }
        }
        // Nodes answer for a block they are just leaving with what the next one brought. Before a certificate under way
        // counts as somebody else's, the receipts, asked for again, must still know nothing of it.
        for slot in state.slots() {
            let verdict = slot.digest.and_then(|digest| verdicts.get(&digest));
            if !matches!(verdict, None | Some(Verdict::Recordable { .. })) {
                self.receipts(slot, &mut receipts, &mut unseen).await;
            }
        }
        Ok(Observation {
            head,
            confirmed,
            nonce,
            confirmed_nonce,
            priority_fee,
            balance,
            receipts,
            unseen,
            verdicts,
            problems,
            unasked,
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

    /// A slot of which one cannot be asked for is left as it is, and keeps nothing else from being seen.
    async fn receipts(
        &self,
        slot: &NonceSlot,
        receipts: &mut HashMap<B256, Receipt>,
        unseen: &mut HashSet<u64>,
    ) {
        for variant in &slot.variants {
            match self.l1.receipt(variant.hash).await {
                Ok(Some(receipt)) => {
                    receipts.insert(variant.hash, receipt);
                }
                Ok(None) => {}
                Err(_) => {
                    unseen.insert(slot.nonce);
                    return;
                }
            }
        }
    }

    /// The newest block with the confirmations asked for, itself counted.
    async fn confirmed(&self, head: Head) -> Result<BlockRef, ChainError> {
        let deeper = self.config.confirmations.saturating_sub(1);
        if deeper == 0 {
            return Ok(head.block);
        }
        let number = head.block.number.saturating_sub(deeper);
        self.l1.block_at(number).await?.ok_or(ChainError::BlockUnknown { block: number })
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
        let ran = self.run(&call, head).await;
        if posting.task == Task::Record
            && names_no_rule(&ran)
            && let Some(digest) = posting.digest.batch()
            && let Some(verdict) = self.by_the_books(digest, head, confirmed).await
        {
            return Ok((verdict, None));
        }
        let refusal = match ran? {
            Ran::Well { gas } => return Ok((Verdict::Recordable { gas }, None)),
            Ran::TooLong(refusal) => return Ok((Verdict::Refused { refusal, confirmed: true }, None)),
            Ran::Refused(refusal) => refusal,
        };
        let at_confirmed = match confirmed == head {
            true => Err(refusal.clone()),
            false => self.l1.simulate(&call, confirmed.hash).await?,
        };
        if let Task::Settle { settlement, batch_number, .. } = posting.task
            && refusal.is::<Settlement::BatchAlreadySettled>()
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
            return Ok((Verdict::Refused { refusal, confirmed: false }, Some(problem)));
        }
        let same = at_confirmed.is_err_and(|earlier| earlier.is_same_rule(&refusal));
        let is_done = match posting.task {
            Task::Renew { .. } => RenewalRefusal::of(&refusal) == RenewalRefusal::Covered,
            Task::Record | Task::Settle { .. } => refusal.is::<CertificateLog::AlreadyRecorded>(),
        };
        if !is_done {
            return Ok((Verdict::Refused { refusal, confirmed: same }, None));
        }
        let found = match posting.digest.batch() {
            Some(digest) if same => self.find_recorded(digest, head).await,
            // Which transaction covers as much, nobody needs to know.
            _ => None,
        };
        Ok((Verdict::Recorded { confirmed: same, found }, None))
    }

    /// Runs a call at the head without sending it.
    async fn run(&self, call: &ContractCall, head: BlockRef) -> Result<Ran, ChainError> {
        if let Err(refusal) = self.l1.simulate(call, head.hash).await? {
            return Ok(Ran::Refused(refusal));
        }
        Ok(match self.l1.estimate_gas(call, head).await? {
            Ok(gas) => Ran::Well { gas },
            // More gas than the node allows, whichever block: as with our own limit.
            Err(refusal @ Refusal::Halted { .. }) => Ran::TooLong(refusal),
            Err(refusal) => Ran::Refused(refusal),
        })
    }

    /// Nodes word refusals in their own ways, and some give no reason: what the log has recorded, its books tell. None where they do
    /// not have the digest, or cannot be read.
    async fn by_the_books(
        &self,
        digest: BatchDigest,
        head: BlockRef,
        confirmed: BlockRef,
    ) -> Option<Verdict> {
        let has = async |block: BlockRef| {
            self.l1.is_recorded(self.config.log, digest, block.hash).await.unwrap_or(false)
        };
        if !has(head).await {
            return None;
        }
        let confirmed = confirmed == head || has(confirmed).await;
        let found = if confirmed { self.find_recorded(digest, head).await } else { None };
        Some(Verdict::Recorded { confirmed, found })
    }

    /// A courtesy to the reader; not finding it, or not being allowed to look, must not hold anything up.
    async fn find_recorded(&self, digest: BatchDigest, head: BlockRef) -> Option<(u64, B256)> {
        let found = self.l1.find_recorded(self.config.log, digest, head.number).await.ok().flatten();
        found.map(|recorded| (recorded.block, recorded.tx))
    }
}

/// How a call went that was only tried.
#[derive(Debug)]
enum Ran {
    /// It would do what it is for.
    Well { gas: u64 },
    /// It takes more gas than the node allows.
    TooLong(Refusal),
    /// The contract refuses it.
    Refused(Refusal),
}

/// Whether the contract's rule is not known by which it refused, if it did. Where endpoints do not
/// agree, one may have no words for it.
fn names_no_rule(ran: &Result<Ran, ChainError>) -> bool {
    match ran {
        Ok(Ran::Well { .. }) => false,
        Ok(Ran::TooLong(refusal) | Ran::Refused(refusal)) => refusal.effect() == Effect::Unclear,
        Err(error) => matches!(
            error,
            ChainError::Refused { .. } | ChainError::Disagree { .. } | ChainError::TooFewAgree { .. }
        ),
    }
}

/// Whether nothing was learned of the question itself: no answer came, or none that is one.
const fn is_lost_on_the_way(error: &ChainError) -> bool {
    !matches!(error, ChainError::Refused { .. } | ChainError::NoContract { .. })
}
