//! The disk of a store in memory.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

/// Longest time before a commit takes place, and after it until its answer.
const COMMIT_MAX_MS: u64 = 15;

/// Changes tables as a database does: in its (simulated) time, and in a task of its own, which goes on without whoever waits for it.
/// None when that task was lost.
pub async fn commit<T: Send + 'static, R: Send + 'static>(
    tables: &Arc<Mutex<T>>,
    work: impl FnOnce(&mut T) -> R + Send + 'static,
) -> Option<R> {
    let tables = Arc::clone(tables);
    let task = tokio::spawn(async move {
        disk_time().await;
        let result = work(&mut tables.lock());
        disk_time().await;
        result
    });
    task.await.ok()
}

async fn disk_time() {
    let milliseconds = rand::random_range(0..=COMMIT_MAX_MS);
    tokio::time::sleep(Duration::from_millis(milliseconds)).await;
}
