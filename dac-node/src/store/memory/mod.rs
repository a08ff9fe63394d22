//! A store in memory, for simulations: what was committed survives the member that committed it, what was not is lost with it.
//!
//! Every commit takes its (simulated) time and runs in a task of its own, as the SQL store's do: a member that is killed dies before
//! it, after it, or between the commit and its answer.

pub mod disk;
mod ledger;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use dac_bls::CheckedCertificate;
use dac_chain::feed::Cursor;
use dac_coding::CheckedRecord;
use dac_types::limits::{CHUNK_BYTES, QUOTA_DAY_SECONDS, STORED_ROW_BYTES};
use dac_types::{Address, B256, BatchDigest, Seat};
use parking_lot::Mutex;

use super::{
    Authority, BadSeat, BatchOnL1, CHUNKS_PER_ROW, Commit, Entry, Holding, Listed, QuotaDay, Scrub, ShardId,
    Store, StoreError, Stored, SubmissionFacts, Totals, Upload,
};

/// How long after its answer a commit takes place with [`Flaw::AnswersBeforeCommit`].
const LATE: Duration = Duration::from_millis(400);

/// What is wrong with a store, on purpose: whoever checks histories must find it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flaw {
    /// The last commit is forgotten when its member is killed: a disk that lies about what it has written.
    ForgetsLastCommit,
    /// It says that a batch is stored before it is.
    AnswersBeforeCommit,
}

/// A stored batch as it stands, for whoever checks it.
#[derive(Clone, Debug)]
pub struct Held {
    /// The batch.
    pub digest: BatchDigest,
    /// Whose shard.
    pub seat: Seat,
    /// Its record.
    pub record: Arc<CheckedRecord>,
    /// The shard's bytes.
    pub shard: Bytes,
}

/// The store. Clones are the same one.
#[derive(Clone)]
pub struct MemoryStore {
    tables: Arc<Mutex<Tables>>,
    flaw: Option<Flaw>,
}

impl fmt::Debug for MemoryStore {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("MemoryStore").field("flaw", &self.flaw).finish_non_exhaustive()
    }
}

#[derive(Clone, Debug)]
struct Line {
    sequence: u64,
    seat: Seat,
    record: Arc<CheckedRecord>,
    shard: i64,
    rows: Vec<Bytes>,
    leaf_hashes: Vec<B256>,
    length: usize,
    keep_until: u64,
    corrupt: bool,
}

#[derive(Clone, Debug)]
struct Duty {
    batch: BatchOnL1,
    keep_until: u64,
    recorded: Option<u64>,
    settled: Option<u64>,
    refuted: bool,
    doubted: bool,
}

#[derive(Clone, Debug, Default)]
struct Tables {
    batches: BTreeMap<BatchDigest, Line>,
    headers: BTreeMap<(B256, u64), (BatchDigest, u64)>,
    charged: BTreeMap<B256, u64>,
    spent: BTreeMap<(Address, u64), u64>,
    last_sequence: u64,
    last_shard: i64,
    duties: BTreeMap<(BatchDigest, Address), Duty>,
    owed_seats: BTreeMap<u64, Seat>,
    cursors: Vec<Cursor>,
    renewals: Vec<(Address, u64, u64)>,
    bad_seats: BTreeMap<BatchDigest, (BadSeat, u64)>,
    scrub: Scrub,
    last_commit: Option<BatchDigest>,
}

impl MemoryStore {
    /// Empty.
    pub fn new(flaw: Option<Flaw>) -> Self {
        Self { tables: Arc::default(), flaw }
    }

    /// Its member was killed.
    pub fn killed(&self) {
        let mut tables = self.tables.lock();
        let last = tables.last_commit.take();
        if let (Some(Flaw::ForgetsLastCommit), Some(last)) = (self.flaw, last) {
            tables.batches.remove(&last);
        }
    }

    /// All is lost: an empty disk.
    pub fn lose_everything(&self) {
        *self.tables.lock() = Tables::default();
    }

    /// A byte of a stored shard is another one from now on. Returns whether there was one.
    pub fn flip(&self, digest: BatchDigest) -> bool {
        let mut tables = self.tables.lock();
        let row = tables.batches.get_mut(&digest).and_then(|line| line.rows.first_mut());
        let Some(row) = row else { return false };
        let mut bytes = row.to_vec();
        if let Some(byte) = bytes.first_mut() {
            *byte ^= 1;
        }
        *row = bytes.into();
        true
    }

    /// Whether a batch is durably stored.
    pub fn holds(&self, digest: BatchDigest) -> bool {
        self.tables.lock().batches.contains_key(&digest)
    }

    /// All batches as they stand.
    pub fn held(&self) -> Vec<Held> {
        let tables = self.tables.lock();
        let held = tables.batches.iter().map(|(digest, line)| Held {
            digest: *digest,
            seat: line.seat,
            record: Arc::clone(&line.record),
            shard: line.rows.concat().into(),
        });
        held.collect()
    }

    /// A transaction: durable when this returns, whoever waits for it.
    async fn commit<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Tables) -> T + Send + 'static,
    ) -> Result<T, StoreError> {
        disk::commit(&self.tables, work).await.ok_or(StoreError::Lost)
    }
}

impl Tables {
    fn line_of(&self, shard: ShardId) -> Option<&Line> {
        self.batches.values().find(|line| line.shard == shard.0)
    }

    fn keep_until(&self, digest: BatchDigest, rollup: Address) -> u64 {
        self.duties.get(&(digest, rollup)).map_or(0, |duty| duty.keep_until)
    }

    /// Applies an upload, or says why not.
    fn store(&mut self, entry: &Entry, rows: Vec<Bytes>) -> Commit {
        let Entry { digest, record, shard, authority } = entry;
        let header = record.header();
        let former = self.batches.get(digest);
        if let Some(former) = former.filter(|former| !former.corrupt) {
            return Commit::Stored(Stored::new(*digest, former.seat));
        }
        let (sequence, kept) =
            former.map_or((self.last_sequence + 1, 0), |former| (former.sequence, former.keep_until));
        let (Authority::Submission { submission, .. } | Authority::Certificate { submission }) = *authority;
        let claimed = self.headers.get(&(submission, header.epoch)).map(|(digest, _)| *digest);
        if let Authority::Submission { quota, daily_payload_bytes, .. } = *authority {
            if let Some(existing) = claimed.filter(|existing| existing != digest) {
                return Commit::ConflictingHeader { existing };
            }
            if !self.charged.contains_key(&submission) {
                let spent = self.spent.get(&(quota.rollup, quota.day)).copied().unwrap_or(0);
                let asked = header.payload_length;
                if spent.saturating_add(asked) > daily_payload_bytes {
                    return Commit::QuotaExceeded { spent, limit: daily_payload_bytes, asked };
                }
                self.charged.insert(submission, header.expires_at);
                self.spent.insert((quota.rollup, quota.day), spent + asked);
            }
        }
        self.headers.entry((submission, header.epoch)).or_insert((*digest, header.expires_at));
        self.last_sequence = self.last_sequence.max(sequence);
        self.last_shard += 1;
        let line = Line {
            sequence,
            seat: shard.seat,
            record: Arc::clone(record),
            shard: self.last_shard,
            rows,
            leaf_hashes: shard.tree.leaf_hashes().to_vec(),
            length: shard.length,
            keep_until: header.expires_at.max(kept).max(self.keep_until(*digest, header.rollup)),
            corrupt: false,
        };
        self.batches.insert(*digest, line);
        self.last_commit = Some(*digest);
        Commit::Stored(Stored::new(*digest, shard.seat))
    }
}

#[async_trait]
impl Store for MemoryStore {
    async fn find(&self, digest: BatchDigest) -> Result<Option<Holding>, StoreError> {
        let tables = self.tables.lock();
        Ok(tables.batches.get(&digest).map(|line| Holding {
            stored: Stored::new(digest, line.seat),
            shard: ShardId(line.shard),
            record: Arc::clone(&line.record),
            is_corrupt: line.corrupt,
        }))
    }

    async fn submission_facts(
        &self,
        submission: B256,
        epoch: u64,
        quota: QuotaDay,
    ) -> Result<SubmissionFacts, StoreError> {
        let tables = self.tables.lock();
        Ok(SubmissionFacts {
            header: tables.headers.get(&(submission, epoch)).map(|(digest, _)| *digest),
            charged: tables.charged.contains_key(&submission),
            spent_bytes: tables.spent.get(&(quota.rollup, quota.day)).copied().unwrap_or(0),
        })
    }

    async fn begin(&self, length: usize) -> Result<Box<dyn Upload>, StoreError> {
        Ok(Box::new(MemoryUpload { store: self.clone(), length, rows: Vec::new() }))
    }

    async fn attach_certificate(&self, certificate: &CheckedCertificate) -> Result<(), StoreError> {
        let (digest, aggregate) = (certificate.digest(), certificate.certificate().aggregate.clone());
        self.commit(move |tables| {
            let line = tables.batches.get_mut(&digest);
            if let Some(line) = line.filter(|line| line.record.record().certificate.is_none()) {
                line.record = Arc::new(CheckedRecord::clone(&line.record).with_certificate(aggregate));
            }
        })
        .await
    }

    async fn leaf_hashes(&self, shard: ShardId) -> Result<Option<Vec<B256>>, StoreError> {
        Ok(self.tables.lock().line_of(shard).map(|line| line.leaf_hashes.clone()))
    }

    async fn row(&self, shard: ShardId, index: usize) -> Result<Option<Bytes>, StoreError> {
        Ok(self.tables.lock().line_of(shard).and_then(|line| line.rows.get(index).cloned()))
    }

    async fn chunk(&self, shard: ShardId, index: usize) -> Result<Option<Bytes>, StoreError> {
        let (row, offset) = (index / CHUNKS_PER_ROW, index % CHUNKS_PER_ROW * CHUNK_BYTES);
        let tables = self.tables.lock();
        let row = tables.line_of(shard).and_then(|line| line.rows.get(row));
        Ok(row.map(|row| row.slice(offset.min(row.len())..(offset + CHUNK_BYTES).min(row.len()))))
    }

    async fn list(&self, rollup: Option<Address>, after: u64, limit: u32) -> Result<Vec<Listed>, StoreError> {
        let tables = self.tables.lock();
        let mut lines: Vec<Listed> = tables
            .batches
            .iter()
            .filter(|(_, line)| line.sequence > after)
            .filter(|(_, line)| rollup.is_none_or(|rollup| line.record.header().rollup == rollup))
            .map(|(digest, line)| {
                let header = line.record.header();
                Listed {
                    sequence: line.sequence,
                    digest: *digest,
                    rollup: header.rollup,
                    batch_number: header.batch_number,
                    epoch: header.epoch,
                    seat: line.seat,
                    expires_at: header.expires_at,
                    payload_length: header.payload_length,
                }
            })
            .collect();
        lines.sort_unstable_by_key(|line| line.sequence);
        lines.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
        Ok(lines)
    }

    async fn totals(&self) -> Result<Totals, StoreError> {
        let tables = self.tables.lock();
        let bytes = tables.batches.values().map(|line| line.length as u64).sum();
        Ok(Totals { batches: tables.batches.len() as u64, bytes })
    }

    async fn delete_expired(&self, before: u64, spared: &[Address], limit: u32) -> Result<u64, StoreError> {
        let spared = spared.to_vec();
        self.commit(move |tables| {
            let duties = &tables.duties;
            let mut due: Vec<(u64, u64, BatchDigest)> = tables
                .batches
                .iter()
                .filter(|(digest, line)| {
                    let header = line.record.header();
                    let owed = duties.get(&(**digest, header.rollup)).is_some_and(|d| d.keep_until >= before);
                    let spared = spared.contains(&header.rollup);
                    line.keep_until < before && header.expires_at < before && !owed && !spared
                })
                .map(|(digest, line)| (line.keep_until, line.sequence, *digest))
                .collect();
            due.sort_unstable();
            due.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
            for (_, _, digest) in &due {
                tables.batches.remove(digest);
            }
            tables.headers.retain(|_, (_, expires_at)| *expires_at >= before);
            tables.charged.retain(|_, expires_at| *expires_at >= before);
            tables.duties.retain(|(_, of), duty| duty.keep_until >= before || spared.contains(of));
            tables.renewals.retain(|(of, _, expires_at)| *expires_at >= before || spared.contains(of));
            let duties = &tables.duties;
            tables.bad_seats.retain(|digest, (_, keep_until)| {
                *keep_until >= before || duties.keys().any(|(named, _)| named == digest)
            });
            tables.spent.retain(|(_, day), _| *day >= before / QUOTA_DAY_SECONDS);
            due.len() as u64
        })
        .await
    }

    async fn give_back(&self) -> Result<(), StoreError> {
        Ok(())
    }

    async fn sweep(&self) -> Result<u64, StoreError> {
        Ok(0)
    }

    async fn close(&self) {}

    fn storage(&self) -> String {
        "memory".to_owned()
    }

    async fn ping(&self) -> Result<(), StoreError> {
        Ok(())
    }
}

struct MemoryUpload {
    store: MemoryStore,
    length: usize,
    rows: Vec<Bytes>,
}

#[async_trait]
impl Upload for MemoryUpload {
    async fn stage(&mut self, row: Bytes) -> Result<(), StoreError> {
        let got = (self.rows.len() + 1) * STORED_ROW_BYTES;
        if row.len() != STORED_ROW_BYTES || got >= self.length {
            return Err(StoreError::UploadLength { expected: self.length, got });
        }
        self.rows.push(row);
        Ok(())
    }

    async fn commit(mut self: Box<Self>, last_row: Bytes, entry: Entry) -> Result<Commit, StoreError> {
        let got = self.rows.len() * STORED_ROW_BYTES + last_row.len();
        if got != self.length || entry.shard.length != self.length || last_row.len() > STORED_ROW_BYTES {
            return Err(StoreError::UploadLength { expected: self.length, got });
        }
        self.rows.push(last_row);
        let Self { store, rows, .. } = *self;
        if store.flaw == Some(Flaw::AnswersBeforeCommit) {
            let early = Commit::Stored(Stored::new(entry.digest, entry.shard.seat));
            tokio::spawn(async move {
                tokio::time::sleep(LATE).await;
                store.tables.lock().store(&entry, rows);
            });
            return Ok(early);
        }
        store.commit(move |tables| tables.store(&entry, rows)).await
    }
}
