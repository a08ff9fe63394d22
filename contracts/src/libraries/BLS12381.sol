// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

/// @notice A point of G1: two field elements, each as its high 128 and low 256 bits. In memory
/// these are the 128 bytes of the EIP-2537 encoding. Infinity is all zeros.
struct G1Point {
    uint256 xHi;
    uint256 xLo;
    uint256 yHi;
    uint256 yLo;
}

/// @notice A point of G2 with coordinates c0 + c1·u. In memory these are the 256 bytes of the
/// EIP-2537 encoding, c0 before c1.
struct G2Point {
    uint256 x0Hi;
    uint256 x0Lo;
    uint256 x1Hi;
    uint256 x1Lo;
    uint256 y0Hi;
    uint256 y0Lo;
    uint256 y1Hi;
    uint256 y1Lo;
}

/// @title BLS signatures over BLS12-381 with signatures in G1 and keys in G2
/// @notice Thin wrappers of the precompiles of EIP-2537, and hash-to-curve of RFC 9380 with them.
/// @dev All gas is passed on to the precompiles, except by verifyWithin, because their prices
/// change between forks and this code does not. A precompile refuses a bad point by burning the gas
/// that it was given, which leaves the caller 1/64 to report it.
library BLS12381 {
    /// @notice A precompile refused its input: it is not canonical, not on the curve, or not in the
    /// subgroup.
    error PrecompileFailed(uint256 precompile);
    /// @notice There is too little gas left to pay for a precompile.
    error OutOfGas();

    uint256 internal constant G1_LENGTH = 128;
    uint256 internal constant G2_LENGTH = 256;

    uint256 private constant SHA256 = 0x02;
    uint256 private constant MODEXP = 0x05;
    uint256 private constant G1ADD = 0x0b;
    uint256 private constant G2ADD = 0x0d;
    uint256 private constant PAIRING_CHECK = 0x0f;
    uint256 private constant MAP_FP_TO_G1 = 0x10;

    /// @dev What EIP-2537 asks for two pairs: 37,700 + 2 · 32,600.
    uint256 private constant PAIRING_GAS = 102_900;

    /// @dev The field's prime p, 381 bits.
    uint256 private constant P_HI = 0x1a0111ea397fe69a4b1ba7b6434bacd7;
    uint256 private constant P_LO = 0x64774b84f38512bf6730d2a0f6b0f6241eabfffeb153ffffb9feffffffffaaab;

    /// @notice Checks a signature over a 32-byte message:
    /// e(signature, −g2) · e(H(message), key) = 1.
    /// @dev The caller must refuse a key or signature at infinity, because infinity for both passes
    /// any message. The precompile checks that both points are canonical, on the curve and in their
    /// subgroups.
    /// @return decided false if the precompile refused a point
    /// @return valid whether the signature was made by the key
    function verify(G1Point memory signature, bytes32 message, bytes memory dst, G2Point memory key)
        internal
        view
        returns (bool decided, bool valid)
    {
        return pairing(signature, negatedG2Generator(), hashToG1(message, dst), key, type(uint256).max);
    }

    /// @notice Whether the signature was made by the key: false also for a signature that is no
    /// point of the subgroup. Never false for want of gas: it reverts then.
    /// @dev The pairing is given exactly what it costs, so that a bad point burns no more, and it
    /// is not called unless that much can be passed on. If it fails all the same, a pairing that
    /// must succeed shows whether the point was bad, or the price is another than it was.
    /// @param key a key that was checked before
    function verifyWithin(G1Point memory signature, bytes32 message, bytes memory dst, G2Point memory key)
        internal
        view
        returns (bool valid)
    {
        bool decided;
        G2Point memory g2 = negatedG2Generator();
        G1Point memory hashed = hashToG1(message, dst);
        (decided, valid) = pairing(signature, g2, hashed, key, PAIRING_GAS);
        if (decided) return valid;
        (decided,) = pairing(hashed, g2, hashed, key, PAIRING_GAS);
        if (!decided) revert PrecompileFailed(PAIRING_CHECK);
    }

    /// @dev Whether e(a, b) · e(c, d) = 1. Passes on so much gas, and reverts if it has less; with
    /// the greatest value, it passes on all.
    function pairing(G1Point memory a, G2Point memory b, G1Point memory c, G2Point memory d, uint256 given)
        private
        view
        returns (bool decided, bool valid)
    {
        // 1/64 stays here, and the call itself takes some. A call that asks for more than can be
        // passed on would get less, without a word.
        if (given == PAIRING_GAS && gasleft() < PAIRING_GAS + PAIRING_GAS / 63 + 5000) revert OutOfGas();
        assembly ("memory-safe") {
            let input := mload(0x40)
            mcopy(input, a, 0x80)
            mcopy(add(input, 0x080), b, 0x100)
            mcopy(add(input, 0x180), c, 0x80)
            mcopy(add(input, 0x200), d, 0x100)
            decided := staticcall(given, PAIRING_CHECK, input, 0x300, 0x00, 0x20)
            decided := and(decided, eq(returndatasize(), 0x20))
            valid := and(decided, eq(mload(0x00), 1))
        }
    }

    /// @notice hash_to_curve of RFC 9380 for the suite BLS12381G1_XMD:SHA-256_SSWU_RO_ and a
    /// message of 32 bytes.
    /// @dev expand_message_xmd gives 128 uniform bytes b_1 ‖ … ‖ b_4: two field elements of
    /// 64 bytes each, to be reduced modulo p. MAP_FP_TO_G1 clears the cofactor of G1 itself.
    function hashToG1(bytes32 message, bytes memory dst) internal view returns (G1Point memory point) {
        bytes memory dstPrime = bytes.concat(dst, bytes1(uint8(dst.length)));
        // Z_pad is one 64-byte block of zeros. Then come the message, the output length 128 and a
        // zero.
        bytes32 b0 = sha256(bytes.concat(bytes32(0), bytes32(0), message, hex"008000", dstPrime));
        bytes memory chain = bytes.concat(bytes32(0), bytes1(0), dstPrime);
        bytes32 b1 = chained(chain, b0, 1);
        bytes32 b2 = chained(chain, b0 ^ b1, 2);
        bytes32 b3 = chained(chain, b0 ^ b2, 3);
        bytes32 b4 = chained(chain, b0 ^ b3, 4);
        point = mapToG1(b1, b2);
        addTo(point, mapToG1(b3, b4));
    }

    /// @notice Sets acc to acc + point, in place.
    function addTo(G1Point memory acc, G1Point memory point) internal view {
        bool ok;
        assembly ("memory-safe") {
            let input := mload(0x40)
            mcopy(input, acc, 0x80)
            mcopy(add(input, 0x80), point, 0x80)
            ok := staticcall(gas(), G1ADD, input, 0x100, acc, 0x80)
            ok := and(ok, eq(returndatasize(), 0x80))
        }
        if (!ok) revert PrecompileFailed(G1ADD);
    }

    /// @notice Sets acc to acc + point. This is done in place because a certificate adds up to 256
    /// points.
    /// @dev The precompile checks the curve but not the subgroup: `point` comes from a key that was
    /// checked before.
    function addTo(G2Point memory acc, G2Point memory point) internal view {
        bool ok;
        assembly ("memory-safe") {
            let input := mload(0x40)
            mcopy(input, acc, 0x100)
            mcopy(add(input, 0x100), point, 0x100)
            ok := staticcall(gas(), G2ADD, input, 0x200, acc, 0x100)
            ok := and(ok, eq(returndatasize(), 0x100))
        }
        if (!ok) revert PrecompileFailed(G2ADD);
    }

    /// @notice Sets point to −point, in place. The coordinates must be canonical, as the
    /// precompiles' outputs are.
    function negate(G2Point memory point) internal pure {
        (point.y0Hi, point.y0Lo) = negateElement(point.y0Hi, point.y0Lo);
        (point.y1Hi, point.y1Lo) = negateElement(point.y1Hi, point.y1Lo);
    }

    function isInfinity(G1Point memory point) internal pure returns (bool) {
        return (point.xHi | point.xLo | point.yHi | point.yLo) == 0;
    }

    function isInfinity(G2Point memory point) internal pure returns (bool) {
        return
            (point.x0Hi | point.x0Lo | point.x1Hi | point.x1Lo | point.y0Hi | point.y0Lo | point.y1Hi | point.y1Lo) == 0;
    }

    /// @dev Returns −g2, where g2 is the standard generator of the subgroup.
    function negatedG2Generator() internal pure returns (G2Point memory) {
        return G2Point({
            x0Hi: 0x024aa2b2f08f0a91260805272dc51051,
            x0Lo: 0xc6e47ad4fa403b02b4510b647ae3d1770bac0326a805bbefd48056c8c121bdb8,
            x1Hi: 0x13e02b6052719f607dacd3a088274f65,
            x1Lo: 0x596bd0d09920b61ab5da61bbdc7f5049334cf11213945d57e5ac7d055d042b7e,
            y0Hi: 0x0d1b3cc2c7027888be51d9ef691d77bc,
            y0Lo: 0xb679afda66c73f17f9ee3837a55024f78c71363275a75d75d86bab79f74782aa,
            y1Hi: 0x13fa4d4a0ad8b1ce186ed5061789213d,
            y1Lo: 0x993923066dddaf1040bc3ff59f825c78df74f2d75467e25e0f55f8a00fa030ed
        });
    }

    /// @dev Returns p − y for y, and 0 for 0.
    function negateElement(uint256 hi, uint256 lo) private pure returns (uint256, uint256) {
        if ((hi | lo) == 0) return (0, 0);
        unchecked {
            uint256 borrow = lo > P_LO ? 1 : 0;
            return (P_HI - hi - borrow, P_LO - lo);
        }
    }

    /// @dev Computes one step of expand_message_xmd: SHA-256(value ‖ index ‖ DST_prime).
    /// @param chain 33 bytes that are overwritten here, then DST_prime
    function chained(bytes memory chain, bytes32 value, uint8 index) private view returns (bytes32 hash) {
        bool ok;
        assembly ("memory-safe") {
            mstore(add(chain, 0x20), value)
            mstore8(add(chain, 0x40), index)
            ok := staticcall(gas(), SHA256, add(chain, 0x20), mload(chain), 0x00, 0x20)
            hash := mload(0x00)
        }
        if (!ok) revert PrecompileFailed(SHA256);
    }

    /// @dev Reduces 64 uniform bytes modulo p (as x^1 mod p) and maps the result to the curve.
    function mapToG1(bytes32 high, bytes32 low) private view returns (G1Point memory point) {
        bool ok;
        assembly ("memory-safe") {
            let input := mload(0x40)
            mstore(input, 64) // bytes of x
            mstore(add(input, 0x20), 32) // bytes of the exponent
            mstore(add(input, 0x40), 64) // bytes of p
            mstore(add(input, 0x60), high)
            mstore(add(input, 0x80), low)
            mstore(add(input, 0xa0), 1)
            mstore(add(input, 0xc0), P_HI)
            mstore(add(input, 0xe0), P_LO)
            ok := staticcall(gas(), MODEXP, input, 0x100, input, 0x40)
            ok := and(ok, staticcall(gas(), MAP_FP_TO_G1, input, 0x40, point, 0x80))
            ok := and(ok, eq(returndatasize(), 0x80))
        }
        if (!ok) revert PrecompileFailed(MAP_FP_TO_G1);
    }
}
