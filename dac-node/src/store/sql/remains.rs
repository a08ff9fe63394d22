//! The end of a shard that no batch has any more.

use dac_database::sqlx::query;
use dac_database::{AnyConnection, DatabaseError};

/// What becomes of the rows of a shard that no batch has any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Remains {
    /// They are deleted.
    Deleted,
    /// They are left for the next sweep: the database could not read them, so it cannot delete them
    /// now.
    LeftOver,
}

impl Remains {
    pub(super) async fn dispose(
        self,
        connection: &mut AnyConnection,
        shard: i64,
    ) -> Result<(), DatabaseError> {
        match self {
            Remains::Deleted => delete_shard(connection, shard).await,
            Remains::LeftOver => {
                query("INSERT INTO uploads (shard) VALUES ($1) ON CONFLICT (shard) DO NOTHING")
                    .bind(shard)
                    .execute(connection)
                    .await?;
                Ok(())
            }
        }
    }
}

/// Deletes the rows, the tree and the record of a shard.
pub(super) async fn delete_shard(connection: &mut AnyConnection, shard: i64) -> Result<(), DatabaseError> {
    query("DELETE FROM shard_rows WHERE shard = $1").bind(shard).execute(&mut *connection).await?;
    query("DELETE FROM shard_trees WHERE shard = $1").bind(shard).execute(&mut *connection).await?;
    query("DELETE FROM records WHERE shard = $1").bind(shard).execute(&mut *connection).await?;
    Ok(())
}
