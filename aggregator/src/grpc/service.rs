//! The state that the service's methods share.

use std::sync::Arc;

use dac_admission::{Admission, QueueLimits};
use dac_proto::reason::Reason;
use dac_proto::v1;
use dac_runtime::clients::ClientKey;
use dac_types::Address;
use tokio_util::sync::CancellationToken;
use tonic::Status;

use super::errors::{store_status, unknown_batch};
use super::limits::ServiceLimits;
use super::readers::Readers;
use crate::accusations::{Accused, Charge};
use crate::batch::{Batch, SubmissionDigest};
use crate::batches::{Batches, Selector, Watched};
use crate::budget::{Budget, Part};
use crate::convert;

/// The parties whose share of the queue an upload counts against while it waits for other uploads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Uploader {
    /// A rollup, whose uploads fill no more than half of the queue.
    Rollup(Address),
    /// A submission and the client that sends it. Without TLS a submission is public. Because the
    /// client is part of this key, a client that copied the submission cannot keep its owner
    /// waiting.
    Order(SubmissionDigest, ClientKey),
}

/// The rollup that a submission names.
#[derive(Clone, Copy, Debug)]
pub(super) struct Named {
    pub(super) rollup: Address,
    /// Whether the rollup's poster signed the submission.
    pub(super) is_signed: bool,
}

/// The service over all batches.
#[derive(Clone)]
pub struct Grpc {
    pub(super) batches: Batches,
    pub(super) uploads: Budget,
    pub(super) proofs: Budget,
    /// Ensures that each client uploads a submission only once at a time.
    pub(super) uploading: Admission<Uploader>,
    pub(super) readers: Readers,
    /// Cancelled when the service stops taking requests.
    pub(super) draining: CancellationToken,
}

impl Grpc {
    /// Makes the service; `draining` is cancelled when the process is about to stop.
    pub fn new(batches: Batches, limits: ServiceLimits, draining: CancellationToken) -> Self {
        Self {
            batches,
            uploads: Budget::new(limits.uploads as u64, Part::Half),
            proofs: Budget::new(limits.uploads as u64, Part::Half),
            uploading: Admission::new(
                u64::MAX,
                QueueLimits { total: limits.uploads, per_party: limits.uploads.div_ceil(2) },
            ),
            readers: Readers::new(&limits),
            draining,
        }
    }

    pub(super) async fn find(&self, selector: Option<v1::BatchSelector>) -> Result<Arc<Batch>, Status> {
        self.find_batch(convert::selector(selector)?).await
    }

    /// Returns the present state of the batch. Reading a dormant batch does not wake it.
    pub(super) async fn find_batch(&self, selector: Selector) -> Result<Arc<Batch>, Status> {
        let id = self.resolve(selector).await?;
        self.batches.get(id).await.map_err(|error| store_status(&error))?.ok_or_else(unknown_batch)
    }

    pub(super) async fn find_to_watch(&self, selector: Option<v1::BatchSelector>) -> Result<Watched, Status> {
        let id = self.resolve(convert::selector(selector)?).await?;
        self.batches.watch(id).await.map_err(|error| store_status(&error))?.ok_or_else(unknown_batch)
    }

    async fn resolve(&self, selector: Selector) -> Result<SubmissionDigest, Status> {
        let found = self.batches.resolve(selector).await.map_err(|error| store_status(&error))?;
        found.ok_or_else(unknown_batch)
    }

    /// Counts a refused submission against the rollup whose poster signed it. If no honest rollup
    /// is ever refused for this reason, the rollup is accused of it.
    pub(super) fn note_refusal(&self, named: Option<Named>, status: &Status) {
        let ctx = self.batches.context();
        let is_admitted =
            |named: &Named| ctx.registry.latest().is_some_and(|view| view.rollup(named.rollup).is_some());
        // Only what its poster signed counts against a rollup, not what other clients send in its
        // name.
        let rollup = named.filter(|named| named.is_signed && is_admitted(named)).map(|named| named.rollup);
        let reason = Reason::of(status);
        let label = rollup.map_or("other".to_owned(), |rollup| rollup.to_string());
        metrics::counter!(
            "dac_aggregator_submissions_refused_total",
            "reason" => reason.map_or("UNNAMED", Reason::as_str), "rollup" => label
        )
        .increment(1);
        let (kind, is_proven) = match reason {
            // The poster signed both submissions.
            Some(reason @ Reason::ConflictingBatch) => (reason, true),
            Some(
                reason @ (Reason::QuotaExceeded
                | Reason::BadPayload
                | Reason::BadSubmissionSignature
                | Reason::WrongPoster
                | Reason::WrongDisperser
                | Reason::LengthMismatch),
            ) => (reason, false),
            // Honest rollups are refused for these reasons too: clocks differ, connections break,
            // memory is short.
            _ => return,
        };
        let charge = Charge { kind: kind.as_str(), is_proven, detail: status.message() };
        let accused = rollup.map_or(Accused::Other, Accused::Rollup);
        ctx.accusations.add(accused, charge, ctx.now());
    }

    pub(super) async fn existing(&self, id: SubmissionDigest) -> Result<Option<v1::Batch>, Status> {
        let batch = self.batches.taken(id).await.map_err(|error| store_status(&error))?;
        Ok(batch.map(|batch| convert::batch_to_wire(&batch)))
    }
}
