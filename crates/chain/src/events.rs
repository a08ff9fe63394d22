//! Reads a contract's events in bounded ranges of blocks. Ranges get shorter for endpoints that
//! grant fewer blocks in one query.

use alloy::primitives::{Address, B256, LogData};
use alloy::sol_types::SolEvent;

use crate::error::ChainError;
use crate::rpc::{Endpoint, Endpoints, Log};

/// The number of blocks in one query: public endpoints grant this many.
pub(crate) const BLOCKS_PER_PAGE: u64 = 1_000;

/// The most queries of one endpoint for a page on which several endpoints must agree. The endpoint
/// that grants the fewest blocks in one query needs the most queries.
const AGREED_QUERIES_MAX: u64 = 16;

/// An event, with its block and transaction.
pub(crate) struct Found<E> {
    pub(crate) event: E,
    pub(crate) block: u64,
    pub(crate) tx: B256,
}

/// The contract and the topics of the wanted events.
#[derive(Clone, Copy)]
pub(crate) struct Filter<'a> {
    pub(crate) contract: Address,
    pub(crate) topics: &'a [Option<B256>],
}

/// Returns the events from block `from` on, and the first block that was not looked at. It looks at
/// no more than `width` blocks and at none above `to`. Endpoints may grant fewer blocks; a range
/// without an answer is halved until there is an answer or one block is left.
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
    if endpoints.agree() > 1 {
        let found = agreed_page(endpoints, filter, from, &mut last).await?;
        return Ok((found, last.saturating_add(1)));
    }
    loop {
        let result = endpoints
            .first(|endpoint| async move {
                let last = from + (endpoint.page_width(last - from + 1) - 1);
                let logs = endpoint.logs(filter.contract, filter.topics, from, last).await?;
                let found: Result<Vec<_>, _> = logs
                    .iter()
                    .filter(|log| !log.removed)
                    .map(|log| decode::<E>(&endpoint, filter.contract, log, from, last))
                    .collect();
                Ok((found?, last.saturating_add(1)))
            })
            .await;
        match result {
            // The endpoints remember which width failed. As long as one of them may grant a
            // narrower range, that is tried.
            Err(error) if error.may_be_crowded() && endpoints.page_width(last - from + 1) > 1 => {
                last = from + (last - from) / 2;
            }
            result => return result,
        }
    }
}

/// Returns the events of the blocks up to `last` if as many endpoints as must agree give the same
/// ones. `last` is lowered to what all of them grant. The last block's hash, read before and after,
/// shows that the endpoints speak of one chain.
async fn agreed_page<E: SolEvent>(
    endpoints: &Endpoints,
    filter: Filter<'_>,
    from: u64,
    last: &mut u64,
) -> Result<Vec<Found<E>>, ChainError> {
    let blocks = *last - from + 1;
    *last = from + (endpoints.narrowest_page(blocks).saturating_mul(AGREED_QUERIES_MAX).min(blocks) - 1);
    let last = *last;
    let read = |endpoint: Endpoint| async move {
        let block = endpoint.known_block(last).await?;
        let (mut logs, mut next) = (Vec::new(), from);
        let mut cap = last - from + 1;
        while next <= last {
            let width = endpoint.page_width(cap.min(last - next + 1));
            match endpoint.logs(filter.contract, filter.topics, next, next + (width - 1)).await {
                Ok(more) => {
                    logs.extend(more.into_iter().filter(|log| !log.removed));
                    next += width;
                }
                Err(error) if error.may_be_crowded() && width > 1 => cap = width / 2,
                Err(error) => return Err(error),
            }
        }
        // Sorted, since endpoints may order their answers differently.
        logs.sort_by_key(|log| (log.block, log.index));
        if endpoint.known_block(last).await? != block {
            return Err(ChainError::Replaced { block: last });
        }
        let found: Result<Vec<_>, _> =
            logs.iter().map(|log| decode::<E>(&endpoint, filter.contract, log, from, last)).collect();
        Ok((block, logs, found?))
    };
    let (_, _, found) =
        endpoints.agreed_by("a contract's events", read, |a, b| (&a.0, &a.1) == (&b.0, &b.1)).await?;
    Ok(found)
}

/// Decodes one log as the expected event; a log that is something else is an error.
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
