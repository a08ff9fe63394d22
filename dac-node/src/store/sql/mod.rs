//! Both halves on SQLite or PostgreSQL, with one SQL text for both databases.
//!
//! Rows of a large shard are staged under a fresh shard id as they come. The commit only adds the
//! last rows and the lines that make them those of a batch, in one transaction. The line in
//! `uploads` decides between commit and clean-up: each of them deletes it first, so one of them
//! finds it gone.

mod bad_seats;
mod catalog;
mod columns;
mod commit;
mod duties;
mod records;
mod remains;
mod renewals;
mod retention;
mod rounds;
mod schema;
mod shards;
mod signer;
mod store;
#[cfg(any(test, feature = "testing"))]
mod testing;
mod upkeep;

#[cfg(test)]
pub(in crate::store) use schema::MIGRATIONS;
#[cfg(test)]
pub(in crate::store) use signer::TERM as LEASE_TERM;
pub use store::SqlStore;
#[cfg(test)]
pub(crate) use testing::CommitFault;
