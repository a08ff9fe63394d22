// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

/// @notice A Groth16 verifying key over BN254 for claims of t points. Points are encoded as in
/// EIP-197: affine coordinates, in G2 x.c1, x.c0, y.c1, y.c0.
/// @param points the number t
/// @param ic one point for the constant 1, then one for each public input
struct VerifyingKey {
    uint256 points;
    uint256[2] alpha;
    uint256[4] beta;
    uint256[4] gamma;
    uint256[4] delta;
    uint256[2][] ic;
}
