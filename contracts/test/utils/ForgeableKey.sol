// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {VerifyingKey} from "../../src/types/Groth16.sol";

/// @title FORGEABLE Groth16 keys, for tests alone: who knows a key's trapdoor proves anything
/// @notice Every point's discrete logarithm is known here, so that a proof of any claim is a little
/// arithmetic. β, γ, δ and B differ, lest a check that confuses them passes.
library ForgeableKey {
    uint256 internal constant R = 0x30644e72e131a029b85045b68181585d2833e84879b9709143e1f593f0000001;
    uint256 internal constant P = 0x30644e72e131a029b85045b68181585d97816a916871ca8d3c208c16d87cfd47;

    uint256 private constant ALPHA = 0xa11a;
    uint256 private constant BETA = 2;
    uint256 private constant GAMMA = 3;
    uint256 private constant DELTA = 5;
    uint256 private constant C = 0xc;
    /// @dev 1 / 7 modulo R, B being 7 times the generator.
    uint256 private constant INVERSE_OF_B = 0x06e9c21069503b73ac9dc0d0edede80d4ee2d80a5a8834a709b290cbfdb6db6e;

    function keys(uint256 t) internal view returns (VerifyingKey[] memory list) {
        list = new VerifyingKey[](1);
        list[0] = key(t);
    }

    /// @notice Keys of a circuit for a checked hash, which takes one input more.
    function checkedKeys(uint256 t) internal view returns (VerifyingKey[] memory list) {
        list = new VerifyingKey[](1);
        list[0] = keyOf(t, inputCount(t) + 1);
    }

    function key(uint256 t) internal view returns (VerifyingKey memory) {
        return keyOf(t, inputCount(t));
    }

    function keyOf(uint256 t, uint256 inputs) private view returns (VerifyingKey memory made) {
        made.points = t;
        made.alpha = g1(ALPHA);
        made.beta = g2(BETA);
        made.gamma = g2(GAMMA);
        made.delta = g2(DELTA);
        made.ic = new uint256[2][](inputs + 1);
        for (uint256 i = 0; i < made.ic.length; ++i) {
            made.ic[i] = g1(coefficient(t, i));
        }
    }

    /// @notice Public inputs of a circuit for t points, counted apart from the code under test.
    function inputCount(uint256 t) internal pure returns (uint256) {
        return t == 2 ? 8 : t == 3 ? 9 : 11;
    }

    /// @notice A proof that key(t) accepts for these inputs.
    function prove(uint256 t, uint256[] memory inputs) internal view returns (bytes memory) {
        uint256 sum = coefficient(t, 0);
        for (uint256 i = 0; i < inputs.length; ++i) {
            sum = addmod(sum, mulmod(coefficient(t, i + 1), inputs[i], R), R);
        }
        uint256 right = ALPHA * BETA + C * DELTA;
        uint256 a = mulmod(addmod(right, mulmod(sum, GAMMA, R), R), INVERSE_OF_B, R);
        return abi.encode(g1(a), g2(7), g1(C));
    }

    function coefficient(uint256 t, uint256 i) private pure returns (uint256) {
        return uint256(keccak256(abi.encode("forgeable key", t, i))) % R;
    }

    function g1(uint256 scalar) internal view returns (uint256[2] memory point) {
        (bool ok, bytes memory output) = address(7).staticcall(abi.encode(1, 2, scalar));
        require(ok, "precompile refused");
        return abi.decode(output, (uint256[2]));
    }

    function g2Generator() internal pure returns (uint256[4] memory) {
        return [
            0x198e9393920d483a7260bfb731fb5d25f1aa493335a9e71297e485b7aef312c2,
            0x1800deef121f1e76426a00665e5c4479674322d4f75edadd46debd5cd992f6ed,
            0x090689d0585ff075ec9e99ad690c3395bc4b313370b38ef355acdadcd122975b,
            0x12c85ea5db8c6deb4aab71808dcb408fe3d1e7690c43d37b4ce6cc0166fa7daa
        ];
    }

    function opposite(uint256[4] memory point) internal pure returns (uint256[4] memory) {
        return [point[0], point[1], P - point[2], P - point[3]];
    }

    /// @dev Some small multiples of the generator, x.c1, x.c0, y.c1, y.c0.
    function g2(uint256 scalar) internal pure returns (uint256[4] memory) {
        if (scalar == 2) {
            return [
                0x203e205db4f19b37b60121b83a7333706db86431c6d835849957ed8c3928ad79,
                0x27dc7234fd11d3e8c36c59277c3e6f149d5cd3cfa9a62aee49f8130962b4b3b9,
                0x195e8aa5b7827463722b8c153931579d3505566b4edf48d498e185f0509de152,
                0x04bb53b8977e5f92a0bc372742c4830944a59b4fe6b1c0466e2a6dad122b5d2e
            ];
        }
        if (scalar == 3) {
            return [
                0x1014772f57bb9742735191cd5dcfe4ebbc04156b6878a0a7c9824f32ffb66e85,
                0x06064e784db10e9051e52826e192715e8d7e478cb09a5e0012defa0694fbc7f5,
                0x021e2335f3354bb7922ffcc2f38d3323dd9453ac49b55441452aeaca147711b2,
                0x058e1d5681b5b9e0074b0f9c8d2c68a069b920d74521e79765036d57666c5597
            ];
        }
        if (scalar == 5) {
            return [
                0x0a09ccf561b55fd99d1c1208dee1162457b57ac5af3759d50671e510e428b2a1,
                0x2e539c423b302d13f4e5773c603948eaf5db5df8ae8a9a9113708390a06410d8,
                0x19b763513924a736e4eebd0d78c91c1bc1d657fee4214057d21414011cfcc763,
                0x2f8d9f9ab83727c77a2fec063cb7b6e5eb23044ccf535ad49d46d394fb6f6bf6
            ];
        }
        require(scalar == 7, "no such multiple here");
        return [
            0x2903ba015a9abde26a5d081e84551e63be0fd4516e46ee6d593edeba46362455,
            0x224bdc5d4327fcf8ed702e01de1c2f1657a253ba75e32a89c390142aaa28b308,
            0x03c8b7cda6b2dedb7aeeaf5fda464ad17036bea1c4e6f7adbaed1ebe0335e0d8,
            0x1d92fff52a265017eeccb372e37d7a7bd431800eca28dfd82e21e8054114233f
        ];
    }

    /// @notice On the twisted curve, outside the subgroup.
    function outsideG2() internal pure returns (uint256[4] memory) {
        return [
            0,
            1,
            0x0d1271953ed9ea0836846e70a1934187998c7f790cb4d7511b7f8da82de048a4,
            0x2869111d5381f072f8e2728fdb825a51aadd70e52c9830e9ab4b871c0531f1bb
        ];
    }
}
