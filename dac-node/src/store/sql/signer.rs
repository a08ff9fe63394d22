//! One process signs for a member. On SQLite it has the file for itself. On PostgreSQL it holds a
//! lease, which every commit checks that a signature depends on.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use dac_database::{AnyConnection, Backend, Database, DatabaseError, KeptLease, Lease};
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// The name of the lease.
const NAME: &str = "signer";
/// How long the lease outlives a process that died.
pub(in crate::store) const TERM: Duration = Duration::from_secs(6);
/// The pause between two attempts to take the lease.
const PAUSE: Duration = Duration::from_millis(500);

/// Shows that this process is the one that signs.
#[derive(Debug)]
pub(super) struct Signership {
    /// What other processes are told of this one.
    holder: String,
    /// Whether signing was given back.
    is_over: AtomicBool,
    /// The lease. It is `None` on SQLite, where the file belongs to this process.
    lease: Arc<Mutex<Option<Arc<KeptLease>>>>,
    lost: watch::Receiver<bool>,
    watching: Option<JoinHandle<()>>,
}

impl Signership {
    /// Waits until no other process signs.
    pub(super) async fn take(database: &Database, holder: &str) -> Result<Self, DatabaseError> {
        database.be_the_only_process(holder).await?;
        let (tell, lost) = watch::channel(false);
        if database.backend() == Backend::Sqlite {
            return Ok(Self::over(holder, Arc::default(), lost, None));
        }
        let mut waited_for = String::new();
        let first = loop {
            match Lease::acquire(database, NAME, holder, TERM).await {
                Ok(lease) => break lease.keep(),
                Err(DatabaseError::LeaseHeld { holder, .. }) => {
                    if holder != waited_for {
                        tracing::warn!(%holder, "another process signs for this member, or did a moment ago: waiting for its lease");
                        waited_for = holder;
                    }
                    tokio::time::sleep(PAUSE).await;
                }
                Err(error) => return Err(error),
            }
        };
        let lease = Arc::new(Mutex::new(Some(Arc::new(first))));
        let watching = tokio::spawn(watch(database.clone(), holder.to_owned(), Arc::clone(&lease), tell));
        Ok(Self::over(holder, lease, lost, Some(watching)))
    }

    fn over(
        holder: &str,
        lease: Arc<Mutex<Option<Arc<KeptLease>>>>,
        lost: watch::Receiver<bool>,
        watching: Option<JoinHandle<()>>,
    ) -> Self {
        Self { holder: holder.to_owned(), is_over: AtomicBool::new(false), lease, lost, watching }
    }

    /// Checks within a transaction that no other process signs, and that none will before its end.
    pub(super) async fn guard(&self, connection: &mut AnyConnection) -> Result<(), DatabaseError> {
        if self.is_over.load(Ordering::SeqCst) {
            return Err(DatabaseError::LeaseLost { name: NAME.to_owned(), holder: self.holder.clone() });
        }
        let lease = self.lease.lock().as_ref().map(|kept| Arc::clone(kept.lease()));
        match lease {
            Some(lease) => lease.guard(connection).await,
            None => Ok(()),
        }
    }

    /// Returns once another process has taken over.
    pub(super) async fn lost(&self) {
        let mut lost = self.lost.clone();
        if lost.wait_for(|lost| *lost).await.is_err() {
            std::future::pending().await
        }
    }

    /// Gives signing back.
    pub(super) async fn release(&self) {
        self.is_over.store(true, Ordering::SeqCst);
        if let Some(watching) = &self.watching {
            watching.abort();
        }
        let lease = self.lease.lock().take();
        if let Some(lease) = lease
            && let Err(error) = lease.release().await
        {
            tracing::info!(%error, "the signer's lease was not given back: it runs out by itself");
        }
    }
}

impl Drop for Signership {
    fn drop(&mut self) {
        if let Some(watching) = &self.watching {
            watching.abort();
        }
    }
}

/// Watches the lease. If it ran out because the database did not answer, it is resumed or taken
/// again, unless another process was faster.
async fn watch(
    database: Database,
    holder: String,
    lease: Arc<Mutex<Option<Arc<KeptLease>>>>,
    tell: watch::Sender<bool>,
) {
    loop {
        let Some(kept) = lease.lock().clone() else { return };
        kept.lost().await;
        match kept.resume().await {
            Ok(()) => {
                tracing::info!("the signer's lease ran out and nobody took it: going on");
                continue;
            }
            Err(DatabaseError::LeaseLost { .. }) => {}
            Err(error) => {
                tracing::warn!(%error, "the signer's lease cannot be renewed yet");
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        }
        match Lease::acquire(&database, NAME, &holder, TERM).await {
            Ok(again) => {
                tracing::info!("the signer's lease is taken again");
                *lease.lock() = Some(Arc::new(again.keep()));
            }
            // This process holds it, by an attempt whose answer was lost. It runs out, because it
            // is not renewed.
            Err(DatabaseError::LeaseHeld { holder: by, .. }) if by == holder => {
                tokio::time::sleep(PAUSE).await;
            }
            Err(DatabaseError::LeaseHeld { holder, .. }) => {
                tracing::error!(%holder, "another process signs for this member now");
                tell.send_replace(true);
                return;
            }
            Err(error) => {
                tracing::warn!(%error, "the signer's lease cannot be taken again yet");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}
