//! Leaving a frozen rollup: the proof that an account is in its last state. The proof is checked
//! here in the same way as by the contract.

use alloy_primitives::{Address, B256, U256};
use ark_bn254::Fr;
use ark_ff::PrimeField;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::account::{Account, AccountId, AccountIndex};
use crate::field;
use crate::keys::PublicKey;
use crate::poseidon;
use crate::shape::{ACCOUNTS_MAX, TREE_ARITY, TREE_DEPTH};
use crate::state::State;
use crate::tree::digits;

/// The owner of an account: the account's id is the hash of these.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owner {
    /// The key that signs on the rollup.
    pub key: PublicKey,
    /// The address that exits pay on L1.
    pub recipient: Address,
}

impl Owner {
    /// The account id.
    pub fn id(&self) -> AccountId {
        self.key.account_id(self.recipient)
    }
}

/// Why no proof of an account can be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum NoExit {
    /// The place is empty.
    #[error("there is no account at index {}", .index.0)]
    NoAccount {
        /// The index that was asked for.
        index: AccountIndex,
    },
    /// The account belongs to another owner.
    #[error("the account at index {} belongs to another key or recipient", .index.0)]
    NotOwner {
        /// The index that was asked for.
        index: AccountIndex,
    },
}

/// What is wrong with a proof.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ExitProofFault {
    /// The index is outside the tree.
    #[error("account index {got} is not in 1..{ACCOUNTS_MAX}")]
    AccountIndex {
        /// The index in the proof.
        got: u32,
    },
    /// A key coordinate is not reduced, so it has a second representation.
    #[error("{value} is not below the field's order")]
    NotInField {
        /// The value in the proof.
        value: U256,
    },
    /// The account is not in this state.
    #[error("the proof leads to state root {got}, expected is {expected}")]
    StateMismatch {
        /// The state root that the proof leads to.
        got: B256,
        /// The state root of the state.
        expected: B256,
    },
}

/// An account in a state. The fields are those of the contract's `ExitProof`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExitProof {
    /// The account's place in the tree.
    pub account_index: u32,
    /// The number of transactions that the account has sent.
    pub nonce: u32,
    /// The balance in gwei.
    pub balance: u64,
    /// The x coordinate of the owner's key.
    pub key_x: U256,
    /// The y coordinate of the owner's key.
    pub key_y: U256,
    /// The address that is paid.
    pub recipient: Address,
    /// The siblings from the leaf upwards: on each level three, in ascending position, without the
    /// path's own node.
    pub siblings: [[U256; TREE_ARITY - 1]; TREE_DEPTH],
    /// The head of the inbox up to which the state has taken entries.
    pub inbox_head: U256,
}

/// The places of the accounts that have this id, in order. The operator's program opens one for an
/// id; another program may open more, and each of them can leave.
pub fn accounts_of(state: &State, id: AccountId) -> Vec<AccountIndex> {
    state.accounts().into_iter().filter(|(_, account)| account.id == id).map(|(index, _)| index).collect()
}

/// Makes the proof with which the owner of an account can leave with its balance in this state.
pub fn exit_proof(state: &State, index: AccountIndex, owner: &Owner) -> Result<ExitProof, NoExit> {
    let account = state.account(index);
    if account.is_empty() {
        return Err(NoExit::NoAccount { index });
    }
    if account.id != owner.id() {
        return Err(NoExit::NotOwner { index });
    }
    let (x, y) = owner.key.coordinates();
    let path = state.path(index);
    let places = digits(index);
    let siblings = std::array::from_fn(|level| {
        let own = places[level];
        let others = std::array::from_fn(|i| path[level][i + usize::from(i >= own)]);
        others.map(field::to_u256)
    });
    Ok(ExitProof {
        account_index: index.0,
        nonce: account.nonce,
        balance: account.balance,
        key_x: field::to_u256(x),
        key_y: field::to_u256(y),
        recipient: owner.recipient,
        siblings,
        inbox_head: field::to_u256(state.inbox_head()),
    })
}

impl ExitProof {
    /// The state root that the proof leads to. It refuses what the contract refuses, in the same
    /// order.
    pub fn state_root(&self) -> Result<B256, ExitProofFault> {
        if self.account_index == 0 || self.account_index >= ACCOUNTS_MAX {
            return Err(ExitProofFault::AccountIndex { got: self.account_index });
        }
        let [x, y] = [element(self.key_x)?, element(self.key_y)?];
        let id = AccountId(poseidon::hash(&[x, y, field::from_address(self.recipient)]));
        let leaf = Account { id, nonce: self.nonce, balance: self.balance }.leaf();
        let places = digits(AccountIndex(self.account_index));
        let root = self.siblings.iter().zip(places).fold(leaf, |node, (others, own)| {
            let children: [Fr; TREE_ARITY] = std::array::from_fn(|i| match i {
                i if i == own => node,
                i => reduced(others[i - usize::from(i > own)]),
            });
            poseidon::hash(&children)
        });
        Ok(field::to_b256(poseidon::hash(&[root, reduced(self.inbox_head)])))
    }

    /// Checks whether the contract pays for this proof in this state.
    pub fn check(&self, state_root: B256) -> Result<(), ExitProofFault> {
        let got = self.state_root()?;
        if got == state_root {
            Ok(())
        } else {
            Err(ExitProofFault::StateMismatch { got, expected: state_root })
        }
    }
}

fn element(value: U256) -> Result<Fr, ExitProofFault> {
    field::from_b256(value.into()).ok_or(ExitProofFault::NotInField { value })
}

/// Reduces a value modulo the field's order, as the hashing libraries on L1 do.
fn reduced(value: U256) -> Fr {
    Fr::from_be_bytes_mod_order(&value.to_be_bytes::<32>())
}
