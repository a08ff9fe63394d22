// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IBatchSequence} from "../interfaces/IBatchSequence.sol";
import {ICertificateLog} from "../interfaces/ICertificateLog.sol";
import {ICommitteeRegistry} from "../interfaces/ICommitteeRegistry.sol";
import {AbsentHash} from "../libraries/AbsentHash.sol";
import {BundleTree} from "../libraries/BundleTree.sol";
import {CertificateLib} from "../libraries/CertificateLib.sol";
import {Coverage, CoverageState} from "../libraries/Coverage.sol";
import {SignatureDomain} from "../libraries/SignatureDomain.sol";
import {BatchBundle, BatchHeader, RenewalCertificate} from "../types/Certificate.sol";
import {EpochRecord} from "../types/Committee.sol";
import {Progress} from "../types/Settlement.sol";

/// @title The order, lifetime and coverage of a rollup's batches
/// @notice See IBatchSequence. A settlement contract adds states and proofs, a ledger nothing.
abstract contract BatchSequence is IBatchSequence {
    using Coverage for CoverageState;

    /// @inheritdoc IBatchSequence
    ICommitteeRegistry public immutable registry;
    /// @inheritdoc IBatchSequence
    ICertificateLog public immutable log;

    Progress internal progress;
    CoverageState internal coverage;
    /// @dev By the renewal's digest, as in the log: hash of the absent seats, then the time.
    mapping(bytes32 digest => uint256) private renewals;

    /// @param log_ the certificate log, which also determines the registry
    constructor(ICertificateLog log_) {
        registry = log_.registry();
        log = log_;
    }

    // Coverage

    /// @inheritdoc IBatchSequence
    function renewCoverage(RenewalCertificate calldata certificate) external {
        address rollup = certificate.renewal.rollup;
        uint64 lastBatch = certificate.renewal.lastBatch;
        uint64 expiresAt = certificate.renewal.expiresAt;
        if (rollup != address(this)) revert WrongRollup(rollup, address(this));
        uint64 count = progress.batchCount;
        if (lastBatch > count) revert RenewalAhead(lastBatch, count);
        CoverageState memory covered = coverage;
        if (lastBatch < covered.mark) revert RenewalTooOld(lastBatch, covered.mark);
        if (!covered.renew(lastBatch, expiresAt, count)) revert NothingRenewed(covered.until());
        bytes32 digest = checkRenewal(certificate, covered);
        coverage = covered;
        renewals[digest] = AbsentHash.entry(certificate.absent);
        afterRenewal(lastBatch, expiresAt);
        emit CoverageRenewed(digest, lastBatch, certificate.renewal.epoch, expiresAt, covered.until());
    }

    /// @inheritdoc IBatchSequence
    function batchCount() public view returns (uint64) {
        return progress.batchCount;
    }

    /// @inheritdoc IBatchSequence
    function lastSettledAt() external view returns (uint64) {
        return progress.lastSettledAt;
    }

    /// @inheritdoc IBatchSequence
    function coverageUntil() external view returns (uint64) {
        return coverage.until();
    }

    /// @inheritdoc IBatchSequence
    function coverageMark() external view returns (uint64) {
        return coverage.mark;
    }

    /// @inheritdoc IBatchSequence
    function coverageGeometry() external view returns (uint16 n, uint16 k, uint16 q) {
        if (progress.batchCount == 0) return (0, 0, 0);
        return coverage.geometry();
    }

    /// @inheritdoc IBatchSequence
    function renewedAt(bytes32 digest) external view returns (uint64) {
        return uint64(renewals[digest]);
    }

    /// @inheritdoc IBatchSequence
    function renewalAbsentHash(bytes32 digest) external view returns (bytes24) {
        return bytes24(bytes32(renewals[digest]));
    }

    // For what is derived from this

    /// @dev Called after a renewal was taken.
    function afterRenewal(uint64 lastBatch, uint64 expiresAt) internal virtual {}

    /// @dev Checks that the header is this contract's next batch and that its data live until
    /// `needed`.
    /// @param count number of batches before it
    function checkNext(BatchHeader calldata header, uint64 count, uint64 needed) internal view {
        if (header.rollup != address(this)) revert WrongRollup(header.rollup, address(this));
        uint64 number = header.batchNumber;
        if (number <= count) revert BatchAlreadySettled(number, count);
        if (number != count + 1) revert BatchNumberSkipped(number, count + 1);
        if (header.expiresAt < needed) revert LifetimeTooShort(header.expiresAt, needed);
    }

    function digestOf(BatchHeader calldata header) internal view returns (bytes32) {
        return SignatureDomain.digest(header, address(registry));
    }

    /// @dev A record means that a quorum signed and that its epoch was postable when it was
    /// recorded.
    function checkRecorded(bytes32 digest) internal view {
        if (log.recordedAt(digest) == 0) revert NotRecorded(digest);
    }

    /// @dev Checks that the bundle is recorded. Its headers are not: see checkBundledHeader.
    function checkBundle(BatchBundle calldata bundle) internal view {
        if (log.bundleRecordedAt(bundle) == 0) revert NotRecorded(SignatureDomain.digest(bundle, address(registry)));
    }

    /// @dev Checks what the log, which sees digests alone, could not: the header's epoch, and the
    /// rules of a certificate that concern the header. Its expiry is checked with its lifetime.
    /// @param epoch the bundle's epoch
    /// @param n its seats
    function checkBundledHeader(BatchHeader calldata header, uint64 epoch, uint256 n) internal pure {
        if (header.epoch != epoch) revert NotOfBundlesEpoch(header.epoch, epoch);
        CertificateLib.checkLengths(header);
        CertificateLib.checkFingerprint(header, n);
    }

    function checkRoot(bytes32 root, BatchBundle calldata bundle) internal pure {
        if (root != bundle.root) revert NotInBundle(root, bundle.root);
    }

    function checkRenewal(RenewalCertificate calldata certificate, CoverageState memory covered)
        private
        view
        returns (bytes32 digest)
    {
        (EpochRecord memory epoch, address keys) = CertificateLib.committeeOf(registry, certificate);
        checkCommittee(epoch, covered, certificate.absent.length);
        digest = SignatureDomain.digest(certificate.renewal, address(registry));
        CertificateLib.checkSignature(epoch, keys, digest, certificate.absent, certificate.signature);
    }

    /// @dev Checks that the committee holds shards of these batches, and that as many of it signed
    /// as certified them. Too few for its own quorum are refused with the signature.
    function checkCommittee(EpochRecord memory epoch, CoverageState memory covered, uint256 absent) private pure {
        (uint16 n, uint16 k, uint16 q) = covered.geometry();
        if (epoch.n != n || epoch.k != k) revert RenewalGeometry(epoch.n, epoch.k, n == 1 ? 0 : n, n == 1 ? 0 : k);
        if (absent + epoch.q <= n && absent + q > n) revert RenewalQuorum(n - absent, q);
    }
}
