//! The member's catalog of stored batches in memory, with the rules of the SQL store's tables.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use dac_bls::CheckedCertificate;
use dac_coding::CheckedRecord;
use dac_node::store::{
    Authority, BadSeat, BadSeatLine, Catalog, Commit, Entry, Holding, LastRows, Listed, Place, QuotaDay,
    Sealed, ShardId, StoreError, SubmissionFacts, Totals,
};
use dac_types::limits::QUOTA_DAY_SECONDS;
use dac_types::{Address, B256, BatchDigest};

use super::tables::{Flaw, Line, MemberMemory, Tables};

/// How long after its answer a commit takes place with [`Flaw::AnswersBeforeCommit`].
const LATE: Duration = Duration::from_millis(400);

impl Tables {
    /// Applies a commit, or returns why not.
    fn store(&mut self, shard: ShardId, entry: &Entry) -> Commit<Place> {
        let Entry { digest, record, shard: verified, authority } = entry;
        let header = record.header();
        let former = self.batches.get(digest);
        if let Some(former) = former.filter(|former| !former.corrupt) {
            return Commit::Stored(Place { seat: former.seat, shard: former.shard });
        }
        let replaced = former.map(|former| former.shard);
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
        let line = Line {
            sequence,
            seat: verified.seat(),
            record: Arc::clone(record),
            shard,
            leaf_hashes: verified.tree().leaf_hashes().to_vec(),
            length: verified.length(),
            keep_until: header.expires_at.max(kept).max(self.keep_until(*digest, header.rollup)),
            corrupt: false,
        };
        self.batches.insert(*digest, line);
        self.last_commit = Some(*digest);
        if let Some(replaced) = replaced {
            self.shards.remove(&replaced);
        }
        Commit::Stored(Place { seat: verified.seat(), shard })
    }
}

#[async_trait]
impl Catalog for MemberMemory {
    async fn find(&self, digest: BatchDigest) -> Result<Option<Holding>, StoreError> {
        let tables = self.tables();
        Ok(tables.batches.get(&digest).map(|line| Holding {
            digest,
            seat: line.seat,
            shard: line.shard,
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
        let tables = self.tables();
        Ok(SubmissionFacts {
            header: tables.headers.get(&(submission, epoch)).map(|(digest, _)| *digest),
            charged: tables.charged.contains_key(&submission),
            spent_bytes: tables.spent.get(&(quota.rollup, quota.day)).copied().unwrap_or(0),
        })
    }

    async fn commit(&self, sealed: Sealed, entry: Entry) -> Result<Commit<Place>, StoreError> {
        let (shard, last) = sealed.into_parts();
        let seat = entry.shard.seat();
        let work = move |tables: &mut Tables| {
            if let LastRows::Inline { rows, .. } = last {
                tables.shards.entry(shard).or_default().extend(rows);
            }
            tables.store(shard, &entry)
        };
        if self.flaw() == Some(Flaw::AnswersBeforeCommit) {
            let early = Commit::Stored(Place { seat, shard });
            let store = self.clone();
            tokio::spawn(async move {
                tokio::time::sleep(LATE).await;
                work(&mut store.tables());
            });
            return Ok(early);
        }
        self.commit(work).await
    }

    async fn has_shard(&self, shard: ShardId) -> Result<bool, StoreError> {
        Ok(self.tables().line_of(shard).is_some())
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
        let tables = self.tables();
        let hashes = tables.line_of(shard).map(|line| line.leaf_hashes.clone());
        Ok(hashes.filter(|hashes| !hashes.is_empty()))
    }

    async fn list(&self, rollup: Option<Address>, after: u64, limit: u32) -> Result<Vec<Listed>, StoreError> {
        let tables = self.tables();
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
        let tables = self.tables();
        let bytes = tables.batches.values().map(|line| line.length as u64).sum();
        Ok(Totals { batches: tables.batches.len() as u64, bytes })
    }

    async fn mark_corrupt(&self, digest: BatchDigest, shard: Option<ShardId>) -> Result<bool, StoreError> {
        self.commit(move |tables| {
            let line = tables.batches.get_mut(&digest);
            let line = line.filter(|line| !line.corrupt && shard.is_none_or(|shard| shard == line.shard));
            line.map(|line| line.corrupt = true).is_some()
        })
        .await
    }

    async fn add_bad_seat(&self, bad: BadSeat) -> Result<(), StoreError> {
        self.commit(move |tables| {
            let header = bad.record.header();
            let keep_until = header.expires_at.max(tables.keep_until(bad.digest, header.rollup));
            tables.bad_seats.entry(bad.digest).or_insert((bad, keep_until));
        })
        .await
    }

    async fn bad_seat(&self, digest: BatchDigest) -> Result<Option<BadSeat>, StoreError> {
        Ok(self.tables().bad_seats.get(&digest).map(|(bad, _)| bad.clone()))
    }

    async fn bad_seats(&self, limit: u32) -> Result<Vec<BadSeatLine>, StoreError> {
        let tables = self.tables();
        let mut lines: Vec<BadSeatLine> = tables
            .bad_seats
            .values()
            .map(|(bad, _)| BadSeatLine { digest: bad.digest, seat: bad.seat, found_at: bad.found_at })
            .collect();
        lines.sort_unstable_by_key(|line| (std::cmp::Reverse(line.found_at), line.digest));
        lines.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
        Ok(lines)
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
                if let Some(line) = tables.batches.remove(digest) {
                    tables.shards.remove(&line.shard);
                }
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
}
