//! What L1 says is owed, against what is held.

use dac_chain::feed::{Cursor, Fact, Origin};
use dac_chain::testing::FakeEvents;

use super::*;

const LOG: Origin = Origin::Log(Address::repeat_byte(0x10));
const SETTLEMENT: Origin = Origin::Settlement(ROLLUP);
const LONGER: u64 = NOW + 1_000_000;

fn recorded(batch: &Batch, block: u64) -> Fact {
    match FakeEvents::recorded(batch.digest, &batch.header) {
        Fact::Recorded(certificate) => {
            Fact::Recorded(dac_chain::RecordedCertificate { block, ..certificate })
        }
        other => other,
    }
}

fn settled(batch: &Batch, block: u64) -> Fact {
    match FakeEvents::settled(batch.digest, &batch.header) {
        Fact::Settled { rollup, batch } => {
            Fact::Settled { rollup, batch: dac_chain::SettledBatch { block, ..batch } }
        }
        other => other,
    }
}

fn renewal(last_batch: u64, expires_at: u64) -> dac_types::CoverageRenewal {
    dac_types::CoverageRenewal { rollup: ROLLUP, last_batch, expires_at, epoch: EPOCH }
}

fn asked(renewal: dac_types::CoverageRenewal) -> RenewalAsked {
    RenewalAsked { renewal, seat: SEAT, since_epoch: 1, keep_until: renewal.expires_at }
}

impl Suite {
    async fn learn(&self, origin: Origin, facts: Vec<Fact>) {
        self.store.learn(facts, Cursor::new(origin, 100)).await.unwrap();
    }

    /// Batches numbered from 1, all of them settled and in the log.
    async fn owing(backend: Backend, count: u64) -> (Self, Vec<Batch>) {
        let suite = Self::new(backend).await;
        let batches: Vec<Batch> = (1..=count).map(|seed| suite.world.batch(seed, 1000)).collect();
        suite
            .learn(LOG, batches.iter().map(|batch| recorded(batch, batch.header.batch_number)).collect())
            .await;
        suite
            .learn(
                SETTLEMENT,
                batches.iter().map(|batch| settled(batch, batch.header.batch_number)).collect(),
            )
            .await;
        suite.store.assign(vec![(EPOCH, SEAT)]).await.unwrap();
        (suite, batches)
    }

    async fn counts(&self) -> DutyCounts {
        self.store.duty_counts(NOW).await.unwrap()
    }

    /// All that is wanted, rollup by rollup.
    async fn wanted_shards(&self) -> Vec<Wanted> {
        let mut all = Vec::new();
        for rollup in self.store.wanted_rollups().await.unwrap() {
            let wanted = self.store.wanted(NOW, rollup, None, 100).await.unwrap();
            // In pages of one it is the same list.
            let (mut paged, mut after) = (Vec::new(), None);
            while let Some(next) = self.store.wanted(NOW, rollup, after, 1).await.unwrap().pop() {
                after = Some(next.place());
                paged.push(next);
            }
            assert_eq!(paged, wanted);
            assert!(wanted.iter().all(|wanted| wanted.batch.rollup == rollup));
            all.extend(wanted);
        }
        all
    }

    async fn wanted(&self) -> Vec<BatchDigest> {
        self.wanted_shards().await.iter().map(|wanted| wanted.batch.digest).collect()
    }

    async fn bad(&self, batch: &Batch) -> BadSeat {
        BadSeat { digest: batch.digest, seat: SEAT, found_at: NOW, record: batch.checked_record(SEAT) }
    }
}

async fn cursors_come_back_as_they_were_left(backend: Backend) {
    let mut suite = Suite::new(backend).await;
    assert_eq!(suite.store.cursors().await.unwrap(), []);
    for (origin, since) in [(SETTLEMENT, 7), (LOG, 0), (LOG, u64::MAX)] {
        suite.store.learn(Vec::new(), Cursor::new(origin, since)).await.unwrap();
    }
    suite.restart().await;
    let expected = [Cursor::new(LOG, u64::MAX), Cursor::new(SETTLEMENT, 7)];
    assert_eq!(suite.store.cursors().await.unwrap(), expected);
}

async fn what_is_owed_is_wanted_until_it_is_held(backend: Backend) {
    let (suite, batches) = Suite::owing(backend, 3).await;
    assert_eq!(suite.counts().await, DutyCounts { owed: 3, missing: 3, ..DutyCounts::default() });
    assert_eq!(suite.wanted().await.len(), 3);
    suite.hold(&batches[1]).await;
    assert_eq!(suite.counts().await, DutyCounts { owed: 3, held: 1, missing: 2, ..DutyCounts::default() });
    let wanted = suite.wanted_shards().await;
    assert!(wanted.iter().all(|wanted| wanted.batch.digest != batches[1].digest && wanted.seat == SEAT));
    let number = wanted[0].batch.batch_number;
    assert_eq!(wanted[0].evidence, Some(L1Evidence::Settled { block: number }));
    // Of epochs in which no seat is ours nothing is owed, and of what has expired neither.
    suite.store.assign(vec![(EPOCH + 1, SEAT)]).await.unwrap();
    assert_eq!((suite.counts().await.owed, suite.wanted().await), (0, vec![]));
    suite.store.assign(vec![(EPOCH, SEAT)]).await.unwrap();
    assert_eq!(suite.store.duty_counts(NOW + 3600).await.unwrap().owed, 3, "expiresAt itself is served");
    assert_eq!(suite.store.duty_counts(NOW + 3601).await.unwrap().owed, 0);
}

async fn the_shortest_kept_is_wanted_first(backend: Backend) {
    let suite = Suite::new(backend).await;
    let batches: Vec<Batch> = [50, 10, 30, 10, 20]
        .into_iter()
        .zip(1..)
        .map(|(rest, seed)| {
            let wish = Wish { batch_number: seed, expires_at: NOW + rest, ..Wish::default() };
            suite.world.batch_with(seed, 100, &wish)
        })
        .collect();
    suite.learn(LOG, batches.iter().map(|batch| recorded(batch, 1)).collect()).await;
    suite.store.assign(vec![(EPOCH, SEAT)]).await.unwrap();
    let mut expected: Vec<_> = batches.iter().map(|batch| (batch.header.expires_at, batch.digest)).collect();
    expected.sort_unstable();
    let expected: Vec<_> = expected.into_iter().map(|(_, digest)| digest).collect();
    assert_eq!(suite.wanted().await, expected);
}

async fn what_a_reorganisation_takes_back_is_owed_no_more_and_stays_stored(backend: Backend) {
    let (suite, batches) = Suite::owing(backend, 4).await;
    for batch in &batches {
        suite.hold(batch).await;
    }
    suite.store.unlearn(2, Cursor::new(LOG, 3)).await.unwrap();
    assert_eq!(suite.counts().await.owed, 4, "the rollup's contract still says so");
    suite.store.unlearn(1, Cursor::new(SETTLEMENT, 2)).await.unwrap();
    assert_eq!((suite.counts().await.owed, suite.count("duties").await), (2, 2));
    assert_eq!(suite.store.totals().await.unwrap().batches, 4);
    for batch in &batches {
        suite.assert_intact(batch).await;
    }
    assert_eq!(suite.store.cursors().await.unwrap(), [Cursor::new(LOG, 3), Cursor::new(SETTLEMENT, 2)]);
    // Begun again from nothing, and read once more.
    suite.store.unlearn(0, Cursor::new(LOG, 0)).await.unwrap();
    suite.store.unlearn(0, Cursor::new(SETTLEMENT, 0)).await.unwrap();
    assert_eq!((suite.counts().await.owed, suite.count("duties").await), (0, 0));
    suite.learn(LOG, batches.iter().map(|batch| recorded(batch, 9)).collect()).await;
    assert_eq!(suite.counts().await, DutyCounts { owed: 4, held: 4, ..DutyCounts::default() });
}

async fn a_contract_speaks_for_its_own_rollup_only(backend: Backend) {
    let suite = Suite::new(backend).await;
    let (batch, liar) = (suite.world.batch(1, 1000), Address::repeat_byte(0x66));
    suite.store.assign(vec![(EPOCH, SEAT)]).await.unwrap();
    let claim = dac_types::BatchHeader { rollup: liar, expires_at: u64::MAX, ..batch.header.clone() };
    suite.learn(Origin::Settlement(liar), vec![FakeEvents::settled(batch.digest, &claim)]).await;
    suite.learn(SETTLEMENT, vec![settled(&batch, 2)]).await;
    suite.hold(&batch).await;
    // Renewing the lie keeps nothing of others for longer.
    let lie = FakeEvents::renewed(liar, 1, EPOCH, u64::MAX);
    suite.learn(Origin::Settlement(liar), vec![lie]).await;
    let cover =
        suite.cover(asked(dac_types::CoverageRenewal { rollup: liar, ..renewal(1, LONGER) })).await.unwrap();
    assert_eq!(cover, Err(Lacking::Shards { missing: 1, first: 1 }));
    suite.store.refute(batch.digest, liar).await.unwrap();
    assert_eq!(suite.counts().await, DutyCounts { owed: 1, held: 1, ..DutyCounts::default() });
    assert_eq!(suite.store.delete_expired(NOW + 3601, &[], 10).await.unwrap(), 1);
}

async fn what_is_corrupt_is_wanted_and_replaced(backend: Backend) {
    let mut suite = Suite::new(backend).await;
    let (kept, damaged) = (suite.world.batch(1, LARGE), suite.world.batch(2, LARGE));
    suite.hold(&damaged).await;
    suite.hold(&kept).await;
    suite.store.damage("UPDATE shard_rows SET data = substr(data, 2) WHERE row_index = 1").await;
    let shard = suite.store.find(kept.digest).await.unwrap().unwrap().shard;
    assert!(!suite.store.mark_corrupt(damaged.digest, Some(shard)).await.unwrap(), "another shard was meant");
    assert!(suite.store.mark_corrupt(damaged.digest, None).await.unwrap());
    assert!(!suite.store.mark_corrupt(damaged.digest, None).await.unwrap(), "no news");
    assert!(!suite.store.mark_corrupt(BatchDigest(B256::ZERO), None).await.unwrap());
    suite.restart().await;
    let found = suite.store.find(damaged.digest).await.unwrap().unwrap();
    assert!(found.is_corrupt);
    // Though L1 has never heard of it: what was stored was promised.
    assert_eq!(suite.wanted().await, [damaged.digest]);
    let wanted = suite.wanted_shards().await[0];
    assert_eq!((wanted.evidence, wanted.is_corrupt, wanted.seat), (None, true, SEAT));
    assert_eq!(suite.counts().await, DutyCounts { corrupt: 1, ..DutyCounts::default() });
    suite.learn(LOG, vec![recorded(&damaged, 1)]).await;
    suite.store.assign(vec![(EPOCH, SEAT)]).await.unwrap();
    assert_eq!(suite.counts().await, DutyCounts { owed: 1, corrupt: 1, ..DutyCounts::default() });
    assert_eq!(suite.wanted().await, [damaged.digest]);

    let totals = suite.store.totals().await.unwrap();
    let authority = Authority::Certificate { submission: submission(&suite, &damaged) };
    assert_eq!(suite.put_as(&damaged, authority).await.unwrap(), stored(&damaged));
    suite.assert_intact(&damaged).await;
    assert!(!suite.store.find(damaged.digest).await.unwrap().unwrap().is_corrupt);
    assert_eq!(suite.store.totals().await.unwrap(), totals);
    assert_eq!(suite.count("shard_rows").await, 2 * 9);
    assert_eq!(suite.count("shard_trees").await, 2);
    assert_eq!(suite.store.stored_after(0, 10).await.unwrap(), [(1, damaged.digest), (2, kept.digest)]);
    assert_eq!(suite.wanted().await, []);
}

async fn a_failed_replacement_leaves_what_was_there(backend: Backend) {
    let suite = Suite::new(backend).await;
    let batch = suite.world.batch(1, LARGE);
    suite.hold(&batch).await;
    suite.store.mark_corrupt(batch.digest, None).await.unwrap();
    suite.store.fail_next_commit(CommitFault::NotPersisted);
    assert!(matches!(suite.put(&batch).await, Err(IntakeError::Store(StoreError::Database(_)))));
    wait_until_swept(&suite).await;
    assert!(suite.store.find(batch.digest).await.unwrap().unwrap().is_corrupt);
    suite.assert_intact(&batch).await;
    suite.store.fail_next_commit(CommitFault::AnswerLost);
    suite.hold(&batch).await;
    assert!(!suite.store.find(batch.digest).await.unwrap().unwrap().is_corrupt);
}

async fn bad_seats_are_kept_with_their_records(backend: Backend) {
    let (mut suite, batches) = Suite::owing(backend, 2).await;
    let bad = suite.bad(&batches[0]).await;
    for _ in 0..2 {
        suite.store.add_bad_seat(bad.clone()).await.unwrap();
    }
    suite.restart().await;
    let found = suite.store.bad_seat(batches[0].digest).await.unwrap().unwrap();
    assert_eq!((found.seat, found.found_at, found.record.header()), (SEAT, NOW, &batches[0].header));
    assert!(suite.store.bad_seat(batches[1].digest).await.unwrap().is_none());
    let line = BadSeatLine { digest: batches[0].digest, seat: SEAT, found_at: NOW };
    assert_eq!(suite.store.bad_seats(10).await.unwrap(), [line]);
    assert_eq!(suite.counts().await, DutyCounts { owed: 2, missing: 1, bad: 1, ..DutyCounts::default() });
    assert_eq!(suite.wanted().await, [batches[1].digest]);
    suite.store.damage("UPDATE bad_seats SET record = substr(record, 2)").await;
    assert!(matches!(suite.store.bad_seat(batches[0].digest).await, Err(StoreError::Corrupt { .. })));
    suite.store.delete_expired(NOW + 3600, &[], 10).await.unwrap();
    assert_eq!(suite.count("bad_seats").await, 1);
    suite.store.delete_expired(NOW + 3601, &[], 10).await.unwrap();
    assert_eq!(suite.count("bad_seats").await, 0);
}

async fn renewals_are_covered_when_everything_is_held(backend: Backend) {
    let _counted = dac_measure::counted!(Renewal, 1);
    let (mut suite, batches) = Suite::owing(backend, 3).await;
    let cover = async |suite: &Suite, last| suite.cover(asked(renewal(last, LONGER))).await.unwrap();
    assert_eq!(cover(&suite, 4).await, Err(Lacking::Settlements { last: 3 }));
    assert_eq!(cover(&suite, 3).await, Err(Lacking::Shards { missing: 3, first: 1 }));
    suite.hold(&batches[0]).await;
    suite.hold(&batches[2]).await;
    assert_eq!(cover(&suite, 3).await, Err(Lacking::Shards { missing: 1, first: 2 }));
    assert!(matches!(cover(&suite, 1).await, Ok(covered) if covered.renewal() == renewal(1, LONGER)));
    suite.hold(&batches[1]).await;
    // The renewal of the first alone keeps nobody else.
    assert_eq!(suite.store.delete_expired(NOW + 3600, &[], 10).await.unwrap(), 0);
    assert!(cover(&suite, 3).await.is_ok());
    suite.restart().await;
    assert_eq!(suite.store.delete_expired(LONGER, &[], 10).await.unwrap(), 0);
    for batch in &batches {
        suite.assert_intact(batch).await;
    }
    assert_eq!(suite.store.duty_counts(LONGER).await.unwrap().held, 3, "owed for as long");
    assert_eq!(suite.store.delete_expired(LONGER + 1, &[], 10).await.unwrap(), 3);
    assert_eq!((suite.count("duties").await, suite.count("renewals").await), (0, 0));
    // Those that expired are not held.
    let late = suite.world.batch(4, 1000);
    suite.learn(SETTLEMENT, vec![settled(&late, 50)]).await;
    suite.hold(&late).await;
    assert_eq!(cover(&suite, 4).await, Err(Lacking::Shards { missing: 3, first: 1 }));
}

async fn nothing_is_covered_that_is_not_whole(backend: Backend) {
    let _counted = dac_measure::counted!(Renewal, 1);
    let (suite, batches) = Suite::owing(backend, 3).await;
    for batch in &batches {
        suite.hold(batch).await;
    }
    let not_held = |first| Err(Lacking::Shards { missing: 1, first });
    let repair = async |batch: &Batch| suite.hold(batch).await;
    for (damage, batch) in [
        ("DELETE FROM shard_rows WHERE shard = (SELECT shard FROM batches WHERE sequence = 1)", 0),
        ("DELETE FROM shard_trees WHERE shard = (SELECT shard FROM batches WHERE sequence = 2)", 1),
        (
            "UPDATE records SET record = substr(record, 2) WHERE shard = (SELECT shard FROM batches WHERE sequence = 3)",
            2,
        ),
    ] {
        suite.store.damage(damage).await;
        let number = batches[batch].header.batch_number;
        assert_eq!(suite.cover(asked(renewal(3, LONGER))).await.unwrap(), not_held(number), "{damage}");
        assert_eq!(suite.counts().await.corrupt, 1, "it is marked");
        repair(&batches[batch]).await;
        assert_eq!(suite.counts().await.corrupt, 0);
    }
    suite.store.mark_corrupt(batches[1].digest, None).await.unwrap();
    assert_eq!(suite.cover(asked(renewal(3, LONGER))).await.unwrap(), not_held(2));
    repair(&batches[1]).await;
    suite.store.refute(batches[2].digest, ROLLUP).await.unwrap();
    assert_eq!(suite.cover(asked(renewal(3, LONGER))).await.unwrap(), not_held(3));
    assert!(suite.cover(asked(renewal(2, LONGER))).await.unwrap().is_ok());
}

async fn the_log_is_right_where_a_contract_lied_before(backend: Backend) {
    let suite = Suite::new(backend).await;
    let batch = suite.world.batch(1, 1000);
    suite.store.assign(vec![(EPOCH, SEAT), (EPOCH + 1, Seat(0))]).await.unwrap();
    let claim = dac_types::BatchHeader { epoch: EPOCH + 1, batch_number: 7, ..batch.header.clone() };
    suite.learn(SETTLEMENT, vec![FakeEvents::settled(batch.digest, &claim)]).await;
    suite.store.refute(batch.digest, ROLLUP).await.unwrap();
    assert_eq!(suite.wanted().await, []);
    suite.learn(LOG, vec![recorded(&batch, 9)]).await;
    let wanted = suite.wanted_shards().await;
    assert_eq!((wanted[0].seat, wanted[0].batch.epoch, wanted[0].batch.batch_number), (SEAT, EPOCH, 1));
    // Nor does it change its mind for the contract's sake.
    suite.learn(SETTLEMENT, vec![FakeEvents::settled(batch.digest, &claim)]).await;
    assert_eq!(suite.wanted_shards().await[0].batch, wanted[0].batch);
}

async fn what_is_doubted_is_wanted_and_not_missing(backend: Backend) {
    let suite = Suite::new(backend).await;
    let (claimed, batch) = (suite.world.batch(1, 1000), suite.world.batch(2, 1000));
    suite.store.assign(vec![(EPOCH, SEAT)]).await.unwrap();
    suite.learn(SETTLEMENT, vec![settled(&claimed, 1), settled(&batch, 2)]).await;
    suite.learn(LOG, vec![recorded(&batch, 3)]).await;
    assert!(suite.store.doubt(claimed.digest, ROLLUP).await.unwrap());
    assert!(!suite.store.doubt(claimed.digest, ROLLUP).await.unwrap(), "no news");
    assert!(!suite.store.doubt(batch.digest, ROLLUP).await.unwrap(), "a quorum's word");
    let counts = suite.counts().await;
    assert_eq!(counts, DutyCounts { owed: 2, missing: 1, doubted: 1, ..DutyCounts::default() });
    assert_eq!(suite.wanted().await.len(), 2);
    assert_eq!(
        suite.cover(asked(renewal(1, LONGER))).await.unwrap(),
        Err(Lacking::Shards { missing: 1, first: 1 })
    );
    suite.learn(LOG, vec![recorded(&claimed, 4)]).await;
    assert_eq!((suite.counts().await.missing, suite.counts().await.doubted), (2, 0));
    suite.hold(&claimed).await;
    suite.hold(&batch).await;
    assert!(suite.counts().await.is_whole());
}

async fn a_contract_claims_so_many_batches_and_no_more(backend: Backend) {
    let suite = Suite::new(backend).await;
    let header = suite.world.batch(1, 1000).header;
    let claims = |numbers: std::ops::Range<u64>| -> Vec<Fact> {
        let claim = |number: u64| {
            let claim = dac_types::BatchHeader { batch_number: number, ..header.clone() };
            FakeEvents::settled(BatchDigest(dac_types::keccak256(number.to_be_bytes())), &claim)
        };
        numbers.map(claim).collect()
    };
    let learn = async |facts| suite.store.learn(facts, Cursor::new(SETTLEMENT, 1)).await.unwrap();
    let max = DUTIES_PER_ROLLUP_MAX;
    assert_eq!(learn(claims(1..max)).await, 0);
    assert_eq!(learn(claims(max..max + 3)).await, 2);
    assert_eq!(learn(claims(1..max + 1)).await, 0, "what is known may be said again");
    assert_eq!(suite.count("duties").await, i64::try_from(max).unwrap());
    // The log's word is a quorum's, and others have room of their own.
    let batch = suite.world.batch(1000, 1000);
    suite.learn(LOG, vec![recorded(&batch, 3)]).await;
    assert_eq!(learn(vec![settled(&batch, 4)]).await, 0);
    let other = dac_types::BatchHeader { rollup: Address::repeat_byte(0x66), ..header.clone() };
    assert_eq!(learn(vec![FakeEvents::settled(BatchDigest(B256::repeat_byte(3)), &other)]).await, 0);
    let refused = suite.cover(asked(renewal(max + 2, LONGER))).await.unwrap();
    assert!(matches!(refused, Err(Lacking::Shards { .. })), "{refused:?}");
}

async fn a_seat_promises_its_own_shards_only(backend: Backend) {
    let (suite, batches) = Suite::owing(backend, 2).await;
    for batch in &batches {
        suite.hold(batch).await;
    }
    // As of a member that moved to another seat: what it holds is what another member promises.
    let moved = RenewalAsked { seat: Seat(SEAT.0 - 1), ..asked(renewal(2, LONGER)) };
    assert_eq!(suite.cover(moved).await.unwrap(), Err(Lacking::Shards { missing: 2, first: 1 }));
    assert_eq!(suite.store.delete_expired(NOW + 3600, &[], 10).await.unwrap(), 0);
    // In batches from before n or k changed seats are others.
    let later = RenewalAsked { since_epoch: EPOCH + 1, ..moved };
    assert!(suite.cover(later).await.unwrap().is_ok());
    assert!(suite.cover(asked(renewal(2, LONGER))).await.unwrap().is_ok());
}

async fn what_was_looked_at_is_promised_again_without_a_look(backend: Backend) {
    let (suite, batches) = Suite::owing(backend, 3).await;
    for batch in &batches {
        suite.hold(batch).await;
    }
    let ask = |last, expires_at| RenewalAsked { keep_until: LONGER, ..asked(renewal(last, expires_at)) };
    let is_covered = async |asked| suite.cover(asked).await.unwrap().is_ok();
    assert!(is_covered(ask(2, NOW + 5000)).await);
    suite
        .store
        .damage("DELETE FROM shard_trees WHERE shard = (SELECT shard FROM batches WHERE sequence = 1)")
        .await;
    assert!(is_covered(ask(2, NOW + 5001)).await && is_covered(ask(1, LONGER)).await);
    // Only what comes after it; until a longer promise is asked for, for which all is looked at.
    assert!(is_covered(ask(3, NOW + 5001)).await);
    assert_eq!(suite.store.delete_expired(LONGER, &[], 10).await.unwrap(), 0, "kept for the whole step");
    let longer = asked(renewal(3, LONGER + 1));
    assert_eq!(suite.cover(longer).await.unwrap(), Err(Lacking::Shards { missing: 1, first: 1 }));
    // What is known to be corrupt is promised to nobody.
    assert_eq!(suite.cover(ask(1, NOW + 5001)).await.unwrap(), Err(Lacking::Shards { missing: 1, first: 1 }));
}

async fn renewals_seen_on_l1_keep_what_is_stored_before_and_after(backend: Backend) {
    let _counted = dac_measure::counted!(Retention, 1);
    let suite = Suite::new(backend).await;
    let batches: Vec<Batch> = (1..=4).map(|seed| suite.world.batch(seed, 1000)).collect();
    suite.hold(&batches[0]).await;
    suite.hold(&batches[3]).await;
    let renewed = FakeEvents::renewed(ROLLUP, 3, EPOCH, LONGER);
    // The second is settled by a block that was read after the renewal's: a reorganisation may do that.
    suite.learn(SETTLEMENT, vec![settled(&batches[0], 1), settled(&batches[2], 2), renewed]).await;
    suite.learn(SETTLEMENT, vec![settled(&batches[1], 4), settled(&batches[3], 5)]).await;
    suite.hold(&batches[1]).await;
    suite.hold(&batches[2]).await;
    let shorter = FakeEvents::renewed(ROLLUP, 4, EPOCH, NOW + 5);
    suite.learn(SETTLEMENT, vec![shorter]).await;
    // Taken back, it keeps all the same.
    suite.store.unlearn(0, Cursor::new(SETTLEMENT, 0)).await.unwrap();
    assert_eq!(suite.store.delete_expired(LONGER, &[], 10).await.unwrap(), 1);
    assert!(suite.store.find(batches[3].digest).await.unwrap().is_none(), "beyond the renewal's last batch");
    assert_eq!(suite.store.delete_expired(LONGER + 1, &[], 10).await.unwrap(), 3);
}

async fn the_place_of_re_verification_is_kept(backend: Backend) {
    let mut suite = Suite::new(backend).await;
    assert_eq!(suite.store.scrub().await.unwrap(), Scrub::default());
    let scrub = Scrub { after: 7, began_at: NOW, ended_at: NOW - 1 };
    suite.store.set_scrub(scrub).await.unwrap();
    suite.restart().await;
    assert_eq!(suite.store.scrub().await.unwrap(), scrub);
}

on_both_backends! {
    cursors_come_back_as_they_were_left,
    what_is_owed_is_wanted_until_it_is_held,
    the_shortest_kept_is_wanted_first,
    what_a_reorganisation_takes_back_is_owed_no_more_and_stays_stored,
    a_contract_speaks_for_its_own_rollup_only,
    what_is_corrupt_is_wanted_and_replaced,
    a_failed_replacement_leaves_what_was_there,
    bad_seats_are_kept_with_their_records,
    renewals_are_covered_when_everything_is_held,
    nothing_is_covered_that_is_not_whole,
    a_seat_promises_its_own_shards_only,
    the_log_is_right_where_a_contract_lied_before,
    what_is_doubted_is_wanted_and_not_missing,
    a_contract_claims_so_many_batches_and_no_more,
    what_was_looked_at_is_promised_again_without_a_look,
    renewals_seen_on_l1_keep_what_is_stored_before_and_after,
    the_place_of_re_verification_is_kept,
}
