//! DispersalService: one batch comes in for one seat, and an attestation goes out.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use dac_coding::CheckedRecord;
use dac_proto::reason::Reason;
use dac_proto::v1;
use dac_proto::v1::dispersal_service_server::DispersalService;
use dac_proto::v1::store_shard_request::Message;
use dac_types::limits::STREAM_PIECE_MAX_BYTES;
use dac_types::{Address, Record, TimesError};
use futures::{Stream, StreamExt};
use tokio::time::{Instant, timeout, timeout_at};
use tonic::{Request, Response, Status, Streaming};

use super::outcome;
use crate::accusations::Charge;
use crate::admit::{self, Located, Refusal};
use crate::attest::attest;
use crate::context::{Context, store_status};
use crate::limits::UploadPermit;
use crate::store::{Authority, Commit, Stored};
use crate::verify::{Intake, IntakeError, announced_bytes};

/// The service over a shared context.
#[derive(Clone)]
pub struct Dispersal(Arc<Context>);

impl Dispersal {
    /// Serves `context`.
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
        let mut stream = request.into_inner();
        let result = timeout_at(began + limit, self.receive(&mut stream))
            .await
            .unwrap_or_else(|_| Err(Reason::TimedOut.status(format!("an upload may take {limit:?}"))));
        metrics::counter!("dac_node_store_shard_total", "outcome" => outcome(&result)).increment(1);
        metrics::histogram!("dac_node_store_shard_seconds").record(began.elapsed().as_secs_f64());
        result.map(Response::new)
    }

    async fn sign_renewal(
        &self,
        request: Request<v1::SignRenewalRequest>,
    ) -> Result<Response<v1::SignRenewalResponse>, Status> {
        let limit = self.0.settings.upload_timeout;
        let result = tokio::time::timeout(limit, self.renew(request.into_inner()))
            .await
            .unwrap_or_else(|_| Err(Reason::TimedOut.status(format!("a renewal may take {limit:?}"))));
        metrics::counter!("dac_node_sign_renewal_total", "outcome" => outcome(&result)).increment(1);
        result.map(Response::new)
    }
}

impl Dispersal {
    async fn receive<S>(&self, stream: &mut S) -> Result<v1::StoreShardResponse, Status>
    where
        S: Stream<Item = Result<v1::StoreShardRequest, Status>> + Send + Unpin,
    {
        let context = &*self.0;
        if context.draining.is_cancelled() {
            return Err(Reason::ShuttingDown.status("this member is stopping"));
        }
        let open = first_message(stream, context.settings.piece_timeout).await?;
        let certificate_only = open.certificate_only;
        let stored = match self.admit(open).await? {
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

    /// Everything that can be decided before the first byte of the shard.
    async fn admit(&self, open: v1::StoreShardOpen) -> Result<Admitted, Status> {
        let context = &*self.0;
        let certificate_only = open.certificate_only;
        let addressed = admit::check_domain(open, &context.identity.domain).map_err(refused)?;
        let view = context.registry()?;
        let located = admit::locate(addressed, &view, &context.identity).map_err(refused)?;
        let (now, named) = (context.clock.now_unix_seconds(), Named::in_record(&located.record));
        TimesError::check_expiry(located.record.header.expires_at, now)
            .map_err(|error| refused(error.into()))?;

        let held = match context.store.find(located.digest).await {
            // What waits for repair is taken like a new one, and replaced.
            Ok(held) => held.filter(|held| !held.is_corrupt),
            Err(error) => return Err(context.store_failed(&error).await),
        };
        if certificate_only && located.record.certificate.is_none() {
            return Err(malformed("only a certificate is announced, and there is none"));
        }
        if certificate_only && held.is_none() {
            let message = format!("this member does not hold {}", located.digest);
            return Err(Reason::UnknownBatch.status(message));
        }
        let lacks_certificate = held.as_ref().is_none_or(|held| held.record.record().certificate.is_none());
        let certificate = match &located.record.certificate {
            Some(aggregate) if lacks_certificate => {
                let checked =
                    context.certificates.check(&located.committee, &located.record.header, aggregate).await;
                Some(checked.map_err(|error| {
                    self.accuse(named, error.reason(), &error);
                    error.reason().status(error.to_string())
                })?)
            }
            _ => None,
        };
        if let Some(held) = held {
            if let Some(certificate) = certificate {
                context.store.attach_certificate(&certificate).await.map_err(|error| store_status(&error))?;
            }
            return Ok(Admitted::Stored(held.stored));
        }

        let domain = &context.identity.domain;
        let authority =
            admit::authorise(&located, &view, domain, certificate.is_some(), now).map_err(|refusal| {
                self.accuse(named, refusal.reason(), &refusal);
                refused(refusal)
            })?;
        // Whoever named whom is known from here on: both signatures are good.
        context.accusations.know(named.rollup, named.disperser);
        self.check_submission(&located, &authority, named).await?;
        let Located { committee, seat, record, digest } = located;
        let geometry = committee.quorum().geometry();
        let record = context
            .workers
            .run(move || CheckedRecord::check(record, geometry))
            .await
            .map_err(|error| Reason::Internal.status(error.to_string()))?
            .map_err(|error| {
                self.accuse(named, Reason::BadRecord, &error);
                Reason::BadRecord.status(error.to_string())
            })?;
        let bytes = announced_bytes(&record) as u64;
        let permit = context
            .uploads
            .admit(record.header().rollup, bytes)
            .map_err(|busy| Reason::Busy.status_with_retry(busy.to_string(), busy.retry_after))?;
        self.check_capacity(record.shard_length() as u64).await?;
        self.check_disk(record.shard_length() as u64).await?;
        self.check_server(record.shard_length() as u64).await?;
        let intake =
            Intake::begin(Arc::new(record), seat, Arc::clone(&context.store), context.workers.clone())
                .await
                .map_err(|error| intake_status(&error))?;
        Ok(Admitted::Upload(Box::new(Upload { intake, digest, authority, named, _permit: permit })))
    }

    async fn check_submission(
        &self,
        located: &Located,
        authority: &Authority,
        named: Named,
    ) -> Result<(), Status> {
        let Authority::Submission { submission, quota, daily_payload_bytes } = authority else {
            return Ok(());
        };
        let header = &located.record.header;
        let facts = self
            .0
            .store
            .submission_facts(*submission, header.epoch, *quota)
            .await
            .map_err(|error| store_status(&error))?;
        admit::check_facts(&facts, located.digest, header.payload_length, *daily_payload_bytes).map_err(
            |refusal| {
                self.accuse(named, refusal.reason(), &refusal);
                refused(refusal)
            },
        )
    }

    /// Counts a refusal that no honest delivery meets against whose signatures it bears.
    fn accuse(&self, named: Named, reason: Reason, detail: &dyn std::fmt::Display) {
        let is_proven = match reason {
            // Shown by the signatures of two headers of one order, and of the orders of one day.
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
            // Clocks differ, connections break, disks are full.
            _ => return,
        };
        let context = &*self.0;
        let is_admitted = context.registry.latest().is_some_and(|view| view.rollup(named.rollup).is_some());
        // A day's quota is the rollup's to keep: whoever disperses knows nothing of it.
        let disperser = (reason != Reason::QuotaExceeded).then_some(named.disperser);
        let charge = Charge { kind: reason.as_str(), is_proven, detail: &detail.to_string() };
        let now = context.clock.now_unix_seconds();
        context.accusations.add(is_admitted.then_some(named.rollup), disperser, charge, now);
    }

    async fn check_capacity(&self, shard_length: u64) -> Result<(), Status> {
        let Some(capacity) = self.0.settings.capacity_bytes else { return Ok(()) };
        let totals = self.0.store.totals().await.map_err(|error| store_status(&error))?;
        // Uploads in flight, this one among them, count as stored.
        let bytes = totals.bytes.saturating_add(self.0.uploads.bytes().max(shard_length));
        if bytes > capacity {
            tracing::error!(stored = totals.bytes, capacity, "the configured capacity is used up");
            metrics::counter!("dac_node_storage_refusals_total", "cause" => "capacity").increment(1);
            return Err(Reason::StorageFailed.status("this member's capacity is used up"));
        }
        Ok(())
    }

    /// Whether the file system keeps its reserve.
    async fn check_disk(&self, shard_length: u64) -> Result<(), Status> {
        let context = &*self.0;
        let Some(disk) = context.disk.clone() else { return Ok(()) };
        let free = context
            .workers
            .run(move || disk.free_bytes())
            .await
            .map_err(|error| Reason::Internal.status(error.to_string()))?
            .map_err(|error| {
                tracing::error!(%error, "the store's file system does not say how much room it has");
                Reason::StorageFailed.status("the store failed; try again")
            })?;
        let reserve = context.settings.disk_reserve_bytes;
        if free < reserve.saturating_add(context.uploads.bytes().max(shard_length)) {
            tracing::error!(free, reserve, "the disk is full but for its reserve: new batches are refused");
            metrics::counter!("dac_node_storage_refusals_total", "cause" => "disk").increment(1);
            return Err(Reason::StorageFailed.status("this member's disk is full"));
        }
        Ok(())
    }

    /// Whether a database on a server stays within its size.
    async fn check_server(&self, shard_length: u64) -> Result<(), Status> {
        let context = &*self.0;
        let Some(limit) = context.settings.database_size_max_bytes else { return Ok(()) };
        let size = context.store.size_on_server().await.map_err(|error| store_status(&error))?;
        let Some(size) = size else { return Ok(()) };
        if size.saturating_add(context.uploads.bytes().max(shard_length)) > limit {
            tracing::error!(
                size,
                limit,
                "the database has the size that it may have: new batches are refused"
            );
            metrics::counter!("dac_node_storage_refusals_total", "cause" => "database").increment(1);
            return Err(Reason::StorageFailed.status("this member's database is full"));
        }
        Ok(())
    }

    /// Reads the pieces to the end, commits, and only then has a receipt.
    async fn store<S>(&self, upload: Upload, stream: &mut S) -> Result<Stored, Status>
    where
        S: Stream<Item = Result<v1::StoreShardRequest, Status>> + Send + Unpin,
    {
        let Upload { mut intake, digest, authority, named, _permit } = upload;
        let failed = |error: IntakeError| {
            self.accuse(named, error.reason(), &error);
            intake_status(&error)
        };
        while let Some(piece) = next_piece(stream, self.0.settings.piece_timeout).await? {
            metrics::counter!("dac_node_received_bytes_total").increment(piece.len() as u64);
            intake.push(piece).await.map_err(failed)?;
        }
        let refusal = match intake.finish(digest, authority).await.map_err(failed)? {
            Commit::Stored(stored) => {
                tracing::debug!(%digest, seat = %stored.seat(), "stored");
                return Ok(stored);
            }
            Commit::ConflictingHeader { existing } => Refusal::ConflictingHeader { existing },
            Commit::QuotaExceeded { spent, limit, asked } => Refusal::QuotaExceeded { spent, limit, asked },
        };
        self.accuse(named, refusal.reason(), &refusal);
        Err(refused(refusal))
    }
}

/// Whom a record names: its rollup, and who is to sign its header.
#[derive(Clone, Copy)]
struct Named {
    rollup: Address,
    disperser: Address,
}

impl Named {
    fn in_record(record: &Record) -> Self {
        Self { rollup: record.header.rollup, disperser: record.submission.submission.disperser }
    }
}

enum Admitted {
    Stored(Stored),
    Upload(Box<Upload>),
}

struct Upload {
    intake: Intake,
    digest: dac_types::BatchDigest,
    authority: Authority,
    named: Named,
    _permit: UploadPermit,
}

pub(super) fn refused(refusal: Refusal) -> Status {
    refusal.reason().status(refusal.to_string())
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
            // Undecodable or over the limit: the sender's fault, and said in our words.
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

async fn next_piece<S>(stream: &mut S, limit: Duration) -> Result<Option<Bytes>, Status>
where
    S: Stream<Item = Result<v1::StoreShardRequest, Status>> + Send + Unpin,
{
    match next_message(stream, limit).await? {
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
