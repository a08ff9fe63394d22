//! Has renewals of coverage posted to L1.

use async_trait::async_trait;
use dac_chain::RenewOrder;
use dac_poster::Outcome;

use super::Posting;
use super::drive::{Listener, Look};

/// Only the next renewal waits for a renewal, so its progress goes to the log alone.
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
    /// Returns once this renewal or an equally good one is on L1, or once L1 refuses it for good.
    pub async fn renew(&self, order: &RenewOrder) -> Outcome {
        self.drive(order.into(), &mut Logger).await
    }
}
