// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

/// @title The Merkle trees over a shard's chunks and over a batch's shards: protocol section 3
/// @notice RFC 9162 hashing with SHA-256: leaf = H(0x00 ‖ data), node = H(0x01 ‖ left ‖ right),
/// split at the largest power of two below the count. A leaf's place follows from index and count,
/// never from the prover.
library ShardTree {
    uint256 internal constant CHUNK_LENGTH = 4096;

    error IndexOutOfRange(uint256 index, uint256 count);
    error PathLength(uint256 got, uint256 expected);

    /// @notice Returns the root to which a leaf's data and its path, from the leaf upwards, lead.
    /// @param index index of the leaf among `count` leaves, from 0
    function root(bytes memory data, uint256 index, uint256 count, bytes32[] memory path)
        internal
        pure
        returns (bytes32 hash)
    {
        if (index >= count) revert IndexOutOfRange(index, count);
        hash = sha256(bytes.concat(hex"00", data));
        // `index` and `last` are positions in the current level. A last node without a sibling
        // moves up unchanged.
        uint256 last = count - 1;
        uint256 used = 0;
        while (last > 0) {
            bool right = index & 1 == 1;
            if (right || index < last) {
                if (used == path.length) revert PathLength(path.length, used + 1);
                bytes32 sibling = path[used++];
                hash = right ? node(sibling, hash) : node(hash, sibling);
            }
            index >>= 1;
            last >>= 1;
        }
        if (used != path.length) revert PathLength(path.length, used);
    }

    function node(bytes32 left, bytes32 right) private pure returns (bytes32) {
        return sha256(bytes.concat(hex"01", left, right));
    }
}
