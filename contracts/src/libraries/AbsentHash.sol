// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

/// @title What is kept of a certificate that was checked: when, and who was missing, in one word
library AbsentHash {
    /// @notice 192 bits of the hash of the absent seats, then 64 bits of this block's time.
    function entry(bytes calldata absent) internal view returns (uint256) {
        return (uint256(keccak256(absent)) & ~uint256(type(uint64).max)) | uint64(block.timestamp);
    }
}
