//! Fail points for tests, before and after a transaction is handed to L1, where a crash would do
//! most harm.

use std::sync::Arc;

use async_trait::async_trait;
use dac_chain::{Broadcast, ChainError, SendAnswer};
use dac_runtime::failpoint;

/// A [`Broadcast`] with fail points, to which this process's poster hands transactions.
pub struct Probed {
    inner: Arc<dyn Broadcast>,
}

impl std::fmt::Debug for Probed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Probed").finish_non_exhaustive()
    }
}

impl Probed {
    /// Puts the fail points around `inner`.
    pub fn new(inner: Arc<dyn Broadcast>) -> Self {
        Self { inner }
    }
}

#[async_trait]
impl Broadcast for Probed {
    async fn send_raw(&self, raw: &[u8]) -> Result<SendAnswer, ChainError> {
        failpoint!("aggregator.poster.before_send");
        let answer = self.inner.send_raw(raw).await;
        failpoint!("aggregator.poster.after_send");
        answer
    }
}
