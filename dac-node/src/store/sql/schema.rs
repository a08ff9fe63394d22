//! The schema of a member's database, and the check that the database is this member's.

use dac_database::{Database, DatabaseOptions, Migration};
use dac_types::{Domain, PublicKeyBytes};

use crate::store::StoreError;

pub(in crate::store) const MIGRATIONS: &[Migration] = &[
    Migration { version: 1, name: "store", sql: include_str!("../../../migrations/0001_store.sql") },
    Migration { version: 2, name: "duties", sql: include_str!("../../../migrations/0002_duties.sql") },
    Migration { version: 3, name: "records", sql: include_str!("../../../migrations/0003_records.sql") },
    Migration { version: 4, name: "doubts", sql: include_str!("../../../migrations/0004_doubts.sql") },
];

/// Opens the database of this member, and refuses that of another one.
pub(super) async fn open(
    options: &DatabaseOptions,
    domain: Domain,
    member: &PublicKeyBytes,
) -> Result<Database, StoreError> {
    let database = Database::open(options, MIGRATIONS).await?;
    let (chain_id, registry, key) =
        (domain.chain_id.to_string(), domain.registry.to_string(), member.to_string());
    let identity: [(&str, &str); 4] =
        [("role", "dac-node"), ("chain_id", &chain_id), ("registry", &registry), ("member_key", &key)];
    database.bind_identity(&identity).await?;
    Ok(database)
}
