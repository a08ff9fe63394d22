//! The poster's reports: the progress of postings, what keeps them, and the account that pays. Each
//! is logged once, when it changes.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use alloy::primitives::U256;
use tokio::sync::watch;
use tracing::{error, info, warn};

use super::plan::Observation;
use super::progress::{Progress, ProgressMap};
use super::state::State;
use super::trouble::{Payer, Stopped, Trouble};
use super::verdict::Verdict;
use super::{PosterConfig, Posting, PostingDigest, Purpose};
use dac_chain::Receipt;
use dac_chain::amount::Ether;
use dac_contracts::Refusal;

/// Publishes and logs the poster's progress and troubles.
#[derive(Debug)]
pub(super) struct Report {
    progress: watch::Sender<ProgressMap>,
    payer: watch::Sender<Payer>,
    /// The account's state for the next report.
    next: Payer,
    /// Temporary refusals that were logged, so that each is logged once.
    refusals: HashMap<PostingDigest, Refusal>,
    /// The stopped postings, each of which was logged once.
    stopped: HashSet<PostingDigest>,
}

impl Report {
    pub(super) fn new(progress: watch::Sender<ProgressMap>, payer: watch::Sender<Payer>) -> Self {
        let next = payer.borrow().clone();
        Self { progress, payer, next, refusals: HashMap::new(), stopped: HashSet::new() }
    }

    /// Removes a posting that has ended.
    pub(super) fn forget(&mut self, digest: PostingDigest) {
        self.refusals.remove(&digest);
        self.stopped.remove(&digest);
    }

    /// Sets the account's balance, if L1 reported it, and what the next transaction may cost.
    pub(super) fn purse(&mut self, balance: Option<U256>, needed: U256) {
        self.next.balance = balance.or(self.next.balance);
        self.next.needed = needed;
    }

    /// Reports the account that pays. `trouble` is what keeps it from posting.
    pub(super) fn payer(&mut self, config: &PosterConfig, trouble: Option<Trouble>, spent: u128, sent: u64) {
        let former = self.payer.borrow().clone();
        let payer = &mut self.next;
        (payer.spent, payer.sent, payer.stopped) = (spent, sent, self.stopped.len());
        payer.trouble = Trouble::latched(former.trouble.as_ref(), trouble);
        payer.is_low = payer.balance.is_some_and(|balance| balance < U256::from(config.balance_floor));
        match (&former.trouble, &payer.trouble) {
            (former, Some(trouble)) if former.as_ref() != Some(trouble) => {
                warn!(%trouble, "posting is held up, it will be tried again");
            }
            (Some(_), None) => info!("posting goes on"),
            _ => {}
        }
        if let (true, false, Some(balance)) = (payer.is_low, former.is_low, payer.balance) {
            let floor = Ether::from(config.balance_floor);
            warn!(account = %payer.account, balance = %Ether(balance), %floor, "the L1 account has little ether left");
        }
        if former != *payer {
            self.payer.send_replace(payer.clone());
        }
    }

    /// Reports the progress of postings, after the results of the look are stored.
    pub(super) fn progress(&mut self, config: &PosterConfig, state: &State, seen: &Observation) {
        for posting in state.postings() {
            if let Some(reason) = Stopped::of(config, posting)
                && self.stopped.insert(posting.digest)
            {
                error!(digest = %posting.digest, %reason, "no more is spent on a posting");
            }
        }
        for (digest, verdict) in &seen.verdicts {
            if let Verdict::Refused { refusal, .. } = verdict
                && self.refusals.get(digest) != Some(refusal)
            {
                warn!(%digest, reason = %refusal, "L1 refuses it for now");
                self.refusals.insert(*digest, refusal.clone());
            }
        }
        let former = Arc::clone(&self.progress.borrow());
        let map: HashMap<PostingDigest, Progress> = state
            .postings()
            .map(|posting| (posting.digest, progress_of(config, state, seen, &former, posting)))
            .collect();
        self.progress.send_if_modified(|told| {
            let changed = **told != map;
            if changed {
                *told = Arc::new(map);
            }
            changed
        });
    }
}

fn progress_of(
    config: &PosterConfig,
    state: &State,
    seen: &Observation,
    former: &ProgressMap,
    posting: &Posting,
) -> Progress {
    let digest = posting.digest;
    let slot = state.slots().find(|slot| slot.digest == Some(digest));
    let included = |success: bool| {
        slot.into_iter().flat_map(|slot| &slot.variants).find_map(|variant| {
            let receipt = seen.receipts.get(&variant.hash)?;
            (receipt.success == success && variant.purpose == Purpose::Post).then_some(*receipt)
        })
    };
    if let Some(Receipt { tx_hash, block, gas_used, .. }) = included(true) {
        return Progress::Included { tx_hash, block, gas_used };
    }
    if let Some(Receipt { tx_hash, block, .. }) = included(false) {
        let text = format!("transaction {tx_hash} failed in block {block}, although it was simulated before");
        return Progress::Troubled(text);
    }
    if let Some(reason) = Stopped::of(config, posting) {
        return Progress::Troubled(reason.to_string());
    }
    // A question without a valid answer says nothing about the posting.
    if let Some(problem) = seen.problems.get(&digest).filter(|_| !seen.unasked.contains(&digest)) {
        return Progress::Troubled(problem.clone());
    }
    match seen.verdicts.get(&digest) {
        Some(Verdict::Acceptable { .. }) => Progress::Accepted,
        Some(Verdict::Refused { refusal, .. }) => Progress::Waiting(Some(refusal.clone())),
        // The posting was not looked at in this round, so its earlier state stays.
        None => match former.get(&digest) {
            Some(Progress::Included { .. }) | None => Progress::Waiting(None),
            Some(former) => former.clone(),
        },
        _ => Progress::Waiting(None),
    }
}
