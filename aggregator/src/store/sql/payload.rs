//! Payloads, in rows of bounded size that each have a hash.

use bytes::{Bytes, BytesMut};
use dac_database::AnyConnection;
use dac_database::sqlx::{self, Row};
use dac_runtime::failpoint;
use dac_types::limits::STORED_ROW_BYTES;
use sha2::{Digest, Sha256};

use super::connection::SqlStore;
use crate::batch::SubmissionDigest;
use crate::store::{StoreError, UploadId};

/// Number of rows that are read at once.
const ROWS_PER_READ: i64 = 8;

async fn remove_staged(connection: &mut AnyConnection, id: UploadId) -> Result<(), StoreError> {
    // Only while the payload is staged: the commit that made it a batch may have taken place after
    // its caller went away.
    let staged = sqlx::query("DELETE FROM uploads WHERE upload_id = $1")
        .bind(id.0.to_vec())
        .execute(&mut *connection)
        .await?
        .rows_affected();
    if staged > 0 { remove_rows(connection, id).await } else { Ok(()) }
}

pub(super) async fn remove_rows(connection: &mut AnyConnection, id: UploadId) -> Result<(), StoreError> {
    sqlx::query("DELETE FROM payload_rows WHERE upload_id = $1")
        .bind(id.0.to_vec())
        .execute(connection)
        .await?;
    Ok(())
}

/// Removes the rows of a batch's payload.
pub(super) async fn remove_rows_of(
    connection: &mut AnyConnection,
    batch: SubmissionDigest,
) -> Result<(), StoreError> {
    sqlx::query(
        "DELETE FROM payload_rows WHERE upload_id = (SELECT upload_id FROM batches WHERE submission_digest = $1)",
    )
    .bind(&batch.0[..])
    .execute(connection)
    .await?;
    Ok(())
}

/// Rows with their places and hashes, which are computed before the transaction that writes them:
/// while a transaction is under way, other writers wait.
pub(super) struct Rows {
    upload: UploadId,
    rows: Vec<(i64, [u8; 32], Bytes)>,
}

impl Rows {
    pub(super) fn new(upload: UploadId, first: u32, rows: Vec<Bytes>) -> Self {
        let place = |(index, data): (i64, Bytes)| (index, row_hash(upload, index, &data), data);
        Self { upload, rows: (i64::from(first)..).zip(rows).map(place).collect() }
    }

    pub(super) async fn insert(self, connection: &mut AnyConnection) -> Result<(), StoreError> {
        for (index, hash, data) in self.rows {
            sqlx::query(
                "INSERT INTO payload_rows (upload_id, row_index, hash, data) VALUES ($1, $2, $3, $4)",
            )
            .bind(&self.upload.0[..])
            .bind(index)
            .bind(&hash[..])
            .bind(&data[..])
            .execute(&mut *connection)
            .await?;
        }
        Ok(())
    }
}

/// Returns the hash that binds a row to its payload and to its place in it.
fn row_hash(id: UploadId, index: i64, data: &[u8]) -> [u8; 32] {
    Sha256::new().chain_update(id.0).chain_update(index.to_be_bytes()).chain_update(data).finalize().into()
}

impl SqlStore {
    pub(super) async fn begin(&self, id: UploadId, now_ms: u64) -> Result<(), StoreError> {
        let owner = self.process.name();
        self.database
            .append(move |connection| {
                Box::pin(async move {
                    sqlx::query("INSERT INTO uploads (upload_id, started_at_ms, owner) VALUES ($1, $2, $3)")
                        .bind(id.0.to_vec())
                        .bind(now_ms.cast_signed())
                        .bind(owner)
                        .execute(connection)
                        .await?;
                    Ok::<_, StoreError>(())
                })
            })
            .await?;
        failpoint!("aggregator.upload.begun");
        Ok(())
    }

    pub(super) async fn write_rows(
        &self,
        id: UploadId,
        first: u32,
        rows: Vec<Bytes>,
    ) -> Result<(), StoreError> {
        let (owner, rows) = (self.process.name(), Rows::new(id, first, rows));
        self.database
            .append(move |connection| {
                Box::pin(async move {
                    // Rows of an upload that another process removed would never be removed. The
                    // update locks the upload's row until the commit: a process that removes it
                    // meanwhile waits, and then removes these rows as well.
                    let staged = sqlx::query(
                        "UPDATE uploads SET started_at_ms = started_at_ms WHERE upload_id = $1 AND owner = $2",
                    )
                    .bind(id.0.to_vec())
                    .bind(owner)
                    .execute(&mut *connection)
                    .await?;
                    if staged.rows_affected() == 0 {
                        return Err(corrupt("the upload is no longer staged".to_owned()));
                    }
                    rows.insert(connection).await
                })
            })
            .await?;
        failpoint!("aggregator.upload.staged");
        Ok(())
    }

    pub(super) async fn abandon(&self, id: UploadId) -> Result<(), StoreError> {
        self.database.append(move |connection| Box::pin(remove_staged(connection, id))).await
    }

    /// Reads a payload and checks the hash of every row.
    pub(super) async fn read_rows(&self, id: UploadId, length: u64) -> Result<Bytes, StoreError> {
        let length = usize::try_from(length).map_err(|_| corrupt(format!("{length} bytes are too many")))?;
        let mut payload = BytesMut::with_capacity(length);
        let rows = i64::try_from(length.div_ceil(STORED_ROW_BYTES)).expect("a payload has at most 256 rows");
        let mut next = 0;
        while next < rows {
            let page = sqlx::query(
                "SELECT row_index, hash, data FROM payload_rows
                 WHERE upload_id = $1 AND row_index >= $2 AND row_index < $3 ORDER BY row_index",
            )
            .bind(id.0.to_vec())
            .bind(next)
            .bind((next + ROWS_PER_READ).min(rows))
            .fetch_all(self.database.reads())
            .await?;
            if page.is_empty() {
                return Err(corrupt(format!("row {next} of {rows} is missing")));
            }
            for row in page {
                let (index, hash, data): (i64, Vec<u8>, Vec<u8>) =
                    (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
                if index != next {
                    return Err(corrupt(format!("row {next} of {rows} is missing")));
                }
                if hash != row_hash(id, index, &data) {
                    return Err(corrupt(format!("row {index} of {rows} does not match its hash")));
                }
                payload.extend_from_slice(&data);
                next += 1;
            }
        }
        if payload.len() != length {
            return Err(corrupt(format!("{} bytes are stored, {length} were received", payload.len())));
        }
        Ok(payload.freeze())
    }
}

const fn corrupt(problem: String) -> StoreError {
    StoreError::CorruptPayload { problem }
}
