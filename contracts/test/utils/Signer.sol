// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {BLS12381, G1Point, G2Point} from "../../src/libraries/BLS12381.sol";

/// @title BLS keys and signatures for tests, made by the precompiles themselves
library Signer {
    uint256 internal constant ORDER = 0x73eda753299d7d483339d80809a1d80553bda402fffe5bfeffffffff00000001;

    uint256 private constant G1MSM = 0x0c;
    uint256 private constant G2MSM = 0x0e;

    /// @notice A secret for tests, a function of its number.
    function secret(uint256 number) internal pure returns (uint256) {
        return uint256(keccak256(abi.encode("dac test key", number))) % ORDER;
    }

    /// @return 256 bytes
    function publicKey(uint256 scalar) internal view returns (bytes memory) {
        G2Point memory generator = BLS12381.negatedG2Generator();
        BLS12381.negate(generator);
        return call(G2MSM, abi.encode(generator, scalar));
    }

    /// @return 128 bytes
    function sign(uint256 scalar, bytes32 message, bytes memory dst) internal view returns (bytes memory) {
        return call(G1MSM, abi.encode(BLS12381.hashToG1(message, dst), scalar));
    }

    function call(uint256 precompile, bytes memory input) internal view returns (bytes memory) {
        (bool ok, bytes memory output) = address(uint160(precompile)).staticcall(input);
        require(ok, "precompile refused");
        return output;
    }
}
