// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {EpochRecord, Member, OperatorRecord, RollupRecord} from "../types/Committee.sol";

/// @title The committee on L1: operators, epochs, admitted rollups
/// @notice Operators register themselves with a key that they prove to hold. The owner, which
/// should be a timelock, seats them in epochs and admits rollups. An epoch's record never changes,
/// except that its end is set once, when the next epoch is opened.
interface ICommitteeRegistry {
    event OperatorRegistered(address indexed operator, bytes key, string dispersalUrl, string retrievalUrl);
    event EndpointsChanged(address indexed operator, string dispersalUrl, string retrievalUrl);
    event EpochOpened(uint64 indexed epoch, uint16 n, uint16 k, uint16 q, uint64 activeFrom);
    event RollupAdmitted(address indexed rollup, address poster, uint64 maxRetention, uint64 dailyBytes);
    event RollupRemoved(address indexed rollup);

    /// @notice A delay or grace in the constructor is longer than `limit` seconds.
    error DelayTooLong(uint64 got, uint64 limit);
    /// @notice A key must have `expected` bytes.
    error KeyLength(uint256 got, uint256 expected);
    /// @notice A proof of possession must have `expected` bytes.
    error PossessionLength(uint256 got, uint256 expected);
    /// @notice The key is the point at infinity, which no secret key has.
    error KeyIsInfinity();
    /// @notice The proof is the point at infinity, which proves nothing.
    error PossessionIsInfinity();
    /// @notice The key or the proof is not a canonically encoded point of its subgroup.
    error InvalidPoint();
    /// @notice The proof was not made by the key for this operator, registry and chain.
    error PossessionMismatch();
    /// @notice An endpoint's URL is empty or longer than `limit` bytes.
    error UrlLength(uint256 got, uint256 limit);
    error UnknownOperator(address operator);

    /// @notice A committee needs 2 <= n <= 256, 1 <= k < n and k <= q <= n.
    error Geometry(uint256 n, uint256 k, uint256 q);
    error DuplicateOperator(address operator, uint256 seat);
    /// @notice The key in this seat, or the opposite one, is also in an earlier seat. Opposite keys
    /// cancel out of the sum: two members could hide who signed.
    error DuplicateKey(address operator, uint256 seat);
    /// @notice The last opened epoch is not active yet. An announced epoch cannot be replaced.
    error EpochPending(uint64 epoch, uint64 activeFrom);
    /// @notice With unchanged n and k, at most `limit` seats may change hands from one epoch to the
    /// next.
    error TooManySeatsReplaced(uint256 got, uint256 limit);
    error UnknownEpoch(uint64 epoch, uint64 epochCount);

    /// @notice A rollup's address, poster, retention and quota must not be zero.
    error IncompleteRollup();
    error UnknownRollup(address rollup);

    /// @notice Registers the sender as an operator, or replaces its key and endpoints. Epochs that
    /// are open already keep their keys; a new key is used from the next epoch on.
    /// @param key G2 public key, 256 bytes, EIP-2537 encoding (c0 before c1)
    /// @param possession G1 signature over possessionMessage(sender, key), 128 bytes
    function register(
        bytes calldata key,
        bytes calldata possession,
        string calldata dispersalUrl,
        string calldata retrievalUrl
    ) external;

    /// @notice Changes the URLs of the sender, a registered operator. This takes effect at once, in
    /// every epoch.
    function setEndpoints(string calldata dispersalUrl, string calldata retrievalUrl) external;

    /// @notice Opens the next epoch with `operators` in its seats, in this order. Owner only.
    /// @dev The first epoch is active at once, because users have no former committee to leave.
    /// Every later one waits for activationDelay(), and no other epoch can be opened meanwhile, so
    /// that users get the committee that was announced. With unchanged (n, k), at most
    /// max(1, q − k) seats may change hands, where q is the former epoch's: its batches were
    /// certified by that quorum, and a replaced seat counts as one that withholds until it has
    /// repaired. A seat changes hands if its operator or its key does. A changed (n, k) makes a new
    /// committee.
    /// @return epoch number of the epoch; the first one is 1
    function openEpoch(address[] calldata operators, uint16 k, uint16 q) external returns (uint64 epoch);

    /// @notice Admits a rollup, or changes its terms. Owner only.
    function admitRollup(address rollup, address poster, uint64 maxRetention, uint64 dailyBytes) external;

    /// @notice Stops accepting batches of a rollup. Signed batches are kept until they expire.
    /// Owner only.
    function removeRollup(address rollup) external;

    /// @notice While paused, members accept no new batch and the log no new record. Retrieval,
    /// renewal, exits from settlements and all earlier promises continue. Owner or pauser; only the
    /// owner ends it.
    function pause() external;
    function unpause() external;
    function paused() external view returns (bool);

    /// @notice Seconds between opening an epoch, other than the first, and its first active second.
    function activationDelay() external view returns (uint64);
    /// @notice Seconds during which certificates of a replaced epoch are still accepted.
    function grace() external view returns (uint64);
    /// @notice EIP-712 domain separator of all messages of this committee.
    function domainSeparator() external view returns (bytes32);
    /// @notice The 32 bytes that `operator` signs with the secret of `key`, under the possession
    /// tag, to register the key.
    function possessionMessage(address operator, bytes calldata key) external view returns (bytes32);

    /// @notice Number of epochs that were opened, which is also the number of the newest one.
    function epochCount() external view returns (uint64);
    /// @notice The epoch whose members sign now, or 0 before the first.
    function currentEpoch() external view returns (uint64);
    function epoch(uint64 number) external view returns (EpochRecord memory);
    /// @notice An epoch's record, and the first data contract of its keys, which CommitteeKeys
    /// reads.
    function committee(uint64 number) external view returns (EpochRecord memory record, address keys);
    /// @notice All members of an epoch, in seat order.
    function members(uint64 number) external view returns (Member[] memory);
    /// @notice Members in the seats offset .. offset + limit; fewer if the committee has fewer
    /// seats.
    function members(uint64 number, uint256 offset, uint256 limit) external view returns (Member[] memory);
    function operator(address account) external view returns (OperatorRecord memory);

    function rollupCount() external view returns (uint256);
    function rollup(address account) external view returns (RollupRecord memory);
    /// @notice Admitted rollups offset .. offset + limit, in no particular order. Read all pages at
    /// one block.
    function rollups(uint256 offset, uint256 limit) external view returns (RollupRecord[] memory);
}
