//! Notices the batches that rollups settle, with transactions of any sender. One reading of a
//! contract serves all batches that wait for it.

use std::fmt;

use dac_chain::{ChainError, L1, Searched, SettledBatch};
use dac_poster::FailureReason as PostingFailure;
use dac_types::{Address, B256, BatchDigest};
use tokio::sync::{mpsc, watch};

use super::Posting;
use super::counts::Seen;
use super::settle::consequence;
use crate::batch::{Event, L1Record};

/// A batch as its rollup's contract identifies it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SettlementTarget {
    /// The digest of the batch's header.
    pub digest: BatchDigest,
    /// The rollup's contract.
    pub settlement: Address,
    /// The batch's number in the contract.
    pub batch_number: u64,
}

impl Posting {
    /// Returns the readings of this rollup's contract. They are kept up to date while
    /// [`Posting::watch_settlements`] runs and the receiver lives.
    pub fn settled_count(&self, contract: Address) -> watch::Receiver<Seen> {
        self.settlements.subscribe(contract)
    }

    /// Reads all contracts that batches wait for, once in every configured interval, and never
    /// returns.
    pub async fn watch_settlements(&self) {
        loop {
            let contracts = self.settlements.wanted();
            if !contracts.is_empty()
                && let Err(error) = self.look_at(&contracts).await
            {
                for contract in contracts {
                    self.settlements.tell(contract, Err(error.to_string()));
                }
            }
            self.settlements.wait(self.watch_interval).await;
        }
    }

    /// Reads each contract once, all at the same block.
    async fn look_at(&self, contracts: &[Address]) -> Result<(), ChainError> {
        let l1: &dyn L1 = &*self.l1;
        let confirmed = self.confirmed(l1.head().await?.block.number);
        let Some(block) = l1.block_at(confirmed).await? else { return Ok(()) };
        for contract in contracts {
            let count = l1.settled_count(*contract, block.hash).await;
            self.settlements.tell(*contract, count.map_err(|error| error.to_string()));
        }
        Ok(())
    }

    /// Waits until the rollup has settled this batch or another one with the same number, and sends
    /// `events` what follows from that, and meanwhile every change of the problem that the search
    /// meets. `seen` holds the readings of its contract.
    pub async fn watch(
        &self,
        target: SettlementTarget,
        mut seen: watch::Receiver<Seen>,
        events: &mpsc::Sender<Event>,
    ) {
        let mut reported = String::new();
        // One reading of the contract serves all of its batches. The settlement's event is searched
        // only once the count says that it must exist.
        loop {
            let Seen { count, problem } = seen.borrow_and_update().clone();
            if count >= target.batch_number {
                break;
            }
            let problem = if problem.is_empty() { problem } else { looking(problem) };
            if problem != reported {
                let _ = events.send(Event::PostingProblem(problem.clone())).await;
                reported = problem;
            }
            if seen.changed().await.is_err() {
                // The task that reads the contracts has ended, because the process is ending.
                std::future::pending::<()>().await;
            }
        }
        let mut searched = Searched::default();
        loop {
            let problem = match self.settled(target, &mut searched).await {
                Ok(Some(found)) => {
                    let event = if found.digest == target.digest {
                        let (transaction, block) = (Some(found.tx), found.block);
                        Event::Settled(L1Record { transaction, block, gas_used: 0, by_us: false })
                    } else {
                        consequence(&PostingFailure::NumberUsed { by: found.digest }, B256::ZERO)
                    };
                    let _ = events.send(event).await;
                    return;
                }
                Ok(None) if searched.is_over() => {
                    format!("batch {} is settled, but its event was not found", target.batch_number)
                }
                Ok(None) => String::new(),
                Err(error) => looking(error),
            };
            if problem != reported {
                let _ = events.send(Event::PostingProblem(problem.clone())).await;
                reported = problem;
            }
            tokio::time::sleep(self.watch_interval).await;
        }
    }

    /// Returns what the rollup settled under the batch's number, at the configured depth.
    async fn settled(
        &self,
        target: SettlementTarget,
        searched: &mut Searched,
    ) -> Result<Option<SettledBatch>, ChainError> {
        let l1: &dyn L1 = &*self.l1;
        let confirmed = self.confirmed(l1.head().await?.block.number);
        let Some(block) = l1.block_at(confirmed).await? else { return Ok(None) };
        if l1.settled_count(target.settlement, block.hash).await? < target.batch_number {
            return Ok(None);
        }
        l1.find_settled(target.settlement, target.batch_number, confirmed, searched).await
    }

    /// Returns the newest block at the configured depth.
    const fn confirmed(&self, head: u64) -> u64 {
        head.saturating_sub(self.confirmations.saturating_sub(1))
    }
}

fn looking(problem: impl fmt::Display) -> String {
    format!("looking for its settlement: {problem}")
}
