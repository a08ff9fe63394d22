// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {ExitProof} from "../../src/interfaces/IPaymentsRollup.sol";
import {Hashers} from "../../src/reference/Poseidon.sol";

/// @title The reference rollup's L2 state, for tests: accounts in their tree, kept node by node
contract Ledger {
    struct Account {
        uint256 keyX;
        uint256 keyY;
        address recipient;
        uint64 balance;
        uint32 nonce;
    }

    uint256 private constant DEPTH = 8;

    Hashers private hashers;
    mapping(uint256 level => mapping(uint256 index => uint256)) private nodes;
    uint256[DEPTH + 1] private empty;
    mapping(uint32 index => Account) private accounts;

    constructor(Hashers memory hashers_) {
        hashers = hashers_;
        uint256 node = hashers_.t3.hash([uint256(0), 0]);
        for (uint256 level = 0; level <= DEPTH; ++level) {
            empty[level] = node;
            node = hashers_.t5.hash([node, node, node, node]);
        }
    }

    function account(uint32 index) external view returns (Account memory) {
        return accounts[index];
    }

    function idOf(Account memory entry) public view returns (uint256) {
        return hashers.t4.hash([entry.keyX, entry.keyY, uint256(uint160(entry.recipient))]);
    }

    function set(uint32 index, Account memory entry) external {
        accounts[index] = entry;
        uint256 node = hashers.t3.hash([idOf(entry), uint256(entry.balance) + (uint256(entry.nonce) << 64)]);
        uint256 place = index;
        for (uint256 level = 0; level < DEPTH; ++level) {
            nodes[level][place] = node;
            place /= 4;
            uint256[4] memory children;
            for (uint256 i = 0; i < 4; ++i) {
                children[i] = nodeAt(level, 4 * place + i);
            }
            node = hashers.t5.hash(children);
        }
        nodes[DEPTH][0] = node;
    }

    function stateRoot(bytes32 inboxHead) external view returns (bytes32) {
        return bytes32(hashers.t3.hash([nodeAt(DEPTH, 0), uint256(inboxHead)]));
    }

    function exitProof(uint32 index, bytes32 inboxHead) external view returns (ExitProof memory proof) {
        Account memory entry = accounts[index];
        proof.accountIndex = index;
        proof.nonce = entry.nonce;
        proof.balance = entry.balance;
        proof.keyX = entry.keyX;
        proof.keyY = entry.keyY;
        proof.recipient = entry.recipient;
        proof.inboxHead = uint256(inboxHead);
        uint256 place = index;
        for (uint256 level = 0; level < DEPTH; ++level) {
            uint256 next = 0;
            for (uint256 i = 0; i < 4; ++i) {
                if (i != place % 4) proof.siblings[level][next++] = nodeAt(level, place - place % 4 + i);
            }
            place /= 4;
        }
    }

    function nodeAt(uint256 level, uint256 index) private view returns (uint256 node) {
        node = nodes[level][index];
        if (node == 0) node = empty[level];
    }
}
