//! Why nothing goes on any more: told where a test has waited in vain, since the processes and
//! their databases end with it.

use dac_database::{DatabaseUrl, sqlx};

use crate::database;
use crate::failure::Result;
use crate::network::{Network, Service};

/// What failed, with where batches stand and what the aggregator's processes have said.
pub async fn explained<T>(network: &Network, result: Result<T>) -> Result<T> {
    if result.is_err() {
        for service in network.aggregators() {
            eprintln!("{}\n{}", service.name(), service.log_end());
        }
        match standstill(&network.aggregator).await {
            Ok(lines) => eprintln!("{}", lines.join("\n")),
            Err(error) => eprintln!("where batches stand cannot be read: {error}"),
        }
    }
    result
}

/// Where batches stand, what is posted, and who has which lease for how long.
async fn standstill(service: &Service) -> Result<Vec<String>> {
    let mut connection = database::look(service).await?;
    let mut questions = vec!["SELECT phase || ': ' || CAST(count(*) AS TEXT) FROM batches GROUP BY phase"];
    if let DatabaseUrl::Postgres(_) = service.database().options().url {
        questions.push(
            "SELECT name || ' of ' || holder || ', ms: ' || CAST(expires_at_ms - \
             CAST(extract(epoch FROM clock_timestamp()) * 1000 AS BIGINT) AS TEXT) FROM leases",
        );
    }
    let mut lines = Vec::new();
    for question in questions {
        lines.extend(sqlx::query_scalar::<_, String>(question).fetch_all(&mut connection).await?);
    }
    Ok(lines)
}
