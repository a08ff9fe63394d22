//! Tests which shards are owed according to L1, compared with those that are held.

use dac_chain::feed::{Cursor, Fact, Origin};
use dac_chain::testing::FakeEvents;
use dac_types::{Address, B256, BatchDigest, Seat};

use super::{Candidate, Damage, LARGE, SEAT, Suite, stored, submission};
use crate::store::{
    Authority, BadSeat, BadSeatLine, DutyCounts, L1Evidence, Lacking, RenewalAsked, Scrub, Wanted,
};
use crate::testing::{Batch, EPOCH, NOW, ROLLUP, Wish};

pub(crate) const LOG: Origin = Origin::Log(Address::repeat_byte(0x10));
pub(crate) const SETTLEMENT: Origin = Origin::Settlement(ROLLUP);
pub(crate) const LONGER: u64 = NOW + 1_000_000;

pub(crate) fn recorded(batch: &Batch, block: u64) -> Fact {
    match FakeEvents::recorded(batch.digest, &batch.header) {
        Fact::Recorded(certificate) => {
            Fact::Recorded(dac_chain::RecordedCertificate { block, ..certificate })
        }
        other => other,
    }
}

pub(crate) fn settled(batch: &Batch, block: u64) -> Fact {
    match FakeEvents::settled(batch.digest, &batch.header) {
        Fact::Settled { rollup, batch } => {
            Fact::Settled { rollup, batch: dac_chain::SettledBatch { block, ..batch } }
        }
        other => other,
    }
}

pub(crate) fn renewal(last_batch: u64, expires_at: u64) -> dac_types::CoverageRenewal {
    dac_types::CoverageRenewal { rollup: ROLLUP, last_batch, expires_at, epoch: EPOCH }
}

pub(crate) fn asked(renewal: dac_types::CoverageRenewal) -> RenewalAsked {
    RenewalAsked { renewal, seat: SEAT, since_epoch: 1, keep_until: renewal.expires_at }
}

impl<C: Candidate> Suite<C> {
    pub(crate) async fn learn(&self, origin: Origin, facts: Vec<Fact>) {
        self.store().duties.learn(facts, Cursor::new(origin, 100)).await.unwrap();
    }

    pub(crate) async fn owing(count: u64) -> (Self, Vec<Batch>) {
        let suite = Self::new().await;
        let batches = suite.owe(count).await;
        (suite, batches)
    }

    /// Makes batches numbered from 1, all of them settled and in the log.
    pub(crate) async fn owe(&self, count: u64) -> Vec<Batch> {
        let batches: Vec<Batch> = (1..=count).map(|seed| self.world.batch(seed, 1000)).collect();
        let numbered = |fact: fn(&Batch, u64) -> Fact| -> Vec<Fact> {
            batches.iter().map(|batch| fact(batch, batch.header.batch_number)).collect()
        };
        self.learn(LOG, numbered(recorded)).await;
        self.learn(SETTLEMENT, numbered(settled)).await;
        self.store().duties.assign(vec![(EPOCH, SEAT)]).await.unwrap();
        batches
    }

    pub(crate) async fn counts(&self) -> DutyCounts {
        self.store().duties.duty_counts(NOW).await.unwrap()
    }

    /// Returns all shards that are wanted, rollup by rollup.
    pub(crate) async fn wanted_shards(&self) -> Vec<Wanted> {
        let mut all = Vec::new();
        for rollup in self.store().duties.wanted_rollups().await.unwrap() {
            let wanted = self.store().duties.wanted(NOW, rollup, None, 100).await.unwrap();
            // Pages of one shard make the same list.
            let (mut paged, mut after) = (Vec::new(), None);
            while let Some(next) = self.store().duties.wanted(NOW, rollup, after, 1).await.unwrap().pop() {
                after = Some(next.place());
                paged.push(next);
            }
            assert_eq!(paged, wanted);
            assert!(wanted.iter().all(|wanted| wanted.batch.rollup == rollup));
            all.extend(wanted);
        }
        all
    }

    pub(crate) async fn wanted(&self) -> Vec<BatchDigest> {
        self.wanted_shards().await.iter().map(|wanted| wanted.batch.digest).collect()
    }

    pub(crate) async fn bad(&self, batch: &Batch) -> BadSeat {
        BadSeat { digest: batch.digest, seat: SEAT, found_at: NOW, record: batch.checked_record(SEAT) }
    }
}

pub async fn cursors_come_back_as_they_were_left<B: Candidate>() {
    let mut suite = Suite::<B>::new().await;
    assert_eq!(suite.store().duties.cursors().await.unwrap(), []);
    for (origin, since) in [(SETTLEMENT, 7), (LOG, 0), (LOG, u64::MAX)] {
        suite.store().duties.learn(Vec::new(), Cursor::new(origin, since)).await.unwrap();
    }
    suite.restart().await;
    let expected = [Cursor::new(LOG, u64::MAX), Cursor::new(SETTLEMENT, 7)];
    assert_eq!(suite.store().duties.cursors().await.unwrap(), expected);
}

pub async fn what_is_owed_is_wanted_until_it_is_held<B: Candidate>() {
    let (suite, batches) = Suite::<B>::owing(3).await;
    assert_eq!(suite.counts().await, DutyCounts { owed: 3, missing: 3, ..DutyCounts::default() });
    assert_eq!(suite.wanted().await.len(), 3);
    suite.hold(&batches[1]).await;
    assert_eq!(suite.counts().await, DutyCounts { owed: 3, held: 1, missing: 2, ..DutyCounts::default() });
    let wanted = suite.wanted_shards().await;
    assert!(wanted.iter().all(|wanted| wanted.batch.digest != batches[1].digest && wanted.seat == SEAT));
    let number = wanted[0].batch.batch_number;
    assert_eq!(wanted[0].evidence, Some(L1Evidence::Settled { block: number }));
    // Nothing is owed of epochs in which this member has no seat, or of expired batches.
    suite.store().duties.assign(vec![(EPOCH + 1, SEAT)]).await.unwrap();
    assert_eq!((suite.counts().await.owed, suite.wanted().await), (0, vec![]));
    suite.store().duties.assign(vec![(EPOCH, SEAT)]).await.unwrap();
    assert_eq!(
        suite.store().duties.duty_counts(NOW + 3600).await.unwrap().owed,
        3,
        "expiresAt itself is served"
    );
    assert_eq!(suite.store().duties.duty_counts(NOW + 3601).await.unwrap().owed, 0);
}

pub async fn the_shortest_kept_is_wanted_first<B: Candidate>() {
    let suite = Suite::<B>::new().await;
    let batches: Vec<Batch> = [50, 10, 30, 10, 20]
        .into_iter()
        .zip(1..)
        .map(|(rest, seed)| {
            let wish = Wish { batch_number: seed, expires_at: NOW + rest, ..Wish::default() };
            suite.world.batch_with(seed, 100, &wish)
        })
        .collect();
    suite.learn(LOG, batches.iter().map(|batch| recorded(batch, 1)).collect()).await;
    suite.store().duties.assign(vec![(EPOCH, SEAT)]).await.unwrap();
    let mut expected: Vec<_> = batches.iter().map(|batch| (batch.header.expires_at, batch.digest)).collect();
    expected.sort_unstable();
    let expected: Vec<_> = expected.into_iter().map(|(_, digest)| digest).collect();
    assert_eq!(suite.wanted().await, expected);
}

pub async fn what_a_reorganisation_takes_back_is_owed_no_more_and_stays_stored<B: Candidate>() {
    let (suite, batches) = Suite::<B>::owing(4).await;
    for batch in &batches {
        suite.hold(batch).await;
    }
    suite.store().duties.unlearn(2, Cursor::new(LOG, 3)).await.unwrap();
    assert_eq!(suite.counts().await.owed, 4, "the rollup's contract still says so");
    suite.store().duties.unlearn(1, Cursor::new(SETTLEMENT, 2)).await.unwrap();
    assert_eq!((suite.counts().await.owed, suite.census().await.duties), (2, 2));
    assert_eq!(suite.store().catalog.totals().await.unwrap().batches, 4);
    for batch in &batches {
        suite.assert_intact(batch).await;
    }
    assert_eq!(
        suite.store().duties.cursors().await.unwrap(),
        [Cursor::new(LOG, 3), Cursor::new(SETTLEMENT, 2)]
    );
    // Reading begins again from nothing.
    suite.store().duties.unlearn(0, Cursor::new(LOG, 0)).await.unwrap();
    suite.store().duties.unlearn(0, Cursor::new(SETTLEMENT, 0)).await.unwrap();
    assert_eq!((suite.counts().await.owed, suite.census().await.duties), (0, 0));
    suite.learn(LOG, batches.iter().map(|batch| recorded(batch, 9)).collect()).await;
    assert_eq!(suite.counts().await, DutyCounts { owed: 4, held: 4, ..DutyCounts::default() });
}

pub async fn a_contract_speaks_for_its_own_rollup_only<B: Candidate>() {
    let suite = Suite::<B>::new().await;
    let (batch, liar) = (suite.world.batch(1, 1000), Address::repeat_byte(0x66));
    suite.store().duties.assign(vec![(EPOCH, SEAT)]).await.unwrap();
    let claim = dac_types::BatchHeader { rollup: liar, expires_at: u64::MAX, ..batch.header.clone() };
    suite.learn(Origin::Settlement(liar), vec![FakeEvents::settled(batch.digest, &claim)]).await;
    suite.learn(SETTLEMENT, vec![settled(&batch, 2)]).await;
    suite.hold(&batch).await;
    // A renewal by the contract that lies keeps no batch of other rollups for longer.
    let lie = FakeEvents::renewed(liar, 1, EPOCH, u64::MAX);
    suite.learn(Origin::Settlement(liar), vec![lie]).await;
    let cover =
        suite.cover(asked(dac_types::CoverageRenewal { rollup: liar, ..renewal(1, LONGER) })).await.unwrap();
    assert_eq!(cover, Err(Lacking::Shards { missing: 1, first: 1 }));
    suite.store().duties.refute(batch.digest, liar).await.unwrap();
    assert_eq!(suite.counts().await, DutyCounts { owed: 1, held: 1, ..DutyCounts::default() });
    assert_eq!(suite.store().catalog.delete_expired(NOW + 3601, &[], 10).await.unwrap(), 1);
}

pub async fn what_is_corrupt_is_wanted_and_replaced<B: Candidate>() {
    let mut suite = Suite::<B>::new().await;
    let (kept, damaged) = (suite.world.batch(1, LARGE), suite.world.batch(2, LARGE));
    suite.hold(&damaged).await;
    suite.hold(&kept).await;
    for batch in [&kept, &damaged] {
        suite.candidate.spoil(batch.digest, Damage::RowCut(1)).await;
    }
    let shard = suite.store().catalog.find(kept.digest).await.unwrap().unwrap().shard;
    assert!(
        !suite.store().catalog.mark_corrupt(damaged.digest, Some(shard)).await.unwrap(),
        "another shard was meant"
    );
    assert!(suite.store().catalog.mark_corrupt(damaged.digest, None).await.unwrap());
    assert!(!suite.store().catalog.mark_corrupt(damaged.digest, None).await.unwrap(), "no news");
    assert!(!suite.store().catalog.mark_corrupt(BatchDigest(B256::ZERO), None).await.unwrap());
    suite.restart().await;
    let found = suite.store().catalog.find(damaged.digest).await.unwrap().unwrap();
    assert!(found.is_corrupt);
    // L1 has never heard of the batch, but a stored batch was promised.
    assert_eq!(suite.wanted().await, [damaged.digest]);
    let wanted = suite.wanted_shards().await[0];
    assert_eq!((wanted.evidence, wanted.is_corrupt, wanted.seat), (None, true, SEAT));
    assert_eq!(suite.counts().await, DutyCounts { corrupt: 1, ..DutyCounts::default() });
    suite.learn(LOG, vec![recorded(&damaged, 1)]).await;
    suite.store().duties.assign(vec![(EPOCH, SEAT)]).await.unwrap();
    assert_eq!(suite.counts().await, DutyCounts { owed: 1, corrupt: 1, ..DutyCounts::default() });
    assert_eq!(suite.wanted().await, [damaged.digest]);

    let totals = suite.store().catalog.totals().await.unwrap();
    let authority = Authority::Certificate { submission: submission(&suite, &damaged) };
    assert_eq!(suite.put_as(&damaged, authority).await.unwrap(), stored(&damaged));
    suite.assert_intact(&damaged).await;
    assert!(!suite.store().catalog.find(damaged.digest).await.unwrap().unwrap().is_corrupt);
    assert_eq!(suite.store().catalog.totals().await.unwrap(), totals);
    let census = suite.census().await;
    assert_eq!((census.rows, census.trees), (2 * 9, 2));
    assert_eq!(
        suite.store().rounds.stored_after(0, 10).await.unwrap(),
        [(1, damaged.digest), (2, kept.digest)]
    );
    assert_eq!(suite.wanted().await, []);
}

pub async fn bad_seats_are_kept_with_their_records<B: Candidate>() {
    let (mut suite, batches) = Suite::<B>::owing(2).await;
    let bad = suite.bad(&batches[0]).await;
    for _ in 0..2 {
        suite.store().catalog.add_bad_seat(bad.clone()).await.unwrap();
    }
    suite.restart().await;
    let found = suite.store().catalog.bad_seat(batches[0].digest).await.unwrap().unwrap();
    assert_eq!((found.seat, found.found_at, found.record.header()), (SEAT, NOW, &batches[0].header));
    assert!(suite.store().catalog.bad_seat(batches[1].digest).await.unwrap().is_none());
    let line = BadSeatLine { digest: batches[0].digest, seat: SEAT, found_at: NOW };
    assert_eq!(suite.store().catalog.bad_seats(10).await.unwrap(), [line]);
    assert_eq!(suite.counts().await, DutyCounts { owed: 2, missing: 1, bad: 1, ..DutyCounts::default() });
    assert_eq!(suite.wanted().await, [batches[1].digest]);
    suite.store().catalog.delete_expired(NOW + 3600, &[], 10).await.unwrap();
    assert_eq!(suite.census().await.bad_seats, 1);
    suite.store().catalog.delete_expired(NOW + 3601, &[], 10).await.unwrap();
    assert_eq!(suite.census().await.bad_seats, 0);
}

pub async fn renewals_are_covered_when_everything_is_held<B: Candidate>() {
    #[cfg(test)]
    let _counted = dac_measure::counted!(Renewal, 1);
    let (mut suite, batches) = Suite::<B>::owing(3).await;
    let cover = async |suite: &Suite<B>, last| suite.cover(asked(renewal(last, LONGER))).await.unwrap();
    assert_eq!(cover(&suite, 4).await, Err(Lacking::Settlements { last: 3 }));
    assert_eq!(cover(&suite, 3).await, Err(Lacking::Shards { missing: 3, first: 1 }));
    suite.hold(&batches[0]).await;
    suite.hold(&batches[2]).await;
    assert_eq!(cover(&suite, 3).await, Err(Lacking::Shards { missing: 1, first: 2 }));
    assert!(matches!(cover(&suite, 1).await, Ok(covered) if covered.renewal() == renewal(1, LONGER)));
    suite.hold(&batches[1]).await;
    // The renewal of the first batch keeps no other batch.
    assert_eq!(suite.store().catalog.delete_expired(NOW + 3600, &[], 10).await.unwrap(), 0);
    assert!(cover(&suite, 3).await.is_ok());
    suite.restart().await;
    assert_eq!(suite.store().catalog.delete_expired(LONGER, &[], 10).await.unwrap(), 0);
    for batch in &batches {
        suite.assert_intact(batch).await;
    }
    assert_eq!(suite.store().duties.duty_counts(LONGER).await.unwrap().held, 3, "owed for as long");
    assert_eq!(suite.store().catalog.delete_expired(LONGER + 1, &[], 10).await.unwrap(), 3);
    let census = suite.census().await;
    assert_eq!((census.duties, census.renewals), (0, 0));
    // Expired batches are not held.
    let late = suite.world.batch(4, 1000);
    suite.learn(SETTLEMENT, vec![settled(&late, 50)]).await;
    suite.hold(&late).await;
    assert_eq!(cover(&suite, 4).await, Err(Lacking::Shards { missing: 3, first: 1 }));
}

pub async fn nothing_is_covered_that_is_not_whole<B: Candidate>() {
    #[cfg(test)]
    let _counted = dac_measure::counted!(Renewal, 1);
    let (suite, batches) = Suite::<B>::owing(3).await;
    for batch in &batches {
        suite.hold(batch).await;
    }
    let not_held = |first| Err(Lacking::Shards { missing: 1, first });
    let repair = async |batch: &Batch| suite.hold(batch).await;
    for (damage, batch) in [(Damage::RowLost(0), 0), (Damage::TreeLost, 1), (Damage::RecordCut, 2)] {
        if !suite.candidate.spoil(batches[batch].digest, damage).await {
            continue;
        }
        let number = batches[batch].header.batch_number;
        assert_eq!(suite.cover(asked(renewal(3, LONGER))).await.unwrap(), not_held(number), "{damage:?}");
        assert_eq!(suite.counts().await.corrupt, 1, "it is marked");
        repair(&batches[batch]).await;
        assert_eq!(suite.counts().await.corrupt, 0);
    }
    suite.store().catalog.mark_corrupt(batches[1].digest, None).await.unwrap();
    assert_eq!(suite.cover(asked(renewal(3, LONGER))).await.unwrap(), not_held(2));
    repair(&batches[1]).await;
    suite.store().duties.refute(batches[2].digest, ROLLUP).await.unwrap();
    assert_eq!(suite.cover(asked(renewal(3, LONGER))).await.unwrap(), not_held(3));
    assert!(suite.cover(asked(renewal(2, LONGER))).await.unwrap().is_ok());
}

pub async fn the_log_is_right_where_a_contract_lied_before<B: Candidate>() {
    let suite = Suite::<B>::new().await;
    let batch = suite.world.batch(1, 1000);
    suite.store().duties.assign(vec![(EPOCH, SEAT), (EPOCH + 1, Seat(0))]).await.unwrap();
    let claim = dac_types::BatchHeader { epoch: EPOCH + 1, batch_number: 7, ..batch.header.clone() };
    suite.learn(SETTLEMENT, vec![FakeEvents::settled(batch.digest, &claim)]).await;
    suite.store().duties.refute(batch.digest, ROLLUP).await.unwrap();
    assert_eq!(suite.wanted().await, []);
    suite.learn(LOG, vec![recorded(&batch, 9)]).await;
    let wanted = suite.wanted_shards().await;
    assert_eq!((wanted[0].seat, wanted[0].batch.epoch, wanted[0].batch.batch_number), (SEAT, EPOCH, 1));
    // What the contract says later changes nothing.
    suite.learn(SETTLEMENT, vec![FakeEvents::settled(batch.digest, &claim)]).await;
    assert_eq!(suite.wanted_shards().await[0].batch, wanted[0].batch);
}

pub async fn what_is_doubted_is_wanted_and_not_missing<B: Candidate>() {
    let suite = Suite::<B>::new().await;
    let (claimed, batch) = (suite.world.batch(1, 1000), suite.world.batch(2, 1000));
    suite.store().duties.assign(vec![(EPOCH, SEAT)]).await.unwrap();
    suite.learn(SETTLEMENT, vec![settled(&claimed, 1), settled(&batch, 2)]).await;
    suite.learn(LOG, vec![recorded(&batch, 3)]).await;
    assert!(suite.store().duties.doubt(claimed.digest, ROLLUP).await.unwrap());
    assert!(!suite.store().duties.doubt(claimed.digest, ROLLUP).await.unwrap(), "no news");
    assert!(!suite.store().duties.doubt(batch.digest, ROLLUP).await.unwrap(), "a quorum's word");
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

pub async fn a_seat_promises_its_own_shards_only<B: Candidate>() {
    let (suite, batches) = Suite::<B>::owing(2).await;
    for batch in &batches {
        suite.hold(batch).await;
    }
    // The member moved to another seat and holds shards that another member promises.
    let moved = RenewalAsked { seat: Seat(SEAT.0 - 1), ..asked(renewal(2, LONGER)) };
    assert_eq!(suite.cover(moved).await.unwrap(), Err(Lacking::Shards { missing: 2, first: 1 }));
    assert_eq!(suite.store().catalog.delete_expired(NOW + 3600, &[], 10).await.unwrap(), 0);
    // The seats of batches from before a change of n or k are different ones, also the same one.
    for asked in [moved, asked(renewal(2, LONGER))] {
        let later = RenewalAsked { since_epoch: EPOCH + 1, ..asked };
        assert_eq!(suite.cover(later).await.unwrap(), Err(Lacking::Shards { missing: 2, first: 1 }));
    }
    assert!(suite.cover(asked(renewal(2, LONGER))).await.unwrap().is_ok());
}

pub async fn renewals_seen_on_l1_keep_what_is_stored_before_and_after<B: Candidate>() {
    #[cfg(test)]
    let _counted = dac_measure::counted!(Retention, 1);
    let suite = Suite::<B>::new().await;
    let batches: Vec<Batch> = (1..=4).map(|seed| suite.world.batch(seed, 1000)).collect();
    suite.hold(&batches[0]).await;
    suite.hold(&batches[3]).await;
    let renewed = FakeEvents::renewed(ROLLUP, 3, EPOCH, LONGER);
    // The second batch is settled by a block that was read after that of the renewal, as a
    // reorganisation may bring about.
    suite.learn(SETTLEMENT, vec![settled(&batches[0], 1), settled(&batches[2], 2), renewed]).await;
    suite.learn(SETTLEMENT, vec![settled(&batches[1], 4), settled(&batches[3], 5)]).await;
    suite.hold(&batches[1]).await;
    suite.hold(&batches[2]).await;
    let shorter = FakeEvents::renewed(ROLLUP, 4, EPOCH, NOW + 5);
    suite.learn(SETTLEMENT, vec![shorter]).await;
    // A renewal that was taken back still keeps its batches.
    suite.store().duties.unlearn(0, Cursor::new(SETTLEMENT, 0)).await.unwrap();
    assert_eq!(suite.store().catalog.delete_expired(LONGER, &[], 10).await.unwrap(), 1);
    assert!(
        suite.store().catalog.find(batches[3].digest).await.unwrap().is_none(),
        "beyond the renewal's last batch"
    );
    assert_eq!(suite.store().catalog.delete_expired(LONGER + 1, &[], 10).await.unwrap(), 3);
}

pub async fn the_place_of_re_verification_is_kept<B: Candidate>() {
    let mut suite = Suite::<B>::new().await;
    assert_eq!(suite.store().rounds.scrub().await.unwrap(), Scrub::default());
    let scrub = Scrub { after: 7, began_at: NOW, ended_at: NOW - 1 };
    suite.store().rounds.set_scrub(scrub).await.unwrap();
    suite.restart().await;
    assert_eq!(suite.store().rounds.scrub().await.unwrap(), scrub);
}
