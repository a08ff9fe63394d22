//! Arithmetic that would hold up the async threads.

use tokio::runtime::{Handle, RuntimeFlavor};

/// Does `work` on a thread of its own, and where the runtime has but one thread, right here: there
/// the order of everything is the runtime's alone, which simulations rely on. `None` where the work
/// was lost.
pub(crate) async fn work<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    if Handle::current().runtime_flavor() == RuntimeFlavor::CurrentThread {
        return Some(work());
    }
    tokio::task::spawn_blocking(work).await.ok()
}
