//! The file of an exit proof. `reference-rollup rebuild` writes it. Any account may send it to L1:
//! it always pays the recipient that the rollup's account names.
//!
//! ```json
//! {
//!   "format": "reference-rollup-exit/v1",
//!   "chain_id": 31337,
//!   "settlement": "0x<20 bytes>",
//!   "state_root": "0x<32 bytes>",
//!   "proof": {
//!     "account_index": 1, "nonce": 2, "balance": 700,
//!     "key_x": "0x…", "key_y": "0x…", "recipient": "0x<20 bytes>",
//!     "siblings": [["0x…", "0x…", "0x…"], …8 levels, the leaf's first…],
//!     "inbox_head": "0x…"
//!   }
//! }
//! ```

use alloy_primitives::{Address, B256};
use serde::{Deserialize, Serialize};

use super::{Document as _, document};
use crate::exit::ExitProof;

/// A proof, and where it is good. Whether it holds is another question: [`ExitProof::check`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExitFile {
    format: String,
    /// EIP-155 chain id.
    pub chain_id: u64,
    /// The rollup's contract.
    pub settlement: Address,
    /// The state that the account is in.
    pub state_root: B256,
    /// What the contract gets.
    pub proof: ExitProof,
}

document!(ExitFile, "reference-rollup-exit/v1", "exit proof");

impl ExitFile {
    /// Of a proof.
    pub fn new(chain_id: u64, settlement: Address, state_root: B256, proof: ExitProof) -> Self {
        Self { format: Self::FORMAT.to_owned(), chain_id, settlement, state_root, proof }
    }
}

#[cfg(test)]
mod tests {
    use alloy_primitives::U256;

    use super::*;

    #[test]
    fn files_round_trip() {
        let proof = ExitProof {
            account_index: 1,
            nonce: u32::MAX,
            balance: u64::MAX,
            key_x: U256::MAX,
            key_y: U256::ZERO,
            recipient: Address::repeat_byte(2),
            siblings: std::array::from_fn(|level| [U256::from(level); 3]),
            inbox_head: U256::from(9),
        };
        let file = ExitFile::new(1, Address::repeat_byte(3), B256::repeat_byte(4), proof);
        let text = file.to_json();
        assert_eq!(ExitFile::from_json(text.as_bytes()).unwrap(), file);
        assert!(ExitFile::from_json(text.replacen("nonce", "once", 1).as_bytes()).is_err());
        assert!(ExitFile::from_json(text.replacen("exit/v1", "exit/v0", 1).as_bytes()).is_err());
    }
}
