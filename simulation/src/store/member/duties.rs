//! The shards that a member owes according to L1, with the rules of the SQL store's tables.

use std::collections::BTreeSet;

use async_trait::async_trait;
use dac_chain::feed::{Cursor, Fact, Origin};
use dac_node::store::{BatchOnL1, DUTIES_PER_ROLLUP_MAX, Duties, DutyCounts, L1Evidence, StoreError, Wanted};
use dac_types::{Address, BatchDigest, Seat};

use super::tables::{Duty, Line, MemberMemory, Tables};

impl Tables {
    fn set_cursor(&mut self, cursor: Cursor) {
        self.cursors.retain(|known| known.origin() != cursor.origin());
        self.cursors.push(cursor);
        self.cursors.sort_unstable_by_key(Cursor::origin);
    }

    fn add_duty(&mut self, batch: BatchOnL1, recorded: Option<u64>, settled: Option<u64>) {
        let new = Duty {
            batch,
            keep_until: batch.expires_at,
            recorded: None,
            settled: None,
            refuted: false,
            doubted: false,
        };
        let duty = self.duties.entry((batch.digest, batch.rollup)).or_insert(new);
        if recorded.is_some() {
            // A quorum signed the header that the log recorded, so its values overrule those of the
            // rollup's contract.
            (duty.batch, duty.refuted) = (batch, false);
            duty.keep_until = duty.keep_until.max(batch.expires_at);
        }
        duty.recorded = recorded.or(duty.recorded);
        duty.settled = settled.or(duty.settled);
    }

    /// Extends the time until which all settled batches of a rollup up to a number are kept.
    fn keep(&mut self, rollup: Address, last_batch: u64, until: u64) {
        for ((digest, of), duty) in &mut self.duties {
            if *of != rollup || duty.batch.batch_number > last_batch || duty.settled.is_none() {
                continue;
            }
            duty.keep_until = duty.keep_until.max(until);
            if let Some(line) = self.batches.get_mut(digest)
                && line.record.header().rollup == rollup
            {
                line.keep_until = line.keep_until.max(until);
            }
            if let Some((_, keep_until)) = self.bad_seats.get_mut(digest) {
                *keep_until = until.max(*keep_until);
            }
        }
    }

    pub(super) fn renew(&mut self, rollup: Address, last_batch: u64, expires_at: u64) {
        if !self.renewals.contains(&(rollup, last_batch, expires_at)) {
            self.renewals.push((rollup, last_batch, expires_at));
        }
        self.keep(rollup, last_batch, expires_at);
    }

    fn has_room(&self, digest: BatchDigest, rollup: Address) -> bool {
        let claims =
            self.duties.values().filter(|duty| duty.batch.rollup == rollup && duty.recorded.is_none());
        self.duties.contains_key(&(digest, rollup)) || (claims.count() as u64) < DUTIES_PER_ROLLUP_MAX
    }

    fn learn(&mut self, facts: Vec<Fact>, cursor: Cursor) -> u64 {
        let mut left_out = 0;
        for fact in facts {
            match fact {
                Fact::Recorded(recorded) => {
                    let batch = BatchOnL1 {
                        digest: recorded.digest,
                        rollup: recorded.rollup,
                        batch_number: recorded.batch_number,
                        epoch: recorded.epoch,
                        expires_at: recorded.expires_at,
                    };
                    self.add_duty(batch, Some(recorded.block), None);
                }
                Fact::Settled { rollup, batch: settled } if !self.has_room(settled.digest, rollup) => {
                    left_out += 1;
                }
                Fact::Settled { rollup, batch: settled } => {
                    let batch = BatchOnL1 {
                        digest: settled.digest,
                        rollup,
                        batch_number: settled.batch_number,
                        epoch: settled.epoch,
                        expires_at: settled.expires_at,
                    };
                    self.add_duty(batch, None, Some(settled.block));
                    let renewals = self
                        .renewals
                        .iter()
                        .filter(|(of, last, _)| *of == rollup && *last >= settled.batch_number);
                    if let Some(until) = renewals.map(|(_, _, expires_at)| *expires_at).max() {
                        self.keep(rollup, settled.batch_number, until);
                    }
                }
                Fact::Renewed(renewed) => {
                    self.renew(renewed.rollup, renewed.last_batch, renewed.expires_at);
                }
            }
        }
        self.set_cursor(cursor);
        left_out
    }

    fn unlearn(&mut self, block: u64, cursor: Cursor) {
        for ((_, rollup), duty) in &mut self.duties {
            match cursor.origin() {
                Origin::Log(_) => duty.recorded = duty.recorded.filter(|at| *at <= block),
                Origin::Settlement(of) if of == *rollup => {
                    duty.settled = duty.settled.filter(|at| *at <= block);
                }
                Origin::Settlement(_) => {}
            }
        }
        self.duties.retain(|_, duty| duty.recorded.is_some() || duty.settled.is_some());
        self.set_cursor(cursor);
    }

    /// Returns what is owed at a time, with what is stored of it.
    fn owed(&self, now: u64) -> impl Iterator<Item = (&Duty, Seat, Option<&Line>)> {
        self.duties.values().filter(move |duty| duty.keep_until >= now && !duty.refuted).filter_map(|duty| {
            let seat = self.owed_seats.get(&duty.batch.epoch)?;
            Some((duty, *seat, self.batches.get(&duty.batch.digest)))
        })
    }

    fn counts(&self, now: u64) -> DutyCounts {
        let mut counts = DutyCounts::default();
        for (duty, _, line) in self.owed(now) {
            counts.owed += 1;
            match line {
                Some(line) => counts.held += u64::from(!line.corrupt),
                None if self.bad_seats.contains_key(&duty.batch.digest) => counts.bad += 1,
                None if duty.doubted && duty.recorded.is_none() => counts.doubted += 1,
                None => counts.missing += 1,
            }
        }
        let corrupt = self.batches.values().filter(|line| line.corrupt && line.keep_until >= now);
        counts.corrupt = corrupt.count() as u64;
        counts
    }

    fn wanted(&self, now: u64) -> Vec<Wanted> {
        let mut wanted: Vec<Wanted> = self
            .owed(now)
            .filter(|(_, _, line)| line.is_none_or(|line| line.corrupt))
            .map(|(duty, seat, line)| {
                let settled = duty.settled.map(|block| L1Evidence::Settled { block });
                let evidence = settled.or(duty.recorded.map(|block| L1Evidence::Recorded { block }));
                let is_corrupt = line.is_some();
                Wanted { batch: duty.batch, keep_until: duty.keep_until, seat, is_corrupt, evidence }
            })
            .collect();
        let named: BTreeSet<BatchDigest> = self.owed(0).map(|(duty, _, _)| duty.batch.digest).collect();
        let unknown = self
            .batches
            .iter()
            .filter(|(digest, line)| line.corrupt && line.keep_until >= now && !named.contains(*digest));
        wanted.extend(unknown.map(|(digest, line)| {
            let header = line.record.header();
            let batch = BatchOnL1 {
                digest: *digest,
                rollup: header.rollup,
                batch_number: header.batch_number,
                epoch: header.epoch,
                expires_at: header.expires_at,
            };
            Wanted { batch, keep_until: line.keep_until, seat: line.seat, is_corrupt: true, evidence: None }
        }));
        wanted.retain(|wanted| !self.bad_seats.contains_key(&wanted.batch.digest));
        wanted.sort_unstable_by_key(Wanted::place);
        wanted
    }
}

#[async_trait]
impl Duties for MemberMemory {
    async fn cursors(&self) -> Result<Vec<Cursor>, StoreError> {
        Ok(self.tables().cursors.clone())
    }

    async fn learn(&self, facts: Vec<Fact>, cursor: Cursor) -> Result<u64, StoreError> {
        self.commit(move |tables| tables.learn(facts, cursor)).await
    }

    async fn unlearn(&self, block: u64, cursor: Cursor) -> Result<(), StoreError> {
        self.commit(move |tables| tables.unlearn(block, cursor)).await
    }

    async fn assign(&self, seats: Vec<(u64, Seat)>) -> Result<(), StoreError> {
        self.commit(move |tables| tables.owed_seats = seats.into_iter().collect()).await
    }

    async fn duty_counts(&self, now: u64) -> Result<DutyCounts, StoreError> {
        Ok(self.tables().counts(now))
    }

    async fn wanted_rollups(&self) -> Result<Vec<Address>, StoreError> {
        let tables = self.tables();
        let owed = tables.duties.values().map(|duty| duty.batch.rollup);
        let held =
            tables.batches.values().filter(|line| line.corrupt).map(|line| line.record.header().rollup);
        Ok(owed.chain(held).collect::<BTreeSet<_>>().into_iter().collect())
    }

    async fn wanted(
        &self,
        now: u64,
        rollup: Address,
        after: Option<(u64, BatchDigest)>,
        limit: u32,
    ) -> Result<Vec<Wanted>, StoreError> {
        let mut wanted = self.tables().wanted(now);
        wanted.retain(|wanted| wanted.batch.rollup == rollup);
        wanted.retain(|wanted| after.is_none_or(|after| wanted.place() > after));
        wanted.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
        Ok(wanted)
    }

    async fn refute(&self, digest: BatchDigest, rollup: Address) -> Result<(), StoreError> {
        self.commit(move |tables| {
            if let Some(duty) = tables.duties.get_mut(&(digest, rollup)) {
                duty.refuted = true;
            }
        })
        .await
    }

    async fn doubt(&self, digest: BatchDigest, rollup: Address) -> Result<bool, StoreError> {
        self.commit(move |tables| {
            let duty = tables.duties.get_mut(&(digest, rollup));
            let duty = duty.filter(|duty| !duty.doubted && duty.recorded.is_none());
            duty.map(|duty| duty.doubted = true).is_some()
        })
        .await
    }
}
