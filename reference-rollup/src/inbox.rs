//! What L1 hands to the rollup, in L1's order: deposits and exit requests. Each batch takes the
//! next of them.

use alloy_primitives::Address;
use ark_bn254::Fr;

use crate::account::{AccountId, AccountIndex};
use crate::field;
use crate::poseidon;
use crate::transaction::two_to;

/// Where an exit request's word holds the account's index.
pub(crate) const INDEX_SHIFT: u32 = 160;
/// The bit of a word that says "exit request".
pub(crate) const EXIT_SHIFT: u32 = 224;

/// One entry of the inbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InboxEntry {
    /// Money for an account, which is made if need be.
    Deposit {
        /// Whose.
        id: AccountId,
        /// In gwei.
        amount: u64,
    },
    /// A demand, made on L1 by the owner's address, to be paid out the whole balance there.
    Exit {
        /// Computed by L1 from the key that was named and from the address that asked.
        id: AccountId,
        /// Where the account is said to be.
        index: AccountIndex,
        /// The address that asked, and that is paid.
        recipient: Address,
    },
}

impl InboxEntry {
    /// The account that is meant.
    pub fn id(&self) -> AccountId {
        match *self {
            Self::Deposit { id, .. } | Self::Exit { id, .. } => id,
        }
    }

    /// The rest in one element: the amount, or 2^224 + 2^160·index + recipient.
    pub fn word(&self) -> Fr {
        match *self {
            Self::Deposit { amount, .. } => Fr::from(amount),
            Self::Exit { index, recipient, .. } => {
                two_to(EXIT_SHIFT) + Fr::from(index.0) * two_to(INDEX_SHIFT) + field::from_address(recipient)
            }
        }
    }

    /// The inbox's head after this entry.
    pub fn head_after(&self, head: Fr) -> Fr {
        poseidon::hash(&[head, self.id().0, self.word()])
    }
}

/// Money that a batch grants to an address on L1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Withdrawal {
    /// Who may claim it.
    pub recipient: Address,
    /// In gwei.
    pub amount: u64,
}

impl Withdrawal {
    /// The commitment to a batch's withdrawals, this one included.
    pub fn chain_after(&self, chain: Fr) -> Fr {
        poseidon::hash(&[chain, field::from_address(self.recipient), Fr::from(self.amount)])
    }
}
