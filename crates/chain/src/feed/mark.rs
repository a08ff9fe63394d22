//! How far blocks were read a second time.

use serde::{Deserialize, Serialize};

use super::checkpoint::Checkpoint;

/// A depth below the head at which blocks are read again.
#[derive(Clone, Copy, Debug)]
pub(super) struct Depth {
    /// The number of blocks that lie on top.
    pub(super) blocks: u64,
    /// The least number of blocks that are read at once, since a reading costs three requests.
    pub(super) at_least: u64,
}

/// The depths of second readings: most nodes lag by a few blocks, and some of a provider's by
/// hours.
pub(super) const DEPTHS: [Depth; 2] =
    [Depth { blocks: 64, at_least: 32 }, Depth { blocks: 2_048, at_least: 512 }];

/// The facts that were known up to a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Known {
    pub(super) block: u64,
    /// The number of facts of the first reading; `None` if they were not counted.
    pub(super) facts: Option<u64>,
    /// The last batch that had settled; `None` if that is not known.
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

/// How far blocks were read again at one depth.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Mark {
    pub(super) done: Known,
    /// A block after which blocks follow that were deep at their first reading, and what is known
    /// at the end of those. The second reading passes over them.
    pub(super) passed_over: Option<(u64, Known)>,
}

impl Mark {
    pub(super) fn at(checkpoint: &Checkpoint) -> Self {
        Self { done: Known::at(checkpoint), passed_over: None }
    }

    /// This mark after a reorganisation above which nothing is known: `newest` is the last block
    /// left.
    pub(super) fn rewound(self, newest: &Checkpoint) -> Self {
        if self.done.block > newest.number {
            return Self::at(newest);
        }
        Self { passed_over: self.passed_over.filter(|(_, to)| to.block <= newest.number), ..self }
    }

    /// This mark with the blocks after `read`, up to `newest`, passed over: they were deep at their
    /// first reading.
    pub(super) fn passing_over(self, read: u64, newest: &Checkpoint) -> Self {
        let to = Known::at(newest);
        match self.passed_over {
            None if self.done.block == read => Self { done: to, passed_over: None },
            None => Self { passed_over: Some((read, to)), ..self },
            Some((after, end)) if end.block == read => Self { passed_over: Some((after, to)), ..self },
            // A second such range is read again; that is rare and does no harm.
            Some(_) => self,
        }
    }

    /// This mark after a second reading up to here.
    pub(super) fn after(self, done: Known) -> Self {
        match self.passed_over {
            Some((after, end)) if done.block >= after => Self { done: end, passed_over: None },
            _ => Self { done, ..self },
        }
    }
}
