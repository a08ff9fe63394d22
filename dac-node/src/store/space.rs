//! Whether there is room for one more shard: in the capacity of the member, on its disk, in its
//! database.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use dac_runtime::workers::{WorkError, Workers};
use thiserror::Error;

use super::catalog::Catalog;
use super::error::StoreError;
use super::member::MemberStore;
use super::upkeep::Upkeep;

/// A file system, which knows its free space.
pub trait Disk: Send + Sync + 'static {
    /// Returns the number of bytes that this process may still use.
    fn free_bytes(&self) -> io::Result<u64>;
}

/// The file system on which a folder lies.
#[derive(Clone, Debug)]
pub struct FolderDisk(PathBuf);

impl FolderDisk {
    /// Makes the file system on which `folder` lies.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self(folder.into())
    }
}

impl Disk for FolderDisk {
    fn free_bytes(&self) -> io::Result<u64> {
        let status = rustix::fs::statvfs(&self.0)?;
        Ok(status.f_bavail.saturating_mul(status.f_frsize))
    }
}

/// The space that a member may use up. Above it no new batch is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct SpaceLimits {
    /// The number of bytes of shards that may be stored. `None` means as many as fit.
    pub capacity_bytes: Option<u64>,
    /// The number of bytes that the files of a database on a server may have, with the free space
    /// in them.
    pub database_size_max_bytes: Option<u64>,
    /// The number of bytes that stay free on the file system of the store.
    pub disk_reserve_bytes: u64,
}

/// Why there is no room.
#[derive(Debug, Error)]
pub enum NoRoom {
    /// The configured capacity is used up.
    #[error("{stored} of {capacity} bytes are stored")]
    Capacity {
        /// The number of bytes stored.
        stored: u64,
        /// The number of bytes that may be stored.
        capacity: u64,
    },
    /// The file system would not keep its reserve.
    #[error("{free} bytes are free on the disk, of which {reserve} are its reserve")]
    Disk {
        /// The number of bytes that are free.
        free: u64,
        /// The number of bytes that stay free.
        reserve: u64,
    },
    /// The database on a server has the size that it may have.
    #[error("the database has {size} of {limit} bytes")]
    Database {
        /// The size of its files.
        size: u64,
        /// The size that they may have.
        limit: u64,
    },
    /// The file system did not say how much room it has.
    #[error("the file system does not say how much room it has: {0}")]
    UnknownDisk(io::Error),
    /// The store did not say how much it holds.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The file system was not asked, because no thread was free.
    #[error(transparent)]
    Work(#[from] WorkError),
}

/// The space for shards.
pub struct Space {
    limits: SpaceLimits,
    catalog: Arc<dyn Catalog>,
    upkeep: Arc<dyn Upkeep>,
    /// The file system under the store, if it is on this machine.
    disk: Option<Arc<dyn Disk>>,
    workers: Workers,
}

impl Space {
    /// Makes the space of a store. The file system is asked on `workers`.
    pub fn new(
        limits: SpaceLimits,
        store: &MemberStore,
        disk: Option<Arc<dyn Disk>>,
        workers: Workers,
    ) -> Self {
        let (catalog, upkeep) = (Arc::clone(&store.catalog), Arc::clone(&store.upkeep));
        Self { limits, catalog, upkeep, disk, workers }
    }

    /// Returns the number of bytes of shards that may be stored, if there is a limit.
    pub const fn capacity_bytes(&self) -> Option<u64> {
        self.limits.capacity_bytes
    }

    /// Returns the number of free bytes on the file system under the store, if it is known.
    pub fn free_bytes(&self) -> Option<u64> {
        self.disk.as_ref()?.free_bytes().ok()
    }

    /// Checks that `bytes` more can be stored. They are those of all uploads under way.
    pub async fn room_for(&self, bytes: u64) -> Result<(), NoRoom> {
        if let Some(capacity) = self.limits.capacity_bytes {
            let stored = self.catalog.totals().await?.bytes;
            if stored.saturating_add(bytes) > capacity {
                return Err(NoRoom::Capacity { stored, capacity });
            }
        }
        if let Some(disk) = self.disk.clone() {
            let reserve = self.limits.disk_reserve_bytes;
            let free = self.workers.run(move || disk.free_bytes()).await?.map_err(NoRoom::UnknownDisk)?;
            if free < reserve.saturating_add(bytes) {
                return Err(NoRoom::Disk { free, reserve });
            }
        }
        if let Some(limit) = self.limits.database_size_max_bytes
            && let Some(size) = self.upkeep.size_on_server().await?
            && size.saturating_add(bytes) > limit
        {
            return Err(NoRoom::Database { size, limit });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_has_room_and_a_missing_one_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        assert!(FolderDisk::new(folder.path()).free_bytes().unwrap() > 0);
        assert!(FolderDisk::new(folder.path().join("missing")).free_bytes().is_err());
    }
}
