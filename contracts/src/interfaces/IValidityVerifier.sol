// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {PublicClaim} from "../types/PublicClaim.sol";

/// @title The interface between settlement and a proof system
/// @notice An implementation is an adapter of one proof system and one statement (a circuit or
/// guest program). The kinds of batch hash that it allows are fixed at deployment.
interface IValidityVerifier {
    error HashKindNotAllowed(uint8 got);
    /// @notice There is no verifying key for claims of t points.
    error PointsNotSupported(uint256 t);
    /// @notice Points must have 16 bytes each, and the fingerprint 16 bytes for each of them.
    error ClaimLengths(uint256 points, uint256 fingerprint);
    error ProofLength(uint256 got, uint256 expected);
    /// @notice A public input is not below the field's order, so that the field would read it as
    /// another value.
    error InputNotInField(uint256 index, uint256 value);
    error InvalidProof();

    /// @notice Reverts, with an error of the adapter, unless `proof` proves `claim`.
    function verify(PublicClaim calldata claim, bytes calldata proof) external view;

    /// @notice Whether batches with this kind of batchHash are accepted: 0 OPAQUE, 1 KECCAK256, 2
    /// SHA256.
    function allowsHashKind(uint8 kind) external view returns (bool);

    /// @notice Whether claims of t points can be verified. The size of a committee determines t.
    function supportsPoints(uint256 t) external view returns (bool);
}
