//! The task around the plan: looks at L1, plans, signs, commits, then sends.

use std::collections::HashMap;
use std::sync::Arc;

use alloy::primitives::{B256, Bytes, U256};
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::handle::{Enqueued, Progress, ProgressMap};
use super::look::Eyes;
use super::plan::{Observation, Order, State, Verdict, plan};
use super::{
    Change, FailureReason, NonceSlot, Outcome, PosterConfig, PosterStore, Posting, PostingDigest, Purpose,
    SentVariant, Task,
};
use crate::error::ChainError;
use crate::follower::backoff;
use crate::revert::Revert;
use crate::rpc::{BlockRef, Receipt, SendAnswer};
use crate::transaction::{Draft, TransactionSigner};

/// Settlements of one contract that are waiting or under way, at most: a batch's call may have 130 KiB.
const SETTLEMENTS_PER_CONTRACT_MAX: usize = 256;

/// Renewals of one contract that are waiting or under way, at most. They have this room beside the queue, however full it is.
const RENEWALS_PER_CONTRACT_MAX: usize = 4;

/// What is asked of the actor.
#[derive(Debug)]
pub(super) struct Command {
    pub(super) digest: PostingDigest,
    pub(super) what: What,
    pub(super) reply: oneshot::Sender<Result<Enqueued, ChainError>>,
}

#[derive(Debug)]
pub(super) enum What {
    Post { task: Task, calldata: Bytes },
    Withdraw,
}

/// Where the actor tells what it did.
pub(super) struct Tell {
    pub(super) outcomes: mpsc::UnboundedSender<(PostingDigest, Outcome)>,
    pub(super) progress: watch::Sender<ProgressMap>,
}

pub(super) struct Actor {
    config: Arc<PosterConfig>,
    eyes: Eyes,
    store: Arc<dyn PosterStore>,
    signer: Arc<dyn TransactionSigner>,
    tell: Tell,
    state: State,
    /// By nonce: which variant was last handed over, and at which head.
    broadcast: HashMap<u64, (B256, B256)>,
    failures: u32,
    too_dear: bool,
    /// Refusals that may pass, so that each is logged once.
    refusals: HashMap<PostingDigest, Revert>,
}

impl Actor {
    pub(super) fn new(
        config: Arc<PosterConfig>,
        eyes: Eyes,
        store: Arc<dyn PosterStore>,
        signer: Arc<dyn TransactionSigner>,
        tell: Tell,
        state: State,
    ) -> Self {
        Self {
            config,
            eyes,
            store,
            signer,
            tell,
            state,
            broadcast: HashMap::new(),
            failures: 0,
            too_dear: false,
            refusals: HashMap::new(),
        }
    }

    pub(super) async fn run(mut self, mut inbox: mpsc::Receiver<Command>, cancellation: CancellationToken) {
        loop {
            // Looking at L1 may take long; requests are taken meanwhile.
            let eyes = self.eyes.clone();
            let state = self.state.clone();
            let pause = match self.failures {
                0 => self.config.poll_interval,
                failures => backoff(self.config.poll_interval, failures),
            };
            let look = async move {
                if state.is_idle() {
                    std::future::pending::<()>().await;
                }
                eyes.look(&state).await
            };
            tokio::pin!(look);
            let seen = loop {
                tokio::select! {
                    () = cancellation.cancelled() => return,
                    command = inbox.recv() => {
                        let Some(command) = command else { return };
                        let was_idle = self.state.is_idle();
                        self.accept(command).await;
                        if was_idle {
                            break None;
                        }
                    }
                    seen = &mut look => break Some(seen),
                }
            };
            let Some(seen) = seen else { continue };
            let result = match seen {
                Ok(seen) => self.act(&seen).await,
                Err(error) => Err(error),
            };
            match result {
                Ok(()) if self.failures > 0 => {
                    info!(failures = self.failures, "posting goes on");
                    self.failures = 0;
                }
                Ok(()) => {}
                Err(error) => {
                    if self.failures == 0 {
                        warn!(%error, "posting is held up, it will be tried again");
                    } else {
                        debug!(%error, failures = self.failures, "posting is still held up");
                    }
                    self.failures = self.failures.saturating_add(1);
                }
            }
            let sleep = tokio::time::sleep(pause);
            tokio::pin!(sleep);
            loop {
                tokio::select! {
                    () = cancellation.cancelled() => return,
                    command = inbox.recv() => match command {
                        Some(command) => self.accept(command).await,
                        None => return,
                    },
                    () = &mut sleep => break,
                }
            }
        }
    }

    async fn accept(&mut self, command: Command) {
        let Command { digest, what, reply } = command;
        let result = match what {
            What::Post { task, calldata } => self.enqueue(digest, task, calldata).await,
            What::Withdraw => self.withdraw(digest).await,
        };
        // Who asked may have gone away; what was asked for is stored all the same.
        let _ = reply.send(result);
    }

    async fn enqueue(
        &mut self,
        digest: PostingDigest,
        task: Task,
        calldata: Bytes,
    ) -> Result<Enqueued, ChainError> {
        if let Some(posting) = self.state.posting(digest) {
            // A batch may settle with one proof or another; what is recorded or renewed is the same, whoever signed it.
            let any_call = !matches!(task, Task::Settle { .. });
            return match posting.task == task && (any_call || posting.calldata == calldata) {
                true => Ok(Enqueued { digest, outcome: None }),
                false => Err(ChainError::OtherPosting { digest }),
            };
        }
        let former = self.store.posting(digest).await?;
        if let Some(Posting { outcome: Some(outcome @ Outcome::Recorded { .. }), task: done, .. }) = &former
            && *done == task
        {
            return Ok(Enqueued { digest, outcome: Some(outcome.clone()) });
        }
        // What failed in blocks was paid for: another proof of the same batch does not begin to count anew.
        let reverts = match (former, task) {
            (Some(Posting { task: Task::Settle { .. }, reverts, .. }), Task::Settle { .. }) => reverts,
            _ => 0,
        };
        if reverts >= self.config.reverts_max {
            let reason = FailureReason::FailedRepeatedly { times: reverts };
            return Ok(Enqueued { digest, outcome: Some(Outcome::Failed { reason }) });
        }
        let renews = matches!(task, Task::Renew { .. });
        if !renews && self.state.pending() >= self.config.queue_max {
            return Err(ChainError::QueueFull { limit: self.config.queue_max });
        }
        self.room_for(task)?;
        let sequence = self.state.take_sequence();
        let posting = Posting { digest, sequence, task, calldata, reverts, outcome: None };
        self.commit(vec![Change::SavePosting(posting)]).await?;
        Ok(Enqueued { digest, outcome: None })
    }

    /// No rollup's batches take the room of another's. What the others wait for has room of its own.
    fn room_for(&self, task: Task) -> Result<(), ChainError> {
        let (settlement, batch_number) = match task {
            Task::Record => return Ok(()),
            Task::Settle { settlement, batch_number, .. } => (settlement, batch_number),
            Task::Renew { settlement, .. } => {
                let same = |posting: &&Posting| matches!(posting.task, Task::Renew { settlement: other, .. } if other == settlement);
                let limit = RENEWALS_PER_CONTRACT_MAX;
                return match self.state.postings().filter(same).count() < limit {
                    true => Ok(()),
                    false => Err(ChainError::RenewalsQueued { settlement, limit }),
                };
            }
        };
        let numbers = self.state.postings().filter_map(|posting| match posting.task {
            Task::Settle { settlement: other, batch_number, .. } if other == settlement => Some(batch_number),
            _ => None,
        });
        let (queued, least) =
            numbers.fold((0, u64::MAX), |(queued, least), number| (queued + 1, least.min(number)));
        let limit = match batch_number < least {
            true => 2 * SETTLEMENTS_PER_CONTRACT_MAX,
            false => SETTLEMENTS_PER_CONTRACT_MAX,
        };
        if queued >= limit { Err(ChainError::SettlementsQueued { settlement, limit }) } else { Ok(()) }
    }

    /// Its nonce, if it has one, is used up by whatever is sent for it next.
    async fn withdraw(&mut self, digest: PostingDigest) -> Result<Enqueued, ChainError> {
        let Some(posting) = self.state.posting(digest).cloned() else {
            return Ok(Enqueued { digest, outcome: None });
        };
        let outcome = Outcome::Failed { reason: FailureReason::Withdrawn };
        let mut changes = vec![Change::SavePosting(posting.ended(outcome.clone()))];
        let slot = self.state.slots().find(|slot| slot.digest == Some(digest)).cloned();
        changes.extend(slot.map(|slot| Change::SaveSlot(NonceSlot { digest: None, ..slot })));
        self.commit(changes).await?;
        Ok(Enqueued { digest, outcome: Some(outcome) })
    }

    async fn commit(&mut self, changes: Vec<Change>) -> Result<(), ChainError> {
        if changes.is_empty() {
            return Ok(());
        }
        self.store.commit(&changes).await?;
        for change in &changes {
            self.state.apply(change);
            match change {
                Change::SavePosting(Posting { digest, outcome: Some(outcome), .. }) => {
                    match outcome {
                        Outcome::Recorded { tx_hash, block, by_us, .. } => {
                            info!(%digest, ?tx_hash, block, by_us, "posted");
                        }
                        Outcome::Failed { reason } => {
                            warn!(%digest, %reason, "it cannot be posted")
                        }
                    }
                    self.refusals.remove(digest);
                    let _ = self.tell.outcomes.send((*digest, outcome.clone()));
                }
                Change::ForgetSlot { nonce } => {
                    self.broadcast.remove(nonce);
                }
                _ => {}
            }
        }
        Ok(())
    }

    async fn act(&mut self, seen: &Observation) -> Result<(), ChainError> {
        let plan = plan(&self.config, &self.state, seen);
        self.report(seen, plan.too_dear.as_ref());
        let mut changes = plan.changes;
        let mut planned = self.state.clone();
        for change in &changes {
            planned.apply(change);
        }
        for order in plan.orders {
            changes.push(Change::SaveSlot(self.sign(&planned, order, seen.head.block)?));
        }
        self.commit(changes).await?;
        self.tell_progress(seen);
        self.send(seen).await
    }

    /// Shows how far settlements and renewals are, once it is persisted what follows from the look.
    fn tell_progress(&self, seen: &Observation) {
        let settling = self.state.postings().filter(|posting| posting.task != Task::Record);
        let map: HashMap<PostingDigest, Progress> =
            settling.map(|posting| (posting.digest, self.progress_of(posting, seen))).collect();
        self.tell.progress.send_if_modified(|former| {
            let changed = **former != map;
            if changed {
                *former = Arc::new(map);
            }
            changed
        });
    }

    fn progress_of(&self, posting: &Posting, seen: &Observation) -> Progress {
        let slot = self.state.slots().find(|slot| slot.digest == Some(posting.digest));
        let included = slot.into_iter().flat_map(|slot| &slot.variants).find_map(|variant| {
            let receipt = seen.receipts.get(&variant.hash)?;
            (receipt.success && variant.purpose == Purpose::Record).then_some(receipt)
        });
        if let Some(receipt) = included {
            let (tx_hash, block, gas_used) = (receipt.tx_hash, receipt.block, receipt.gas_used);
            return Progress::Included { tx_hash, block, gas_used };
        }
        let failed = slot.into_iter().flat_map(|slot| &slot.variants).find_map(|variant| {
            let receipt = seen.receipts.get(&variant.hash)?;
            (!receipt.success && variant.purpose == Purpose::Record).then_some(receipt)
        });
        if let Some(Receipt { tx_hash, block, .. }) = failed {
            let text =
                format!("transaction {tx_hash} failed in block {block}, although it was simulated before");
            return Progress::Troubled(text);
        }
        if let Some(problem) = seen.problems.get(&posting.digest) {
            return Progress::Troubled(problem.clone());
        }
        match seen.verdicts.get(&posting.digest) {
            Some(Verdict::Recordable { .. }) => Progress::Accepted,
            Some(Verdict::Refused { revert, .. }) => Progress::Waiting(Some(revert.clone())),
            // Not looked at in this round: what was seen before stands.
            None => match self.tell.progress.borrow().get(&posting.digest) {
                Some(Progress::Included { .. }) | None => Progress::Waiting(None),
                Some(former) => former.clone(),
            },
            _ => Progress::Waiting(None),
        }
    }

    fn report(&mut self, seen: &Observation, too_dear: Option<&ChainError>) {
        match (self.too_dear, too_dear) {
            (false, Some(error)) => warn!(%error, "posting waits for cheaper gas"),
            (true, None) => info!("gas is cheap enough again"),
            _ => {}
        }
        self.too_dear = too_dear.is_some();
        for (digest, verdict) in &seen.verdicts {
            if let Verdict::Refused { revert, .. } = verdict
                && self.refusals.get(digest) != Some(revert)
            {
                warn!(%digest, reason = %revert, "L1 refuses it for now");
                self.refusals.insert(*digest, revert.clone());
            }
        }
    }

    fn sign(&self, state: &State, order: Order, head: BlockRef) -> Result<NonceSlot, ChainError> {
        let posting = order.digest.and_then(|digest| state.posting(digest));
        let (to, data) = match (order.purpose, posting) {
            (Purpose::Record, Some(posting)) => {
                let to = posting.task.settlement().unwrap_or(self.config.log);
                (to, posting.calldata.clone())
            }
            _ => (self.signer.address(), Bytes::new()),
        };
        let draft = Draft {
            chain_id: self.config.domain.chain_id,
            nonce: order.nonce,
            gas_limit: order.gas_limit,
            fees: order.fees,
            to: Some(to),
            value: U256::ZERO,
            data,
        };
        let signed = draft.sign(&*self.signer)?;
        let mut slot = state.slot(order.nonce).cloned().unwrap_or(NonceSlot {
            nonce: order.nonce,
            digest: order.digest,
            variants: Vec::new(),
        });
        slot.variants.push(SentVariant {
            hash: signed.hash,
            raw: signed.raw,
            fees: order.fees,
            purpose: order.purpose,
            signed_at_block: head.number,
        });
        Ok(slot)
    }

    /// Hands over the newest variant of every slot that is not included, once for every head: a node may have
    /// dropped it, restarted, or seen it reorganised out.
    async fn send(&mut self, seen: &Observation) -> Result<(), ChainError> {
        let head = seen.head.block.hash;
        let due: Vec<(u64, SentVariant)> = self
            .state
            .slots()
            .filter(|slot| !slot.variants.iter().any(|variant| seen.receipts.contains_key(&variant.hash)))
            .filter_map(|slot| Some((slot.nonce, slot.variants.last()?.clone())))
            .filter(|(nonce, variant)| self.broadcast.get(nonce) != Some(&(variant.hash, head)))
            .collect();
        for (nonce, variant) in due {
            let answer = self.eyes.l1.send_raw(&variant.raw).await?;
            match answer {
                SendAnswer::Accepted => {
                    debug!(nonce, tx = %variant.hash, purpose = ?variant.purpose, "transaction sent")
                }
                // Included between the look and now, or an older variant pays more than this node wants doubled:
                // the next look tells.
                SendAnswer::NonceUsed | SendAnswer::Underpriced => {
                    debug!(nonce, tx = %variant.hash, ?answer, "not taken")
                }
            }
            self.broadcast.insert(nonce, (variant.hash, head));
        }
        Ok(())
    }
}
