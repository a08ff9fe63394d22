// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {BLS12381, G2Point} from "./BLS12381.sol";
import {DataContract} from "./DataContract.sol";

/// @title An epoch's keys as contract code
/// @notice A list of packed G2 points in data contracts of 127 points each: first the *negated* sum
/// of all keys, then the keys in seat order. A packed point is its four coordinates of 48 bytes,
/// 192 bytes in total. The first contract, the head, starts with the addresses of the second and
/// third, which are zero if there is none.
/// @dev Adding the absent keys to −Σ(all) gives −Σ(signers), so no subtraction is needed. If no
/// seat is absent, only one data contract is read, for any n.
library CommitteeKeys {
    uint256 internal constant PACKED_LENGTH = 192;
    uint256 private constant POINTS_PER_CONTRACT = 127;
    uint256 private constant STRIDE = POINTS_PER_CONTRACT * PACKED_LENGTH;
    uint256 private constant LINKS_LENGTH = 40;

    /// @notice Sum of the keys of all seats except the absent ones.
    /// @param absent distinct seats of the epoch, one byte each, which the caller must have checked
    function signersKey(address head, bytes calldata absent) internal view returns (G2Point memory sum) {
        load(head, LINKS_LENGTH, sum);
        if (absent.length > 0) addAbsent(sum, head, absent);
        BLS12381.negate(sum);
    }

    /// @notice Writes an epoch's data contracts.
    /// @param points n + 1 packed points, of which the first is empty and is filled in here
    function write(bytes memory points) internal returns (address head) {
        G2Point memory sum;
        G2Point memory key;
        for (uint256 start = PACKED_LENGTH; start < points.length; start += PACKED_LENGTH) {
            unpack(points, start, key);
            BLS12381.addTo(sum, key);
        }
        BLS12381.negate(sum);
        copy(pack(sum), 0, points, 0, PACKED_LENGTH);

        address third = writePart(points, 2 * STRIDE, "");
        address second = writePart(points, STRIDE, "");
        return writePart(points, 0, abi.encodePacked(second, third));
    }

    /// @notice All of an epoch's points, of which the first is the negated sum.
    function read(address head, uint256 n) internal view returns (bytes memory points) {
        points = new bytes((n + 1) * PACKED_LENGTH);
        address[3] memory parts = linked(head);
        for (uint256 i = 0; i * STRIDE < points.length; ++i) {
            uint256 from = i * STRIDE;
            DataContract.readTo(points, from, parts[i], i == 0 ? LINKS_LENGTH : 0, partLength(points, from));
        }
    }

    /// @notice Packs four coordinates of 64 bytes, of which the first 16 are zero, into 48 bytes
    /// each.
    function pack(G2Point memory point) internal pure returns (bytes memory) {
        return abi.encodePacked(
            uint128(point.x0Hi),
            point.x0Lo,
            uint128(point.x1Hi),
            point.x1Lo,
            uint128(point.y0Hi),
            point.y0Lo,
            uint128(point.y1Hi),
            point.y1Lo
        );
    }

    /// @notice Writes the packed point that starts at byte `start` of `packed` to `point`.
    function unpack(bytes memory packed, uint256 start, G2Point memory point) internal pure {
        uint256 source;
        assembly ("memory-safe") {
            source := add(add(packed, 0x20), start)
        }
        unpackFrom(source, point);
    }

    /// @notice Returns the hash of a packed key, which identifies it.
    function id(bytes memory points, uint256 start) internal pure returns (bytes32 hash) {
        assembly ("memory-safe") {
            hash := keccak256(add(add(points, 0x20), start), PACKED_LENGTH)
        }
    }

    /// @notice Returns the hash of a packed key's x, which it shares with the opposite key.
    function idUpToSign(bytes memory points, uint256 start) internal pure returns (bytes32 hash) {
        assembly ("memory-safe") {
            hash := keccak256(add(add(points, 0x20), start), 96)
        }
    }

    function addAbsent(G2Point memory sum, address head, bytes calldata absent) private view {
        address[3] memory parts = linked(head);
        G2Point memory key;
        for (uint256 i = 0; i < absent.length; ++i) {
            uint256 index = uint256(uint8(absent[i])) + 1;
            if (index < POINTS_PER_CONTRACT) {
                load(head, LINKS_LENGTH + index * PACKED_LENGTH, key);
            } else {
                load(parts[index / POINTS_PER_CONTRACT], (index % POINTS_PER_CONTRACT) * PACKED_LENGTH, key);
            }
            BLS12381.addTo(sum, key);
        }
    }

    /// @dev Returns the head and the contracts that it links to.
    function linked(address head) private view returns (address[3] memory parts) {
        bytes memory links = new bytes(LINKS_LENGTH);
        DataContract.readTo(links, 0, head, 0, LINKS_LENGTH);
        parts[0] = head;
        assembly ("memory-safe") {
            mstore(add(parts, 0x20), shr(96, mload(add(links, 0x20))))
            mstore(add(parts, 0x40), shr(96, mload(add(links, 0x34))))
        }
    }

    function writePart(bytes memory points, uint256 from, bytes memory links) private returns (address) {
        if (from >= points.length) return address(0);
        uint256 length = partLength(points, from);
        bytes memory part = new bytes(links.length + length);
        copy(links, 0, part, 0, links.length);
        copy(points, from, part, links.length, length);
        return DataContract.write(part);
    }

    function partLength(bytes memory points, uint256 from) private pure returns (uint256) {
        return points.length - from < STRIDE ? points.length - from : STRIDE;
    }

    /// @dev Writes the point at byte `from` of a data contract to `point`, through temporary
    /// memory.
    function load(address dataContract, uint256 from, G2Point memory point) private view {
        uint256 source;
        assembly ("memory-safe") {
            source := mload(0x40)
            extcodecopy(dataContract, source, add(from, 1), PACKED_LENGTH)
        }
        unpackFrom(source, point);
    }

    /// @dev Unpacks each coordinate: 16 bytes to the low half of a word, 32 to the next word.
    function unpackFrom(uint256 source, G2Point memory point) private pure {
        assembly ("memory-safe") {
            mstore(point, shr(128, mload(source)))
            mstore(add(point, 0x20), mload(add(source, 0x10)))
            mstore(add(point, 0x40), shr(128, mload(add(source, 0x30))))
            mstore(add(point, 0x60), mload(add(source, 0x40)))
            mstore(add(point, 0x80), shr(128, mload(add(source, 0x60))))
            mstore(add(point, 0xa0), mload(add(source, 0x70)))
            mstore(add(point, 0xc0), shr(128, mload(add(source, 0x90))))
            mstore(add(point, 0xe0), mload(add(source, 0xa0)))
        }
    }

    function copy(bytes memory source, uint256 from, bytes memory target, uint256 to, uint256 length) private pure {
        assembly ("memory-safe") {
            mcopy(add(add(target, 0x20), to), add(add(source, 0x20), from), length)
        }
    }
}
