//! Waiting for something to become true, with a deadline and a name.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::failure::{Failure, Result};

/// Pause between two looks at something that cannot announce itself: a file, a process, a count.
const INTERVAL: Duration = Duration::from_millis(25);

/// Long enough for anything on a slow machine; a test that needs it all has failed.
pub const LIMIT: Duration = Duration::from_secs(60);

/// Looks until `probe` gives a value, or fails after `limit` and says what it waited for.
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
