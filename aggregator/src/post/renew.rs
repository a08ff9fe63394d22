//! Has coverage renewed.

use async_trait::async_trait;
use dac_chain::RenewOrder;
use dac_poster::Outcome;

use super::Posting;
use super::drive::{Listener, Look};

/// Nothing waits for a renewal but the next one, so only the log is told.
struct Logger;

#[async_trait]
impl Listener for Logger {
    async fn hear(&mut self, look: Look) {
        if let Look::NotTaken(error) = look {
            tracing::warn!(%error, "the poster did not take a renewal; trying again");
        }
    }
}

impl Posting {
    /// Returns once the renewal or one as good is on L1, or L1 refuses it for good.
    pub async fn renew(&self, order: &RenewOrder) -> Outcome {
        self.drive(order.into(), &mut Logger).await
    }
}
