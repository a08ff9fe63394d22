//! The poster's handle, to which the rest of the process gives orders, and the stream of outcomes.

use std::sync::Arc;

use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use super::actor::{Actor, Hands};
use super::again::Again;
use super::command::{Command, Enqueued, What};
use super::error::PosterError;
use super::key::PostingDigest;
use super::kinds::Order;
use super::observe::Observer;
use super::progress::ProgressMap;
use super::report::Report;
use super::state::State;
use super::trouble::Payer;
use super::{Outcome, PosterConfig, PosterStore};
use dac_chain::TransactionSigner;
use dac_chain::{Broadcast, L1};

/// The largest number of requests that the actor has not read yet.
const COMMANDS_MAX: usize = 64;

/// The largest number of outcomes that are not read yet. When that many are unread, the poster
/// waits.
const OUTCOMES_MAX: usize = 1024;

/// The stream of outcomes. Each outcome is committed to the store before it is sent here, so one
/// that is missed because of a crash is found there.
#[derive(Debug)]
pub struct Outcomes(mpsc::Receiver<(PostingDigest, Outcome)>);

impl Outcomes {
    /// Returns the next outcome, or `None` once the poster has stopped.
    pub async fn next(&mut self) -> Option<(PostingDigest, Outcome)> {
        self.0.recv().await
    }
}

/// Gives orders to the poster. It is cheap to clone.
#[derive(Clone, Debug)]
pub struct Poster {
    commands: mpsc::Sender<Command>,
    progress: watch::Receiver<ProgressMap>,
    payer: watch::Receiver<Payer>,
}

impl Poster {
    /// Loads unfinished postings and continues them until it is cancelled. It reads `l1` and hands
    /// transactions to `broadcast`.
    pub async fn start(
        config: PosterConfig,
        l1: Arc<dyn L1>,
        broadcast: Arc<dyn Broadcast>,
        store: Arc<dyn PosterStore>,
        signer: Arc<dyn TransactionSigner>,
        cancellation: CancellationToken,
    ) -> Result<(Self, Outcomes), PosterError> {
        let state = State::from(store.load().await?);
        let (commands, inbox) = mpsc::channel(COMMANDS_MAX);
        let (outcomes, outbox) = mpsc::channel(OUTCOMES_MAX);
        let (progress, watched) = watch::channel(ProgressMap::default());
        let (payer, payer_watched) = watch::channel(Payer::new(signer.address(), config.hourly_max));
        let config = Arc::new(config);
        let (l1, broadcast) = (Arc::new(Again(l1)), Arc::new(Again(broadcast)));
        let observer = Observer::new(config, l1, signer.address());
        let hands = Hands { signer, broadcast };
        let report = Report::new(progress, payer);
        let actor = Actor::new(observer, hands, store, outcomes, report, state, cancellation);
        tokio::spawn(actor.run(inbox));
        Ok((Self { commands, progress: watched, payer: payer_watched }, Outcomes(outbox)))
    }

    /// Returns the progress of postings.
    pub fn progress(&self) -> watch::Receiver<ProgressMap> {
        self.progress.clone()
    }

    /// Returns the account that pays, and what keeps it from posting.
    pub fn payer(&self) -> watch::Receiver<Payer> {
        self.payer.clone()
    }

    /// Takes an order. When this returns, the store holds it, and it will be posted, also after a
    /// crash.
    ///
    /// A repeated order changes nothing, unless it failed before: then it is tried anew. A batch
    /// that was recorded before, or whose settlement failed, is settled by the newer order, once
    /// its turn has come and a simulation succeeds. A renewal goes before all other waiting orders,
    /// and is done as soon as any renewal on L1 covers as much.
    pub async fn enqueue(&self, order: impl Into<Order>) -> Result<Enqueued, PosterError> {
        let Order { digest, task, calldata } = order.into();
        self.ask(digest, What::Post { task, calldata }).await
    }

    /// Withdraws an order that is not needed any more. A transaction that was sent for it may still
    /// be included.
    pub async fn withdraw(&self, digest: impl Into<PostingDigest>) -> Result<(), PosterError> {
        self.ask(digest.into(), What::Withdraw).await.map(|_| ())
    }

    async fn ask(&self, digest: PostingDigest, what: What) -> Result<Enqueued, PosterError> {
        let (reply, answer) = oneshot::channel();
        let command = Command { digest, what, reply };
        self.commands.send(command).await.map_err(|_| PosterError::Stopped)?;
        answer.await.map_err(|_| PosterError::Stopped)?
    }
}
