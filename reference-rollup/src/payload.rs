//! What a batch publishes: 42 blocks of 16 bytes from which, with L1's inbox, everybody can rebuild
//! the state and what L1 owes.
//!
//! ```text
//! per inbox slot:  u32 index | u32 nonce | u64 balance   of the account after it
//!                  id of the account, 2 blocks
//! per transfer:    u32 index | 0         | u64 balance   of the sender after it
//!                  u32 index | u32 nonce | u64 balance   of the receiver after it
//! per withdrawal:  u32 index + 2^31 | recipient / 2^128 | u64 balance   of the sender after it
//!                  recipient mod 2^128
//! ```
//!
//! All integers are little-endian; a recipient is its address as an integer of 160 bits. A sender's
//! nonce is one more than before, and what it spent is the difference of its balances. Unused slots
//! are zero: they look at place 0, which stays empty. An id names a new account, or repeats that of
//! one which was there.
//!
//! Recipients are published because L1 pays a withdrawal only to who can name all of a batch: what
//! the operator keeps to itself, it could hold to ransom.

use alloy_primitives::Address;
use ark_bn254::Fr;
use ark_ff::PrimeField;
use thiserror::Error;

use dac_types::limits::BLOCK_BYTES;

use crate::account::{Account, AccountId, AccountIndex};
use crate::field;
use crate::inbox::{InboxEntry, Withdrawal};
use crate::poseidon;
use crate::shape::{
    ACCOUNTS_MAX, HASH_STEP_BLOCKS, INBOX_SLOT_BLOCKS, INBOX_SLOTS, PAYLOAD_BYTES, TRANSACTION_SLOT_BLOCKS,
};
use crate::state::{State, TransactionTrace};

/// Why bytes are no payload of this rollup, or none that continues its state.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum PayloadError {
    /// Every payload has the same length.
    #[error("a payload is {PAYLOAD_BYTES} bytes, got {got}")]
    Length {
        /// Bytes that came.
        got: usize,
    },
    /// No such place in the tree.
    #[error("block {block}: account index {index} is not below {ACCOUNTS_MAX}")]
    IndexOutOfRange {
        /// Which block.
        block: usize,
        /// As it stands there.
        index: u32,
    },
    /// An id is an integer below the field's order.
    #[error("block {block}: the account id is not a field element")]
    IdNotInField {
        /// Which block.
        block: usize,
    },
    /// Place 0 belongs to nobody.
    #[error("block {block}: an account at index 0")]
    AccountAtZero {
        /// Which block.
        block: usize,
    },
    /// A transaction touched an account that nobody has.
    #[error("block {block}: account {index} was never opened")]
    UnknownAccount {
        /// Which block.
        block: usize,
        /// As it stands there.
        index: u32,
    },
    /// A sender has more than before, or has used up its nonces.
    #[error("block {block}: account {index} cannot have sent this")]
    NotSpent {
        /// Which block.
        block: usize,
        /// As it stands there.
        index: u32,
    },
    /// Something where nothing may stand.
    #[error("block {block}: bits that mean nothing are set")]
    StrayBits {
        /// Which block.
        block: usize,
    },
    /// L1 says that the batch took more from the inbox than a batch can.
    #[error("the batch took {got} entries from the inbox, it has {INBOX_SLOTS} slots for them")]
    InboxEntries {
        /// As L1 says.
        got: usize,
    },
}

/// Marks a withdrawal in the sender's index.
const WITHDRAWAL: u128 = 1 << 31;

/// The state of one account, as one block.
pub(crate) fn state_block(index: AccountIndex, account: &Account) -> [u8; BLOCK_BYTES] {
    let block = u128::from(index.0) | u128::from(account.nonce) << 32 | u128::from(account.balance) << 64;
    block.to_le_bytes()
}

/// The two blocks of a transaction slot.
pub(crate) fn transaction_blocks(slot: &TransactionTrace) -> [[u8; BLOCK_BYTES]; TRANSACTION_SLOT_BLOCKS] {
    let sender = u128::from(slot.sender.index.0) | u128::from(slot.sender.after.balance) << 64;
    match slot.withdrawal {
        None => [sender.to_le_bytes(), state_block(slot.receiver.index, &slot.receiver.after)],
        Some(Withdrawal { recipient, .. }) => {
            let (high, low) = recipient.0.split_at(4);
            let high = u32::from_be_bytes(high.try_into().expect("4 bytes"));
            let low = u128::from_be_bytes(low.try_into().expect("16 bytes"));
            [(sender | WITHDRAWAL | u128::from(high) << 32).to_le_bytes(), low.to_le_bytes()]
        }
    }
}

/// A block's three numbers.
#[allow(clippy::cast_possible_truncation)] // cut apart here
fn cut(block: &[u8; BLOCK_BYTES]) -> (u32, u32, u64) {
    let word = u128::from_le_bytes(*block);
    (word as u32, (word >> 32) as u32, (word >> 64) as u64)
}

/// The rollup's commitment to a payload: Poseidon in steps of 8 inputs, the former value and 7
/// blocks, beginning with the length in bytes. The last step is filled with zeros; the length in
/// front separates payloads that differ in trailing zeros.
pub fn batch_hash(payload: &[u8]) -> Fr {
    let blocks = |step: &[u8]| -> Vec<Fr> {
        let mut blocks: Vec<_> = step.chunks(BLOCK_BYTES).map(Fr::from_le_bytes_mod_order).collect();
        blocks.resize(HASH_STEP_BLOCKS, Fr::from(0_u8));
        blocks
    };
    payload.chunks(HASH_STEP_BLOCKS * BLOCK_BYTES).fold(Fr::from(payload.len() as u64), |hash, step| {
        let mut inputs = vec![hash];
        inputs.extend(blocks(step));
        poseidon::hash(&inputs)
    })
}

impl State {
    /// Applies what a payload publishes, and says what the batch granted on L1. `entries` are those
    /// that it took from the inbox, in order: L1 has them. On an error the state has changed in
    /// part, so keep the former one. Nothing is proved here: compare root and outputs with L1's.
    pub fn apply_payload(
        &mut self,
        payload: &[u8],
        entries: &[InboxEntry],
    ) -> Result<Vec<Withdrawal>, PayloadError> {
        if payload.len() != PAYLOAD_BYTES {
            return Err(PayloadError::Length { got: payload.len() });
        }
        if entries.len() > INBOX_SLOTS {
            return Err(PayloadError::InboxEntries { got: entries.len() });
        }
        let (blocks, _) = payload.as_chunks::<BLOCK_BYTES>();
        let (inbox, transactions) = blocks.split_at(INBOX_SLOTS * INBOX_SLOT_BLOCKS);
        let mut withdrawals = Vec::new();
        for (slot, blocks) in inbox.chunks_exact(INBOX_SLOT_BLOCKS).enumerate() {
            let block = slot * INBOX_SLOT_BLOCKS;
            let mut id = [0; 2 * BLOCK_BYTES];
            id[..BLOCK_BYTES].copy_from_slice(&blocks[1]);
            id[BLOCK_BYTES..].copy_from_slice(&blocks[2]);
            let id = field::from_le_bytes(id).ok_or(PayloadError::IdNotInField { block: block + 1 })?;
            if let Some(InboxEntry::Exit { id, index, recipient }) = entries.get(slot) {
                let before = self.account(*index);
                if before.id == *id {
                    withdrawals.push(Withdrawal { recipient: *recipient, amount: before.balance });
                }
            }
            self.apply_state(block, &blocks[0], Some(AccountId(id)))?;
        }
        for (slot, blocks) in transactions.chunks_exact(TRANSACTION_SLOT_BLOCKS).enumerate() {
            let block = INBOX_SLOTS * INBOX_SLOT_BLOCKS + slot * TRANSACTION_SLOT_BLOCKS;
            withdrawals.extend(self.apply_transaction(block, &blocks[0], &blocks[1])?);
        }
        Ok(withdrawals)
    }

    fn apply_transaction(
        &mut self,
        block: usize,
        sender: &[u8; BLOCK_BYTES],
        second: &[u8; BLOCK_BYTES],
    ) -> Result<Option<Withdrawal>, PayloadError> {
        if (sender, second) == (&[0; BLOCK_BYTES], &[0; BLOCK_BYTES]) {
            return Ok(None);
        }
        let (word, high, balance) = cut(sender);
        let is_withdrawal = u128::from(word) & WITHDRAWAL != 0;
        let index = word & !(1 << 31);
        if index >= ACCOUNTS_MAX {
            return Err(PayloadError::IndexOutOfRange { block, index });
        }
        let before = self.account(AccountIndex(index));
        if before.is_empty() {
            return Err(PayloadError::UnknownAccount { block, index });
        }
        let (Some(nonce), Some(amount)) = (before.nonce.checked_add(1), before.balance.checked_sub(balance))
        else {
            return Err(PayloadError::NotSpent { block, index });
        };
        self.set(AccountIndex(index), Account { nonce, balance, ..before });
        if is_withdrawal {
            let low = u128::from_le_bytes(*second).to_be_bytes();
            let mut recipient = Address::ZERO;
            recipient.0[..4].copy_from_slice(&high.to_be_bytes());
            recipient.0[4..].copy_from_slice(&low);
            return Ok(Some(Withdrawal { recipient, amount }));
        }
        if high != 0 {
            return Err(PayloadError::StrayBits { block });
        }
        self.apply_state(block + 1, second, None)?;
        Ok(None)
    }

    /// `id` where the payload names it, otherwise it is the one that the account has.
    fn apply_state(
        &mut self,
        block: usize,
        bytes: &[u8; BLOCK_BYTES],
        id: Option<AccountId>,
    ) -> Result<(), PayloadError> {
        let (index, nonce, balance) = cut(bytes);
        if index >= ACCOUNTS_MAX {
            return Err(PayloadError::IndexOutOfRange { block, index });
        }
        let index = AccountIndex(index);
        let id = id.unwrap_or(self.account(index).id);
        let account = Account { id, nonce, balance };
        match (index.0, account) {
            (0, account) if account == Account::default() => Ok(()),
            (0, _) => Err(PayloadError::AccountAtZero { block }),
            // An exit request for a place that nobody has is taken and changes nothing.
            (_, account) if account == Account::default() && self.account(index).is_empty() => Ok(()),
            (index, account) if account.is_empty() => Err(PayloadError::UnknownAccount { block, index }),
            _ => {
                self.set(index, account);
                Ok(())
            }
        }
    }
}
