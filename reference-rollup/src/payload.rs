//! What a batch publishes: 42 blocks of 16 bytes from which, batch after batch, everybody can rebuild the state.
//!
//! ```text
//! per inbox slot:        state of the account after it | id, two blocks
//! per transaction slot:  state of the sender after it  | state of the receiver after it
//! state:                 u32 index | u32 nonce | u64 balance
//! ```
//!
//! All integers are little-endian. Unused slots are zero: they look at place 0, which stays empty. An id names a new account, or
//! repeats that of one which was there.

use ark_bn254::Fr;
use ark_ff::PrimeField;
use thiserror::Error;

use dac_types::limits::BLOCK_BYTES;

use crate::account::{Account, AccountId, AccountIndex};
use crate::field;
use crate::poseidon;
use crate::shape::{ACCOUNTS_MAX, HASH_STEP_BLOCKS, INBOX_SLOT_BLOCKS, INBOX_SLOTS, PAYLOAD_BYTES};
use crate::state::State;

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
}

/// The state of one account, as one block.
pub(crate) fn state_block(index: AccountIndex, account: &Account) -> [u8; BLOCK_BYTES] {
    let block =
        u128::from(index.0) | u128::from(account.nonce) << 32 | u128::from(account.balance) << 64;
    block.to_le_bytes()
}

/// The rollup's commitment to a payload: Poseidon in steps of 8 inputs, the former value and 7 blocks, beginning with the length in
/// bytes. The last step is filled with zeros; the length in front separates payloads that differ in trailing zeros.
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
    /// Applies what a payload publishes. The inbox's head is not in it: L1 has it. On an error the state has changed in part, so keep
    /// the former one. Nothing is proved here: compare the root with L1's.
    pub fn apply_payload(&mut self, payload: &[u8]) -> Result<(), PayloadError> {
        if payload.len() != PAYLOAD_BYTES {
            return Err(PayloadError::Length { got: payload.len() });
        }
        let (blocks, _) = payload.as_chunks::<BLOCK_BYTES>();
        let (inbox, transactions) = blocks.split_at(INBOX_SLOTS * INBOX_SLOT_BLOCKS);
        for (slot, blocks) in inbox.chunks_exact(INBOX_SLOT_BLOCKS).enumerate() {
            let block = slot * INBOX_SLOT_BLOCKS;
            let mut id = [0; 2 * BLOCK_BYTES];
            id[..BLOCK_BYTES].copy_from_slice(&blocks[1]);
            id[BLOCK_BYTES..].copy_from_slice(&blocks[2]);
            let id = field::from_le_bytes(id).ok_or(PayloadError::IdNotInField { block: block + 1 })?;
            self.apply_block(block, &blocks[0], Some(AccountId(id)))?;
        }
        for (slot, bytes) in transactions.iter().enumerate() {
            self.apply_block(INBOX_SLOTS * INBOX_SLOT_BLOCKS + slot, bytes, None)?;
        }
        Ok(())
    }

    /// `id` where the payload names it, otherwise it is the one that the account has.
    fn apply_block(
        &mut self,
        block: usize,
        bytes: &[u8; BLOCK_BYTES],
        id: Option<AccountId>,
    ) -> Result<(), PayloadError> {
        let word = u128::from_le_bytes(*bytes);
        #[allow(clippy::cast_possible_truncation)] // cut apart here
        let (index, nonce, balance) = (word as u32, (word >> 32) as u32, (word >> 64) as u64);
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
