//! Reads from L1 what the plan needs, all as of one head.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use alloy::primitives::{Address, B256, U256};

use super::kinds::Judgement;
use super::plan::{Observation, usual_cost};
use super::sight::{Searches, Sight};
use super::state::State;
use super::verdict::Verdict;
use super::{NonceSlot, PosterConfig, Posting};
use dac_chain::ChainError;
use dac_chain::{BlockRef, Head, Receipt};
use dac_chain::{ContractCall, L1};
use dac_chain::{Market, USUAL_TIP};
use dac_contracts::{Effect, Refusal};

/// The number of waiting postings that one round looks at beyond those that could start. It is
/// enough to notice that some expired.
const WAITING_LOOKED_AT: usize = 32;

/// After this number of failed looks at postings in a row the endpoint counts as gone, and the
/// other postings wait for the next round.
const UNASKED_IN_A_ROW_MAX: usize = 3;

/// Reads L1 for the poster.
#[derive(Clone)]
pub(super) struct Observer {
    pub(super) config: Arc<PosterConfig>,
    l1: Arc<dyn L1>,
    account: Address,
    memory: Arc<Mutex<Memory>>,
    searches: Arc<Searches>,
}

/// What is kept from one look to the next. A new process starts without it.
#[derive(Debug, Default)]
struct Memory {
    /// The number of looks so far.
    looks: usize,
    /// The sequence of the last posting that was looked at, if there are more postings than one
    /// round looks at.
    after: u64,
    /// The tip that an endpoint suggested last.
    tip: Option<u128>,
}

/// The account's balance, and the cost of a posting.
#[derive(Clone, Copy, Debug)]
pub(super) struct Purse {
    pub(super) balance: U256,
    pub(super) needed: u128,
}

impl Observer {
    pub(super) fn new(config: Arc<PosterConfig>, l1: Arc<dyn L1>, account: Address) -> Self {
        Self { config, l1, account, memory: Arc::default(), searches: Arc::default() }
    }

    /// Reads the account alone, for times when nothing is to be posted.
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

    /// Returns the tip that an endpoint suggests. If none does, posting goes on, because the tip is
    /// bounded in any case.
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
                    // A settlement's code is the rollup's own, so a node's failure with it concerns
                    // only that rollup.
                    if posting.task.kind().place().is_none() && is_lost_on_the_way(&error) {
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
        // A node that moves to the next block may answer for the old one with the state of the new
        // one. So before a certificate under way counts as recorded by another sender, its receipts
        // are read again and must still be missing.
        for slot in state.slots() {
            let verdict = slot.digest.and_then(|digest| verdicts.get(&digest));
            if !matches!(verdict, None | Some(Verdict::Acceptable { .. })) {
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

    /// Returns the postings to look at now. If there are too many for one round, the next rounds
    /// look at the others.
    fn candidates<'a>(&self, state: &'a State, most: usize) -> Vec<&'a Posting> {
        let mut memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
        memory.looks = memory.looks.wrapping_add(1);
        let mut searches = self.searches.lock().unwrap_or_else(PoisonError::into_inner);
        searches.retain(|digest, _| state.posting(*digest).is_some());
        let mut all = state.candidates(memory.looks, |digest| searches.contains_key(&digest));
        if all.len() > most {
            let first = all.partition_point(|posting| posting.sequence <= memory.after);
            let length = all.len();
            all.rotate_left(first % length);
            all.truncate(most);
            memory.after = all.last().map_or(0, |posting| posting.sequence);
        }
        all
    }

    /// If one of a slot's receipts cannot be read, the slot is left as it is, and the other slots
    /// are still read.
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

    /// Returns the newest block that has the configured confirmations, where the block itself
    /// counts as one.
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
        let kind = posting.task.kind();
        let (to, returns) = match kind.place() {
            None => (self.config.log, true),
            Some(place) => (place.contract, false),
        };
        let call = ContractCall { from: self.account, to, data: posting.calldata.clone(), returns };
        let sight = Sight {
            l1: &*self.l1,
            log: self.config.log,
            digest: posting.digest,
            call: &call,
            head,
            confirmed,
            searches: &self.searches,
        };
        let ran = self.run(&call, head).await;
        if names_no_rule(&ran)
            && let Some(verdict) = kind.look_up(&sight).await
        {
            return Ok((verdict, None));
        }
        let refusal = match ran? {
            Ran::Well { gas } => return Ok((Verdict::Acceptable { gas }, None)),
            Ran::TooLong(refusal) => return Ok((Verdict::Refused { refusal, confirmed: true }, None)),
            Ran::Refused(refusal) => refusal,
        };
        if kind.judge(&refusal) == Judgement::Done {
            return kind.find(&sight, refusal).await;
        }
        let confirmed = sight.is_refused_when_confirmed(&refusal).await?;
        Ok((Verdict::Refused { refusal, confirmed }, None))
    }

    /// Runs a call at the head without sending it.
    async fn run(&self, call: &ContractCall, head: BlockRef) -> Result<Ran, ChainError> {
        if let Err(refusal) = self.l1.simulate(call, head.hash).await? {
            return Ok(Ran::Refused(refusal));
        }
        Ok(match self.l1.estimate_gas(call, head).await? {
            Ok(gas) => Ran::Well { gas },
            // The call needs more gas than the node allows, which is treated like our own limit.
            Err(refusal @ Refusal::Halted { .. }) => Ran::TooLong(refusal),
            Err(refusal) => Ran::Refused(refusal),
        })
    }
}

/// The result of a simulated call.
#[derive(Debug)]
enum Ran {
    /// The call would succeed.
    Well { gas: u64 },
    /// The call needs more gas than the node allows.
    TooLong(Refusal),
    /// The contract refuses the call.
    Refused(Refusal),
}

/// Returns whether the call was refused without a known rule of the contract, or whether endpoints
/// disagreed, because then one of them may not name the rule.
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

/// Returns whether the question got no valid answer, so that nothing was learned about it.
const fn is_lost_on_the_way(error: &ChainError) -> bool {
    !matches!(error, ChainError::Refused { .. } | ChainError::NoContract { .. })
}
