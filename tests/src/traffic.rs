//! A rollup that submits batch after batch while the aggregator fails and recovers. A submission
//! that is refused for now is sent again, unchanged, until it is accepted.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use dac_proto::reason::Reason;
use dac_proto::v1::{self, BatchState};
use dac_types::{B256, HashKind};
use futures::stream;
use rand::rngs::StdRng;
use rand::{Rng, RngCore, SeedableRng};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tonic::Status;
use tonic::transport::Channel;

use crate::failure::{Context, Failure, Result};
use crate::network::Network;
use crate::rollup::{self, Rollup};
use crate::rpc;
use crate::standstill::explained;
use crate::wait;

/// The pause after a batch was not accepted.
const RETRY: Duration = Duration::from_millis(50);
/// The most batches that are accepted but not recorded.
const UNDER_WAY_MAX: usize = 8;
/// The lifetime of a lasting batch in seconds. It is longer than any run.
const LASTING_SECONDS: u64 = 2 * 86_400;
/// The deadline of a call, because a killed process does not answer.
const CALL_LIMIT: Duration = Duration::from_secs(10);

/// The batches that are submitted.
#[derive(Clone, Copy, Debug)]
pub struct TrafficPlan {
    /// The seed of payloads and hash kinds.
    pub seed: u64,
    /// The pause between two batches.
    pub pause: Duration,
    /// The most bytes of an ordinary payload.
    pub bytes_max: usize,
    /// One batch in this many is large; 0 for none.
    pub large_every: u64,
    /// The bytes of a large payload.
    pub large_bytes: usize,
    /// One batch in this many is short-lived; 0 for none.
    pub short_every: u64,
    /// The lifetime of a short-lived batch in seconds.
    pub short_seconds: u64,
}

impl TrafficPlan {
    /// A plan of small batches.
    pub const fn small(seed: u64) -> Self {
        Self {
            seed,
            pause: Duration::from_millis(150),
            bytes_max: 40_000,
            large_every: 0,
            large_bytes: 0,
            short_every: 0,
            short_seconds: 0,
        }
    }
}

/// A batch that the aggregator accepted.
#[derive(Clone, Debug)]
pub struct Accepted {
    /// The batch's number.
    pub number: u64,
    /// The EIP-712 digest of the submission.
    pub submission: B256,
    /// The payload.
    pub payload: Bytes,
    /// The batch hash.
    pub batch_hash: B256,
    /// Whether it may expire before it is recorded.
    pub is_short_lived: bool,
}

#[derive(Debug, Default)]
struct Shared {
    accepted: Mutex<Vec<Accepted>>,
}

/// The task of the rollup.
#[derive(Debug)]
pub struct Traffic {
    shared: Arc<Shared>,
    count: watch::Receiver<u64>,
    stop: watch::Sender<bool>,
    task: JoinHandle<Result<()>>,
}

impl Traffic {
    /// Starts with this batch number.
    pub fn start(network: &Network, first_number: u64, plan: TrafficPlan) -> Result<Self> {
        Self::start_as(network.rollup.clone(), network.apis()?, first_number, plan)
    }

    /// Does the same for any rollup, which submits to the aggregator's processes in turn.
    pub fn start_as(
        rollup: Rollup,
        apis: Vec<Channel>,
        first_number: u64,
        plan: TrafficPlan,
    ) -> Result<Self> {
        let shared = Arc::<Shared>::default();
        let (stop, stopped) = watch::channel(false);
        let (counted, count) = watch::channel(0);
        let sender = Sender {
            rollup,
            apis,
            submits: 0,
            looks: 0,
            plan,
            shared: Arc::clone(&shared),
            counted,
            stopped,
        };
        Ok(Self { shared, count, stop, task: tokio::spawn(sender.run(first_number)) })
    }

    /// Returns the batches that were accepted so far.
    pub fn accepted(&self) -> Vec<Accepted> {
        self.shared.accepted.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits until `batches` more are accepted; fails if the rollup gave up.
    pub async fn more(&mut self, batches: u64) -> Result<()> {
        let goal = *self.count.borrow() + batches;
        let reached =
            tokio::time::timeout(wait::LIMIT * 2, self.count.wait_for(|count| *count >= goal)).await;
        match reached {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(_)) => Err(Failure::new("the rollup has stopped")),
            Err(_) => Err(Failure::new(format!("{batches} more batches were not taken"))),
        }
    }

    /// Ends the traffic, and waits until all accepted batches are recorded on L1, or have expired
    /// if they are short-lived.
    pub async fn finish(self, network: &Network) -> Result<Vec<Accepted>> {
        explained(network, self.recorded(network).await).await
    }

    async fn recorded(self, network: &Network) -> Result<Vec<Accepted>> {
        self.stop.send_replace(true);
        self.task.await.context("the rollup's task")??;
        let accepted = self.shared.accepted.lock().unwrap_or_else(PoisonError::into_inner).clone();
        for batch in &accepted {
            let what = format!("batch {} to be recorded", batch.number);
            let state = wait::until(&what, wait::LIMIT * 2, async || {
                let state = state(network.api().ok()?, batch.submission).await.ok()?;
                is_over(state).then_some(state)
            });
            let state = state.await?;
            if state != BatchState::Posted && !batch.is_short_lived {
                return Err(Failure::new(format!("batch {} ended as {state:?}", batch.number)));
            }
        }
        Ok(accepted)
    }
}

fn is_over(state: BatchState) -> bool {
    matches!(state, BatchState::Posted | BatchState::Settled | BatchState::Failed | BatchState::Expired)
}

async fn state(api: Channel, submission: B256) -> Result<BatchState, Status> {
    let call = rpc::batch(api, rpc::by_submission(submission));
    let answer = tokio::time::timeout(CALL_LIMIT, call).await;
    Ok(answer.map_err(|_| Status::deadline_exceeded("no answer"))??.state())
}

/// Returns whether it is pointless to submit again after this refusal. It is not pointless if only
/// a wrong clock refuses, because clocks are set right again, or if the rollup is unknown, because
/// it was just admitted and a process knows it after its next look at L1.
fn is_final(status: &Status) -> bool {
    let passes = [
        Reason::ExpiresTooSoon,
        Reason::ExpiresTooLate,
        Reason::SubmitBeforePassed,
        Reason::SubmitBeforeTooFar,
        Reason::UnknownRollup,
    ];
    Reason::of(status).is_some_and(|reason| !reason.is_retryable() && !passes.contains(&reason))
}

struct Sender {
    rollup: Rollup,
    apis: Vec<Channel>,
    /// Submissions go to the processes in turn. They are counted apart from queries: with one
    /// counter and one query for each submission, all submissions would go to one process and all
    /// queries to the other.
    submits: usize,
    looks: usize,
    plan: TrafficPlan,
    shared: Arc<Shared>,
    counted: watch::Sender<u64>,
    stopped: watch::Receiver<bool>,
}

impl Sender {
    async fn run(mut self, first_number: u64) -> Result<()> {
        let mut dice = StdRng::seed_from_u64(self.plan.seed);
        let mut under_way: Vec<B256> = Vec::new();
        for number in first_number.. {
            // Few batches are under way at a time, so that kills hit batches that are being worked
            // on and not batches in a queue.
            while under_way.len() >= UNDER_WAY_MAX {
                self.looks += 1;
                if let Ok(state) = state(self.api(self.looks), under_way[0]).await
                    && is_over(state)
                {
                    under_way.remove(0);
                } else if self.paused(RETRY).await {
                    return Ok(());
                }
            }
            let batch = self.batch(number, &mut dice);
            let Some(accepted) = self.submit(batch).await? else { return Ok(()) };
            under_way.push(accepted.submission);
            self.shared.accepted.lock().unwrap_or_else(PoisonError::into_inner).push(accepted);
            self.counted.send_modify(|count| *count += 1);
            if self.paused(self.plan.pause).await {
                return Ok(());
            }
        }
        Ok(())
    }

    fn api(&self, turn: usize) -> Channel {
        self.apis[turn % self.apis.len()].clone()
    }

    /// Pauses, and returns whether the traffic was told to stop meanwhile.
    async fn paused(&mut self, time: Duration) -> bool {
        tokio::time::timeout(time, self.stopped.wait_for(|stopped| *stopped)).await.is_ok()
    }

    fn batch(&self, number: u64, dice: &mut StdRng) -> Ordered {
        let TrafficPlan { bytes_max, large_every, large_bytes, short_every, short_seconds, .. } = self.plan;
        let is_each = |every: u64| every != 0 && number.is_multiple_of(every);
        let length = if is_each(large_every) { large_bytes } else { dice.random_range(1..=bytes_max) };
        let mut payload = vec![0; length];
        dice.fill_bytes(&mut payload);
        let kind = [HashKind::Opaque, HashKind::Keccak256, HashKind::Sha256][dice.random_range(0..3)];
        Ordered {
            number,
            kind,
            payload: payload.into(),
            short: is_each(short_every).then_some(short_seconds),
        }
    }

    /// Submits until the batch is accepted or the traffic is told to stop.
    async fn submit(&mut self, ordered: Ordered) -> Result<Option<Accepted>> {
        let Ordered { number, kind, payload, short } = ordered;
        let mut order = self.rollup.order(number, kind, &payload);
        order.expires_at = rollup::now() + short.unwrap_or(LASTING_SECONDS);
        let (domain, batch_hash) = (self.rollup.domain, order.batch_hash);
        let submission = order.digest(&domain);
        let signed = self.rollup.signed(order);
        loop {
            let pieces = stream::iter(rpc::pieces(&payload));
            self.submits += 1;
            let call = rpc::submit(self.api(self.submits), rpc::submit_open(&domain, &signed), pieces);
            let answer: Result<v1::Batch, Status> = tokio::time::timeout(CALL_LIMIT, call)
                .await
                .unwrap_or_else(|_| Err(Status::deadline_exceeded("no answer")));
            match answer {
                Ok(_) => {
                    let is_short_lived = short.is_some();
                    return Ok(Some(Accepted { number, submission, payload, batch_hash, is_short_lived }));
                }
                // The batch's short lifetime may be over.
                Err(status) if Reason::of(&status) == Some(Reason::ExpiresTooSoon) && short.is_some() => {
                    return Box::pin(self.submit(Ordered { number, kind, payload, short })).await;
                }
                Err(status) if is_final(&status) => {
                    return Err(Failure::new(format!("batch {number} is refused: {status}")));
                }
                Err(_) => {}
            }
            if self.paused(RETRY).await {
                return Ok(None);
            }
        }
    }
}

/// A batch that is about to be submitted.
struct Ordered {
    number: u64,
    kind: HashKind,
    payload: Bytes,
    /// The lifetime in seconds of a short-lived batch.
    short: Option<u64>,
}
