//! The health, size and closing of the database.

use async_trait::async_trait;
use dac_database::Backend;

use super::retention;
use super::store::SqlStore;
use crate::store::{StoreError, Upkeep};

#[async_trait]
impl Upkeep for SqlStore {
    async fn ping(&self) -> Result<(), StoreError> {
        // Only a signer writes.
        if self.signs() {
            self.database().probe().await?;
        } else {
            self.database().ping().await?;
        }
        Ok(())
    }

    async fn give_back(&self) -> Result<(), StoreError> {
        retention::give_back(self.database()).await
    }

    async fn size_on_server(&self) -> Result<Option<u64>, StoreError> {
        Ok(self.database().size_on_server().await?)
    }

    fn storage(&self) -> String {
        match self.database().backend() {
            Backend::Sqlite => "SQLite".to_owned(),
            Backend::Postgres => format!("PostgreSQL, {}", self.database().durability()),
        }
    }

    async fn close(&self) {
        self.stop_signing().await;
        self.database().close().await;
    }
}
