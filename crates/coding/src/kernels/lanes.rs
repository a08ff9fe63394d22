//! The lanes of a running evaluation, which every kernel fills in its own order.

use alloc::boxed::Box;

use dac_types::limits::BLOCK_BYTES;

/// Number of lanes that are computed in parallel.
pub(super) const LANES: usize = 64;
/// Bytes of a group: one block for each lane.
pub(crate) const GROUP_BYTES: usize = LANES * BLOCK_BYTES;

/// One group of blocks. Bytes are absorbed in whole groups.
pub(crate) type Group = [u8; GROUP_BYTES];

/// The lanes of a running evaluation. Only the kernel that fills them knows their order in memory.
#[derive(Clone)]
pub(crate) struct Lanes(pub(super) Box<Group>);

impl Lanes {
    /// Makes lanes that have absorbed nothing.
    pub(crate) fn new() -> Self {
        Self(Box::new([0; GROUP_BYTES]))
    }

    /// Resets the lanes, as if they had absorbed nothing.
    #[cfg(feature = "reed-solomon")]
    pub(crate) fn clear(&mut self) {
        self.0.fill(0);
    }
}
