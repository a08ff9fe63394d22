//! A candidate, the world that its batches come from, and the steps that many cases share.

use bytes::Bytes;
use dac_types::limits::{QUOTA_DAY_SECONDS, STORED_ROW_BYTES};
use dac_types::{B256, Domain, Seat};

use super::candidate::{Candidate, Census};
use crate::store::{
    Authority, Commit, Covered, Holding, Lacking, MemberStore, Piece, QuotaDay, RenewalAsked, StoreError,
    Stored, Totals,
};
use crate::testing::{Batch, DAILY_BYTES, NOW, ROLLUP, World};
use crate::verify::{IntakeError, intact_tree, row_is_intact, store_shard};

/// The seat of the member whose store is tested. It is a parity seat.
pub(crate) const SEAT: Seat = Seat(4);
/// The day on which the tests take place.
pub(crate) const DAY: QuotaDay = QuotaDay { rollup: ROLLUP, day: NOW / QUOTA_DAY_SECONDS };
/// The length of a payload whose shard has nine rows, so that some are put before the commit.
pub(crate) const LARGE: usize = 3 * 9 * STORED_ROW_BYTES;

/// Returns the domain of the batches of the suite, for stores that check records against it.
pub fn domain() -> Domain {
    World::new().domain
}

/// A candidate and the world that its batches come from.
pub(crate) struct Suite<C> {
    pub(crate) world: World,
    pub(crate) candidate: C,
}

impl<C: Candidate> Suite<C> {
    pub(crate) async fn new() -> Self {
        Self { world: World::new(), candidate: C::new().await }
    }

    pub(crate) fn store(&self) -> &MemberStore {
        self.candidate.store()
    }

    pub(crate) async fn restart(&mut self) {
        self.candidate.restart().await;
    }

    pub(crate) async fn put(&self, batch: &Batch) -> Result<Commit<Stored>, IntakeError> {
        self.put_with(batch, DAILY_BYTES).await
    }

    pub(crate) async fn put_with(
        &self,
        batch: &Batch,
        daily_payload_bytes: u64,
    ) -> Result<Commit<Stored>, IntakeError> {
        let authority = self.authority(batch, daily_payload_bytes);
        self.put_as(batch, authority).await
    }

    pub(crate) async fn put_as(
        &self,
        batch: &Batch,
        authority: Authority,
    ) -> Result<Commit<Stored>, IntakeError> {
        let (shard, record) = (batch.checked_shard(SEAT), batch.checked_record(SEAT));
        store_shard(&self.store().writer, shard, batch.digest, record, authority).await
    }

    pub(crate) fn authority(&self, batch: &Batch, daily_payload_bytes: u64) -> Authority {
        let submission = batch.submission.submission.digest(&self.world.domain);
        Authority::Submission { submission, quota: DAY, daily_payload_bytes }
    }

    pub(crate) async fn census(&self) -> Census {
        self.candidate.census().await
    }

    pub(crate) async fn assert_nothing_stored(&self) {
        assert_eq!(self.census().await, Census::default());
        assert_eq!(self.store().catalog.totals().await.unwrap(), Totals::default());
    }

    pub(crate) async fn cover(&self, asked: RenewalAsked) -> Result<Result<Covered, Lacking>, StoreError> {
        Covered::obtain(&*self.store().renewals, &*self.store().shards, asked).await
    }

    pub(crate) async fn hold(&self, batch: &Batch) {
        assert_eq!(self.put(batch).await.unwrap(), stored(batch));
    }

    pub(crate) async fn assert_intact(&self, batch: &Batch) {
        let holding = self.store().catalog.find(batch.digest).await.unwrap().expect("it is stored");
        assert_eq!((holding.digest, holding.seat), (batch.digest, SEAT));
        assert_eq!(holding.record.record().header, batch.header);
        assert_eq!(self.read(&holding).await, batch.shard(SEAT));
    }

    pub(crate) async fn read(&self, holding: &Holding) -> Bytes {
        let length = holding.record.shard_length();
        let hashes = self.store().catalog.leaf_hashes(holding.shard).await.unwrap().expect("a tree");
        let tree = intact_tree(&holding.record, holding.seat, hashes).expect("an intact tree");
        let mut shard = Vec::new();
        for index in 0..length.div_ceil(STORED_ROW_BYTES) {
            let row =
                self.store().shards.read(holding.shard, Piece::Row(index)).await.unwrap().expect("a row");
            assert!(row_is_intact(&tree, length, index, &row));
            shard.extend_from_slice(&row);
        }
        for index in [0, dac_types::Geometry::chunk_count(length) - 1] {
            let chunk =
                self.store().shards.read(holding.shard, Piece::Chunk(index)).await.unwrap().expect("a chunk");
            assert_eq!(dac_coding::merkle::leaf_hash(&chunk), tree.leaf_hashes()[index]);
        }
        assert_eq!(
            self.store()
                .shards
                .read(holding.shard, Piece::Row(length.div_ceil(STORED_ROW_BYTES)))
                .await
                .unwrap(),
            None
        );
        shard.into()
    }
}

/// Returns the answer to the commit of a batch that is stored.
pub(crate) fn stored(batch: &Batch) -> Commit<Stored> {
    Commit::Stored(Stored::new(batch.digest, SEAT))
}

/// Returns the digest of the submission of a batch.
pub(crate) fn submission<C: Candidate>(suite: &Suite<C>, batch: &Batch) -> B256 {
    batch.submission.submission.digest(&suite.world.domain)
}

/// Waits for the last of the clean-ups, which run in tasks of their own.
pub(crate) async fn wait_until_swept<C: Candidate>(suite: &Suite<C>) {
    let swept = async {
        while suite.store().writer.drafts() > 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(60), swept).await.expect("clean-ups end");
    suite.store().writer.sweep().await.unwrap();
}
