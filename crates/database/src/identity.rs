//! The identity of a database: the chain, registry and key that its data belongs to.

use sqlx::AnyConnection;

use crate::database::Database;
use crate::error::DatabaseError;

impl Database {
    /// Binds the data to these names and values (chain id, registry, member key). Names that are
    /// new are stored; a name that is bound to a different value is an error.
    pub async fn bind_identity(&self, identity: &[(&str, &str)]) -> Result<(), DatabaseError> {
        let identity: Vec<(String, String)> =
            identity.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        self.transaction(move |connection| Box::pin(bind(connection, identity))).await
    }
}

async fn bind(connection: &mut AnyConnection, identity: Vec<(String, String)>) -> Result<(), DatabaseError> {
    for (name, given) in identity {
        let stored: Option<String> = sqlx::query_scalar("SELECT value FROM identity WHERE name = $1")
            .bind(&name)
            .fetch_optional(&mut *connection)
            .await?;
        match stored {
            Some(stored) if stored == given => {}
            Some(stored) => return Err(DatabaseError::Identity { name, stored, given }),
            None => {
                sqlx::query("INSERT INTO identity (name, value) VALUES ($1, $2)")
                    .bind(name)
                    .bind(given)
                    .execute(&mut *connection)
                    .await?;
            }
        }
    }
    Ok(())
}
