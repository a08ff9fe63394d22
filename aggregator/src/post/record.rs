//! Has certificates recorded in the certificate log on L1.

use std::time::Duration;

use async_trait::async_trait;
use dac_poster::{Order, Outcome};

use super::Posting;
use super::drive::{Listener, Look};
use crate::batch::L1Record;

/// Reports what a certificate waits for, whenever that changes.
struct Reporter<'a, F> {
    report: &'a F,
    deadline: Duration,
    reported: Option<String>,
}

#[async_trait]
impl<F: Fn(String) + Send + Sync> Listener for Reporter<'_, F> {
    async fn hear(&mut self, look: Look) {
        let problem = match look {
            Look::NotTaken(error) => format!("the poster did not take it: {error}"),
            Look::UnderWay { obstacle: Some(obstacle), .. } => obstacle,
            Look::UnderWay { obstacle: None, is_late: true, .. } => {
                format!("not recorded after {:?}", self.deadline)
            }
            Look::UnderWay { obstacle: None, is_late: false, .. } => String::new(),
        };
        if self.reported.as_ref() != Some(&problem) && (self.reported.is_some() || !problem.is_empty()) {
            (self.report)(problem.clone());
            self.reported = Some(problem);
        }
    }
}

impl Posting {
    /// Returns once the order's certificate is on L1, by this aggregator or by another sender.
    /// `report` is told what it waits for, and an empty text when that is over.
    pub async fn record(&self, order: &Order, report: impl Fn(String) + Send + Sync) -> L1Record {
        loop {
            let mut reporter = Reporter { report: &report, deadline: self.settings.deadline, reported: None };
            match self.drive(order.clone(), &mut reporter).await {
                Outcome::Recorded { tx_hash, block, gas_used, by_us } => {
                    return L1Record {
                        transaction: tx_hash,
                        block: block.unwrap_or(0),
                        gas_used: gas_used.unwrap_or(0),
                        by_us,
                    };
                }
                Outcome::Failed { reason } => report(format!("L1 refuses it: {reason}")),
            }
            tokio::time::sleep(self.settings.retry).await;
        }
    }
}
