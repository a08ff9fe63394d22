// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IRiscZeroVerifier} from "../interfaces/IRiscZeroVerifier.sol";
import {IValidityVerifier} from "../interfaces/IValidityVerifier.sol";
import {PublicClaim} from "../types/PublicClaim.sol";
import {AllowedKinds} from "./AllowedKinds.sol";
import {ZkvmAdapter} from "./ZkvmAdapter.sol";

/// @title Verification of RISC Zero proofs
/// @notice The claim's encoding is the journal, whose SHA-256 the verifier gets. RISC Zero's
/// verifier reverts with its own errors.
/// @dev `riscZero` must be a direct verifier of one version, never RiscZeroVerifierRouter or an
/// emergency stop: their owners change or stop what verifies without the delay of a settlement
/// contract.
contract RiscZeroAdapter is ZkvmAdapter {
    IRiscZeroVerifier public immutable riscZero;
    /// @notice Image id of the guest program.
    bytes32 public immutable imageId;

    constructor(IRiscZeroVerifier riscZero_, bytes32 imageId_, uint8 kinds_)
        AllowedKinds(kinds_)
        ZkvmAdapter(address(riscZero_), imageId_, abi.encodeCall(IRiscZeroVerifier.SELECTOR, ()))
    {
        riscZero = riscZero_;
        imageId = imageId_;
        checkRefuses(address(riscZero_), abi.encodeCall(IRiscZeroVerifier.verify, ("", imageId_, 0)));
        checkRefuses(address(riscZero_), abi.encodeCall(IRiscZeroVerifier.verify, (new bytes(260), imageId_, 0)));
    }

    /// @inheritdoc IValidityVerifier
    function verify(PublicClaim calldata claim, bytes calldata proof) external view {
        checkUnchanged(address(riscZero), abi.encodeCall(IRiscZeroVerifier.SELECTOR, ()));
        riscZero.verify(proof, imageId, sha256(encoded(claim)));
    }
}
