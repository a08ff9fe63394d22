//! A store whose calls fail at random, for tests. Some calls are not made, and of others the answer
//! is lost. The caller cannot tell which.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use dac_bls::CheckedCertificate;
use dac_database::DatabaseError;
use dac_types::{Address, B256, BatchDigest};

use super::{
    BadSeat, BadSeatLine, Catalog, Commit, Entry, Holding, Lacking, Listed, MemberStore, Piece, Place,
    QuotaDay, RenewalAsked, Renewals, Seal, Sealed, ShardId, ShardStore, StoreError, SubmissionFacts, Totals,
    Writer,
};

/// One call in this many is not made, and one in as many loses its answer.
const ONE_IN: u64 = 6;

/// One half of a store, with calls that fail.
struct Unreliable<T: ?Sized> {
    inner: Arc<T>,
    dice: Arc<Dice>,
}

/// Makes an unreliable store of a good one. Which calls fail depends on the seed.
pub fn unreliable(store: &MemberStore, seed: u64) -> MemberStore {
    let dice = Arc::new(Dice(AtomicU64::new(seed)));
    let shards: Arc<dyn ShardStore> =
        Arc::new(Unreliable { inner: Arc::clone(&store.shards), dice: Arc::clone(&dice) });
    let catalog: Arc<dyn Catalog> =
        Arc::new(Unreliable { inner: Arc::clone(&store.catalog), dice: Arc::clone(&dice) });
    let renewals = Arc::new(Unreliable { inner: Arc::clone(&store.renewals), dice });
    let writer = Writer::new(Arc::clone(&shards), Arc::clone(&catalog));
    MemberStore { shards, catalog, renewals, writer, ..store.clone() }
}

/// What happens to a call.
enum Fate {
    Made,
    NotMade,
    AnswerLost,
}

/// A sequence of numbers that look random, after SplitMix64.
struct Dice(AtomicU64);

impl Dice {
    fn roll(&self) -> Fate {
        const STEP: u64 = 0x9e37_79b9_7f4a_7c15;
        let mut number = self.0.fetch_add(STEP, Ordering::Relaxed).wrapping_add(STEP);
        number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        match (number ^ (number >> 31)) % ONE_IN {
            0 => Fate::NotMade,
            1 => Fate::AnswerLost,
            _ => Fate::Made,
        }
    }
}

impl<T: ?Sized> Unreliable<T> {
    async fn call<R: Send>(
        &self,
        call: impl Future<Output = Result<R, StoreError>> + Send,
    ) -> Result<R, StoreError> {
        match self.dice.roll() {
            Fate::Made => call.await,
            Fate::NotMade => Err(DatabaseError::Closed.into()),
            Fate::AnswerLost => {
                call.await?;
                Err(DatabaseError::Closed.into())
            }
        }
    }
}

#[async_trait]
impl ShardStore for Unreliable<dyn ShardStore> {
    async fn put(&self, shard: ShardId, first: usize, rows: Vec<Bytes>) -> Result<(), StoreError> {
        self.call(self.inner.put(shard, first, rows)).await
    }

    async fn seal(&self, seal: Seal, rows: Vec<Bytes>) -> Result<Sealed, StoreError> {
        self.call(self.inner.seal(seal, rows)).await
    }

    async fn read(&self, shard: ShardId, piece: Piece) -> Result<Option<Bytes>, StoreError> {
        self.call(self.inner.read(shard, piece)).await
    }

    async fn are_whole(&self, shards: &[(ShardId, usize)]) -> Result<Vec<bool>, StoreError> {
        self.call(self.inner.are_whole(shards)).await
    }

    async fn delete(&self, shard: ShardId) -> Result<(), StoreError> {
        self.call(self.inner.delete(shard)).await
    }

    async fn unclaimed(&self) -> Result<Vec<ShardId>, StoreError> {
        self.call(self.inner.unclaimed()).await
    }
}

#[async_trait]
impl Catalog for Unreliable<dyn Catalog> {
    async fn find(&self, digest: BatchDigest) -> Result<Option<Holding>, StoreError> {
        self.call(self.inner.find(digest)).await
    }

    async fn submission_facts(
        &self,
        submission: B256,
        epoch: u64,
        quota: QuotaDay,
    ) -> Result<SubmissionFacts, StoreError> {
        self.call(self.inner.submission_facts(submission, epoch, quota)).await
    }

    async fn commit(&self, sealed: Sealed, entry: Entry) -> Result<Commit<Place>, StoreError> {
        self.call(self.inner.commit(sealed, entry)).await
    }

    async fn has_shard(&self, shard: ShardId) -> Result<bool, StoreError> {
        self.call(self.inner.has_shard(shard)).await
    }

    async fn attach_certificate(&self, certificate: &CheckedCertificate) -> Result<(), StoreError> {
        self.call(self.inner.attach_certificate(certificate)).await
    }

    async fn leaf_hashes(&self, shard: ShardId) -> Result<Option<Vec<B256>>, StoreError> {
        self.call(self.inner.leaf_hashes(shard)).await
    }

    async fn list(&self, rollup: Option<Address>, after: u64, limit: u32) -> Result<Vec<Listed>, StoreError> {
        self.call(self.inner.list(rollup, after, limit)).await
    }

    async fn totals(&self) -> Result<Totals, StoreError> {
        self.call(self.inner.totals()).await
    }

    async fn mark_corrupt(&self, digest: BatchDigest, shard: Option<ShardId>) -> Result<bool, StoreError> {
        self.call(self.inner.mark_corrupt(digest, shard)).await
    }

    async fn add_bad_seat(&self, bad: BadSeat) -> Result<(), StoreError> {
        self.call(self.inner.add_bad_seat(bad)).await
    }

    async fn bad_seat(&self, digest: BatchDigest) -> Result<Option<BadSeat>, StoreError> {
        self.call(self.inner.bad_seat(digest)).await
    }

    async fn bad_seats(&self, limit: u32) -> Result<Vec<BadSeatLine>, StoreError> {
        self.call(self.inner.bad_seats(limit)).await
    }

    async fn delete_expired(&self, before: u64, spared: &[Address], limit: u32) -> Result<u64, StoreError> {
        self.call(self.inner.delete_expired(before, spared, limit)).await
    }
}

#[async_trait]
impl Renewals for Unreliable<dyn Renewals> {
    async fn last_settled(&self, rollup: Address) -> Result<u64, StoreError> {
        self.call(self.inner.last_settled(rollup)).await
    }

    async fn cover(
        &self,
        shards: &dyn ShardStore,
        asked: RenewalAsked,
    ) -> Result<Result<(), Lacking>, StoreError> {
        self.call(self.inner.cover(shards, asked)).await
    }
}
