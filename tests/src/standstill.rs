//! Explains why a system makes no progress. It is called when a test's wait has timed out, because
//! the processes and their databases end with the test.

use dac_database::{DatabaseUrl, sqlx};

use crate::database;
use crate::failure::Result;
use crate::network::{Network, Service};

/// Adds the state of batches and the aggregator's logs to a failure.
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

/// Lists the state of batches, the postings, and the leases with their holders and ends.
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
