//! The task around the plan: looks at L1, plans, signs, commits, then sends.

use std::collections::HashMap;
use std::sync::Arc;

use alloy::primitives::{B256, Bytes};
use dac_types::{BatchDigest, Certificate};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::l1::{ContractCall, L1};
use super::plan::{Observation, Order, State, Verdict, plan};
use super::{Change, NonceSlot, Outcome, PosterConfig, PosterStore, Posting, Purpose, SentVariant};
use crate::bindings::record_calldata;
use crate::error::ChainError;
use crate::follower::backoff;
use crate::revert::Revert;
use crate::rpc::{BlockRef, Head, Receipt, SendAnswer};
use crate::transaction::{Draft, TransactionSigner};

/// Requests to the actor that are not read yet.
const COMMANDS_MAX: usize = 64;
/// Waiting postings looked at in one round beyond those that could start: enough to notice that some expired.
const WAITING_LOOKED_AT: usize = 32;

/// What became of a request to post a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Enqueued {
    /// The batch.
    pub digest: BatchDigest,
    /// How it ended, if it was posted before.
    pub outcome: Option<Outcome>,
}

/// Outcomes as they come. Each was committed to the store before; one missed because of a crash is there.
#[derive(Debug)]
pub struct Outcomes(mpsc::UnboundedReceiver<(BatchDigest, Outcome)>);

impl Outcomes {
    /// The next outcome; none once the poster has stopped.
    pub async fn next(&mut self) -> Option<(BatchDigest, Outcome)> {
        self.0.recv().await
    }
}

/// Hands certificates to the poster. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Poster {
    commands: mpsc::Sender<Command>,
    config: Arc<PosterConfig>,
}

#[derive(Debug)]
struct Command {
    digest: BatchDigest,
    calldata: Bytes,
    reply: oneshot::Sender<Result<Enqueued, ChainError>>,
}

impl Poster {
    /// Loads what is not done and goes on with it, until cancelled.
    pub async fn start(
        config: PosterConfig,
        l1: Arc<dyn L1>,
        store: Arc<dyn PosterStore>,
        signer: Arc<dyn TransactionSigner>,
        cancellation: CancellationToken,
    ) -> Result<(Self, Outcomes), ChainError> {
        let state = State::from(store.load().await?);
        let (commands, inbox) = mpsc::channel(COMMANDS_MAX);
        let (outcomes, outbox) = mpsc::unbounded_channel();
        let config = Arc::new(config);
        let actor = Actor {
            config: config.clone(),
            eyes: Eyes { config: config.clone(), l1, account: signer.address() },
            store,
            signer,
            outcomes,
            state,
            broadcast: HashMap::new(),
            failures: 0,
            too_dear: false,
            refusals: HashMap::new(),
        };
        tokio::spawn(actor.run(inbox, cancellation));
        Ok((Self { commands, config }, Outcomes(outbox)))
    }

    /// Takes a certificate. When this returns the store holds it, and it will be posted whatever happens.
    ///
    /// The same digest again changes nothing, unless it failed before: then it is tried anew.
    pub async fn enqueue(&self, certificate: &Certificate) -> Result<Enqueued, ChainError> {
        let digest = certificate.header.digest(&self.config.domain);
        let calldata = record_calldata(certificate)?;
        let (reply, answer) = oneshot::channel();
        let command = Command { digest, calldata, reply };
        self.commands.send(command).await.map_err(|_| ChainError::Stopped)?;
        answer.await.map_err(|_| ChainError::Stopped)?
    }
}

struct Actor {
    config: Arc<PosterConfig>,
    eyes: Eyes,
    store: Arc<dyn PosterStore>,
    signer: Arc<dyn TransactionSigner>,
    outcomes: mpsc::UnboundedSender<(BatchDigest, Outcome)>,
    state: State,
    /// By nonce: which variant was last handed over, and at which head.
    broadcast: HashMap<u64, (B256, B256)>,
    failures: u32,
    too_dear: bool,
    /// Refusals that may pass, so that each is logged once.
    refusals: HashMap<BatchDigest, Revert>,
}

impl Actor {
    async fn run(mut self, mut inbox: mpsc::Receiver<Command>, cancellation: CancellationToken) {
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
        let Command { digest, calldata, reply } = command;
        let result = self.enqueue(digest, calldata).await;
        // Who asked may have gone away; what was asked for is stored all the same.
        let _ = reply.send(result);
    }

    async fn enqueue(&mut self, digest: BatchDigest, calldata: Bytes) -> Result<Enqueued, ChainError> {
        if self.state.posting(digest).is_some() {
            return Ok(Enqueued { digest, outcome: None });
        }
        if let Some(Posting { outcome: Some(outcome @ Outcome::Recorded { .. }), .. }) =
            self.store.posting(digest).await?
        {
            return Ok(Enqueued { digest, outcome: Some(outcome) });
        }
        if self.state.pending() >= self.config.queue_max {
            return Err(ChainError::QueueFull { limit: self.config.queue_max });
        }
        let sequence = self.state.take_sequence();
        let posting = Posting { digest, sequence, calldata, reverts: 0, outcome: None };
        self.commit(vec![Change::SavePosting(posting)]).await?;
        Ok(Enqueued { digest, outcome: None })
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
                            info!(%digest, ?tx_hash, block, by_us, "certificate recorded");
                        }
                        Outcome::Failed { reason } => {
                            warn!(%digest, %reason, "certificate cannot be recorded")
                        }
                    }
                    self.refusals.remove(digest);
                    let _ = self.outcomes.send((*digest, outcome.clone()));
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
        self.send(seen).await
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
                warn!(%digest, reason = %revert, "L1 refuses this certificate for now");
                self.refusals.insert(*digest, revert.clone());
            }
        }
    }

    fn sign(&self, state: &State, order: Order, head: BlockRef) -> Result<NonceSlot, ChainError> {
        let calldata =
            order.digest.and_then(|digest| state.posting(digest)).map(|posting| posting.calldata.clone());
        let (to, data) = match (order.purpose, calldata) {
            (Purpose::Record, Some(calldata)) => (self.config.log, calldata),
            _ => (self.signer.address(), Bytes::new()),
        };
        let draft = Draft {
            chain_id: self.config.domain.chain_id,
            nonce: order.nonce,
            gas_limit: order.gas_limit,
            fees: order.fees,
            to: Some(to),
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

/// Looks at L1.
#[derive(Clone)]
struct Eyes {
    config: Arc<PosterConfig>,
    l1: Arc<dyn L1>,
    account: alloy::primitives::Address,
}

impl Eyes {
    async fn look(&self, state: &State) -> Result<Observation, ChainError> {
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

        let mut verdicts = HashMap::new();
        let looked_at = self.config.window + WAITING_LOOKED_AT;
        let under_way = state.under_way().filter(|posting| !included.contains(&posting.digest));
        for posting in under_way.chain(state.waiting().take(looked_at)) {
            verdicts.insert(posting.digest, self.verdict(posting, head.block, confirmed).await?);
        }
        // Nodes answer for a block they are just leaving with what the next one brought. Before a certificate under way
        // counts as somebody else's, the receipts, asked for again, must still know nothing of it.
        for slot in state.slots() {
            let verdict = slot.digest.and_then(|digest| verdicts.get(&digest));
            if !matches!(verdict, None | Some(Verdict::Recordable { .. })) {
                self.receipts(slot, &mut receipts).await?;
            }
        }
        Ok(Observation { head, confirmed, nonce, confirmed_nonce, priority_fee, receipts, verdicts })
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
    ) -> Result<Verdict, ChainError> {
        let call = ContractCall { from: self.account, to: self.config.log, data: posting.calldata.clone() };
        let revert = match self.l1.simulate(&call, head.hash).await? {
            Ok(()) => match self.l1.estimate_gas(&call).await? {
                Ok(gas) => return Ok(Verdict::Recordable { gas }),
                Err(revert) => revert,
            },
            Err(revert) => revert,
        };
        let at_confirmed = match confirmed == head {
            true => Err(revert.clone()),
            false => self.l1.simulate(&call, confirmed.hash).await?,
        };
        if !matches!(revert, Revert::AlreadyRecorded { .. }) {
            // The same rule, though its values may differ: an expiry names the block's time.
            let same = at_confirmed
                .is_err_and(|earlier| std::mem::discriminant(&earlier) == std::mem::discriminant(&revert));
            return Ok(Verdict::Refused { revert, confirmed: same });
        }
        let confirmed_recorded = matches!(at_confirmed, Err(Revert::AlreadyRecorded { .. }));
        let found = match confirmed_recorded {
            // A courtesy to the reader; not finding it, or not being allowed to look, must not hold anything up.
            true => self.l1.find_recorded(self.config.log, posting.digest, head.number).await.ok().flatten(),
            false => None,
        };
        let found = found.map(|recorded| (recorded.block, recorded.tx));
        Ok(Verdict::Recorded { confirmed: confirmed_recorded, found })
    }
}
