//! The database and this process's place among those that share it.

use std::sync::Arc;

use dac_database::Database;

use super::process::Process;

/// The store in SQLite or PostgreSQL. Clones share its connections.
#[derive(Clone, Debug)]
pub struct SqlStore {
    pub(super) database: Database,
    pub(super) process: Arc<Process>,
}
