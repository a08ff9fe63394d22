// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {Poseidon} from "./Poseidon.sol";

/// @notice The data that L1 stores about an input, in one slot.
/// @param account the depositor of a deposit, the recipient of an exit request
/// @param amount gwei; zero for an exit request, and after a deposit was refunded
/// @param time Unix seconds of the block; 32 bits suffice until 2106
struct InboxEntry {
    address account;
    uint64 amount;
    uint32 time;
}

/// @title Inputs from L1, numbered from 1 in the order in which batches consume them
/// @notice head_0 = 0, head_i = Poseidon(head_{i−1}, id, word). The head after i inputs commits to
/// all of them. The word of a deposit is its amount, below 2^64; that of an exit request is
/// 2^224 + accountIndex · 2^160 + recipient.
abstract contract Inbox is Poseidon {
    /// @notice A deposit or an exit request.
    /// @param head commitment to all inputs up to this one
    event InputAppended(uint64 indexed number, bytes32 indexed id, uint256 word, bytes32 head);

    /// @notice Number of inputs so far.
    uint64 public inboxLength;
    mapping(uint64 count => bytes32) internal inboxHeads;
    mapping(uint64 number => InboxEntry) internal inboxEntries;

    function inboxEntry(uint64 number) external view returns (InboxEntry memory) {
        return inboxEntries[number];
    }

    function exitWord(uint32 accountIndex, address recipient) internal pure returns (uint256) {
        return (1 << 224) | (uint256(accountIndex) << 160) | uint160(recipient);
    }

    /// @param amount amount of a deposit, which `word` then equals; zero for an exit request
    function append(uint256 id, uint256 word, uint64 amount) internal {
        uint64 length = inboxLength;
        uint64 number = length + 1;
        bytes32 head = bytes32(hash(uint256(inboxHeads[length]), id, word));
        inboxLength = number;
        inboxHeads[number] = head;
        inboxEntries[number] = InboxEntry({account: msg.sender, amount: amount, time: uint32(block.timestamp)});
        emit InputAppended(number, bytes32(id), word, head);
    }
}
