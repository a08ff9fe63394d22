//! Accounts and what the tree and the payload hold of them.

use ark_bn254::Fr;
use ark_ff::Zero;

use crate::poseidon;

/// Place of an account in the tree: 1 to 65,535. Number 0 stands for "none": its leaf stays empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct AccountIndex(pub u32);

/// Who owns an account: the hash of its key and of the L1 address that an exit pays. See
/// [`crate::keys::PublicKey::account_id`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default, PartialOrd, Ord)]
pub struct AccountId(pub Fr);

/// One account. The default is an empty place of the tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Account {
    /// The owner; zero for an empty place.
    pub id: AccountId,
    /// Transactions that it has sent.
    pub nonce: u32,
    /// In gwei.
    pub balance: u64,
}

impl Account {
    /// Nobody's.
    pub fn is_empty(&self) -> bool {
        self.id.0.is_zero()
    }

    /// Balance and nonce in one element: balance + 2^64·nonce.
    pub fn packed(&self) -> Fr {
        Fr::from(u128::from(self.balance) | u128::from(self.nonce) << 64)
    }

    /// What the tree hashes for it.
    pub fn leaf(&self) -> Fr {
        poseidon::hash(&[self.id.0, self.packed()])
    }
}
