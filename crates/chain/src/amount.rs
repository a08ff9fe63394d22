//! Amounts of wei in the units that people read.

use std::fmt;

use alloy::primitives::U256;
use alloy::primitives::utils::format_units;

/// Wei in a gwei.
pub const GWEI: u128 = 1_000_000_000;

/// An amount of wei, shown in ether.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ether(pub U256);

/// A price in wei, shown in gwei.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gwei(pub u128);

impl From<u128> for Ether {
    fn from(wei: u128) -> Self {
        Self(U256::from(wei))
    }
}

fn trimmed(wei: U256, decimals: u8) -> String {
    let text = format_units(wei, decimals).unwrap_or_else(|_| wei.to_string());
    match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text,
    }
}

impl fmt::Display for Ether {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&trimmed(self.0, 18))
    }
}

impl fmt::Display for Gwei {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&trimmed(U256::from(self.0), 9))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_shown_in_full_and_without_trailing_zeros() {
        for (wei, text) in [(0, "0"), (1, "0.000000000000000001"), (1_500_000_000_000_000_000, "1.5")] {
            assert_eq!(Ether::from(wei).to_string(), text);
        }
        assert_eq!(Ether::from(20 * 10_u128.pow(18)).to_string(), "20");
        assert_eq!(Gwei(200 * GWEI).to_string(), "200");
        assert_eq!(Gwei(GWEI / 100).to_string(), "0.01");
    }
}
