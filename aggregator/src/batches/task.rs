//! The task of one batch: takes events, applies them to the state machine, persists, and only then
//! acts. What members said is persisted with the next change that follows from it, or with the next
//! look at the clock.

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

/// Events that are not read yet.
const EVENTS_MAX: usize = 1024;
/// Proofs handed in that are not looked at yet.
const PROOFS_MAX: usize = 4;
/// Events persisted together.
const EVENTS_AT_ONCE: usize = 64;
/// An epoch counts as over so long after its end, for members whose clocks lag.
const EPOCH_SLACK_SECONDS: u64 = 2;
/// Ticks are rarer by this factor once the certificate is there, but for batches that may rest.
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
    /// Its part of the payloads in flight, or of those that no member takes for now.
    held: Option<Held>,
    is_parked: bool,
    budgets: Budgets,
    /// The header under way.
    deliveries: Option<Arc<Deliveries>>,
    /// Seats with a task that delivers shards.
    delivering: HashSet<Seat>,
    /// Seats with a task that delivers the certificate.
    certifying: HashSet<Seat>,
    encoding: bool,
    posting: bool,
    /// The hash of the proof that is being settled with.
    settling: Option<B256>,
    /// The search for a settlement by another sender.
    watching: Option<Watching>,
    /// Proofs that are handed in.
    proofs: mpsc::Receiver<Box<ProofSubmission>>,
    /// Ends all work of this task but its deliveries.
    scope: CancellationToken,
    /// Another process changed the batch.
    reload: Arc<Notify>,
    /// Another process works on it.
    taken_over: bool,
}

/// How the work on a batch ended here.
pub(super) enum End {
    /// All is done, or the process is stopping, or another one goes on.
    Here,
    /// It is left to the process that posts.
    GivenUp {
        /// The batch's version.
        version: i64,
    },
    /// It waits for a proof, which needs no task.
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
        // What is under way in the store is finished; everything else is left as it stands.
        self.step(vec![Event::TimePassed { now: self.ctx.now() }, Event::Resumed]).await;
        // Counted from the last look, not from the last event: members that refuse again and again
        // must not keep an epoch's end or the batch's own from being seen.
        let mut looked_at = Instant::now();
        let mut rests = false;
        while !self.batch.finished && !self.taken_over && !self.is_for_another() {
            if self.may_be_dormant() {
                // What was met while it was looked for is not looked at any more.
                self.batch.apply(Event::PostingProblem(String::new()));
                if self.save_what_waits().await {
                    self.step(vec![Event::Resumed]).await;
                    continue;
                }
                // A client may have come while it was saved.
                rests = self.batch.is_stored_as(&self.saved) && self.may_be_dormant();
                if rests {
                    break;
                }
            }
            // Of one that may rest once nobody watches it, nothing else tells.
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

    /// Whether it waits for a proof and for nothing else, and nobody watches it.
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

    /// As far as is known: what the rollup settled under its number is to be looked for.
    fn is_not_settled(&self) -> bool {
        let number = self.batch.submission.submission.batch_number;
        self.watching.as_ref().is_some_and(|watching| watching.seen.borrow().count < number)
    }

    /// A certified batch is worked on where it is posted.
    fn is_for_another(&self) -> bool {
        self.batch.certificate.is_some() && !self.batch.finished && !self.ctx.posting.is_leading()
    }

    /// What no member takes for now waits on the disk, so that other batches have the memory. A
    /// later attempt encodes it again.
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

    /// Applies, persists, publishes, acts.
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

    /// A task's last event says that it has ended. Tasks of a former header were ended before.
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

    /// The deliveries of the header that the batch has now.
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

/// What came of saving a batch.
enum Persisted {
    /// The store has it.
    Saved,
    /// Another process had changed it; this task goes on with what that one saved.
    Reloaded,
    /// The process is stopping.
    Stopped,
}

/// A search for a settlement that this process did not post.
struct Watching {
    scope: CancellationToken,
    /// Of the rollup's contract.
    seen: watch::Receiver<Seen>,
}
