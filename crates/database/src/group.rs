//! Group commit on SQLite: writers that wait for one another anyway share a transaction, and its way to the disk.
//!
//! A file has one writer, and each commit costs the disk's time. Whoever comes while another one writes waits in a queue; all that
//! wait go into one transaction, one after the other, each from its second on behind a savepoint: one that fails takes back its own
//! and nothing else. Nobody is told of success before the commit of all is on the disk. Where that fails, or a piece of work breaks the
//! connection (it hangs, panics, or the disk is full), everybody in the group is told of failure, and nothing of the group is stored.

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

use crate::database::{Access, Backend, Held, Inner, TransactionFuture, begin, is_in_transaction};
use crate::error::{DatabaseError, ErrorClass};

/// Pieces of work in one transaction, at most: the first one's answer waits for the last one's work.
const GROUP_MAX: usize = 64;

/// Work whose result is kept elsewhere: whether it shall stay.
type Work = Box<dyn for<'t> FnOnce(&'t mut AnyConnection) -> BoxFuture<'t, bool> + Send>;

/// How a piece of work ended.
enum End {
    /// Committed; or failed by itself and taken back.
    Told,
    /// It was not, or is not known to be.
    Failed(DatabaseError),
    /// It panicked.
    Panicked(Box<dyn std::any::Any + Send>),
}

struct Job {
    work: Work,
    span: Span,
    end: oneshot::Sender<End>,
}

/// Who waits to write.
#[derive(Default)]
pub(crate) struct Queue {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    jobs: VecDeque<Job>,
    /// Somebody takes them.
    is_served: bool,
}

impl std::fmt::Debug for Queue {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Queue").finish_non_exhaustive()
    }
}

impl Queue {
    /// Whether somebody must be found to serve the queue.
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

    /// The next one in a group that has begun.
    fn next(&self) -> Option<Job> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).jobs.pop_front()
    }

    /// The first one of a group; without one the queue is served no more.
    fn first(&self) -> Option<Job> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let job = state.jobs.pop_front();
        state.is_served = job.is_some();
        job
    }
}

/// Does the work in a transaction that it may share, and returns once it is on the disk. Whether the caller waits for it or goes away, it
/// is done.
pub(crate) async fn write<T, E, F>(inner: &Arc<Inner>, work: F) -> Result<T, E>
where
    F: for<'t> FnOnce(&'t mut AnyConnection) -> TransactionFuture<'t, T, E> + Send + 'static,
    T: Send + 'static,
    E: From<DatabaseError> + Send + 'static,
{
    let kept = Arc::new(Mutex::new(None));
    let (end, ended) = oneshot::channel();
    if inner.queue.push(Job { work: keeping(work, Arc::clone(&kept)), span: Span::current(), end }) {
        serve(Arc::clone(inner));
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

/// Takes all that wait, group after group, on a thread of its own: statements are done by the driver's thread, one after the other, and
/// handing them over and back costs a thread of our own much less than a task of the runtime.
fn serve(inner: Arc<Inner>) {
    let runtime = Handle::current();
    tokio::task::spawn_blocking(move || {
        runtime.block_on(async {
            while let Some(first) = inner.queue.first() {
                group(&inner, first).await;
            }
        });
    });
}

/// What came of a piece of work, before anything is committed.
enum Performed {
    /// It shall stay.
    Stays,
    /// It shall be taken back.
    Fails,
    /// What its connection is worth now is not known.
    Breaks(End),
}

async fn group(inner: &Inner, mut first: Job) {
    loop {
        let held = match inner.acquire::<DatabaseError>(Access::Exclusive).await {
            Ok(held) => held,
            Err(error) => return tell(first.end, End::Failed(error)),
        };
        match attempt(inner, held, first).await {
            None => return,
            Some(again) => first = again,
        }
    }
}

/// One transaction. The first piece of work comes back where the connection turns out to be in one already: it is closed.
async fn attempt(inner: &Inner, mut held: Held, first: Job) -> Option<Job> {
    let limit = inner.transaction_timeout;
    let mut transaction = match begin(held.connection(), Backend::Sqlite, Access::Exclusive).await {
        Ok(transaction) => transaction,
        Err(error) if is_in_transaction(&error) => return Some(first),
        Err(error) => {
            tell(first.end, End::Failed(error));
            return None;
        }
    };
    // What it does is taken back with the transaction, in which nobody else has done anything yet.
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

    // Also those that failed: what they saw of the others' work counts only once that is stored.
    let mut waiting = vec![first.end];
    while waiting.len() < GROUP_MAX
        && let Some(job) = inner.queue.next()
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
            inner.note_commit();
            waiting.into_iter().for_each(|end| tell(end, End::Told));
        }
        Err(error) => {
            let error = DatabaseError::from(error);
            // Alone it is told what the driver said: there is more in it than its class.
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

/// Work behind a savepoint. An error says that the connection is of no more use; whose fault it is knows already.
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
    // Who went away needs no answer.
    let _ = waiting.send(end);
}

#[cfg(test)]
#[path = "group_tests.rs"]
mod tests;
