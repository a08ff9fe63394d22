//! What to do next, decided from what is stored and what L1 shows: no clock, no I/O.

use std::collections::{BTreeMap, HashMap, HashSet};

use alloy::primitives::B256;
use dac_types::BatchDigest;

use super::{
    Change, FailureReason, NonceSlot, Outcome, PosterConfig, Posting, PostingDigest, Purpose, Task,
    Unfinished,
};
use crate::error::ChainError;
use crate::revert::Revert;
use crate::rpc::{BlockRef, Head, Receipt};
use crate::transaction::{Fees, TRANSFER_GAS};

/// What is not done, as the store holds it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct State {
    /// Postings without an outcome, by sequence.
    postings: BTreeMap<u64, Posting>,
    sequences: HashMap<PostingDigest, u64>,
    slots: BTreeMap<u64, NonceSlot>,
    last_sequence: u64,
}

impl From<Unfinished> for State {
    fn from(unfinished: Unfinished) -> Self {
        let mut state = Self { last_sequence: unfinished.last_sequence, ..Self::default() };
        for posting in unfinished.postings {
            state.apply(&Change::SavePosting(posting));
        }
        for slot in unfinished.slots {
            state.apply(&Change::SaveSlot(slot));
        }
        state
    }
}

impl State {
    /// Follows a change that the store has committed.
    pub(super) fn apply(&mut self, change: &Change) {
        match change {
            Change::SavePosting(posting) => {
                self.last_sequence = self.last_sequence.max(posting.sequence);
                if let Some(former) = self.sequences.remove(&posting.digest) {
                    self.postings.remove(&former);
                }
                if posting.outcome.is_none() {
                    self.sequences.insert(posting.digest, posting.sequence);
                    self.postings.insert(posting.sequence, posting.clone());
                }
            }
            Change::SaveSlot(slot) => {
                self.slots.insert(slot.nonce, slot.clone());
            }
            Change::ForgetSlot { nonce } => {
                self.slots.remove(nonce);
            }
        }
    }

    pub(super) fn is_idle(&self) -> bool {
        self.postings.is_empty() && self.slots.is_empty()
    }

    /// Used up even where the commit that was to use it seems to fail: it may be in the store all the same.
    pub(super) fn take_sequence(&mut self) -> u64 {
        self.last_sequence += 1;
        self.last_sequence
    }

    pub(super) fn posting(&self, digest: PostingDigest) -> Option<&Posting> {
        self.postings.get(self.sequences.get(&digest)?)
    }

    /// All without an outcome, in order of arrival.
    pub(super) fn postings(&self) -> impl Iterator<Item = &Posting> {
        self.postings.values()
    }

    pub(super) fn pending(&self) -> usize {
        self.postings.len()
    }

    pub(super) fn slots(&self) -> impl Iterator<Item = &NonceSlot> {
        self.slots.values()
    }

    pub(super) fn slot(&self, nonce: u64) -> Option<&NonceSlot> {
        self.slots.get(&nonce)
    }

    /// Postings under way, by their slot's digest.
    pub(super) fn under_way(&self) -> impl Iterator<Item = &Posting> {
        self.slots.values().filter_map(|slot| self.posting(slot.digest?))
    }

    /// Postings without a nonce, in order of arrival.
    pub(super) fn waiting(&self) -> impl Iterator<Item = &Posting> {
        let assigned: HashSet<_> = self.slots.values().filter_map(|slot| slot.digest).collect();
        self.postings.values().filter(move |posting| !assigned.contains(&posting.digest))
    }

    /// Of those, the ones that may have their turn: of each rollup's batches that wait to settle, the one with the least
    /// number. The others wait for it whatever L1 says, and must not keep anybody else from being looked at. Those whose
    /// number is settled already are waited for by nobody; of each rollup's, one is looked at in each round.
    pub(super) fn candidates(
        &self,
        round: usize,
        is_settled: impl Fn(PostingDigest) -> bool,
    ) -> Vec<&Posting> {
        let mut least: HashMap<_, (u64, u64)> = HashMap::new();
        let mut settled: HashMap<_, Vec<u64>> = HashMap::new();
        for posting in self.waiting() {
            match posting.task {
                Task::Settle { settlement, .. } if is_settled(posting.digest) => {
                    settled.entry(settlement).or_default().push(posting.sequence);
                }
                Task::Settle { settlement, batch_number, .. } => {
                    let first = least.entry(settlement).or_insert((u64::MAX, u64::MAX));
                    *first = (*first).min((batch_number, posting.sequence));
                }
                Task::Record | Task::Renew { .. } => {}
            }
        }
        let of_settled = settled.values().filter_map(|all| all.get(round % all.len()));
        let chosen: HashSet<u64> =
            least.values().map(|(_, sequence)| *sequence).chain(of_settled.copied()).collect();
        self.waiting()
            .filter(|posting| {
                !matches!(posting.task, Task::Settle { .. }) || chosen.contains(&posting.sequence)
            })
            .collect()
    }
}

/// What L1 says about a posting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It would, and it takes this much gas.
    Recordable { gas: u64 },
    /// It has it already.
    Recorded {
        /// As deep as was asked for.
        confirmed: bool,
        /// In which block and by which transaction, where known.
        found: Option<(u64, B256)>,
    },
    /// It would not.
    Refused {
        revert: Revert,
        /// Nor as of the confirmed block.
        confirmed: bool,
    },
    /// The rollup settled another batch under its number.
    NumberUsed {
        by: BatchDigest,
        /// As deep as was asked for.
        confirmed: bool,
    },
}

/// What was seen of L1 in one look. Receipts were asked for after the head, so they are at least as new.
#[derive(Clone, Debug)]
pub(super) struct Observation {
    pub(super) head: Head,
    /// The newest block that is deep enough.
    pub(super) confirmed: BlockRef,
    /// Nonces used up as of the head.
    pub(super) nonce: u64,
    /// Nonces used up as of the confirmed block.
    pub(super) confirmed_nonce: u64,
    pub(super) priority_fee: u128,
    /// Of all variants of all slots: those that are included.
    pub(super) receipts: HashMap<B256, Receipt>,
    /// Of some postings.
    pub(super) verdicts: HashMap<PostingDigest, Verdict>,
    /// Of calls to rollups' contracts: what is wrong beside the verdict, or why there is none.
    pub(super) problems: HashMap<PostingDigest, String>,
}

/// A transaction to sign.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Order {
    pub(super) nonce: u64,
    pub(super) digest: Option<PostingDigest>,
    pub(super) purpose: Purpose,
    pub(super) gas_limit: u64,
    pub(super) fees: Fees,
}

/// What to do next. All of it is committed together, before anything is sent.
#[derive(Debug, Default)]
pub(super) struct Plan {
    pub(super) changes: Vec<Change>,
    pub(super) orders: Vec<Order>,
    /// Gas costs more than allowed: something waits for that.
    pub(super) too_dear: Option<ChainError>,
}

/// Decides. Applied to the state it leaves, with the same observation, it decides nothing more.
pub(super) fn plan(config: &PosterConfig, state: &State, seen: &Observation) -> Plan {
    let mut planner = Planner { config, state: state.clone(), seen, plan: Plan::default() };
    planner.settle_included();
    planner.settle_verdicts();
    planner.forget_unreachable();
    planner.replace_stuck();
    planner.fill_gaps();
    planner.start_waiting();
    planner.plan
}

struct Planner<'a> {
    config: &'a PosterConfig,
    state: State,
    seen: &'a Observation,
    plan: Plan,
}

impl Planner<'_> {
    fn change(&mut self, change: Change) {
        self.state.apply(&change);
        self.plan.changes.push(change);
    }

    fn finish(&mut self, posting: &Posting, outcome: Outcome) {
        self.change(Change::SavePosting(posting.clone().ended(outcome)));
    }

    fn receipt(&self, slot: &NonceSlot) -> Option<(Receipt, Purpose)> {
        slot.variants
            .iter()
            .find_map(|variant| Some((*self.seen.receipts.get(&variant.hash)?, variant.purpose)))
    }

    /// Slots whose nonce is finally used: by one of our transactions, or by one we know nothing of.
    fn settle_included(&mut self) {
        for slot in self.state.slots.values().cloned().collect::<Vec<_>>() {
            let posting = slot.digest.and_then(|digest| self.state.posting(digest)).cloned();
            match self.receipt(&slot) {
                Some((receipt, purpose)) => {
                    if receipt.block > self.seen.confirmed.number {
                        continue;
                    }
                    if let (Some(posting), Purpose::Record) = (posting, purpose) {
                        self.settle_record(&posting, receipt);
                    }
                    self.change(Change::ForgetSlot { nonce: slot.nonce });
                }
                // The posting waits again; whether it still needs recording, its next verdict tells.
                None if slot.nonce < self.seen.confirmed_nonce => {
                    self.change(Change::ForgetSlot { nonce: slot.nonce })
                }
                None => {}
            }
        }
    }

    fn settle_record(&mut self, posting: &Posting, receipt: Receipt) {
        if receipt.success {
            let outcome = Outcome::Recorded {
                tx_hash: Some(receipt.tx_hash),
                block: Some(receipt.block),
                gas_used: Some(receipt.gas_used),
                by_us: true,
            };
            return self.finish(posting, outcome);
        }
        // Why it failed, the next simulation tells; this only bounds what may be spent in vain.
        let times = posting.reverts + 1;
        let posting = Posting { reverts: times, ..posting.clone() };
        if times >= self.config.reverts_max {
            self.finish(&posting, Outcome::Failed { reason: FailureReason::FailedRepeatedly { times } });
        } else {
            self.change(Change::SavePosting(posting));
        }
    }

    /// Postings that ended without us, under way or not. A slot given to one keeps its nonce, to be used up.
    fn settle_verdicts(&mut self) {
        for posting in self.state.postings.values().cloned().collect::<Vec<_>>() {
            let slot = self.state.slots.values().find(|slot| slot.digest == Some(posting.digest)).cloned();
            if slot.as_ref().is_some_and(|slot| self.receipt(slot).is_some()) {
                continue;
            }
            let is_ours = |tx_hash: B256| {
                slot.as_ref().is_some_and(|slot| slot.variants.iter().any(|variant| variant.hash == tx_hash))
            };
            let outcome = match self.seen.verdicts.get(&posting.digest) {
                // Its receipt will tell.
                Some(Verdict::Recorded { found: Some((_, tx_hash)), .. }) if is_ours(*tx_hash) => continue,
                Some(Verdict::Recorded { confirmed: true, found }) => Outcome::Recorded {
                    tx_hash: found.map(|(_, tx_hash)| tx_hash),
                    block: found.map(|(block, _)| block),
                    gas_used: None,
                    by_us: false,
                },
                Some(Verdict::Refused { revert, confirmed: true }) if posting.task.is_final(revert) => {
                    Outcome::Failed { reason: FailureReason::Refused { revert: revert.clone() } }
                }
                Some(Verdict::NumberUsed { by, confirmed: true }) => {
                    Outcome::Failed { reason: FailureReason::NumberUsed { by: *by } }
                }
                Some(Verdict::Recordable { gas }) if slot.is_none() && *gas > self.config.gas_limit_max => {
                    let limit = self.config.gas_limit_max;
                    Outcome::Failed { reason: FailureReason::GasLimit { needed: *gas, limit } }
                }
                _ => match posting.task.expires_at() {
                    // It may never have its turn, and so no verdict, where a batch before it never came.
                    Some(expires_at) if self.seen.confirmed.timestamp > expires_at => {
                        Outcome::Failed { reason: FailureReason::Expired { expires_at } }
                    }
                    _ => continue,
                },
            };
            self.finish(&posting, outcome);
            if let Some(slot) = slot {
                self.change(Change::SaveSlot(NonceSlot { digest: None, ..slot }));
            }
        }
    }

    /// Nonces from here on are too far from the next one to be ours by right: at most a window of them is under way.
    fn reach(&self) -> u64 {
        self.seen.nonce.saturating_add(2 * self.config.window as u64)
    }

    /// Slots beyond reach were given out on the word of an endpoint that told a false nonce. Filling all that lies before them
    /// could cost anything, so after some patience, should it be now that the nonce is false, they are let go. A transaction of
    /// theirs that is included after all is one we know nothing of, and records what the log takes once.
    fn forget_unreachable(&mut self) {
        let (reach, head) = (self.reach(), self.seen.head.block.number);
        let patience = self.config.bump_after_blocks;
        let is_due = |slot: &NonceSlot| {
            slot.variants.last().is_none_or(|last| last.signed_at_block.saturating_add(patience) <= head)
        };
        let beyond: Vec<u64> = self
            .state
            .slots
            .range(reach..)
            .filter(|(_, slot)| is_due(slot) && self.receipt(slot).is_none())
            .map(|(nonce, _)| *nonce)
            .collect();
        for nonce in beyond {
            self.change(Change::ForgetSlot { nonce });
        }
    }

    /// The highest nonce that is under way and within reach.
    fn highest(&self) -> Option<u64> {
        self.state.slots.range(..self.reach()).next_back().map(|(nonce, _)| *nonce)
    }

    /// Only the next nonce can be stuck; the others wait for it, whatever they pay.
    fn replace_stuck(&mut self) {
        let Some(slot) = self.state.slots.get(&self.seen.nonce).cloned() else { return };
        let Some(last) = slot.variants.last() else { return };
        let due = last.signed_at_block.saturating_add(self.config.bump_after_blocks);
        if self.receipt(&slot).is_some() || self.seen.head.block.number < due {
            return;
        }
        let fees =
            match last.fees.bumped(self.seen.head.base_fee, self.seen.priority_fee, self.config.fee_cap) {
                Ok(fees) => fees,
                Err(error) => {
                    self.plan.too_dear = Some(error);
                    return;
                }
            };
        let verdict = slot.digest.and_then(|digest| self.seen.verdicts.get(&digest));
        let (purpose, gas_limit) = match verdict {
            Some(Verdict::Recordable { gas }) if slot.digest.is_some() => {
                (Purpose::Record, self.gas_limit(*gas))
            }
            // Recorded or refused: not worth more than a transfer. Not looked at: leave it until it is.
            Some(_) => (Purpose::Cancel, TRANSFER_GAS),
            None if slot.digest.is_none_or(|digest| self.seen.problems.contains_key(&digest)) => {
                // What cannot be looked at must not keep its nonce from those behind it; it waits again.
                (Purpose::Cancel, TRANSFER_GAS)
            }
            None => return,
        };
        self.plan.orders.push(Order { nonce: slot.nonce, digest: slot.digest, purpose, gas_limit, fees });
    }

    /// A nonce below one under way that nobody holds would hold up all after it. It can only come of a
    /// reorganisation deeper than what was called confirmed, or of a false nonce; the window bounds what it can cost.
    fn fill_gaps(&mut self) {
        let Some(highest) = self.highest() else { return };
        let gaps: Vec<u64> = (self.seen.nonce..highest)
            .take(self.config.window)
            .filter(|nonce| !self.state.slots.contains_key(nonce))
            .collect();
        for nonce in gaps {
            if let Some(fees) = self.initial_fees() {
                let (purpose, gas_limit) = (Purpose::Cancel, TRANSFER_GAS);
                self.plan.orders.push(Order { nonce, digest: None, purpose, gas_limit, fees });
            }
        }
    }

    fn start_waiting(&mut self) {
        let new =
            self.plan.orders.iter().filter(|order| !self.state.slots.contains_key(&order.nonce)).count();
        let mut free = self.config.window.saturating_sub(self.state.slots.len() + new);
        let mut nonce = self.highest().map_or(0, |highest| highest + 1).max(self.seen.nonce);
        let mut waiting: Vec<_> = self.state.waiting().cloned().collect();
        // Rollups stop where coverage runs short: a renewal does not wait behind whatever came before it.
        waiting.sort_by_key(|posting| !matches!(posting.task, Task::Renew { .. }));
        for posting in waiting {
            let Some(Verdict::Recordable { gas }) = self.seen.verdicts.get(&posting.digest) else { continue };
            if free == 0 || nonce >= self.reach() {
                return;
            }
            let Some(fees) = self.initial_fees() else { return };
            self.plan.orders.push(Order {
                nonce,
                digest: Some(posting.digest),
                purpose: Purpose::Record,
                gas_limit: self.gas_limit(*gas),
                fees,
            });
            nonce += 1;
            free -= 1;
        }
    }

    fn initial_fees(&mut self) -> Option<Fees> {
        match Fees::initial(self.seen.head.base_fee, self.seen.priority_fee, self.config.fee_cap) {
            Ok(fees) => Some(fees),
            Err(error) => {
                self.plan.too_dear = Some(error);
                None
            }
        }
    }

    /// A quarter more than estimated: the block that includes it is another one.
    fn gas_limit(&self, estimated: u64) -> u64 {
        estimated.saturating_add(estimated / 4).min(self.config.gas_limit_max).max(estimated)
    }
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;

#[cfg(test)]
#[path = "plan_ending_tests.rs"]
mod ending_tests;
