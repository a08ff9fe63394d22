//! A member's storage, in two halves: the bytes of shards and the books about them.
//!
//! | module | contents |
//! |---|---|
//! | `shards` | [`ShardStore`]: bytes under names that are never used twice |
//! | `catalog` | [`Catalog`]: batches, headers, quotas, certificates, retention |
//! | `duties` | [`Duties`]: the shards that are owed according to L1 |
//! | `renewals` | [`Renewals`]: the promises to keep batches for longer |
//! | `rounds` | [`Rounds`]: how far re-verification has come |
//! | `upkeep` | [`Upkeep`]: health and size of the database under the books |
//! | `space` | [`Space`]: whether one more shard has room |
//! | `writer` | [`Writer`]: rows, seal, commit, receipt |
//! | `receipt` | [`Stored`], [`Covered`]: the receipts that signatures need |
//! | `member` | [`MemberStore`]: all of them together |
//! | `sql` | [`SqlStore`]: both halves on SQLite or PostgreSQL |
//!
//! A shard comes as a [`Draft`], row by row. Its commit seals the rows ([`ShardStore::seal`]),
//! hands the [`Sealed`] to [`Catalog::commit`], and returns a [`Stored`] after both have answered.
//! No reader finds anything of a shard before that, and a draft that is dropped leaves nothing.
//!
//! Stored bytes are not trusted: the record of a [`Holding`] is checked against its digest, and the
//! code that serves hashes and rows checks them.

mod catalog;
mod duties;
mod error;
mod id;
mod member;
mod receipt;
mod renewals;
mod rounds;
mod shards;
mod space;
mod sql;
#[cfg(any(test, feature = "testing"))]
pub mod suite;
#[cfg(test)]
pub(crate) mod tests;
#[cfg(any(test, feature = "testing"))]
mod unreliable;
mod upkeep;
mod writer;

pub use catalog::{
    Authority, BadSeat, BadSeatLine, Catalog, Commit, Entry, Holding, Listed, Place, QuotaDay,
    SubmissionFacts, Totals, VerifiedShard,
};
pub use duties::{BatchOnL1, DUTIES_PER_ROLLUP_MAX, Duties, DutyCounts, L1Evidence, Wanted};
pub use error::StoreError;
pub use id::ShardId;
pub use member::MemberStore;
pub use receipt::{Covered, Stored};
pub use renewals::{Lacking, RenewalAsked, Renewals};
pub use rounds::{Rounds, Scrub};
pub use shards::{CHUNKS_PER_ROW, LastRows, Piece, Seal, Sealed, ShardStore};
pub use space::{Disk, FolderDisk, NoRoom, Space, SpaceLimits};
#[cfg(test)]
pub(crate) use sql::CommitFault;
pub use sql::SqlStore;
#[cfg(any(test, feature = "testing"))]
pub use unreliable::unreliable;
pub use upkeep::Upkeep;
pub use writer::{Draft, Writer};
