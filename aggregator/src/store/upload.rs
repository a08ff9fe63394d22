//! A payload on its way into the store.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use dac_types::limits::STORED_ROW_BYTES;

use super::Store;
use super::error::StoreError;
use super::types::{Arrived, Creation, UploadId};
use crate::batch::Batch;

/// Number of rows that are written at once.
const ROWS_PER_WRITE: usize = 8;
/// Bytes that an upload holds in memory at most. A payload that is no larger is written with its
/// batch, in one transaction.
const HELD_MAX_BYTES: usize = ROWS_PER_WRITE * STORED_ROW_BYTES;

/// A payload that is arriving. If it is dropped before it became a batch, it removes what it wrote.
#[derive(Debug)]
pub struct Upload {
    id: UploadId,
    store: Arc<dyn Store>,
    began_at_ms: u64,
    /// The bytes that are not written yet.
    pending: BytesMut,
    /// Whether the store may know the upload.
    staging: bool,
    rows_written: u32,
    bytes: u64,
    adopted: bool,
}

impl Upload {
    /// Begins to receive a payload of `length` bytes.
    pub fn begin(store: Arc<dyn Store>, now_ms: u64, length: u64) -> Self {
        let held = usize::try_from(length).map_or(HELD_MAX_BYTES, |length| length.min(HELD_MAX_BYTES));
        Self {
            id: UploadId::random(),
            store,
            began_at_ms: now_ms,
            pending: BytesMut::with_capacity(held),
            staging: false,
            rows_written: 0,
            bytes: 0,
            adopted: false,
        }
    }

    /// Returns the payload's name.
    pub const fn id(&self) -> UploadId {
        self.id
    }

    /// Returns the number of bytes received.
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Adds the next piece. Rows are staged if more bytes have arrived than are held in memory.
    pub async fn push(&mut self, mut piece: &[u8]) -> Result<(), StoreError> {
        self.bytes += piece.len() as u64;
        while self.pending.len() + piece.len() > HELD_MAX_BYTES {
            let (fits, rest) = piece.split_at(HELD_MAX_BYTES - self.pending.len());
            self.pending.extend_from_slice(fits);
            self.stage().await?;
            piece = rest;
        }
        self.pending.extend_from_slice(piece);
        Ok(())
    }

    /// Makes the payload a batch, which is durable, and visible to all processes, when this
    /// returns. Returns the whole payload too if it was held in memory, so that it need not be
    /// read.
    pub async fn create(mut self, batch: Batch) -> Result<(Creation, Option<Bytes>), StoreError> {
        let rest = self.pending.split().freeze();
        let whole = (!self.staging).then(|| rest.clone());
        let arrived = Arrived { upload: self.id, staged_rows: self.rows_written, rest: rows_of(rest) };
        let creation = self.store.create(batch, arrived).await?;
        self.adopted = matches!(creation, Creation::Created { .. });
        Ok((creation, whole))
    }

    /// Writes the bytes that are held, which are whole rows.
    async fn stage(&mut self) -> Result<(), StoreError> {
        if !self.staging {
            // Set before the store is asked: if the caller goes away meanwhile, the upload must not
            // stay staged.
            self.staging = true;
            self.store.begin_upload(self.id, self.began_at_ms).await?;
        }
        let rows = rows_of(self.pending.split().freeze());
        let first = self.rows_written;
        self.rows_written += u32::try_from(rows.len()).expect("a payload has at most 256 rows");
        self.store.stage(self.id, first, rows).await
    }
}

fn rows_of(mut data: Bytes) -> Vec<Bytes> {
    let mut rows = Vec::with_capacity(data.len().div_ceil(STORED_ROW_BYTES));
    while !data.is_empty() {
        rows.push(data.split_to(data.len().min(STORED_ROW_BYTES)));
    }
    rows
}

impl Drop for Upload {
    fn drop(&mut self) {
        if self.adopted || !self.staging {
            return;
        }
        // Without a runtime (the process is ending) the next start removes the upload.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            let (store, id) = (Arc::clone(&self.store), self.id);
            runtime.spawn(async move {
                if let Err(error) = store.abandon_upload(id).await {
                    tracing::warn!(%error, "an unfinished upload could not be removed; the next start will");
                }
            });
        }
    }
}
