//! The reasons why the account cannot post, or one posting is not sent. The words of each stay the
//! same while it lasts.

use alloy::primitives::{Address, U256};
use thiserror::Error;

use super::error::PosterError;
use super::{PosterConfig, Posting};
use dac_chain::ChainError;
use dac_chain::amount::{Ether, Gwei};

/// A reason why the account posts nothing.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Trouble {
    /// L1 cannot be read, or it took no transaction, for a reason that lies with the endpoint.
    #[error("{0}")]
    L1(String),
    /// Gas costs more than allowed.
    #[error("gas costs more than the cap of {} gwei: posting waits for cheaper gas", Gwei(*cap))]
    FeeCap {
        /// The highest price that is allowed, in wei per gas.
        cap: u128,
    },
    /// A transaction needs a higher tip than allowed.
    #[error("a tip of {} gwei is needed, at most {} gwei are allowed: posting waits", Gwei(*needed), Gwei(*cap))]
    TipCap {
        /// The tip that is needed, in wei per gas.
        needed: u128,
        /// The highest price that is allowed, in wei per gas.
        cap: u128,
    },
    /// Nodes refuse the transaction because its tip is too low; the next one has a higher tip.
    #[error("L1's nodes do not take the transaction, its tip is too low{}: the tip is raised", least(*needed))]
    TipTooLow {
        /// The least tip that they take, in wei per gas, if they name it.
        needed: Option<u128>,
    },
    /// The account cannot pay for the next transaction.
    #[error(
        "the L1 account {account} owns {} ether, the next transaction may cost {} ether: send more to it",
        Ether(*balance), Ether(*needed)
    )]
    Unfunded {
        /// The account.
        account: Address,
        /// The balance that it may still spend, in wei.
        balance: U256,
        /// The most that the next transaction may cost, in wei.
        needed: U256,
    },
    /// Nodes say that the account cannot pay, although its balance is large enough.
    #[error("L1 says that the account {account} cannot pay for a transaction: send more to it")]
    SaidUnfunded {
        /// The account.
        account: Address,
    },
    /// The hourly limit is spent.
    #[error(
        "the transactions of the last hour may cost up to the {} ether that an hour may cost: posting goes on within the hour",
        Ether::from(*limit)
    )]
    HourSpent {
        /// The limit in wei an hour.
        limit: u128,
    },
}

fn least(needed: Option<u128>) -> String {
    needed.map_or_else(String::new, |needed| format!(", at least {} gwei are needed", Gwei(needed)))
}

impl Trouble {
    /// Returns the trouble for an error of L1, which may be a price above a cap.
    pub(super) fn of(error: &ChainError) -> Self {
        match *error {
            ChainError::FeeCap { cap, .. } => Self::FeeCap { cap },
            ChainError::TipCap { needed, cap } => Self::TipCap { needed, cap },
            _ => Self::L1(error.to_string()),
        }
    }

    /// Returns the trouble that reports a failed round of the poster.
    pub(super) fn of_round(error: &PosterError) -> Self {
        match error {
            PosterError::Chain(error) => Self::of(error),
            error => Self::L1(error.to_string()),
        }
    }

    /// Returns whether the account lacks money, which its owner must send.
    pub const fn is_unfunded(&self) -> bool {
        matches!(self, Self::Unfunded { .. } | Self::SaidUnfunded { .. })
    }

    /// Returns the trouble to report after `former` was reported. While the trouble is the same,
    /// the former one is kept, because figures change with every block.
    pub(super) fn latched(former: Option<&Self>, now: Option<Self>) -> Option<Self> {
        let now = now?;
        let is_same = |former: &&Self| match (former, &now) {
            (Self::Unfunded { balance: before, .. }, Self::Unfunded { balance, .. }) => before == balance,
            (former, now) => std::mem::discriminant(*former) == std::mem::discriminant(now),
        };
        Some(former.filter(is_same).cloned().unwrap_or(now))
    }
}

/// The reason why no more is spent on a posting.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub(super) enum Stopped {
    #[error(
        "posting is stopped: {times} nonces that were given to it are used, and no L1 endpoint shows its transactions. Compare the \
         endpoints with another source, then raise posting.lost"
    )]
    Lost { times: u32 },
    #[error(
        "posting is stopped: {times} nonces were given to it in vain. Compare the L1 endpoints with another source, then raise \
         posting.attempts"
    )]
    Attempts { times: u32 },
    #[error("posting is stopped: {times} transactions failed on L1 although each was simulated before")]
    Reverts { times: u32 },
}

impl Stopped {
    /// Returns the reason from earlier attempts, or `None` while more may be tried.
    pub(super) fn of(config: &PosterConfig, posting: &Posting) -> Option<Self> {
        if posting.lost >= config.lost_max {
            Some(Self::Lost { times: posting.lost })
        } else if posting.reverts >= config.reverts_max {
            Some(Self::Reverts { times: posting.reverts })
        } else if posting.attempts >= config.attempts_max {
            Some(Self::Attempts { times: posting.attempts })
        } else {
            None
        }
    }
}

/// The account that pays, as of the last look at L1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Payer {
    /// The account.
    pub account: Address,
    /// The account's balance in wei, or `None` before L1 has reported it.
    pub balance: Option<U256>,
    /// The most that the next transaction may cost, in wei.
    pub needed: U256,
    /// The most that the transactions of the last hour may cost, in wei.
    pub spent: u128,
    /// The configured limit for the transactions of one hour, in wei.
    pub limit: u128,
    /// The reason why the account cannot post, if there is one.
    pub trouble: Option<Trouble>,
    /// Whether the balance is below the configured floor.
    pub is_low: bool,
    /// The number of postings on which no more is spent, because nothing that was spent on them had
    /// an effect.
    pub stopped: usize,
    /// The number of transactions that were handed to L1 since the poster was started, including
    /// replacements.
    pub sent: u64,
}

impl Payer {
    /// Creates the state of an account about which nothing was read from L1 yet.
    pub(super) const fn new(account: Address, limit: u128) -> Self {
        Self {
            account,
            balance: None,
            needed: U256::ZERO,
            spent: 0,
            limit,
            trouble: None,
            is_low: false,
            stopped: 0,
            sent: 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_stay_while_the_trouble_is_the_same() {
        let unfunded = |balance: u64, needed: u64| Trouble::Unfunded {
            account: Address::ZERO,
            balance: U256::from(balance),
            needed: U256::from(needed),
        };
        let first = unfunded(1, 5);
        assert_eq!(Trouble::latched(Some(&first), Some(unfunded(1, 6))), Some(first.clone()));
        assert_eq!(Trouble::latched(Some(&first), Some(unfunded(2, 6))), Some(unfunded(2, 6)));
        let l1 = |text: &str| Trouble::L1(text.to_owned());
        assert_eq!(Trouble::latched(Some(&l1("a")), Some(l1("b"))), Some(l1("a")));
        assert_eq!(Trouble::latched(Some(&first), Some(l1("b"))), Some(l1("b")));
        assert_eq!(Trouble::latched(Some(&first), None), None);
        assert_eq!(Trouble::latched(None, Some(l1("b"))), Some(l1("b")));
    }
}
