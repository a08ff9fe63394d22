// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

/// @title RISC Zero's verifier of one version, not its router
interface IRiscZeroVerifier {
    /// @notice Identifies the version: a seal begins with it. The router has none.
    function SELECTOR() external view returns (bytes4);

    /// @notice Reverts unless the seal is valid.
    function verify(bytes calldata seal, bytes32 imageId, bytes32 journalDigest) external view;
}
