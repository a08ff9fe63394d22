//! The progress of re-verification, kept in memory, and the little maintenance that a store in
//! memory needs.

use async_trait::async_trait;
use dac_node::store::{Rounds, Scrub, StoreError, Upkeep};
use dac_types::BatchDigest;

use super::tables::MemberMemory;

#[async_trait]
impl Rounds for MemberMemory {
    async fn stored_after(&self, after: u64, limit: u32) -> Result<Vec<(u64, BatchDigest)>, StoreError> {
        let tables = self.tables();
        let mut lines: Vec<(u64, BatchDigest)> =
            tables.batches.iter().map(|(digest, line)| (line.sequence, *digest)).collect();
        lines.retain(|(sequence, _)| *sequence > after);
        lines.sort_unstable();
        lines.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
        Ok(lines)
    }

    async fn scrub(&self) -> Result<Scrub, StoreError> {
        Ok(self.tables().scrub)
    }

    async fn set_scrub(&self, scrub: Scrub) -> Result<(), StoreError> {
        self.commit(move |tables| tables.scrub = scrub).await
    }
}

#[async_trait]
impl Upkeep for MemberMemory {
    async fn ping(&self) -> Result<(), StoreError> {
        Ok(())
    }

    async fn give_back(&self) -> Result<(), StoreError> {
        Ok(())
    }

    fn storage(&self) -> String {
        "memory".to_owned()
    }

    async fn close(&self) {}
}
