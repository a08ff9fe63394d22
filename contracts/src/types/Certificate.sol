// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

/// @notice The structure that members sign; see protocol section 6. Its EIP-712 digest is the
/// batch's identity.
/// @param rollup the rollup's settlement contract
/// @param expiresAt last Unix second until which the signers keep and serve the batch
/// @param payloadLength bytes, 1 to 64 MiB
/// @param hashKind how batchHash commits to the payload: 0 OPAQUE, 1 KECCAK256, 2 SHA256
/// @param shardRoot root of the Merkle tree over the n shard hashes
/// @param fingerprintsHash hash of the k rows' fingerprints
/// @param payloadFingerprint fingerprint of the whole payload, 16 bytes for each of the t points
struct BatchHeader {
    address rollup;
    uint64 batchNumber;
    uint64 epoch;
    uint64 expiresAt;
    uint64 payloadLength;
    uint8 hashKind;
    bytes32 batchHash;
    bytes32 shardRoot;
    bytes32 fingerprintsHash;
    bytes payloadFingerprint;
}

/// @notice A header, and the proof that a quorum of its epoch's members signed it.
/// @param absent the seats that did not sign, strictly ascending, one byte each
/// @param signature sum of the signatures: a G1 point, 128 bytes in EIP-2537 encoding
struct Certificate {
    BatchHeader header;
    bytes absent;
    bytes signature;
}

/// @notice A member's promise: "I hold and have checked my shard of every settled batch of this
/// rollup up to lastBatch, and I serve them until expiresAt."
struct CoverageRenewal {
    address rollup;
    uint64 lastBatch;
    uint64 expiresAt;
    uint64 epoch;
}

/// @notice A renewal, and the proof that a quorum of its epoch's members signed it.
struct RenewalCertificate {
    CoverageRenewal renewal;
    bytes absent;
    bytes signature;
}

/// @notice What members sign for many batches at once: "I attested each of these batches in this
/// epoch, and I hold my shard of each of them." It promises no more than the batches' own
/// attestations do.
/// @param count number of batches, 1 to 2048
/// @param root root of the tree over their digests; see BundleTree
struct BatchBundle {
    uint64 epoch;
    uint32 count;
    bytes32 root;
}

/// @notice Where a batch stands in a bundle.
/// @param index index of its digest in the bundle, from 0
/// @param path siblings from the leaf upwards
struct BundlePath {
    BatchBundle bundle;
    uint256 index;
    bytes32[] path;
}
