// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

/// @title RISC Zero's verifier, or its router
interface IRiscZeroVerifier {
    /// @notice Reverts unless the seal is valid.
    function verify(bytes calldata seal, bytes32 imageId, bytes32 journalDigest) external view;
}
