// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {SignatureDomain} from "../../src/libraries/SignatureDomain.sol";
import {BatchBundle} from "../../src/types/Certificate.sol";
import {Seats} from "./Seats.sol";
import {Signer} from "./Signer.sol";

/// @title Bundles, their trees and their signatures, put together apart from the code under test
abstract contract Bundles is Seats {
    /// @dev So many digests, ascending.
    function digestsFor(uint256 count) internal pure returns (bytes32[] memory list) {
        list = new bytes32[](count);
        for (uint256 i = 0; i < count; ++i) {
            list[i] = bytes32((i << 240) | uint240(uint256(keccak256(abi.encode("digest", i)))));
        }
    }

    function bundleOf(uint64 epoch, bytes32[] memory list) internal pure returns (BatchBundle memory) {
        return BatchBundle({
            epoch: epoch,
            count: uint32(list.length),
            root: list.length == 0 ? bytes32(0) : subtree(list, 0, list.length)
        });
    }

    function bundleDigest(BatchBundle memory bundle) internal view returns (bytes32) {
        return SignatureDomain.digest(bundle, address(registry));
    }

    function signBundle(BatchBundle memory bundle, uint256 n, bytes memory absent)
        internal
        view
        returns (bytes memory)
    {
        return Signer.sign(signersSecret(n, absent), bundleDigest(bundle), SignatureDomain.SIGNATURE_DST);
    }

    /// @dev The path of a digest, from the leaf upwards.
    function path(bytes32[] memory list, uint256 index) internal pure returns (bytes32[] memory siblings) {
        uint256 depth = 0;
        bytes32[64] memory downwards;
        (uint256 from, uint256 to) = (0, list.length);
        while (to - from > 1) {
            uint256 middle = from + split(to - from);
            bool left = index < middle;
            downwards[depth++] = left ? subtree(list, middle, to) : subtree(list, from, middle);
            if (left) to = middle;
            else from = middle;
        }
        siblings = new bytes32[](depth);
        for (uint256 i = 0; i < depth; ++i) {
            siblings[i] = downwards[depth - 1 - i];
        }
    }

    /// @dev The common proof of digests at ascending indices, from whole levels of the tree.
    function proofOf(bytes32[] memory list, uint256[] memory indices) internal pure returns (bytes32[] memory proof) {
        bytes32[] memory level = new bytes32[](list.length);
        bool[] memory known = new bool[](list.length);
        for (uint256 i = 0; i < list.length; ++i) {
            level[i] = keccak256(abi.encodePacked(hex"00", list[i]));
        }
        for (uint256 i = 0; i < indices.length; ++i) {
            known[indices[i]] = true;
        }
        bytes32[] memory room = new bytes32[](list.length);
        uint256 used = 0;
        for (uint256 length = list.length; length > 1; length = (length + 1) / 2) {
            for (uint256 i = 0; i < length; i += 2) {
                bool paired = i + 1 < length;
                if (paired && known[i] != known[i + 1]) room[used++] = level[known[i] ? i + 1 : i];
                known[i / 2] = known[i] || (paired && known[i + 1]);
                level[i / 2] = paired ? keccak256(abi.encodePacked(hex"01", level[i], level[i + 1])) : level[i];
            }
        }
        proof = new bytes32[](used);
        for (uint256 i = 0; i < used; ++i) {
            proof[i] = room[i];
        }
    }

    function subtree(bytes32[] memory list, uint256 from, uint256 to) internal pure returns (bytes32) {
        if (to - from == 1) return keccak256(abi.encodePacked(hex"00", list[from]));
        uint256 middle = from + split(to - from);
        return keccak256(abi.encodePacked(hex"01", subtree(list, from, middle), subtree(list, middle, to)));
    }

    /// @dev The largest power of two below the count.
    function split(uint256 count) internal pure returns (uint256 power) {
        power = 1;
        while (2 * power < count) {
            power *= 2;
        }
    }
}
