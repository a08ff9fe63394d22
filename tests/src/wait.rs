//! Waits for conditions, with a deadline and a description.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::failure::{Failure, Result};

/// The pause between two checks of a condition that cannot be waited for otherwise: a file, a
/// process, a count.
const INTERVAL: Duration = Duration::from_millis(25);

/// The longest time that a single step may take on a slow machine.
pub const LIMIT: Duration = Duration::from_secs(60);

/// Checks until `probe` returns a value, or fails after `limit` with what it waited for.
pub async fn until<T>(what: &str, limit: Duration, mut probe: impl AsyncFnMut() -> Option<T>) -> Result<T> {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(value) = probe().await {
            return Ok(value);
        }
        if Instant::now() >= deadline {
            return Err(Failure::new(format!("waited {} s in vain for {what}", limit.as_secs())));
        }
        sleep(INTERVAL).await;
    }
}
