//! What the rest of the process holds of the poster: a way to ask, and to be told.

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

/// Requests to the actor that are not read yet.
const COMMANDS_MAX: usize = 64;

/// Outcomes that are not read yet. Beyond that the poster waits for its reader.
const OUTCOMES_MAX: usize = 1024;

/// Outcomes as they come. Each was committed to the store before; one missed because of a crash is
/// there.
#[derive(Debug)]
pub struct Outcomes(mpsc::Receiver<(PostingDigest, Outcome)>);

impl Outcomes {
    /// The next outcome; none once the poster has stopped.
    pub async fn next(&mut self) -> Option<(PostingDigest, Outcome)> {
        self.0.recv().await
    }
}

/// Hands batches and renewals to the poster. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Poster {
    commands: mpsc::Sender<Command>,
    progress: watch::Receiver<ProgressMap>,
    payer: watch::Receiver<Payer>,
}

impl Poster {
    /// Loads what is not done and goes on with it, until cancelled. It reads `l1` and hands
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

    /// How far postings have come.
    pub fn progress(&self) -> watch::Receiver<ProgressMap> {
        self.progress.clone()
    }

    /// The account that pays, and what keeps it from posting.
    pub fn payer(&self) -> watch::Receiver<Payer> {
        self.payer.clone()
    }

    /// Takes an order. When this returns, the store holds it, and it will be posted, also after a
    /// crash.
    ///
    /// The same order again changes nothing, unless it failed before: then it is tried anew. A
    /// batch that was recorded before, or whose settlement failed, is settled by the newer order,
    /// once its turn has come and a simulation succeeds. A renewal goes before what else is
    /// waiting, and another one that covers as much counts as its own.
    pub async fn enqueue(&self, order: impl Into<Order>) -> Result<Enqueued, PosterError> {
        let Order { digest, task, calldata } = order.into();
        self.ask(digest, What::Post { task, calldata }).await
    }

    /// Gives up what nobody wants posted any more. A transaction that is on its way may be included
    /// all the same.
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
