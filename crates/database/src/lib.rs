#![doc = include_str!("../README.md")]
//!
//! ## SQL for both backends
//!
//! The text is PostgreSQL's dialect with `$1` placeholders and the types `BIGINT`, `BYTEA` and
//! `TEXT`; conditions may have any type that a comparison returns. Some rules:
//!
//! * `sum(…)` of BIGINT is NUMERIC in PostgreSQL, which the driver does not read. Write
//!   `CAST(sum(…) AS BIGINT)`.
//! * Convert unsigned 64-bit numbers with [`u64_to_sql`], which keeps their order.
//! * `INSERT … ON CONFLICT (…) DO …`, `RETURNING` and `UPDATE … FROM` work in both.
//!
//! Writes happen only in [`Database::transaction`] or [`Database::append`], reads in
//! [`Database::reads`] or [`Database::snapshot`], whose connections refuse to write. A [`Lease`]
//! protects work that only one process at a time may do.

mod connections;
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
mod transaction;

pub use database::Database;
pub use durability::Durability;
pub use error::{DatabaseError, ErrorClass};
pub use lease::{KeptLease, Lease, now_ms};
pub use migrate::Migration;
pub use options::{DatabaseOptions, DatabaseUrl, DatabaseUrlError};
pub use sqlx;
pub use sqlx::AnyConnection;
pub use transaction::{Backend, TransactionFuture};

/// Converts an unsigned number to a signed one so that the order is kept: 0 becomes `i64::MIN`.
pub const fn u64_to_sql(value: u64) -> i64 {
    (value ^ (1 << 63)).cast_signed()
}

/// Reverses [`u64_to_sql`].
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
