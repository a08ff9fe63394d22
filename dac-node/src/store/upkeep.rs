//! The database under the store: its health, its size, and its closing.

use async_trait::async_trait;

use super::error::StoreError;

/// What the process needs of the database under the store, apart from its content.
#[async_trait]
pub trait Upkeep: Send + Sync + 'static {
    /// Checks that the database works, for health checks. A store that signs checks that it takes
    /// writes, too.
    async fn ping(&self) -> Result<(), StoreError>;

    /// Gives the space that deletion made free back to the file system.
    async fn give_back(&self) -> Result<(), StoreError>;

    /// Returns the size in bytes of the files of a database on a server, whose disk this process
    /// cannot look at. It is `None` where the files are on this machine.
    async fn size_on_server(&self) -> Result<Option<u64>, StoreError> {
        Ok(None)
    }

    /// Describes in a few words where a commit is once it is acknowledged.
    fn storage(&self) -> String;

    /// Waits for the transactions under way and closes the connections.
    async fn close(&self);
}
