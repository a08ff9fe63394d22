// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

/// @notice What a batch changes, as its validity proof shows.
/// @param inputsConsumed total of L1 inputs ever consumed, after this batch
/// @param outputs commitment to what the batch grants on L1; zero for nothing
struct Transition {
    bytes32 newStateRoot;
    uint64 inputsConsumed;
    bytes32 outputs;
}

/// @notice Why a rollup may be, or was, frozen.
enum FreezeReason {
    None,
    NothingSettled,
    InputUnserved,
    CoverageShort
}

/// @notice How far the rollup has come: one slot.
/// @param lastSettledAt time of the last settlement, or of deployment
struct Progress {
    uint64 batchCount;
    uint64 inputsConsumed;
    uint64 lastSettledAt;
}

/// @notice A verifier that waits for its time. `verifier` is zero while none does.
struct VerifierProposal {
    address verifier;
    uint64 acceptableFrom;
}
