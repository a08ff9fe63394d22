//! The strings that separate one signed message from another: EIP-712 domain and type strings, BLS
//! ciphersuites, and hash prefixes.
//!
//! The same strings are in `contracts/src` and in `docs/protocol.md`; shared test vectors keep all
//! three equal.

use alloc::vec::Vec;

use alloy_primitives::{Address, B256, keccak256};

/// The BLS ciphersuite under which members sign batch digests.
pub const ATTESTATION_DST: &[u8] = b"BLS_SIG_BLS12381G1_XMD:SHA-256_SSWU_RO_POP_";
/// The BLS ciphersuite under which members prove possession of their key.
pub const POSSESSION_DST: &[u8] = b"BLS_POP_BLS12381G1_XMD:SHA-256_SSWU_RO_POP_";
/// The label that is hashed into the message of a proof of possession.
pub const POSSESSION_LABEL: &[u8] = b"dac/v1/possession";
/// The prefix of the hash that gives the seed of a batch's points.
pub const POINTS_LABEL: &[u8] = b"dac/v1/points";
/// The prefix of the hash that gives one point.
pub const POINT_LABEL: &[u8] = b"dac/v1/point";
/// The prefix of the hash over all row fingerprints.
pub const FINGERPRINTS_LABEL: &[u8] = b"dac/v1/fingerprints";
/// The label that is hashed with the chain id and the settlement contract into the domain of a
/// validity proof.
pub const ROLLUP_LABEL: &[u8] = b"dac/v1/rollup";

pub(crate) const DOMAIN_TYPE: &[u8] =
    b"EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)";
pub(crate) const DOMAIN_NAME: &[u8] = b"Validium DAC";
pub(crate) const DOMAIN_VERSION: &[u8] = b"1";
pub(crate) const BATCH_HEADER_TYPE: &[u8] = b"BatchHeader(address rollup,uint64 batchNumber,uint64 epoch,uint64 expiresAt,uint64 payloadLength,uint8 hashKind,bytes32 batchHash,bytes32 shardRoot,bytes32 fingerprintsHash,bytes payloadFingerprint)";
pub(crate) const BATCH_SUBMISSION_TYPE: &[u8] = b"BatchSubmission(address rollup,uint64 batchNumber,uint64 payloadLength,uint64 expiresAt,uint8 hashKind,bytes32 batchHash,bytes32 replaces,address disperser,uint64 submitBefore)";
pub(crate) const BATCH_BUNDLE_TYPE: &[u8] = b"BatchBundle(uint64 epoch,uint32 count,bytes32 root)";
pub(crate) const COVERAGE_RENEWAL_TYPE: &[u8] =
    b"CoverageRenewal(address rollup,uint64 lastBatch,uint64 expiresAt,uint64 epoch)";
pub(crate) const VALIDITY_PROOF_TYPE: &[u8] =
    b"ValidityProof(bytes32 digest,bytes32 newStateRoot,uint64 inputsConsumed,bytes32 outputs,bytes32 proofHash)";

/// The place where a signature is valid: one chain and one committee registry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Domain {
    /// The EIP-155 chain id of L1.
    pub chain_id: u64,
    /// The address of the committee registry.
    pub registry: Address,
}

impl Domain {
    /// Returns the EIP-712 domain separator.
    pub fn separator(&self) -> B256 {
        StructHash::new(DOMAIN_TYPE)
            .word(keccak256(DOMAIN_NAME))
            .word(keccak256(DOMAIN_VERSION))
            .number(self.chain_id)
            .address(self.registry)
            .finish()
    }

    /// Returns the digest keccak256(0x1901 ‖ separator ‖ struct hash).
    pub(crate) fn digest(&self, struct_hash: B256) -> B256 {
        let mut preimage = [0; 66];
        preimage[..2].copy_from_slice(&[0x19, 0x01]);
        preimage[2..34].copy_from_slice(self.separator().as_slice());
        preimage[34..].copy_from_slice(struct_hash.as_slice());
        keccak256(preimage)
    }

    /// Returns the 32 bytes that an operator signs with its BLS key to prove possession of it. See
    /// section 6.
    ///
    /// `public_key` is the key in EIP-2537 encoding.
    pub fn possession_message(&self, operator: Address, public_key: &[u8; 256]) -> B256 {
        StructHash::new(POSSESSION_LABEL)
            .number(self.chain_id)
            .address(self.registry)
            .address(operator)
            .word(keccak256(public_key))
            .finish()
    }
}

/// Hashes the hash of a type string and 32-byte words behind it. This is EIP-712's hashStruct, and
/// also the layout of abi.encode.
pub(crate) struct StructHash(Vec<u8>);

impl StructHash {
    pub(crate) fn new(type_string: &[u8]) -> Self {
        Self(keccak256(type_string).to_vec())
    }

    pub(crate) fn word(mut self, word: B256) -> Self {
        self.0.extend_from_slice(word.as_slice());
        self
    }

    pub(crate) fn number(self, number: u64) -> Self {
        self.word(B256::left_padding_from(&number.to_be_bytes()))
    }

    pub(crate) fn address(self, address: Address) -> Self {
        self.word(address.into_word())
    }

    pub(crate) fn finish(self) -> B256 {
        keccak256(self.0)
    }
}
