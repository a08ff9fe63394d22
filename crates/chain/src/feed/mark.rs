//! How far blocks were read a second time.

use serde::{Deserialize, Serialize};

use super::checkpoint::Checkpoint;

/// When blocks are read again.
#[derive(Clone, Copy, Debug)]
pub(super) struct Depth {
    /// Blocks that lie on top.
    pub(super) blocks: u64,
    /// Blocks that are read at once, at least: a reading costs three requests.
    pub(super) at_least: u64,
}

/// Nodes lag by a few blocks, and some of a provider's by hours.
pub(super) const DEPTHS: [Depth; 2] =
    [Depth { blocks: 64, at_least: 32 }, Depth { blocks: 2_048, at_least: 512 }];

/// What was known up to a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Known {
    pub(super) block: u64,
    /// Facts of the first reading; none where they were not counted.
    pub(super) facts: Option<u64>,
    /// The last batch that had settled; none where that is not known.
    pub(super) settled: Option<u64>,
}

impl Known {
    fn at(checkpoint: &Checkpoint) -> Self {
        Self { block: checkpoint.number, facts: checkpoint.facts, settled: Some(checkpoint.settled) }
    }

    pub(super) const fn nothing_at(block: u64) -> Self {
        Self { block, facts: None, settled: None }
    }
}

/// How far blocks were read again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Mark {
    pub(super) done: Known,
    /// After this block come some that were deep when they were first read: they are passed over,
    /// up to what is known there.
    pub(super) passed_over: Option<(u64, Known)>,
}

impl Mark {
    pub(super) fn at(checkpoint: &Checkpoint) -> Self {
        Self { done: Known::at(checkpoint), passed_over: None }
    }

    /// The same where nothing is known above this block any more.
    pub(super) fn rewound(self, newest: &Checkpoint) -> Self {
        if self.done.block > newest.number {
            return Self::at(newest);
        }
        Self { passed_over: self.passed_over.filter(|(_, to)| to.block <= newest.number), ..self }
    }

    /// Everything up to `newest`, after `read`, was deep when it was first read.
    pub(super) fn passing_over(self, read: u64, newest: &Checkpoint) -> Self {
        let to = Known::at(newest);
        match self.passed_over {
            None if self.done.block == read => Self { done: to, passed_over: None },
            None => Self { passed_over: Some((read, to)), ..self },
            Some((after, end)) if end.block == read => Self { passed_over: Some((after, to)), ..self },
            // A second piece is read again: that is rare, and does no harm.
            Some(_) => self,
        }
    }

    /// Read again up to here.
    pub(super) fn after(self, done: Known) -> Self {
        match self.passed_over {
            Some((after, end)) if done.block >= after => Self { done: end, passed_over: None },
            _ => Self { done, ..self },
        }
    }
}
