//! Whether there is room for one more shard: in the member's capacity, on its disk, in its database.

use dac_proto::reason::Reason;
use tonic::Status;

use super::dispersal::Dispersal;
use super::work_status;
use crate::context::store_status;

impl Dispersal {
    /// Uploads in flight, the one that asks among them, count as stored.
    pub(super) async fn check_room(&self, shard_length: u64) -> Result<(), Status> {
        self.check_capacity(shard_length).await?;
        self.check_disk(shard_length).await?;
        self.check_server(shard_length).await
    }

    async fn check_capacity(&self, shard_length: u64) -> Result<(), Status> {
        let context = self.context();
        let Some(capacity) = context.settings.capacity_bytes else { return Ok(()) };
        let totals = context.store.catalog.totals().await.map_err(|error| store_status(&error))?;
        let bytes = totals.bytes.saturating_add(context.uploads.bytes().max(shard_length));
        if bytes > capacity {
            tracing::error!(stored = totals.bytes, capacity, "the configured capacity is used up");
            metrics::counter!("dac_node_storage_refusals_total", "cause" => "capacity").increment(1);
            return Err(Reason::StorageFailed.status("this member's capacity is used up"));
        }
        Ok(())
    }

    /// Whether the file system keeps its reserve.
    async fn check_disk(&self, shard_length: u64) -> Result<(), Status> {
        let context = self.context();
        let Some(disk) = context.disk.clone() else { return Ok(()) };
        let free =
            context.workers.run(move || disk.free_bytes()).await.map_err(work_status)?.map_err(|error| {
                tracing::error!(%error, "the store's file system does not say how much room it has");
                Reason::StorageFailed.status("the store failed; try again")
            })?;
        let reserve = context.settings.disk_reserve_bytes;
        if free < reserve.saturating_add(context.uploads.bytes().max(shard_length)) {
            tracing::error!(free, reserve, "the disk is full but for its reserve: new batches are refused");
            metrics::counter!("dac_node_storage_refusals_total", "cause" => "disk").increment(1);
            return Err(Reason::StorageFailed.status("this member's disk is full"));
        }
        Ok(())
    }

    /// Whether a database on a server stays within its size.
    async fn check_server(&self, shard_length: u64) -> Result<(), Status> {
        let context = self.context();
        let Some(limit) = context.settings.database_size_max_bytes else { return Ok(()) };
        let size = context.store.upkeep.size_on_server().await.map_err(|error| store_status(&error))?;
        let Some(size) = size else { return Ok(()) };
        if size.saturating_add(context.uploads.bytes().max(shard_length)) > limit {
            tracing::error!(
                size,
                limit,
                "the database has the size that it may have: new batches are refused"
            );
            metrics::counter!("dac_node_storage_refusals_total", "cause" => "database").increment(1);
            return Err(Reason::StorageFailed.status("this member's database is full"));
        }
        Ok(())
    }
}
