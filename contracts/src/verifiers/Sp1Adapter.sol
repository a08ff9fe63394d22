// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {ISP1Verifier} from "../interfaces/ISP1Verifier.sol";
import {IValidityVerifier} from "../interfaces/IValidityVerifier.sol";
import {PublicClaim} from "../types/PublicClaim.sol";
import {AllowedKinds} from "./AllowedKinds.sol";
import {ZkvmAdapter} from "./ZkvmAdapter.sol";

/// @title Verification of SP1 proofs
/// @notice The claim's encoding is the public values. SP1's verifier reverts with its own errors.
/// @dev `sp1` must be a direct verifier of one version, never SP1VerifierGateway: the gateway's
/// owner adds what verifies in one call, which no delay of a settlement contract binds.
contract Sp1Adapter is ZkvmAdapter {
    ISP1Verifier public immutable sp1;
    /// @notice Verifying key of the guest program.
    bytes32 public immutable programVKey;

    constructor(ISP1Verifier sp1_, bytes32 programVKey_, uint8 kinds_)
        AllowedKinds(kinds_)
        ZkvmAdapter(address(sp1_), programVKey_, abi.encodeCall(ISP1Verifier.VERIFIER_HASH, ()))
    {
        sp1 = sp1_;
        programVKey = programVKey_;
        checkRefuses(address(sp1_), abi.encodeCall(ISP1Verifier.verifyProof, (programVKey_, "", "")));
        checkRefuses(address(sp1_), abi.encodeCall(ISP1Verifier.verifyProof, (programVKey_, "", new bytes(260))));
    }

    /// @inheritdoc IValidityVerifier
    function verify(PublicClaim calldata claim, bytes calldata proof) external view {
        checkUnchanged(address(sp1), abi.encodeCall(ISP1Verifier.VERIFIER_HASH, ()));
        sp1.verifyProof(programVKey, encoded(claim), proof);
    }
}
