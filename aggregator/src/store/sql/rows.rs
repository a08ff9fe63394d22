//! Converts rows to values and back. A row that does not convert is corrupt, and the error names
//! its batch.

use dac_database::sqlx::any::{AnyArguments, AnyRow};
use dac_database::sqlx::query::Query;
use dac_database::sqlx::{self, Row};
use dac_database::{u64_from_sql, u64_to_sql};
use dac_proto::v1;
use dac_proto::wire;
use dac_types::{AggregateAttestation, Quorum, SignatureBytes, SignedSubmission};
use prost::Message;

use super::columns::{b256, batch_digest, corrupt, seal, summable, text, unseal};
use super::settlements;
use crate::batch::{
    Batch, Certified, Delivery, Dispersal, Failure, FailureReason, L1Record, MemberOutcome, Phase,
    SubmissionDigest,
};
use crate::store::StoreError;

/// The columns of a batch's own row.
pub(super) const BATCH_COLUMNS: &str = "b.submission_digest, b.submission, b.received_at_ms, b.phase, \
    b.failure_reason, b.failure_detail, b.epoch, b.certificate, b.certified_at_ms, b.l1_transaction, b.l1_block, \
    b.l1_gas_used, b.l1_by_us, b.l1_problem, b.payload_dropped, b.finished, b.quota_day, b.version, b.upload_id";

/// A batch's own row, without the parts that other tables hold.
pub(super) struct BatchRow {
    pub(super) batch: Batch,
    pub(super) epoch: u64,
    pub(super) version: i64,
    pub(super) upload_id: Vec<u8>,
}

/// Reads a batch's own row and its row of settlements.
pub(super) fn batch_from_row(row: &AnyRow) -> Result<BatchRow, StoreError> {
    let id: Vec<u8> = row.try_get("submission_digest")?;
    let id = b256(&id).map(SubmissionDigest).ok_or_else(|| StoreError::Corrupt {
        id: SubmissionDigest(dac_types::B256::ZERO),
        what: "the digest",
        problem: format!("{} bytes", id.len()),
    })?;
    let submission: Vec<u8> = row.try_get("submission")?;
    let submission = v1::SignedSubmission::decode(&submission[..])
        .map_err(text)
        .and_then(|wire| SignedSubmission::try_from(wire).map_err(text))
        .map_err(corrupt(id, "the submission"))?;
    let mut batch = Batch::received(id, submission, u64_from_sql(row.try_get("received_at_ms")?));

    let phase: String = row.try_get("phase")?;
    let failure = Failure {
        reason: failure_reason(&row.try_get::<String, _>("failure_reason")?),
        detail: row.try_get("failure_detail")?,
    };
    batch.phase = phase_from(&phase, failure).map_err(corrupt(id, "the phase"))?;

    let certificate: Vec<u8> = row.try_get("certificate")?;
    if !certificate.is_empty() {
        let aggregate = unseal(&certificate)
            .and_then(|bytes| v1::AggregateAttestation::decode(bytes).map_err(text))
            .and_then(|wire| AggregateAttestation::try_from(wire).map_err(text))
            .map_err(corrupt(id, "the certificate"))?;
        batch.certificate =
            Some(Certified { aggregate, at_ms: u64_from_sql(row.try_get("certified_at_ms")?) });
    }
    settlements::read_into(&mut batch, row)?;
    if batch.posting.records_certificate() && matches!(batch.phase, Phase::Posted | Phase::Settled) {
        let transaction: Vec<u8> = row.try_get("l1_transaction")?;
        batch.l1 = Some(L1Record {
            transaction: b256(&transaction),
            block: u64_from_sql(row.try_get("l1_block")?),
            gas_used: u64_from_sql(row.try_get("l1_gas_used")?),
            by_us: row.try_get::<i64, _>("l1_by_us")? != 0,
        });
    }
    batch.l1_problem = row.try_get("l1_problem")?;
    batch.payload_dropped = row.try_get::<i64, _>("payload_dropped")? != 0;
    batch.finished = row.try_get::<i64, _>("finished")? != 0;
    batch.quota_day = row.try_get::<i64, _>("quota_day")?.max(0).cast_unsigned();
    Ok(BatchRow {
        batch,
        epoch: u64_from_sql(row.try_get("epoch")?),
        version: row.try_get("version")?,
        upload_id: row.try_get("upload_id")?,
    })
}

fn phase_from(name: &str, failure: Failure) -> Result<Phase, String> {
    Ok(match name {
        "received" => Phase::Received,
        "dispersing" => Phase::Dispersing,
        "certified" => Phase::Certified,
        "proved" => Phase::Proved,
        "posted" => Phase::Posted,
        "settled" => Phase::Settled,
        "failed" => Phase::Failed(failure),
        "expired" => Phase::Expired,
        other => return Err(format!("unknown: {other:?}")),
    })
}

fn failure_reason(name: &str) -> FailureReason {
    FailureReason::ALL.into_iter().find(|reason| reason.as_str() == name).unwrap_or(FailureReason::Internal)
}

/// The values of a batch's row that change with its state.
pub(super) struct Changing {
    phase: &'static str,
    failure_reason: &'static str,
    failure_detail: String,
    holds_number: i64,
    epoch: i64,
    certificate: Vec<u8>,
    certified_at_ms: i64,
    l1_transaction: Vec<u8>,
    l1_block: i64,
    l1_gas_used: i64,
    l1_by_us: i64,
    l1_problem: String,
    payload_dropped: i64,
    finished: i64,
    quota_day: i64,
    /// The payload's length. It never changes, but batches that are older than this column get it
    /// with their next change.
    payload_bytes: i64,
}

impl Changing {
    pub(super) fn of(batch: &Batch) -> Self {
        let (failure_reason, failure_detail) = match &batch.phase {
            Phase::Failed(failure) => (failure.reason.as_str(), failure.detail.clone()),
            _ => ("", String::new()),
        };
        let certificate = batch
            .certificate
            .as_ref()
            .map(|certified| seal(&v1::AggregateAttestation::from(&certified.aggregate).encode_to_vec()));
        let l1 = batch.l1;
        let number = |value: Option<u64>| u64_to_sql(value.unwrap_or(0));
        Self {
            phase: batch.phase.name(),
            failure_reason,
            failure_detail,
            holds_number: batch.phase.holds_number().into(),
            epoch: number(batch.dispersal.as_ref().map(Dispersal::epoch)),
            certificate: certificate.unwrap_or_default(),
            certified_at_ms: number(batch.certificate.as_ref().map(|certified| certified.at_ms)),
            l1_transaction: l1.and_then(|l1| l1.transaction).map(|hash| hash.to_vec()).unwrap_or_default(),
            l1_block: number(l1.map(|l1| l1.block)),
            l1_gas_used: number(l1.map(|l1| l1.gas_used)),
            l1_by_us: l1.is_some_and(|l1| l1.by_us).into(),
            l1_problem: batch.l1_problem.clone(),
            payload_dropped: batch.payload_dropped.into(),
            finished: batch.finished.into(),
            quota_day: summable(batch.quota_day),
            payload_bytes: summable(batch.submission.submission.payload_length),
        }
    }

    /// Binds the values as the first parameters of a statement, $1 to $16, in this order.
    pub(super) fn bind<'q>(
        self,
        statement: Query<'q, sqlx::Any, AnyArguments>,
    ) -> Query<'q, sqlx::Any, AnyArguments> {
        statement
            .bind(self.phase)
            .bind(self.failure_reason)
            .bind(self.failure_detail)
            .bind(self.holds_number)
            .bind(self.epoch)
            .bind(self.certificate)
            .bind(self.certified_at_ms)
            .bind(self.l1_transaction)
            .bind(self.l1_block)
            .bind(self.l1_gas_used)
            .bind(self.l1_by_us)
            .bind(self.l1_problem)
            .bind(self.payload_dropped)
            .bind(self.finished)
            .bind(self.quota_day)
            .bind(self.payload_bytes)
    }
}

/// Reads a dispersal's row. Its members come from another table.
pub(super) fn dispersal_from_row(id: SubmissionDigest, row: &AnyRow) -> Result<Dispersal, StoreError> {
    let digest: Vec<u8> = row.try_get("digest")?;
    let digest = batch_digest(&digest)
        .ok_or_else(|| format!("{} bytes", digest.len()))
        .map_err(corrupt(id, "the digest"))?;
    let number = |column: &str| -> Result<u16, StoreError> {
        let value: i64 = row.try_get(column)?;
        u16::try_from(value).map_err(text).map_err(corrupt(id, "the committee's numbers"))
    };
    let quorum = Quorum::new(number("seats")?, number("threshold")?, number("quorum")?)
        .map_err(text)
        .map_err(corrupt(id, "the committee's numbers"))?;
    let record: Vec<u8> = row.try_get("record")?;
    let record = v1::Record::decode(&record[..])
        .map_err(text)
        .and_then(|wire| wire::record(wire, quorum.geometry()).map_err(text))
        .map_err(corrupt(id, "the record"))?;
    Ok(Dispersal::new(digest, quorum, record.into()))
}

/// Returns a delivery as it is stored: its name, and its signature or nothing.
pub(super) fn delivery_to_columns(delivery: Delivery) -> (&'static str, Vec<u8>) {
    match delivery {
        Delivery::Pending => ("pending", Vec::new()),
        Delivery::Claimed(signature) => ("claimed", signature.0.to_vec()),
        Delivery::Attested(signature) => ("attested", signature.0.to_vec()),
        Delivery::Retrying => ("retrying", Vec::new()),
        Delivery::Refused => ("refused", Vec::new()),
        Delivery::Lied => ("lied", Vec::new()),
    }
}

fn delivery_from_columns(name: &str, signature: &[u8]) -> Result<Delivery, String> {
    let signature = || {
        <[u8; 48]>::try_from(signature)
            .map(SignatureBytes)
            .map_err(|_| format!("a signature of {} bytes", signature.len()))
    };
    Ok(match name {
        "pending" => Delivery::Pending,
        "claimed" => Delivery::Claimed(signature()?),
        "attested" => Delivery::Attested(signature()?),
        "retrying" => Delivery::Retrying,
        "refused" => Delivery::Refused,
        "lied" => Delivery::Lied,
        other => return Err(format!("unknown delivery {other:?}")),
    })
}

/// Reads a member's row, and returns its seat too.
pub(super) fn member_from_row(
    id: SubmissionDigest,
    row: &AnyRow,
) -> Result<(usize, MemberOutcome), StoreError> {
    let seat: i64 = row.try_get("seat")?;
    let seat = usize::try_from(seat).map_err(text).map_err(corrupt(id, "a member's seat"))?;
    let (name, signature): (String, Vec<u8>) = (row.try_get("delivery")?, row.try_get("signature")?);
    let attempts: i64 = row.try_get("attempts")?;
    let outcome = MemberOutcome {
        delivery: delivery_from_columns(&name, &signature).map_err(corrupt(id, "a member's outcome"))?,
        attempts: u32::try_from(attempts).unwrap_or(u32::MAX),
        reason: row.try_get("reason")?,
        detail: row.try_get("detail")?,
        attested_at_ms: u64_from_sql(row.try_get("attested_at_ms")?),
        in_certificate: row.try_get::<i64, _>("in_certificate")? != 0,
        certificate_done: row.try_get::<i64, _>("certificate_done")? != 0,
    };
    Ok((seat, outcome))
}
