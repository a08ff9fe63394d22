//! Where arithmetic runs that would hold up the async threads.

use std::num::NonZeroUsize;
use std::sync::Arc;

use thiserror::Error;
use tokio::sync::Semaphore;

/// The work did not end: it panicked, or the process is stopping.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("a computation was lost")]
pub struct WorkLost;

/// Threads for hashing, coding and signing.
#[derive(Clone, Debug)]
pub enum Workers {
    /// Tokio's blocking threads, at most so many at once.
    Threads(Arc<Semaphore>),
    /// The calling task itself: deterministic, for simulations.
    Inline,
}

impl Workers {
    /// As many as the machine has processors.
    pub fn threads() -> Self {
        let count = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
        Self::Threads(Arc::new(Semaphore::new(count)))
    }

    /// Threads that nobody uses now, at least one. A hint: work that can be shared out may use so many.
    pub fn idle(&self) -> NonZeroUsize {
        match self {
            Self::Inline => NonZeroUsize::MIN,
            Self::Threads(turns) => NonZeroUsize::new(turns.available_permits()).unwrap_or(NonZeroUsize::MIN),
        }
    }

    /// Does `work` and returns what came of it.
    pub async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, WorkLost> {
        match self {
            Self::Inline => Ok(work()),
            Self::Threads(turns) => {
                let turn = Arc::clone(turns).acquire_owned().await.map_err(|_| WorkLost)?;
                let task = tokio::task::spawn_blocking(move || {
                    let result = work();
                    drop(turn);
                    result
                });
                task.await.map_err(|_| WorkLost)
            }
        }
    }
}
