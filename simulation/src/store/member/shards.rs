//! The bytes of shards in memory. They are durable once a shard is sealed.

use async_trait::async_trait;
use bytes::Bytes;
use dac_node::store::{Piece, Seal, Sealed, ShardId, ShardStore, StoreError};
use dac_types::limits::STORED_ROW_BYTES;

use super::tables::MemberMemory;

#[async_trait]
impl ShardStore for MemberMemory {
    async fn put(&self, shard: ShardId, first: usize, rows: Vec<Bytes>) -> Result<(), StoreError> {
        let mut tables = self.tables();
        let stored = tables.shards.entry(shard).or_default();
        if stored.len() != first {
            return Err(StoreError::Lost);
        }
        stored.extend(rows);
        Ok(())
    }

    async fn seal(&self, seal: Seal, rows: Vec<Bytes>) -> Result<Sealed, StoreError> {
        self.put(seal.shard(), seal.rows_before(), rows).await?;
        Ok(seal.durable())
    }

    async fn read(&self, shard: ShardId, piece: Piece) -> Result<Option<Bytes>, StoreError> {
        let tables = self.tables();
        let row =
            tables.shards.get(&shard).and_then(|rows| rows.get(piece.row())).filter(|row| !row.is_empty());
        let within = piece.within_row();
        Ok(row.map(|row| match piece {
            Piece::Row(_) => row.clone(),
            Piece::Chunk(_) => row.slice(within.start.min(row.len())..within.end.min(row.len())),
        }))
    }

    async fn are_whole(&self, shards: &[(ShardId, usize)]) -> Result<Vec<bool>, StoreError> {
        let tables = self.tables();
        let is_whole = |(shard, length): &(ShardId, usize)| {
            let rows = tables.shards.get(shard).map(|rows| rows.iter().filter(|row| !row.is_empty()).count());
            rows == Some(length.div_ceil(STORED_ROW_BYTES))
        };
        Ok(shards.iter().map(is_whole).collect())
    }

    async fn delete(&self, shard: ShardId) -> Result<(), StoreError> {
        let mut tables = self.tables();
        if tables.line_of(shard).is_none() {
            tables.shards.remove(&shard);
        }
        Ok(())
    }

    async fn unclaimed(&self) -> Result<Vec<ShardId>, StoreError> {
        let tables = self.tables();
        Ok(tables.shards.keys().filter(|shard| tables.line_of(**shard).is_none()).copied().collect())
    }
}
