//! Leaving a frozen rollup: the proof that an account is in its last state, checked here as the
//! contract checks it.

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

/// Who an account belongs to: what its id is the hash of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owner {
    /// Signs on the rollup.
    pub key: PublicKey,
    /// Is paid on L1.
    pub recipient: Address,
}

impl Owner {
    /// The id.
    pub fn id(&self) -> AccountId {
        self.key.account_id(self.recipient)
    }
}

/// Why there is no proof of an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum NoExit {
    /// Nobody has an account there.
    #[error("there is no account at index {}", .index.0)]
    NoAccount {
        /// As asked for.
        index: AccountIndex,
    },
    /// The account belongs to another key.
    #[error("the account at index {} is somebody else's", .index.0)]
    NotOwner {
        /// As asked for.
        index: AccountIndex,
    },
}

/// What is wrong with a proof.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ExitProofFault {
    /// No such place in the tree.
    #[error("account index {got} is not in 1..{ACCOUNTS_MAX}")]
    AccountIndex {
        /// As the proof has it.
        got: u32,
    },
    /// A coordinate of the key has another one that means the same.
    #[error("{value} is not below the field's order")]
    NotInField {
        /// As the proof has it.
        value: U256,
    },
    /// Not an account of this state.
    #[error("the proof leads to state root {got}, expected is {expected}")]
    StateMismatch {
        /// Where it leads.
        got: B256,
        /// The state's.
        expected: B256,
    },
}

/// An account in a state: `ExitProof` of the contract, field by field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExitProof {
    /// Where.
    pub account_index: u32,
    /// Transactions that it has sent.
    pub nonce: u32,
    /// In gwei.
    pub balance: u64,
    /// The owner's key.
    pub key_x: U256,
    /// The owner's key.
    pub key_y: U256,
    /// Who is paid.
    pub recipient: Address,
    /// From the leaf upwards, each three in ascending position without the own one.
    pub siblings: [[U256; TREE_ARITY - 1]; TREE_DEPTH],
    /// Head of the inbox as consumed by the state.
    pub inbox_head: U256,
}

/// Places of the accounts that have this id, in order. The operator's program opens one an id;
/// nothing hinders another one from opening more, and each can leave.
pub fn accounts_of(state: &State, id: AccountId) -> Vec<AccountIndex> {
    state.accounts().into_iter().filter(|(_, account)| account.id == id).map(|(index, _)| index).collect()
}

/// The proof that lets the owner of an account leave with what it holds in this state.
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
    /// The state root that it leads to. Refuses what the contract refuses, in its order.
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

    /// Whether the contract pays for it in this state.
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

/// As the hashing libraries on L1 take what is not below the order.
fn reduced(value: U256) -> Fr {
    Fr::from_be_bytes_mod_order(&value.to_be_bytes::<32>())
}
