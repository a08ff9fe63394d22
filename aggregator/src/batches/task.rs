//! The task of one batch: takes events, applies them to the state machine, stores the new state,
//! and only then acts. Members' answers alone are not stored at once, but with the next other
//! change or at the next tick.

mod encoding;
mod reports;
mod saving;
mod settling;
mod signatures;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use dac_types::{B256, Seat};
use tokio::sync::{Notify, mpsc, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::budgets::Budgets;
use super::delivery::Deliveries;
use super::dormant::Dormant;
use super::proofs::ProofSubmission;
use super::registry::Live;
use crate::batch::{Action, Batch, DeliveryFailure, Event, Phase};
use crate::budget::Held;
use crate::context::Context;
use crate::encode::EncodedPayload;
use crate::post::{Seen, orders};
use crate::store::Versioned;

/// The number of events that may wait for the task.
const EVENTS_MAX: usize = 1024;
/// The number of submitted proofs that may wait for the task.
const PROOFS_MAX: usize = 4;
/// The highest number of events whose changes are stored together.
const EVENTS_AT_ONCE: usize = 64;
/// How long after its end an epoch counts as over, because members' clocks may lag.
const EPOCH_SLACK_SECONDS: u64 = 2;
/// The factor by which the time between ticks grows once the batch has its certificate, unless it
/// may become dormant.
const SLOW_TICKS: u32 = 10;

pub(super) struct BatchTask {
    ctx: Arc<Context>,
    batch: Batch,
    /// The batch as it stands in the store.
    saved: Batch,
    version: i64,
    payload: Arc<EncodedPayload>,
    sender: mpsc::Sender<Event>,
    events: mpsc::Receiver<Event>,
    view: watch::Sender<Arc<Batch>>,
    /// The batch's share of the payload bytes in flight, or of the parked ones.
    held: Option<Held>,
    is_parked: bool,
    budgets: Budgets,
    /// The deliveries of the current header.
    deliveries: Option<Arc<Deliveries>>,
    /// Seats with a task that delivers shards.
    delivering: HashSet<Seat>,
    /// Seats with a task that delivers the certificate.
    certifying: HashSet<Seat>,
    encoding: bool,
    posting: bool,
    /// The hash of the proof with which the batch is being settled.
    settling: Option<B256>,
    /// The search for a settlement by another sender.
    watching: Option<Watching>,
    /// The proofs that the rollup submitted.
    proofs: mpsc::Receiver<Box<ProofSubmission>>,
    /// Cancelled to end all work of this task except its deliveries.
    scope: CancellationToken,
    /// Notified when another process has changed the batch.
    reload: Arc<Notify>,
    /// Whether another process has taken over the work on the batch.
    taken_over: bool,
}

/// Why this process's task of a batch ended.
pub(super) enum End {
    /// The batch is finished, the process is stopping, or another process took the batch over.
    Here,
    /// The batch has to be left to the process that posts.
    GivenUp {
        /// The stored version of the batch.
        version: i64,
    },
    /// The batch waits only for a proof, which needs no task.
    Dormant(Dormant),
}

impl BatchTask {
    pub(super) fn new(
        ctx: Arc<Context>,
        versioned: Versioned,
        held: Option<Held>,
        received: Option<Bytes>,
        budgets: Budgets,
    ) -> (Self, Live) {
        let Versioned { batch, version, upload } = versioned;
        let (sender, events) = mpsc::channel(EVENTS_MAX);
        let (proof, proofs) = mpsc::channel(PROOFS_MAX);
        let (view, watch) = watch::channel(Arc::new(batch.clone()));
        let payload = Arc::new(EncodedPayload::new(
            Arc::clone(&ctx.store),
            Arc::clone(&ctx.encoders),
            upload,
            batch.submission.clone(),
            received,
        ));
        let (scope, reload) = (ctx.stopping.child_token(), Arc::new(Notify::new()));
        let actor = Self {
            ctx,
            saved: batch.clone(),
            batch,
            version,
            payload,
            sender: sender.clone(),
            events,
            view,
            held,
            is_parked: false,
            budgets,
            deliveries: None,
            delivering: HashSet::new(),
            certifying: HashSet::new(),
            encoding: false,
            posting: false,
            settling: None,
            watching: None,
            proofs,
            scope,
            reload: Arc::clone(&reload),
            taken_over: false,
        };
        (actor, Live { events: sender, proofs: proof, view: watch, reload })
    }

    pub(super) async fn run(mut self) -> End {
        let stopping = self.ctx.stopping.clone();
        let mut leading = self.ctx.posting.leading();
        // When the process stops, this task finishes its write to the store and leaves everything
        // else as it is.
        self.step(vec![Event::TimePassed { now: self.ctx.now() }, Event::Resumed]).await;
        // Ticks are counted from the last tick, not from the last event. Otherwise members that
        // refuse all the time could keep the task from noticing the end of an epoch or of the
        // batch.
        let mut looked_at = Instant::now();
        let mut rests = false;
        while !self.batch.finished && !self.taken_over && !self.is_for_another() {
            if self.may_be_dormant() {
                // A dormant batch has no search for its settlement, so a problem of the search is
                // cleared.
                self.batch.apply(Event::PostingProblem(String::new()));
                if self.save_what_waits().await {
                    self.step(vec![Event::Resumed]).await;
                    continue;
                }
                // A client may have begun to watch the batch while it was saved.
                rests = self.batch.is_stored_as(&self.saved) && self.may_be_dormant();
                if rests {
                    break;
                }
            }
            // A batch that becomes dormant when its last watcher leaves keeps the short tick,
            // because no event tells the task of that.
            let is_slow = self.batch.certificate.is_some() && !self.batch.waits_for_proof_alone();
            let tick = self.ctx.settings.tick * if is_slow { SLOW_TICKS } else { 1 };
            let events = tokio::select! {
                biased;
                () = stopping.cancelled() => break,
                Some(offer) = self.proofs.recv() => {
                    self.weigh(*offer).await;
                    continue;
                }
                () = self.reload.notified() => {
                    self.read_again().await;
                    continue;
                }
                Ok(()) = leading.changed() => continue,
                () = tokio::time::sleep_until(looked_at + tick) => {
                    looked_at = Instant::now();
                    self.park();
                    let mut events = self.look_at_the_clock();
                    if self.save_what_waits().await {
                        events.push(Event::Resumed);
                    }
                    events
                }
                event = self.events.recv() => {
                    let mut events: Vec<Event> = event.into_iter().collect();
                    while events.len() < EVENTS_AT_ONCE && let Ok(event) = self.events.try_recv() {
                        events.push(event);
                    }
                    events
                }
            };
            self.step(events).await;
        }
        self.scope.cancel();
        self.call_off();
        self.save_what_waits().await;
        if self.taken_over || stopping.is_cancelled() {
            return End::Here;
        }
        if rests {
            return End::Dormant(Dormant::of(&self.batch, self.version));
        }
        if !self.batch.finished {
            return End::GivenUp { version: self.version };
        }
        if let (Phase::Failed(_) | Phase::Expired, Some(_), Some(digest)) =
            (&self.batch.phase, &self.batch.proof, self.batch.digest())
        {
            self.ctx.posting.withdraw(digest).await;
        }
        End::Here
    }

    /// Returns whether the batch waits only for a proof, and no client watches it.
    fn may_be_dormant(&self) -> bool {
        self.batch.waits_for_proof_alone()
            && self.delivering.is_empty()
            && self.certifying.is_empty()
            && self.settling.is_none()
            && self.proofs.is_empty()
            && self.events.is_empty()
            && self.view.receiver_count() == 1
            && self.is_not_settled()
    }

    /// Returns whether the last reading of the rollup's contract shows that it has settled no batch
    /// with this number yet. Once it has, the task must find out which one.
    fn is_not_settled(&self) -> bool {
        let number = self.batch.submission.submission.batch_number;
        self.watching.as_ref().is_some_and(|watching| watching.seen.borrow().count < number)
    }

    /// Returns whether the batch must go to another process: the process that posts works on all
    /// certified batches.
    fn is_for_another(&self) -> bool {
        self.batch.certificate.is_some() && !self.batch.finished && !self.ctx.posting.is_leading()
    }

    /// Frees the memory of a batch that too few members would take for now. Its payload waits on
    /// disk, and a later attempt encodes it again.
    fn park(&mut self) {
        let Some(waiting) = self.batch.waiting().filter(|_| self.batch.is_held_up()) else { return };
        let held_up_for = Duration::from_millis(self.ctx.now_ms().saturating_sub(waiting.since_ms));
        if held_up_for < self.ctx.settings.hold_up {
            return;
        }
        self.payload.unpin();
        if !self.is_parked
            && let Some(place) = self.budgets.park(&self.batch)
        {
            (self.held, self.is_parked) = (Some(place), true);
        }
    }

    fn look_at_the_clock(&self) -> Vec<Event> {
        let now = self.ctx.now();
        let mut events = vec![Event::TimePassed { now }];
        if let (Phase::Dispersing, Some(dispersal), Ok(view)) =
            (&self.batch.phase, &self.batch.dispersal, self.ctx.registry())
        {
            let epoch = dispersal.epoch();
            let over = view
                .committee(epoch)
                .is_none_or(|committee| committee.active_until().saturating_add(EPOCH_SLACK_SECONDS) <= now);
            if over && view.active_committee(now).is_some_and(|active| active.epoch() != epoch) {
                events.push(Event::EpochOver { epoch });
            }
        }
        events
    }

    /// Applies events, stores and publishes the new state, and then takes the actions that follow.
    async fn step(&mut self, events: Vec<Event>) {
        let before = self.batch.clone();
        let mut actions = Vec::new();
        for event in events {
            self.note_ended(&event);
            actions.extend(self.batch.apply(event));
        }
        self.batch.date_waiting(self.ctx.now_ms());
        if self.batch != before {
            let may_wait = self.batch.may_wait(&self.saved);
            match if may_wait { Persisted::Saved } else { self.persist().await } {
                Persisted::Saved => {}
                Persisted::Reloaded => actions = self.batch.apply(Event::Resumed),
                Persisted::Stopped => {
                    self.batch = before;
                    return;
                }
            }
            self.report_changes(&before);
            self.view.send_replace(Arc::new(self.batch.clone()));
        }
        if !matches!(self.batch.phase, Phase::Received | Phase::Dispersing) {
            self.held = None;
        }
        if let (Some(certified), Some(deliveries)) = (&self.batch.certificate, &self.deliveries)
            && before.certificate.is_none()
        {
            deliveries.certified(certified.aggregate.clone());
        }
        if self.taken_over {
            return;
        }
        for action in actions {
            self.act(action).await;
        }
    }

    /// Notes which of the batch's other tasks have ended: each one's last event tells. Those of a
    /// former header were ended before.
    fn note_ended(&mut self, event: &Event) {
        let current = self.deliveries.as_ref().map(|deliveries| deliveries.digest);
        match event {
            Event::Answered { digest, seat, .. } if current == Some(*digest) => {
                self.delivering.remove(seat);
            }
            Event::DeliveryFailed { digest, seat, kind, .. }
                if current == Some(*digest) && *kind != DeliveryFailure::Retryable =>
            {
                self.delivering.remove(seat);
                self.certifying.remove(seat);
            }
            Event::CertificateDelivered { digest, seat } if current == Some(*digest) => {
                self.certifying.remove(seat);
            }
            Event::PayloadCorrupt { .. } => self.delivering.clear(),
            Event::Encoded(_) => self.encoding = false,
            Event::Recorded(_) => self.posting = false,
            Event::ProofRejected { hash, .. } if self.settling == Some(*hash) => self.settling = None,
            Event::Settled(_) | Event::SettlingFailed(_) => {
                self.settling = None;
                self.stop_watching();
            }
            _ => {}
        }
    }

    async fn act(&mut self, action: Action) {
        match action {
            Action::Encode => self.encode(),
            Action::Deliver { seat } => {
                let refused = self.batch.is_retrying(seat);
                if let Some(deliveries) = self.deliveries()
                    && self.delivering.insert(seat)
                {
                    deliveries.spawn(Arc::clone(&deliveries).deliver(seat, refused));
                }
            }
            Action::DeliverCertificate { seat } => {
                if let Some(deliveries) = self.deliveries()
                    && self.certifying.insert(seat)
                {
                    deliveries.spawn(Arc::clone(&deliveries).deliver_certificate(seat));
                }
            }
            Action::StartGrace => {
                if let Some(deliveries) = self.deliveries() {
                    let (grace, digest, events) =
                        (self.ctx.settings.grace, deliveries.digest, self.sender.clone());
                    deliveries.spawn(async move {
                        tokio::time::sleep(grace).await;
                        let _ = events.send(Event::GraceEnded { digest }).await;
                    });
                }
            }
            Action::Aggregate { signatures } => {
                if let Some(deliveries) = self.deliveries() {
                    deliveries.spawn(signatures::aggregate(Arc::clone(&deliveries), signatures));
                }
            }
            Action::CheckSignature { seat, signature } => {
                if let Some(deliveries) = self.deliveries() {
                    deliveries.spawn(signatures::check(Arc::clone(&deliveries), seat, signature));
                }
            }
            Action::Post => self.post(),
            Action::Settle => self.settle(),
            Action::WatchSettlement => self.watch(),
            Action::StopDelivery => self.call_off(),
        }
    }

    fn call_off(&mut self) {
        if let Some(deliveries) = self.deliveries.take() {
            deliveries.scope.cancel();
        }
        self.delivering.clear();
        self.certifying.clear();
        self.payload.unpin();
    }

    /// Returns the deliveries of the batch's current header, and makes them if there are none.
    fn deliveries(&mut self) -> Option<Arc<Deliveries>> {
        let dispersal = self.batch.dispersal.as_ref()?;
        if let Some(deliveries) =
            self.deliveries.as_ref().filter(|deliveries| deliveries.digest == dispersal.digest)
        {
            return Some(Arc::clone(deliveries));
        }
        let deliveries = Arc::new(Deliveries::new(
            Arc::clone(&self.ctx),
            dispersal.digest,
            dispersal.quorum,
            Arc::clone(&dispersal.record),
            Arc::clone(&self.payload),
            self.sender.clone(),
        ));
        if let Some(certified) = &self.batch.certificate {
            deliveries.certified(certified.aggregate.clone());
        }
        self.deliveries = Some(Arc::clone(&deliveries));
        Some(deliveries)
    }

    fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        let scope = self.scope.clone();
        self.ctx.jobs.spawn(async move { scope.run_until_cancelled(work).await });
    }

    fn encode(&mut self) {
        if std::mem::replace(&mut self.encoding, true) {
            return;
        }
        let (ctx, payload, events) = (Arc::clone(&self.ctx), Arc::clone(&self.payload), self.sender.clone());
        self.spawn(async move {
            let event = encoding::encode(&ctx, &payload, &events).await;
            let _ = events.send(event).await;
        });
    }

    fn post(&mut self) {
        if self.posting {
            return;
        }
        let Some(order) = orders::for_certificate(&self.batch, &self.ctx.identity.domain) else { return };
        self.posting = true;
        let (ctx, events, problems) = (Arc::clone(&self.ctx), self.sender.clone(), self.sender.clone());
        let order = match order {
            Ok(order) => order,
            Err(error) => {
                let problem = format!("the poster did not take it: {error}");
                let _ = events.try_send(Event::PostingProblem(problem));
                return;
            }
        };
        self.spawn(async move {
            // A problem that finds no room now is reported again when it changes; the outcome waits
            // for room.
            let report = move |problem| drop(problems.try_send(Event::PostingProblem(problem)));
            let record = ctx.posting.record(&order, report).await;
            let _ = events.send(Event::Recorded(record)).await;
        });
    }
}

/// The outcome of saving a batch.
enum Persisted {
    /// The store has the new state.
    Saved,
    /// Another process had changed the batch, so this task continues from the state which that
    /// process saved.
    Reloaded,
    /// The process is stopping.
    Stopped,
}

/// A search for a settlement that this process did not post.
struct Watching {
    scope: CancellationToken,
    /// The readings of the rollup's contract.
    seen: watch::Receiver<Seen>,
}
