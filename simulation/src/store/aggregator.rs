//! The aggregator's store in memory. Committed changes survive the aggregator; others are lost with
//! it.
//!
//! Every change takes simulated time and runs in a task of its own, as in the SQL store.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use dac_aggregator::batch::{
    Batch, Event, Failure, FailureReason, Holder, Phase, ProofState, SubmissionDigest, may_take_number,
};
use dac_aggregator::store::{
    Arrived, Creation, FIRST_VERSION, Listed, Page, PageToken, Store, StoreError, UploadId, Versioned,
};
use dac_poster::{
    Change, NonceSlot, PosterStore, Posting, PostingDigest, StoreError as BooksError, Unfinished,
};
use dac_types::{Address, BatchDigest};
use parking_lot::Mutex;

use super::disk;

/// The store. Clones share its content.
#[derive(Clone, Default)]
pub(crate) struct AggregatorMemory {
    tables: Arc<Mutex<Tables>>,
}

impl fmt::Debug for AggregatorMemory {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("AggregatorMemory")
    }
}

/// A stored batch.
#[derive(Clone, Debug)]
struct Line {
    batch: Batch,
    /// Grows with each change, so that a change based on an older version is refused.
    version: i64,
    /// The upload that has the batch's payload.
    upload: UploadId,
    /// Digests of all headers that the batch has had.
    digests: Vec<BatchDigest>,
}

#[derive(Default)]
struct Tables {
    batches: BTreeMap<SubmissionDigest, Line>,
    /// Rows of staged payloads and of batches' payloads.
    payloads: BTreeMap<UploadId, BTreeMap<u32, Bytes>>,
    /// Uploads that no batch names yet, with the Unix milliseconds of their beginning.
    staged: BTreeMap<UploadId, u64>,
    postings: BTreeMap<PostingDigest, Posting>,
    slots: BTreeMap<u64, NonceSlot>,
}

impl AggregatorMemory {
    /// Opens the store. Staged uploads are removed, because the process that received them is gone.
    pub(crate) fn open(&self) {
        let mut tables = self.tables.lock();
        for upload in std::mem::take(&mut tables.staged).into_keys() {
            tables.payloads.remove(&upload);
        }
    }

    /// Returns all batches.
    pub(crate) fn batches(&self) -> Vec<Batch> {
        self.tables.lock().batches.values().map(|line| line.batch.clone()).collect()
    }

    async fn commit<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Tables) -> T + Send + 'static,
    ) -> Result<T, StoreError> {
        let lost = || StoreError::CorruptPayload { problem: "the task was lost".to_owned() };
        disk::commit(&self.tables, work).await.ok_or_else(lost)
    }
}

impl Tables {
    fn holder(&self, rollup: Address, batch_number: u64) -> Option<Holder> {
        let line = self.batches.values().find(|line| {
            let order = &line.batch.submission.submission;
            (order.rollup, order.batch_number) == (rollup, batch_number) && line.batch.phase.holds_number()
        })?;
        let accepted = line.batch.proof.as_ref().is_some_and(|proof| proof.state == ProofState::Accepted);
        Some(Holder {
            id: line.batch.id,
            posted: matches!(line.batch.phase, Phase::Posted | Phase::Settled) || accepted,
            digests: line.digests.clone(),
        })
    }

    fn create(&mut self, batch: Batch, payload: Arrived) -> Result<Creation, StoreError> {
        let Arrived { upload, staged_rows, rest } = payload;
        if self.batches.contains_key(&batch.id) {
            return Ok(Creation::Exists);
        }
        let order = &batch.submission.submission;
        let former = self.holder(order.rollup, order.batch_number);
        let replaced = match may_take_number(former.as_ref(), order.replaced()) {
            Ok(replaced) => replaced,
            Err(taken) => return Ok(Creation::Refused(taken)),
        };
        if staged_rows > 0 && self.staged.remove(&upload).is_none() {
            return Err(StoreError::CorruptPayload { problem: "the upload is no longer staged".to_owned() });
        }
        if let Some(former) = replaced.and_then(|former| self.batches.get_mut(&former)) {
            former.batch.apply(Event::Failed(Failure {
                reason: FailureReason::Replaced,
                detail: format!("by submission {}", batch.id),
            }));
            former.version += 1;
            self.payloads.remove(&former.upload);
        }
        self.payloads.entry(upload).or_default().extend((staged_rows..).zip(rest));
        let line = Line { version: FIRST_VERSION, upload, digests: Vec::new(), batch };
        self.batches.insert(line.batch.id, line);
        Ok(Creation::Created { replaced })
    }
}

#[async_trait]
impl Store for AggregatorMemory {
    async fn begin_upload(&self, upload: UploadId, now_ms: u64) -> Result<(), StoreError> {
        self.commit(move |tables| {
            tables.staged.insert(upload, now_ms);
            tables.payloads.insert(upload, BTreeMap::new());
        })
        .await
    }

    async fn stage(&self, upload: UploadId, first_row: u32, rows: Vec<Bytes>) -> Result<(), StoreError> {
        self.commit(move |tables| {
            if let Some(payload) = tables.payloads.get_mut(&upload) {
                payload.extend((first_row..).zip(rows));
            }
        })
        .await
    }

    async fn abandon_upload(&self, upload: UploadId) -> Result<(), StoreError> {
        self.commit(move |tables| {
            if tables.staged.remove(&upload).is_some() {
                tables.payloads.remove(&upload);
            }
        })
        .await
    }

    async fn create(&self, batch: Batch, payload: Arrived) -> Result<Creation, StoreError> {
        self.commit(move |tables| tables.create(batch, payload)).await?
    }

    async fn read_payload(&self, upload: UploadId, length: u64) -> Result<Bytes, StoreError> {
        let tables = self.tables.lock();
        let rows: Vec<Bytes> =
            tables.payloads.get(&upload).map(|rows| rows.values().cloned().collect()).unwrap_or_default();
        let payload = rows.concat();
        if payload.len() as u64 == length {
            Ok(payload.into())
        } else {
            let problem = format!("{} bytes are stored, {length} were received", payload.len());
            Err(StoreError::CorruptPayload { problem })
        }
    }

    async fn holder(&self, rollup: Address, batch_number: u64) -> Result<Option<Holder>, StoreError> {
        Ok(self.tables.lock().holder(rollup, batch_number))
    }

    async fn batch(&self, id: SubmissionDigest) -> Result<Option<Versioned>, StoreError> {
        let tables = self.tables.lock();
        Ok(tables.batches.get(&id).map(|line| Versioned {
            batch: line.batch.clone(),
            version: line.version,
            upload: line.upload,
        }))
    }

    async fn by_digest(&self, digest: BatchDigest) -> Result<Option<SubmissionDigest>, StoreError> {
        let tables = self.tables.lock();
        let line = tables.batches.values().find(|line| line.digests.contains(&digest));
        Ok(line.map(|line| line.batch.id))
    }

    async fn unfinished(&self) -> Result<Vec<SubmissionDigest>, StoreError> {
        let tables = self.tables.lock();
        let mut unfinished: Vec<(u64, SubmissionDigest)> = tables
            .batches
            .values()
            .filter(|line| !line.batch.finished)
            .map(|line| (line.batch.received_at_ms, line.batch.id))
            .collect();
        unfinished.sort_unstable();
        Ok(unfinished.into_iter().map(|(_, id)| id).collect())
    }

    async fn list(
        &self,
        rollup: Option<Address>,
        from: Option<PageToken>,
        entries: u32,
    ) -> Result<Page, StoreError> {
        let place = |batch: &Batch| (batch.received_at_ms, batch.id);
        let mut batches: Vec<Batch> = self.batches();
        batches.retain(|batch| {
            rollup.is_none_or(|rollup| batch.submission.submission.rollup == rollup)
                && from.is_none_or(|from| place(batch) < (from.received_at_ms, from.id))
        });
        batches.sort_unstable_by_key(|batch| std::cmp::Reverse(place(batch)));
        let entries = usize::try_from(entries).unwrap_or(usize::MAX);
        let more = batches.len() > entries;
        batches.truncate(entries);
        let last = batches.last().filter(|_| more);
        let next = last.map(|last| PageToken { received_at_ms: last.received_at_ms, id: last.id });
        let listed = |batch: Batch| Listed {
            digest: batch.digest(),
            epoch: batch.dispersal.as_ref().map_or(0, |dispersal| dispersal.epoch()),
            batch,
        };
        Ok(Page { batches: batches.into_iter().map(listed).collect(), next })
    }

    async fn save(&self, _before: &Batch, after: &Batch, version: i64) -> Result<i64, StoreError> {
        let after = after.clone();
        self.commit(move |tables| {
            let id = after.id;
            let line = tables.batches.get_mut(&id).filter(|line| line.version == version);
            let line = line.ok_or(StoreError::Superseded { id })?;
            if let Some(digest) = after.digest().filter(|digest| !line.digests.contains(digest)) {
                line.digests.push(digest);
            }
            line.batch = after;
            line.version += 1;
            let (upload, version, goes) = (line.upload, line.version, line.batch.payload_dropped);
            if goes {
                tables.payloads.remove(&upload);
            }
            Ok(version)
        })
        .await?
    }

    async fn quota_spent(&self, rollup: Address, day: u64) -> Result<u64, StoreError> {
        let counts = |batch: &Batch| batch.submission.submission.rollup == rollup && batch.quota_day == day;
        let spent = self.batches().into_iter().filter(counts);
        Ok(spent.map(|batch| batch.submission.submission.payload_length).sum())
    }

    async fn count_by_phase(&self) -> Result<Vec<(String, u64)>, StoreError> {
        let mut counts: BTreeMap<String, u64> = BTreeMap::new();
        for batch in self.batches() {
            *counts.entry(batch.phase.name().to_owned()).or_default() += 1;
        }
        Ok(counts.into_iter().collect())
    }

    async fn orphaned_settlements(&self) -> Result<Vec<BatchDigest>, StoreError> {
        // Batches are never settled in a simulation.
        Ok(Vec::new())
    }

    fn books(&self) -> Arc<dyn PosterStore> {
        Arc::new(self.clone())
    }

    async fn ping(&self) -> Result<(), StoreError> {
        Ok(())
    }

    async fn close(&self) {}
}

#[async_trait]
impl PosterStore for AggregatorMemory {
    async fn load(&self) -> Result<Unfinished, BooksError> {
        let tables = self.tables.lock();
        Ok(Unfinished {
            postings: tables.postings.values().filter(|posting| posting.outcome.is_none()).cloned().collect(),
            slots: tables.slots.values().cloned().collect(),
            last_sequence: tables.postings.values().map(|posting| posting.sequence).max().unwrap_or(0),
        })
    }

    async fn posting(&self, digest: PostingDigest) -> Result<Option<Posting>, BooksError> {
        Ok(self.tables.lock().postings.get(&digest).cloned())
    }

    async fn commit(&self, changes: &[Change]) -> Result<(), BooksError> {
        let changes = changes.to_vec();
        let committed = Self::commit(self, move |tables| {
            for change in changes {
                match change {
                    Change::SavePosting(posting) => drop(tables.postings.insert(posting.digest, posting)),
                    Change::SaveSlot(slot) => drop(tables.slots.insert(slot.nonce, slot)),
                    Change::ForgetSlot { nonce } => drop(tables.slots.remove(&nonce)),
                }
            }
        });
        committed.await.map_err(|_| BooksError("the task was lost".to_owned()))
    }
}
