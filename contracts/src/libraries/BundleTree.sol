// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

/// @title The Merkle tree over a bundle's digests: protocol section 14
/// @notice The shape of RFC 9162, with keccak256: leaf = H(0x00 ‖ digest), node =
/// H(0x01 ‖ left ‖ right), split at the largest power of two below the count. Digests ascend
/// strictly, so a list has one order and names no batch twice. A leaf's place follows from index
/// and count, never from the prover.
library BundleTree {
    /// @notice A bundle must have at least one batch.
    error EmptyBundle();
    /// @notice A bundle must have at most `limit` batches.
    error TooManyBatches(uint256 got, uint256 limit);
    /// @notice The digest at `index` is below the one before it.
    error DigestsNotAscending(uint256 index, bytes32 digest);
    /// @notice The digest at `index` is also the one before it.
    error DuplicateDigest(uint256 index, bytes32 digest);
    /// @notice A bundle of `count` batches has no batch at `index`.
    error IndexOutOfRange(uint256 index, uint256 count);
    /// @notice The indices of a proof for several batches must ascend strictly.
    error IndicesNotAscending(uint256 index, uint256 previous);
    /// @notice A path, or a proof for several batches, must have `expected` hashes.
    error PathLength(uint256 got, uint256 expected);

    /// @notice The largest number of batches: their digests, 64 KiB, fit into a transaction that
    /// nodes relay (128 KiB).
    uint256 internal constant MAX_COUNT = 2048;

    /// @notice Returns the root of the tree over `digests`. Checks their number and order.
    function root(bytes32[] calldata digests) internal pure returns (bytes32 hash) {
        uint256 count = digests.length;
        if (count == 0) revert EmptyBundle();
        if (count > MAX_COUNT) revert TooManyBatches(count, MAX_COUNT);
        uint256 refused = 0;
        assembly ("memory-safe") {
            // The current level's hashes, and behind them the room in which a node is hashed. None
            // of it is kept.
            let level := mload(0x40)
            let room := add(level, shl(5, count))

            // A leaf is hashed in the scratch space, where byte 31 is the zero before the digest.
            mstore(0x00, 0)
            let previous := calldataload(digests.offset)
            mstore(0x20, previous)
            mstore(level, keccak256(0x1f, 0x21))
            for { let i := 1 } lt(i, count) { i := add(i, 1) } {
                let offset := shl(5, i)
                let digest := calldataload(add(digests.offset, offset))
                if iszero(gt(digest, previous)) {
                    refused := i
                    break
                }
                previous := digest
                mstore(0x20, digest)
                mstore(add(level, offset), keccak256(0x1f, 0x21))
            }

            // Byte 31 of the room is the one before the two children.
            mstore(room, 1)
            let children := add(room, 0x20)
            let start := add(room, 0x1f)
            for { let length := count } gt(length, 1) {} {
                let end := add(level, shl(5, and(length, not(1))))
                let target := level
                for { let source := level } lt(source, end) { source := add(source, 0x40) } {
                    mcopy(children, source, 0x40)
                    mstore(target, keccak256(start, 0x41))
                    target := add(target, 0x20)
                }
                // A last node without a sibling moves up unchanged.
                if and(length, 1) { mstore(target, mload(end)) }
                length := shr(1, add(length, 1))
            }
            hash := mload(level)
        }
        if (refused != 0) {
            bytes32 digest = digests[refused];
            if (digest == digests[refused - 1]) revert DuplicateDigest(refused, digest);
            revert DigestsNotAscending(refused, digest);
        }
    }

    /// @notice Returns the root to which a digest and its path, from the leaf upwards, lead.
    /// @param index index of the digest among `count`, from 0
    function root(bytes32 digest, uint256 index, uint256 count, bytes32[] calldata path)
        internal
        pure
        returns (bytes32 hash)
    {
        if (index >= count) revert IndexOutOfRange(index, count);
        uint256 expected = pathLength(index, count);
        if (path.length != expected) revert PathLength(path.length, expected);
        hash = leaf(digest);
        uint256 last = count - 1;
        uint256 used = 0;
        // `index` and `last` are positions in the current level.
        while (last > 0) {
            if (index & 1 == 1) hash = node(path[used++], hash);
            else if (index < last) hash = node(hash, path[used++]);
            index >>= 1;
            last >>= 1;
        }
    }

    /// @notice Number of hashes in the path of the digest at `index` of `count`.
    function pathLength(uint256 index, uint256 count) internal pure returns (uint256 length) {
        for (uint256 last = count - 1; last > 0; last >>= 1) {
            if (index & 1 == 1 || index < last) ++length;
            index >>= 1;
        }
    }

    /// @notice Returns the root to which several digests and their common proof lead. The proof has
    /// the hashes that cannot be computed from the digests: level by level from the leaves upwards,
    /// in each level by ascending position.
    /// @param digests the digests, which are overwritten
    /// @param indices their indices, strictly ascending, which are overwritten
    /// @param count number of batches in the bundle
    function root(bytes32[] memory digests, uint256[] memory indices, uint256 count, bytes32[] calldata proof)
        internal
        pure
        returns (bytes32)
    {
        uint256 known = digests.length;
        if (known == 0) revert EmptyBundle();
        for (uint256 i = 0; i < known; ++i) {
            if (indices[i] >= count) revert IndexOutOfRange(indices[i], count);
            if (i > 0 && indices[i] <= indices[i - 1]) revert IndicesNotAscending(indices[i], indices[i - 1]);
            digests[i] = leaf(digests[i]);
        }
        uint256 used = 0;
        for (uint256 last = count - 1; last > 0; last >>= 1) {
            (known, used) = levelUp(digests, indices, known, last, proof, used);
        }
        if (used != proof.length) revert PathLength(proof.length, used);
        return digests[0];
    }

    /// @dev Replaces the known nodes of a level by their parents.
    /// @param known number of known nodes, whose hashes and positions the arrays begin with
    /// @param last position of the level's last node
    /// @param used number of hashes of the proof that lower levels used
    /// @return above number of parents
    /// @return next number of hashes used so far
    function levelUp(
        bytes32[] memory hashes,
        uint256[] memory positions,
        uint256 known,
        uint256 last,
        bytes32[] calldata proof,
        uint256 used
    ) private pure returns (uint256 above, uint256 next) {
        assembly ("memory-safe") {
            // Few variables, since the compiler's older pipeline has room for few: `next` is where
            // a node is hashed, `above` where the next parent goes, `known` the end of the known
            // nodes, `used` the next hash of the proof. Beyond the proof's end calldata reads as
            // something else: their number tells.
            next := mload(0x40)
            // Byte 31 of the room is the one before the two children.
            mstore(next, 1)
            let hash := add(hashes, 0x20)
            let shift := sub(positions, hashes)
            above := hash
            known := add(hash, shl(5, known))
            used := add(proof.offset, shl(5, used))
            for {} lt(hash, known) {} {
                let place := mload(add(hash, shift))
                let value := mload(hash)
                hash := add(hash, 0x20)
                switch and(place, 1)
                case 1 {
                    mstore(add(next, 0x20), calldataload(used))
                    mstore(add(next, 0x40), value)
                    used := add(used, 0x20)
                    value := keccak256(add(next, 0x1f), 0x41)
                }
                default {
                    if lt(place, last) {
                        mstore(add(next, 0x20), value)
                        switch and(lt(hash, known), eq(mload(add(hash, shift)), add(place, 1)))
                        case 1 {
                            mstore(add(next, 0x40), mload(hash))
                            hash := add(hash, 0x20)
                        }
                        default {
                            mstore(add(next, 0x40), calldataload(used))
                            used := add(used, 0x20)
                        }
                        value := keccak256(add(next, 0x1f), 0x41)
                    }
                }
                mstore(above, value)
                mstore(add(above, shift), shr(1, place))
                above := add(above, 0x20)
            }
            above := shr(5, sub(above, add(hashes, 0x20)))
            next := shr(5, sub(used, proof.offset))
        }
        if (next > proof.length) revert PathLength(proof.length, next);
    }

    function leaf(bytes32 digest) private pure returns (bytes32 hash) {
        assembly ("memory-safe") {
            mstore(0x00, 0)
            mstore(0x20, digest)
            hash := keccak256(0x1f, 0x21)
        }
    }

    function node(bytes32 left, bytes32 right) private pure returns (bytes32 hash) {
        assembly ("memory-safe") {
            let room := mload(0x40)
            mstore(room, 1)
            mstore(add(room, 0x20), left)
            mstore(add(room, 0x40), right)
            hash := keccak256(add(room, 0x1f), 0x41)
        }
    }
}
