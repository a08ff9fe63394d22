//! The addresses of a committee's contracts, in one file instead of four options.
//! `dac admin deploy` writes it.
//!
//! ```json
//! {
//!   "format": "dac-deployment/v1",
//!   "rpc_url": "http://127.0.0.1:8545",
//!   "chain_id": 31337,
//!   "registry": "0x<20 bytes>",
//!   "certificate_log": "0x<20 bytes>",
//!   "deployed_at_block": 1
//! }
//! ```
//!
//! Everything in it is public, except perhaps `rpc_url`, which contains a key for some providers;
//! it may be left out.

use std::path::Path;

use dac_types::{Address, Domain};
use serde::{Deserialize, Serialize};

use super::{FileError, Problem, check_format, parse, pretty, read_document};
use crate::hexadecimal::Hex;

const FORMAT: &str = "dac-deployment/v1";
const WHAT: &str = "deployment file";
const FILE_MAX_BYTES: u64 = 16 << 10;

/// The chain and contracts of a committee.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deployment {
    /// The URL of a JSON-RPC endpoint of the chain.
    pub rpc_url: Option<String>,
    /// The chain's id (EIP-155).
    pub chain_id: u64,
    /// The address of the committee registry.
    pub registry: Address,
    /// The address of the certificate log.
    pub certificate_log: Address,
    /// The block in which the log was deployed: no event of the log is older.
    pub deployed_at_block: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct DeploymentJson {
    format: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    rpc_url: Option<String>,
    chain_id: u64,
    registry: Hex<20>,
    certificate_log: Hex<20>,
    deployed_at_block: u64,
}

impl Deployment {
    /// Returns the domain in which the committee's signatures are valid.
    pub const fn domain(&self) -> Domain {
        Domain { chain_id: self.chain_id, registry: self.registry }
    }

    /// Writes the document as JSON.
    pub fn to_json(&self) -> String {
        pretty(&DeploymentJson {
            format: FORMAT.to_owned(),
            rpc_url: self.rpc_url.clone(),
            chain_id: self.chain_id,
            registry: Hex(self.registry.into_array()),
            certificate_log: Hex(self.certificate_log.into_array()),
            deployed_at_block: self.deployed_at_block,
        })
    }

    /// Parses the JSON document.
    pub fn from_json(text: &[u8]) -> Result<Self, FileError> {
        let parsed = parse::<DeploymentJson>(text).and_then(|json| {
            check_format(FORMAT, &json.format)?;
            Ok::<_, Problem>(json)
        });
        let json = parsed.map_err(|problem| problem.of(WHAT))?;
        Ok(Self {
            rpc_url: json.rpc_url,
            chain_id: json.chain_id,
            registry: Address::from(json.registry.0),
            certificate_log: Address::from(json.certificate_log.0),
            deployed_at_block: json.deployed_at_block,
        })
    }

    /// Reads and parses a file.
    pub fn read(path: &Path) -> Result<Self, FileError> {
        read_document(path, FILE_MAX_BYTES, Self::from_json)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn files_round_trip(rpc_url in proptest::option::of("\\PC*"), chain_id: u64, registry: [u8; 20], deployed_at_block: u64) {
            let deployment = Deployment {
                rpc_url,
                chain_id,
                registry: Address::from(registry),
                certificate_log: Address::repeat_byte(registry[0]),
                deployed_at_block,
            };
            prop_assert_eq!(Deployment::from_json(deployment.to_json().as_bytes()).unwrap(), deployment);
        }

        #[test]
        fn junk_is_refused(junk in any::<Vec<u8>>()) {
            prop_assert!(Deployment::from_json(&junk).is_err());
        }
    }
}
