// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

/// @title The curve BN254 with the precompiles of EIP-196 and EIP-197
/// @dev All gas is passed on: a precompile refuses a bad point by burning the gas that it was
/// given, which leaves the caller 1/64 to report it.
library BN254 {
    /// @notice Order of the base field.
    uint256 internal constant P = 0x30644e72e131a029b85045b68181585d97816a916871ca8d3c208c16d87cfd47;
    /// @notice Order of the groups, and of the field of a circuit's values.
    uint256 internal constant R = 0x30644e72e131a029b85045b68181585d2833e84879b9709143e1f593f0000001;

    uint256 internal constant G1_LENGTH = 64;
    uint256 internal constant G2_LENGTH = 128;

    uint256 private constant ADD = 0x06;
    uint256 private constant MUL = 0x07;
    uint256 private constant PAIRING_CHECK = 0x08;

    /// @notice Whether this is the canonical encoding of a point of G1 that is not infinity.
    function isG1(uint256[2] memory point) internal view returns (bool ok) {
        if ((point[0] | point[1]) == 0) return false;
        assembly ("memory-safe") {
            // point + infinity is refused if the point is off the curve.
            let input := mload(0x40)
            mcopy(input, point, 0x40)
            calldatacopy(add(input, 0x40), calldatasize(), 0x40)
            ok := staticcall(gas(), ADD, input, 0x80, input, 0x40)
            ok := and(ok, eq(returndatasize(), 0x40))
        }
    }

    /// @notice Whether this is the canonical encoding of a point of G2 that is not infinity.
    function isG2(uint256[4] memory point) internal view returns (bool ok) {
        if ((point[0] | point[1] | point[2] | point[3]) == 0) return false;
        assembly ("memory-safe") {
            // e(infinity, point) is refused if the point is off the curve or not in the subgroup.
            let input := mload(0x40)
            calldatacopy(input, calldatasize(), 0x40)
            mcopy(add(input, 0x40), point, 0x80)
            ok := staticcall(gas(), PAIRING_CHECK, input, 0xc0, 0x00, 0x20)
            ok := and(ok, eq(returndatasize(), 0x20))
        }
    }

    /// @notice The standard generator of G2.
    function g2Generator() internal pure returns (uint256[4] memory) {
        return [
            0x198e9393920d483a7260bfb731fb5d25f1aa493335a9e71297e485b7aef312c2,
            0x1800deef121f1e76426a00665e5c4479674322d4f75edadd46debd5cd992f6ed,
            0x090689d0585ff075ec9e99ad690c3395bc4b313370b38ef355acdadcd122975b,
            0x12c85ea5db8c6deb4aab71808dcb408fe3d1e7690c43d37b4ce6cc0166fa7daa
        ];
    }

    /// @notice Returns −point. The coordinates must be canonical.
    function negated(uint256[2] memory point) internal pure returns (uint256[2] memory) {
        return [point[0], negatedElement(point[1])];
    }

    /// @notice Returns −point. The coordinates must be canonical.
    function negated(uint256[4] memory point) internal pure returns (uint256[4] memory) {
        return [point[0], point[1], negatedElement(point[2]), negatedElement(point[3])];
    }

    /// @notice Writes table[0] + Σ scalars[i] · table[i + 1] to the memory at `target`.
    /// @param table pointer to scalars.length + 1 canonical points, which are overwritten
    function combine(uint256 target, uint256 table, uint256[] memory scalars) internal view returns (bool ok) {
        assembly ("memory-safe") {
            mcopy(target, table, 0x40)
            let scalar := add(scalars, 0x20)
            ok := 1
            for { let end := add(scalar, shl(5, mload(scalars))) } lt(scalar, end) { scalar := add(scalar, 0x20) } {
                // The scalar temporarily replaces the next point's x; the product replaces the
                // point.
                let point := add(table, 0x40)
                let next := add(point, 0x40)
                let kept := mload(next)
                mstore(next, mload(scalar))
                ok := and(ok, staticcall(gas(), MUL, point, 0x60, point, 0x40))
                mstore(next, kept)
                mcopy(table, target, 0x40)
                ok := and(ok, staticcall(gas(), ADD, table, 0x80, target, 0x40))
                table := point
            }
        }
    }

    /// @notice Whether the product of the pairings is one. It is also false if a point is refused.
    /// @param input pointer to `pairs` times a point of G1 and one of G2
    function pairing(uint256 input, uint256 pairs) internal view returns (bool ok) {
        assembly ("memory-safe") {
            ok := staticcall(gas(), PAIRING_CHECK, input, mul(pairs, 0xc0), 0x00, 0x20)
            ok := and(ok, and(eq(returndatasize(), 0x20), eq(mload(0x00), 1)))
        }
    }

    function negatedElement(uint256 value) private pure returns (uint256) {
        return value == 0 ? 0 : P - value;
    }
}
