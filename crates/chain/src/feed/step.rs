//! One step of reading, over one node's view of L1.

use super::checkpoint::Checkpoint;
use super::cursor::Cursor;
use super::fact::Fact;
use super::pages::{self, Need};
use super::view::{FeedConfig, L1View};
use crate::error::ChainError;
use crate::rpc::BlockRef;

/// How many of the last blocks are read again if a batch was left out. A second reading finds what
/// was missed further back.
const MISSED_WITHIN_BLOCKS: u64 = 2_048;

/// The result of one step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// The chain was reorganised: facts from blocks above `to_block` no longer hold. The caller
    /// undoes them, stores the cursor and goes on.
    Rewind {
        /// The newest block that still counts; 0 if reading begins anew.
        to_block: u64,
        /// The cursor to go on from.
        cursor: Cursor,
    },
    /// Some more blocks were read. The cursor must be stored even if there are no facts in them.
    Facts {
        /// The facts, in the order in which they happened.
        facts: Vec<Fact>,
        /// The cursor to go on from.
        cursor: Cursor,
        /// The newest block with the confirmations asked for. Reading is complete when the cursor
        /// has reached it.
        head: BlockRef,
    },
    /// Everything up to the head had been read before.
    UpToDate {
        /// The newest block with the confirmations asked for.
        head: BlockRef,
    },
    /// The endpoint has less of the chain than was read before, and nothing that contradicts it: it
    /// lags, or a reorganisation is still shorter than what it replaces. The facts stay; the caller
    /// asks again later.
    Behind {
        /// The endpoint's newest block with the confirmations asked for.
        head: BlockRef,
    },
}

impl Step {
    /// Whether every block with the confirmations asked for was read.
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

/// Makes one bounded step. It reads at most `page_blocks` blocks, in as many queries for one
/// contract's events as [`pages::read`] makes, and looks at about 5 blocks; at about 10 if the
/// chain was reorganised, and at about 40 when it searches the first block.
///
/// Hashes show that the answers are of one chain: the last block of the page is asked for before
/// and after its events, and the last block read before is looked for in between. The step fails
/// with [`ChainError::Replaced`] if the chain changed meanwhile.
pub async fn step<V: L1View + ?Sized>(
    view: &V,
    cursor: &Cursor,
    config: &FeedConfig,
) -> Result<Step, ChainError> {
    let head = head(view, config.confirmations).await?;
    step_at(view, cursor, head, config.page_blocks, Need::Some).await
}

/// The same, up to a known head, which must be on the node's chain.
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

/// Reads the last blocks again, and the blocks that follow them. Returns the cursor before them,
/// and all facts from there on; `None` if that is no further back than the given cursor.
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
    // Starts at the checkpoint before the last known batch; the checkpoint after that batch may lie
    // above the blocks whose events were missed.
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

/// Finds the first block that is not older than the cursor's time, where reading begins.
async fn locate<V: L1View + ?Sized>(view: &V, cursor: &Cursor, head: BlockRef) -> Result<Step, ChainError> {
    if head.timestamp < cursor.since() || head.number == 0 {
        return Ok(Step::UpToDate { head });
    }
    // The search may begin at block 1, since block 0 has no transactions. All blocks below `low`
    // are older, `high` is not.
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

/// Whether a block that was read is still on the chain.
pub(super) enum Place {
    /// The block is still there.
    Same,
    /// Another block has its number.
    Replaced,
    /// The node has no block of that number.
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

/// Looks for the newest block read that is still on the chain.
async fn look_back<V: L1View + ?Sized>(
    view: &V,
    cursor: &Cursor,
    head: BlockRef,
) -> Result<Step, ChainError> {
    let checkpoints = cursor.checkpoints();
    // Checkpoints below `low` are still there, those from `high` on are not. `replaced` tells
    // whether another block was seen in the place of the one at `high`.
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

/// Reads a block that was there a moment ago.
async fn block<V: L1View + ?Sized>(view: &V, number: u64) -> Result<BlockRef, ChainError> {
    view.block_at(number).await?.ok_or(ChainError::BlockUnknown { block: number })
}
