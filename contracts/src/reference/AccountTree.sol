// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {Poseidon} from "./Poseidon.sol";

/// @title The reference rollup's state: accounts in a 4-ary Poseidon tree, and the consumed part of
/// the inbox
abstract contract AccountTree is Poseidon {
    uint256 internal constant DEPTH = 8;
    /// @dev Number of places for accounts. Index 0 is never used.
    uint256 internal constant CAPACITY = 4 ** DEPTH;

    /// @notice The state without accounts and before any input.
    bytes32 internal constant GENESIS = 0x1892bc781e7bf3a640f3b60813cef79eaf4307084fd4199a114421576e85d515;

    /// @notice Identity of an account: a key on L2, and an address on L1 to which its exit pays.
    function accountId(uint256 keyX, uint256 keyY, address recipient) internal view returns (uint256) {
        return hash(keyX, keyY, uint256(uint160(recipient)));
    }

    function accountLeaf(uint256 id, uint64 balance, uint32 nonce) internal view returns (uint256) {
        return hash(id, uint256(balance) | (uint256(nonce) << 64));
    }

    /// @notice Returns the root to which a leaf and its siblings lead.
    /// @param index below CAPACITY; its digits in base 4, lowest first, are the places from the
    /// leaf upwards
    /// @param siblings from the leaf upwards; at each level three in ascending position, without
    /// the own node
    function accountsRoot(uint256 leaf, uint256 index, uint256[3][DEPTH] calldata siblings)
        internal
        view
        returns (uint256 node)
    {
        node = leaf;
        for (uint256 level = 0; level < DEPTH; ++level) {
            uint256[3] calldata others = siblings[level];
            uint256 place = index & 3;
            uint256[4] memory children;
            for (uint256 i = 0; i < 4; ++i) {
                if (i == place) children[i] = node;
                else children[i] = others[i < place ? i : i - 1];
            }
            node = hash(children);
            index >>= 2;
        }
    }

    function rootOf(uint256 accounts, uint256 inboxHead) internal view returns (bytes32) {
        return bytes32(hash(accounts, inboxHead));
    }
}
