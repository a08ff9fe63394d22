//! Names of stored shards.

use std::fmt;

/// The name of a stored shard. It is drawn at random and never used for another shard, so that a
/// reader of a shard that was replaced in the meantime finds nothing rather than the wrong bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ShardId(i64);

impl ShardId {
    /// Draws a name that no shard has.
    pub fn draw() -> Self {
        Self(i64::from_ne_bytes(rand::random::<[u8; 8]>()) & i64::MAX)
    }

    /// Returns the name with this number, which a store read back.
    pub const fn from_number(number: i64) -> Self {
        Self(number)
    }

    /// Returns the number that stands for this name in a store. It is not negative.
    pub const fn number(self) -> i64 {
        self.0
    }
}

impl fmt::Display for ShardId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}
