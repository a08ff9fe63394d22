// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {BatchHeader} from "../types/Certificate.sol";
import {CertificateLib} from "./CertificateLib.sol";

/// @title The points at which a batch is fingerprinted: protocol section 4
library FingerprintPoints {
    /// @notice Returns α_0 ‖ … ‖ α_{t−1}, 16 bytes each.
    /// @param n seats of the header's epoch, from the registry
    /// @param k rebuilding threshold of the header's epoch, from the registry
    function derive(BatchHeader calldata header, uint16 n, uint16 k) internal pure returns (bytes memory points) {
        bytes32 seed =
            sha256(abi.encodePacked("dac/v1/points", header.shardRoot, header.batchHash, header.payloadLength, n, k));
        uint256 t = CertificateLib.fingerprintLength(n) / 16;
        for (uint256 j = 0; j < t; ++j) {
            points = bytes.concat(points, bytes16(sha256(abi.encodePacked("dac/v1/point", seed, uint8(j)))));
        }
    }
}
