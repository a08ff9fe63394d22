//! Accounts, and the forms in which the tree and the payload hold them.

use ark_bn254::Fr;
use ark_ff::Zero;

use crate::poseidon;

/// The place of an account in the tree: 1 to 65,535. Place 0 means "none": its leaf stays empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct AccountIndex(pub u32);

/// The owner of an account: the hash of its key and of the L1 address that an exit pays. See
/// [`crate::keys::PublicKey::account_id`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default, PartialOrd, Ord)]
pub struct AccountId(pub Fr);

/// One account. The default is an empty place of the tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Account {
    /// The owner's id; zero for an empty place.
    pub id: AccountId,
    /// The number of transactions that the account has sent.
    pub nonce: u32,
    /// The balance in gwei.
    pub balance: u64,
}

impl Account {
    /// Whether the place is empty.
    pub fn is_empty(&self) -> bool {
        self.id.0.is_zero()
    }

    /// The balance and the nonce in one field element: balance + 2^64·nonce.
    pub fn packed(&self) -> Fr {
        Fr::from(u128::from(self.balance) | u128::from(self.nonce) << 64)
    }

    /// The leaf of the accounts tree.
    pub fn leaf(&self) -> Fr {
        poseidon::hash(&[self.id.0, self.packed()])
    }
}
