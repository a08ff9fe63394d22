//! A payload on its way into the store.

use std::sync::Arc;

use bytes::BytesMut;
use dac_types::limits::STORED_ROW_BYTES;

use super::{Creation, Store, StoreError};
use crate::batch::Batch;

/// Rows written at once: what an upload holds in memory at most.
const ROWS_PER_WRITE: usize = 8;

/// Names a stored payload; drawn at random for every upload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UploadId(pub [u8; 16]);

impl UploadId {
    fn random() -> Self {
        Self(rand::random())
    }
}

/// A payload that is arriving. Dropped before it became a batch, it removes what it wrote.
#[derive(Debug)]
pub struct Upload {
    id: UploadId,
    store: Arc<dyn Store>,
    /// Whole rows that are not written yet, and the beginning of the next one.
    pending: BytesMut,
    rows_written: u32,
    bytes: u64,
    adopted: bool,
}

impl Upload {
    /// Begins to stage a payload.
    pub async fn begin(store: Arc<dyn Store>, now_ms: u64) -> Result<Self, StoreError> {
        let id = UploadId::random();
        // Before the store is asked: whoever goes away meanwhile must not leave it staged.
        let upload = Self { id, store, pending: BytesMut::new(), rows_written: 0, bytes: 0, adopted: false };
        upload.store.begin_upload(id, now_ms).await?;
        Ok(upload)
    }

    /// Which payload this is.
    pub const fn id(&self) -> UploadId {
        self.id
    }

    /// Bytes received.
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Adds the next piece; now and then rows are written.
    pub async fn push(&mut self, piece: &[u8]) -> Result<(), StoreError> {
        self.pending.extend_from_slice(piece);
        self.bytes += piece.len() as u64;
        if self.pending.len() >= ROWS_PER_WRITE * STORED_ROW_BYTES {
            let whole = self.pending.len() - self.pending.len() % STORED_ROW_BYTES;
            self.write(whole).await?;
        }
        Ok(())
    }

    /// Writes what is left. The payload counts only once it was made a batch.
    pub async fn finish(&mut self) -> Result<(), StoreError> {
        let rest = self.pending.len();
        self.write(rest).await
    }

    /// Makes it a batch: durable, and visible to all, when this returns.
    pub async fn create(mut self, batch: Batch) -> Result<Creation, StoreError> {
        self.finish().await?;
        let creation = self.store.create(batch, self.id).await?;
        self.adopted = matches!(creation, Creation::Created { .. });
        Ok(creation)
    }

    async fn write(&mut self, length: usize) -> Result<(), StoreError> {
        if length == 0 {
            return Ok(());
        }
        let mut data = self.pending.split_to(length).freeze();
        let mut rows = Vec::new();
        while !data.is_empty() {
            rows.push(data.split_to(data.len().min(STORED_ROW_BYTES)));
        }
        let first = self.rows_written;
        self.rows_written += u32::try_from(rows.len()).expect("a payload has at most 256 rows");
        self.store.stage(self.id, first, rows).await
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        if self.adopted {
            return;
        }
        // Without a runtime (the process is ending) the next start removes it.
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
