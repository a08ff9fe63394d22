// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {G1Point, G2Point} from "../../src/libraries/BLS12381.sol";

/// @title Encodings that look like points of the subgroups and are not
library BadPoints {
    uint256 private constant P_HI = 0x1a0111ea397fe69a4b1ba7b6434bacd7;
    uint256 private constant P_LO = 0x64774b84f38512bf6730d2a0f6b0f6241eabfffeb153ffffb9feffffffffaaab;

    /// @dev x = 4 on y² = x³ + 4, of an order that the subgroup's does not divide into.
    function g1OutsideSubgroup() internal pure returns (bytes memory) {
        return abi.encode(
            G1Point({
                xHi: 0,
                xLo: 4,
                yHi: 0x0a989badd40d6212b33cffc3f3763e9b,
                yLo: 0xc760f988c9926b26da9dd85e928483446346b8ed00e1de5d5ea93e354abe706c
            })
        );
    }

    /// @dev x = 2 on y² = x³ + 4(1 + u), outside the subgroup.
    function g2OutsideSubgroup() internal pure returns (bytes memory) {
        return abi.encode(
            G2Point({
                x0Hi: 0,
                x0Lo: 2,
                x1Hi: 0,
                x1Lo: 0,
                y0Hi: 0x18c6b864ae17dc9da64203ffefb96630,
                y0Lo: 0x6425a7bc6aeb7c75247438372716284a4173830420cd476ba1a365b95bfcec38,
                y1Hi: 0x172e93db764a8400a7d5071b6b6f5de0,
                y1Lo: 0xda2f0f4a063119abca014006b7c40a2cfe291a1924e65db0d6d0fcfbf3bf3d5c
            })
        );
    }

    /// @dev The same curve point with p added to its first coordinate.
    function notCanonical(bytes memory point) internal pure returns (bytes memory twisted) {
        twisted = bytes.concat(point);
        uint256 hi;
        uint256 lo;
        assembly ("memory-safe") {
            hi := mload(add(twisted, 0x20))
            lo := mload(add(twisted, 0x40))
        }
        unchecked {
            uint256 sum = lo + P_LO;
            hi = hi + P_HI + (sum < lo ? 1 : 0);
            lo = sum;
        }
        assembly ("memory-safe") {
            mstore(add(twisted, 0x20), hi)
            mstore(add(twisted, 0x40), lo)
        }
    }

    /// @dev The last bit flipped: off the curve.
    function offCurve(bytes memory point) internal pure returns (bytes memory twisted) {
        twisted = bytes.concat(point);
        twisted[twisted.length - 1] ^= 0x01;
    }

    /// @dev A bit in the sixteen bytes that must be zero.
    function dirtyPadding(bytes memory point) internal pure returns (bytes memory twisted) {
        twisted = bytes.concat(point);
        twisted[0] = 0x01;
    }
}
