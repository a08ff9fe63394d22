//! The task of one batch: takes events, applies them to the state machine, persists, and only then acts. What members said is persisted
//! with the next change that follows from it, or with the next look at the clock.

mod encoding;
mod reports;
mod settling;
mod signatures;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use dac_runtime::failpoint;
use dac_types::{B256, Seat};
use tokio::sync::{Notify, mpsc, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::Live;
use super::budgets::Budgets;
use super::offer::Offer;
use super::resting::Rest;
use super::shipment::Shipment;
use crate::batch::{Action, Batch, Delivery, DeliveryFailure, Event, Phase};
use crate::budget::Held;
use crate::context::Context;
use crate::encode::Cargo;
use crate::store::{StoreError, Versioned};

/// Events that are not read yet.
const EVENTS_MAX: usize = 1024;
/// Proofs handed in that are not looked at yet.
const OFFERS_MAX: usize = 4;
/// Events persisted together.
const EVENTS_AT_ONCE: usize = 64;
/// Pause after the store or L1 could not do what was asked.
const PAUSE: Duration = Duration::from_millis(500);
/// An epoch counts as over so long after its end, for members whose clocks lag.
const EPOCH_SLACK_SECONDS: u64 = 2;
/// Ticks are rarer by this factor once the certificate is there, but for batches that may rest.
const SLOW_TICKS: u32 = 10;

pub(super) struct Actor {
    ctx: Arc<Context>,
    batch: Batch,
    /// As it stands in the store.
    saved: Batch,
    version: i64,
    cargo: Arc<Cargo>,
    sender: mpsc::Sender<Event>,
    events: mpsc::Receiver<Event>,
    view: watch::Sender<Arc<Batch>>,
    /// Its part of the payloads in flight, or of those that no member takes for now.
    held: Option<Held>,
    is_parked: bool,
    budgets: Budgets,
    /// The header under way.
    shipment: Option<Arc<Shipment>>,
    /// Seats with a task that delivers shards.
    delivering: HashSet<Seat>,
    /// Seats with a task that delivers the certificate.
    certifying: HashSet<Seat>,
    encoding: bool,
    posting: bool,
    /// The hash of the proof that is being settled with.
    settling: Option<B256>,
    /// Ends looking for somebody else's settlement.
    watching: Option<settling::Watching>,
    /// Proofs that are handed in.
    offers: mpsc::Receiver<Box<Offer>>,
    /// Ends what is not part of a shipment.
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
    Rests(Rest),
}

impl Actor {
    pub(super) fn new(
        ctx: Arc<Context>,
        versioned: Versioned,
        held: Option<Held>,
        payload: Option<Bytes>,
        budgets: Budgets,
    ) -> (Self, Live) {
        let Versioned { batch, version, upload } = versioned;
        let (sender, events) = mpsc::channel(EVENTS_MAX);
        let (offer, offers) = mpsc::channel(OFFERS_MAX);
        let (view, watch) = watch::channel(Arc::new(batch.clone()));
        let cargo = Arc::new(Cargo::new(
            Arc::clone(&ctx.store),
            Arc::clone(&ctx.encoders),
            upload,
            batch.submission.clone(),
            payload,
        ));
        let (scope, reload) = (ctx.stopping.child_token(), Arc::new(Notify::new()));
        let actor = Self {
            ctx,
            saved: batch.clone(),
            batch,
            version,
            cargo,
            sender: sender.clone(),
            events,
            view,
            held,
            is_parked: false,
            budgets,
            shipment: None,
            delivering: HashSet::new(),
            certifying: HashSet::new(),
            encoding: false,
            posting: false,
            settling: None,
            watching: None,
            offers,
            scope,
            reload: Arc::clone(&reload),
            taken_over: false,
        };
        (actor, Live { events: sender, offers: offer, view: watch, reload })
    }

    pub(super) async fn run(mut self) -> End {
        let stopping = self.ctx.stopping.clone();
        let mut leading = self.ctx.posting.leading();
        // What is under way in the store is finished; everything else is left as it stands.
        self.step(vec![Event::TimePassed { now: self.ctx.now() }, Event::Resumed]).await;
        // Counted from the last look, not from the last event: members that refuse again and again must not keep an epoch's end or
        // the batch's own from being seen.
        let mut looked_at = Instant::now();
        let mut rests = false;
        while !self.batch.finished && !self.taken_over && !self.is_for_another() {
            if self.may_rest() {
                // What was met while it was looked for is not looked at any more.
                self.batch.apply(Event::PostingProblem(String::new()));
                if self.save_what_waits().await {
                    self.step(vec![Event::Resumed]).await;
                    continue;
                }
                // Somebody may have come while it was saved.
                rests = self.batch.is_stored_as(&self.saved) && self.may_rest();
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
                Some(offer) = self.offers.recv() => {
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
            return End::Rests(Rest::of(&self.batch, self.version));
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
    fn may_rest(&self) -> bool {
        self.batch.waits_for_proof_alone()
            && self.delivering.is_empty()
            && self.certifying.is_empty()
            && self.settling.is_none()
            && self.offers.is_empty()
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

    /// Goes on with what another process made of the batch.
    async fn read_again(&mut self) {
        let before = self.batch.clone();
        match self.reload().await {
            Ok(true) => {
                self.report_changes(&before);
                self.view.send_replace(Arc::new(self.batch.clone()));
                self.step(vec![Event::Resumed]).await;
            }
            Ok(false) => {}
            Err(error) => {
                warn!(batch = %before.id, %error, "reading the batch; trying again");
                tokio::time::sleep(PAUSE).await;
                self.reload.notify_one();
            }
        }
    }

    /// Reads the batch from the store, unless it is the one that was saved last.
    async fn reload(&mut self) -> Result<bool, StoreError> {
        let id = self.batch.id;
        let Some(Versioned { batch, version, .. }) = self.ctx.store.batch(id).await? else {
            error!(batch = %id, "the batch is gone from the store");
            return Ok(false);
        };
        if version == self.version {
            return Ok(false);
        }
        self.taken_over = !self.ctx.store.owns(id).await?;
        info!(batch = %id, phase = batch.phase.name(), elsewhere = self.taken_over, "the batch was changed in the store");
        (self.saved, self.batch, self.version) = (batch.clone(), batch, version);
        Ok(true)
    }

    /// What no member takes for now waits on the disk, so that other batches have the memory. A later attempt encodes it again.
    fn park(&mut self) {
        let Some(waiting) = self.batch.waiting().filter(|_| self.batch.is_held_up()) else { return };
        let held_up_for = Duration::from_millis(self.ctx.now_ms().saturating_sub(waiting.since_ms));
        if held_up_for < self.ctx.settings.hold_up {
            return;
        }
        self.cargo.unpin();
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
        if let (Some(certified), Some(shipment)) = (&self.batch.certificate, &self.shipment)
            && before.certificate.is_none()
        {
            shipment.certified(certified.aggregate.clone());
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
        let current = self.shipment.as_ref().map(|shipment| shipment.digest);
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

    /// What members said since the last change was saved. Whether another process had changed the batch, which is gone on with instead.
    async fn save_what_waits(&mut self) -> bool {
        if self.taken_over || self.batch.is_stored_as(&self.saved) {
            return false;
        }
        let before = self.batch.clone();
        let is_reloaded = matches!(self.persist().await, Persisted::Reloaded);
        if is_reloaded {
            self.report_changes(&before);
            self.view.send_replace(Arc::new(self.batch.clone()));
        }
        is_reloaded
    }

    async fn persist(&mut self) -> Persisted {
        loop {
            match self.ctx.store.save(&self.saved, &self.batch, self.version).await {
                Ok(version) => {
                    self.version = version;
                    persisted(&self.saved, &self.batch);
                    self.saved.clone_from(&self.batch);
                    return Persisted::Saved;
                }
                // A later submission replaced it; another process took it over or was given its proof; or an earlier
                // attempt to save took effect although it seemed to fail.
                Err(StoreError::Superseded { id }) => match self.reload().await {
                    Ok(true) => return Persisted::Reloaded,
                    Ok(false) => {}
                    Err(error) => error!(batch = %id, %error, "reading the batch"),
                },
                Err(error) => {
                    metrics::counter!("dac_aggregator_store_failures_total").increment(1);
                    warn!(batch = %self.batch.id, %error, "saving the batch; trying again");
                }
            }
            tokio::select! {
                () = self.ctx.stopping.cancelled() => return Persisted::Stopped,
                () = tokio::time::sleep(PAUSE) => {}
            }
        }
    }

    async fn act(&mut self, action: Action) {
        match action {
            Action::Encode => self.encode(),
            Action::Deliver { seat } => {
                let refused = self.batch.is_retrying(seat);
                if let Some(shipment) = self.shipment()
                    && self.delivering.insert(seat)
                {
                    shipment.spawn(Arc::clone(&shipment).deliver(seat, refused));
                }
            }
            Action::DeliverCertificate { seat } => {
                if let Some(shipment) = self.shipment()
                    && self.certifying.insert(seat)
                {
                    shipment.spawn(Arc::clone(&shipment).deliver_certificate(seat));
                }
            }
            Action::StartGrace => {
                if let Some(shipment) = self.shipment() {
                    let (grace, digest, events) =
                        (self.ctx.settings.grace, shipment.digest, self.sender.clone());
                    shipment.spawn(async move {
                        tokio::time::sleep(grace).await;
                        let _ = events.send(Event::GraceEnded { digest }).await;
                    });
                }
            }
            Action::Aggregate { signatures } => {
                if let Some(shipment) = self.shipment() {
                    shipment.spawn(signatures::aggregate(Arc::clone(&shipment), signatures));
                }
            }
            Action::CheckSignature { seat, signature } => {
                if let Some(shipment) = self.shipment() {
                    shipment.spawn(signatures::check(Arc::clone(&shipment), seat, signature));
                }
            }
            Action::Post => self.post(),
            Action::Settle => self.settle(),
            Action::WatchSettlement => self.watch(),
            Action::StopDelivery => self.call_off(),
        }
    }

    fn call_off(&mut self) {
        if let Some(shipment) = self.shipment.take() {
            shipment.scope.cancel();
        }
        self.delivering.clear();
        self.certifying.clear();
        self.cargo.unpin();
    }

    /// The shipment of the header that the batch has now.
    fn shipment(&mut self) -> Option<Arc<Shipment>> {
        let dispersal = self.batch.dispersal.as_ref()?;
        if let Some(shipment) = self.shipment.as_ref().filter(|shipment| shipment.digest == dispersal.digest)
        {
            return Some(Arc::clone(shipment));
        }
        let shipment = Arc::new(Shipment::new(
            Arc::clone(&self.ctx),
            dispersal.digest,
            dispersal.quorum,
            Arc::clone(&dispersal.record),
            Arc::clone(&self.cargo),
            self.sender.clone(),
        ));
        if let Some(certified) = &self.batch.certificate {
            shipment.certified(certified.aggregate.clone());
        }
        self.shipment = Some(Arc::clone(&shipment));
        Some(shipment)
    }

    fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        let scope = self.scope.clone();
        self.ctx.tasks.spawn(async move { scope.run_until_cancelled(work).await });
    }

    fn encode(&mut self) {
        if std::mem::replace(&mut self.encoding, true) {
            return;
        }
        let (ctx, cargo, events) = (Arc::clone(&self.ctx), Arc::clone(&self.cargo), self.sender.clone());
        self.spawn(async move {
            let event = encoding::encode(&ctx, &cargo, &events).await;
            let _ = events.send(event).await;
        });
    }

    fn post(&mut self) {
        let Some(certificate) = self.batch.certificate() else { return };
        if std::mem::replace(&mut self.posting, true) {
            return;
        }
        let (ctx, events, problems) = (Arc::clone(&self.ctx), self.sender.clone(), self.sender.clone());
        self.spawn(async move {
            // A problem that finds no room now is reported again when it changes; the outcome waits for room.
            let report = move |problem| drop(problems.try_send(Event::PostingProblem(problem)));
            let record = ctx.posting.record(&certificate, report).await;
            let _ = events.send(Event::Recorded(record)).await;
        });
    }
}

/// Where tests end the process: what was just persisted is durable, and nothing has followed from it yet.
fn persisted(before: &Batch, after: &Batch) {
    failpoint!("aggregator.batch.saved");
    if before.digest() != after.digest() {
        failpoint!("aggregator.header.persisted");
    }
    if before.certificate.is_none() && after.certificate.is_some() {
        failpoint!("aggregator.certificate.persisted");
    }
    if before.l1.is_none() && after.l1.is_some() {
        failpoint!("aggregator.record.persisted");
    }
    if before.proof.is_none() && after.proof.is_some() {
        failpoint!("aggregator.proof.persisted");
    }
    if before.settlement.is_none() && after.settlement.is_some() {
        failpoint!("aggregator.settlement.persisted");
    }
    let delivered = |batch: &Batch| {
        let members = batch.dispersal.iter().flat_map(|dispersal| &dispersal.members);
        members
            .filter(|member| matches!(member.delivery, Delivery::Claimed(_) | Delivery::Attested(_)))
            .count()
    };
    if delivered(before) < delivered(after) {
        failpoint!("aggregator.signatures.persisted");
    }
}

enum Persisted {
    Saved,
    Reloaded,
    Stopped,
}
