// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {BatchBundle, BatchHeader, CoverageRenewal} from "../types/Certificate.sol";

/// @title The strings and hashes that separate one signed message from another
/// @notice EIP-712 domain and type strings, hash-to-curve tags and the possession message: protocol
/// section 6.
library SignatureDomain {
    bytes32 internal constant DOMAIN_TYPEHASH =
        keccak256("EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)");
    bytes32 internal constant NAME_HASH = keccak256("Validium DAC");
    bytes32 internal constant VERSION_HASH = keccak256("1");

    bytes32 internal constant BATCH_HEADER_TYPEHASH = keccak256(
        "BatchHeader(address rollup,uint64 batchNumber,uint64 epoch,uint64 expiresAt,uint64 payloadLength,"
        "uint8 hashKind,bytes32 batchHash,bytes32 shardRoot,bytes32 fingerprintsHash,bytes payloadFingerprint)"
    );
    bytes32 internal constant COVERAGE_RENEWAL_TYPEHASH =
        keccak256("CoverageRenewal(address rollup,uint64 lastBatch,uint64 expiresAt,uint64 epoch)");
    bytes32 internal constant BATCH_BUNDLE_TYPEHASH = keccak256("BatchBundle(uint64 epoch,uint32 count,bytes32 root)");

    bytes32 internal constant POSSESSION_TAG = keccak256("dac/v1/possession");

    /// @dev Tags of draft-irtf-cfrg-bls-signature for the proof-of-possession scheme with
    /// signatures in G1.
    bytes internal constant SIGNATURE_DST = "BLS_SIG_BLS12381G1_XMD:SHA-256_SSWU_RO_POP_";
    bytes internal constant POSSESSION_DST = "BLS_POP_BLS12381G1_XMD:SHA-256_SSWU_RO_POP_";

    /// @param registry the committee registry, which is the verifying contract of every message
    function separator(address registry) internal view returns (bytes32) {
        return keccak256(abi.encode(DOMAIN_TYPEHASH, NAME_HASH, VERSION_HASH, block.chainid, registry));
    }

    /// @notice The 32-byte identity of a batch, which is also the message that its members sign.
    function digest(BatchHeader calldata header, address registry) internal view returns (bytes32) {
        return digestWithin(header, separator(registry));
    }

    /// @notice The same, for a caller that hashes many headers.
    /// @dev Hashes the calldata as it is: a word with bits above its type gives another digest,
    /// which nobody signed.
    /// @param domain the separator
    function digestWithin(BatchHeader calldata header, bytes32 domain) internal pure returns (bytes32 hash) {
        bytes calldata fingerprint = header.payloadFingerprint;
        bytes32 typeHash = BATCH_HEADER_TYPEHASH;
        assembly ("memory-safe") {
            let room := mload(0x40)
            calldatacopy(room, fingerprint.offset, fingerprint.length)
            let fingerprintHash := keccak256(room, fingerprint.length)
            // The type, nine words as they stand in the header, the fingerprint's hash.
            mstore(room, typeHash)
            calldatacopy(add(room, 0x20), header, 0x120)
            mstore(add(room, 0x140), fingerprintHash)
            let structHash := keccak256(room, 0x160)
            mstore(room, hex"1901")
            mstore(add(room, 0x02), domain)
            mstore(add(room, 0x22), structHash)
            hash := keccak256(room, 0x42)
        }
    }

    /// @notice The message that members sign to renew their promise over a rollup's settled
    /// batches.
    function digest(CoverageRenewal calldata renewal, address registry) internal view returns (bytes32) {
        bytes32 structHash = keccak256(
            abi.encode(COVERAGE_RENEWAL_TYPEHASH, renewal.rollup, renewal.lastBatch, renewal.expiresAt, renewal.epoch)
        );
        return typed(registry, structHash);
    }

    /// @notice The message that members sign for all batches of a bundle at once.
    function digest(BatchBundle memory bundle, address registry) internal view returns (bytes32) {
        bytes32 structHash = keccak256(abi.encode(BATCH_BUNDLE_TYPEHASH, bundle.epoch, bundle.count, bundle.root));
        return typed(registry, structHash);
    }

    /// @notice The message with which `operator` proves possession of the secret of `key`.
    /// @param key 256 bytes, EIP-2537 encoding
    function possession(address registry, address operator, bytes calldata key) internal view returns (bytes32) {
        return keccak256(abi.encode(POSSESSION_TAG, block.chainid, registry, operator, keccak256(key)));
    }

    function typed(address registry, bytes32 structHash) private view returns (bytes32) {
        return keccak256(abi.encodePacked(hex"1901", separator(registry), structHash));
    }
}
