//! Reading a contract's events in bounded ranges of blocks, whatever an endpoint grants.

use alloy::primitives::{Address, B256, LogData};
use alloy::sol_types::SolEvent;

use crate::error::ChainError;
use crate::rpc::{Endpoint, Endpoints, Log};

/// Blocks of one query: what public endpoints grant.
pub(crate) const BLOCKS_PER_PAGE: u64 = 1_000;

/// An event, and where it stands.
pub(crate) struct Found<E> {
    pub(crate) event: E,
    pub(crate) block: u64,
    pub(crate) tx: B256,
}

/// Which events of which contract.
#[derive(Clone, Copy)]
pub(crate) struct Filter<'a> {
    pub(crate) contract: Address,
    pub(crate) topics: &'a [Option<B256>],
}

/// Events from `from` on in at most `width` blocks, up to `to` included; and the first block not looked at.
pub(crate) async fn page<E: SolEvent>(
    endpoints: &Endpoints,
    filter: Filter<'_>,
    from: u64,
    to: u64,
    width: u64,
) -> Result<(Vec<Found<E>>, u64), ChainError> {
    if from > to {
        return Err(ChainError::BlockRange { from, to });
    }
    let mut last = to.min(from.saturating_add(width.saturating_sub(1)));
    loop {
        let result = endpoints
            .first(|endpoint| async move {
                let logs = endpoint.logs(filter.contract, filter.topics, from, last).await?;
                logs.iter()
                    .filter(|log| !log.removed)
                    .map(|log| decode::<E>(&endpoint, filter.contract, log, from, last))
                    .collect()
            })
            .await;
        match result {
            Ok(found) => return Ok((found, last.saturating_add(1))),
            Err(error) if error.is_crowded() && last > from => {
                last = from + (last - from) / 2;
            }
            Err(error) => return Err(error),
        }
    }
}

/// One log as the event that it must be.
pub(crate) fn decode<E: SolEvent>(
    endpoint: &Endpoint,
    contract: Address,
    log: &Log,
    from: u64,
    to: u64,
) -> Result<Found<E>, ChainError> {
    let malformed = |reason: String| ChainError::Malformed {
        endpoint: endpoint.name().into(),
        method: "eth_getLogs",
        reason,
    };
    let data = LogData::new(log.topics.clone(), log.data.clone())
        .ok_or_else(|| malformed(format!("a log with {} topics", log.topics.len())))?;
    let event = E::decode_log_data_validate(&data).map_err(|error| malformed(error.to_string()))?;
    let block = log.block.map(|block| block.to::<u64>()).filter(|block| (from..=to).contains(block));
    match (log.address == contract, block, log.tx_hash) {
        (true, Some(block), Some(tx)) => Ok(Found { event, block, tx }),
        _ => Err(malformed("a log of another contract, of another block or of no transaction".into())),
    }
}
