// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

/// @notice What a validity proof is about. The settlement contract fills in every field from its storage, the certified
/// header and the registry; of these, whoever calls chooses nothing but the transition, which the proof must show.
/// @param settlement the rollup's settlement contract, which the header names as `rollup`
/// @param l1Inputs commitment to all L1 inputs (deposits, exit requests) consumed up to and with this batch
/// @param l1Outputs commitment to what the batch grants on L1 (withdrawals)
/// @param points α_0 ‖ … ‖ α_{t−1}, 16t bytes
/// @param payloadFingerprint the payload at every point, 16t bytes
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
