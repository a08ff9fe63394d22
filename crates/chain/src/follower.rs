//! Follows the registry: one task reads it at an interval, and all other code uses the last
//! snapshot.
//!
//! Each snapshot is read as a whole, so a reorganised chain needs no special care: the next
//! snapshot simply differs. While L1 is out of reach, the last snapshot stays and grows older; each
//! caller decides how old is too old.

use std::sync::Arc;
use std::time::Duration;

use rand::Rng;
use thiserror::Error;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use crate::error::ChainError;
use crate::registry::{RegistryReader, RegistryView};
use crate::rpc::{Endpoints, EndpointsStatus};

/// The longest pause between two attempts while L1 is out of reach, as a multiple of the configured
/// interval.
const BACKOFF_MAX_INTERVALS: u32 = 8;
/// The longest pause between two attempts, if the multiple of the interval is longer still.
const BACKOFF_MAX: Duration = Duration::from_secs(60);

/// The last snapshot is too old to base a decision on, or there is none yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("{}", stale_text(*age, *limit))]
pub struct Stale {
    /// The time since the registry was last read; `None` if it never was.
    pub age: Option<Duration>,
    /// The greatest age allowed.
    pub limit: Duration,
}

fn stale_text(age: Option<Duration>, limit: Duration) -> String {
    match age {
        Some(age) => {
            format!("the committee registry was last read {age:.0?} ago, at most {limit:?} is allowed")
        }
        None => "the committee registry was not read yet".to_owned(),
    }
}

/// The task that follows the registry.
#[derive(Debug)]
pub struct Follower;

impl Follower {
    /// Reads the registry at once and then every `interval`, at the newest block with
    /// `confirmations` blocks on top, until cancelled.
    pub fn spawn(
        reader: Arc<dyn RegistryReader>,
        interval: Duration,
        confirmations: u64,
        cancellation: CancellationToken,
    ) -> RegistryWatch {
        let (publisher, watch) = RegistryPublisher::new();
        publisher.0.send_modify(|published| published.sources = reader.sources());
        tokio::spawn(follow(reader, interval, confirmations, cancellation, publisher));
        watch
    }
}

async fn follow(
    reader: Arc<dyn RegistryReader>,
    interval: Duration,
    confirmations: u64,
    cancellation: CancellationToken,
    publisher: RegistryPublisher,
) {
    let mut failures: u32 = 0;
    loop {
        let outcome = tokio::select! {
            () = cancellation.cancelled() => return,
            outcome = reader.read(confirmations) => outcome,
        };
        let pause = match outcome {
            Ok(view) => {
                if failures > 0 {
                    info!(failures, block = view.head.number, "L1 answers again");
                }
                failures = 0;
                log_changes(publisher.latest().as_deref(), &view);
                publisher.publish(view);
                interval
            }
            Err(error) => {
                // Warned of only when the failures begin; after that the snapshot's age shows the
                // trouble.
                if failures == 0 {
                    warn!(%error, "the committee registry cannot be read, the last snapshot stays");
                } else {
                    debug!(%error, failures, "the committee registry still cannot be read");
                }
                failures = failures.saturating_add(1);
                backoff(interval, failures)
            }
        };
        tokio::select! {
            () = cancellation.cancelled() => return,
            () = tokio::time::sleep(pause) => {}
        }
    }
}

/// Returns the pause after `failures` failures in a row. It doubles with every failure up to a
/// bound, and has jitter, so that the members of a committee do not all ask at the same moment.
pub fn backoff(interval: Duration, failures: u32) -> Duration {
    let longest = interval.saturating_mul(BACKOFF_MAX_INTERVALS).min(BACKOFF_MAX).max(interval);
    let pause = interval.saturating_mul(1 << failures.saturating_sub(1).min(16)).min(longest);
    pause.mul_f64(rand::rng().random_range(0.5..=1.0))
}

fn log_changes(former: Option<&RegistryView>, view: &RegistryView) {
    let block = view.head.number;
    let Some(former) = former else {
        info!(
            block,
            epochs = view.committees.len(),
            current_epoch = view.current_epoch,
            rollups = view.rollups.len(),
            paused = view.paused,
            "read the committee registry"
        );
        return;
    };
    if former.current_epoch != view.current_epoch {
        info!(block, from = former.current_epoch, to = view.current_epoch, "the committee's epoch changed");
    }
    let newest = |view: &RegistryView| view.committees.last_key_value().map(|(epoch, _)| *epoch);
    if newest(former) != newest(view) {
        info!(block, newest = newest(view), "an epoch was opened");
    }
    if former.paused != view.paused {
        warn!(block, paused = view.paused, "the committee was paused or unpaused");
    }
    if former.rollups != view.rollups {
        info!(block, rollups = view.rollups.len(), "the admitted rollups changed");
    }
}

#[derive(Clone, Debug, Default)]
struct Published {
    view: Option<Arc<RegistryView>>,
    read_at: Option<Instant>,
    /// The endpoints that the registry is read from.
    sources: Option<Endpoints>,
}

/// The writing end of a [`RegistryWatch`]. The follower has it, or a test that needs no L1.
#[derive(Debug)]
pub struct RegistryPublisher(watch::Sender<Published>);

impl RegistryPublisher {
    /// Creates both ends, with no snapshot yet.
    pub fn new() -> (Self, RegistryWatch) {
        let (sender, receiver) = watch::channel(Published::default());
        (Self(sender), RegistryWatch(receiver))
    }

    /// Replaces the snapshot.
    pub fn publish(&self, view: RegistryView) {
        let read_at = Some(Instant::now());
        self.0.send_modify(|published| {
            let view = match published.view.take() {
                Some(former) if *former == view => former,
                _ => Arc::new(view),
            };
            (published.view, published.read_at) = (Some(view), read_at);
        });
    }

    /// The last snapshot, or `None` before the first.
    pub fn latest(&self) -> Option<Arc<RegistryView>> {
        self.0.borrow().view.clone()
    }
}

/// Gives access to the last snapshot of the registry. Cloning it is cheap.
#[derive(Clone, Debug)]
pub struct RegistryWatch(watch::Receiver<Published>);

impl RegistryWatch {
    /// A watch that always shows `view`, and the publisher that may change it.
    pub fn with(view: RegistryView) -> (RegistryPublisher, Self) {
        let (publisher, watch) = RegistryPublisher::new();
        publisher.publish(view);
        (publisher, watch)
    }

    /// The last snapshot, however old, or `None` before the first.
    pub fn latest(&self) -> Option<Arc<RegistryView>> {
        self.0.borrow().view.clone()
    }

    /// The status of the endpoints that L1 is read from; empty if the source is not JSON-RPC.
    pub fn endpoints(&self) -> EndpointsStatus {
        self.0.borrow().sources.as_ref().map(Endpoints::status).unwrap_or_default()
    }

    /// When the registry was last read.
    pub fn last_success(&self) -> Option<Instant> {
        self.0.borrow().read_at
    }

    /// The last snapshot, unless it is older than `limit`.
    pub fn fresh(&self, limit: Duration) -> Result<Arc<RegistryView>, Stale> {
        let published = self.0.borrow();
        let age = published.read_at.map(|read_at| read_at.elapsed());
        match (&published.view, age) {
            (Some(view), Some(age)) if age <= limit => Ok(view.clone()),
            (_, age) => Err(Stale { age, limit }),
        }
    }

    /// Waits for the first snapshot.
    pub async fn wait_ready(&self) -> Result<Arc<RegistryView>, ChainError> {
        self.wait_for(|_| true).await
    }

    /// Waits for a snapshot that satisfies `condition`; the present one counts.
    pub async fn wait_for(
        &self,
        mut condition: impl FnMut(&RegistryView) -> bool,
    ) -> Result<Arc<RegistryView>, ChainError> {
        let mut receiver = self.0.clone();
        let published = receiver
            .wait_for(|published| published.view.as_deref().is_some_and(&mut condition))
            .await
            .map_err(|_| ChainError::Stopped)?;
        published.view.clone().ok_or(ChainError::Stopped)
    }

    /// Returns once the task that reads the registry has ended.
    pub async fn ended(&self) {
        let mut receiver = self.0.clone();
        while receiver.changed().await.is_ok() {}
    }

    /// Waits until the registry was read again, whether or not it changed. Readings before the last
    /// call on this clone do not count.
    pub async fn changed(&mut self) -> Result<(), ChainError> {
        self.0.changed().await.map_err(|_| ChainError::Stopped)
    }
}
