//! Connections to a service's database beside the service, to read it or to damage it.

use dac_database::sqlx::{self, Connection};
use dac_database::{AnyConnection, DatabaseUrl};

use crate::failure::Result;
use crate::network::Service;

/// Opens a connection that reads while the process runs.
pub async fn look(service: &Service) -> Result<AnyConnection> {
    connect(service, "?mode=ro").await
}

/// Opens a connection that may change what the process has stored.
pub async fn meddle(service: &Service) -> Result<AnyConnection> {
    connect(service, "").await
}

async fn connect(service: &Service, sqlite_parameters: &str) -> Result<AnyConnection> {
    sqlx::any::install_default_drivers();
    let url = match &service.database().options().url {
        DatabaseUrl::Sqlite(path) => format!("sqlite:{}{sqlite_parameters}", path.display()),
        DatabaseUrl::Postgres(url) => url.to_string(),
    };
    Ok(AnyConnection::connect(&url).await?)
}
