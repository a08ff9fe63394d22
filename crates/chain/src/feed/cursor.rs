//! How far one contract was read, and how to notice that the chain below was replaced. No I/O.

use alloy::primitives::Address;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::checkpoint::Checkpoint;
use super::fact::{Fact, Origin};
use super::mark::{DEPTHS, Mark};
use crate::error::ChainError;
use crate::rpc::BlockRef;

/// The most checkpoints of one cursor. As they are thinned out, about 70 cover a chain of four
/// billion blocks.
const CHECKPOINTS_MAX: usize = 96;
/// The greatest length of a stored cursor; a longer text was not written by this code.
const TEXT_MAX_BYTES: usize = 64 << 10;

/// A stored text is not a valid cursor.
#[derive(Debug, Error)]
pub enum CursorError {
    /// The text is not the JSON of a cursor.
    #[error("the cursor is not understood: {0}")]
    Text(#[from] serde_json::Error),
    /// The text is too long.
    #[error("a cursor has at most {limit} bytes, got {got}")]
    Length {
        /// The text's length in bytes.
        got: usize,
        /// The greatest length allowed.
        limit: usize,
    },
    /// The cursor has too many checkpoints.
    #[error("a cursor has at most {limit} checkpoints, got {got}")]
    TooMany {
        /// The number of checkpoints.
        got: usize,
        /// The greatest number allowed.
        limit: usize,
    },
    /// The cursor has too many marks of second readings.
    #[error("a cursor has at most {limit} marks of second readings, got {got}")]
    TooManyMarks {
        /// The number of marks.
        got: usize,
        /// The greatest number allowed.
        limit: usize,
    },
    /// The checkpoints are not in ascending order.
    #[error("the cursor's checkpoint {position} does not lie above the one before it")]
    NotAscending {
        /// The position of the checkpoint that is out of order.
        position: usize,
    },
}

/// The state of reading one contract: how far it was read, and the checkpoints.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cursor {
    origin: Origin,
    /// The Unix second before which nothing happened.
    since: u64,
    /// The checkpoints, ascending. The first is the block before the first one to read; it is never
    /// dropped. Empty until that block was looked for.
    pub(super) checkpoints: Vec<Checkpoint>,
    /// How far blocks were read a second time, one mark for each depth; empty in what earlier
    /// versions stored.
    #[serde(default)]
    pub(super) marks: Vec<Mark>,
}

impl Cursor {
    /// A cursor that has read nothing yet. Blocks older than `since`, in Unix seconds, will not be
    /// read: this is the time at which the first epoch became active, before which nothing can be
    /// recorded or settled. It is 0 if that time is not known.
    pub const fn new(origin: Origin, since: u64) -> Self {
        Self { origin, since, checkpoints: Vec::new(), marks: Vec::new() }
    }

    /// The contract that is read.
    pub const fn origin(&self) -> Origin {
        self.origin
    }

    /// The Unix second from which the contract is read.
    pub const fn since(&self) -> u64 {
        self.since
    }

    /// The first block that was not read yet; 0 while the first block to read was not looked for.
    pub fn next_block(&self) -> u64 {
        self.newest().map_or(0, |newest| newest.number + 1)
    }

    /// The last batch that settled in the blocks that were read; 0 if none did.
    pub fn settled(&self) -> u64 {
        self.newest().map_or(0, |newest| newest.settled)
    }

    /// The last block that was read.
    pub fn newest(&self) -> Option<&Checkpoint> {
        self.checkpoints.last()
    }

    /// The blocks whose hashes are known, ascending.
    pub fn checkpoints(&self) -> &[Checkpoint] {
        &self.checkpoints
    }

    /// The cursor as a text to store.
    pub fn to_text(&self) -> String {
        serde_json::to_string(self).expect("numbers and hashes can be written down")
    }

    /// The cursor from a stored text.
    pub fn from_text(text: &str) -> Result<Self, CursorError> {
        if text.len() > TEXT_MAX_BYTES {
            return Err(CursorError::Length { got: text.len(), limit: TEXT_MAX_BYTES });
        }
        let cursor: Self = serde_json::from_str(text)?;
        let got = cursor.checkpoints.len();
        if got > CHECKPOINTS_MAX {
            return Err(CursorError::TooMany { got, limit: CHECKPOINTS_MAX });
        }
        if cursor.marks.len() > DEPTHS.len() {
            return Err(CursorError::TooManyMarks { got: cursor.marks.len(), limit: DEPTHS.len() });
        }
        let misplaced = cursor.checkpoints.windows(2).position(|pair| pair[1].number <= pair[0].number);
        match misplaced {
            Some(before) => Err(CursorError::NotAscending { position: before + 1 }),
            None => Ok(cursor),
        }
    }

    /// This cursor with its start found: reading begins after block `anchor`.
    pub(super) fn located(&self, anchor: BlockRef) -> Self {
        let anchor = Checkpoint { number: anchor.number, hash: anchor.hash, settled: 0, facts: Some(0) };
        Self { checkpoints: vec![anchor], marks: vec![Mark::at(&anchor); DEPTHS.len()], ..*self }
    }

    /// The marks after blocks up to `newest` were read. Blocks that are already deep at their first
    /// reading are not read again.
    fn marks_after(&self, newest: &Checkpoint, head: u64) -> Vec<Mark> {
        let read = self.newest().map_or(0, |newest| newest.number);
        let marks = self.marks.iter().zip(&DEPTHS).map(|(mark, depth)| {
            let is_deep = newest.number.saturating_add(depth.blocks) <= head;
            if is_deep { mark.passing_over(read, newest) } else { *mark }
        });
        marks.collect()
    }

    /// This cursor after everything up to `last` was read while the chain's head was at `head`,
    /// with `facts` found there. Fails if a settled batch is missing from the facts.
    pub(super) fn advanced(&self, last: BlockRef, head: u64, facts: &[Fact]) -> Result<Self, ChainError> {
        let settled = settled_after(self.settled(), facts)?;
        let counted = self.newest().and_then(|newest| newest.facts).unwrap_or(0);
        let facts = Some(counted.saturating_add(facts.len() as u64));
        let newest = Checkpoint { number: last.number, hash: last.hash, settled, facts };
        let mut next = Self { marks: self.marks_after(&newest, head), ..self.clone() };
        next.checkpoints.push(newest);
        next.thin_out();
        Ok(next)
    }

    /// This cursor after a reorganisation that only the first `kept` checkpoints survived. If
    /// `kept` is 0, nothing counts as read.
    pub(super) fn rewound(&self, kept: usize) -> Self {
        let checkpoints = self.checkpoints[..kept].to_vec();
        let marks = checkpoints
            .last()
            .map_or_else(Vec::new, |newest| self.marks.iter().map(|mark| mark.rewound(newest)).collect());
        Self { checkpoints, marks, ..*self }
    }

    /// Notes that a batch settled in a block whose first reading missed it.
    pub(super) fn settled_before(&mut self, batch_number: u64, block: u64) {
        for checkpoint in self.checkpoints.iter_mut().filter(|checkpoint| checkpoint.number >= block) {
            checkpoint.settled = checkpoint.settled.max(batch_number);
        }
    }

    /// Drops checkpoints, the more the further behind the newest: between two neighbours there is
    /// at most the distance of the younger one from the newest, or one page. So after a
    /// reorganisation at most twice its depth is read again, or its depth and a page.
    fn thin_out(&mut self) {
        let Some(newest) = self.newest().map(|newest| newest.number) else { return };
        let mut position = 1;
        while position + 1 < self.checkpoints.len() {
            let (older, younger) = (self.checkpoints[position - 1], self.checkpoints[position + 1]);
            let spare = younger.number - older.number <= (newest - younger.number) / 2;
            if spare {
                self.checkpoints.remove(position);
            } else {
                position += 1;
            }
        }
        while self.checkpoints.len() > CHECKPOINTS_MAX {
            self.checkpoints.remove(1);
        }
    }
}

/// The last batch that settled, given that `settled` was the last one before these facts.
pub(super) fn settled_after(settled: u64, facts: &[Fact]) -> Result<u64, ChainError> {
    facts.iter().try_fold(settled, |settled, fact| match fact {
        Fact::Settled { rollup, batch } => {
            check_next(*rollup, settled, batch.batch_number).map(|()| batch.batch_number)
        }
        _ => Ok(settled),
    })
}

/// Fails if a number was left out: batches settle one after the other, so an event is missing.
fn check_next(contract: Address, after: u64, got: u64) -> Result<(), ChainError> {
    if after.checked_add(1) == Some(got) {
        Ok(())
    } else {
        Err(ChainError::EventsMissing { contract, after, got })
    }
}

#[cfg(test)]
mod tests {
    use alloy::primitives::{B256, U256};
    use proptest::prelude::*;

    use super::*;

    fn block(number: u64) -> BlockRef {
        BlockRef { number, hash: B256::from(U256::from(number + 1)), timestamp: number }
    }

    fn origin() -> Origin {
        Origin::Log(Address::repeat_byte(1))
    }

    proptest! {
        #[test]
        fn checkpoints_are_few_and_lie_as_dense_as_a_reorganisation_needs(
            pages in prop::collection::vec(prop_oneof![4 => Just(1u64), 1 => 1u64..1_000], 1..3_000)
        ) {
            let mut cursor = Cursor::new(origin(), 0).located(block(7));
            let mut head = 7;
            let mut all = vec![7];
            for page in pages {
                head += page;
                all.push(head);
                cursor = cursor.advanced(block(head), head, &[]).unwrap();
            }
            prop_assert!(cursor.checkpoints().len() <= 70, "{}", cursor.checkpoints().len());
            prop_assert_eq!(cursor.checkpoints()[0].number, 7);
            prop_assert_eq!(cursor.next_block(), head + 1);
            for depth in [0, 1, 2, 5, 32, 100, 1_000] {
                // The newest block read that such a reorganisation leaves, and the newest
                // checkpoint that it leaves.
                let Some(left) = all.iter().rev().find(|number| **number + depth <= head) else { continue };
                let kept = cursor.checkpoints().iter().rev().find(|kept| kept.number + depth <= head).unwrap();
                prop_assert!(left - kept.number <= head - left, "{depth}: {left} {} of {head}", kept.number);
            }
            prop_assert_eq!(&Cursor::from_text(&cursor.to_text()).unwrap(), &cursor);
        }
    }

    #[test]
    fn a_text_that_is_no_cursor_is_refused() {
        let cursor = Cursor::new(origin(), 5).located(block(3)).advanced(block(4), 4, &[]).unwrap();
        let mut swapped = cursor.clone();
        swapped.checkpoints.swap(0, 1);
        let refused = Cursor::from_text(&swapped.to_text());
        assert!(matches!(refused, Err(CursorError::NotAscending { position: 1 })), "{refused:?}");
        let mut many = cursor.clone();
        many.checkpoints =
            (0..100).map(|number| Checkpoint { number, hash: B256::ZERO, settled: 0, facts: None }).collect();
        assert!(matches!(Cursor::from_text(&many.to_text()), Err(CursorError::TooMany { got: 100, .. })));
        let mut marked = cursor.clone();
        marked.marks = vec![marked.marks[0]; 3];
        let refused = Cursor::from_text(&marked.to_text());
        assert!(matches!(refused, Err(CursorError::TooManyMarks { got: 3, .. })), "{refused:?}");
        assert!(matches!(Cursor::from_text("{}"), Err(CursorError::Text(_))));
        assert!(matches!(Cursor::from_text(&" ".repeat(70_000)), Err(CursorError::Length { .. })));
    }

    #[test]
    fn what_a_former_version_stored_is_read() {
        let origin = format!("{{\"Log\":\"{}\"}}", Address::repeat_byte(1));
        let hash = B256::ZERO;
        let text = format!(
            "{{\"origin\":{origin},\"since\":5,\"checkpoints\":[{{\"number\":3,\"hash\":\"{hash}\",\"settled\":0}}]}}"
        );
        let cursor = Cursor::from_text(&text).unwrap();
        assert_eq!((cursor.next_block(), cursor.marks.len(), cursor.checkpoints[0].facts), (4, 0, None));
        let next = cursor.advanced(block(4), 4, &[]).unwrap();
        assert_eq!(Cursor::from_text(&next.to_text()).unwrap(), next);
    }
}
