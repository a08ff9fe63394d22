//! How far one contract was read, and how to notice that the chain below was replaced: no I/O.

use alloy::primitives::Address;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::checkpoint::Checkpoint;
use super::fact::{Fact, Origin};
use super::mark::{DEPTHS, Mark};
use crate::error::ChainError;
use crate::rpc::BlockRef;

/// Checkpoints of one cursor, at most. As they are thinned out, some 70 cover a chain of four
/// milliards of blocks.
const CHECKPOINTS_MAX: usize = 96;
/// A stored cursor, at most: what is longer was not written here.
const TEXT_MAX_BYTES: usize = 64 << 10;

/// A text that is no cursor.
#[derive(Debug, Error)]
pub enum CursorError {
    /// It cannot be read.
    #[error("the cursor is not understood: {0}")]
    Text(#[from] serde_json::Error),
    /// Too long.
    #[error("a cursor has at most {limit} bytes, got {got}")]
    Length {
        /// Bytes.
        got: usize,
        /// Bytes allowed.
        limit: usize,
    },
    /// Too many checkpoints.
    #[error("a cursor has at most {limit} checkpoints, got {got}")]
    TooMany {
        /// How many.
        got: usize,
        /// Allowed.
        limit: usize,
    },
    /// Too many marks of second readings.
    #[error("a cursor has at most {limit} marks of second readings, got {got}")]
    TooManyMarks {
        /// How many.
        got: usize,
        /// Allowed.
        limit: usize,
    },
    /// Checkpoints out of order.
    #[error("the cursor's checkpoint {position} does not lie above the one before it")]
    NotAscending {
        /// Which.
        position: usize,
    },
}

/// How far one contract was read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cursor {
    origin: Origin,
    /// Nothing happened before that time, in Unix seconds.
    since: u64,
    /// Ascending. The first is the block before the first one that is read, and is kept for good;
    /// none while it was not looked for.
    pub(super) checkpoints: Vec<Checkpoint>,
    /// How far blocks were read a second time, for each depth at which they are; empty in what
    /// former versions stored.
    #[serde(default)]
    pub(super) marks: Vec<Mark>,
}

impl Cursor {
    /// Nothing was read yet. What is older than `since`, in Unix seconds, will not be: the time at
    /// which the first epoch became active, before which nothing can be recorded or settled; 0
    /// where that is not known.
    pub const fn new(origin: Origin, since: u64) -> Self {
        Self { origin, since, checkpoints: Vec::new(), marks: Vec::new() }
    }

    /// The contract.
    pub const fn origin(&self) -> Origin {
        self.origin
    }

    /// Since when it is read, in Unix seconds.
    pub const fn since(&self) -> u64 {
        self.since
    }

    /// The first block not read yet; 0 while even the first one to read was not looked for.
    pub fn next_block(&self) -> u64 {
        self.newest().map_or(0, |newest| newest.number + 1)
    }

    /// The last batch that settled among the blocks read; 0 if none did.
    pub fn settled(&self) -> u64 {
        self.newest().map_or(0, |newest| newest.settled)
    }

    /// The last block read.
    pub fn newest(&self) -> Option<&Checkpoint> {
        self.checkpoints.last()
    }

    /// Blocks whose hashes are known, ascending.
    pub fn checkpoints(&self) -> &[Checkpoint] {
        &self.checkpoints
    }

    /// To be stored.
    pub fn to_text(&self) -> String {
        serde_json::to_string(self).expect("numbers and hashes can be written down")
    }

    /// What was stored.
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

    /// Reading begins after this block.
    pub(super) fn located(&self, anchor: BlockRef) -> Self {
        let anchor = Checkpoint { number: anchor.number, hash: anchor.hash, settled: 0, facts: Some(0) };
        Self { checkpoints: vec![anchor], marks: vec![Mark::at(&anchor); DEPTHS.len()], ..*self }
    }

    /// The marks once blocks up to `newest` are read: what is deep already when it is read first is
    /// not read again.
    fn marks_after(&self, newest: &Checkpoint, head: u64) -> Vec<Mark> {
        let read = self.newest().map_or(0, |newest| newest.number);
        let marks = self.marks.iter().zip(&DEPTHS).map(|(mark, depth)| {
            let is_deep = newest.number.saturating_add(depth.blocks) <= head;
            if is_deep { mark.passing_over(read, newest) } else { *mark }
        });
        marks.collect()
    }

    /// Everything up to `last` was read while the chain's head was at `head`, and `facts` is what
    /// was in it. Fails where a batch that settled is missing from it.
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

    /// Only the first `kept` checkpoints are still on the chain; with none of them, nothing was
    /// read.
    pub(super) fn rewound(&self, kept: usize) -> Self {
        let checkpoints = self.checkpoints[..kept].to_vec();
        let marks = checkpoints
            .last()
            .map_or_else(Vec::new, |newest| self.marks.iter().map(|mark| mark.rewound(newest)).collect());
        Self { checkpoints, marks, ..*self }
    }

    /// A batch is known to have settled in a block that was read before, where that was missed.
    pub(super) fn settled_before(&mut self, batch_number: u64, block: u64) {
        for checkpoint in self.checkpoints.iter_mut().filter(|checkpoint| checkpoint.number >= block) {
            checkpoint.settled = checkpoint.settled.max(batch_number);
        }
    }

    /// The further behind the newest, the fewer: between two neighbours lies at most the distance
    /// of the younger one from the newest, or one page. So a reorganisation has twice its depth, or
    /// that and a page, read again.
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

/// The last batch that settled, where `settled` was the last one before these facts.
pub(super) fn settled_after(settled: u64, facts: &[Fact]) -> Result<u64, ChainError> {
    facts.iter().try_fold(settled, |settled, fact| match fact {
        Fact::Settled { rollup, batch } => {
            check_next(*rollup, settled, batch.batch_number).map(|()| batch.batch_number)
        }
        _ => Ok(settled),
    })
}

/// Batches settle one after the other: a number left out is an event left out.
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
