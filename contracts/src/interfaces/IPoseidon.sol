// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

/// @notice The deployed library PoseidonT3 of poseidon-solidity, which hashes two elements.
interface IPoseidonT3 {
    function hash(uint256[2] memory inputs) external pure returns (uint256);
}

/// @notice The deployed library PoseidonT4 of poseidon-solidity, which hashes three elements.
interface IPoseidonT4 {
    function hash(uint256[3] memory inputs) external pure returns (uint256);
}

/// @notice The deployed library PoseidonT5 of poseidon-solidity, which hashes four elements.
interface IPoseidonT5 {
    function hash(uint256[4] memory inputs) external pure returns (uint256);
}
