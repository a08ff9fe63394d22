// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

/// @notice PoseidonT3 of poseidon-solidity, as deployed.
interface IPoseidonT3 {
    function hash(uint256[2] memory inputs) external pure returns (uint256);
}

/// @notice PoseidonT4 of poseidon-solidity, as deployed.
interface IPoseidonT4 {
    function hash(uint256[3] memory inputs) external pure returns (uint256);
}

/// @notice PoseidonT5 of poseidon-solidity, as deployed.
interface IPoseidonT5 {
    function hash(uint256[4] memory inputs) external pure returns (uint256);
}
