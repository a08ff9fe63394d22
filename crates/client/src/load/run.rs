//! Sends the batches of a load when they are due.
//!
//! Payloads are made and signed on another thread, a few ahead of time, so that this adds no
//! latency. Nothing is tried again: a refusal is a result.

use std::time::Duration;

use bytes::Bytes;
use dac_chain::{EcdsaKey, TransactionSigner as _};
use dac_types::{Address, B256, Domain, HashKind, SignedSubmission};
use rand::rngs::StdRng;
use rand::{RngCore as _, SeedableRng as _};
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, MissedTickBehavior};

use super::plan::{LoadPlan, Rate};
use super::schedule::{Arrival, Schedule};
use super::statistics::{Outcome, Snapshot, Statistics, Summary};
use crate::attempts::SubmitOptions;
use crate::batch::{AggregatorClient, AggregatorError, BatchSelector};
use crate::status::BatchState;
use crate::submission::{SubmissionBuilder, SubmissionError};

/// The number of batches that are made before they are due.
const AHEAD: usize = 4;
/// The time between two snapshots.
const SNAPSHOT_INTERVAL: Duration = Duration::from_secs(1);
/// The aggregator must accept a submission within this time, in seconds.
const ORDER_SECONDS: u64 = 15 * 60;

/// A rollup for which batches are submitted.
#[derive(Clone, Debug)]
pub struct Target {
    /// The rollup's settlement contract.
    pub rollup: Address,
    /// The rollup's batch signer.
    pub poster: EcdsaKey,
    /// The address of the aggregator's disperser key.
    pub disperser: Address,
}

/// A batch, ready to be sent.
struct Prepared {
    arrival: Arrival,
    payload: Bytes,
    signed: SignedSubmission,
}

/// A batch whose outcome is known.
struct Ended {
    arrival: Arrival,
    due: Duration,
    outcome: Outcome,
    at: Instant,
}

/// Runs a load to its end, then waits for the batches that are in flight. `now` is in Unix seconds.
/// The caller has checked the plan.
///
/// # Errors
/// Failures of the service are no errors but part of the summary. The only error is a submission
/// that cannot be made.
pub async fn run(
    client: &AggregatorClient,
    domain: Domain,
    targets: Vec<Target>,
    plan: &LoadPlan,
    now: impl Fn() -> u64 + Send + 'static,
    mut progress: impl FnMut(&Snapshot),
) -> Result<Summary, SubmissionError> {
    let clients: Vec<_> = (0..plan.connections).map(|_| client.keeping_its_connection()).collect();
    let mut statistics = Statistics::new(plan.warm_up, plan.duration);
    let (mut prepared, maker) = prepare(domain, targets, plan, now);
    // The first batches are made, and connections opened, before the clock starts.
    futures::future::join_all(clients.iter().map(AggregatorClient::connect)).await;
    let mut next = prepared.recv().await;
    let start = Instant::now();
    let end = start + plan.duration;
    let mut ticks = tokio::time::interval_at(start + SNAPSHOT_INTERVAL, SNAPSHOT_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut in_flight = JoinSet::new();
    let saturates = plan.rate == Rate::Saturate;

    while let Some(batch) = &next {
        let due_at = if saturates { Instant::now() } else { start + batch.arrival.at };
        if due_at >= end {
            break;
        }
        let has_room = in_flight.len() < plan.in_flight_max;
        tokio::select! {
            biased;
            Some(ended) = in_flight.join_next() => note(&mut statistics, ended, start),
            _ = ticks.tick() => progress(&statistics.snapshot(start.elapsed(), in_flight.len())),
            () = tokio::time::sleep_until(end), if saturates => break,
            () = tokio::time::sleep_until(due_at), if has_room || !saturates => {
                let Some(Prepared { arrival, payload, signed }) = next.take() else { break };
                let due = due_at.duration_since(start);
                statistics.due(due, arrival.bytes);
                if has_room {
                    statistics.sent(due, due_at.elapsed());
                    let index = usize::try_from(arrival.index).unwrap_or(0) % clients.len();
                    let client = clients[index].clone();
                    let (posting, timeout) = (plan.posting, plan.timeout);
                    in_flight.spawn(async move {
                        let options = SubmitOptions {
                            posting,
                            retry_for: Duration::ZERO,
                            answer: timeout,
                            limit: timeout,
                            ..SubmitOptions::default()
                        };
                        let outcome = submit(&client, &domain, &signed, &payload, options, due_at).await;
                        Ended { arrival, due, outcome, at: Instant::now() }
                    });
                } else {
                    statistics.dropped(due);
                }
                next = prepared.recv().await;
            }
        }
    }
    drop((next, prepared));
    let drain_until = Instant::now() + plan.timeout;
    while !in_flight.is_empty() {
        tokio::select! {
            Some(ended) = in_flight.join_next() => note(&mut statistics, ended, start),
            _ = ticks.tick() => progress(&statistics.snapshot(start.elapsed(), in_flight.len())),
            () = tokio::time::sleep_until(drain_until) => break,
        }
    }
    maker.await.unwrap_or(Ok(()))?;
    Ok(statistics.summary(in_flight.len() as u64))
}

fn note(statistics: &mut Statistics, ended: Result<Ended, tokio::task::JoinError>, start: Instant) {
    match ended {
        Ok(Ended { arrival, due, outcome, at }) => {
            statistics.ended(due, arrival.bytes, outcome, at.duration_since(start));
        }
        // This program failed, and the batch's times are lost.
        Err(error) => {
            let error = if error.is_panic() { "PANIC" } else { "CANCELLED" }.to_owned();
            statistics.ended(start.elapsed(), 0, Outcome::Failed { error }, start.elapsed());
        }
    }
}

async fn submit(
    client: &AggregatorClient,
    domain: &Domain,
    signed: &SignedSubmission,
    payload: &Bytes,
    options: SubmitOptions,
    due: Instant,
) -> Outcome {
    let limit = options.answer;
    let result = async {
        let status = client.submit(domain, signed, payload, options, |_| {}).await?;
        let received = due.elapsed();
        if !status.state.has_reached(BatchState::Certified) {
            let selector = BatchSelector::Submission(status.submission_digest);
            client.wait(selector, BatchState::Certified, limit.saturating_sub(received), |_| {}).await?;
        }
        Ok::<_, AggregatorError>(received)
    };
    match result.await {
        Ok(received) => Outcome::Certified { received, certified: due.elapsed() },
        Err(error) if error.is_refusal() => Outcome::Refused { reason: error.code().to_owned() },
        Err(error) => Outcome::Failed { error: error.code().to_owned() },
    }
}

/// Makes batches on another thread, a few ahead, until the receiver is dropped.
fn prepare(
    domain: Domain,
    targets: Vec<Target>,
    plan: &LoadPlan,
    now: impl Fn() -> u64 + Send + 'static,
) -> (mpsc::Receiver<Prepared>, JoinHandle<Result<(), SubmissionError>>) {
    let (sender, receiver) = mpsc::channel(AHEAD);
    let plan = plan.clone();
    let maker = tokio::task::spawn_blocking(move || {
        // The payloads have a generator of their own, so that one seed gives the same bytes with
        // every distribution of sizes.
        let mut dice = StdRng::seed_from_u64(plan.seed ^ 0x7061_796c_6f61_6473);
        for arrival in Schedule::new(&plan, targets.len()) {
            let mut payload = vec![0; arrival.bytes];
            dice.fill_bytes(&mut payload);
            let target = &targets[arrival.rollup];
            let now = now();
            let number = plan.first_number.wrapping_add(arrival.index);
            let mut order = SubmissionBuilder::new(domain, target.rollup, number, target.disperser, now)
                .hash_kind(plan.hash_kind)
                .expires_at(now.saturating_add(plan.lifetime_seconds))
                .submit_before(now.saturating_add(ORDER_SECONDS.min(plan.lifetime_seconds)));
            if plan.hash_kind == HashKind::Opaque {
                let mut commitment = [0; 32];
                dice.fill_bytes(&mut commitment);
                order = order.batch_hash(B256::from(commitment));
            }
            let signed = order.sign(&payload, |digest| sign(&target.poster, digest))?;
            if sender.blocking_send(Prepared { arrival, payload: payload.into(), signed }).is_err() {
                break;
            }
        }
        Ok(())
    });
    (receiver, maker)
}

fn sign(poster: &EcdsaKey, digest: B256) -> Result<[u8; 65], String> {
    poster.sign_hash(&digest).map(|signature| signature.as_bytes()).map_err(|error| error.to_string())
}
