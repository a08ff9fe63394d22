//! The rollup's whole state, and the rules by which it changes. What the rules refuse here, the
//! circuit cannot prove.

use std::collections::HashMap;

use alloy_primitives::Address;
use ark_bn254::Fr;
use ark_ff::Zero;
use thiserror::Error;

use crate::account::{Account, AccountId, AccountIndex};
use crate::inbox::{InboxEntry, Withdrawal};
use crate::poseidon;
use crate::shape::ACCOUNTS_MAX;
use crate::transaction::{Destination, Domain, SignedTransaction};
use crate::tree::{AccountTree, Path};

/// Why a transaction is refused.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum TransactionError {
    /// No account at the sender's index.
    #[error("the sender {} has no account", .index.0)]
    UnknownSender {
        /// As named.
        index: AccountIndex,
    },
    /// No account at the receiver's index.
    #[error("the receiver {} has no account", .index.0)]
    UnknownReceiver {
        /// As named.
        index: AccountIndex,
    },
    /// Sender and receiver are the same.
    #[error("account {} pays itself", .index.0)]
    SelfTransfer {
        /// Both.
        index: AccountIndex,
    },
    /// Made before, or after one that is missing.
    #[error("nonce {got} where the account's next is {expected}")]
    WrongNonce {
        /// As signed.
        got: u32,
        /// The account's.
        expected: u32,
    },
    /// The account has sent 2^32 − 1 transactions.
    #[error("the account has used up its nonces")]
    NoncesUsedUp,
    /// More than there is.
    #[error("the account holds {balance} gwei, the transaction spends {amount}")]
    InsufficientBalance {
        /// The sender's.
        balance: u64,
        /// As signed.
        amount: u64,
    },
    /// The receiver would hold 2^64 gwei or more.
    #[error("the receiver holds {balance} gwei: {amount} more do not fit")]
    ReceiverOverflow {
        /// The receiver's.
        balance: u64,
        /// As signed.
        amount: u64,
    },
    /// Key and exit address are not those of the sender's account.
    #[error("key and exit address do not open the id of account {}", .index.0)]
    WrongOwner {
        /// The sender.
        index: AccountIndex,
    },
    /// Not made by this key over this transaction, for this rollup.
    #[error("the signature does not verify")]
    BadSignature,
}

/// Why an entry of the inbox cannot be taken. L1 lets none of these in but the first.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum InboxError {
    /// No place is left for another account.
    #[error("all {} places for accounts are taken", ACCOUNTS_MAX - 1)]
    AccountsFull,
    /// An id that stands for nobody.
    #[error("account id zero")]
    ZeroId,
    /// No such place in the tree.
    #[error("account index {} is not in 1..{ACCOUNTS_MAX}", .index.0)]
    IndexOutOfRange {
        /// As named.
        index: AccountIndex,
    },
    /// More ether than there is.
    #[error("the account holds {balance} gwei: {amount} more do not fit")]
    Overflow {
        /// The account's.
        balance: u64,
        /// Of the deposit.
        amount: u64,
    },
}

/// One account before and after, and its way to the root before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountUpdate {
    /// Where.
    pub index: AccountIndex,
    /// The account before.
    pub before: Account,
    /// The account after.
    pub after: Account,
    /// All children on the way up, before.
    pub path: Path,
}

/// What one entry of the inbox did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InboxTrace {
    /// The entry; `None` in an unused slot.
    pub entry: Option<InboxEntry>,
    /// The account that it touched.
    pub update: AccountUpdate,
    /// What an exit request was granted.
    pub withdrawal: Option<Withdrawal>,
}

/// What one transaction did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransactionTrace {
    /// The transaction; `None` in an unused slot.
    pub signed: Option<SignedTransaction>,
    /// The payer.
    pub sender: AccountUpdate,
    /// The receiver; once more the payer, unchanged, when it withdraws.
    pub receiver: AccountUpdate,
    /// What it grants on L1.
    pub withdrawal: Option<Withdrawal>,
}

/// Which account an entry of the inbox touches, what becomes of it, and what L1 is to pay.
type Taken = (AccountIndex, Account, Option<Withdrawal>);

/// Accounts, and how far the inbox was read.
#[derive(Clone, Default)]
pub struct State {
    tree: AccountTree,
    by_id: HashMap<AccountId, AccountIndex>,
    /// Places from 1 up to and with this one are taken; the next one is free.
    full_up_to: u32,
    inbox_head: Fr,
}

impl State {
    /// Root of the accounts.
    pub fn accounts_root(&self) -> Fr {
        self.tree.root()
    }

    /// Head of the inbox entries taken so far.
    pub fn inbox_head(&self) -> Fr {
        self.inbox_head
    }

    /// What L1 holds: Poseidon(accounts root, inbox head).
    pub fn root(&self) -> Fr {
        poseidon::hash(&[self.accounts_root(), self.inbox_head])
    }

    /// The account there, empty if nobody's.
    pub fn account(&self, index: AccountIndex) -> Account {
        self.tree.get(index)
    }

    /// Where the account of an id is.
    pub fn find(&self, id: AccountId) -> Option<AccountIndex> {
        self.by_id.get(&id).copied()
    }

    /// The way from an account to the accounts' root.
    pub fn path(&self, index: AccountIndex) -> Path {
        self.tree.path(index)
    }

    /// Returns the accounts that have an owner, in the order of their places.
    pub fn accounts(&self) -> Vec<(AccountIndex, Account)> {
        let mut accounts: Vec<_> = self
            .tree
            .accounts()
            .filter(|(_, account)| !account.is_empty())
            .map(|(index, account)| (index, *account))
            .collect();
        accounts.sort_by_key(|(index, _)| *index);
        accounts
    }

    /// Puts an account where a payload says that it is.
    pub(crate) fn set(&mut self, index: AccountIndex, account: Account) {
        self.tree.set(index, account);
        self.by_id.entry(account.id).or_insert(index);
        while !self.account(AccountIndex(self.full_up_to + 1)).is_empty() {
            self.full_up_to += 1;
        }
    }

    /// Says how far the inbox was read.
    pub(crate) fn set_inbox_head(&mut self, head: Fr) {
        self.inbox_head = head;
    }

    fn update(&mut self, index: AccountIndex, after: Account) -> AccountUpdate {
        let update = AccountUpdate { index, before: self.account(index), after, path: self.tree.path(index) };
        // An untouched account, above all the one that is nobody's, leaves no trace.
        if update.before != after {
            self.set(index, after);
        }
        update
    }

    /// Takes the next entry of the inbox. On an error nothing has changed.
    pub fn take(&mut self, entry: InboxEntry) -> Result<InboxTrace, InboxError> {
        let (index, after, withdrawal) = match entry {
            InboxEntry::Deposit { id, amount } => self.deposit(id, amount)?,
            InboxEntry::Exit { id, index, recipient } => self.exit(id, index, recipient)?,
        };
        self.inbox_head = entry.head_after(self.inbox_head);
        Ok(InboxTrace { entry: Some(entry), update: self.update(index, after), withdrawal })
    }

    fn deposit(&self, id: AccountId, amount: u64) -> Result<Taken, InboxError> {
        if id.0.is_zero() {
            return Err(InboxError::ZeroId);
        }
        let index = self.find(id).unwrap_or(AccountIndex(self.full_up_to + 1));
        if index.0 >= ACCOUNTS_MAX {
            return Err(InboxError::AccountsFull);
        }
        let before = self.account(index);
        let balance = before
            .balance
            .checked_add(amount)
            .ok_or(InboxError::Overflow { balance: before.balance, amount })?;
        Ok((index, Account { id, balance, ..before }, None))
    }

    fn exit(&self, id: AccountId, index: AccountIndex, recipient: Address) -> Result<Taken, InboxError> {
        if index.0 == 0 || index.0 >= ACCOUNTS_MAX {
            return Err(InboxError::IndexOutOfRange { index });
        }
        let before = self.account(index);
        if before.id != id {
            return Ok((index, before, None));
        }
        let withdrawal = Withdrawal { recipient, amount: before.balance };
        Ok((index, Account { balance: 0, ..before }, Some(withdrawal)))
    }

    /// Applies a transaction. On an error nothing has changed.
    pub fn apply(
        &mut self,
        domain: Domain,
        signed: &SignedTransaction,
    ) -> Result<TransactionTrace, TransactionError> {
        let transaction = signed.transaction;
        let (from, amount) = (transaction.from, transaction.amount);
        let payer = self.account(from);
        // Place 0 and places outside the tree are empty.
        if payer.is_empty() {
            return Err(TransactionError::UnknownSender { index: from });
        }
        if signed.key.account_id(signed.exit_recipient) != payer.id {
            return Err(TransactionError::WrongOwner { index: from });
        }
        if transaction.nonce != payer.nonce {
            return Err(TransactionError::WrongNonce { got: transaction.nonce, expected: payer.nonce });
        }
        let nonce = payer.nonce.checked_add(1).ok_or(TransactionError::NoncesUsedUp)?;
        let balance = payer
            .balance
            .checked_sub(amount)
            .ok_or(TransactionError::InsufficientBalance { balance: payer.balance, amount })?;
        let (receiver, withdrawal) = match transaction.to {
            Destination::Account(to) if to == from => {
                return Err(TransactionError::SelfTransfer { index: to });
            }
            Destination::Account(to) => {
                let before = self.account(to);
                if before.is_empty() {
                    return Err(TransactionError::UnknownReceiver { index: to });
                }
                let balance = before
                    .balance
                    .checked_add(amount)
                    .ok_or(TransactionError::ReceiverOverflow { balance: before.balance, amount })?;
                (Account { balance, ..before }, None)
            }
            Destination::L1(recipient) => {
                (Account { nonce, balance, ..payer }, Some(Withdrawal { recipient, amount }))
            }
        };
        if !signed.key.verifies(transaction.message(domain), &signed.signature) {
            return Err(TransactionError::BadSignature);
        }
        let sender = self.update(from, Account { nonce, balance, ..payer });
        let receiver = self.update(transaction.second_account(), receiver);
        Ok(TransactionTrace { signed: Some(*signed), sender, receiver, withdrawal })
    }
}
