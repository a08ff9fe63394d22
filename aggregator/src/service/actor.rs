//! The task of one batch: takes events, applies them to the state machine, persists, and only then acts. What members said is persisted
//! with the next change that follows from it, or with the next look at the clock.

mod settling;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use dac_runtime::failpoint;
use dac_types::{B256, Seat, SignatureBytes};
use tokio::sync::{Notify, mpsc, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::Live;
use super::offer::Offer;
use super::resting::Rest;
use super::shipment::Shipment;
use crate::accusations::{Accused, Charge};
use crate::batch::{Action, Batch, Delivery, DeliveryFailure, Event, Failure, FailureReason, Phase};
use crate::budget::Reservation;
use crate::collect::{Collected, collect, is_good};
use crate::context::Context;
use crate::encode::{Cargo, EncodeError};
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
    reservation: Option<Reservation>,
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
        reservation: Option<Reservation>,
        payload: Option<Bytes>,
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
            reservation,
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
                rests = self.batch == self.saved && self.may_rest();
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
            self.reservation = None;
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
        if self.taken_over || self.batch == self.saved {
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

    fn report_changes(&self, before: &Batch) {
        let (id, batch) = (self.batch.id, &self.batch);
        if before.phase != batch.phase {
            super::metrics::phase_changed(&before.phase, &batch.phase);
            let digest = batch.digest().map(tracing::field::display);
            match &batch.phase {
                Phase::Failed(failure) => warn!(batch = %id, digest, %failure, "batch failed"),
                phase => info!(batch = %id, digest, phase = phase.name(), "batch"),
            }
        }
        if let (None, Some(certified)) = (&before.certificate, &batch.certificate) {
            super::metrics::certified(batch.received_at_ms, certified.at_ms);
        }
        if let (None, Some(l1)) = (&before.l1, &batch.l1) {
            super::metrics::recorded(l1);
        }
        if let (true, Some(l1)) =
            (before.phase != batch.phase && batch.phase == Phase::Settled, &batch.settlement)
        {
            super::metrics::settled(l1);
        }
        let state = |batch: &Batch| batch.proof.as_ref().map(|proof| (proof.hash, proof.state.clone()));
        if state(before) != state(batch)
            && let Some(proof) = &batch.proof
        {
            info!(batch = %id, proof = %proof.hash, state = ?proof.state, "validity proof");
        }
        let Some(new) = &batch.dispersal else { return };
        let old = before.dispersal.as_ref().filter(|old| old.digest == new.digest);
        for (seat, member) in Seat::all(new.quorum.geometry().n()).zip(&new.members) {
            let former = old.and_then(|old| old.members.get(seat.index())).map(|member| member.delivery);
            if former == Some(member.delivery) {
                continue;
            }
            super::metrics::member_outcome(member.delivery);
            if member.delivery == Delivery::Lied {
                let view = self.ctx.registry.latest();
                let operator =
                    view.and_then(|view| Some(view.committee(new.epoch())?.member(seat)?.operator));
                if let Some(operator) = operator {
                    let charge = Charge { kind: &member.reason, is_proven: false, detail: &member.detail };
                    self.ctx.accusations.add(Accused::Member(operator), charge, self.ctx.now());
                }
                super::metrics::lie(operator.map(|operator| operator.to_string()), &member.reason);
                warn!(digest = %new.digest, %seat, reason = member.reason, detail = member.detail,
                      "a member's attestation is not its own over this digest");
            }
        }
    }

    async fn act(&mut self, action: Action) {
        match action {
            Action::Encode => self.encode(),
            Action::Deliver { seat } => {
                if let Some(shipment) = self.shipment()
                    && self.delivering.insert(seat)
                {
                    shipment.spawn(Arc::clone(&shipment).deliver(seat));
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
                    shipment.spawn(aggregate(Arc::clone(&shipment), signatures));
                }
            }
            Action::CheckSignature { seat, signature } => {
                if let Some(shipment) = self.shipment() {
                    shipment.spawn(check_signature(Arc::clone(&shipment), seat, signature));
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
            let event = encode(&ctx, &cargo).await;
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

/// Waits for an active committee, and encodes for it.
async fn encode(ctx: &Context, cargo: &Cargo) -> Event {
    loop {
        let committee = ctx.registry().ok().and_then(|view| view.active_committee(ctx.now()).cloned());
        let Some(committee) = committee else {
            tokio::time::sleep(PAUSE).await;
            continue;
        };
        let started = Instant::now();
        match cargo.prepare(&committee, ctx.identity.domain, &ctx.signer).await {
            Ok(dispersal) => {
                metrics::histogram!("dac_aggregator_encode_seconds").record(started.elapsed().as_secs_f64());
                return Event::Encoded(Box::new(dispersal));
            }
            // Of a batch that is over by now the payload is gone; of any other one it is told that the batch failed.
            Err(EncodeError::Store(StoreError::CorruptPayload { problem })) => {
                return Event::PayloadCorrupt { detail: problem };
            }
            Err(EncodeError::Store(error)) => {
                warn!(%error, "reading a payload; trying again");
                tokio::time::sleep(PAUSE).await;
            }
            Err(error) => {
                error!(%error, "encoding");
                return Event::Failed(Failure { reason: FailureReason::Internal, detail: error.to_string() });
            }
        }
    }
}

/// The committee of the header, from the registry's last snapshot, however old: what an epoch's record says stays.
async fn committee_keys(shipment: &Shipment) -> Result<Arc<dac_bls::CommitteeKeys>, String> {
    let ctx = Arc::clone(&shipment.ctx);
    let epoch = shipment.record.header.epoch;
    let view =
        ctx.registry.wait_for(|view| view.committee(epoch).is_some()).await.map_err(|e| e.to_string())?;
    let committee = view.committee(epoch).cloned().ok_or("the epoch is gone")?;
    let workers = ctx.workers.clone();
    let keys = workers.run(move || ctx.keys.keys(&committee));
    keys.await.map_err(|error| error.to_string())?.map_err(|error| error.to_string())
}

async fn aggregate(shipment: Arc<Shipment>, signatures: Vec<(Seat, SignatureBytes)>) {
    let ctx = Arc::clone(&shipment.ctx);
    let digest = shipment.digest;
    let collected = match committee_keys(&shipment).await {
        Ok(keys) => {
            let (record, domain) = (Arc::clone(&shipment.record), ctx.identity.domain);
            ctx.workers
                .run(move || collect(&keys, &domain, &record.header, &signatures))
                .await
                .map_err(|error| error.to_string())
                .and_then(|collected| collected.map_err(|error| error.to_string()))
        }
        Err(problem) => Err(problem),
    };
    let event = match collected {
        Ok(Collected::Certificate(aggregate)) => Event::Aggregated { digest, aggregate, at_ms: ctx.now_ms() },
        Ok(Collected::Liars(seats)) => Event::LiarsFound { digest, seats },
        Err(problem) => {
            error!(%digest, problem, "a quorum's signatures make no certificate");
            Event::Failed(Failure { reason: FailureReason::Internal, detail: problem })
        }
    };
    let _ = shipment.events.send(event).await;
}

async fn check_signature(shipment: Arc<Shipment>, seat: Seat, signature: SignatureBytes) {
    let digest = shipment.digest;
    let keys = loop {
        match committee_keys(&shipment).await {
            Ok(keys) => break keys,
            Err(problem) => {
                warn!(%digest, problem, "a late signature waits to be checked");
                tokio::time::sleep(PAUSE).await;
            }
        }
    };
    let workers = shipment.ctx.workers.clone();
    if let Ok(good) = workers.run(move || is_good(&keys, digest, seat, signature)).await {
        let _ = shipment.events.send(Event::SignatureChecked { digest, seat, good }).await;
    }
}
