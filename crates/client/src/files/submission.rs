//! A signed submission as a file. It is written before the first byte is sent, so that the same
//! submission can be sent again after a crash. Sending it twice gives the same batch.
//!
//! ```json
//! {
//!   "format": "dac-submission/v1",
//!   "domain": { "chain_id": 31337, "registry": "0x<20 bytes>" },
//!   "submission": {
//!     "rollup": "0x<20 bytes>",
//!     "batch_number": 1,
//!     "payload_length": 131072,
//!     "expires_at": 1767225600,
//!     "hash_kind": "OPAQUE | KECCAK256 | SHA256",
//!     "batch_hash": "0x<32 bytes>",
//!     "replaces": "0x<32 bytes, zero: nothing>",
//!     "disperser": "0x<20 bytes>",
//!     "submit_before": 1767225600
//!   },
//!   "signature": "0x<65 bytes: r, s, v>"
//! }
//! ```

use std::path::Path;

use dac_types::{Address, B256, BatchSubmission, Domain, EcdsaSignature, SignedSubmission};
use serde::{Deserialize, Serialize};

use super::{DomainJson, FileError, Problem, check_format, hash_kind, parse, pretty, read_document};
use crate::hexadecimal::Hex;

const FORMAT: &str = "dac-submission/v1";
const WHAT: &str = "submission file";
const FILE_MAX_BYTES: u64 = 16 << 10;

/// A signed submission and the domain it was signed under.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubmissionFile {
    /// The domain in which the signature is valid.
    pub domain: Domain,
    /// The submission and its signature.
    pub signed: SignedSubmission,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct FileJson {
    format: String,
    domain: DomainJson,
    submission: SubmissionJson,
    signature: Hex<65>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SubmissionJson {
    rollup: Hex<20>,
    batch_number: u64,
    payload_length: u64,
    expires_at: u64,
    hash_kind: String,
    batch_hash: Hex<32>,
    replaces: Hex<32>,
    disperser: Hex<20>,
    submit_before: u64,
}

impl SubmissionFile {
    /// Writes the document as JSON.
    pub fn to_json(&self) -> String {
        let submission = &self.signed.submission;
        pretty(&FileJson {
            format: FORMAT.to_owned(),
            domain: self.domain.into(),
            submission: SubmissionJson {
                rollup: Hex(submission.rollup.into_array()),
                batch_number: submission.batch_number,
                payload_length: submission.payload_length,
                expires_at: submission.expires_at,
                hash_kind: submission.hash_kind.name().to_owned(),
                batch_hash: Hex(submission.batch_hash.0),
                replaces: Hex(submission.replaces.0),
                disperser: Hex(submission.disperser.into_array()),
                submit_before: submission.submit_before,
            },
            signature: Hex(*self.signed.signature.as_bytes()),
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
        check_format(FORMAT, &json.format)?;
        let submission = BatchSubmission {
            rollup: Address::from(json.submission.rollup.0),
            batch_number: json.submission.batch_number,
            payload_length: json.submission.payload_length,
            expires_at: json.submission.expires_at,
            hash_kind: hash_kind(&json.submission.hash_kind)?,
            batch_hash: B256::new(json.submission.batch_hash.0),
            replaces: B256::new(json.submission.replaces.0),
            disperser: Address::from(json.submission.disperser.0),
            submit_before: json.submission.submit_before,
        };
        let signature = EcdsaSignature::try_from(&json.signature.0[..])?;
        Ok(Self { domain: json.domain.into(), signed: SignedSubmission { submission, signature } })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dac_types::HashKind;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn files_round_trip(numbers: [u64; 5], bytes: [u8; 20], kind in 0u64..3) {
            let mut signature = [1; 65];
            signature[64] = 27;
            let file = SubmissionFile {
                domain: Domain { chain_id: numbers[0], registry: Address::from(bytes) },
                signed: SignedSubmission {
                    submission: BatchSubmission {
                        rollup: Address::from(bytes),
                        batch_number: numbers[1],
                        payload_length: numbers[2],
                        expires_at: numbers[3],
                        hash_kind: HashKind::try_from(kind).unwrap(),
                        batch_hash: B256::repeat_byte(bytes[0]),
                        replaces: B256::repeat_byte(bytes[1]),
                        disperser: Address::repeat_byte(bytes[2]),
                        submit_before: numbers[4],
                    },
                    signature: EcdsaSignature::try_from(&signature[..]).unwrap(),
                },
            };
            prop_assert_eq!(SubmissionFile::from_json(file.to_json().as_bytes()).unwrap(), file);
        }

        #[test]
        fn junk_is_refused(junk in any::<Vec<u8>>()) {
            prop_assert!(SubmissionFile::from_json(&junk).is_err());
        }
    }

    #[test]
    fn malleable_signatures_are_refused() {
        let text = r#"{"format":"dac-submission/v1","domain":{"chain_id":1,"registry":"0xRR"},"submission":{"rollup":"0xRR",
            "batch_number":1,"payload_length":1,"expires_at":1,"hash_kind":"SHA256","batch_hash":"0xHH","replaces":"0xHH",
            "disperser":"0xRR","submit_before":1},"signature":"0xSS"}"#
            .replace("RR", &"01".repeat(20))
            .replace("HH", &"02".repeat(32));
        let with = |signature: String| SubmissionFile::from_json(text.replace("SS", &signature).as_bytes());
        assert!(with(format!("{}1b", "01".repeat(64))).is_ok());
        assert!(
            with(format!("{}{}1b", "01".repeat(32), "ff".repeat(32)))
                .unwrap_err()
                .to_string()
                .contains("malleable")
        );
        assert!(with(format!("{}01", "01".repeat(64))).unwrap_err().to_string().contains("27 or 28"));
    }
}
