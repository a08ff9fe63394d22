//! One step over what one node shows.

use super::{Checkpoint, Cursor, FeedConfig, L1View, Step};
use crate::error::ChainError;
use crate::rpc::BlockRef;

/// The newest block that has `confirmations` blocks on top.
pub async fn head<V: L1View + ?Sized>(view: &V, confirmations: u64) -> Result<BlockRef, ChainError> {
    let latest = view.latest().await?;
    if confirmations == 0 {
        return Ok(latest);
    }
    block(view, latest.number.saturating_sub(confirmations)).await
}

/// One bounded step: at most `page_blocks` blocks are read, at most one contract's events of them asked for (again in halves where
/// they are too many), and some 10 blocks looked at; some 40 more when the first block is looked for.
///
/// That the answers are of one chain is seen from hashes: the last block of the page is asked for before and after its events, and
/// the last block read before is looked for in between. [`ChainError::Replaced`] where the chain changed meanwhile.
pub async fn step<V: L1View + ?Sized>(
    view: &V,
    cursor: &Cursor,
    config: &FeedConfig,
) -> Result<Step, ChainError> {
    let head = head(view, config.confirmations).await?;
    let Some(newest) = cursor.newest() else { return locate(view, cursor, head).await };
    if head.number <= newest.number {
        if head.number == newest.number && head.hash == newest.hash {
            return Ok(Step::UpToDate { head });
        }
        return look_back(view, cursor, head).await;
    }
    let from = cursor.next_block();
    let mut to = head.number.min(from.saturating_add(config.page_blocks.max(1) - 1));
    loop {
        let last = if to == head.number { head } else { block(view, to).await? };
        if !matches!(place(view, newest).await?, Place::Same) {
            return look_back(view, cursor, head).await;
        }
        let facts = match view.facts(cursor.origin(), from, to).await {
            Err(error) if error.is_crowded() && to > from => {
                to = from + (to - from) / 2;
                continue;
            }
            facts => facts?,
        };
        if block(view, to).await? != last {
            return Err(ChainError::Replaced { block: to });
        }
        return Ok(Step::Facts { cursor: cursor.advanced(last, &facts)?, facts, head });
    }
}

/// Where to begin: at the first block that is not older than the cursor's time.
async fn locate<V: L1View + ?Sized>(view: &V, cursor: &Cursor, head: BlockRef) -> Result<Step, ChainError> {
    if head.timestamp < cursor.since() || head.number == 0 {
        return Ok(Step::UpToDate { head });
    }
    // The first block has no transactions. All below `low` are older, `high` is not.
    let (mut low, mut high) = (1, head.number);
    while low < high {
        let middle = low + (high - low) / 2;
        if block(view, middle).await?.timestamp < cursor.since() {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    let anchor = block(view, high - 1).await?;
    Ok(Step::Facts { facts: Vec::new(), cursor: cursor.located(anchor), head })
}

/// Where a block that was read is today.
enum Place {
    /// There.
    Same,
    /// Another one has its number.
    Replaced,
    /// The node has none of that number.
    Unknown,
}

async fn place<V: L1View + ?Sized>(view: &V, checkpoint: &Checkpoint) -> Result<Place, ChainError> {
    Ok(match view.block_at(checkpoint.number).await? {
        Some(block) if block.hash == checkpoint.hash => Place::Same,
        Some(_) => Place::Replaced,
        None => Place::Unknown,
    })
}

/// Looks for the newest block read that is still there.
async fn look_back<V: L1View + ?Sized>(
    view: &V,
    cursor: &Cursor,
    head: BlockRef,
) -> Result<Step, ChainError> {
    let checkpoints = cursor.checkpoints();
    // Those below `low` are there, those from `high` on are not; and whether another one is in the place of that at `high`.
    let (mut low, mut high, mut replaced) = (0, checkpoints.len(), false);
    while low < high {
        let middle = low + (high - low) / 2;
        match place(view, &checkpoints[middle]).await? {
            Place::Same => low = middle + 1,
            Place::Replaced => (high, replaced) = (middle, true),
            Place::Unknown => (high, replaced) = (middle, false),
        }
    }
    if !replaced {
        return Ok(Step::Behind { head });
    }
    let cursor = cursor.rewound(high);
    Ok(Step::Rewind { to_block: cursor.newest().map_or(0, |newest| newest.number), cursor })
}

/// A block that was there a moment ago.
async fn block<V: L1View + ?Sized>(view: &V, number: u64) -> Result<BlockRef, ChainError> {
    view.block_at(number).await?.ok_or(ChainError::Replaced { block: number })
}
