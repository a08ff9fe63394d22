//! Runs long computations without blocking the async threads.

use tokio::runtime::{Handle, RuntimeFlavor};

/// Runs `work` on a thread of its own, or, if the runtime has only one thread, on that one:
/// simulations rely on such a runtime alone deciding the order of events. Returns `None` if the
/// work was lost.
pub(crate) async fn work<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    if Handle::current().runtime_flavor() == RuntimeFlavor::CurrentThread {
        return Some(work());
    }
    tokio::task::spawn_blocking(work).await.ok()
}
