//! The second reading of blocks. Near the head, blocks may have been read from a node that did not
//! have their events yet, or withheld them. Once they lie deeper they are read again, from another
//! endpoint if there is one, and the events that the first reading missed are learned.
//!
//! This is cheap: whole pages are read, and only blocks that lay near the head at their first
//! reading. Blocks that were already deep then, such as a history that is caught up with, are read
//! once.

use super::checkpoint::Checkpoint;
use super::cursor::{Cursor, settled_after};
use super::fact::Fact;
use super::mark::{DEPTHS, Depth, Known, Mark};
use super::pages::{self, Need};
use super::step::{Place, place};
use super::view::{FeedConfig, L1View};
use crate::error::ChainError;

/// How many blocks are read again if an earlier version did not note how far it had come: a day of
/// mainnet.
const UNMARKED_BLOCKS: u64 = 7_200;

/// A range of blocks that is due for a second reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Due {
    /// The index of the depth in [`DEPTHS`].
    depth: usize,
    mark: Mark,
    to: u64,
    /// A block at or above `to` that must be on the node's chain.
    anchor: Checkpoint,
}

/// The result of a second reading.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecondReading {
    /// All facts in those blocks. The caller may know some already; learning them again changes
    /// nothing.
    pub facts: Vec<Fact>,
    /// The number of facts that the first reading missed; `None` if it did not count.
    pub missed: Option<u64>,
    /// The cursor that notes this reading. The first reading goes on from where it was.
    pub cursor: Cursor,
}

impl Cursor {
    /// Whether blocks are due for a second reading when the chain's head is at `head`.
    pub fn is_second_reading_due(&self, head: u64) -> bool {
        self.due(head).is_some()
    }

    fn due(&self, head: u64) -> Option<Due> {
        let (first, newest) = (self.checkpoints().first()?, self.newest()?);
        let unmarked = first.number.max(newest.number.saturating_sub(UNMARKED_BLOCKS));
        let unmarked = Mark { done: Known::nothing_at(unmarked), passed_over: None };
        DEPTHS.iter().enumerate().find_map(|(depth, Depth { blocks, at_least })| {
            let mark = self.marks.get(depth).copied().unwrap_or(unmarked);
            let deep = |checkpoint: &&Checkpoint| checkpoint.number.saturating_add(*blocks) <= head;
            let anchor = self.checkpoints().iter().rev().find(deep)?;
            let done = mark.done.block;
            let (to, at_least) = match mark.passed_over {
                // The rest before the blocks that are passed over is read, however short it is.
                Some((after, _)) if after <= anchor.number => (after, 1),
                _ => (anchor.number, *at_least),
            };
            (to >= done.saturating_add(at_least)).then_some(Due { depth, mark, to, anchor: *anchor })
        })
    }

    /// The cursor after a second reading found these facts up to a block, and how many were missed.
    fn read_again(&self, due: &Due, read_to: u64, facts: &[Fact]) -> Result<(Self, Option<u64>), ChainError> {
        let first_settled = facts.iter().find_map(|fact| match fact {
            Fact::Settled { batch, .. } => Some(batch.batch_number.saturating_sub(1)),
            _ => None,
        });
        let before = due.mark.done.settled.or(first_settled);
        let settled = before.map(|before| settled_after(before, facts)).transpose()?;
        // This reading may have met a node that withholds what the first one saw, so the next
        // blocks are checked against what is known.
        let seen = self.checkpoints().iter().rev().find(|checkpoint| checkpoint.number <= read_to);
        let settled = settled.max(seen.map(|checkpoint| checkpoint.settled));
        let mut next = self.clone();
        for fact in facts {
            if let Fact::Settled { batch, .. } = fact {
                next.settled_before(batch.batch_number, batch.block);
            }
        }
        let exact = self.checkpoints().iter().find(|checkpoint| checkpoint.number == read_to);
        let counted = exact.and_then(|checkpoint| checkpoint.facts);
        let missed = counted
            .zip(due.mark.done.facts)
            .map(|(after, before)| (facts.len() as u64).saturating_sub(after.saturating_sub(before)));
        // The missed facts count from now on, so that a third reading does not report them again.
        next.count_before(read_to, missed.unwrap_or(0));
        let unmarked = Mark { passed_over: None, ..due.mark };
        while next.marks.len() < DEPTHS.len() {
            next.marks.push(unmarked);
        }
        let facts = counted.map(|counted| counted.saturating_add(missed.unwrap_or(0)));
        next.marks[due.depth] = due.mark.after(Known { block: read_to, facts, settled });
        Ok((next, missed))
    }

    /// Adds so many missed facts to the count of all checkpoints from `block` on.
    fn count_before(&mut self, block: u64, missed: u64) {
        let checkpoints =
            self.checkpoints.iter_mut().map(|checkpoint| (checkpoint.number, &mut checkpoint.facts));
        let known = self.marks.iter_mut().flat_map(|Mark { done, passed_over }| {
            [Some(done), passed_over.as_mut().map(|(_, end)| end)].into_iter().flatten()
        });
        let known = known.map(|known| (known.block, &mut known.facts));
        for (_, facts) in checkpoints.chain(known).filter(|(number, _)| *number >= block) {
            *facts = facts.map(|facts| facts.saturating_add(missed));
        }
    }
}

/// Reads blocks again that are due when the chain's head is at `head`, at most a page of them. This
/// takes a query for a contract's events, and a look at one block before and after it, which shows
/// that they are on the chain that was read first.
pub async fn read_again<V: L1View + ?Sized>(
    view: &V,
    cursor: &Cursor,
    head: u64,
    config: &FeedConfig,
) -> Result<Option<SecondReading>, ChainError> {
    read_again_at(view, cursor, head, config.page_blocks, Need::Some).await
}

pub(super) async fn read_again_at<V: L1View + ?Sized>(
    view: &V,
    cursor: &Cursor,
    head: u64,
    page_blocks: u64,
    need: Need,
) -> Result<Option<SecondReading>, ChainError> {
    let Some(due) = cursor.due(head) else { return Ok(None) };
    let done = due.mark.done.block;
    let (from, blocks) = (done + 1, page_blocks.min(due.to - done).max(1));
    let to = from + (if need == Need::All { blocks } else { pages::widest(view, blocks) } - 1);
    check_anchor(view, &due.anchor).await?;
    let (facts, read_to) = pages::read(view, cursor.origin(), from, to, need).await?;
    check_anchor(view, &due.anchor).await?;
    let (cursor, missed) = cursor.read_again(&due, read_to, &facts)?;
    Ok(Some(SecondReading { facts, missed, cursor }))
}

async fn check_anchor<V: L1View + ?Sized>(view: &V, anchor: &Checkpoint) -> Result<(), ChainError> {
    match place(view, anchor).await? {
        Place::Same => Ok(()),
        Place::Replaced => Err(ChainError::Replaced { block: anchor.number }),
        Place::Unknown => Err(ChainError::BlockUnknown { block: anchor.number }),
    }
}
