// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {RenewalCertificate} from "../types/Certificate.sol";
import {ICertificateLog} from "./ICertificateLog.sol";
import {ICommitteeRegistry} from "./ICommitteeRegistry.sol";

/// @title A rollup's certified batches in their order, and until when members keep them
/// @notice What settlement contracts and ledgers have in common. Batches are numbered from 1. Times
/// are Unix seconds.
interface IBatchSequence {
    /// @notice A batch took its place. Members and aggregators follow this event.
    /// @param newStateRoot zero in a ledger, which knows no states
    /// @param inputsConsumed total of L1 inputs consumed, including this batch; zero in a ledger
    /// @param outputs commitment to what the batch pays out on L1; zero if it pays nothing
    event BatchSettled(
        bytes32 indexed digest,
        uint64 indexed batchNumber,
        uint64 epoch,
        uint64 expiresAt,
        bytes32 newStateRoot,
        uint64 inputsConsumed,
        bytes32 outputs
    );
    /// @param coverageUntil time until which all settled batches together are now covered
    event CoverageRenewed(
        bytes32 indexed digest, uint64 indexed lastBatch, uint64 epoch, uint64 expiresAt, uint64 coverageUntil
    );

    error WrongRollup(address got, address expected);
    /// @notice A batch with this number is final already.
    error BatchAlreadySettled(uint64 got, uint64 batchCount);
    error BatchNumberSkipped(uint64 got, uint64 expected);
    /// @notice The digest, of a batch or of a bundle, is not in the certificate log.
    error NotRecorded(bytes32 digest);
    /// @notice The header is of another epoch than the bundle.
    error NotOfBundlesEpoch(uint64 got, uint64 bundleEpoch);
    /// @notice The proof does not lead from the header to the bundle's root.
    error NotInBundle(bytes32 got, bytes32 root);
    /// @notice The batch's data must be kept at least until `needed`.
    error LifetimeTooShort(uint64 expiresAt, uint64 needed);

    /// @notice The renewal covers batches that have not settled.
    error RenewalAhead(uint64 lastBatch, uint64 batchCount);
    /// @notice The renewal leaves out batches up to `mark`, whose times are no longer kept apart.
    error RenewalTooOld(uint64 lastBatch, uint64 mark);
    /// @notice All batches of the renewal are already covered for as long.
    error NothingRenewed(uint64 coverageUntil);
    /// @notice A committee of other n or k holds no shards of these batches. Covered values of zero
    /// mean that the batches have several, so that no committee can renew them.
    error RenewalGeometry(uint256 n, uint256 k, uint256 coveredN, uint256 coveredK);
    /// @notice Fewer members signed than the quorum by which the batches were certified.
    error RenewalQuorum(uint256 signers, uint256 needed);

    /// @notice Extends the time for which members keep the settled batches. Anyone may call it. The
    /// signers' committee must have the batches' n and k, and as many must have signed as their
    /// quorum demanded.
    function renewCoverage(RenewalCertificate calldata certificate) external;

    function registry() external view returns (ICommitteeRegistry);
    function log() external view returns (ICertificateLog);
    /// @notice Number of settled batches. The next batch has the number after it.
    function batchCount() external view returns (uint64);
    /// @notice Time of the last settlement, or of deployment before the first one.
    function lastSettledAt() external view returns (uint64);
    /// @notice Time until which all settled batches are kept; 2^40 − 1 if there is none.
    function coverageUntil() external view returns (uint64);
    /// @notice The smallest lastBatch with which a renewal has an effect.
    function coverageMark() external view returns (uint64);
    /// @notice n and k of the settled batches, and the greatest quorum of their epochs. n is 0
    /// before the first batch, and 1 once batches have several n or k: no renewal is possible then.
    function coverageGeometry() external view returns (uint16 n, uint16 k, uint16 q);
    /// @notice Timestamp of the block that took a renewal with this digest, or 0 if none did.
    function renewedAt(bytes32 digest) external view returns (uint64);
    /// @notice First 24 bytes of keccak256(absent) of the certificate of a renewal that was taken:
    /// with the list of absent seats it tells later who signed.
    function renewalAbsentHash(bytes32 digest) external view returns (bytes24);
}
