// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

/// @title SP1's verifier of one version, not its gateway
interface ISP1Verifier {
    /// @notice Identifies the version. The gateway has none.
    function VERIFIER_HASH() external view returns (bytes32);

    /// @notice Reverts unless the proof is valid.
    function verifyProof(bytes32 programVKey, bytes calldata publicValues, bytes calldata proofBytes) external view;
}
