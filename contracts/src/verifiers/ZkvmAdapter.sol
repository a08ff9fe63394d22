// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IValidityVerifier} from "../interfaces/IValidityVerifier.sol";
import {CodePin} from "../libraries/CodePin.sol";
import {ClaimEncoding} from "../libraries/ClaimEncoding.sol";
import {PublicClaim} from "../types/PublicClaim.sol";
import {AllowedKinds} from "./AllowedKinds.sol";

/// @title The common part of the zkVM adapters: one guest program for any number of points
/// @notice The guest commits exactly ClaimEncoding.encode(claim), and nothing else, as its public
/// output.
abstract contract ZkvmAdapter is AllowedKinds {
    /// @notice The identity of a guest program must not be zero.
    error NoProgram();
    /// @notice The contract does not say which version it verifies: it is a gateway or a router,
    /// whose owner can change at once what verifies, or no verifier at all.
    error NotVersioned(address zkvm);
    /// @notice The contract accepted garbage as a proof.
    error RefusesNothing(address zkvm);
    /// @notice What verifies is no longer what was deployed.
    error ZkvmChanged(address zkvm);

    /// @notice Hash of the code of the zkVM's verifier.
    bytes32 public immutable zkvmCodeHash;
    /// @notice What the verifier says of itself: SP1's VERIFIER_HASH, RISC Zero's SELECTOR.
    bytes32 public immutable zkvmVersion;

    /// @param zkvm a direct, versioned verifier that nobody can replace or stop
    /// @param versionCall the call by which it says its version
    constructor(address zkvm, bytes32 program, bytes memory versionCall) {
        if (program == 0) revert NoProgram();
        zkvmCodeHash = CodePin.pin(zkvm);
        zkvmVersion = versionOf(zkvm, versionCall);
        if (zkvmVersion == 0) revert NotVersioned(zkvm);
    }

    /// @inheritdoc IValidityVerifier
    function supportsPoints(uint256 t) public pure returns (bool) {
        return t >= 2 && t <= 4;
    }

    /// @dev Deployment probes the verifier with calls that it must refuse.
    function checkRefuses(address zkvm, bytes memory verifyCall) internal view {
        (bool accepted,) = zkvm.staticcall(verifyCall);
        if (accepted) revert RefusesNothing(zkvm);
    }

    function checkUnchanged(address zkvm, bytes memory versionCall) internal view {
        if (zkvm.codehash != zkvmCodeHash || versionOf(zkvm, versionCall) != zkvmVersion) revert ZkvmChanged(zkvm);
    }

    /// @dev Zero if the contract does not answer with one word.
    function versionOf(address zkvm, bytes memory versionCall) private view returns (bytes32 version) {
        (bool ok, bytes memory answer) = zkvm.staticcall(versionCall);
        if (ok && answer.length == 32) version = bytes32(answer);
    }

    function encoded(PublicClaim calldata claim) internal view returns (bytes memory) {
        checkKind(claim.hashKind);
        uint256 t = ClaimEncoding.pointCount(claim);
        if (!supportsPoints(t)) revert PointsNotSupported(t);
        return ClaimEncoding.encode(claim);
    }
}
