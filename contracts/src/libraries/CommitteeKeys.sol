// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {BLS12381, G2Point} from "./BLS12381.sol";
import {DataContract} from "./DataContract.sol";

/// @title An epoch's keys as contract code
/// @notice A list of packed G2 points in data contracts of 127 points each: first the *negated* sum of all keys, then
/// the keys in seat order. A packed point is its four coordinates of 48 bytes, 192 bytes in all.
/// @dev Starting from −Σ(all) and adding the absent keys gives −Σ(signers), so nothing is ever subtracted; and while
/// nobody is absent, one data contract is touched, whatever n is.
library CommitteeKeys {
    uint256 internal constant PACKED_LENGTH = 192;
    uint256 internal constant POINTS_PER_CONTRACT = 127;

    /// @notice The data contracts that n keys and their sum take.
    function contractsFor(uint256 n) internal pure returns (uint256) {
        return n / POINTS_PER_CONTRACT + 1;
    }

    /// @notice Sum of the keys of all seats but the absent ones.
    /// @param absent distinct seats of the epoch, one byte each, checked by the caller
    function signersKey(address[] memory keyContracts, bytes calldata absent) internal view returns (G2Point memory sum) {
        G2Point memory key;
        load(keyContracts, 0, sum);
        for (uint256 i = 0; i < absent.length; ++i) {
            load(keyContracts, uint256(uint8(absent[i])) + 1, key);
            BLS12381.addTo(sum, key);
        }
        BLS12381.negate(sum);
    }

    /// @notice Write an epoch's data contracts.
    /// @param points n + 1 packed points, of which the first is still empty and is filled in here
    function write(bytes memory points) internal returns (address[] memory keyContracts) {
        uint256 count = points.length / PACKED_LENGTH;
        G2Point memory sum;
        G2Point memory key;
        for (uint256 i = 1; i < count; ++i) {
            unpack(points, i * PACKED_LENGTH, key);
            BLS12381.addTo(sum, key);
        }
        BLS12381.negate(sum);
        copy(pack(sum), 0, points, 0, PACKED_LENGTH);

        keyContracts = new address[](contractsFor(count - 1));
        uint256 stride = POINTS_PER_CONTRACT * PACKED_LENGTH;
        for (uint256 i = 0; i < keyContracts.length; ++i) {
            uint256 from = i * stride;
            uint256 length = points.length - from < stride ? points.length - from : stride;
            bytes memory part = new bytes(length);
            copy(points, from, part, 0, length);
            keyContracts[i] = DataContract.write(part);
        }
    }

    /// @notice All of an epoch's points as `write` got them, the first being the negated sum.
    function read(address[] memory keyContracts, uint256 n) internal view returns (bytes memory points) {
        points = new bytes((n + 1) * PACKED_LENGTH);
        uint256 stride = POINTS_PER_CONTRACT * PACKED_LENGTH;
        for (uint256 i = 0; i < keyContracts.length; ++i) {
            uint256 from = i * stride;
            uint256 length = points.length - from < stride ? points.length - from : stride;
            DataContract.readTo(points, from, keyContracts[i], 0, length);
        }
    }

    /// @notice Four coordinates of 64 bytes, the first 16 of which are zero, to four of 48.
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

    /// @notice The packed point that starts at byte `start` of `packed`, into `point`.
    function unpack(bytes memory packed, uint256 start, G2Point memory point) internal pure {
        assembly ("memory-safe") {
            let source := add(add(packed, 0x20), start)
            for { let target := point } lt(target, add(point, 0x100)) { target := add(target, 0x40) } {
                mstore(target, shr(128, mload(source)))
                mstore(add(target, 0x20), mload(add(source, 0x10)))
                source := add(source, 0x30)
            }
        }
    }

    /// @notice What identifies a packed key: its hash.
    function id(bytes memory points, uint256 start) internal pure returns (bytes32 hash) {
        assembly ("memory-safe") {
            hash := keccak256(add(add(points, 0x20), start), 192)
        }
    }

    /// @dev The point at `index` of the list, into `point`, by way of scratch memory that is not kept.
    function load(address[] memory keyContracts, uint256 index, G2Point memory point) private view {
        address keyContract = keyContracts[index / POINTS_PER_CONTRACT];
        uint256 from = (index % POINTS_PER_CONTRACT) * PACKED_LENGTH + 1;
        assembly ("memory-safe") {
            let source := mload(0x40)
            extcodecopy(keyContract, source, from, 192)
            for { let target := point } lt(target, add(point, 0x100)) { target := add(target, 0x40) } {
                mstore(target, shr(128, mload(source)))
                mstore(add(target, 0x20), mload(add(source, 0x10)))
                source := add(source, 0x30)
            }
        }
    }

    function copy(bytes memory source, uint256 from, bytes memory target, uint256 to, uint256 length) private pure {
        assembly ("memory-safe") {
            mcopy(add(add(target, 0x20), to), add(add(source, 0x20), from), length)
        }
    }
}
