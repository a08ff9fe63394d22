//! Runs the tests that every store must pass on the store in memory, and on shards in memory with
//! tables in a database.

use async_trait::async_trait;
use dac_bls::SecretKey;
use dac_database::testing::TestDatabase;
use dac_node::store::suite::{Candidate, Census, Damage, domain};
use dac_node::store::{MemberStore, ShardId, SqlStore};
use dac_types::BatchDigest;

use super::MemberMemory;

/// A store with both halves in memory.
struct InMemory {
    memory: MemberMemory,
    store: MemberStore,
}

#[async_trait]
impl Candidate for InMemory {
    async fn new() -> Self {
        let memory = MemberMemory::new(None);
        Self { store: MemberStore::of(memory.clone()), memory }
    }

    fn store(&self) -> &MemberStore {
        &self.store
    }

    async fn restart(&mut self) {
        self.store = MemberStore::of(self.memory.clone());
        self.store.writer.sweep().await.unwrap();
    }

    async fn census(&self) -> Census {
        let tables = self.memory.tables();
        let count = |length: usize| length as u64;
        Census {
            batches: count(tables.batches.len()),
            records: count(tables.batches.len()),
            rows: count(tables.shards.values().map(Vec::len).sum()),
            trees: count(tables.batches.values().filter(|line| !line.leaf_hashes.is_empty()).count()),
            unclaimed: count(tables.shards.keys().filter(|shard| tables.line_of(**shard).is_none()).count()),
            headers: count(tables.headers.len()),
            charged: count(tables.charged.len()),
            quota_days: count(tables.spent.len()),
            duties: count(tables.duties.len()),
            renewals: count(tables.renewals.len()),
            bad_seats: count(tables.bad_seats.len()),
        }
    }

    async fn spoil(&self, digest: BatchDigest, damage: Damage) -> bool {
        let shard = self.memory.tables().batches[&digest].shard;
        if damage == Damage::TreeLost {
            self.memory.tables().batches.get_mut(&digest).unwrap().leaf_hashes.clear();
            return true;
        }
        spoil_row(&self.memory, shard, damage)
    }
}

/// Damages a row of a shard. Returns false if this kind of damage does not concern rows.
fn spoil_row(memory: &MemberMemory, shard: ShardId, damage: Damage) -> bool {
    let mut tables = memory.tables();
    let rows = tables.shards.get_mut(&shard).unwrap();
    match damage {
        Damage::RowCut(index) => rows[index] = rows[index].slice(1..),
        // A row without bytes counts as lost.
        Damage::RowLost(index) => rows[index] = Default::default(),
        Damage::TreeLost | Damage::RecordCut => return false,
    }
    true
}

/// A store with the shards' bytes in memory and its tables in a database.
struct Split {
    bytes: MemberMemory,
    database: TestDatabase,
    books: SqlStore,
    store: MemberStore,
}

impl Split {
    async fn open(database: &TestDatabase) -> SqlStore {
        let key = SecretKey::derive(&[1; 32]).public_key().to_compressed();
        SqlStore::open(database.options(), domain(), &key).await.unwrap()
    }
}

#[async_trait]
impl Candidate for Split {
    async fn new() -> Self {
        let (bytes, database) = (MemberMemory::new(None), TestDatabase::sqlite());
        let books = Self::open(&database).await;
        Self { store: MemberStore::split(bytes.clone(), books.clone()), bytes, database, books }
    }

    fn store(&self) -> &MemberStore {
        &self.store
    }

    async fn restart(&mut self) {
        self.books = Self::open(&self.database).await;
        self.store = MemberStore::split(self.bytes.clone(), self.books.clone());
        self.store.writer.sweep().await.unwrap();
    }

    async fn census(&self) -> Census {
        // The database does not delete bytes that are stored elsewhere; the next sweep does.
        self.store.writer.sweep().await.unwrap();
        let books = self.books.census().await;
        let tables = self.bytes.tables();
        let rows = tables.shards.values().map(Vec::len).sum::<usize>() as u64;
        let unclaimed = (tables.shards.len() as u64).saturating_sub(books.batches);
        Census { rows, unclaimed, ..books }
    }

    async fn spoil(&self, digest: BatchDigest, damage: Damage) -> bool {
        let shard = self.store.catalog.find(digest).await.unwrap().unwrap().shard;
        if !spoil_row(&self.bytes, shard, damage) {
            self.books.spoil(digest, damage).await;
        }
        true
    }
}

mod in_memory {
    dac_node::store_suite!(super::InMemory);
}

mod split {
    dac_node::store_suite!(super::Split);
}
