//! What all batches share: who we are, what we know of L1, where things are kept, how much may be
//! in flight.

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

/// How long to wait after the store or L1 could not do what was asked.
pub(crate) const PAUSE: Duration = Duration::from_millis(500);

/// Times that batches go by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Age up to which the registry's snapshot is good for decisions.
    pub registry_max_age: Duration,
    /// How long more signatures than a quorum are waited for.
    pub grace: Duration,
    /// How often a batch looks at the clock.
    pub tick: Duration,
    /// Longest pause between two messages of an upload.
    pub piece_timeout: Duration,
    /// Bytes a second at which a payload must come, in the long run.
    pub upload_rate: u64,
    /// Longest upload.
    pub upload_timeout: Duration,
    /// After this time a batch that no quorum takes for now waits without memory.
    pub hold_up: Duration,
    /// How often it is looked what other processes left or changed.
    pub share_interval: Duration,
}

/// Shared by all batches and handlers.
pub struct Context {
    /// Who we are.
    pub identity: Identity,
    /// Our key.
    pub signer: Arc<dyn TransactionSigner>,
    /// Where batches are kept.
    pub store: Arc<dyn Store>,
    /// What L1 says.
    pub registry: RegistryWatch,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
    /// Committees' keys.
    pub keys: KeyRing,
    /// Members' endpoints.
    pub members: Members,
    /// Threads for arithmetic.
    pub workers: Workers,
    /// Where encoding runs.
    pub encoders: Arc<Encoders>,
    /// The way to L1.
    pub posting: Posting,
    /// What each rollup spends of its day.
    pub quotas: Quotas,
    /// Who did what an honest one does not.
    pub accusations: Accusations,
    /// Times.
    pub settings: Settings,
    /// All tasks that end by themselves, so that stopping can wait for them.
    pub jobs: TaskTracker,
    /// Cancelled when batches shall rest where they are.
    pub stopping: CancellationToken,
}

impl Context {
    /// Unix seconds.
    pub fn now(&self) -> u64 {
        self.clock.now_unix_seconds()
    }

    /// Unix milliseconds.
    pub fn now_ms(&self) -> u64 {
        self.clock.now_unix_millis()
    }

    /// The registry's snapshot, unless it is too old to decide anything by.
    pub fn registry(&self) -> Result<Arc<RegistryView>, Stale> {
        self.registry.fresh(self.settings.registry_max_age)
    }
}
