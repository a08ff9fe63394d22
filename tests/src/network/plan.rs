//! The description of a system: the number of members, their databases, and the differences from an
//! ordinary system.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use dac_database::Backend;
use dac_database::testing::TestDatabase;
use url::Url;

use crate::configuration::{self, Tls};
use crate::failure::{Context, Result};
use crate::gate::Gate;

/// The numbers and the databases of a system.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// The number of seats.
    pub n: u16,
    /// The number of shards that rebuild a batch.
    pub k: u16,
    /// The number of signatures that make a certificate.
    pub q: u16,
    /// The database of members and aggregator.
    pub backend: Backend,
    /// The number of blocks, including its own, after which a certificate counts as recorded.
    pub confirmations: u64,
}

impl Shape {
    /// n = 4, k = 2, q = 3, on SQLite: one member may be silent, one signer may withhold.
    pub const SMALL: Self = Self { n: 4, k: 2, q: 3, backend: Backend::Sqlite, confirmations: 1 };
}

/// The connections that use TLS, and the parties that show a certificate.
#[derive(Clone, Debug, Default)]
pub struct NetworkTls {
    /// TLS of the members' listeners for aggregators.
    pub dispersal: Tls,
    /// TLS of the members' listeners for retrieval.
    pub retrieval: Tls,
    /// TLS of the aggregator's listener.
    pub aggregator: Tls,
    /// TLS of the aggregator as a client of members.
    pub towards_members: Tls,
}

/// The differences from an ordinary system.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// The connections that use TLS.
    pub tls: NetworkTls,
    /// The PostgreSQL server, if it is not the one that all tests share.
    pub postgres: Option<Url>,
    /// The folder for SQLite's files, with one folder for each service; a temporary folder if not
    /// given.
    pub folder: Option<PathBuf>,
    /// Settings of members that replace the usual ones.
    pub node: toml::Table,
    /// Settings of the aggregator that replace the usual ones.
    pub aggregator: toml::Table,
    /// Whether clients reach processes without gates, for measurements.
    pub is_bare: bool,
    /// The number of further aggregator processes over the same database.
    pub more_aggregators: usize,
}

impl Plan {
    pub(super) async fn gate(&self) -> Result<Gate> {
        if self.is_bare { Gate::bare().await } else { Gate::new().await }
    }

    /// Makes a process listen on the addresses of its gates itself if the gates are bare.
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
