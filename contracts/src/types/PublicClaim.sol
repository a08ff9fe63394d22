// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

/// @notice The statement that a validity proof must prove. The settlement contract fills in every
/// field from its storage, the certified header and the registry. The caller chooses only the
/// transition, which the proof must prove.
/// @param settlement the rollup's settlement contract, which the header names as `rollup`
/// @param l1Inputs commitment to all L1 inputs (deposits, exit requests) consumed including this
/// batch
/// @param l1Outputs commitment to what the batch pays out on L1 (withdrawals)
/// @param points α_0 ‖ … ‖ α_{t−1}, 16t bytes
/// @param payloadFingerprint the payload's value at every point, 16t bytes
struct PublicClaim {
    bytes32 oldStateRoot;
    bytes32 newStateRoot;
    uint64 chainId;
    address settlement;
    uint64 batchNumber;
    uint64 payloadLength;
    uint8 hashKind;
    bytes32 batchHash;
    bytes32 l1Inputs;
    bytes32 l1Outputs;
    bytes points;
    bytes payloadFingerprint;
}
