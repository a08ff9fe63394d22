//! The handle of a member's database.

use std::collections::HashMap;
use std::sync::Arc;

use dac_database::sqlx::{AnyPool, query};
use dac_database::{AnyConnection, Backend, Database, DatabaseError, DatabaseOptions};
use dac_runtime::failpoint;
use dac_types::{Address, Domain, PublicKeyBytes};
use parking_lot::Mutex;

use super::schema;
use super::signer::Signership;
#[cfg(test)]
use super::testing::CommitFault;
use crate::store::{MemberStore, StoreError};

/// Both halves of a member's storage on SQLite or PostgreSQL. Clones share the database.
#[derive(Clone, Debug)]
pub struct SqlStore {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    database: Database,
    domain: Domain,
    /// Shows that this process signs. It is `None` if nothing is signed for what is stored here.
    signership: Option<Signership>,
    /// The rollups whose renewals this process has covered.
    covered: Mutex<HashMap<Address, Kept>>,
    #[cfg(test)]
    commit_fault: Mutex<Option<CommitFault>>,
}

/// What the last renewal of a rollup that this process covered has kept.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Kept {
    /// The last batch that was looked at.
    pub(super) last_batch: u64,
    /// The Unix time in seconds until which all batches up to it are kept.
    pub(super) until: u64,
}

impl SqlStore {
    /// Opens the database, which must be this member's, and deletes what unfinished uploads left.
    /// No other process may write to it.
    pub async fn open(
        options: &DatabaseOptions,
        domain: Domain,
        member: &PublicKeyBytes,
    ) -> Result<Self, StoreError> {
        Self::open_to_write(schema::open(options, domain, member).await?, domain, None).await
    }

    /// Opens the database for the process that signs, once no other process does. On PostgreSQL it
    /// waits for that. Other processes see `holder` as the name of this one.
    pub async fn open_as_signer(
        options: &DatabaseOptions,
        domain: Domain,
        member: &PublicKeyBytes,
        holder: &str,
    ) -> Result<Self, StoreError> {
        let database = schema::open(options, domain, member).await?;
        let signership = Signership::take(&database, holder).await?;
        Self::open_to_write(database, domain, Some(signership)).await
    }

    /// Opens a member's database beside the process that signs, to read what that one stored. It
    /// never writes anything but the mark on batches that fail their check.
    pub async fn open_to_read(
        options: &DatabaseOptions,
        domain: Domain,
        member: &PublicKeyBytes,
    ) -> Result<Self, StoreError> {
        Ok(Self::over(schema::open(options, domain, member).await?, domain, None))
    }

    async fn open_to_write(
        database: Database,
        domain: Domain,
        signership: Option<Signership>,
    ) -> Result<Self, StoreError> {
        let backend = database.backend();
        // This durable write comes before anything is read. A killed process may have written data
        // that it did not synchronise and that would now be taken for stored; it reaches the disk
        // together with this write.
        database
            .transaction::<_, DatabaseError, _>(move |connection| {
                Box::pin(async move {
                    if backend == Backend::Postgres {
                        // Chunks are read from the middle of rows. Compressed rows would be
                        // unpacked as a whole.
                        query("ALTER TABLE shard_rows ALTER COLUMN data SET STORAGE EXTERNAL")
                            .execute(&mut *connection)
                            .await?;
                    }
                    query("UPDATE totals SET openings = openings + 1").execute(&mut *connection).await?;
                    Ok(())
                })
            })
            .await?;
        failpoint!("node.store.opened");
        let store = Self::over(database, domain, signership);
        let swept = MemberStore::of(store.clone()).writer.sweep().await?;
        if swept > 0 {
            tracing::info!(uploads = swept, "deleted what unfinished uploads had left");
        }
        Ok(store)
    }

    fn over(database: Database, domain: Domain, signership: Option<Signership>) -> Self {
        Self {
            shared: Arc::new(Shared {
                database,
                domain,
                signership,
                covered: Mutex::default(),
                #[cfg(test)]
                commit_fault: Mutex::default(),
            }),
        }
    }

    /// Returns once another process has taken over signing. If none can, it never returns.
    pub async fn lost(&self) {
        match &self.shared.signership {
            Some(signership) => signership.lost().await,
            None => std::future::pending().await,
        }
    }

    pub(in crate::store) fn database(&self) -> &Database {
        &self.shared.database
    }

    pub(super) fn reads(&self) -> &AnyPool {
        self.shared.database.reads()
    }

    pub(super) fn domain(&self) -> Domain {
        self.shared.domain
    }

    /// Returns whether this process signs for what is stored here.
    pub(super) fn signs(&self) -> bool {
        self.shared.signership.is_some()
    }

    /// Checks, within a transaction on which a signature depends, that this process is still the
    /// one that signs.
    pub(super) async fn guard(&self, connection: &mut AnyConnection) -> Result<(), DatabaseError> {
        match &self.shared.signership {
            Some(signership) => signership.guard(connection).await,
            None => Ok(()),
        }
    }

    /// Gives signing back, because the process is about to end.
    pub(in crate::store) async fn stop_signing(&self) {
        if let Some(signership) = &self.shared.signership {
            signership.release().await;
        }
    }

    /// Returns what the last renewal of a rollup that this process covered has kept.
    pub(super) fn kept(&self, rollup: Address) -> Option<Kept> {
        self.shared.covered.lock().get(&rollup).copied()
    }

    pub(super) fn set_kept(&self, rollup: Address, kept: Kept) {
        self.shared.covered.lock().insert(rollup, kept);
    }

    #[cfg(test)]
    pub(super) fn set_commit_fault(&self, fault: CommitFault) {
        *self.shared.commit_fault.lock() = Some(fault);
    }

    #[cfg(test)]
    pub(super) fn take_commit_fault(&self) -> Option<CommitFault> {
        self.shared.commit_fault.lock().take()
    }
}
