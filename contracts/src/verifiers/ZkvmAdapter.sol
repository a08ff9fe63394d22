// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IValidityVerifier} from "../interfaces/IValidityVerifier.sol";
import {ClaimEncoding} from "../libraries/ClaimEncoding.sol";
import {PublicClaim} from "../types/PublicClaim.sol";
import {AllowedKinds} from "./AllowedKinds.sol";

/// @title The common part of the zkVM adapters: one guest program for any number of points
/// @notice The guest commits exactly ClaimEncoding.encode(claim), and nothing else, as its public
/// output.
abstract contract ZkvmAdapter is AllowedKinds {
    /// @notice The zkVM's verifier must be a contract.
    error NoZkvmVerifier(address got);
    /// @notice The identity of a guest program must not be zero.
    error NoProgram();

    constructor(address zkvm, bytes32 program) {
        if (zkvm.code.length == 0) revert NoZkvmVerifier(zkvm);
        if (program == 0) revert NoProgram();
    }

    /// @inheritdoc IValidityVerifier
    function supportsPoints(uint256 t) public pure returns (bool) {
        return t >= 2 && t <= 4;
    }

    function encoded(PublicClaim calldata claim) internal view returns (bytes memory) {
        checkKind(claim.hashKind);
        uint256 t = ClaimEncoding.pointCount(claim);
        if (!supportsPoints(t)) revert PointsNotSupported(t);
        return ClaimEncoding.encode(claim);
    }
}
