// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {EpochRecord, Member, OperatorRecord, RollupRecord} from "../types/Committee.sol";

/// @title The committee on L1: operators, epochs, admitted rollups
/// @notice Operators register themselves with a key they prove to hold. The owner, meant to be a timelock, seats
/// them in epochs and admits rollups. What an epoch's record says never changes; only its end is set, once, when the
/// next epoch is opened.
interface ICommitteeRegistry {
    event OperatorRegistered(address indexed operator, bytes key, string dispersalUrl, string retrievalUrl);
    event EndpointsChanged(address indexed operator, string dispersalUrl, string retrievalUrl);
    event EpochOpened(uint64 indexed epoch, uint16 n, uint16 k, uint16 q, uint64 activeFrom);
    event RollupAdmitted(address indexed rollup, address poster, uint64 maxRetention, uint64 dailyBytes);
    event RollupRemoved(address indexed rollup);

    /// @notice A delay or grace given at deployment is longer than `limit` seconds.
    error DelayTooLong(uint64 got, uint64 limit);
    /// @notice A key must be `expected` bytes.
    error KeyLength(uint256 got, uint256 expected);
    /// @notice A proof of possession must be `expected` bytes.
    error PossessionLength(uint256 got, uint256 expected);
    /// @notice The point at infinity is nobody's key.
    error KeyIsInfinity();
    /// @notice The point at infinity proves nothing.
    error PossessionIsInfinity();
    /// @notice Key or proof is not a canonically encoded point of its subgroup.
    error InvalidPoint();
    /// @notice The proof was not made by the key for this operator, registry and chain.
    error PossessionMismatch();
    /// @notice An endpoint's URL is empty or longer than `limit` bytes.
    error UrlLength(uint256 got, uint256 limit);
    error UnknownOperator(address operator);

    /// @notice A committee needs 2 <= n <= 256, 1 <= k < n and k <= q <= n.
    error Geometry(uint256 n, uint256 k, uint256 q);
    error DuplicateOperator(address operator, uint256 seat);
    /// @notice The key in this seat is also in an earlier one.
    error DuplicateKey(address operator, uint256 seat);
    /// @notice The epoch opened last has not become active yet, and what was announced is not taken back.
    error EpochPending(uint64 epoch, uint64 activeFrom);
    /// @notice With unchanged n and k, at most `limit` seats change hands from one epoch to the next.
    error TooManySeatsReplaced(uint256 got, uint256 limit);
    error UnknownEpoch(uint64 epoch, uint64 epochCount);

    /// @notice A rollup's address, poster, retention and quota must not be zero.
    error IncompleteRollup();
    error UnknownRollup(address rollup);

    /// @notice Register the sender as an operator, or replace its key and endpoints. Epochs already opened keep the
    /// key they were opened with; a new key sits from the next epoch on.
    /// @param key G2 public key, 256 bytes, EIP-2537 encoding (c0 before c1)
    /// @param possession G1 signature over possessionMessage(sender, key), 128 bytes
    function register(
        bytes calldata key,
        bytes calldata possession,
        string calldata dispersalUrl,
        string calldata retrievalUrl
    ) external;

    /// @notice Change where the sender, a registered operator, answers. Takes effect at once, in every epoch.
    function setEndpoints(string calldata dispersalUrl, string calldata retrievalUrl) external;

    /// @notice Seat `operators`, in this order, as the next epoch. Owner only.
    /// @dev The first epoch is active at once: there is no former committee to leave. Every later one waits for
    /// activationDelay(), and while it waits no other can be opened: what users were told is what they get.
    /// With unchanged (n, k), at most max(1, q − k) seats may change hands, q being the former epoch's: its batches
    /// were certified by that quorum, and a replaced seat counts as one that withholds until it has repaired. A seat
    /// changes hands when its operator or its key does. A changed (n, k) is a new committee.
    /// @return epoch its number, from 1
    function openEpoch(address[] calldata operators, uint16 k, uint16 q) external returns (uint64 epoch);

    /// @notice Admit a rollup, or change its terms. Owner only.
    function admitRollup(address rollup, address poster, uint64 maxRetention, uint64 dailyBytes) external;

    /// @notice Stop taking batches of a rollup. What was signed is kept until it expires. Owner only.
    function removeRollup(address rollup) external;

    /// @notice While paused, members take no new batch and the log no new record. Retrieval, renewal, settlement's
    /// exits and everything signed before go on. Owner only.
    function pause() external;
    function unpause() external;
    function paused() external view returns (bool);

    /// @notice Seconds between opening an epoch (but the first) and its becoming active.
    function activationDelay() external view returns (uint64);
    /// @notice Seconds for which a replaced epoch's certificates are still accepted.
    function grace() external view returns (uint64);
    /// @notice EIP-712 domain separator of all messages of this committee.
    function domainSeparator() external view returns (bytes32);
    /// @notice The 32 bytes that `operator` signs with `key`'s secret, under the possession tag, to register it.
    function possessionMessage(address operator, bytes calldata key) external view returns (bytes32);

    /// @notice Number of epochs ever opened, and the number of the newest one.
    function epochCount() external view returns (uint64);
    /// @notice The epoch whose members sign now; 0 before the first.
    function currentEpoch() external view returns (uint64);
    function epoch(uint64 number) external view returns (EpochRecord memory);
    /// @notice An epoch's record and the data contract that its keys start in, for CommitteeKeys to read.
    function committee(uint64 number) external view returns (EpochRecord memory record, address keys);
    /// @notice All members of an epoch, in seat order.
    function members(uint64 number) external view returns (Member[] memory);
    /// @notice Members in seats offset .. offset + limit, fewer where the committee ends.
    function members(uint64 number, uint256 offset, uint256 limit) external view returns (Member[] memory);
    function operator(address account) external view returns (OperatorRecord memory);

    function rollupCount() external view returns (uint256);
    function rollup(address account) external view returns (RollupRecord memory);
    /// @notice Admitted rollups offset .. offset + limit, in no particular order. Read all pages at one block.
    function rollups(uint256 offset, uint256 limit) external view returns (RollupRecord[] memory);
}
