//! Replacing one account in the tree: from the root before to the root after, along one path.

use crate::circuit::poseidon;
use crate::circuit::system::{Bit, System, Wire};
use crate::shape::{TREE_ARITY, TREE_DEPTH};
use crate::tree::Path;

/// Proves that `before` is the leaf at the index in the tree of the returned root, and what root it
/// has with `after` in its place.
///
/// `index` are the index's bits, lowest first, two a level.
pub fn replace(system: &mut System, index: &[Bit], path: &Path, before: Wire, after: Wire) -> (Wire, Wire) {
    assert_eq!(index.len(), 2 * TREE_DEPTH);
    let (mut before, mut after) = (before, after);
    for (level, digit) in index.chunks_exact(2).enumerate() {
        let chosen = one_hot(system, &digit[0], &digit[1]);
        let children = path[level].map(|child| system.variable(child));
        // The chosen child is the node that comes from below …
        for (chosen, child) in chosen.iter().zip(&children) {
            system.enforce(chosen, &(child - &before), &Wire::zero());
        }
        // … and another one takes its place.
        let change = &after - &before;
        let replaced: [Wire; TREE_ARITY] =
            std::array::from_fn(|child| &children[child] + &system.product(&chosen[child], &change));
        before = poseidon::hash(system, &children.each_ref());
        after = poseidon::hash(system, &replaced.each_ref());
    }
    (before, after)
}

/// Four wires, of which the one numbered low + 2·high is 1 and the others are 0.
fn one_hot(system: &mut System, low: &Bit, high: &Bit) -> [Wire; TREE_ARITY] {
    let both = system.and(low, high);
    let only_low = low.wire() - both.wire();
    let only_high = high.wire() - both.wire();
    let neither = &(&Wire::constant(1_u8) - low.wire()) - &only_high;
    [neither, only_low, only_high, both.wire().clone()]
}
