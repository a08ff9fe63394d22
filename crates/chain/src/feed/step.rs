//! One step over what one node shows.

use super::checkpoint::Checkpoint;
use super::cursor::Cursor;
use super::fact::Fact;
use super::pages::{self, Need};
use super::view::{FeedConfig, L1View};
use crate::error::ChainError;
use crate::rpc::BlockRef;

/// Blocks that are read again where a batch is left out. What was missed further back, a second
/// reading finds.
const MISSED_WITHIN_BLOCKS: u64 = 2_048;

/// How far one step brought.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// The chain was reorganised: what came from blocks above `to_block` is no longer so. Undo it,
    /// store the cursor, go on.
    Rewind {
        /// The newest block that still counts; 0 when reading begins anew.
        to_block: u64,
        /// From where to go on.
        cursor: Cursor,
    },
    /// Some more blocks were read. There may be no facts in them; the cursor is to be stored all
    /// the same.
    Facts {
        /// In the order in which they happened.
        facts: Vec<Fact>,
        /// From where to go on.
        cursor: Cursor,
        /// The newest block with the confirmations asked for. All was read when the cursor has come
        /// to it.
        head: BlockRef,
    },
    /// Everything up to the head was read before.
    UpToDate {
        /// The newest block with the confirmations asked for.
        head: BlockRef,
    },
    /// The endpoint has less of the chain than was read before, and nothing that contradicts it: it
    /// lags, or a reorganisation is still shorter than what it replaces. What was learned stays;
    /// ask again later.
    Behind {
        /// Its newest block with the confirmations asked for.
        head: BlockRef,
    },
}

impl Step {
    /// Whether all is read that has the confirmations asked for.
    pub fn is_caught_up(&self) -> bool {
        match self {
            Self::Rewind { .. } | Self::Behind { .. } => false,
            Self::Facts { cursor, head, .. } => cursor.next_block() > head.number,
            Self::UpToDate { .. } => true,
        }
    }
}

/// The newest block that has `confirmations` blocks on top.
pub async fn head<V: L1View + ?Sized>(view: &V, confirmations: u64) -> Result<BlockRef, ChainError> {
    let latest = view.latest().await?;
    if confirmations == 0 {
        return Ok(latest);
    }
    block(view, latest.number.saturating_sub(confirmations)).await
}

/// One bounded step: at most `page_blocks` blocks are read, in as many queries for one contract's
/// events as [`pages::read`] makes, and some 5 blocks looked at; some 10 where the chain was
/// reorganised, and some 40 when the first block is looked for.
///
/// That the answers are of one chain is seen from hashes: the last block of the page is asked for
/// before and after its events, and the last block read before is looked for in between.
/// [`ChainError::Replaced`] where the chain changed meanwhile.
pub async fn step<V: L1View + ?Sized>(
    view: &V,
    cursor: &Cursor,
    config: &FeedConfig,
) -> Result<Step, ChainError> {
    let head = head(view, config.confirmations).await?;
    step_at(view, cursor, head, config.page_blocks, Need::Some).await
}

/// The same where the head is known, which must be on the node's chain.
pub(super) async fn step_at<V: L1View + ?Sized>(
    view: &V,
    cursor: &Cursor,
    head: BlockRef,
    page_blocks: u64,
    need: Need,
) -> Result<Step, ChainError> {
    let Some(newest) = cursor.newest() else { return locate(view, cursor, head).await };
    if head.number <= newest.number {
        if head.number == newest.number && head.hash == newest.hash {
            return Ok(Step::UpToDate { head });
        }
        return look_back(view, cursor, head).await;
    }
    let from = cursor.next_block();
    let blocks = page_blocks.min(head.number - from + 1).max(1);
    let to = from + (if need == Need::All { blocks } else { pages::widest(view, blocks) } - 1);
    let last = if to == head.number { head } else { block(view, to).await? };
    if !matches!(place(view, newest).await?, Place::Same) {
        return look_back(view, cursor, head).await;
    }
    let (facts, read_to) = pages::read(view, cursor.origin(), from, to, need).await?;
    let read_last = if read_to == to { last } else { block(view, read_to).await? };
    if block(view, to).await? != last {
        return Err(ChainError::Replaced { block: to });
    }
    let error = match cursor.advanced(read_last, head.number, &facts) {
        Ok(cursor) => return Ok(Step::Facts { cursor, facts, head }),
        Err(error) => error,
    };
    // A batch that is left out may have settled in blocks that were read from a node without their
    // events.
    let Some((cursor, facts)) = missed_before(view, cursor, facts).await? else { return Err(error) };
    if block(view, to).await? != last {
        return Err(ChainError::Replaced { block: to });
    }
    Ok(Step::Facts { cursor: cursor.advanced(read_last, head.number, &facts)?, facts, head })
}

/// The last blocks that were read, again, and what follows them: the cursor before them, and all
/// facts from there on. None where that is no further back than where reading stands.
async fn missed_before<V: L1View + ?Sized>(
    view: &V,
    cursor: &Cursor,
    facts: Vec<Fact>,
) -> Result<Option<(Cursor, Vec<Fact>)>, ChainError> {
    let (next_block, checkpoints) = (cursor.next_block(), cursor.checkpoints());
    let is_near = |checkpoint: &Checkpoint| checkpoint.number + MISSED_WITHIN_BLOCKS >= next_block;
    let has_last = |checkpoint: &Checkpoint| checkpoint.settled == cursor.settled();
    let (near, last) = (checkpoints.iter().position(is_near), checkpoints.iter().position(has_last));
    let (Some(near), Some(last)) = (near, last) else { return Ok(None) };
    // The checkpoint before the last batch that is known: the one after it may lie behind what was
    // missed.
    let position = last.saturating_sub(1).max(near);
    let before = cursor.rewound(position + 1);
    if before.next_block() == next_block {
        return Ok(None);
    }
    let from = before.next_block();
    let (mut all, _) = pages::read(view, cursor.origin(), from, next_block - 1, Need::All).await?;
    all.extend(facts);
    Ok(Some((before, all)))
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
pub(super) enum Place {
    /// There.
    Same,
    /// Another one has its number.
    Replaced,
    /// The node has none of that number.
    Unknown,
}

pub(super) async fn place<V: L1View + ?Sized>(
    view: &V,
    checkpoint: &Checkpoint,
) -> Result<Place, ChainError> {
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
    // Those below `low` are there, those from `high` on are not; and whether another one is in the
    // place of that at `high`.
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
    view.block_at(number).await?.ok_or(ChainError::BlockUnknown { block: number })
}
