//! A member's storage, put together.

use std::fmt;
use std::sync::Arc;

use super::catalog::Catalog;
use super::duties::Duties;
use super::renewals::Renewals;
use super::rounds::Rounds;
use super::shards::ShardStore;
use super::upkeep::Upkeep;
use super::writer::Writer;

/// The halves of a member's storage. Each part of the member is given those that it needs.
#[derive(Clone)]
pub struct MemberStore {
    /// The bytes of shards.
    pub shards: Arc<dyn ShardStore>,
    /// The books of what is held.
    pub catalog: Arc<dyn Catalog>,
    /// The shards that are owed according to L1.
    pub duties: Arc<dyn Duties>,
    /// The promises to keep batches for longer.
    pub renewals: Arc<dyn Renewals>,
    /// How far re-verification has come.
    pub rounds: Arc<dyn Rounds>,
    /// The database under the books.
    pub upkeep: Arc<dyn Upkeep>,
    /// Writes shards into both halves.
    pub writer: Writer,
}

impl fmt::Debug for MemberStore {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("MemberStore").field("writer", &self.writer).finish_non_exhaustive()
    }
}

impl MemberStore {
    /// Makes the storage whose bytes and books are in one place.
    pub fn of<S>(store: S) -> Self
    where
        S: ShardStore + Catalog + Duties + Renewals + Rounds + Upkeep + Clone,
    {
        Self::split(store.clone(), store)
    }

    /// Makes the storage whose bytes are in `shards` and whose books are in `books`. A shard store
    /// that seals its rows inline must be the one of the database of the books.
    pub fn split<S, B>(shards: S, books: B) -> Self
    where
        S: ShardStore,
        B: Catalog + Duties + Renewals + Rounds + Upkeep + Clone,
    {
        let shards: Arc<dyn ShardStore> = Arc::new(shards);
        let catalog: Arc<dyn Catalog> = Arc::new(books.clone());
        Self {
            writer: Writer::new(Arc::clone(&shards), Arc::clone(&catalog)),
            shards,
            catalog,
            duties: Arc::new(books.clone()),
            renewals: Arc::new(books.clone()),
            rounds: Arc::new(books.clone()),
            upkeep: Arc::new(books),
        }
    }
}
