//! Batches, which are created once and changed only from the version that was read.

use dac_database::sqlx::{self, AssertSqlSafe, Row};
use dac_database::{AnyConnection, u64_to_sql};
use dac_proto::v1;
use dac_runtime::failpoint;
use dac_types::{Address, BatchDigest, PostingMode};
use prost::Message;

use super::columns::{b256, batch_digest, corrupt, key, optional, summable};
use super::connection::SqlStore;
use super::members::{self, Changed};
use super::payload::{Rows, remove_rows, remove_rows_of};
use super::rows::{BATCH_COLUMNS, BatchRow, Changing, batch_from_row, dispersal_from_row, member_from_row};
use super::settlements::{self, SETTLEMENT_COLUMNS};
use crate::batch::{
    Batch, Dispersal, Event, Failure, FailureReason, Holder, Phase, ProofState, SubmissionDigest,
    may_take_number,
};
use crate::store::{
    Arrived, Creation, FIRST_VERSION, Listed, Page, PageToken, StoreError, UploadId, Versioned,
};

/// The process that changes a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Writer {
    /// The process that works on it.
    Owner,
    /// Another process.
    Other,
}

impl Writer {
    /// Returns the columns that a change by this writer sets besides the batch's state.
    const fn also(self) -> &'static str {
        match self {
            Self::Owner => "touched = 0",
            // A finished batch has no task that would read it again, so the next process that
            // claims it does.
            Self::Other => "owner = CASE WHEN finished = 1 THEN '' ELSE owner END, touched = 1",
        }
    }
}

impl SqlStore {
    pub(super) async fn create_batch(&self, batch: Batch, payload: Arrived) -> Result<Creation, StoreError> {
        let Arrived { upload, staged_rows, rest } = payload;
        let payload =
            Payload { upload, is_staged: staged_rows > 0, rest: Rows::new(upload, staged_rows, rest) };
        let owner = self.process.name();
        let creation = self
            .database
            .transaction(move |connection| Box::pin(create(connection, batch, payload, owner)))
            .await?;
        failpoint!("aggregator.batch.created");
        Ok(creation)
    }

    pub(super) async fn number_holder(
        &self,
        rollup: Address,
        batch_number: u64,
    ) -> Result<Option<Holder>, StoreError> {
        self.database.snapshot(move |connection| Box::pin(holder(connection, rollup, batch_number))).await
    }

    pub(super) async fn read_batch(&self, id: SubmissionDigest) -> Result<Option<Versioned>, StoreError> {
        self.database.snapshot(move |connection| Box::pin(read(connection, id))).await
    }

    pub(super) async fn with_digest(
        &self,
        digest: BatchDigest,
    ) -> Result<Option<SubmissionDigest>, StoreError> {
        let id: Option<Vec<u8>> =
            sqlx::query_scalar("SELECT submission_digest FROM dispersals WHERE digest = $1")
                .bind(digest.as_bytes().to_vec())
                .fetch_optional(self.database.reads())
                .await?;
        Ok(id.as_deref().and_then(b256).map(SubmissionDigest))
    }

    pub(super) async fn with_work_left(&self) -> Result<Vec<SubmissionDigest>, StoreError> {
        let rows = sqlx::query(
            "SELECT submission_digest FROM batches WHERE finished = 0 ORDER BY received_at_ms, submission_digest",
        )
        .fetch_all(self.database.reads())
        .await?;
        let ids = rows.iter().map(|row| row.try_get::<Vec<u8>, _>(0)).collect::<Result<Vec<_>, _>>()?;
        Ok(ids.iter().filter_map(|id| b256(id)).map(SubmissionDigest).collect())
    }

    pub(super) async fn page(
        &self,
        rollup: Option<Address>,
        from: Option<PageToken>,
        entries: u32,
    ) -> Result<Page, StoreError> {
        let from = from.unwrap_or(PageToken {
            received_at_ms: u64::MAX,
            id: SubmissionDigest(dac_types::B256::repeat_byte(0xff)),
        });
        let of_rollup = if rollup.is_some() { "b.rollup = $4 AND" } else { "" };
        let statement = format!(
            "SELECT {BATCH_COLUMNS}, {SETTLEMENT_COLUMNS}, d.digest AS digest FROM batches b
             LEFT JOIN settlements s ON s.submission_digest = b.submission_digest
             LEFT JOIN dispersals d ON d.submission_digest = b.submission_digest AND d.epoch = b.epoch
             WHERE {of_rollup} (b.received_at_ms < $1 OR (b.received_at_ms = $1 AND b.submission_digest < $2))
             ORDER BY b.received_at_ms DESC, b.submission_digest DESC LIMIT $3"
        );
        let mut query = sqlx::query(AssertSqlSafe(statement))
            .bind(u64_to_sql(from.received_at_ms))
            .bind(key(from.id))
            .bind(i64::from(entries) + 1);
        if let Some(rollup) = rollup {
            query = query.bind(rollup.to_vec());
        }
        let rows = query.fetch_all(self.database.reads()).await?;
        let mut batches = Vec::with_capacity(rows.len());
        for row in &rows {
            let BatchRow { batch, epoch, .. } = batch_from_row(row)?;
            let digest: Option<Vec<u8>> = row.try_get("digest")?;
            batches.push(Listed { batch, digest: digest.as_deref().and_then(batch_digest), epoch });
        }
        let entries = usize::try_from(entries).unwrap_or(usize::MAX);
        let more = batches.len() > entries;
        batches.truncate(entries);
        let last = batches.last().filter(|_| more);
        let next =
            last.map(|last| PageToken { received_at_ms: last.batch.received_at_ms, id: last.batch.id });
        Ok(Page { batches, next })
    }

    pub(super) async fn save_changes(
        &self,
        before: &Batch,
        after: &Batch,
        version: i64,
        writer: Writer,
    ) -> Result<i64, StoreError> {
        let new_dispersal = after.dispersal.clone().filter(|new| before.digest() != Some(new.digest));
        let members = Changed::of(before, after);
        let payload_goes = after.payload_dropped && !before.payload_dropped;
        let (id, columns) = (after.id, Changing::of(after));
        let settlement = settlements::differs(before, after).then(|| after.clone());
        let saved = self
            .database
            .append(move |connection| {
                Box::pin(async move {
                    update(connection, id, version, columns, writer).await?;
                    if let Some(dispersal) = new_dispersal {
                        insert_dispersal(connection, id, &dispersal).await?;
                    }
                    if let Some(batch) = settlement {
                        settlements::write(connection, &batch).await?;
                    }
                    if let Some(members) = members {
                        members.write(connection).await?;
                    }
                    if payload_goes {
                        failpoint!("aggregator.payload.before_drop");
                        remove_rows_of(connection, id).await?;
                    }
                    failpoint!("aggregator.batch.before_save");
                    Ok::<_, StoreError>(version + 1)
                })
            })
            .await?;
        if payload_goes {
            failpoint!("aggregator.payload.dropped");
        }
        Ok(saved)
    }

    pub(super) async fn spent(&self, rollup: Address, day: u64) -> Result<u64, StoreError> {
        // The index holds only rows with `quota_day > 0`.
        let bytes: i64 = sqlx::query_scalar(
            "SELECT CAST(COALESCE(SUM(payload_bytes), 0) AS BIGINT) FROM batches
             WHERE rollup = $1 AND quota_day = $2 AND quota_day > 0",
        )
        .bind(rollup.to_vec())
        .bind(summable(day))
        .fetch_one(self.database.reads())
        .await?;
        Ok(bytes.max(0).cast_unsigned())
    }

    pub(super) async fn phases(&self) -> Result<Vec<(String, u64)>, StoreError> {
        let rows = sqlx::query("SELECT phase, count(*) FROM batches GROUP BY phase")
            .fetch_all(self.database.reads())
            .await?;
        rows.iter()
            .map(|row| Ok((row.try_get::<String, _>(0)?, row.try_get::<i64, _>(1)?.max(0).cast_unsigned())))
            .collect()
    }
}

/// The payload of a batch that is created.
struct Payload {
    upload: UploadId,
    is_staged: bool,
    rest: Rows,
}

async fn create(
    connection: &mut AnyConnection,
    batch: Batch,
    payload: Payload,
    owner: String,
) -> Result<Creation, StoreError> {
    let id = batch.id;
    let known: Option<i64> = sqlx::query_scalar("SELECT version FROM batches WHERE submission_digest = $1")
        .bind(key(id))
        .fetch_optional(&mut *connection)
        .await?;
    if known.is_some() {
        return Ok(Creation::Exists);
    }
    let order = &batch.submission.submission;
    let former = holder(connection, order.rollup, order.batch_number).await?;
    let replaced = match may_take_number(former.as_ref(), order.replaced()) {
        Ok(replaced) => replaced,
        Err(taken) => return Ok(Creation::Refused(taken)),
    };
    if let Some(former) = replaced {
        replace(connection, former, id).await?;
    }
    let Payload { upload, is_staged, rest } = payload;
    if is_staged {
        let staged = sqlx::query("DELETE FROM uploads WHERE upload_id = $1")
            .bind(upload.0.to_vec())
            .execute(&mut *connection)
            .await?;
        if staged.rows_affected() != 1 {
            return Err(StoreError::CorruptPayload { problem: "the upload is no longer staged".to_owned() });
        }
    }
    rest.insert(connection).await?;
    insert(connection, &batch, upload, owner).await?;
    // Without this row a batch has the default mode.
    if batch.posting != PostingMode::default() {
        settlements::write(connection, &batch).await?;
    }
    failpoint!("aggregator.batch.before_create");
    Ok(Creation::Created { replaced })
}

async fn insert(
    connection: &mut AnyConnection,
    batch: &Batch,
    upload: UploadId,
    owner: String,
) -> Result<(), StoreError> {
    let order = &batch.submission.submission;
    let statement = sqlx::query(
        "INSERT INTO batches (phase, failure_reason, failure_detail, holds_number, epoch, certificate, certified_at_ms,
            l1_transaction, l1_block, l1_gas_used, l1_by_us, l1_problem, payload_dropped, finished, quota_day,
            payload_bytes, submission_digest, rollup, batch_number, submission, upload_id, received_at_ms, version, owner)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22,
            $23, $24)",
    );
    Changing::of(batch)
        .bind(statement)
        .bind(key(batch.id))
        .bind(order.rollup.to_vec())
        .bind(u64_to_sql(order.batch_number))
        .bind(v1::SignedSubmission::from(&batch.submission).encode_to_vec())
        .bind(upload.0.to_vec())
        .bind(u64_to_sql(batch.received_at_ms))
        .bind(FIRST_VERSION)
        .bind(owner)
        .execute(connection)
        .await?;
    Ok(())
}

async fn update(
    connection: &mut AnyConnection,
    id: SubmissionDigest,
    version: i64,
    columns: Changing,
    writer: Writer,
) -> Result<(), StoreError> {
    let statement = format!(
        "UPDATE batches SET phase = $1, failure_reason = $2, failure_detail = $3, holds_number = $4, epoch = $5,
            certificate = $6, certified_at_ms = $7, l1_transaction = $8, l1_block = $9, l1_gas_used = $10,
            l1_by_us = $11, l1_problem = $12, payload_dropped = $13, finished = $14, quota_day = $15,
            payload_bytes = $16, version = version + 1, {}
         WHERE submission_digest = $17 AND version = $18",
        writer.also()
    );
    let updated = columns
        .bind(sqlx::query(AssertSqlSafe(statement)))
        .bind(key(id))
        .bind(version)
        .execute(connection)
        .await?;
    if updated.rows_affected() == 1 { Ok(()) } else { Err(StoreError::Superseded { id }) }
}

/// Fails the former batch whose number a later submission takes, in the same transaction.
async fn replace(
    connection: &mut AnyConnection,
    former: SubmissionDigest,
    by: SubmissionDigest,
) -> Result<(), StoreError> {
    let Versioned { mut batch, version, upload } =
        read(connection, former).await?.ok_or(StoreError::Missing { id: former })?;
    batch.apply(Event::Failed(Failure {
        reason: FailureReason::Replaced,
        detail: format!("by submission {by}"),
    }));
    update(connection, former, version, Changing::of(&batch), Writer::Other).await?;
    settlements::write(connection, &batch).await?;
    remove_rows(connection, upload).await
}

async fn insert_dispersal(
    connection: &mut AnyConnection,
    id: SubmissionDigest,
    dispersal: &Dispersal,
) -> Result<(), StoreError> {
    let geometry = dispersal.quorum.geometry();
    let inserted = sqlx::query(
        "INSERT INTO dispersals (submission_digest, epoch, digest, seats, threshold, quorum, record)
         VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (submission_digest, epoch) DO NOTHING",
    )
    .bind(key(id))
    .bind(u64_to_sql(dispersal.epoch()))
    .bind(dispersal.digest.as_bytes().to_vec())
    .bind(i64::from(geometry.n()))
    .bind(i64::from(geometry.k()))
    .bind(i64::from(dispersal.quorum.q()))
    .bind(v1::Record::from(&*dispersal.record).encode_to_vec())
    .execute(&mut *connection)
    .await?;
    if inserted.rows_affected() == 0 {
        members::forget(connection, id, dispersal.epoch()).await?;
    }
    Ok(())
}

async fn holder(
    connection: &mut AnyConnection,
    rollup: Address,
    batch_number: u64,
) -> Result<Option<Holder>, StoreError> {
    let row = sqlx::query(
        "SELECT b.submission_digest, b.phase, COALESCE(s.proof_state, '') FROM batches b
         LEFT JOIN settlements s ON s.submission_digest = b.submission_digest
         WHERE b.rollup = $1 AND b.batch_number = $2 AND b.holds_number = 1",
    )
    .bind(rollup.to_vec())
    .bind(u64_to_sql(batch_number))
    .fetch_one(&mut *connection)
    .await;
    let Some(row) = optional(row)? else { return Ok(None) };
    let (id, phase, proof): (Vec<u8>, String, String) = (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
    let digests = sqlx::query("SELECT digest FROM dispersals WHERE submission_digest = $1")
        .bind(id.clone())
        .fetch_all(connection)
        .await?
        .iter()
        .map(|row| row.try_get::<Vec<u8>, _>(0))
        .collect::<Result<Vec<_>, _>>()?;
    Ok(b256(&id).map(|id| Holder {
        id: SubmissionDigest(id),
        posted: [Phase::Posted.name(), Phase::Settled.name()].contains(&phase.as_str())
            || proof == settlements::state_name(&ProofState::Accepted),
        digests: digests.iter().filter_map(|digest| batch_digest(digest)).collect(),
    }))
}

async fn read(connection: &mut AnyConnection, id: SubmissionDigest) -> Result<Option<Versioned>, StoreError> {
    let statement = format!(
        "SELECT {BATCH_COLUMNS}, {SETTLEMENT_COLUMNS} FROM batches b
         LEFT JOIN settlements s ON s.submission_digest = b.submission_digest WHERE b.submission_digest = $1"
    );
    let row = sqlx::query(AssertSqlSafe(statement)).bind(key(id)).fetch_one(&mut *connection).await;
    let Some(row) = optional(row)? else { return Ok(None) };
    let BatchRow { mut batch, epoch, version, upload_id } = batch_from_row(&row)?;
    let upload = <[u8; 16]>::try_from(&upload_id[..])
        .map(UploadId)
        .map_err(|_| format!("{} bytes", upload_id.len()))
        .map_err(corrupt(id, "the upload's name"))?;
    settlements::read_proof(connection, &mut batch).await?;
    if epoch != 0 {
        batch.dispersal = Some(read_dispersal(connection, id, epoch).await?);
    }
    Ok(Some(Versioned { batch, version, upload }))
}

async fn read_dispersal(
    connection: &mut AnyConnection,
    id: SubmissionDigest,
    epoch: u64,
) -> Result<Dispersal, StoreError> {
    let row = sqlx::query(
        "SELECT digest, seats, threshold, quorum, record FROM dispersals WHERE submission_digest = $1 AND epoch = $2",
    )
    .bind(key(id))
    .bind(u64_to_sql(epoch))
    .fetch_one(&mut *connection)
    .await;
    let missing = || format!("epoch {epoch} is missing");
    let row = optional(row)?.ok_or_else(missing).map_err(corrupt(id, "the dispersal"))?;
    let mut dispersal = dispersal_from_row(id, &row)?;
    let rows = sqlx::query(
        "SELECT seat, delivery, signature, attempts, reason, detail, attested_at_ms, in_certificate, certificate_done
         FROM members WHERE submission_digest = $1 AND epoch = $2",
    )
    .bind(key(id))
    .bind(u64_to_sql(epoch))
    .fetch_all(connection)
    .await?;
    for row in &rows {
        let (seat, outcome) = member_from_row(id, row)?;
        let place = dispersal.members.get_mut(seat).ok_or_else(|| format!("there is no seat {seat}"));
        *place.map_err(corrupt(id, "a member's seat"))? = outcome;
    }
    Ok(dispersal)
}
