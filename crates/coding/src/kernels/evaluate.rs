//! Evaluation of a polynomial over K at a fixed point. Its coefficients arrive lowest first.
//!
//! Block b goes to lane b mod 64, so that 64 lanes are computed in parallel. Horner's rule needs
//! the highest coefficient first; with γ = α^−64 the order is reversed. After G groups of 64
//! blocks, lane l holds
//!
//! ```text
//! Σ_g block(64g + l) · γ^(G−1−g),   and the value is   α^(64(G−1)) · Σ_l α^l · lane_l.
//! ```

use super::evaluate_portable;
use super::lanes::{Group, LANES, Lanes};
#[cfg(all(feature = "std", target_arch = "x86_64"))]
use super::multiples::Multiples;
#[cfg(all(feature = "std", target_arch = "x86_64"))]
use super::{evaluate_avx2, evaluate_gfni};
use crate::field::Element;

/// The precomputed tables for evaluation at one point.
pub(crate) struct Evaluator {
    alpha: Element,
    kernel: Kernel,
}

enum Kernel {
    Portable(evaluate_portable::Kernel),
    #[cfg(all(feature = "std", target_arch = "x86_64"))]
    Avx2 {
        times_alpha: Multiples,
        kernel: evaluate_avx2::Kernel,
    },
    #[cfg(all(feature = "std", target_arch = "x86_64"))]
    Gfni(evaluate_gfni::Kernel),
}

impl Kernel {
    /// Chooses the fastest kernel that can run on this processor.
    fn new(alpha: Element, gamma: Element) -> Self {
        #[cfg(all(feature = "std", target_arch = "x86_64"))]
        if let Some(kernel) = evaluate_gfni::Kernel::new(alpha, gamma) {
            return Self::Gfni(kernel);
        } else if let Some(kernel) = evaluate_avx2::Kernel::new(gamma) {
            return Self::Avx2 { times_alpha: Multiples::new(alpha), kernel };
        }
        Self::Portable(evaluate_portable::Kernel::new(alpha, gamma))
    }

    /// Returns Σ_l α^l · lane_l.
    fn sum(&self, lanes: &Lanes) -> Element {
        match self {
            Self::Portable(kernel) => kernel.sum(lanes),
            #[cfg(all(feature = "std", target_arch = "x86_64"))]
            Self::Avx2 { times_alpha, .. } => {
                evaluate_portable::sum(times_alpha, |lane| evaluate_avx2::lane(lanes, lane))
            }
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
            Kernel::Portable(kernel) => kernel.absorb(lanes, groups),
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

#[cfg(test)]
mod tests {
    use alloc::vec;
    use alloc::vec::Vec;

    use dac_types::limits::BLOCK_BYTES;
    use proptest::prelude::*;

    use super::*;
    use crate::kernels::lanes::GROUP_BYTES;

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
        let mut kernels = vec![Kernel::Portable(evaluate_portable::Kernel::new(alpha, gamma))];
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
