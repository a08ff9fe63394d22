//! Where a rollup lives on L1. `reference-rollup deploy` writes it.
//!
//! ```json
//! {
//!   "format": "reference-rollup/v1",
//!   "rpc_url": "http://127.0.0.1:8545",
//!   "chain_id": 31337,
//!   "registry": "0x<20 bytes>",
//!   "certificate_log": "0x<20 bytes>",
//!   "settlement": "0x<20 bytes>",
//!   "verifier": "0x<20 bytes>",
//!   "poseidon": { "t3": "0x<20 bytes>", "t4": "0x<20 bytes>", "t5": "0x<20 bytes>" },
//!   "deployed_at_block": 12
//! }
//! ```
//!
//! Public knowledge but perhaps for `rpc_url`, which some providers put a key into; it may be left
//! out.

use alloy_primitives::Address;
use serde::{Deserialize, Serialize};

use super::{Document as _, document};

/// Where a rollup lives on L1.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RollupFile {
    format: String,
    /// A JSON-RPC endpoint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rpc_url: Option<String>,
    /// EIP-155 chain id.
    pub chain_id: u64,
    /// The committee's registry.
    pub registry: Address,
    /// The committee's certificate log.
    pub certificate_log: Address,
    /// The rollup's contract.
    pub settlement: Address,
    /// The verifier as of deployment; the contract says which one it is now.
    pub verifier: Address,
    /// The hashing libraries.
    pub poseidon: PoseidonAddresses,
    /// Nothing about this rollup is older.
    pub deployed_at_block: u64,
}

/// Libraries of poseidon-solidity, by width.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PoseidonAddresses {
    /// For two inputs.
    pub t3: Address,
    /// For three.
    pub t4: Address,
    /// For four.
    pub t5: Address,
}

document!(RollupFile, "reference-rollup/v1", "rollup file");

impl RollupFile {
    /// Of what was deployed with a committee's contracts.
    pub fn new(
        rpc_url: Option<String>,
        chain_id: u64,
        [registry, certificate_log]: [Address; 2],
        deployed: &crate::l1::Deployed,
    ) -> Self {
        let [t3, t4, t5] = deployed.poseidon;
        Self {
            format: Self::FORMAT.to_owned(),
            rpc_url,
            chain_id,
            registry,
            certificate_log,
            settlement: deployed.settlement,
            verifier: deployed.verifier,
            poseidon: PoseidonAddresses { t3, t4, t5 },
            deployed_at_block: deployed.block,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::l1::Deployed;

    fn file() -> RollupFile {
        let address = Address::repeat_byte;
        let deployed = Deployed {
            settlement: address(1),
            verifier: address(2),
            poseidon: [address(3), address(4), address(5)],
            block: 9,
            gas_used: 1,
        };
        RollupFile::new(Some("http://l1".into()), 7, [address(6), address(8)], &deployed)
    }

    #[test]
    fn files_round_trip_and_are_read_strictly() {
        let file = file();
        let text = file.to_json();
        assert_eq!(RollupFile::from_json(text.as_bytes()).unwrap(), file);
        for (from, to) in [
            ("reference-rollup/v1", "reference-rollup/v2"),
            ("\"chain_id\"", "\"chain\""),
            ("\"t3\"", "\"t6\""),
            ("0x01", "0x"),
            ("{\n", "{\"more\": 1,\n"),
        ] {
            let text = text.replacen(from, to, 1);
            assert!(RollupFile::from_json(text.as_bytes()).is_err(), "{text}");
        }
        assert!(RollupFile::from_json((text + "{}").as_bytes()).is_err());
    }
}
