//! Group commit on SQLite: writers that wait for each other share one transaction and one write to
//! disk.
//!
//! A file has one writer at a time, and each commit waits for the disk. Writers that arrive while
//! another one writes wait in a queue. All that wait are put into one transaction, one after the
//! other; from the second on, each works behind a savepoint, so that a writer that fails undoes
//! only its own changes. No writer is told of success before the commit of all is on the disk. If
//! that commit fails, or if one writer's work breaks the connection (it hangs, panics, or fills the
//! disk), all writers of the group are told of failure, and nothing of the group is stored.

use std::collections::VecDeque;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use sqlx::{Any, AnyConnection, Connection, Transaction};
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tracing::{Instrument, Span};

use crate::connections::{Connections, Held};
use crate::error::{DatabaseError, ErrorClass};
use crate::transaction::{Access, Backend, TransactionFuture, begin, is_in_transaction};

/// The largest number of pieces of work in one transaction. The first one's answer waits for the
/// last one.
const GROUP_MAX: usize = 64;

/// Work whose result is stored elsewhere. It returns whether its changes shall be kept.
type Work = Box<dyn for<'t> FnOnce(&'t mut AnyConnection) -> BoxFuture<'t, bool> + Send>;

/// How a piece of work ended.
enum End {
    /// It was committed, or it failed by itself and its changes were undone. Its writer has the
    /// result.
    Told,
    /// It was not committed, or its outcome is unknown.
    Failed(DatabaseError),
    /// It panicked.
    Panicked(Box<dyn std::any::Any + Send>),
}

struct Job {
    work: Work,
    span: Span,
    end: oneshot::Sender<End>,
}

/// The writers that wait.
#[derive(Default)]
pub(crate) struct Queue {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    jobs: VecDeque<Job>,
    /// Whether a thread takes jobs from the queue.
    is_served: bool,
}

impl std::fmt::Debug for Queue {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Queue").finish_non_exhaustive()
    }
}

impl Queue {
    /// Adds a job. Returns whether the caller must start a thread that serves the queue.
    fn push(&self, job: Job) -> bool {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.jobs.push_back(job);
        !std::mem::replace(&mut state.is_served, true)
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).jobs.len()
    }

    #[cfg(test)]
    pub(crate) fn is_served(&self) -> bool {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).is_served
    }

    /// Takes the next job of a group that has begun.
    fn next(&self) -> Option<Job> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).jobs.pop_front()
    }

    /// Takes the first job of a group. If there is none, marks the queue as no longer served.
    fn first(&self) -> Option<Job> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let job = state.jobs.pop_front();
        state.is_served = job.is_some();
        job
    }
}

/// Does the work in a transaction that it may share with others, and returns once it is on the
/// disk. The work is done even if the caller is cancelled.
pub(crate) async fn write<T, E, F>(
    connections: &Arc<Connections>,
    queue: &Arc<Queue>,
    work: F,
) -> Result<T, E>
where
    F: for<'t> FnOnce(&'t mut AnyConnection) -> TransactionFuture<'t, T, E> + Send + 'static,
    T: Send + 'static,
    E: From<DatabaseError> + Send + 'static,
{
    let kept = Arc::new(Mutex::new(None));
    let (end, ended) = oneshot::channel();
    if queue.push(Job { work: keeping(work, Arc::clone(&kept)), span: Span::current(), end }) {
        serve(Arc::clone(connections), Arc::clone(queue));
    }
    match ended.await {
        Ok(End::Told) => {
            let kept = kept.lock().unwrap_or_else(PoisonError::into_inner).take();
            kept.unwrap_or_else(|| Err(DatabaseError::Closed.into()))
        }
        Ok(End::Failed(error)) => Err(error.into()),
        Ok(End::Panicked(panic)) => std::panic::resume_unwind(panic),
        Err(_) => Err(DatabaseError::Closed.into()),
    }
}

fn keeping<T, E, F>(work: F, kept: Arc<Mutex<Option<Result<T, E>>>>) -> Work
where
    F: for<'t> FnOnce(&'t mut AnyConnection) -> TransactionFuture<'t, T, E> + Send + 'static,
    T: Send + 'static,
    E: Send + 'static,
{
    Box::new(move |connection| {
        let work = work(connection);
        Box::pin(async move {
            let result = work.await;
            let stays = result.is_ok();
            *kept.lock().unwrap_or_else(PoisonError::into_inner) = Some(result);
            stays
        })
    })
}

/// Does all waiting work, group after group, on a thread of its own. The driver runs statements on
/// its own thread one after the other, and passing them from a blocking thread costs much less than
/// from a task of the runtime.
fn serve(connections: Arc<Connections>, queue: Arc<Queue>) {
    let runtime = Handle::current();
    tokio::task::spawn_blocking(move || {
        runtime.block_on(async {
            while let Some(first) = queue.first() {
                group(&connections, &queue, first).await;
            }
        });
    });
}

/// The result of a piece of work before anything is committed.
enum Performed {
    /// Its changes shall be kept.
    Stays,
    /// Its changes shall be undone.
    Fails,
    /// The state of its connection is unknown.
    Breaks(End),
}

async fn group(connections: &Connections, queue: &Queue, mut first: Job) {
    loop {
        let held = match connections.acquire::<DatabaseError>(Access::Exclusive).await {
            Ok(held) => held,
            Err(error) => return tell(first.end, End::Failed(error)),
        };
        match attempt(connections, queue, held, first).await {
            None => return,
            Some(again) => first = again,
        }
    }
}

/// Runs one transaction. Returns the first job if the connection turns out to be in a transaction
/// already; that connection is closed.
async fn attempt(connections: &Connections, queue: &Queue, mut held: Held, first: Job) -> Option<Job> {
    let limit = connections.transaction_timeout;
    let mut transaction = match begin(held.connection(), Backend::Sqlite, Access::Exclusive).await {
        Ok(transaction) => transaction,
        Err(error) if is_in_transaction(&error) => return Some(first),
        Err(error) => {
            tell(first.end, End::Failed(error));
            return None;
        }
    };
    // If the first piece of work fails, the whole transaction is rolled back: no other has done
    // anything in it.
    match perform(first.work, &mut transaction, limit, first.span).await {
        Performed::Stays => {}
        Performed::Fails => {
            if transaction.rollback().await.is_ok() {
                held.give_back();
            }
            tell(first.end, End::Told);
            return None;
        }
        Performed::Breaks(end) => {
            tell(first.end, end);
            return None;
        }
    }

    // Writers that failed wait too: what they saw of the others' work counts only once it is
    // stored.
    let mut waiting = vec![first.end];
    while waiting.len() < GROUP_MAX
        && let Some(job) = queue.next()
    {
        match join(&mut transaction, job, limit).await {
            Ok(end) => waiting.push(end),
            Err(()) => {
                waiting.into_iter().for_each(|end| tell(end, End::Failed(lost())));
                return None;
            }
        }
    }
    match transaction.commit().await {
        Ok(()) => {
            held.give_back();
            connections.note_commit();
            waiting.into_iter().for_each(|end| tell(end, End::Told));
        }
        Err(error) => {
            let error = DatabaseError::from(error);
            // A writer that is alone gets the driver's error, which says more than its class.
            if waiting.len() == 1
                && let Some(end) = waiting.pop()
            {
                tell(end, End::Failed(error));
                return None;
            }
            for end in waiting {
                tell(
                    end,
                    End::Failed(DatabaseError::Group {
                        class: error.class(),
                        problem: Some(error.to_string()),
                    }),
                );
            }
        }
    }
    None
}

/// Does work behind a savepoint. An error means that the connection is unusable; the writer that
/// caused it was told already.
async fn join(
    transaction: &mut Transaction<'_, Any>,
    job: Job,
    limit: Duration,
) -> Result<oneshot::Sender<End>, ()> {
    let Job { work, span, end } = job;
    let mut point = match transaction.begin().await {
        Ok(point) => point,
        Err(error) => {
            tell(end, End::Failed(error.into()));
            return Err(());
        }
    };
    let ended = match perform(work, &mut point, limit, span).await {
        Performed::Stays => point.commit().await,
        Performed::Fails => point.rollback().await,
        Performed::Breaks(how) => {
            tell(end, how);
            return Err(());
        }
    };
    match ended {
        Ok(()) => Ok(end),
        Err(error) => {
            tell(end, End::Failed(error.into()));
            Err(())
        }
    }
}

async fn perform(work: Work, connection: &mut AnyConnection, limit: Duration, span: Span) -> Performed {
    let whole = AssertUnwindSafe(async { work(connection).await }).catch_unwind();
    match tokio::time::timeout(limit, whole.instrument(span)).await {
        Ok(Ok(true)) => Performed::Stays,
        Ok(Ok(false)) => Performed::Fails,
        Ok(Err(panic)) => Performed::Breaks(End::Panicked(panic)),
        Err(_) => Performed::Breaks(End::Failed(DatabaseError::Timeout { limit })),
    }
}

const fn lost() -> DatabaseError {
    DatabaseError::Group { class: ErrorClass::Retryable, problem: None }
}

fn tell(waiting: oneshot::Sender<End>, end: End) {
    // A cancelled caller needs no answer.
    let _ = waiting.send(end);
}

#[cfg(test)]
#[path = "group_tests.rs"]
mod tests;
