// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {ShardTree} from "../src/libraries/ShardTree.sol";
import {vm} from "./utils/Vm.sol";

contract ShardTreeHarness {
    function root(bytes memory data, uint256 index, uint256 count, bytes32[] memory path)
        external
        pure
        returns (bytes32)
    {
        return ShardTree.root(data, index, count, path);
    }
}

/// @title Paths against a tree built by the recursive definition of RFC 9162
contract ShardTreeTest {
    ShardTreeHarness private harness;

    function setUp() public {
        harness = new ShardTreeHarness();
    }

    function testEveryPathOfSmallTrees() public view {
        for (uint256 count = 1; count <= 20; ++count) {
            bytes32 root = subtree(0, count);
            for (uint256 index = 0; index < count; ++index) {
                bytes32[] memory path = pathOf(index, 0, count);
                vm.assertEq(harness.root(leaf(index), index, count, path), root);
                if (count > 1) vm.assertTrue(harness.root(leaf(index + 1), index, count, path) != root);
            }
        }
    }

    function testFuzzPath(uint16 index, uint16 count) public view {
        count = count % 300 + 1;
        index = index % count;
        vm.assertEq(harness.root(leaf(index), index, count, pathOf(index, 0, count)), subtree(0, count));
    }

    function testRefusesIndexOutOfRange() public {
        vm.expectRevert(abi.encodeWithSelector(ShardTree.IndexOutOfRange.selector, 5, 5));
        harness.root("", 5, 5, new bytes32[](3));
        vm.expectRevert(abi.encodeWithSelector(ShardTree.IndexOutOfRange.selector, 0, 0));
        harness.root("", 0, 0, new bytes32[](0));
    }

    function testRefusesPathsOfAnotherLength() public {
        vm.expectRevert(abi.encodeWithSelector(ShardTree.PathLength.selector, 2, 3));
        harness.root(leaf(1), 1, 5, new bytes32[](2));
        vm.expectRevert(abi.encodeWithSelector(ShardTree.PathLength.selector, 4, 3));
        harness.root(leaf(1), 1, 5, new bytes32[](4));
        // The fifth of five leaves has a path of one.
        vm.expectRevert(abi.encodeWithSelector(ShardTree.PathLength.selector, 3, 1));
        harness.root(leaf(4), 4, 5, new bytes32[](3));
    }

    function leaf(uint256 index) private pure returns (bytes memory) {
        return abi.encode(index);
    }

    function subtree(uint256 from, uint256 count) private pure returns (bytes32) {
        if (count == 1) return sha256(bytes.concat(hex"00", leaf(from)));
        uint256 split = splitOf(count);
        return sha256(bytes.concat(hex"01", subtree(from, split), subtree(from + split, count - split)));
    }

    function pathOf(uint256 index, uint256 from, uint256 count) private pure returns (bytes32[] memory path) {
        if (count == 1) return path;
        uint256 split = splitOf(count);
        bool left = index - from < split;
        bytes32[] memory below = left ? pathOf(index, from, split) : pathOf(index, from + split, count - split);
        path = new bytes32[](below.length + 1);
        for (uint256 i = 0; i < below.length; ++i) {
            path[i] = below[i];
        }
        path[below.length] = left ? subtree(from + split, count - split) : subtree(from, split);
    }

    /// @dev The largest power of two below the count.
    function splitOf(uint256 count) private pure returns (uint256 split) {
        split = 1;
        while (2 * split < count) {
            split *= 2;
        }
    }
}
