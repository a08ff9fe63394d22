// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

/// @notice The change that a batch makes, as its validity proof proves.
/// @param inputsConsumed total of L1 inputs consumed, including this batch
/// @param outputs commitment to what the batch pays out on L1; zero if it pays nothing
struct Transition {
    bytes32 newStateRoot;
    uint64 inputsConsumed;
    bytes32 outputs;
}

/// @notice The reason for which a rollup may be, or was, frozen.
enum FreezeReason {
    None,
    NothingSettled,
    InputUnserved,
    CoverageShort
}

/// @notice The rollup's progress, in one slot.
/// @param lastSettledAt time of the last settlement, or of deployment
struct Progress {
    uint64 batchCount;
    uint64 inputsConsumed;
    uint64 lastSettledAt;
}

/// @notice Proposed verifiers that are not accepted yet. `verifier` is zero if there is no
/// proposal.
/// @param standby the second verifier, or zero
/// @param verifierCodeHash hash of the code that users could read when it was proposed
struct VerifierProposal {
    address verifier;
    uint64 acceptableFrom;
    address standby;
    bytes32 verifierCodeHash;
    bytes32 standbyCodeHash;
}
