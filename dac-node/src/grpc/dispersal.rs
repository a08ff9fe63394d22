//! DispersalService: the client delivers one batch for one seat, and the member answers with an
//! attestation.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use dac_admission::{Pace, Rate};
use dac_bls::CheckedCertificate;
use dac_coding::CheckedRecord;
use dac_proto::reason::Reason;
use dac_proto::v1;
use dac_proto::v1::dispersal_service_server::DispersalService;
use dac_proto::v1::store_shard_request::Message;
use dac_types::limits::STREAM_PIECE_MAX_BYTES;
use dac_types::{Address, AggregateAttestation, BatchDigest, Record, TimesError};
use futures::{Stream, StreamExt};
use tokio::time::{Instant, timeout, timeout_at};
use tonic::{Request, Response, Status, Streaming};

use super::room::no_room;
use super::{caller_of, outcome, work_status};
use crate::accusations::Charge;
use crate::admit::{self, Located, Refusal, Signed};
use crate::attest::attest;
use crate::context::{Context, Settings, store_status};
use crate::limits::{Busy, Caller, Group, Order, UploadPermit, UploadTurn};
use crate::store::{Authority, Commit, Holding, Stored};
use crate::verify::{Intake, IntakeError, announced_bytes};

/// Implements the service over the shared context.
#[derive(Clone)]
pub struct Dispersal(Arc<Context>);

impl Dispersal {
    /// Makes the service of `context`.
    pub const fn new(context: Arc<Context>) -> Self {
        Self(context)
    }

    pub(super) fn context(&self) -> &Context {
        &self.0
    }
}

#[tonic::async_trait]
impl DispersalService for Dispersal {
    async fn store_shard(
        &self,
        request: Request<Streaming<v1::StoreShardRequest>>,
    ) -> Result<Response<v1::StoreShardResponse>, Status> {
        let (began, limit) = (Instant::now(), self.0.settings.upload_timeout);
        let (caller, mut stream) = (caller_of(&request), request.into_inner());
        let result =
            timeout_at(began + limit, self.receive(caller, &mut stream)).await.unwrap_or_else(|_| {
                Err(Reason::TimedOut.status(format!("the upload did not end within {limit:?}")))
            });
        metrics::counter!("dac_node_store_shard_total", "outcome" => outcome(&result)).increment(1);
        metrics::histogram!("dac_node_store_shard_seconds").record(began.elapsed().as_secs_f64());
        result.map(Response::new)
    }

    async fn sign_renewal(
        &self,
        request: Request<v1::SignRenewalRequest>,
    ) -> Result<Response<v1::SignRenewalResponse>, Status> {
        let limit = self.0.settings.upload_timeout;
        let caller = caller_of(&request);
        let result =
            tokio::time::timeout(limit, self.renew(caller, request.into_inner())).await.unwrap_or_else(
                |_| Err(Reason::TimedOut.status(format!("the renewal did not end within {limit:?}"))),
            );
        metrics::counter!("dac_node_sign_renewal_total", "outcome" => outcome(&result)).increment(1);
        result.map(Response::new)
    }
}

impl Dispersal {
    async fn receive<S>(&self, caller: Caller, stream: &mut S) -> Result<v1::StoreShardResponse, Status>
    where
        S: Stream<Item = Result<v1::StoreShardRequest, Status>> + Send + Unpin,
    {
        let context = &*self.0;
        if context.draining.is_cancelled() {
            return Err(Reason::ShuttingDown.status("this member is stopping"));
        }
        let open = first_message(stream, context.settings.piece_timeout).await?;
        let certificate_only = open.certificate_only;
        let stored = match self.admit(caller, open).await? {
            Admitted::Stored(_) if certificate_only => {
                return Ok(v1::StoreShardResponse { attestation: None });
            }
            Admitted::Stored(stored) => stored,
            Admitted::Upload(upload) => self.store(*upload, stream).await?,
        };
        let attestation = attest(&*context.signer, &stored).await.map_err(|error| {
            tracing::error!(%error, digest = %stored.digest(), "the batch is stored but could not be signed");
            Reason::Internal.status("the batch is stored but could not be signed; try again")
        })?;
        Ok(v1::StoreShardResponse { attestation: Some((&attestation).into()) })
    }

    /// Decides everything that can be decided before the first byte of the shard. Cheap checks come
    /// first.
    async fn admit(&self, caller: Caller, open: v1::StoreShardOpen) -> Result<Admitted, Status> {
        let context = &*self.0;
        let certificate_only = open.certificate_only;
        let addressed = admit::check_domain(open, &context.identity.domain).map_err(refused)?;
        let view = context.registry()?;
        let located = admit::locate(addressed, &view, &context.identity).map_err(refused)?;
        let now = context.clock.now_unix_seconds();
        TimesError::check_expiry(located.record.header.expires_at, now)
            .map_err(|error| refused(error.into()))?;

        let held = self.held(located.digest).await?;
        if certificate_only && located.record.certificate.is_none() {
            return Err(malformed("certificate_only is set, but the record has no certificate"));
        }
        let rollup = located.record.header.rollup;
        if let Some((stored, held)) = held {
            if let Some(aggregate) =
                located.record.certificate.as_ref().filter(|_| held.record.record().certificate.is_none())
            {
                // The signatures of the record were verified before it was stored.
                let whose = Whose::of(&located.record, context.deliverers.group(rollup, caller));
                let certificate = self.check_certificate(&located, aggregate, whose, caller).await?;
                context
                    .store
                    .catalog
                    .attach_certificate(&certificate)
                    .await
                    .map_err(|error| store_status(&error))?;
            }
            return Ok(Admitted::Stored(stored));
        }
        if certificate_only {
            let message = format!("this member does not hold {}", located.digest);
            return Err(Reason::UnknownBatch.status(message));
        }
        if located.record.certificate.is_none() {
            admit::check_l1(&located, &view, now).map_err(refused)?;
        }
        // Recovering two signatures costs a tenth of a certificate's pairings.
        let signed = Signed::recover(&located, &context.identity.domain)
            .map_err(|refusal| self.refused(Whose::NOBODYS, refusal))?;
        let whose = match signed.is_of_the_poster(rollup, &view) {
            true => Whose::of(&located.record, context.deliverers.group(rollup, caller)),
            false => Whose::NOBODYS,
        };
        if let Some(aggregate) = &located.record.certificate {
            self.check_certificate(&located, aggregate, whose, caller).await?;
        }
        let certified = located.record.certificate.is_some();
        let authority = admit::authorise(&located, &signed, &view, certified, now)
            .map_err(|refusal| self.refused(whose, refusal))?;
        // Both signatures are good, so it is known from here on that the rollup named this
        // disperser.
        context.accusations.know(rollup, signed.disperser);
        self.check_submission(&located, &authority, whose).await?;
        let order = Order {
            rollup,
            disperser: signed.disperser,
            submission: signed.submission,
            client: caller.client,
            group: whose.group,
        };
        self.begin(located, authority, whose, order).await
    }

    /// Reserves room for an upload that is admitted.
    async fn begin(
        &self,
        located: Located,
        authority: Authority,
        whose: Whose,
        order: Order,
    ) -> Result<Admitted, Status> {
        let context = &*self.0;
        let Located { committee, seat, record, digest } = located;
        let turn = context.uploads.turn(&order).await.map_err(busy)?;
        if turn.waited
            && let Some((stored, _)) = self.held(digest).await?
        {
            return Ok(Admitted::Stored(stored));
        }
        let geometry = committee.quorum().geometry();
        let record = context
            .workers
            .run(move || CheckedRecord::check(record, geometry))
            .await
            .map_err(work_status)?
            .map_err(|error| {
                self.accuse(whose, Reason::BadRecord, &error);
                Reason::BadRecord.status(error.to_string())
            })?;
        let bytes = announced_bytes(&record) as u64;
        let permit = context.uploads.admit(&order, bytes).map_err(busy)?;
        // Uploads in flight, including this one, count as stored.
        let announced = context.uploads.bytes().max(record.shard_length() as u64);
        context.space.room_for(announced).await.map_err(no_room)?;
        let intake =
            Intake::begin(Arc::new(record), seat, context.store.writer.clone(), context.workers.clone())
                .map_err(|error| intake_status(&error))?;
        let pace = Pace::new(self.rate(bytes), Instant::now());
        Ok(Admitted::Upload(Box::new(Upload {
            intake,
            digest,
            authority,
            whose,
            pace,
            order,
            permit,
            _turn: turn,
        })))
    }

    /// Returns the rate at which an upload must come to end in time. The bytes that it announced
    /// are kept free for it meanwhile.
    fn rate(&self, bytes: u64) -> Rate {
        let Settings { upload_timeout, piece_timeout, .. } = self.0.settings;
        let bytes_per_second = bytes.div_ceil(upload_timeout.as_secs().max(1));
        Rate { bytes_per_second, grace: piece_timeout }
    }

    /// Returns the receipt of a batch that is held intact. A batch that waits for repair is taken
    /// in like a new one, and replaces what is stored.
    async fn held(&self, digest: BatchDigest) -> Result<Option<(Stored, Holding)>, Status> {
        match Stored::recall(&*self.0.store.catalog, digest).await {
            Ok(held) => Ok(held),
            Err(error) => Err(self.0.store_failed(&error).await),
        }
    }

    async fn check_certificate(
        &self,
        located: &Located,
        aggregate: &AggregateAttestation,
        whose: Whose,
        caller: Caller,
    ) -> Result<CheckedCertificate, Status> {
        let Located { committee, record, .. } = located;
        let checking =
            self.0.certificates.check(whose.group, caller.client, committee, &record.header, aggregate);
        checking.await.map_err(|error| {
            // Any client can add a certificate to a record: neither poster nor disperser signed
            // this one.
            self.accuse(Whose::NOBODYS, error.reason(), &error);
            match error.retry_after() {
                Some(retry_after) => error.reason().status_with_retry(error.to_string(), retry_after),
                None => error.reason().status(error.to_string()),
            }
        })
    }

    async fn check_submission(
        &self,
        located: &Located,
        authority: &Authority,
        whose: Whose,
    ) -> Result<(), Status> {
        let Authority::Submission { submission, quota, daily_payload_bytes } = authority else {
            return Ok(());
        };
        let header = &located.record.header;
        let facts = self
            .0
            .store
            .catalog
            .submission_facts(*submission, header.epoch, *quota)
            .await
            .map_err(|error| store_status(&error))?;
        admit::check_facts(&facts, located.digest, header.payload_length, *daily_payload_bytes)
            .map_err(|refusal| self.refused(whose, refusal))
    }

    fn refused(&self, whose: Whose, refusal: Refusal) -> Status {
        self.accuse(whose, refusal.reason(), &refusal);
        refused(refusal)
    }

    /// Counts a refusal that no honest delivery meets against the parties whose signatures the
    /// delivery bears. If it bears none, no party is named, because strangers can send anything in
    /// the name of others.
    fn accuse(&self, whose: Whose, reason: Reason, detail: &dyn std::fmt::Display) {
        let is_proven = match reason {
            // The signatures of two headers of one order, or those of the orders of one day, prove
            // these.
            Reason::ConflictingHeader | Reason::QuotaExceeded => true,
            Reason::BadSubmissionSignature
            | Reason::WrongPoster
            | Reason::BadDisperserSignature
            | Reason::WrongDisperser
            | Reason::SubmissionMismatch
            | Reason::BadCertificate
            | Reason::BadRecord
            | Reason::BadShard
            | Reason::BadPayload => false,
            // These happen to honest callers too: clocks differ, connections break, disks are full.
            _ => return,
        };
        // The rollup must keep its quota of a day. A disperser knows nothing of it.
        let disperser = whose.disperser.filter(|_| reason != Reason::QuotaExceeded);
        let charge = Charge { kind: reason.as_str(), is_proven, detail: &detail.to_string() };
        let now = self.0.clock.now_unix_seconds();
        self.0.accusations.add(whose.group.rollup, disperser, charge, now);
    }

    /// Reads all pieces and commits the shard. There is no receipt before the commit.
    async fn store<S>(&self, upload: Upload, stream: &mut S) -> Result<Stored, Status>
    where
        S: Stream<Item = Result<v1::StoreShardRequest, Status>> + Send + Unpin,
    {
        let Upload { mut intake, digest, authority, whose, mut pace, order, permit, _turn } = upload;
        let failed = |error: IntakeError| {
            self.accuse(whose, error.reason(), &error);
            intake_status(&error)
        };
        // While a piece is checked and stored, the sender waits for this member. That time does not
        // count against the sender.
        let mut own = Duration::ZERO;
        while let Some(piece) = next_piece(stream, self.0.settings.piece_timeout, &pace, own).await? {
            metrics::counter!("dac_node_received_bytes_total").increment(piece.len() as u64);
            pace.received(piece.len() as u64);
            let began = Instant::now();
            intake.push(piece).await.map_err(failed)?;
            own += began.elapsed();
        }
        let refusal = match intake.finish(digest, authority).await.map_err(failed)? {
            Commit::Stored(stored) => {
                tracing::debug!(%digest, seat = %stored.seat(), "stored");
                permit.stored();
                if let Authority::Submission { .. } = authority {
                    self.0.deliverers.delivered(order.rollup, order.client);
                }
                return Ok(stored);
            }
            Commit::ConflictingHeader { existing } => Refusal::ConflictingHeader { existing },
            Commit::QuotaExceeded { spent, limit, asked } => Refusal::QuotaExceeded { spent, limit, asked },
        };
        Err(self.refused(whose, refusal))
    }
}

/// The parties whose verified signatures a delivery bears.
#[derive(Clone, Copy)]
struct Whose {
    /// The rollup whose poster signed the order, and whether the caller is known to deliver for it.
    group: Group,
    /// The signer of the header, if it is the one that the order names.
    disperser: Option<Address>,
}

impl Whose {
    /// No signature shows that the named parties have anything to do with the delivery.
    const NOBODYS: Self = Self { group: Group::STRANGERS, disperser: None };

    /// Returns the parties of a record of which both signatures were verified.
    fn of(record: &Record, group: Group) -> Self {
        Self { group, disperser: Some(record.submission.submission.disperser) }
    }
}

enum Admitted {
    Stored(Stored),
    Upload(Box<Upload>),
}

struct Upload {
    intake: Intake,
    digest: BatchDigest,
    authority: Authority,
    whose: Whose,
    pace: Pace,
    order: Order,
    permit: UploadPermit,
    _turn: UploadTurn,
}

pub(super) fn refused(refusal: Refusal) -> Status {
    refusal.reason().status(refusal.to_string())
}

pub(super) fn busy(busy: Busy) -> Status {
    Reason::Busy.status_with_retry(busy.to_string(), busy.retry_after)
}

fn intake_status(error: &IntakeError) -> Status {
    match error {
        IntakeError::Store(error) => store_status(error),
        error => error.reason().status(error.to_string()),
    }
}

async fn next_message<S>(stream: &mut S, limit: Duration) -> Result<Option<Message>, Status>
where
    S: Stream<Item = Result<v1::StoreShardRequest, Status>> + Send + Unpin,
{
    let request = timeout(limit, stream.next())
        .await
        .map_err(|_| Reason::TimedOut.status(format!("no message came for {limit:?}")))?;
    match request {
        None => Ok(None),
        Some(Ok(v1::StoreShardRequest { message: Some(message) })) => Ok(Some(message)),
        Some(Ok(v1::StoreShardRequest { message: None })) => Err(malformed("a message is empty")),
        Some(Err(status)) => Err(match status.code() {
            // The message could not be decoded or is over the limit. That is the sender's fault,
            // and the answer is in this service's words.
            tonic::Code::Internal | tonic::Code::OutOfRange | tonic::Code::InvalidArgument => {
                malformed(status.message())
            }
            _ => status,
        }),
    }
}

async fn first_message<S>(stream: &mut S, limit: Duration) -> Result<v1::StoreShardOpen, Status>
where
    S: Stream<Item = Result<v1::StoreShardRequest, Status>> + Send + Unpin,
{
    match next_message(stream, limit).await? {
        Some(Message::Open(open)) => Ok(open),
        Some(Message::Piece(_)) => Err(malformed("the first message must be `open`")),
        None => Err(malformed("the stream is empty")),
    }
}

async fn next_piece<S>(
    stream: &mut S,
    limit: Duration,
    pace: &Pace,
    own: Duration,
) -> Result<Option<Bytes>, Status>
where
    S: Stream<Item = Result<v1::StoreShardRequest, Status>> + Send + Unpin,
{
    let until_too_slow = (pace.deadline() + own).saturating_duration_since(Instant::now());
    let message = next_message(stream, limit.min(until_too_slow)).await.map_err(|status| {
        let slow = Instant::now().checked_sub(own).and_then(|now| pace.check(now).err());
        slow.map_or(status, |slow| Reason::TimedOut.status(slow.to_string()))
    })?;
    match message {
        None => Ok(None),
        Some(Message::Open(_)) => Err(malformed("`open` came twice")),
        Some(Message::Piece(piece)) if piece.is_empty() => Err(malformed("a piece is empty")),
        Some(Message::Piece(piece)) if piece.len() > STREAM_PIECE_MAX_BYTES => Err(malformed(&format!(
            "a piece has at most {STREAM_PIECE_MAX_BYTES} bytes, got {}",
            piece.len()
        ))),
        Some(Message::Piece(piece)) => Ok(Some(piece)),
    }
}

fn malformed(what: &str) -> Status {
    Reason::MalformedRequest.status(what)
}
