// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

/// @notice The times until which members keep the settled batches: the earliest time in each of
/// three groups of batches by age. This takes one storage slot.
/// @dev The time of an empty group is the greatest value.
/// @param mark number of the last batch of the oldest group
/// @param next number of the last batch of the middle group; later batches are the newest group
/// @param movedAt time at which the marks last moved; 32 bits suffice until 2106
/// @param lastSeat n − 1 of the batches' committees, or 0 once they have several n or k
/// @param rowsLess k − 1 of them
/// @param quorumLess q − 1, of the greatest quorum among them
struct CoverageState {
    uint40 mark;
    uint40 next;
    uint32 movedAt;
    uint40 oldest;
    uint40 middle;
    uint40 newest;
    uint8 lastSeat;
    uint8 rowsLess;
    uint8 quorumLess;
}

/// @title Coverage of settled batches, with renewals: protocol section 7
/// @notice Members renew "every batch up to lastBatch". More batches settle while that renewal is
/// being signed and sent, and a time for each batch would cost a slot each. Therefore batches are
/// grouped by age:
///
/// * A renewal raises the time of each group that lies within 1 … lastBatch. It lowers and moves
///   nothing. Renewals may therefore come in any order, twice, or not at all, from anyone, and none
///   makes another less useful.
/// * Marks move only when a batch settles, and at most once a period: the middle group then joins
///   the oldest, and the newest becomes the middle. So all batches up to `mark` settled at least
///   one whole period ago, and **a renewal for all batches of its time raises the oldest group for
///   at least a period**, even if many batches settle meanwhile. Settling faster cannot shorten
///   that.
/// * The groups behind `mark` consist of the batches of about the last two periods, which still
///   have their own lifetimes. If those are too short for further settlement, nothing settles,
///   batchCount stays the same, and a renewal for all batches raises every group.
///
/// A renewal is a promise about shards, and only a committee of the batches' own n and k has such
/// shards in its seats. So the state keeps n, k and the greatest q of the batches. Once batches
/// have several n or k, no committee holds shards of all, and no renewal is possible.
library Coverage {
    uint40 internal constant NOTHING = type(uint40).max;

    function initial(uint256 timestamp) internal pure returns (CoverageState memory) {
        return CoverageState({
            mark: 0,
            next: 0,
            movedAt: uint32(timestamp),
            oldest: NOTHING,
            middle: NOTHING,
            newest: NOTHING,
            lastSeat: 0,
            rowsLess: 0,
            quorumLess: 0
        });
    }

    /// @notice The earliest time of all batches; NOTHING if there is none.
    function until(CoverageState memory state) internal pure returns (uint40) {
        return least(state.oldest, least(state.middle, state.newest));
    }

    /// @notice Adds a batch that settles. `state` changes in place.
    /// @param before number of batches that had settled before it
    /// @param period shortest time between two moves of the marks, in seconds
    function add(CoverageState memory state, uint64 expiresAt, uint64 before, uint256 timestamp, uint64 period)
        internal
        pure
    {
        if (timestamp >= uint256(state.movedAt) + period) {
            state.oldest = least(state.oldest, state.middle);
            state.middle = state.newest;
            state.newest = NOTHING;
            state.mark = state.next;
            state.next = uint40(before);
            state.movedAt = uint32(timestamp);
        }
        state.newest = least(state.newest, clamped(expiresAt));
    }

    /// @notice Adds the committee of a batch that settles. `state` changes in place.
    /// @param before number of batches that had settled before it
    function addCommittee(CoverageState memory state, uint64 before, uint256 n, uint256 k, uint256 q) internal pure {
        if (before == 0) {
            (state.lastSeat, state.rowsLess, state.quorumLess) = (uint8(n - 1), uint8(k - 1), uint8(q - 1));
        } else if (state.lastSeat != n - 1 || state.rowsLess != k - 1) {
            (state.lastSeat, state.rowsLess, state.quorumLess) = (0, 0, 0);
        } else if (q - 1 > state.quorumLess) {
            state.quorumLess = uint8(q - 1);
        }
    }

    /// @notice n and k of the batches, and the greatest quorum among them; n is 1 if they have
    /// several n or k.
    function geometry(CoverageState memory state) internal pure returns (uint16 n, uint16 k, uint16 q) {
        return (uint16(state.lastSeat) + 1, uint16(state.rowsLess) + 1, uint16(state.quorumLess) + 1);
    }

    /// @notice Time until which the batch with this number is kept at least, by its group.
    function untilOf(CoverageState memory state, uint64 number) internal pure returns (uint40) {
        if (number <= state.mark) return state.oldest;
        return number <= state.next ? state.middle : state.newest;
    }

    /// @notice Records that members keep all batches up to `lastBatch`, of `count`, at least until
    /// `expiresAt`. `state` changes in place.
    /// @param lastBatch not below the mark, not above `count`
    /// @return raised whether the time of any group is later now
    function renew(CoverageState memory state, uint64 lastBatch, uint64 expiresAt, uint64 count)
        internal
        pure
        returns (bool raised)
    {
        uint40 time = clamped(expiresAt);
        if (state.oldest < time) {
            state.oldest = time;
            raised = true;
        }
        if (lastBatch >= state.next && state.middle < time) {
            state.middle = time;
            raised = true;
        }
        if (lastBatch == count && state.newest < time) {
            state.newest = time;
            raised = true;
        }
    }

    /// @dev Limits a time to 40 bits. All later times, 34,000 years ahead, count as the same.
    function clamped(uint64 time) private pure returns (uint40) {
        return time < NOTHING ? uint40(time) : NOTHING;
    }

    function least(uint40 a, uint40 b) private pure returns (uint40) {
        return a < b ? a : b;
    }
}
