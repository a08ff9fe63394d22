//! What every store of a member must do, whatever it is made of. A new store runs this suite with
//! one line, see [`store_suite!`](crate::store_suite).

#![allow(missing_docs, reason = "the name of a test says what it tests")]
#![cfg_attr(not(test), allow(dead_code, reason = "a part of the fixture is for the tests of this crate"))]

mod keeping;
mod owing;
mod unreliable;

use async_trait::async_trait;
use bytes::Bytes;
use dac_types::limits::{QUOTA_DAY_SECONDS, STORED_ROW_BYTES};
use dac_types::{B256, BatchDigest, Domain, Seat};

use super::{
    Authority, Commit, Covered, Holding, Lacking, MemberStore, Piece, QuotaDay, RenewalAsked, StoreError,
    Stored, Totals,
};
use crate::testing::{Batch, DAILY_BYTES, NOW, ROLLUP, World};
use crate::verify::{IntakeError, intact_tree, row_is_intact, store_shard};

pub use keeping::*;
pub use owing::*;
pub use unreliable::*;

/// The seat of the member whose store is tested. It is a parity seat.
pub(crate) const SEAT: Seat = Seat(4);
/// The day on which the tests take place.
pub(crate) const DAY: QuotaDay = QuotaDay { rollup: ROLLUP, day: NOW / QUOTA_DAY_SECONDS };
/// The length of a payload whose shard has nine rows, so that some are put before the commit.
pub(crate) const LARGE: usize = 3 * 9 * STORED_ROW_BYTES;

/// A store that is put to the suite.
#[async_trait]
pub trait Candidate: Send + Sync + Sized + 'static {
    /// Makes an empty one.
    async fn new() -> Self;

    /// Returns the store.
    fn store(&self) -> &MemberStore;

    /// Opens it again after the death of its process, of which nothing is left but what is durable.
    async fn restart(&mut self);

    /// Counts everything that is in it.
    async fn census(&self) -> Census;

    /// Damages a stored batch behind the back of the store. Returns whether this store can have such
    /// a damage.
    async fn spoil(&self, digest: BatchDigest, damage: Damage) -> bool;
}

/// The number of things of each kind in a store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Census {
    /// Batches.
    pub batches: u64,
    /// Records of batches.
    pub records: u64,
    /// Rows of shards, of batches or not.
    pub rows: u64,
    /// Lists of the hashes of a shard.
    pub trees: u64,
    /// Shards that no batch has.
    pub unclaimed: u64,
    /// Headers of submissions.
    pub headers: u64,
    /// Submissions that were charged.
    pub charged: u64,
    /// Days on which a rollup has spent something.
    pub quota_days: u64,
    /// Batches on L1.
    pub duties: u64,
    /// Renewals on L1.
    pub renewals: u64,
    /// Batches with a bad seat.
    pub bad_seats: u64,
}

/// What goes wrong with a stored batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Damage {
    /// The row at this index lacks its first byte.
    RowCut(usize),
    /// The row at this index is gone.
    RowLost(usize),
    /// The hashes of the chunks are gone.
    TreeLost,
    /// The record lacks its first byte.
    RecordCut,
}

/// Returns the domain of the batches of the suite, for stores that check records against it.
pub fn domain() -> Domain {
    World::new().domain
}

/// Runs the suite on a [`Candidate`], one test a case.
#[macro_export]
macro_rules! store_suite {
    ($candidate:ty) => {
        $crate::store_suite! { $candidate:
            shards_of_all_sizes_come_back,
            storing_twice_is_storing_once,
            uploads_of_one_batch_race_and_all_get_the_receipt,
            a_dropped_upload_leaves_nothing,
            a_killed_process_leaves_nothing_that_the_next_one_keeps,
            rows_that_do_not_make_up_the_shard_are_refused,
            one_header_for_a_submission_in_an_epoch,
            a_certified_header_takes_its_submission,
            rivals_race_and_one_wins,
            uploads_race_and_do_not_overspend,
            a_certificate_is_added_once,
            listings_follow_the_order_of_storing,
            what_has_expired_goes_and_the_rest_stays,
            damaged_bytes_are_read_as_they_are,
            cursors_come_back_as_they_were_left,
            what_is_owed_is_wanted_until_it_is_held,
            the_shortest_kept_is_wanted_first,
            what_a_reorganisation_takes_back_is_owed_no_more_and_stays_stored,
            a_contract_speaks_for_its_own_rollup_only,
            what_is_corrupt_is_wanted_and_replaced,
            bad_seats_are_kept_with_their_records,
            renewals_are_covered_when_everything_is_held,
            nothing_is_covered_that_is_not_whole,
            the_log_is_right_where_a_contract_lied_before,
            what_is_doubted_is_wanted_and_not_missing,
            a_seat_promises_its_own_shards_only,
            renewals_seen_on_l1_keep_what_is_stored_before_and_after,
            the_place_of_re_verification_is_kept,
            receipts_are_true_over_an_unreliable_store,
        }
    };
    ($candidate:ty: $($name:ident),* $(,)?) => {
        $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $name() {
            $crate::store::suite::$name::<$candidate>().await;
        })*
    };
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

/// The receipt of a batch.
pub(crate) fn stored(batch: &Batch) -> Commit<Stored> {
    Commit::Stored(Stored::new(batch.digest, SEAT))
}

/// The digest of the submission of a batch.
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
