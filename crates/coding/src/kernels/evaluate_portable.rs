//! The portable evaluation, which defines what the other kernels compute.

use dac_types::limits::BLOCK_BYTES;

use super::lanes::{Group, LANES, Lanes};
use super::multiples::Multiples;
use crate::field::Element;

/// The tables for evaluation at one point. The lanes are in their natural order.
pub(super) struct Kernel {
    times_alpha: Multiples,
    times_gamma: Multiples,
}

impl Kernel {
    pub(super) fn new(alpha: Element, gamma: Element) -> Self {
        Self { times_alpha: Multiples::new(alpha), times_gamma: Multiples::new(gamma) }
    }

    /// For each group, multiplies every lane by γ and adds the lane's block.
    pub(super) fn absorb(&self, lanes: &mut Lanes, groups: &[Group]) {
        let (lanes, _) = lanes.0.as_chunks_mut::<BLOCK_BYTES>();
        for group in groups {
            let (blocks, _) = group.as_chunks::<BLOCK_BYTES>();
            for (lane, block) in lanes.iter_mut().zip(blocks) {
                let product = self.times_gamma.times(Element::from_bytes(*lane));
                *lane = (product + Element::from_bytes(*block)).to_bytes();
            }
        }
    }

    /// Returns Σ_l α^l · lane_l.
    pub(super) fn sum(&self, lanes: &Lanes) -> Element {
        sum(&self.times_alpha, |lane| lanes.0.as_chunks().0[lane])
    }
}

/// Returns Σ_l α^l · lane_l of lanes that `lane` reads one by one.
pub(super) fn sum(times_alpha: &Multiples, lane: impl Fn(usize) -> [u8; BLOCK_BYTES]) -> Element {
    let lanes = (0..LANES).rev().map(|index| Element::from_bytes(lane(index)));
    lanes.fold(Element::ZERO, |sum, lane| times_alpha.times(sum) + lane)
}
