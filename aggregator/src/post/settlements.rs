//! Notices what rollups settle, with transactions of any sender. One look at each contract serves
//! all batches that wait for it.

use std::fmt;

use dac_chain::{ChainError, L1, Searched, SettledBatch};
use dac_poster::FailureReason as PostingFailure;
use dac_types::{Address, B256, BatchDigest};
use tokio::sync::{mpsc, watch};

use super::Posting;
use super::counts::Seen;
use super::settle::consequence;
use crate::batch::{Event, L1Record};

/// A batch as its rollup's contract knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SettlementTarget {
    /// The batch.
    pub digest: BatchDigest,
    /// The rollup's contract.
    pub settlement: Address,
    /// Its number there.
    pub batch_number: u64,
}

impl Posting {
    /// What is seen of this rollup's contract, for as long as [`Posting::watch_settlements`] runs
    /// and the receiver lives.
    pub fn settled_count(&self, contract: Address) -> watch::Receiver<Seen> {
        self.settlements.subscribe(contract)
    }

    /// Looks at all contracts that batches wait for, as often as is configured, and never returns.
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

    /// One look at each, all in the same block.
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

    /// Looks until the rollup has settled a batch of this number, this one or another. `seen` is of
    /// its contract.
    pub async fn watch(
        &self,
        target: SettlementTarget,
        mut seen: watch::Receiver<Seen>,
        events: &mpsc::Sender<Event>,
    ) {
        let mut reported = String::new();
        // One look at the contract serves all of its batches; the event is looked for once there
        // must be one.
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
                // Nobody looks any more: the process is ending.
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

    /// What the rollup settled under the batch's number, as deep as is asked for.
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

    /// The newest block as deep as is asked for.
    const fn confirmed(&self, head: u64) -> u64 {
        head.saturating_sub(self.confirmations.saturating_sub(1))
    }
}

fn looking(problem: impl fmt::Display) -> String {
    format!("looking for its settlement: {problem}")
}
