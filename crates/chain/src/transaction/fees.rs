//! The fees that a transaction pays for gas.

use crate::error::ChainError;

/// The fees that a transaction offers for a unit of gas, in wei.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub struct Fees {
    /// The most that it pays, base fee and tip together.
    pub max_fee: u128,
    /// The most that it pays to the block's builder.
    pub priority_fee: u128,
}

impl Fees {
    /// The fees of a first transaction: room for the base fee to double, within the cap. Fails if
    /// even the present base fee exceeds the cap.
    pub fn initial(base_fee: u128, priority_fee: u128, cap: u128) -> Result<Self, ChainError> {
        let needed = base_fee.saturating_add(priority_fee);
        if needed > cap {
            return Err(ChainError::FeeCap { needed, cap });
        }
        Ok(Self { max_fee: needed.saturating_add(base_fee).min(cap), priority_fee })
    }

    /// The fees of a transaction that replaces one with these fees: an eighth more of both, or what
    /// the market asks if that is more.
    pub(crate) fn bumped(
        self,
        base_fee: u128,
        priority_fee: u128,
        cap: u128,
        tip_cap: u128,
    ) -> Result<Self, ChainError> {
        let raise = |fee: u128| fee.saturating_add(fee.div_ceil(8).max(1));
        let priority_needed = raise(self.priority_fee);
        if priority_needed > tip_cap {
            return Err(ChainError::TipCap { needed: priority_needed, cap: tip_cap });
        }
        let needed = raise(self.max_fee).max(priority_needed);
        if needed > cap {
            return Err(ChainError::FeeCap { needed, cap });
        }
        let market = base_fee.saturating_mul(2).saturating_add(priority_fee).min(cap);
        let max_fee = needed.max(market);
        Ok(Self { max_fee, priority_fee: priority_needed.max(priority_fee).min(max_fee).min(tip_cap) })
    }

    /// The most that a transaction can cost, in wei.
    pub fn cost_max(self, gas_limit: u64) -> u128 {
        self.max_fee.saturating_mul(u128::from(gas_limit))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replacement_pays_at_least_an_eighth_more_of_both_and_never_above_the_cap() {
        for (max_fee, priority_fee) in
            [(0, 0), (1, 1), (7, 3), (8, 8), (1_000_000_007, 1), (30_000_000_000, 2_000_000_000)]
        {
            let fees = Fees { max_fee, priority_fee };
            let bumped = fees.bumped(0, 0, u128::MAX, u128::MAX).unwrap();
            assert!(bumped.max_fee * 8 >= max_fee * 9 && bumped.max_fee > max_fee);
            assert!(bumped.priority_fee * 8 >= priority_fee * 9 && bumped.priority_fee > priority_fee);
            assert!(bumped.priority_fee <= bumped.max_fee);
            let cap = max_fee + max_fee.div_ceil(8).max(1);
            assert_eq!(fees.bumped(u128::MAX, 0, cap, u128::MAX).unwrap().max_fee, cap);
            assert!(matches!(fees.bumped(0, 0, cap - 1, u128::MAX), Err(ChainError::FeeCap { .. })));
        }
    }

    #[test]
    fn the_first_price_leaves_room_for_the_base_fee_and_respects_the_cap() {
        assert_eq!(Fees::initial(100, 5, 1_000).unwrap(), Fees { max_fee: 205, priority_fee: 5 });
        assert_eq!(Fees::initial(100, 5, 150).unwrap(), Fees { max_fee: 150, priority_fee: 5 });
        assert!(matches!(Fees::initial(100, 5, 104), Err(ChainError::FeeCap { needed: 105, cap: 104 })));
    }
}
