//! The fees that a transaction offers: what L1 asks for, within bounds that no endpoint's answer
//! can move.

use super::fees::Fees;
use crate::amount::GWEI;
use crate::error::ChainError;

/// A replacement may offer this many times the tip cap of a first transaction, because pools demand
/// an eighth more for each replacement.
const REPLACEMENT_TIP: u128 = 2;

/// The tip if no node suggests one, in wei per gas.
pub const USUAL_TIP: u128 = GWEI;

/// The bounds of the fees that are offered, in wei per gas.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FeeBounds {
    /// The most for base fee and tip together.
    pub fee_cap: u128,
    /// The highest tip; a replacement may offer twice as much.
    pub tip_cap: u128,
    /// The smallest tip, even if endpoints suggest less.
    pub tip_floor: u128,
}

/// The price of gas on L1, and the bounds of what is offered for it.
#[derive(Clone, Copy, Debug)]
pub struct Market {
    /// The base fee of the newest block.
    pub base_fee: u128,
    /// The tip that an endpoint suggests.
    pub suggested_tip: u128,
    /// The least tip that pools accept, as their refusals say; 0 if none said so.
    pub asked_tip: u128,
    /// The bounds of the fees that are offered.
    pub bounds: FeeBounds,
}

impl Market {
    fn tip(&self) -> u128 {
        let FeeBounds { tip_cap, tip_floor, .. } = self.bounds;
        self.suggested_tip.max(self.asked_tip).max(tip_floor).min(tip_cap)
    }

    /// The fees of a transaction that replaces none. Fails if the cap is less than L1 asks for.
    pub fn first(&self) -> Result<Fees, ChainError> {
        let FeeBounds { fee_cap, tip_cap, .. } = self.bounds;
        if self.asked_tip > tip_cap {
            return Err(ChainError::TipCap { needed: self.asked_tip, cap: tip_cap });
        }
        Fees::initial(self.base_fee, self.tip(), fee_cap)
    }

    /// The fees of a transaction that replaces one that offers `last`.
    pub fn replacement(&self, last: Fees) -> Result<Fees, ChainError> {
        let FeeBounds { fee_cap, tip_cap, .. } = self.bounds;
        let tip_cap = tip_cap.saturating_mul(REPLACEMENT_TIP);
        if self.asked_tip > tip_cap {
            return Err(ChainError::TipCap { needed: self.asked_tip, cap: tip_cap });
        }
        last.bumped(self.base_fee, self.tip().max(self.asked_tip), fee_cap, tip_cap)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const BOUNDS: FeeBounds = FeeBounds { fee_cap: 200, tip_cap: 10, tip_floor: 2 };

    fn market(base_fee: u128, suggested_tip: u128, asked_tip: u128) -> Market {
        Market { base_fee, suggested_tip, asked_tip, bounds: BOUNDS }
    }

    #[test]
    fn a_tip_is_what_is_suggested_within_its_own_bounds() {
        for (suggested, offered) in [(0, 2), (5, 5), (190, 10), (u128::MAX, 10)] {
            assert_eq!(market(20, suggested, 0).first().unwrap().priority_fee, offered, "{suggested}");
        }
        assert_eq!(market(20, 0, 7).first().unwrap().priority_fee, 7, "a pool asks for more");
    }

    #[test]
    fn what_pools_ask_for_beyond_the_cap_is_said_and_not_paid() {
        assert!(matches!(market(20, 0, 11).first(), Err(ChainError::TipCap { needed: 11, cap: 10 })));
        let last = Fees { max_fee: 50, priority_fee: 10 };
        assert_eq!(market(20, 0, 20).replacement(last).unwrap().priority_fee, 20);
        assert!(matches!(
            market(20, 0, 21).replacement(last),
            Err(ChainError::TipCap { needed: 21, cap: 20 })
        ));
    }

    proptest! {
        #[test]
        fn no_answer_of_an_endpoint_moves_the_bounds(
            base_fee in any::<u128>(), suggested in any::<u128>(), asked in any::<u128>(), replacements in 0usize..100,
        ) {
            let market = |base_fee| market(base_fee, suggested, asked);
            let mut next = market(base_fee).first().or_else(|_| market(1).first());
            for _ in 0..replacements {
                let Ok(fees) = next else { break };
                prop_assert!(fees.max_fee <= BOUNDS.fee_cap && fees.priority_fee <= 2 * BOUNDS.tip_cap);
                prop_assert!(fees.priority_fee >= BOUNDS.tip_floor && fees.priority_fee <= fees.max_fee);
                next = market(base_fee).replacement(fees);
            }
        }
    }
}
