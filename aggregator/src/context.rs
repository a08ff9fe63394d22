//! What all batches share: the aggregator's identity, its view of L1, its store, and the limits on
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
    /// How long the aggregator waits for further signatures after a quorum has signed.
    pub grace: Duration,
    /// The interval between two ticks of a batch's task, at which it checks what time has changed.
    pub tick: Duration,
    /// The longest pause between two messages of an upload.
    pub piece_timeout: Duration,
    /// The least average rate of an upload, in bytes per second.
    pub upload_rate: u64,
    /// The longest time that an upload may take.
    pub upload_timeout: Duration,
    /// The time after which a batch that too few members would take for now gives up its memory.
    pub hold_up: Duration,
    /// The interval at which the process looks for batches that other processes left or changed.
    pub share_interval: Duration,
}

/// The state that all batches and request handlers share.
pub struct Context {
    /// The chain, registry and address for which this aggregator takes submissions.
    pub identity: Identity,
    /// The disperser's key, which signs headers.
    pub signer: Arc<dyn TransactionSigner>,
    /// The store of batches.
    pub store: Arc<dyn Store>,
    /// The registry's newest snapshot from L1.
    pub registry: RegistryWatch,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// The cache of committees' keys.
    pub keys: KeyRing,
    /// Members' endpoints.
    pub members: Members,
    /// The threads for long computations.
    pub workers: Workers,
    /// The limits on encodings and their memory.
    pub encoders: Arc<Encoders>,
    /// The poster, which takes orders to L1.
    pub posting: Posting,
    /// What each rollup has spent of its daily quota.
    pub quotas: Quotas,
    /// Counts of misbehaviour, by offender.
    pub accusations: Accusations,
    /// The intervals and time limits of batches.
    pub settings: Settings,
    /// All tasks that end by themselves, so that stopping can wait for them.
    pub jobs: TaskTracker,
    /// Cancelled when the process stops and all work on batches must end.
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
