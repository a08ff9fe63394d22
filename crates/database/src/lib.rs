//! One database handle for node and aggregator: SQLite embedded, or PostgreSQL by URL.
//!
//! Stores write one SQL text for both. It is PostgreSQL's dialect with `$1` placeholders and four types: `BIGINT`,
//! `BYTEA`, `TEXT` and, for conditions, whatever a comparison yields. What else to mind:
//!
//! * `sum(…)` of BIGINT is NUMERIC in PostgreSQL, which the driver does not read: `CAST(sum(…) AS BIGINT)`.
//! * Unsigned 64-bit numbers go through [`u64_to_sql`], which keeps their order.
//! * `INSERT … ON CONFLICT (…) DO …`, `RETURNING` and `UPDATE … FROM` work in both.
//!
//! Writing happens in [`Database::transaction`] or [`Database::append`] only, reading in [`Database::reads`] or
//! [`Database::snapshot`], whose connections refuse to write. What only one process at a time may do has a [`Lease`].

mod database;
mod durability;
mod error;
mod group;
mod identity;
mod lease;
mod migrate;
mod options;
mod postgres;
mod sqlite;
#[cfg(any(test, feature = "testing"))]
pub mod testing;

pub use database::{Backend, Database, TransactionFuture};
pub use durability::Durability;
pub use error::{DatabaseError, ErrorClass};
pub use lease::{KeptLease, Lease, now_ms};
pub use migrate::Migration;
pub use options::{DatabaseOptions, DatabaseUrl, DatabaseUrlError};
pub use sqlx;
pub use sqlx::AnyConnection;

/// An unsigned number as a signed one of the same order: 0 is the least.
pub const fn u64_to_sql(value: u64) -> i64 {
    (value ^ (1 << 63)).cast_signed()
}

/// The reverse of [`u64_to_sql`].
pub const fn u64_from_sql(value: i64) -> u64 {
    value.cast_unsigned() ^ (1 << 63)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unsigned_numbers_keep_their_order() {
        let numbers = [0, 1, 2, i64::MAX as u64, 1 << 63, u64::MAX - 1, u64::MAX];
        assert!(numbers.map(u64_to_sql).is_sorted());
        assert_eq!(numbers.map(u64_to_sql).map(u64_from_sql), numbers);
        assert_eq!((u64_to_sql(0), u64_to_sql(u64::MAX)), (i64::MIN, i64::MAX));
    }
}
