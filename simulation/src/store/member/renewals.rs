//! Renewals of promises to keep batches, with the rules of the SQL store.

use std::collections::BTreeSet;

use async_trait::async_trait;
use dac_node::store::{Lacking, RenewalAsked, Renewals, ShardStore, StoreError};
use dac_types::{Address, BatchDigest};

use super::tables::{Duty, Line, MemberMemory, Tables};

impl Tables {
    fn cover(&mut self, asked: RenewalAsked) -> Result<(), Lacking> {
        let RenewalAsked { renewal, seat, since_epoch, keep_until } = asked;
        let settled: Vec<&Duty> = self
            .duties
            .values()
            .filter(|duty| duty.batch.rollup == renewal.rollup && duty.settled.is_some())
            .collect();
        let last = settled.iter().map(|duty| duty.batch.batch_number).max().unwrap_or(0);
        if last < renewal.last_batch {
            return Err(Lacking::Settlements { last });
        }
        let meant = settled.iter().filter(|duty| duty.batch.batch_number <= renewal.last_batch);
        let numbers: BTreeSet<u64> = meant.clone().map(|duty| duty.batch.batch_number).collect();
        let forgotten = renewal.last_batch - numbers.len() as u64;
        let lacking: Vec<u64> = meant
            .filter(|duty| {
                // A contract speaks for its own rollup only.
                let line = self.batches.get(&duty.batch.digest);
                let line = line.filter(|line| line.record.header().rollup == duty.batch.rollup);
                let is_anothers =
                    |line: &Line| line.record.header().epoch >= since_epoch && line.seat != seat;
                duty.refuted || line.is_none_or(|line| line.corrupt || is_anothers(line))
            })
            .map(|duty| duty.batch.batch_number)
            .collect();
        let missing = forgotten + lacking.len() as u64;
        if missing > 0 {
            let first = if forgotten > 0 { 1 } else { lacking.iter().min().copied().unwrap_or(1) };
            return Err(Lacking::Shards { missing, first });
        }
        self.renew(renewal.rollup, renewal.last_batch, keep_until.max(renewal.expires_at));
        Ok(())
    }

    /// Returns the stored batches of a rollup that are settled up to a number.
    fn settled_lines(&self, rollup: Address, last_batch: u64) -> Vec<(BatchDigest, &Line)> {
        let settled = self.duties.values().filter(|duty| {
            duty.batch.rollup == rollup && duty.settled.is_some() && duty.batch.batch_number <= last_batch
        });
        settled.filter_map(|duty| Some((duty.batch.digest, self.batches.get(&duty.batch.digest)?))).collect()
    }
}

#[async_trait]
impl Renewals for MemberMemory {
    async fn last_settled(&self, rollup: Address) -> Result<u64, StoreError> {
        let tables = self.tables();
        let settled =
            tables.duties.values().filter(|duty| duty.batch.rollup == rollup && duty.settled.is_some());
        Ok(settled.map(|duty| duty.batch.batch_number).max().unwrap_or(0))
    }

    async fn cover(
        &self,
        shards: &dyn ShardStore,
        asked: RenewalAsked,
    ) -> Result<Result<(), Lacking>, StoreError> {
        let (digests, names): (Vec<_>, Vec<_>) = {
            let tables = self.tables();
            let lines = tables.settled_lines(asked.renewal.rollup, asked.renewal.last_batch);
            lines.into_iter().map(|(digest, line)| (digest, (line.shard, line.length))).unzip()
        };
        let are_whole = shards.are_whole(&names).await?;
        self.commit(move |tables| {
            for (digest, is_whole) in digests.iter().zip(are_whole) {
                if let Some(line) = tables.batches.get_mut(digest) {
                    line.corrupt |= !is_whole || line.leaf_hashes.is_empty();
                }
            }
            tables.cover(asked)
        })
        .await
    }
}
