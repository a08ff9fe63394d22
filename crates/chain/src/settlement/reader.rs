//! Reads a settlement contract's state, and the batches that it settled.

use alloy::primitives::{Address, B256, U256};
use alloy::sol_types::{SolCall, SolEvent};
use dac_types::{BatchDigest, Transition};

use crate::contracts::Settlement;
use crate::contracts::Settlement::BatchSettled;
use crate::error::ChainError;
use crate::events::{self, BLOCKS_PER_PAGE, Filter, Found};
use crate::rpc::{At, BlockRef, Endpoint, Endpoints};
use crate::view::view;

/// The most batches that [`SettlementReader::settled_events`] collects.
const EVENTS_MAX: usize = 1_000_000;
/// The most blocks that are searched for one batch.
const SEARCH_BLOCKS_MAX: u64 = 4_096_000;
/// The most blocks in one query of a search, if an endpoint grants so many.
const BLOCKS_PER_STEP_MAX: u64 = 64_000;
/// The number of steps that one call of a search makes.
const STEPS_AT_ONCE: usize = 4;

/// How far back a search for a settled batch has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Searched {
    /// The first and the last block looked at.
    range: Option<(u64, u64)>,
    /// The number of blocks of the next step; 0 for the usual number.
    width: u64,
    /// Whether the endpoint grants no more than `width`.
    limited: bool,
}

impl Searched {
    /// Whether nothing further back is left to search, or it is too far back.
    pub fn is_over(&self) -> bool {
        self.range.is_some_and(|(first, last)| first == 0 || last - first >= SEARCH_BLOCKS_MAX)
    }
}

/// A batch that its rollup's contract settled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SettledBatch {
    /// The batch's digest.
    pub digest: BatchDigest,
    /// The batch's number; the first batch of a rollup is 1.
    pub batch_number: u64,
    /// The epoch that signed it.
    pub epoch: u64,
    /// The Unix second until which its signers promised to serve it; renewals may have extended
    /// that.
    pub expires_at: u64,
    /// The change that it made to the rollup's state.
    pub transition: Transition,
    /// The block that settled it.
    pub block: u64,
    /// The transaction that settled it.
    pub tx: B256,
}

impl From<Found<BatchSettled>> for SettledBatch {
    fn from(Found { event, block, tx }: Found<BatchSettled>) -> Self {
        Self {
            digest: BatchDigest(event.digest),
            batch_number: event.batchNumber,
            epoch: event.epoch,
            expires_at: event.expiresAt,
            transition: Transition {
                new_state_root: event.newStateRoot,
                inputs_consumed: event.inputsConsumed,
                outputs: event.outputs,
            },
            block,
            tx,
        }
    }
}

/// Batches settled in a range of blocks, and where the next range begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SettledPage {
    /// The batches, in the order of their numbers.
    pub batches: Vec<SettledBatch>,
    /// The first block not looked at; one past the end if all blocks were.
    pub next_block: u64,
}

/// The state of a settlement contract at one block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SettlementState {
    /// The committee's registry.
    pub registry: Address,
    /// The certificate log whose records it accepts.
    pub log: Address,
    /// The adapter that checks proofs.
    pub verifier: Address,
    /// The state root from which users can exit.
    pub state_root: B256,
    /// The number of settled batches.
    pub batch_count: u64,
    /// The number of L1 inputs consumed.
    pub inputs_consumed: u64,
    /// The Unix second of the last settlement, or of deployment.
    pub last_settled_at: u64,
    /// The Unix second until which all settled batches are kept.
    pub coverage_until: u64,
    /// Whether the rollup is frozen, so that nothing settles any more.
    pub frozen: bool,
    /// The freeze delay in seconds.
    pub freeze_delay: u64,
    /// The exit window in seconds.
    pub exit_window: u64,
}

/// Reads one settlement contract.
#[derive(Clone, Debug)]
pub struct SettlementReader {
    pub(super) endpoints: Endpoints,
    settlement: Address,
}

impl SettlementReader {
    /// A reader of the contract at `settlement`, which is the rollup of batch headers.
    pub fn new(endpoints: Endpoints, settlement: Address) -> Self {
        Self { endpoints, settlement }
    }

    /// The contract's address.
    pub fn address(&self) -> Address {
        self.settlement
    }

    /// The newest block.
    pub async fn head(&self) -> Result<BlockRef, ChainError> {
        Ok(self.endpoints.head().await?.block)
    }

    /// Reads its state as of the newest block.
    pub async fn state(&self) -> Result<SettlementState, ChainError> {
        let at = At::Hash(self.head().await?.hash);
        Ok(SettlementState {
            registry: self.view(Settlement::registryCall {}, at).await?,
            log: self.view(Settlement::logCall {}, at).await?,
            verifier: self.view(Settlement::verifierCall {}, at).await?,
            state_root: self.view(Settlement::stateRootCall {}, at).await?,
            batch_count: self.view(Settlement::batchCountCall {}, at).await?,
            inputs_consumed: self.view(Settlement::inputsConsumedCall {}, at).await?,
            last_settled_at: self.view(Settlement::lastSettledAtCall {}, at).await?,
            coverage_until: self.view(Settlement::coverageUntilCall {}, at).await?,
            frozen: self.view(Settlement::frozenCall {}, at).await?,
            freeze_delay: self.view(Settlement::freezeDelayCall {}, at).await?,
            exit_window: self.view(Settlement::exitWindowCall {}, at).await?,
        })
    }

    /// The number of batches settled as of a block.
    pub async fn batch_count_at(&self, block: B256) -> Result<u64, ChainError> {
        self.view(Settlement::batchCountCall {}, At::Hash(block)).await
    }

    /// Returns the batches settled from `from_block` on. It covers a bounded number of blocks, at
    /// most up to and including `to_block`.
    pub async fn settled_page(&self, from_block: u64, to_block: u64) -> Result<SettledPage, ChainError> {
        let topics = [Some(BatchSettled::SIGNATURE_HASH)];
        let filter = Filter { contract: self.settlement, topics: &topics };
        let (found, next_block) =
            events::page::<BatchSettled>(&self.endpoints, filter, from_block, to_block, BLOCKS_PER_PAGE)
                .await?;
        Ok(SettledPage { batches: found.into_iter().map(SettledBatch::from).collect(), next_block })
    }

    /// Returns all batches settled from `from_block` to `to_block`, both included, in the order of
    /// their numbers. `progress` is called with the next block and the number of batches found.
    pub async fn settled_events(
        &self,
        from_block: u64,
        to_block: u64,
        mut progress: impl FnMut(u64, usize),
    ) -> Result<Vec<SettledBatch>, ChainError> {
        let mut all = Vec::new();
        let mut next = from_block;
        while next <= to_block {
            let page = self.settled_page(next, to_block).await?;
            all.extend(page.batches);
            if all.len() > EVENTS_MAX {
                return Err(ChainError::TooManyEvents { from: from_block, to: to_block, limit: EVENTS_MAX });
            }
            next = page.next_block;
            progress(next, all.len());
        }
        Ok(all)
    }

    /// Finds the batch that settled under a number, searching from `to_block` backwards in ever
    /// longer steps.
    pub async fn find(&self, batch_number: u64, to_block: u64) -> Result<Option<SettledBatch>, ChainError> {
        let mut searched = Searched::default();
        loop {
            let found = self.search(batch_number, to_block, &mut searched).await?;
            if found.is_some() || searched.is_over() {
                return Ok(found);
            }
        }
    }

    /// The same search in a few steps: the newest blocks first, and then on from where `searched`
    /// ended.
    pub async fn search(
        &self,
        batch_number: u64,
        to_block: u64,
        searched: &mut Searched,
    ) -> Result<Option<SettledBatch>, ChainError> {
        let topics = [
            Some(BatchSettled::SIGNATURE_HASH),
            None,
            Some(B256::from(U256::from(batch_number).to_be_bytes::<32>())),
        ];
        let filter = Filter { contract: self.settlement, topics: &topics };
        let mut newest = true;
        for _ in 0..STEPS_AT_ONCE {
            let width = if searched.width == 0 { BLOCKS_PER_PAGE } else { searched.width };
            let last = match searched.range {
                Some((first, _)) if !newest => first - 1,
                _ => to_block,
            };
            let first = last.saturating_sub(width - 1);
            let page = events::page::<BatchSettled>(&self.endpoints, filter, first, last, width).await;
            if page.is_err() {
                (searched.width, searched.limited) = (width.min(BLOCKS_PER_PAGE), true);
            }
            let (found, after) = page?;
            if let Some(found) = found.into_iter().next() {
                return Ok(Some(found.into()));
            }
            if after <= last {
                // An endpoint that refused so many blocks is not asked for as many again.
                (searched.width, searched.limited) = ((after - first).max(1), true);
                continue;
            }
            searched.range = Some(match searched.range {
                Some((_, end)) if !newest => (first, end),
                // If blocks in between were left out, the range begins anew.
                Some((start, end)) if first <= end.saturating_add(1) => (start.min(first), last),
                _ => (first, last),
            });
            if !newest && !searched.limited {
                searched.width = (width * 4).min(BLOCKS_PER_STEP_MAX);
            }
            newest = false;
            if searched.is_over() {
                break;
            }
        }
        Ok(None)
    }

    /// Whether there is a contract at all, as of the newest block: a rollup may be admitted before
    /// its contract is deployed, or may settle nowhere.
    pub async fn has_code(&self) -> Result<bool, ChainError> {
        let address = self.settlement;
        let work = |endpoint: Endpoint| async move { Ok(!endpoint.code(address).await?.is_empty()) };
        self.endpoints.agreed("whether there is a contract", work).await
    }

    pub(super) async fn view<C: SolCall>(&self, call: C, at: At) -> Result<C::Return, ChainError> {
        view(&self.endpoints, "settlement contract", self.settlement, call, at).await
    }
}
