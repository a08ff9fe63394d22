// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IRiscZeroVerifier} from "../interfaces/IRiscZeroVerifier.sol";
import {IValidityVerifier} from "../interfaces/IValidityVerifier.sol";
import {PublicClaim} from "../types/PublicClaim.sol";
import {AllowedKinds} from "./AllowedKinds.sol";
import {ZkvmAdapter} from "./ZkvmAdapter.sol";

/// @title Validity proofs of RISC Zero
/// @notice The claim's encoding is the journal, of which the verifier gets the SHA-256. What RISC Zero's verifier refuses,
/// it refuses with its own error.
contract RiscZeroAdapter is ZkvmAdapter {
    IRiscZeroVerifier public immutable riscZero;
    /// @notice The guest program's image.
    bytes32 public immutable imageId;

    constructor(IRiscZeroVerifier riscZero_, bytes32 imageId_, uint8 kinds_)
        AllowedKinds(kinds_)
        ZkvmAdapter(address(riscZero_), imageId_)
    {
        riscZero = riscZero_;
        imageId = imageId_;
    }

    /// @inheritdoc IValidityVerifier
    function verify(PublicClaim calldata claim, bytes calldata proof) external view {
        riscZero.verify(proof, imageId, sha256(encoded(claim)));
    }
}
