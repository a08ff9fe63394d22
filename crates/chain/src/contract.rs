//! Reads any contract whose ABI the caller has, for functions and events that a rollup's contract
//! has beyond those of every settlement contract.

use alloy::primitives::{Address, B256};
use alloy::sol_types::{SolCall, SolEvent};

use crate::error::ChainError;
use crate::events::{self, BLOCKS_PER_PAGE, Filter};
use crate::rpc::{At, BlockRef, Endpoints};
use crate::view::view;

/// An event, with its block and transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ContractEvent<E> {
    /// The event.
    pub event: E,
    /// The block that contains it.
    pub block: u64,
    /// The transaction that emitted it.
    pub tx: B256,
}

/// Events of a range of blocks, and where the next range begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventPage<E> {
    /// The events, in the order in which they happened.
    pub events: Vec<ContractEvent<E>>,
    /// The first block not looked at; one past the end if all blocks were.
    pub next_block: u64,
}

/// Reads one contract.
#[derive(Clone, Debug)]
pub struct ContractReader {
    endpoints: Endpoints,
    name: &'static str,
    address: Address,
}

impl ContractReader {
    /// A reader of the contract at `address`; `name` is what errors call the contract.
    pub fn new(endpoints: Endpoints, name: &'static str, address: Address) -> Self {
        Self { endpoints, name, address }
    }

    /// The contract's address.
    pub fn address(&self) -> Address {
        self.address
    }

    /// The newest block.
    pub async fn head(&self) -> Result<BlockRef, ChainError> {
        Ok(self.endpoints.head().await?.block)
    }

    /// Calls a view function as of the block with this hash.
    pub async fn view<C: SolCall>(&self, call: C, block: B256) -> Result<C::Return, ChainError> {
        view(&self.endpoints, self.name, self.address, call, At::Hash(block)).await
    }

    /// Returns events of one kind from `from_block` on. It covers a bounded number of blocks, at
    /// most up to and including `to_block`.
    pub async fn event_page<E: SolEvent>(
        &self,
        from_block: u64,
        to_block: u64,
    ) -> Result<EventPage<E>, ChainError> {
        let topics = [Some(E::SIGNATURE_HASH)];
        let filter = Filter { contract: self.address, topics: &topics };
        let (found, next_block) =
            events::page::<E>(&self.endpoints, filter, from_block, to_block, BLOCKS_PER_PAGE).await?;
        let events = found
            .into_iter()
            .map(|found| ContractEvent { event: found.event, block: found.block, tx: found.tx })
            .collect();
        Ok(EventPage { events, next_block })
    }
}
