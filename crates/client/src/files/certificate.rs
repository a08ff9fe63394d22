//! A certificate as a file. With the committee's keys it is all that anyone needs to verify it.
//!
//! ```json
//! {
//!   "format": "dac-certificate/v1",
//!   "domain": { "chain_id": 31337, "registry": "0x<20 bytes>" },
//!   "digest": "0x<32 bytes: the EIP-712 digest of the header under the domain>",
//!   "header": {
//!     "rollup": "0x<20 bytes>",
//!     "batch_number": 1,
//!     "epoch": 1,
//!     "expires_at": 1767225600,
//!     "payload_length": 131072,
//!     "hash_kind": "OPAQUE | KECCAK256 | SHA256",
//!     "batch_hash": "0x<32 bytes>",
//!     "shard_root": "0x<32 bytes>",
//!     "fingerprints_hash": "0x<32 bytes>",
//!     "payload_fingerprint": "0x<32, 48 or 64 bytes>"
//!   },
//!   "absent": [2, 5],
//!   "signature": "0x<48 bytes: compressed G1>"
//! }
//! ```

use std::path::Path;

use dac_types::limits::{BLOCK_BYTES, FINGERPRINT_MAX_POINTS};
use dac_types::{
    AbsentSeats, Address, AggregateAttestation, B256, BatchDigest, BatchHeader, Certificate, Domain,
    SignatureBytes,
};
use serde::{Deserialize, Serialize};

use super::{DomainJson, FileError, Problem, check_format, hash_kind, parse, pretty, read_document};
use crate::hexadecimal::{Hex, HexBytes};

const FORMAT: &str = "dac-certificate/v1";
const WHAT: &str = "certificate file";
const FILE_MAX_BYTES: u64 = 64 << 10;

/// A certificate and the domain it was signed under. Its signature is not verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateFile {
    /// The domain in which the certificate is valid.
    pub domain: Domain,
    /// The certificate.
    pub certificate: Certificate,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct CertificateJson {
    format: String,
    domain: DomainJson,
    digest: Hex<32>,
    header: HeaderJson,
    absent: Vec<u8>,
    signature: Hex<{ dac_types::SIGNATURE_BYTES }>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct HeaderJson {
    rollup: Hex<20>,
    batch_number: u64,
    epoch: u64,
    expires_at: u64,
    payload_length: u64,
    hash_kind: String,
    batch_hash: Hex<32>,
    shard_root: Hex<32>,
    fingerprints_hash: Hex<32>,
    payload_fingerprint: HexBytes,
}

impl CertificateFile {
    /// Returns the batch's digest.
    pub fn digest(&self) -> BatchDigest {
        self.certificate.header.digest(&self.domain)
    }

    /// Writes the document as JSON.
    pub fn to_json(&self) -> String {
        let Certificate { header, aggregate } = &self.certificate;
        pretty(&CertificateJson {
            format: FORMAT.to_owned(),
            domain: self.domain.into(),
            digest: Hex(*self.digest().as_bytes()),
            header: HeaderJson {
                rollup: Hex(header.rollup.into_array()),
                batch_number: header.batch_number,
                epoch: header.epoch,
                expires_at: header.expires_at,
                payload_length: header.payload_length,
                hash_kind: header.hash_kind.name().to_owned(),
                batch_hash: Hex(header.batch_hash.0),
                shard_root: Hex(header.shard_root.0),
                fingerprints_hash: Hex(header.fingerprints_hash.0),
                payload_fingerprint: HexBytes(header.payload_fingerprint.clone()),
            },
            absent: aggregate.absent.as_bytes().to_vec(),
            signature: Hex(aggregate.signature.0),
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
        let json: CertificateJson = parse(text)?;
        check_format(FORMAT, &json.format)?;
        let header = BatchHeader::try_from(json.header)?;
        let aggregate = AggregateAttestation {
            absent: AbsentSeats::try_from(&json.absent[..])?,
            signature: SignatureBytes(json.signature.0),
        };
        let file = Self { domain: json.domain.into(), certificate: Certificate { header, aggregate } };
        let (named, got) = (BatchDigest(B256::new(json.digest.0)), file.digest());
        if named != got {
            return Err(Problem::Digest { named: named.to_string(), got: got.to_string() });
        }
        Ok(file)
    }
}

impl TryFrom<HeaderJson> for BatchHeader {
    type Error = Problem;

    fn try_from(json: HeaderJson) -> Result<Self, Problem> {
        let payload_fingerprint = json.payload_fingerprint.0;
        let points = payload_fingerprint.len() / BLOCK_BYTES;
        if !payload_fingerprint.len().is_multiple_of(BLOCK_BYTES)
            || !(2..=FINGERPRINT_MAX_POINTS).contains(&points)
        {
            return Err(Problem::Fingerprint(payload_fingerprint.len()));
        }
        Ok(Self {
            rollup: Address::from(json.rollup.0),
            batch_number: json.batch_number,
            epoch: json.epoch,
            expires_at: json.expires_at,
            payload_length: json.payload_length,
            hash_kind: hash_kind(&json.hash_kind)?,
            batch_hash: B256::new(json.batch_hash.0),
            shard_root: B256::new(json.shard_root.0),
            fingerprints_hash: B256::new(json.fingerprints_hash.0),
            payload_fingerprint,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dac_types::{HashKind, Seat};
    use proptest::prelude::*;

    fn any_file() -> impl Strategy<Value = CertificateFile> {
        (
            any::<(u64, [u8; 20], [u8; 20], u64, u64)>(),
            any::<[u8; 32]>(),
            2usize..=4,
            0u64..3,
            any::<Vec<u8>>(),
        )
            .prop_map(
                |((chain_id, registry, rollup, batch_number, expires_at), hash, points, kind, signers)| {
                    let signers: Vec<Seat> = signers.into_iter().map(Seat).collect();
                    CertificateFile {
                        domain: Domain { chain_id, registry: Address::from(registry) },
                        certificate: Certificate {
                            header: BatchHeader {
                                rollup: Address::from(rollup),
                                batch_number,
                                epoch: batch_number ^ expires_at,
                                expires_at,
                                payload_length: 1 + (expires_at >> 40),
                                hash_kind: HashKind::try_from(kind).unwrap(),
                                batch_hash: B256::new(hash),
                                shard_root: B256::repeat_byte(hash[0]),
                                fingerprints_hash: B256::repeat_byte(hash[1]),
                                payload_fingerprint: vec![hash[2]; 16 * points],
                            },
                            aggregate: AggregateAttestation {
                                absent: AbsentSeats::from_signers(256, &signers),
                                signature: SignatureBytes([hash[3]; 48]),
                            },
                        },
                    }
                },
            )
    }

    proptest! {
        #[test]
        fn files_round_trip(file in any_file()) {
            prop_assert_eq!(CertificateFile::from_json(file.to_json().as_bytes()).unwrap(), file);
        }

        #[test]
        fn a_changed_byte_is_noticed_or_means_the_same(file in any_file(), at in any::<prop::sample::Index>(), byte in any::<u8>()) {
            let mut text = file.to_json().into_bytes();
            let at = at.index(text.len());
            prop_assume!(text[at] != byte);
            text[at] = byte;
            if let Ok(other) = CertificateFile::from_json(&text) {
                // Only what the digest does not cover can differ; verification checks the rest.
                prop_assert_eq!(other.digest(), file.digest());
            }
        }

        #[test]
        fn junk_is_refused(junk in any::<Vec<u8>>()) {
            prop_assert!(CertificateFile::from_json(&junk).is_err());
        }
    }

    fn sample() -> serde_json::Value {
        let file = CertificateFile {
            domain: Domain { chain_id: 1, registry: Address::repeat_byte(1) },
            certificate: Certificate {
                header: BatchHeader {
                    rollup: Address::repeat_byte(2),
                    batch_number: 3,
                    epoch: 4,
                    expires_at: 5,
                    payload_length: 6,
                    hash_kind: HashKind::Opaque,
                    batch_hash: B256::repeat_byte(7),
                    shard_root: B256::repeat_byte(8),
                    fingerprints_hash: B256::repeat_byte(9),
                    payload_fingerprint: vec![10; 32],
                },
                aggregate: AggregateAttestation {
                    absent: AbsentSeats::try_from(&[1, 3][..]).unwrap(),
                    signature: SignatureBytes([11; 48]),
                },
            },
        };
        serde_json::from_str(&file.to_json()).unwrap()
    }

    fn problem(value: &serde_json::Value) -> String {
        CertificateFile::from_json(value.to_string().as_bytes()).unwrap_err().to_string()
    }

    #[test]
    fn every_field_is_checked() {
        assert!(CertificateFile::from_json(sample().to_string().as_bytes()).is_ok());
        let mut trailing = sample().to_string();
        trailing.push_str(" {}");
        assert!(
            CertificateFile::from_json(trailing.as_bytes()).unwrap_err().to_string().contains("trailing")
        );
        let repeated = sample().to_string().replacen('{', r#"{"format":"dac-certificate/v1","#, 1);
        assert!(
            CertificateFile::from_json(repeated.as_bytes())
                .unwrap_err()
                .to_string()
                .contains("duplicate field")
        );
        for (path, value, expected) in [
            ("/format", serde_json::json!("dac-certificate/v2"), "expected format"),
            ("/digest", serde_json::json!(format!("0x{}", "00".repeat(32))), "names digest"),
            ("/digest", serde_json::json!("0x00"), "expected 32 bytes, got 1"),
            ("/absent", serde_json::json!([3, 1]), "ascend"),
            ("/absent", serde_json::json!([1, 1]), "ascend"),
            ("/absent", serde_json::json!([256]), "256"),
            ("/signature", serde_json::json!("11"), "0x"),
            ("/header/hash_kind", serde_json::json!("MD5"), "hash_kind"),
            ("/header/payload_fingerprint", serde_json::json!("0x00"), "payload_fingerprint"),
            ("/header/batch_number", serde_json::json!(4), "names digest"),
            ("/header/epoch", serde_json::json!(-1), "invalid value"),
            ("/domain/chain_id", serde_json::json!(2), "names digest"),
        ] {
            let mut changed = sample();
            *changed.pointer_mut(path).unwrap() = value;
            assert!(problem(&changed).contains(expected), "{path}: {}", problem(&changed));
        }
        for place in ["", "/header", "/domain"] {
            let mut more = sample();
            more.pointer_mut(place).unwrap()["more"] = serde_json::json!(1);
            assert!(problem(&more).contains("unknown field"), "{place}: {}", problem(&more));
        }
    }
}
