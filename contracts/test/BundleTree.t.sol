// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {BundleTree} from "../src/libraries/BundleTree.sol";
import {vm} from "./utils/Vm.sol";

contract BundleTreeHarness {
    function root(bytes32[] calldata digests) external pure returns (bytes32) {
        return BundleTree.root(digests);
    }

    function root(bytes32 digest, uint256 index, uint256 count, bytes32[] calldata path)
        external
        pure
        returns (bytes32)
    {
        return BundleTree.root(digest, index, count, path);
    }

    function root(bytes32[] memory digests, uint256[] memory indices, uint256 count, bytes32[] calldata proof)
        external
        pure
        returns (bytes32)
    {
        return BundleTree.root(digests, indices, count, proof);
    }
}

/// @title A bundle's tree against the recursive definition of RFC 9162
contract BundleTreeTest {
    BundleTreeHarness private harness;

    function setUp() public {
        harness = new BundleTreeHarness();
    }

    // Kept

    function testRootsAndPathsOfSmallBundles() public view {
        for (uint256 count = 1; count <= 20; ++count) {
            bytes32[] memory digests = ascending(count);
            bytes32 root = subtree(digests, 0, count);
            vm.assertEq(harness.root(digests), root);
            for (uint256 index = 0; index < count; ++index) {
                bytes32[] memory path = pathOf(digests, index, 0, count);
                vm.assertEq(harness.root(digests[index], index, count, path), root);
                vm.assertTrue(harness.root(bytes32(uint256(1)), index, count, path) != root);
            }
        }
    }

    function testFuzzRoot(uint16 count) public view {
        bytes32[] memory digests = ascending(uint256(count) % 300 + 1);
        vm.assertEq(harness.root(digests), subtree(digests, 0, digests.length));
    }

    function testTheLargestBundle() public view {
        bytes32[] memory digests = ascending(BundleTree.MAX_COUNT);
        vm.assertEq(harness.root(digests), subtree(digests, 0, digests.length));
    }

    /// @dev Every subset of up to eight batches of bundles of up to eight.
    function testProofsOfSeveralBatches() public view {
        for (uint256 count = 1; count <= 8; ++count) {
            bytes32[] memory digests = ascending(count);
            bytes32 root = subtree(digests, 0, count);
            for (uint256 subset = 1; subset < 1 << count; ++subset) {
                checkSubset(digests, root, subset);
            }
        }
    }

    function testFuzzProofOfSeveralBatches(uint256 subset, uint8 count) public view {
        bytes32[] memory digests = ascending(uint256(count) + 1);
        if (digests.length < 256) subset &= (1 << digests.length) - 1;
        if (subset == 0) subset = 1;
        checkSubset(digests, subtree(digests, 0, digests.length), subset);
    }

    // Broken

    function testRefusesNoBatches() public {
        vm.expectRevert(BundleTree.EmptyBundle.selector);
        harness.root(new bytes32[](0));
        vm.expectRevert(BundleTree.EmptyBundle.selector);
        harness.root(new bytes32[](0), new uint256[](0), 5, new bytes32[](0));
    }

    function testRefusesTooManyBatches() public {
        bytes32[] memory digests = ascending(BundleTree.MAX_COUNT + 1);
        vm.expectRevert(abi.encodeWithSelector(BundleTree.TooManyBatches.selector, 2049, 2048));
        harness.root(digests);
    }

    function testRefusesDigestsOutOfOrder() public {
        for (uint256 i = 1; i < 5; ++i) {
            bytes32[] memory digests = ascending(5);
            (digests[i - 1], digests[i]) = (digests[i], digests[i - 1]);
            vm.expectRevert(abi.encodeWithSelector(BundleTree.DigestsNotAscending.selector, i, digests[i]));
            harness.root(digests);
        }
    }

    function testRefusesADigestTwice() public {
        for (uint256 i = 1; i < 5; ++i) {
            bytes32[] memory digests = ascending(5);
            digests[i] = digests[i - 1];
            vm.expectRevert(abi.encodeWithSelector(BundleTree.DuplicateDigest.selector, i, digests[i]));
            harness.root(digests);
        }
    }

    function testRefusesIndexOutOfRange() public {
        vm.expectRevert(abi.encodeWithSelector(BundleTree.IndexOutOfRange.selector, 5, 5));
        harness.root(bytes32(0), 5, 5, new bytes32[](3));
        vm.expectRevert(abi.encodeWithSelector(BundleTree.IndexOutOfRange.selector, 0, 0));
        harness.root(bytes32(0), 0, 0, new bytes32[](0));
        vm.expectRevert(abi.encodeWithSelector(BundleTree.IndexOutOfRange.selector, 5, 5));
        harness.root(ascending(2), indices(1, 5), 5, new bytes32[](3));
        vm.expectRevert(abi.encodeWithSelector(BundleTree.IndexOutOfRange.selector, 1, 0));
        harness.root(ascending(2), indices(1, 5), 0, new bytes32[](3));
    }

    function testRefusesPathsOfAnotherLength() public {
        vm.expectRevert(abi.encodeWithSelector(BundleTree.PathLength.selector, 2, 3));
        harness.root(bytes32(0), 1, 5, new bytes32[](2));
        vm.expectRevert(abi.encodeWithSelector(BundleTree.PathLength.selector, 4, 3));
        harness.root(bytes32(0), 1, 5, new bytes32[](4));
        // The fifth of five leaves has a path of one.
        vm.expectRevert(abi.encodeWithSelector(BundleTree.PathLength.selector, 3, 1));
        harness.root(bytes32(0), 4, 5, new bytes32[](3));
    }

    function testRefusesProofsOfAnotherLength() public {
        // Of batches 1 and 3 of five: their siblings 0 and 2, then the fifth.
        vm.expectRevert(abi.encodeWithSelector(BundleTree.PathLength.selector, 2, 3));
        harness.root(ascending(2), indices(1, 3), 5, new bytes32[](2));
        vm.expectRevert(abi.encodeWithSelector(BundleTree.PathLength.selector, 4, 3));
        harness.root(ascending(2), indices(1, 3), 5, new bytes32[](4));
        vm.expectRevert(abi.encodeWithSelector(BundleTree.PathLength.selector, 0, 2));
        harness.root(ascending(2), indices(0, 3), 5, new bytes32[](0));
    }

    function testRefusesIndicesOutOfOrder() public {
        vm.expectRevert(abi.encodeWithSelector(BundleTree.IndicesNotAscending.selector, 1, 3));
        harness.root(ascending(2), indices(3, 1), 5, new bytes32[](3));
        vm.expectRevert(abi.encodeWithSelector(BundleTree.IndicesNotAscending.selector, 3, 3));
        harness.root(ascending(2), indices(3, 3), 5, new bytes32[](3));
    }

    // The definition

    function checkSubset(bytes32[] memory digests, bytes32 root, uint256 subset) private view {
        uint256 size = 0;
        for (uint256 i = 0; i < digests.length; ++i) {
            size += (subset >> i) & 1;
        }
        bytes32[] memory chosen = new bytes32[](size);
        uint256[] memory places = new uint256[](size);
        uint256 next = 0;
        for (uint256 i = 0; i < digests.length; ++i) {
            if ((subset >> i) & 1 == 1) (chosen[next], places[next++]) = (digests[i], i);
        }
        bytes32[] memory proof = proofOf(digests, subset);
        vm.assertEq(harness.root(chosen, places, digests.length, proof), root);
        chosen[size / 2] = bytes32(uint256(1));
        vm.assertTrue(harness.root(chosen, places, digests.length, proof) != root);
    }

    /// @dev By levels of subtrees, each of which is built from its leaves: those that hold no
    /// chosen leaf, beside one that does.
    function proofOf(bytes32[] memory digests, uint256 subset) private pure returns (bytes32[] memory proof) {
        for (uint256 width = 1; width < digests.length; width *= 2) {
            for (uint256 from = 0; from < digests.length; from += width) {
                uint256 beside = (from / width) % 2 == 0 ? from + width : from - width;
                if (beside >= digests.length || touches(subset, from, width, digests.length)) continue;
                if (!touches(subset, beside, width, digests.length)) continue;
                uint256 to = from + width < digests.length ? from + width : digests.length;
                proof = appended(proof, subtree(digests, from, to));
            }
        }
    }

    function touches(uint256 subset, uint256 from, uint256 width, uint256 count) private pure returns (bool) {
        for (uint256 i = from; i < from + width && i < count; ++i) {
            if ((subset >> i) & 1 == 1) return true;
        }
        return false;
    }

    function subtree(bytes32[] memory digests, uint256 from, uint256 to) private pure returns (bytes32) {
        if (to - from == 1) return keccak256(bytes.concat(hex"00", digests[from]));
        uint256 middle = from + split(to - from);
        return keccak256(bytes.concat(hex"01", subtree(digests, from, middle), subtree(digests, middle, to)));
    }

    function pathOf(bytes32[] memory digests, uint256 index, uint256 from, uint256 to)
        private
        pure
        returns (bytes32[] memory)
    {
        if (to - from == 1) return new bytes32[](0);
        uint256 middle = from + split(to - from);
        if (index < middle) return appended(pathOf(digests, index, from, middle), subtree(digests, middle, to));
        return appended(pathOf(digests, index, middle, to), subtree(digests, from, middle));
    }

    /// @dev The largest power of two below the count.
    function split(uint256 count) private pure returns (uint256 power) {
        power = 1;
        while (2 * power < count) {
            power *= 2;
        }
    }

    function appended(bytes32[] memory list, bytes32 hash) private pure returns (bytes32[] memory longer) {
        longer = new bytes32[](list.length + 1);
        for (uint256 i = 0; i < list.length; ++i) {
            longer[i] = list[i];
        }
        longer[list.length] = hash;
    }

    function ascending(uint256 count) private pure returns (bytes32[] memory digests) {
        digests = new bytes32[](count);
        for (uint256 i = 0; i < count; ++i) {
            digests[i] = bytes32((i << 224) | uint224(uint256(keccak256(abi.encode(i)))));
        }
    }

    function indices(uint256 a, uint256 b) private pure returns (uint256[] memory list) {
        list = new uint256[](2);
        (list[0], list[1]) = (a, b);
    }
}
