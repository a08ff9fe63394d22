//! A validity proof as a file. The rollup's prover writes it, and the rollup submits it to the
//! aggregator.
//!
//! ```json
//! {
//!   "new_state_root": "0x<32 bytes>",
//!   "inputs_consumed": 12,
//!   "outputs": "0x<32 bytes>",
//!   "proof": "0x<1 byte to 64 KiB>"
//! }
//! ```

use std::path::Path;

use bytes::Bytes;
use dac_types::limits::PROOF_MAX_BYTES;
use dac_types::{B256, Transition};
use serde::{Deserialize, Serialize};

use super::{FileError, Problem, parse, pretty, read_document};
use crate::hexadecimal::{Hex, HexBytes};

const WHAT: &str = "proof file";
const FILE_MAX_BYTES: u64 = 4 * PROOF_MAX_BYTES as u64;

/// A validity proof and the state transition that it shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProofFile {
    /// The state transition.
    pub transition: Transition,
    /// The proof's bytes in the form that the rollup's verifier takes.
    pub proof: Bytes,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct FileJson {
    new_state_root: Hex<32>,
    inputs_consumed: u64,
    outputs: Hex<32>,
    proof: HexBytes,
}

impl ProofFile {
    /// Writes the document as JSON.
    pub fn to_json(&self) -> String {
        pretty(&FileJson {
            new_state_root: Hex(self.transition.new_state_root.0),
            inputs_consumed: self.transition.inputs_consumed,
            outputs: Hex(self.transition.outputs.0),
            proof: HexBytes(self.proof.to_vec()),
        })
    }

    /// Parses the JSON document.
    pub fn from_json(text: &[u8]) -> Result<Self, FileError> {
        Self::parse(text).map_err(|problem| problem.of(WHAT))
    }

    /// Reads and parses a file.
    pub fn read(path: &Path) -> Result<Self, FileError> {
        read_document(path, FILE_MAX_BYTES, Self::from_json)
    }

    fn parse(text: &[u8]) -> Result<Self, Problem> {
        let json: FileJson = parse(text)?;
        let got = json.proof.0.len();
        if got == 0 || got > PROOF_MAX_BYTES {
            return Err(Problem::ProofLength(got));
        }
        Ok(Self {
            transition: Transition {
                new_state_root: B256::new(json.new_state_root.0),
                inputs_consumed: json.inputs_consumed,
                outputs: B256::new(json.outputs.0),
            },
            proof: json.proof.0.into(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn files_round_trip(root: [u8; 32], inputs_consumed: u64, proof in proptest::collection::vec(any::<u8>(), 1..600)) {
            let transition =
                Transition { new_state_root: B256::new(root), inputs_consumed, outputs: B256::repeat_byte(root[0]) };
            let file = ProofFile { transition, proof: proof.into() };
            prop_assert_eq!(ProofFile::from_json(file.to_json().as_bytes()).unwrap(), file);
        }

        #[test]
        fn junk_is_refused(junk in any::<Vec<u8>>()) {
            prop_assert!(ProofFile::from_json(&junk).is_err());
        }
    }

    #[test]
    fn proofs_without_bytes_and_endless_ones_are_refused() {
        let with = |proof: &str| {
            let text = format!(
                r#"{{"new_state_root":"0x{0}","inputs_consumed":1,"outputs":"0x{0}","proof":"0x{proof}"}}"#,
                "01".repeat(32)
            );
            ProofFile::from_json(text.as_bytes())
        };
        assert!(with("00").is_ok());
        assert!(with("").is_err());
        assert!(with(&"00".repeat(PROOF_MAX_BYTES + 1)).is_err());
    }
}
