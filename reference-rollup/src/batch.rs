//! A batch: what was done, in what order, and everything that its proof needs to know.

use ark_bn254::Fr;
use ark_ff::Zero;

use crate::account::{Account, AccountIndex};
use crate::field;
use crate::inbox::{InboxEntry, Withdrawal};
use crate::payload::{batch_hash, state_block, transaction_blocks};
use crate::poseidon;
use crate::shape::{INBOX_SLOTS, PAYLOAD_BYTES, TRANSACTION_SLOTS};
use crate::state::{AccountUpdate, InboxError, InboxTrace, State, TransactionError, TransactionTrace};
use crate::transaction::{Domain, SignedTransaction};
use crate::tree::Path;

/// Root of the accounts and head of the inbox: the two halves of a state root.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Roots {
    /// Root of the accounts tree.
    pub accounts: Fr,
    /// Head of the inbox.
    pub inbox: Fr,
}

impl Roots {
    fn of(state: &State) -> Self {
        Self { accounts: state.accounts_root(), inbox: state.inbox_head() }
    }

    /// The state root that L1 holds.
    pub fn state_root(&self) -> Fr {
        poseidon::hash(&[self.accounts, self.inbox])
    }
}

/// A closed batch. Its slots are all filled, the unused ones with nothing.
#[derive(Clone)]
pub struct Batch {
    /// Where its transactions are valid.
    pub domain: Domain,
    /// Before it.
    pub before: Roots,
    /// After it.
    pub after: Roots,
    /// What came from L1, [`INBOX_SLOTS`] of them.
    pub inbox: Vec<InboxTrace>,
    /// What users signed, [`TRANSACTION_SLOTS`] of them.
    pub transactions: Vec<TransactionTrace>,
}

impl Batch {
    /// What the committee stores.
    pub fn payload(&self) -> Vec<u8> {
        let mut payload = Vec::with_capacity(PAYLOAD_BYTES);
        for slot in &self.inbox {
            payload.extend(state_block(slot.update.index, &slot.update.after));
            payload.extend(field::to_le_bytes(slot.update.after.id.0));
        }
        for slot in &self.transactions {
            payload.extend(transaction_blocks(slot).as_flattened());
        }
        payload
    }

    /// The payload's hash, as the header carries it.
    pub fn batch_hash(&self) -> Fr {
        batch_hash(&self.payload())
    }

    /// Entries of the inbox that it took.
    pub fn inputs_taken(&self) -> u64 {
        self.inbox.iter().filter(|slot| slot.entry.is_some()).count() as u64
    }

    /// What it grants on L1, in order.
    pub fn withdrawals(&self) -> Vec<Withdrawal> {
        let from_inbox = self.inbox.iter().filter_map(|slot| slot.withdrawal);
        let from_users = self.transactions.iter().filter_map(|slot| slot.withdrawal);
        from_inbox.chain(from_users).collect()
    }

    /// Commitment to the withdrawals; zero when there are none.
    pub fn outputs(&self) -> Fr {
        self.withdrawals().iter().fold(Fr::zero(), |chain, withdrawal| withdrawal.chain_after(chain))
    }
}

/// Why something does not go into a batch.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BatchError {
    /// All slots of this kind are taken: close the batch.
    #[error("the batch is full: {slots} slots")]
    Full {
        /// How many there are.
        slots: usize,
    },
    /// The rules refuse the transaction.
    #[error(transparent)]
    Transaction(#[from] TransactionError),
    /// The entry cannot be taken.
    #[error(transparent)]
    Inbox(#[from] InboxError),
}

/// The sequencer's hand: applies what comes to the state and keeps what the proof needs. Entries of
/// the inbox come before transactions in the batch, so they are taken first: once a transaction is
/// in, no entry can follow.
pub struct OpenBatch<'a> {
    state: &'a mut State,
    domain: Domain,
    before: Roots,
    inbox: Vec<InboxTrace>,
    /// The way from place 0 to the root, with the inbox taken and no transaction yet: what unused
    /// slots of the inbox look at.
    idle_path: Path,
    transactions: Vec<TransactionTrace>,
}

impl<'a> OpenBatch<'a> {
    /// An empty batch on top of a state.
    pub fn new(state: &'a mut State, domain: Domain) -> Self {
        let before = Roots::of(state);
        let idle_path = state.path(AccountIndex(0));
        Self { state, domain, before, inbox: Vec::new(), idle_path, transactions: Vec::new() }
    }

    /// Takes the next entry of the inbox.
    pub fn take(&mut self, entry: InboxEntry) -> Result<(), BatchError> {
        if self.inbox.len() == INBOX_SLOTS || !self.transactions.is_empty() {
            return Err(BatchError::Full { slots: INBOX_SLOTS });
        }
        self.inbox.push(self.state.take(entry)?);
        self.idle_path = self.state.path(AccountIndex(0));
        Ok(())
    }

    /// Includes a transaction.
    pub fn include(&mut self, signed: &SignedTransaction) -> Result<(), BatchError> {
        if self.transactions.len() == TRANSACTION_SLOTS {
            return Err(BatchError::Full { slots: TRANSACTION_SLOTS });
        }
        self.transactions.push(self.state.apply(self.domain, signed)?);
        Ok(())
    }

    /// The state as it stands with what was included.
    pub fn state(&self) -> &State {
        self.state
    }

    /// Fills the unused slots.
    pub fn close(mut self) -> Batch {
        let after = Roots::of(self.state);
        let nowhere = |path| AccountUpdate {
            index: AccountIndex(0),
            before: Account::default(),
            after: Account::default(),
            path,
        };
        self.inbox.resize_with(INBOX_SLOTS, || InboxTrace {
            entry: None,
            update: nowhere(self.idle_path),
            withdrawal: None,
        });
        let path_after = self.state.path(AccountIndex(0));
        self.transactions.resize_with(TRANSACTION_SLOTS, || TransactionTrace {
            signed: None,
            sender: nowhere(path_after),
            receiver: nowhere(path_after),
            withdrawal: None,
        });
        Batch {
            domain: self.domain,
            before: self.before,
            after,
            inbox: self.inbox,
            transactions: self.transactions,
        }
    }
}
