// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

/// @notice Until when members keep the settled batches: three groups of batches by age, of each the least time. One slot.
/// @dev An empty group's time is the greatest there is.
/// @param mark the last batch of the oldest group
/// @param next the last batch of the middle group; whatever settled after it is the newest group
/// @param movedAt when the marks moved last
struct CoverageState {
    uint48 mark;
    uint48 next;
    uint40 movedAt;
    uint40 oldest;
    uint40 middle;
    uint40 newest;
}

/// @title Coverage of settled batches, with renewals: protocol section 7
/// @notice Members renew "every batch up to lastBatch"; but while that renewal is being signed and sent, more batches
/// settle, and the times of single batches would cost a slot each. So batches are told apart by age alone:
///
/// * a renewal raises the time of each group that lies within 1 … lastBatch, and lowers and moves nothing. So renewals may
///   come in any order, twice, or not at all, from anyone, and none makes another less useful.
/// * marks move only when a batch settles, and at most once a period: the middle group then joins the oldest, and the
///   newest becomes the middle. So `mark` is what had settled at least one whole period ago, and **a renewal for all
///   batches of its time raises the oldest group for at least a period**, however many batches settle meanwhile. Nobody
///   can shorten that by settling faster.
/// * the groups behind it consist of batches of the last two periods or so, with their own lifetimes before them. Where
///   those are too short to go on settling, then nothing settles, batchCount stands still, and a renewal for
///   all batches raises every group.
library Coverage {
    uint40 internal constant NOTHING = type(uint40).max;

    function initial(uint256 timestamp) internal pure returns (CoverageState memory) {
        return CoverageState({
            mark: 0, next: 0, movedAt: uint40(timestamp), oldest: NOTHING, middle: NOTHING, newest: NOTHING
        });
    }

    /// @notice The least time of all batches; NOTHING while there is none.
    function until(CoverageState memory state) internal pure returns (uint40) {
        return least(state.oldest, least(state.middle, state.newest));
    }

    /// @notice A batch settles. `state` changes in place.
    /// @param before batches that had settled before it
    /// @param period seconds between two moves of the marks, at least
    function add(CoverageState memory state, uint64 expiresAt, uint64 before, uint256 timestamp, uint64 period)
        internal
        pure
    {
        if (timestamp >= uint256(state.movedAt) + period) {
            state.oldest = least(state.oldest, state.middle);
            state.middle = state.newest;
            state.newest = NOTHING;
            state.mark = state.next;
            state.next = uint48(before);
            state.movedAt = uint40(timestamp);
        }
        state.newest = least(state.newest, clamped(expiresAt));
    }

    /// @notice Members keep all batches up to `lastBatch`, of `count`, until `expiresAt` at least. `state` changes in place.
    /// @param lastBatch not below the mark, not above `count`
    /// @return raised whether any group's time is later now
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

    /// @dev To 40 bits: later times, 34,000 years ahead, are all the same.
    function clamped(uint64 time) private pure returns (uint40) {
        return time < NOTHING ? uint40(time) : NOTHING;
    }

    function least(uint40 a, uint40 b) private pure returns (uint40) {
        return a < b ? a : b;
    }
}
