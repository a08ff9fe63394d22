//! Which system to start: how many members, where they store, and what differs from an ordinary
//! one.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use dac_database::Backend;
use dac_database::testing::TestDatabase;
use url::Url;

use crate::configuration::{self, Tls};
use crate::failure::{Context, Result};
use crate::gate::Gate;

/// Which system to start.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// Seats.
    pub n: u16,
    /// Shards that rebuild a batch.
    pub k: u16,
    /// Signatures that make a certificate.
    pub q: u16,
    /// Where members and aggregator store.
    pub backend: Backend,
    /// Blocks, the including one counted, after which a certificate counts as recorded.
    pub confirmations: u64,
}

impl Shape {
    /// n = 4, k = 2, q = 3, on SQLite: one member may be silent, one signer may withhold.
    pub const SMALL: Self = Self { n: 4, k: 2, q: 3, backend: Backend::Sqlite, confirmations: 1 };
}

/// Which connections are encrypted, and who shows a certificate.
#[derive(Clone, Debug, Default)]
pub struct NetworkTls {
    /// Members' listeners for aggregators.
    pub dispersal: Tls,
    /// Members' listeners for everybody.
    pub retrieval: Tls,
    /// The aggregator's listener.
    pub aggregator: Tls,
    /// The aggregator as a client of members.
    pub towards_members: Tls,
}

/// What differs from an ordinary system.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// Which connections are encrypted.
    pub tls: NetworkTls,
    /// The PostgreSQL server, where that is the backend and it is not the one that all tests share.
    pub postgres: Option<Url>,
    /// Where the files of SQLite lie, a folder each; below the temporary folder without it.
    pub folder: Option<PathBuf>,
    /// Settings of members that replace the usual ones.
    pub node: toml::Table,
    /// The same of the aggregator.
    pub aggregator: toml::Table,
    /// Clients reach processes without gates: for measurements.
    pub is_bare: bool,
    /// Aggregator processes beside the first one, over its database.
    pub more_aggregators: usize,
}

impl Plan {
    pub(super) async fn gate(&self) -> Result<Gate> {
        if self.is_bare { Gate::bare().await } else { Gate::new().await }
    }

    /// Where a process listens itself, unless gates do.
    pub(super) fn listen(&self, config: &Path, gates: &[(&'static str, Gate)]) -> Result<()> {
        if !self.is_bare {
            return Ok(());
        }
        let listener =
            |gate: &Gate| toml::Table::from_iter([("listen".to_owned(), gate.address().to_string().into())]);
        let changes = gates.iter().map(|(name, gate)| ((*name).to_owned(), listener(gate).into()));
        configuration::change(config, &changes.collect())
    }

    pub(super) async fn database(&self, backend: Backend, name: &str) -> Result<Arc<TestDatabase>> {
        let database = match (backend, &self.postgres, &self.folder) {
            (Backend::Postgres, Some(server), _) => TestDatabase::postgres_at(server.clone()).await,
            (Backend::Sqlite, _, Some(folder)) => {
                let folder = folder.join(name);
                fs::create_dir_all(&folder).context(folder.display())?;
                TestDatabase::sqlite_in(&folder)
            }
            (backend, _, _) => TestDatabase::new(backend).await,
        };
        Ok(Arc::new(database))
    }
}
