//! Evaluation of a polynomial over K at a fixed point. Its coefficients arrive lowest first.
//!
//! Block b goes to lane b mod 64, so that 64 lanes are computed in parallel. Horner's rule needs
//! the highest coefficient first; with γ = α^−64 the order is reversed. After G groups of 64
//! blocks, lane l holds
//!
//! ```text
//! Σ_g block(64g + l) · γ^(G−1−g),   and the value is   α^(64(G−1)) · Σ_l α^l · lane_l.
//! ```

use alloc::boxed::Box;

use dac_types::limits::BLOCK_BYTES;

use super::multiples::Multiples;
#[cfg(all(feature = "std", target_arch = "x86_64"))]
use super::{evaluate_avx2, evaluate_gfni};
use crate::field::Element;

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

/// The precomputed tables for evaluation at one point.
pub(crate) struct Evaluator {
    alpha: Element,
    kernel: Kernel,
}

enum Kernel {
    Portable {
        times_alpha: Multiples,
        times_gamma: Multiples,
    },
    #[cfg(all(feature = "std", target_arch = "x86_64"))]
    Avx2 {
        times_alpha: Multiples,
        kernel: evaluate_avx2::Kernel,
    },
    #[cfg(all(feature = "std", target_arch = "x86_64"))]
    Gfni(evaluate_gfni::Kernel),
}

impl Kernel {
    fn new(alpha: Element, gamma: Element) -> Self {
        #[cfg(all(feature = "std", target_arch = "x86_64"))]
        if let Some(kernel) = evaluate_gfni::Kernel::new(alpha, gamma) {
            return Self::Gfni(kernel);
        } else if let Some(kernel) = evaluate_avx2::Kernel::new(gamma) {
            return Self::Avx2 { times_alpha: Multiples::new(alpha), kernel };
        }
        Self::portable(alpha, gamma)
    }

    fn portable(alpha: Element, gamma: Element) -> Self {
        Self::Portable { times_alpha: Multiples::new(alpha), times_gamma: Multiples::new(gamma) }
    }

    /// Returns Σ_l α^l · lane_l.
    fn sum(&self, lanes: &Lanes) -> Element {
        match self {
            Self::Portable { times_alpha, .. } => sum(times_alpha, |lane| *lane_in_order(&lanes.0, lane)),
            #[cfg(all(feature = "std", target_arch = "x86_64"))]
            Self::Avx2 { times_alpha, .. } => sum(times_alpha, |lane| evaluate_avx2::lane(lanes, lane)),
            #[cfg(all(feature = "std", target_arch = "x86_64"))]
            Self::Gfni(kernel) => kernel.sum(lanes),
        }
    }
}

impl Evaluator {
    /// Prepares evaluation at a point. The point must not be zero, which has no γ.
    pub(crate) fn new(alpha: Element) -> Self {
        Self { alpha, kernel: Kernel::new(alpha, gamma(alpha)) }
    }

    /// For each group, multiplies every lane by γ and adds the lane's block.
    pub(crate) fn absorb(&self, lanes: &mut Lanes, groups: &[Group]) {
        match &self.kernel {
            Kernel::Portable { times_gamma, .. } => absorb_portably(times_gamma, lanes, groups),
            #[cfg(all(feature = "std", target_arch = "x86_64"))]
            Kernel::Avx2 { kernel, .. } => kernel.absorb(lanes, groups),
            #[cfg(all(feature = "std", target_arch = "x86_64"))]
            Kernel::Gfni(kernel) => kernel.absorb(lanes, groups),
        }
    }

    /// Returns the value of the polynomial that the lanes absorbed. `power` is the [`Self::power`]
    /// of the number of groups.
    pub(crate) fn finish(&self, lanes: &Lanes, power: Element) -> Element {
        self.kernel.sum(lanes) * power
    }

    /// Returns the power of α by which [`Self::finish`] multiplies the lanes' sum after this number
    /// of groups.
    pub(crate) fn power(&self, groups: u64) -> Element {
        self.alpha.pow(LANES as u64 * groups.saturating_sub(1))
    }
}

fn gamma(alpha: Element) -> Element {
    alpha.pow(LANES as u64).inverse()
}

fn sum(times_alpha: &Multiples, lane: impl Fn(usize) -> [u8; BLOCK_BYTES]) -> Element {
    let lanes = (0..LANES).rev().map(|index| Element::from_bytes(lane(index)));
    lanes.fold(Element::ZERO, |sum, lane| times_alpha.times(sum) + lane)
}

fn lane_in_order(lanes: &Group, lane: usize) -> &[u8; BLOCK_BYTES] {
    &lanes.as_chunks().0[lane]
}

/// The definition of absorbing. The lanes are in their natural order.
fn absorb_portably(times_gamma: &Multiples, lanes: &mut Lanes, groups: &[Group]) {
    let (lanes, _) = lanes.0.as_chunks_mut::<BLOCK_BYTES>();
    for group in groups {
        let (blocks, _) = group.as_chunks::<BLOCK_BYTES>();
        for (lane, block) in lanes.iter_mut().zip(blocks) {
            *lane = (times_gamma.times(Element::from_bytes(*lane)) + Element::from_bytes(*block)).to_bytes();
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;
    use alloc::vec::Vec;

    use proptest::prelude::*;

    use super::*;

    fn by_powers(alpha: Element, groups: &[Group]) -> Element {
        let blocks = groups.as_flattened().chunks(BLOCK_BYTES);
        blocks.rev().fold(Element::ZERO, |sum, block| {
            sum * alpha + Element::from_bytes(block.try_into().expect("groups hold whole blocks"))
        })
    }

    fn groups() -> impl Strategy<Value = Vec<Group>> {
        let bytes = proptest::collection::vec(any::<u8>(), GROUP_BYTES);
        let group = bytes.prop_map(|bytes| bytes.try_into().expect("of this length"));
        proptest::collection::vec(group, 1..7)
    }

    /// Returns every kernel that can run on this processor.
    fn kernels(alpha: Element) -> Vec<Kernel> {
        let gamma = gamma(alpha);
        let mut kernels = vec![Kernel::portable(alpha, gamma)];
        #[cfg(all(feature = "std", target_arch = "x86_64"))]
        {
            let times_alpha = Multiples::new(alpha);
            let avx2 = evaluate_avx2::Kernel::new(gamma);
            kernels.extend(avx2.map(|kernel| Kernel::Avx2 { times_alpha, kernel }));
            kernels.extend(evaluate_gfni::Kernel::new(alpha, gamma).map(Kernel::Gfni));
        }
        kernels
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(50))]

        #[test]
        fn every_kernel_evaluates(alpha: [u8; 16], groups in groups(), split in any::<proptest::sample::Index>()) {
            let alpha = Element::from_bytes(alpha);
            prop_assume!(alpha != Element::ZERO);
            let expected = by_powers(alpha, &groups);
            for kernel in kernels(alpha) {
                let evaluator = Evaluator { alpha, kernel };
                let mut lanes = Lanes::new();
                let (first, second) = groups.split_at(split.index(groups.len()));
                evaluator.absorb(&mut lanes, first);
                evaluator.absorb(&mut lanes, second);
                let power = evaluator.power(groups.len() as u64);
                prop_assert_eq!(evaluator.finish(&lanes, power), expected);
            }
        }
    }

    #[test]
    fn nothing_is_zero() {
        let evaluator = Evaluator::new(Element::from_bytes([9; 16]));
        assert_eq!(evaluator.finish(&Lanes::new(), evaluator.power(0)), Element::ZERO);
    }
}
