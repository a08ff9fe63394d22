//! Reads a range of blocks in as many queries as the node needs.

use super::fact::{Fact, Origin};
use super::view::L1View;
use crate::error::ChainError;

/// The most queries of one step, so that a node that grants few blocks at once does not hold up the
/// other contracts.
pub(super) const QUERIES_MAX: u64 = 16;
/// How often in one step a query without an answer is narrowed at once. The node may just be out of
/// reach.
const NARROWED_MAX: u32 = 3;

/// The number of blocks, out of `blocks`, that one step reads; at least 1.
pub(super) fn widest<V: L1View + ?Sized>(view: &V, blocks: u64) -> u64 {
    view.page_width(blocks.max(1)).saturating_mul(QUERIES_MAX).min(blocks).max(1)
}

/// How much of a range a reading must return.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Need {
    /// A part is enough: what the node gives before it fails counts, and the next step reads the
    /// rest.
    Some,
    /// The whole range, so that it can be compared with the answers of other nodes.
    All,
}

/// Reads a contract's facts in blocks `from` to `to`, and returns them with the last block read.
pub(super) async fn read<V: L1View + ?Sized>(
    view: &V,
    origin: Origin,
    from: u64,
    to: u64,
    need: Need,
) -> Result<(Vec<Fact>, u64), ChainError> {
    let (mut facts, mut next, mut queries, mut narrowed) = (Vec::new(), from, 0, 0);
    // A width that failed in this step is not tried again in it, whether or not the node remembers
    // it.
    let mut cap = to - from + 1;
    while next <= to && (queries < QUERIES_MAX || need == Need::All) {
        let width = view.page_width(cap.min(to - next + 1));
        match view.facts(origin, next, next + (width - 1)).await {
            Ok(more) => {
                facts.extend(more);
                next += width;
                queries += 1;
            }
            Err(error) if error.is_crowded() && width > 1 => cap = width / 2,
            Err(error) if error.may_be_crowded() && width > 1 && narrowed < NARROWED_MAX => {
                cap = width / 2;
                narrowed += 1;
            }
            Err(_) if next > from && need == Need::Some => break,
            Err(error) => return Err(error),
        }
    }
    Ok((facts, next - 1))
}
