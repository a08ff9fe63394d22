//! Delivers a batch under one header to the members of its epoch, with one task for each seat,
//! until each member has its shard or refuses for good.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use dac_proto::reason::Reason;
use dac_proto::v1;
use dac_runtime::failpoint;
use dac_types::{AggregateAttestation, BatchDigest, Quorum, Record, Seat};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use crate::batch::{DeliveryFailure, Event};
use crate::context::Context;
use crate::encode::{EncodeError, EncodedPayload, Loaded};
use crate::members::{CallFailure, CallPermit, StoreShard, Urgency};
use crate::store::StoreError;

/// The pause after a delivery failed because of this process: its store, its memory or its view of
/// the registry.
const STORE_PAUSE: Duration = Duration::from_secs(1);

/// The most memory that a delivery's task may take while it waits for its turn. There may be
/// several tasks for each member and batch.
const TASK_MAX_BYTES: usize = 2 << 10;

/// The state that all deliveries of one header share.
pub(super) struct Deliveries {
    pub(super) ctx: Arc<Context>,
    pub(super) digest: BatchDigest,
    pub(super) quorum: Quorum,
    pub(super) record: Arc<Record>,
    pub(super) payload: Arc<EncodedPayload>,
    pub(super) events: mpsc::Sender<Event>,
    /// Cancelled when this header must not be delivered any more.
    pub(super) scope: CancellationToken,
    certificate: watch::Sender<Option<AggregateAttestation>>,
}

impl Deliveries {
    pub(super) fn new(
        ctx: Arc<Context>,
        digest: BatchDigest,
        quorum: Quorum,
        record: Arc<Record>,
        payload: Arc<EncodedPayload>,
        events: mpsc::Sender<Event>,
    ) -> Self {
        let scope = ctx.stopping.child_token();
        Self { ctx, digest, quorum, record, payload, events, scope, certificate: watch::Sender::new(None) }
    }

    /// Notes the certificate. From now on calls carry it, and the payload stays in memory only
    /// while it is sent.
    pub(super) fn certified(&self, aggregate: AggregateAttestation) {
        self.certificate.send_replace(Some(aggregate));
        self.payload.unpin();
    }

    /// Runs `work` in the background until it is done or `scope` is cancelled.
    pub(super) fn spawn(self: &Arc<Self>, work: impl Future<Output = ()> + Send + 'static) {
        debug_assert!(size_of_val(&work) <= TASK_MAX_BYTES, "{} bytes", size_of_val(&work));
        let scope = self.scope.clone();
        self.ctx.jobs.spawn(async move { scope.run_until_cancelled(work).await });
    }

    async fn tell(&self, event: Event) {
        // If the batch's task has ended, no one needs the event.
        let _ = self.events.send(event).await;
    }

    fn urgency(&self) -> Urgency {
        if self.certificate.borrow().is_some() { Urgency::Straggler } else { Urgency::Fresh }
    }

    /// Returns once there is a certificate.
    async fn is_certified(&self) {
        // This cannot fail, because `self` holds the sender.
        let _ = self.certificate.subscribe().wait_for(Option::is_some).await;
    }

    /// Makes a delivery, and returns whether it carries the certificate. Without a body it carries
    /// only the certificate.
    fn store_shard(&self, seat: Seat, body: Option<Bytes>) -> (StoreShard, bool) {
        let domain = self.ctx.identity.domain;
        let mut record = v1::Record::from(&*self.record);
        record.certificate = self.certificate.borrow().as_ref().map(Into::into);
        let (with_certificate, certificate_only) = (record.certificate.is_some(), body.is_none());
        let open = v1::StoreShardOpen {
            chain_id: domain.chain_id,
            registry: Bytes::copy_from_slice(domain.registry.as_slice()),
            seat: seat.0.into(),
            record: Some(record),
            certificate_only,
        };
        let body = body.unwrap_or_default();
        (StoreShard { open, body, digest: self.digest, seat }, with_certificate)
    }

    /// Returns the URL of the seat's member in the newest snapshot of the registry, because
    /// operators may change it.
    fn url(&self, seat: Seat) -> Option<String> {
        let view = self.ctx.registry.latest()?;
        Some(view.committee(self.record.header.epoch)?.member(seat)?.dispersal_url.clone())
    }

    /// Delivers the shard until the member has it or refuses for good. `refused` says that it
    /// refused before, for now.
    pub(super) async fn deliver(self: Arc<Self>, seat: Seat, mut refused: bool) {
        let mut failures = 0;
        loop {
            let urgency = self.urgency();
            match self.deliver_once(seat, urgency, refused).await {
                Ok((signature, with_certificate)) => {
                    let (digest, at_ms) = (self.digest, self.ctx.now_ms());
                    self.tell(Event::Answered { digest, seat, signature, at_ms, with_certificate }).await;
                    return;
                }
                Err(DeliveryError::Call(failure)) => {
                    let last = failure.kind != DeliveryFailure::Retryable;
                    let retry_after = failure.retry_after;
                    failures += 1;
                    refused = failure.is_refusal();
                    self.report(seat, failure).await;
                    if last {
                        return;
                    }
                    tokio::time::sleep(self.ctx.members.pause(failures, retry_after, self.urgency())).await;
                }
                Err(DeliveryError::Payload(problem)) => {
                    self.tell(Event::PayloadCorrupt { detail: problem }).await;
                    return;
                }
                // The next attempt is that of a straggler.
                Err(DeliveryError::Overtaken) => {}
                Err(DeliveryError::Crowded) => tokio::time::sleep(STORE_PAUSE).await,
                Err(DeliveryError::Own(problem)) => {
                    warn!(digest = %self.digest, %seat, %problem, "a delivery waits for this process");
                    tokio::time::sleep(STORE_PAUSE).await;
                }
            }
        }
    }

    async fn deliver_once(
        &self,
        seat: Seat,
        urgency: Urgency,
        refused: bool,
    ) -> Result<(dac_types::SignatureBytes, bool), DeliveryError> {
        let (members, rollup) = (&self.ctx.members, self.record.header.rollup);
        let url = self
            .url(seat)
            .ok_or(DeliveryError::Own("the registry does not show the committee".to_owned()))?;
        let link = members.link(&url);
        // The member is connected first, so that a member that is down costs no memory. A batch
        // without a certificate keeps its memory until it is certified. It must have the memory
        // before its turn, or turns would wait for memory and memory for turns. A straggler has
        // both for one call only. If the certificate is made while a call still waits or runs, its
        // member is a straggler from then on: members that are slow to answer, or never do, must
        // not keep the memory of uncertified batches.
        let (turn, loaded) = match urgency {
            Urgency::Fresh => {
                let ready = async {
                    link.connect().await?;
                    // A member that refuses the batch for now, because the rollup's daily quota is
                    // spent or the registry is paused, is asked first, so that the batch takes no
                    // memory for another refusal.
                    if refused && !self.payload.is_in_memory() {
                        let (question, _) = self.store_shard(seat, Some(Bytes::new()));
                        if let Some(signature) = Box::pin(members.would_take(&link, rollup, question)).await?
                        {
                            return Ok(Ready::Attested(signature));
                        }
                    }
                    let loaded = Box::pin(self.payload.get(self.quorum.geometry(), urgency)).await?;
                    Ok::<_, DeliveryError>(Ready::Loaded(members.turn(&link, rollup, urgency).await, loaded))
                };
                let ready = tokio::select! {
                    ready = ready => ready?,
                    () = self.is_certified() => return Err(DeliveryError::Overtaken),
                };
                match ready {
                    Ready::Attested(signature) => return Ok((signature, false)),
                    Ready::Loaded(turn, loaded) => (turn, loaded),
                }
            }
            Urgency::Straggler | Urgency::Certificate => {
                let turn = members.turn(&link, rollup, urgency).await;
                link.connect().await?;
                (turn, Box::pin(self.payload.get(self.quorum.geometry(), urgency)).await?)
            }
        };
        let (store_shard, with_certificate) = self.store_shard(seat, Some(loaded.body(seat)));
        failpoint!("aggregator.shard.before_send");
        let mut call = Box::pin(members.call(&link, &turn, store_shard));
        let called = match urgency {
            Urgency::Straggler | Urgency::Certificate => call.await,
            Urgency::Fresh => tokio::select! {
                called = &mut call => called,
                () = self.is_certified() => {
                    let _memory = self.payload.becomes_straggler(loaded, self.quorum.geometry()).ok_or(DeliveryError::Overtaken)?;
                    call.await
                }
            },
        };
        let signature = called?;
        failpoint!("aggregator.shard.delivered");
        Ok((signature, with_certificate))
    }

    /// Sends the certificate to a member that has its shard, so that it serves both.
    pub(super) async fn deliver_certificate(self: Arc<Self>, seat: Seat) {
        let mut failures = 0;
        loop {
            match self.certificate_once(seat).await {
                Ok(()) => return self.tell(Event::CertificateDelivered { digest: self.digest, seat }).await,
                Err(failure) => {
                    let last = failure.kind != DeliveryFailure::Retryable;
                    failures += 1;
                    // The member has its shard already, so only a final failure is reported.
                    if last {
                        return self.report(seat, failure).await;
                    }
                    debug!(digest = %self.digest, %seat, reason = failure.reason, "the certificate waits for the member");
                    tokio::time::sleep(self.ctx.members.pause(
                        failures,
                        failure.retry_after,
                        Urgency::Certificate,
                    ))
                    .await;
                }
            }
        }
    }

    async fn certificate_once(&self, seat: Seat) -> Result<(), CallFailure> {
        let members = &self.ctx.members;
        let Some(url) = self.url(seat) else {
            let detail = "the registry does not show the committee".to_owned();
            return Err(CallFailure {
                kind: DeliveryFailure::Retryable,
                reason: Reason::L1Stale.as_str().to_owned(),
                detail,
                retry_after: None,
            });
        };
        let link = members.link(&url);
        let turn = members.turn(&link, self.record.header.rollup, Urgency::Certificate).await;
        let (store_shard, _) = self.store_shard(seat, None);
        members.bring_certificate(&link, &turn, store_shard).await?;
        failpoint!("aggregator.certificate.delivered");
        Ok(())
    }

    async fn report(&self, seat: Seat, failure: CallFailure) {
        let CallFailure { kind, reason, detail, .. } = failure;
        metrics::counter!("dac_aggregator_delivery_failures_total", "reason" => reason.clone()).increment(1);
        debug!(digest = %self.digest, %seat, ?kind, reason, detail, "a delivery failed");
        self.tell(Event::DeliveryFailed { digest: self.digest, seat, kind, reason, detail }).await;
    }
}

/// Why a delivery before the certificate need wait no longer.
enum Ready {
    Loaded(CallPermit, Arc<Loaded>),
    Attested(dac_types::SignatureBytes),
}

/// Why an attempt to deliver a shard failed.
enum DeliveryError {
    /// The call to the member failed.
    Call(CallFailure),
    /// The stored payload does not pass its check.
    Payload(String),
    /// The certificate was made before the call was over.
    Overtaken,
    /// The queue for memory is full.
    Crowded,
    /// This process has a problem that may pass.
    Own(String),
}

impl From<CallFailure> for DeliveryError {
    fn from(failure: CallFailure) -> Self {
        DeliveryError::Call(failure)
    }
}

impl From<EncodeError> for DeliveryError {
    fn from(error: EncodeError) -> Self {
        match error {
            EncodeError::Store(StoreError::CorruptPayload { problem }) => DeliveryError::Payload(problem),
            EncodeError::Crowded(_) => DeliveryError::Crowded,
            other => DeliveryError::Own(other.to_string()),
        }
    }
}
