//! The poster's task: it looks at L1, plans, signs, commits, and then sends.

use std::sync::Arc;
use std::time::Duration;

use alloy::primitives::{Bytes, U256};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::command::{Command, What};
use super::error::PosterError;
use super::observe::{Observer, Purse};
use super::plan::{Means, Observation, Planned, plan};
use super::report::Report;
use super::sending::Sending;
use super::spending::Spending;
use super::state::State;
use super::trouble::Trouble;
use super::{
    Change, NonceSlot, Outcome, PosterConfig, PosterStore, Posting, PostingDigest, Purpose, SentVariant,
};
use dac_chain::BlockRef;
use dac_chain::Broadcast;
use dac_chain::ChainError;
use dac_chain::backoff;
use dac_chain::{Draft, TransactionSigner};

/// The time between two reads of the account's balance while nothing is to be posted.
const PURSE_INTERVAL: Duration = Duration::from_secs(30);

/// The result of one look at L1.
enum Seen {
    Chain(Box<Observation>),
    /// The account alone, because nothing is to be posted.
    Purse(Purse),
}

/// The means to sign transactions and to hand them to L1.
pub(super) struct Hands {
    pub(super) signer: Arc<dyn TransactionSigner>,
    pub(super) broadcast: Arc<dyn Broadcast>,
}

/// The task's state and its access to store and chain.
pub(super) struct Actor {
    pub(super) config: Arc<PosterConfig>,
    observer: Observer,
    hands: Hands,
    pub(super) store: Arc<dyn PosterStore>,
    outcomes: mpsc::Sender<(PostingDigest, Outcome)>,
    report: Report,
    pub(super) state: State,
    sending: Sending,
    spending: Spending,
    started: Instant,
    /// The number of rounds that failed in a row.
    failures: u32,
    cancellation: CancellationToken,
}

impl Actor {
    pub(super) fn new(
        observer: Observer,
        hands: Hands,
        store: Arc<dyn PosterStore>,
        outcomes: mpsc::Sender<(PostingDigest, Outcome)>,
        report: Report,
        state: State,
        cancellation: CancellationToken,
    ) -> Self {
        let config = Arc::clone(&observer.config);
        let mut spending = Spending::new(config.hourly_max);
        // The books of a former process show only the cost of transactions that are under way.
        let due = state.slots().map(|slot| slot.cost_max(&config)).fold(0, u128::saturating_add);
        spending.spend(Duration::ZERO, due);
        Self {
            config,
            observer,
            hands,
            store,
            outcomes,
            report,
            state,
            sending: Sending::default(),
            spending,
            started: Instant::now(),
            failures: 0,
            cancellation,
        }
    }

    pub(super) async fn run(mut self, mut inbox: mpsc::Receiver<Command>) {
        let cancellation = self.cancellation.clone();
        let mut purse_pause = Duration::ZERO;
        loop {
            // A look at L1 may take long, so requests are taken during it.
            let observer = self.observer.clone();
            let state = self.state.clone();
            let pause = match self.failures {
                0 => self.config.poll_interval,
                failures => backoff(self.config.poll_interval, failures),
            };
            let look = async move {
                if state.is_idle() {
                    tokio::time::sleep(purse_pause).await;
                    return observer.purse().await.map(Seen::Purse);
                }
                observer.look(&state).await.map(|seen| Seen::Chain(Box::new(seen)))
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
            purse_pause = PURSE_INTERVAL;
            self.follow(seen).await;
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

    /// Acts on the result of a look, and reports the trouble, if there is any.
    async fn follow(&mut self, seen: Result<Seen, ChainError>) {
        let result = match seen {
            Ok(Seen::Chain(seen)) => self.act(&seen).await,
            Ok(Seen::Purse(purse)) => {
                self.look_into(purse);
                return;
            }
            Err(error) if self.state.is_idle() => {
                debug!(%error, "the L1 account cannot be looked at");
                return;
            }
            Err(error) => Err(error.into()),
        };
        self.failures = if result.is_ok() { 0 } else { self.failures.saturating_add(1) };
        let trouble = result.unwrap_or_else(|error| {
            debug!(%error, failures = self.failures, "a round of posting failed");
            Some(Trouble::of_round(&error))
        });
        self.tell_payer(trouble);
    }

    fn look_into(&mut self, Purse { balance, needed }: Purse) {
        let (account, needed) = (self.hands.signer.address(), U256::from(needed));
        self.report.purse(Some(balance), needed);
        self.tell_payer((balance < needed).then_some(Trouble::Unfunded { account, balance, needed }));
    }

    fn tell_payer(&mut self, trouble: Option<Trouble>) {
        let spent = self.spending.spent(self.started.elapsed());
        self.report.payer(&self.config, trouble, spent, self.sending.sent);
    }

    async fn accept(&mut self, command: Command) {
        let Command { digest, what, reply } = command;
        let result = match what {
            What::Post { task, calldata } => self.enqueue(digest, task, calldata).await,
            What::Withdraw => self.withdraw(digest).await,
        };
        // The caller may not wait any more; its order is stored nevertheless.
        let _ = reply.send(result);
    }

    pub(super) async fn commit(&mut self, changes: Vec<Change>) -> Result<(), PosterError> {
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
                            let tx = tx_hash.map(tracing::field::display);
                            info!(%digest, tx, block, by_us, "posted");
                        }
                        Outcome::Failed { reason } => {
                            warn!(%digest, %reason, "it cannot be posted")
                        }
                    }
                    self.report.forget(*digest);
                    // If the receiver was dropped, the outcome is still in the store.
                    let told = self.outcomes.send((*digest, outcome.clone()));
                    let _ = self.cancellation.run_until_cancelled(told).await;
                }
                Change::ForgetSlot { nonce } => {
                    self.sending.forget(*nonce);
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Plans, commits and sends. Returns what keeps the account from posting more, if anything
    /// does.
    async fn act(&mut self, seen: &Observation) -> Result<Option<Trouble>, PosterError> {
        let now = self.started.elapsed();
        let means = Means {
            account: self.hands.signer.address(),
            allowance: self.spending.left(now),
            asked_tip: self.sending.asked_tip(),
            refused_tips: self.sending.refused_tips(&self.state),
        };
        let plan = plan(&self.config, &self.state, seen, &means);
        let mut changes = plan.changes;
        let mut after = self.state.clone();
        for change in &changes {
            after.apply(change);
        }
        for planned in plan.transactions {
            changes.push(Change::SaveSlot(self.sign(&after, planned, seen.head.block)?));
        }
        // The cost counts before the commit, because a commit that seems to fail may have taken
        // place.
        self.spending.spend(now, plan.cost);
        self.commit(changes).await?;
        self.report.progress(&self.config, &self.state, seen);
        self.report.purse(seen.balance, U256::from(plan.needed));
        let sent = self.sending.send(&*self.hands.broadcast, means.account, &self.state, seen).await;
        Ok(plan.trouble.or(sent?).or_else(|| seen.lost_on_the_way()))
    }

    fn sign(&self, state: &State, planned: Planned, head: BlockRef) -> Result<NonceSlot, ChainError> {
        let posting = planned.digest.and_then(|digest| state.posting(digest));
        let (to, data) = match (planned.purpose, posting) {
            (Purpose::Post, Some(posting)) => {
                let to = posting.task.kind().place().map_or(self.config.log, |place| place.contract);
                (to, posting.calldata.clone())
            }
            _ => (self.hands.signer.address(), Bytes::new()),
        };
        let draft = Draft {
            chain_id: self.config.domain.chain_id,
            nonce: planned.nonce,
            gas_limit: planned.gas_limit,
            fees: planned.fees,
            to: Some(to),
            value: U256::ZERO,
            data,
        };
        let signed = draft.sign(&*self.hands.signer)?;
        let mut slot = state.slot(planned.nonce).cloned().unwrap_or(NonceSlot {
            nonce: planned.nonce,
            digest: planned.digest,
            variants: Vec::new(),
        });
        slot.variants.push(SentVariant {
            hash: signed.hash,
            raw: signed.raw,
            fees: planned.fees,
            gas_limit: Some(planned.gas_limit),
            purpose: planned.purpose,
            signed_at_block: head.number,
        });
        Ok(slot)
    }
}
