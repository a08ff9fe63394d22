//! What all batches share: the aggregator's identity, its view of L1, its store, and the bounds on
//! what may be in flight.

use std::sync::Arc;
use std::time::Duration;

use dac_chain::{RegistryView, RegistryWatch, Stale, TransactionSigner};
use dac_runtime::clock::Clock;
use dac_runtime::workers::Workers;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::accusations::Accusations;
use crate::collect::KeyRing;
use crate::encode::Encoders;
use crate::members::Members;
use crate::post::Posting;
use crate::quota::Quotas;
use crate::store::Store;
use crate::submit::Identity;

/// The pause before a retry after the store or L1 failed.
pub(crate) const PAUSE: Duration = Duration::from_millis(500);

/// Intervals and time limits of batches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The greatest age at which the registry's snapshot may still decide something.
    pub registry_max_age: Duration,
    /// How long more signatures than a quorum are waited for.
    pub grace: Duration,
    /// The interval at which a batch looks at the clock.
    pub tick: Duration,
    /// Longest pause between two messages of an upload.
    pub piece_timeout: Duration,
    /// The least average rate of an upload, in bytes per second.
    pub upload_rate: u64,
    /// Longest upload.
    pub upload_timeout: Duration,
    /// After this time a batch that no quorum takes for now waits without memory.
    pub hold_up: Duration,
    /// The interval at which the process looks for batches that other processes left or changed.
    pub share_interval: Duration,
}

/// Shared by all batches and handlers.
pub struct Context {
    /// Who we are.
    pub identity: Identity,
    /// Our key.
    pub signer: Arc<dyn TransactionSigner>,
    /// The store of batches.
    pub store: Arc<dyn Store>,
    /// The view of L1.
    pub registry: RegistryWatch,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// Committees' keys.
    pub keys: KeyRing,
    /// Members' endpoints.
    pub members: Members,
    /// Threads for arithmetic.
    pub workers: Workers,
    /// Where encoding runs.
    pub encoders: Arc<Encoders>,
    /// The poster, which takes orders to L1.
    pub posting: Posting,
    /// What each rollup spends of its day.
    pub quotas: Quotas,
    /// Counts of misbehaviour, by offender.
    pub accusations: Accusations,
    /// Times.
    pub settings: Settings,
    /// All tasks that end by themselves, so that stopping can wait for them.
    pub jobs: TaskTracker,
    /// Cancelled when batches shall rest where they are.
    pub stopping: CancellationToken,
}

impl Context {
    /// Returns the time in Unix seconds.
    pub fn now(&self) -> u64 {
        self.clock.now_unix_seconds()
    }

    /// Returns the time in Unix milliseconds.
    pub fn now_ms(&self) -> u64 {
        self.clock.now_unix_millis()
    }

    /// Returns the registry's snapshot, unless it is too old to decide anything by.
    pub fn registry(&self) -> Result<Arc<RegistryView>, Stale> {
        self.registry.fresh(self.settings.registry_max_age)
    }
}
