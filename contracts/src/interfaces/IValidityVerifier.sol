// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {PublicClaim} from "../types/PublicClaim.sol";

/// @title The seam between settlement and a proof system
/// @notice An implementation is an adapter of one proof system and one statement (circuit or guest program). Which kinds
/// of batch hash it allows is a constant of its deployment.
interface IValidityVerifier {
    error HashKindNotAllowed(uint8 got);
    /// @notice No verifying key is there for a claim of t points.
    error PointsNotSupported(uint256 t);
    /// @notice Points are 16 bytes each, and the fingerprint has 16 for each of them.
    error ClaimLengths(uint256 points, uint256 fingerprint);
    error ProofLength(uint256 got, uint256 expected);
    /// @notice A public input is not below the field's order, so that it would stand for another one.
    error InputNotInField(uint256 index, uint256 value);
    error InvalidProof();

    /// @notice Reverts, with its own error, unless `proof` shows `claim`.
    function verify(PublicClaim calldata claim, bytes calldata proof) external view;

    /// @notice Whether batches may be bound by this kind of batchHash: 0 OPAQUE, 1 KECCAK256, 2 SHA256.
    function allowsHashKind(uint8 kind) external view returns (bool);

    /// @notice Whether claims of t points, so committees of certain sizes, can be verified.
    function supportsPoints(uint256 t) external view returns (bool);
}
