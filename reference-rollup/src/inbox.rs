//! The inbox that L1 hands to the rollup, in L1's order: deposits and exit requests. Each batch
//! takes the next entries.

use alloy_primitives::Address;
use ark_bn254::Fr;

use crate::account::{AccountId, AccountIndex};
use crate::field;
use crate::poseidon;
use crate::transaction::two_to;

/// The position of the account's index in the word of an exit request.
pub(crate) const INDEX_SHIFT: u32 = 160;
/// The bit of a word that marks an exit request.
pub(crate) const EXIT_SHIFT: u32 = 224;

/// One entry of the inbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InboxEntry {
    /// Ether for an account, which is opened if it does not exist.
    Deposit {
        /// The id of the account that gets it.
        id: AccountId,
        /// The amount in gwei.
        amount: u64,
    },
    /// A request on L1, from the account's recipient address, to be paid the whole balance there.
    Exit {
        /// The id, which L1 computes from the named key and the requesting address.
        id: AccountId,
        /// The account's place in the tree, as the request claims it.
        index: AccountIndex,
        /// The address that made the request and that is paid.
        recipient: Address,
    },
}

impl InboxEntry {
    /// The id of the account that the entry is for.
    pub fn id(&self) -> AccountId {
        match *self {
            Self::Deposit { id, .. } | Self::Exit { id, .. } => id,
        }
    }

    /// The rest of the entry in one element: the amount, or 2^224 + 2^160·index + recipient.
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

/// Ether that a batch grants to an address on L1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Withdrawal {
    /// The address that may claim it.
    pub recipient: Address,
    /// The amount in gwei.
    pub amount: u64,
}

impl Withdrawal {
    /// The commitment to a batch's withdrawals, with this one appended.
    pub fn chain_after(&self, chain: Fr) -> Fr {
        poseidon::hash(&[chain, field::from_address(self.recipient), Fr::from(self.amount)])
    }
}
