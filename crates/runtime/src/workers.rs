//! Runs arithmetic that would block the async threads.
//!
//! Each kind of work has its own number of computations at once, so that any amount of one kind
//! cannot keep another kind waiting: the operating system shares the processors among them. Kinds
//! of work that strangers can request have a bounded queue and a bounded time in it.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The longest queue of work that strangers can request.
const QUEUE_MAX: usize = 1024;
/// The longest wait in that queue.
const WAIT_MAX: Duration = Duration::from_secs(10);

/// Why the work has no result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum WorkError {
    /// The work did not finish: it panicked, or the process is stopping.
    #[error("a computation was lost")]
    Lost,
    /// The queue for this kind of work is full. Nothing was computed.
    #[error("{waiting} computations of this kind wait already; try again")]
    Full {
        /// The number of computations in the queue.
        waiting: usize,
    },
    /// No processor was free before the wait ended. Nothing was computed.
    #[error("no processor was free within {} s; try again", .waited.as_secs())]
    TimedOut {
        /// How long the work waited.
        waited: Duration,
    },
}

impl WorkError {
    /// Whether the caller may try the same work again, because it was never begun.
    pub const fn is_retryable(self) -> bool {
        matches!(self, Self::Full { .. } | Self::TimedOut { .. })
    }
}

/// The kind of work. Each kind has its own number of computations at once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Lane {
    /// Work whose amount the process bounds elsewhere.
    #[default]
    General,
    /// Checks of data that is being received.
    Intake,
    /// Signatures with this process's own key.
    Signing,
    /// Pairings for certificates that strangers present.
    Certificates,
    /// Checks and proofs of data that is being served.
    Serving,
    /// Repair and re-verification, which can wait for all other work.
    Background,
}

const LANES: usize = 6;

impl Lane {
    /// Whether strangers can request any amount of it.
    const fn is_open(self) -> bool {
        matches!(self, Self::Certificates | Self::Serving)
    }

    /// The number of computations at once, on this many processors.
    const fn turns(self, processors: usize) -> usize {
        match self {
            Self::General | Self::Intake | Self::Signing | Self::Serving => processors,
            // Half of the processors stay free of work that can wait, if there are at least two.
            Self::Certificates | Self::Background if processors < 2 => 1,
            Self::Certificates | Self::Background => processors / 2,
        }
    }
}

/// Threads for hashing, coding, pairings and signing. A handle is for one kind of work; clones are
/// the same handle.
#[derive(Clone, Debug)]
pub struct Workers {
    lane: Lane,
    /// The queues by kind. If `None`, the calling task itself computes, which is deterministic, for
    /// simulations.
    queues: Option<Arc<[Queue; LANES]>>,
}

#[derive(Debug)]
struct Queue {
    /// Bounds the computations at once, on Tokio's blocking threads.
    turns: Arc<Semaphore>,
    /// Bounds the queue, for kinds of work that strangers can request.
    places: Option<Semaphore>,
}

impl Queue {
    fn new(turns: usize, places: Option<usize>) -> Self {
        Self { turns: Arc::new(Semaphore::new(turns)), places: places.map(Semaphore::new) }
    }

    async fn turn(&self) -> Result<OwnedSemaphorePermit, WorkError> {
        let turn = Arc::clone(&self.turns).acquire_owned();
        let Some(places) = &self.places else { return turn.await.map_err(|_| WorkError::Lost) };
        let Ok(_place) = places.try_acquire() else { return Err(WorkError::Full { waiting: QUEUE_MAX }) };
        match tokio::time::timeout(WAIT_MAX, turn).await {
            Ok(turn) => turn.map_err(|_| WorkError::Lost),
            Err(_) => Err(WorkError::TimedOut { waited: WAIT_MAX }),
        }
    }
}

impl Workers {
    /// Threads that run as many computations of general work at once as the machine has processors.
    pub fn threads() -> Self {
        let processors = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
        Self::on(processors)
    }

    fn on(processors: usize) -> Self {
        let lanes =
            [Lane::General, Lane::Intake, Lane::Signing, Lane::Certificates, Lane::Serving, Lane::Background];
        let queue = |lane: Lane| Queue::new(lane.turns(processors), lane.is_open().then_some(QUEUE_MAX));
        Self { lane: Lane::default(), queues: Some(Arc::new(lanes.map(queue))) }
    }

    /// A handle with which the calling task itself computes, which is deterministic, for
    /// simulations.
    pub const fn inline() -> Self {
        Self { lane: Lane::General, queues: None }
    }

    /// A handle to the same threads for another kind of work.
    pub fn lane(&self, lane: Lane) -> Self {
        Self { lane, queues: self.queues.clone() }
    }

    fn queue(&self) -> Option<&Queue> {
        self.queues.as_ref()?.get(self.lane as usize)
    }

    /// The number of computations of this kind that could begin now, at least one. It is a hint:
    /// work that can be split may use that many threads.
    pub fn idle(&self) -> NonZeroUsize {
        let free = self.queue().map_or(0, |queue| queue.turns.available_permits());
        NonZeroUsize::new(free).unwrap_or(NonZeroUsize::MIN)
    }

    /// Does `work` and returns its result.
    ///
    /// # Errors
    /// Fails if the work was lost. For kinds that strangers can request, it also fails if too much
    /// work waits already.
    pub async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, WorkError> {
        let Some(queue) = self.queue() else { return Ok(work()) };
        let turn = queue.turn().await?;
        let task = tokio::task::spawn_blocking(move || {
            let result = work();
            drop(turn);
            result
        });
        task.await.map_err(|_| WorkError::Lost)
    }
}

#[cfg(test)]
mod tests {
    use std::future::{Future, poll_fn};
    use std::pin::Pin;
    use std::sync::mpsc;
    use std::task::Poll;

    use super::*;

    async fn is_pending<T>(mut work: Pin<&mut (impl Future<Output = T> + ?Sized)>) -> bool {
        poll_fn(|context| Poll::Ready(work.as_mut().poll(context).is_pending())).await
    }

    /// Occupies all turns of a kind until the senders are dropped.
    fn occupy(workers: &Workers, turns: usize) -> Vec<mpsc::SyncSender<()>> {
        let occupied = (0..turns).map(|_| {
            let (release, held) = mpsc::sync_channel::<()>(0);
            let workers = workers.clone();
            tokio::spawn(async move { workers.run(move || held.recv()).await });
            release
        });
        occupied.collect()
    }

    #[tokio::test]
    async fn one_kind_of_work_does_not_wait_for_another() {
        let workers = Workers::on(1);
        let pairings = workers.lane(Lane::Certificates);
        let held = occupy(&pairings, 1);
        while pairings.queue().unwrap().turns.available_permits() > 0 {
            tokio::task::yield_now().await;
        }
        for lane in [Lane::General, Lane::Intake, Lane::Signing, Lane::Serving, Lane::Background] {
            assert_eq!(workers.lane(lane).run(|| 7).await, Ok(7), "{lane:?}");
        }
        let mut waiting = Box::pin(pairings.run(|| 7));
        assert!(is_pending(waiting.as_mut()).await, "its own kind waits");
        drop(held);
        assert_eq!(waiting.await, Ok(7));
    }

    #[tokio::test]
    async fn a_queue_that_strangers_fill_is_bounded_in_places_and_time() {
        let queue = Queue::new(0, Some(2));
        tokio::time::pause();
        let (mut first, mut second) = (Box::pin(queue.turn()), Box::pin(queue.turn()));
        assert!(is_pending(first.as_mut()).await && is_pending(second.as_mut()).await);
        assert!(matches!(queue.turn().await, Err(WorkError::Full { .. })));
        let late = first.await.unwrap_err();
        assert!(late.is_retryable() && matches!(late, WorkError::TimedOut { waited } if waited == WAIT_MAX));
        queue.turns.add_permits(1);
        drop(second.await.unwrap());
    }

    #[test]
    fn every_kind_has_a_turn_on_one_processor() {
        for lane in [Lane::General, Lane::Certificates, Lane::Background] {
            assert_eq!(lane.turns(1), 1, "{lane:?}");
            assert_eq!(Workers::on(1).lane(lane).idle(), NonZeroUsize::MIN);
        }
        assert_eq!((Lane::Certificates.turns(4), Lane::Serving.turns(4)), (2, 4));
    }
}
