//! The disk under a store in memory.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

/// The longest time before a commit takes place, and from then to its answer.
const COMMIT_MAX_MS: u64 = 15;

/// Changes tables as a database does: the change takes simulated time, and runs in its own task,
/// which continues if the caller is dropped. Returns `None` if that task was lost.
pub(super) async fn commit<T: Send + 'static, R: Send + 'static>(
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
