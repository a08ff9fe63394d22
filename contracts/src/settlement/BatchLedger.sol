// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {Clones} from "@openzeppelin/contracts/proxy/Clones.sol";

import {IBatchLedger} from "../interfaces/IBatchLedger.sol";
import {ICertificateLog} from "../interfaces/ICertificateLog.sol";
import {BundleTree} from "../libraries/BundleTree.sol";
import {CertificateLib} from "../libraries/CertificateLib.sol";
import {Coverage, CoverageState} from "../libraries/Coverage.sol";
import {SignatureDomain} from "../libraries/SignatureDomain.sol";
import {BatchBundle, BatchHeader, Certificate} from "../types/Certificate.sol";
import {EpochRecord} from "../types/Committee.sol";
import {Progress} from "../types/Settlement.sol";
import {BatchSequence} from "./BatchSequence.sol";

/// @title A home on L1 for the batches of a rollup that settles elsewhere
/// @notice See IBatchLedger.
/// @dev The code of every ledger of a factory; each is a clone, whose terms are constants in the
/// clone's own code: u64 rollupChainId ‖ u64 minimumLifetime ‖ u8 lookups.
contract BatchLedger is IBatchLedger, BatchSequence {
    using Coverage for CoverageState;

    uint256 internal constant TERMS_LENGTH = 17;

    /// @dev Of a batch by its hash: 64 bits of its number, then 64 bits of its expiry.
    mapping(uint8 hashKind => mapping(bytes32 batchHash => uint256)) private batches;
    /// @dev The greatest renewal, of the most batches for the longest time: 64 bits of its last
    /// batch, then 64 bits of its time. Groups of batches forget it when they merge.
    uint256 private renewed;

    /// @param log_ the certificate log, which also determines the registry
    constructor(ICertificateLog log_) BatchSequence(log_) {}

    // Accepting

    /// @inheritdoc IBatchLedger
    function accept(Certificate calldata certificate) external {
        BatchHeader calldata header = certificate.header;
        (Progress memory current, CoverageState memory covered, uint64 lifetime, bool keeps) = begin();
        checkNext(header, current.batchCount, uint64(block.timestamp) + lifetime);
        bytes32 digest = digestOf(header);
        EpochRecord memory epoch =
            CertificateLib.check(registry, header, digest, certificate.absent, certificate.signature);
        cover(covered, header.expiresAt, current, epoch, lifetime);
        append(header, digest, keeps);
        ++current.batchCount;
        finish(current, covered);
    }

    /// @inheritdoc IBatchLedger
    function acceptRecorded(BatchHeader[] calldata headers) external {
        if (headers.length == 0) revert NoBatches();
        (Progress memory current, CoverageState memory covered, uint64 lifetime, bool keeps) = begin();
        EpochRecord memory epoch;
        uint64 number = 0;
        for (uint256 i = 0; i < headers.length; ++i) {
            BatchHeader calldata header = headers[i];
            checkNext(header, current.batchCount, uint64(block.timestamp) + lifetime);
            bytes32 digest = digestOf(header);
            checkRecorded(digest);
            if (header.epoch != number) {
                number = header.epoch;
                epoch = registry.epoch(number);
            }
            cover(covered, header.expiresAt, current, epoch, lifetime);
            append(header, digest, keeps);
            ++current.batchCount;
        }
        finish(current, covered);
    }

    /// @inheritdoc IBatchLedger
    function acceptBundled(
        BatchHeader[] calldata headers,
        BatchBundle calldata bundle,
        uint256[] calldata indices,
        uint256[] calldata ascending,
        bytes32[] calldata proof
    ) external {
        uint256 count = headers.length;
        if (count == 0) revert NoBatches();
        if (indices.length != count || ascending.length != count) {
            revert BundleLengths(count, indices.length, ascending.length);
        }
        checkBundle(bundle);
        bytes32[] memory digests = appendAll(headers, bundle);
        // The bundle's digests ascend strictly, so that no two of its places have the same one:
        // that many different places are that many different headers.
        checkRoot(BundleTree.root(sorted(digests, ascending), indices, bundle.count, proof), bundle);
    }

    /// @dev Appends headers of a recorded bundle. The caller checks that they are in it.
    function appendAll(BatchHeader[] calldata headers, BatchBundle calldata bundle)
        private
        returns (bytes32[] memory digests)
    {
        (Progress memory current, CoverageState memory covered, uint64 lifetime, bool keeps) = begin();
        EpochRecord memory epoch = registry.epoch(bundle.epoch);
        // They settle at one time, so that the least of their times stands for all.
        uint64 least;
        (digests, least) = appendEach(headers, bundle.epoch, epoch.n, current.batchCount, lifetime, keeps);
        cover(covered, least, current, epoch, lifetime);
        current.batchCount += uint64(headers.length);
        finish(current, covered);
    }

    /// @param count number of batches before these
    function appendEach(
        BatchHeader[] calldata headers,
        uint64 epoch,
        uint256 n,
        uint64 count,
        uint64 lifetime,
        bool keeps
    ) private returns (bytes32[] memory digests, uint64 least) {
        bytes32 domain = SignatureDomain.separator(address(registry));
        digests = new bytes32[](headers.length);
        least = type(uint64).max;
        for (uint256 i = 0; i < digests.length; ++i) {
            BatchHeader calldata header = headers[i];
            checkNext(header, count++, uint64(block.timestamp) + lifetime);
            checkBundledHeader(header, epoch, n);
            if (header.expiresAt < least) least = header.expiresAt;
            digests[i] = SignatureDomain.digestWithin(header, domain);
            append(header, digests[i], keeps);
        }
    }

    function sorted(bytes32[] memory digests, uint256[] calldata ascending)
        private
        pure
        returns (bytes32[] memory list)
    {
        list = new bytes32[](digests.length);
        for (uint256 i = 0; i < list.length; ++i) {
            uint256 position = ascending[i];
            if (position >= list.length) revert PositionOutOfRange(position, list.length);
            list[i] = digests[position];
        }
    }

    function begin()
        private
        view
        returns (Progress memory current, CoverageState memory covered, uint64 lifetime, bool keeps)
    {
        (, lifetime, keeps) = terms();
        current = progress;
        // A clone has no constructor: this is its beginning.
        covered = current.batchCount == 0 ? Coverage.initial(block.timestamp) : coverage;
    }

    /// @dev Adds the next batches to the coverage, which changes in place.
    function cover(
        CoverageState memory covered,
        uint64 expiresAt,
        Progress memory current,
        EpochRecord memory epoch,
        uint64 lifetime
    ) private view {
        // A batch is in the two younger groups for at most two thirds of its shortest life.
        covered.add(expiresAt, current.batchCount, block.timestamp, lifetime / 3);
        covered.addCommittee(current.batchCount, epoch.n, epoch.k, epoch.q);
    }

    function append(BatchHeader calldata header, bytes32 digest, bool keeps) private {
        uint64 number = header.batchNumber;
        uint64 expiresAt = header.expiresAt;
        bytes32 batchHash = header.batchHash;
        if (keeps) {
            mapping(bytes32 => uint256) storage ofKind = batches[header.hashKind];
            if (uint64(ofKind[batchHash]) < expiresAt) ofKind[batchHash] = pair(number, expiresAt);
        }
        emit BatchSettled(digest, number, header.epoch, expiresAt, 0, 0, 0);
        emit BatchAccepted(batchHash, number, digest);
    }

    function finish(Progress memory current, CoverageState memory covered) private {
        current.lastSettledAt = uint64(block.timestamp);
        progress = current;
        coverage = covered;
    }

    /// @inheritdoc BatchSequence
    function afterRenewal(uint64 lastBatch, uint64 expiresAt) internal override {
        uint256 former = renewed;
        if (lastBatch >= uint64(former >> 64) && expiresAt >= uint64(former)) renewed = pair(lastBatch, expiresAt);
    }

    // Views

    /// @inheritdoc IBatchLedger
    function availableUntil(uint8 hashKind, bytes32 batchHash) external view returns (uint64 time) {
        if (!lookups()) revert NoLookups();
        uint256 entry = batches[hashKind][batchHash];
        if (entry == 0) return 0;
        uint64 number = uint64(entry >> 64);
        time = uint64(entry);
        uint256 renewal = renewed;
        if (number <= uint64(renewal >> 64) && time < uint64(renewal)) time = uint64(renewal);
        uint64 ofGroup = coverage.untilOf(number);
        if (time < ofGroup) time = ofGroup;
    }

    /// @inheritdoc IBatchLedger
    function rollupChainId() external view returns (uint64 chainId) {
        (chainId,,) = terms();
    }

    /// @inheritdoc IBatchLedger
    function minimumLifetime() external view returns (uint64 lifetime) {
        (, lifetime,) = terms();
    }

    /// @inheritdoc IBatchLedger
    function lookups() public view returns (bool keeps) {
        (,, keeps) = terms();
    }

    /// @dev Reads the clone's constants. The code of all ledgers itself has none, and accepts
    /// nothing.
    function terms() private view returns (uint64 chainId, uint64 lifetime, bool keeps) {
        bytes memory args = Clones.fetchCloneArgs(address(this));
        uint256 word = uint256(bytes32(args));
        return (uint64(word >> 192), uint64(word >> 128), uint8(word >> 120) == 1);
    }

    function pair(uint64 high, uint64 low) private pure returns (uint256) {
        return (uint256(high) << 64) | low;
    }
}
