//! Decides what to do next from the stored state and what L1 shows, without a clock and without
//! I/O.

use std::collections::{HashMap, HashSet};

use alloy::primitives::{Address, B256, U256};

use super::kinds::Judgement;
use super::state::State;
use super::trouble::{Stopped, Trouble};
use super::verdict::Verdict;
use super::{
    Change, FailureReason, NonceSlot, Outcome, PosterConfig, Posting, PostingDigest, Purpose, USUAL_GAS,
};
use dac_chain::{BlockRef, Head, Receipt};
use dac_chain::{Fees, Market, TRANSFER_GAS};

/// What one look at L1 showed. Receipts were read after the head, so they are at least as new.
#[derive(Clone, Debug)]
pub(super) struct Observation {
    pub(super) head: Head,
    /// The newest block that has the required confirmations.
    pub(super) confirmed: BlockRef,
    /// Nonces used up as of the head.
    pub(super) nonce: u64,
    /// Nonces used up as of the confirmed block.
    pub(super) confirmed_nonce: u64,
    pub(super) priority_fee: u128,
    /// The account's balance in wei, if L1 answered.
    pub(super) balance: Option<U256>,
    /// The receipts of the variants of all slots that are included.
    pub(super) receipts: HashMap<B256, Receipt>,
    /// The nonces of slots whose receipts could not be read, so that nothing is known about them.
    pub(super) unseen: HashSet<u64>,
    /// The verdicts on the postings that were looked at.
    pub(super) verdicts: HashMap<PostingDigest, Verdict>,
    /// Problems besides a posting's verdict, or the reason why it has none.
    pub(super) problems: HashMap<PostingDigest, String>,
    /// The postings without a verdict whose question got no valid answer. The next look asks again.
    pub(super) unasked: HashSet<PostingDigest>,
}

impl Observation {
    /// Returns a trouble of all postings, if no question about any of them got an answer.
    pub(super) fn lost_on_the_way(&self) -> Option<Trouble> {
        let lost = self.unasked.iter().filter(|_| self.verdicts.is_empty()).min()?;
        self.problems.get(lost).map(|problem| Trouble::L1(problem.clone()))
    }
}

/// What this process knows besides its observation of L1.
#[derive(Clone, Debug)]
pub(super) struct Means {
    /// The account that pays.
    pub(super) account: Address,
    /// The wei that may still be spent in this hour.
    pub(super) allowance: u128,
    /// The least tip that pools take according to their refusals; 0 if none named one.
    pub(super) asked_tip: u128,
    /// The nonces whose newest transaction every pool refused because its tip was too low.
    pub(super) refused_tips: HashSet<u64>,
}

/// A transaction to sign.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Planned {
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
    pub(super) transactions: Vec<Planned>,
    /// The wei that the transactions may cost beyond the earlier maximum cost of their nonces.
    pub(super) cost: u128,
    /// A trouble that concerns all postings.
    pub(super) trouble: Option<Trouble>,
    /// What the next transaction may cost, in wei.
    pub(super) needed: u128,
}

/// Plans the next changes and transactions. A second call with the resulting state and the same
/// observation plans nothing more.
///
/// The cost is bounded even if the observation is false: each posting gets a limited number of
/// nonces, a transaction's fees and gas are within the configuration's bounds, and all transactions
/// together cost no more than the allowance.
pub(super) fn plan(config: &PosterConfig, state: &State, seen: &Observation, means: &Means) -> Plan {
    let market = Market {
        base_fee: seen.head.base_fee,
        suggested_tip: seen.priority_fee,
        asked_tip: means.asked_tip,
        bounds: config.fee_bounds(),
    };
    let mut planner = Planner {
        config,
        state: state.clone(),
        seen,
        means,
        market,
        purse: None,
        plan: Plan { needed: usual_cost(config, &market), ..Plan::default() },
    };
    planner.purse = planner.purse();
    planner.settle_included();
    planner.settle_verdicts();
    planner.forget_unreachable();
    planner.replace_stuck();
    planner.fill_gaps();
    planner.start_waiting();
    planner.plan
}

/// Returns what a posting may cost in wei at the present price, or at the highest allowed price if
/// the present one is above it.
pub(super) fn usual_cost(config: &PosterConfig, market: &Market) -> u128 {
    let dearest = Fees { max_fee: config.fee_cap, priority_fee: 0 };
    market.first().unwrap_or(dearest).cost_max(USUAL_GAS)
}

/// A plan in the making. `state` already has the changes of `plan`.
struct Planner<'a> {
    config: &'a PosterConfig,
    state: State,
    seen: &'a Observation,
    means: &'a Means,
    market: Market,
    /// The balance minus the possible cost of the transactions under way; `None` if L1 did not
    /// report the balance.
    purse: Option<U256>,
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

    fn purse(&self) -> Option<U256> {
        let is_due = |slot: &&NonceSlot| slot.nonce >= self.seen.nonce && self.receipt(slot).is_none();
        let due = self.state.slots().filter(is_due).map(|slot| slot.cost_max(self.config));
        let due = due.fold(0_u128, u128::saturating_add);
        Some(self.seen.balance?.saturating_sub(U256::from(due)))
    }

    /// Plans a transaction, unless its additional cost exceeds the hour's allowance or the
    /// account's balance.
    fn send(&mut self, planned: Planned) -> bool {
        let before = self.state.slot(planned.nonce).map_or(0, |slot| slot.cost_max(self.config));
        let more = planned.fees.cost_max(planned.gas_limit).saturating_sub(before);
        if before == 0 && planned.purpose == Purpose::Post {
            self.plan.needed = more;
        }
        if self.plan.cost.saturating_add(more) > self.means.allowance {
            return self.trouble(Trouble::HourSpent { limit: self.config.hourly_max });
        }
        if let Some(balance) = self.purse {
            let (account, needed) = (self.means.account, U256::from(more));
            let Some(rest) = balance.checked_sub(needed) else {
                return self.trouble(Trouble::Unfunded { account, balance, needed });
            };
            self.purse = Some(rest);
        }
        self.plan.cost = self.plan.cost.saturating_add(more);
        self.plan.transactions.push(planned);
        true
    }

    /// Keeps the first trouble, which is the one that is reported.
    fn trouble(&mut self, trouble: Trouble) -> bool {
        self.plan.trouble.get_or_insert(trouble);
        false
    }

    fn receipt(&self, slot: &NonceSlot) -> Option<(Receipt, Purpose)> {
        slot.variants
            .iter()
            .find_map(|variant| Some((*self.seen.receipts.get(&variant.hash)?, variant.purpose)))
    }

    /// Ends slots whose nonce is used as of the confirmed block, by one of our transactions or by
    /// an unknown one.
    fn settle_included(&mut self) {
        for slot in self.state.slots.values().cloned().collect::<Vec<_>>() {
            let posting = slot.digest.and_then(|digest| self.state.posting(digest)).cloned();
            match self.receipt(&slot) {
                Some((receipt, purpose)) => {
                    if receipt.block > self.seen.confirmed.number {
                        continue;
                    }
                    if let (Some(posting), Purpose::Post) = (posting, purpose) {
                        self.settle_posting(&posting, receipt);
                    }
                    self.change(Change::ForgetSlot { nonce: slot.nonce });
                }
                None if slot.nonce < self.seen.confirmed_nonce && !self.seen.unseen.contains(&slot.nonce) => {
                    if let Some(posting) = posting {
                        self.lose(posting, &slot);
                    }
                    self.change(Change::ForgetSlot { nonce: slot.nonce });
                }
                None => {}
            }
        }
    }

    /// The posting waits again, and its next verdict shows whether it is still needed. Perhaps its
    /// own transaction used the nonce and an endpoint hides that, so the number of such losses is
    /// bounded.
    fn lose(&mut self, posting: Posting, slot: &NonceSlot) {
        if slot.variants.iter().any(|variant| variant.purpose == Purpose::Post) {
            let lost = posting.lost.saturating_add(1);
            self.change(Change::SavePosting(Posting { lost, ..posting }));
        }
    }

    fn settle_posting(&mut self, posting: &Posting, receipt: Receipt) {
        if receipt.success {
            let outcome = Outcome::Recorded {
                tx_hash: Some(receipt.tx_hash),
                block: Some(receipt.block),
                gas_used: Some(receipt.gas_used),
                by_us: true,
            };
            return self.finish(posting, outcome);
        }
        // The next simulation shows why it failed; the count only bounds what is spent on failing
        // transactions.
        let times = posting.reverts + 1;
        let posting = Posting { reverts: times, ..posting.clone() };
        if times >= self.config.reverts_max {
            self.finish(&posting, Outcome::Failed { reason: FailureReason::FailedRepeatedly { times } });
        } else {
            self.change(Change::SavePosting(posting));
        }
    }

    /// Ends postings, under way or not, that ended without our transaction. The slot of such a
    /// posting keeps its nonce, which must still be used up.
    fn settle_verdicts(&mut self) {
        for posting in self.state.postings.values().cloned().collect::<Vec<_>>() {
            let slot = self.state.slots.values().find(|slot| slot.digest == Some(posting.digest)).cloned();
            let is_unclear =
                |slot: &NonceSlot| self.receipt(slot).is_some() || self.seen.unseen.contains(&slot.nonce);
            if slot.as_ref().is_some_and(is_unclear) {
                continue;
            }
            let is_ours = |tx_hash: B256| {
                slot.as_ref().is_some_and(|slot| slot.variants.iter().any(|variant| variant.hash == tx_hash))
            };
            let outcome = match self.seen.verdicts.get(&posting.digest) {
                // The receipt will show the outcome.
                Some(Verdict::Done { found: Some((_, tx_hash)), .. }) if is_ours(*tx_hash) => continue,
                Some(Verdict::Done { confirmed: true, found }) => Outcome::Recorded {
                    tx_hash: found.map(|(_, tx_hash)| tx_hash),
                    block: found.map(|(block, _)| block),
                    gas_used: None,
                    by_us: false,
                },
                Some(Verdict::Refused { refusal, confirmed: true })
                    if posting.task.kind().judge(refusal) == Judgement::Never =>
                {
                    Outcome::Failed { reason: FailureReason::Refused { refusal: refusal.clone() } }
                }
                Some(Verdict::NumberUsed { by, confirmed: true }) => {
                    Outcome::Failed { reason: FailureReason::NumberUsed { by: *by } }
                }
                Some(Verdict::Acceptable { gas }) if slot.is_none() && *gas > self.config.gas_limit_max => {
                    let limit = self.config.gas_limit_max;
                    Outcome::Failed { reason: FailureReason::GasLimit { needed: *gas, limit } }
                }
                _ => match posting.task.kind().expires_at() {
                    // If an earlier batch never comes, the turn of this one never comes either, so
                    // it gets no verdict.
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

    /// Returns the first nonce that is too far from the next one to be one of ours: the configured
    /// window bounds how many nonces are under way.
    fn reach(&self) -> u64 {
        self.seen.nonce.saturating_add(2 * self.config.window as u64)
    }

    /// Forgets slots beyond reach, which were assigned because an endpoint reported a false nonce.
    /// Filling all nonces before them could cost any amount. They are kept for a while, in case the
    /// present nonce is the false one. If a transaction of theirs is included after all, it counts
    /// as an unknown one; the log records a certificate only once.
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
            .filter(|(nonce, slot)| {
                is_due(slot) && !self.seen.unseen.contains(nonce) && self.receipt(slot).is_none()
            })
            .map(|(nonce, _)| *nonce)
            .collect();
        for nonce in beyond {
            self.change(Change::ForgetSlot { nonce });
        }
    }

    /// Returns the highest nonce that is under way and within reach.
    fn highest(&self) -> Option<u64> {
        self.state.slots.range(..self.reach()).next_back().map(|(nonce, _)| *nonce)
    }

    /// Only the next nonce can be stuck; the others wait for it, at any price. A transaction that
    /// every pool refused because of its tip is in no pool, and is replaced at once.
    fn replace_stuck(&mut self) {
        let refused = self.means.refused_tips.iter().copied().filter(|nonce| *nonce > self.seen.nonce);
        let mut nonces: Vec<u64> = refused.chain([self.seen.nonce]).collect();
        nonces.sort_unstable();
        for nonce in nonces {
            self.replace(nonce);
        }
    }

    fn replace(&mut self, nonce: u64) {
        let Some(slot) = self.state.slots.get(&nonce).cloned() else { return };
        let Some(last) = slot.variants.last() else { return };
        let due = last.signed_at_block.saturating_add(self.config.bump_after_blocks);
        let is_due = self.seen.head.block.number >= due || self.means.refused_tips.contains(&nonce);
        if self.receipt(&slot).is_some() || self.seen.unseen.contains(&nonce) || !is_due {
            return;
        }
        let fees = match self.market.replacement(last.fees) {
            Ok(fees) => fees,
            Err(error) => {
                self.trouble(Trouble::of(&error));
                return;
            }
        };
        let verdict = slot.digest.and_then(|digest| self.seen.verdicts.get(&digest));
        let (purpose, gas_limit) = match (verdict, slot.digest) {
            (Some(Verdict::Acceptable { gas }), Some(_)) if *gas <= self.config.gas_limit_max => {
                (Purpose::Post, self.gas_limit(*gas))
            }
            // The posting is recorded, refused or over the limit by now, so the nonce is used up by
            // a transfer.
            (Some(_), _) | (None, None) => (Purpose::Cancel, TRANSFER_GAS),
            // A posting that cannot be looked at must not hold up the nonces behind its own; it
            // waits again.
            (None, Some(digest))
                if self.seen.problems.contains_key(&digest) && !self.seen.unasked.contains(&digest) =>
            {
                (Purpose::Cancel, TRANSFER_GAS)
            }
            // The posting was not looked at in this round, so its slot stays as it is.
            (None, Some(_)) => return,
        };
        self.send(Planned { nonce, digest: slot.digest, purpose, gas_limit, fees });
    }

    /// Fills nonces without a slot below one under way, because they would hold up all later ones.
    /// Such a gap comes only from a reorganisation deeper than the confirmed block or from a false
    /// nonce; the window bounds what filling it costs.
    fn fill_gaps(&mut self) {
        let Some(highest) = self.highest() else { return };
        let gaps: Vec<u64> = (self.seen.nonce..highest)
            .take(self.config.window)
            .filter(|nonce| !self.state.slots.contains_key(nonce))
            .collect();
        for nonce in gaps {
            if let Some(fees) = self.initial_fees() {
                let (purpose, gas_limit) = (Purpose::Cancel, TRANSFER_GAS);
                self.send(Planned { nonce, digest: None, purpose, gas_limit, fees });
            }
        }
    }

    fn start_waiting(&mut self) {
        let new = self
            .plan
            .transactions
            .iter()
            .filter(|planned| !self.state.slots.contains_key(&planned.nonce))
            .count();
        let mut free = self.config.window.saturating_sub(self.state.slots.len() + new);
        let mut nonce = self.highest().map_or(0, |highest| highest + 1).max(self.seen.nonce);
        let mut waiting: Vec<_> = self.state.waiting().cloned().collect();
        waiting.sort_by_key(|posting| !posting.task.kind().is_urgent());
        for posting in waiting {
            let Some(Verdict::Acceptable { gas }) = self.seen.verdicts.get(&posting.digest) else { continue };
            if free == 0 || nonce >= self.reach() {
                return;
            }
            if Stopped::of(self.config, &posting).is_some() {
                continue;
            }
            let Some(fees) = self.initial_fees() else { return };
            let (digest, purpose, gas_limit) = (Some(posting.digest), Purpose::Post, self.gas_limit(*gas));
            if !self.send(Planned { nonce, digest, purpose, gas_limit, fees }) {
                return;
            }
            let attempts = posting.attempts.saturating_add(1);
            self.change(Change::SavePosting(Posting { attempts, ..posting }));
            nonce += 1;
            free -= 1;
        }
    }

    fn initial_fees(&mut self) -> Option<Fees> {
        let fees = self.market.first();
        fees.map_err(|error| self.trouble(Trouble::of(&error))).ok()
    }

    /// Returns a quarter more than the estimate, because the call runs in a later block.
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

#[cfg(test)]
#[path = "plan_lies_tests.rs"]
mod lies_tests;
