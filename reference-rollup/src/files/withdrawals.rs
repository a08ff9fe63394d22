//! What a batch grants on L1, in its order. `reference-rollup rebuild` finds it in the payloads: to
//! claim one withdrawal, L1 must be shown all of the batch's.
//!
//! ```json
//! {
//!   "format": "reference-rollup-withdrawals/v1",
//!   "batch_number": 2,
//!   "withdrawals": [ { "recipient": "0x<20 bytes>", "amount": 300 } ]
//! }
//! ```
//!
//! Amounts are in gwei.

use alloy_primitives::{Address, B256};
use ark_bn254::Fr;
use ark_ff::Zero;
use serde::{Deserialize, Serialize};

use super::{Document as _, document};
use crate::field;
use crate::inbox::Withdrawal;

/// A batch's withdrawals.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WithdrawalsFile {
    format: String,
    /// Which batch.
    pub batch_number: u64,
    /// In its order.
    pub withdrawals: Vec<WithdrawalEntry>,
}

/// One of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WithdrawalEntry {
    /// Who is paid.
    pub recipient: Address,
    /// In gwei.
    pub amount: u64,
}

document!(WithdrawalsFile, "reference-rollup-withdrawals/v1", "withdrawals file");

impl WithdrawalsFile {
    /// Of a batch.
    pub fn new(batch_number: u64, withdrawals: &[Withdrawal]) -> Self {
        let entry = |of: &Withdrawal| WithdrawalEntry { recipient: of.recipient, amount: of.amount };
        let withdrawals = withdrawals.iter().map(entry).collect();
        Self { format: Self::FORMAT.to_owned(), batch_number, withdrawals }
    }

    /// As the batch has them.
    pub fn withdrawals(&self) -> Vec<Withdrawal> {
        let of = |entry: &WithdrawalEntry| Withdrawal { recipient: entry.recipient, amount: entry.amount };
        self.withdrawals.iter().map(of).collect()
    }

    /// The commitment that L1 has of them.
    pub fn commitment(&self) -> B256 {
        let chain = |chain, withdrawal: &Withdrawal| withdrawal.chain_after(chain);
        field::to_b256(self.withdrawals().iter().fold(Fr::zero(), chain))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_round_trip_and_commit_to_their_order() {
        let one = Withdrawal { recipient: Address::repeat_byte(1), amount: 5 };
        let two = Withdrawal { recipient: Address::repeat_byte(2), amount: u64::MAX };
        let file = WithdrawalsFile::new(3, &[one, two]);
        assert_eq!(WithdrawalsFile::from_json(file.to_json().as_bytes()).unwrap(), file);
        assert_ne!(file.commitment(), WithdrawalsFile::new(3, &[two, one]).commitment());
        assert_eq!(WithdrawalsFile::new(3, &[]).commitment(), B256::ZERO);
    }
}
