// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {ICertificateLog} from "./interfaces/ICertificateLog.sol";
import {ICommitteeRegistry} from "./interfaces/ICommitteeRegistry.sol";
import {AbsentHash} from "./libraries/AbsentHash.sol";
import {BundleTree} from "./libraries/BundleTree.sol";
import {CertificateEvidence} from "./libraries/CertificateEvidence.sol";
import {CertificateLib} from "./libraries/CertificateLib.sol";
import {SignatureDomain} from "./libraries/SignatureDomain.sol";
import {BatchBundle, BatchHeader, Certificate} from "./types/Certificate.sol";

/// @title The public list of certified batches
/// @notice See ICertificateLog.
contract CertificateLog is ICertificateLog {
    ICommitteeRegistry public immutable registry;
    /// @inheritdoc ICertificateLog
    uint256 public constant isSignedGas = 1_000_000;

    /// @dev By the digest of a batch or of a bundle: 192 bits of the hash of its absent seats, then
    /// 64 bits of the time. One word is read and written as a whole.
    mapping(bytes32 digest => uint256) private entries;

    constructor(ICommitteeRegistry registry_) {
        registry = registry_;
    }

    /// @inheritdoc ICertificateLog
    function record(Certificate calldata certificate) external returns (bytes32 digest) {
        BatchHeader calldata header = certificate.header;
        bytes calldata absent = certificate.absent;
        bytes calldata signature = certificate.signature;
        if (registry.paused()) revert RecordingPaused();
        checkCalldata(header.payloadFingerprint, absent, signature);
        // This check comes before the expensive part, so that a sender who comes second pays little
        // more than the cost of the transaction.
        digest = SignatureDomain.digest(header, address(registry));
        if (entries[digest] != 0) revert AlreadyRecorded(digest);
        CertificateLib.check(registry, header, digest, absent, signature);
        entries[digest] = AbsentHash.entry(absent);
        emit CertificateRecorded(
            digest,
            header.rollup,
            header.batchNumber,
            header.epoch,
            header.expiresAt,
            header.payloadLength,
            header.shardRoot,
            absent
        );
    }

    /// @inheritdoc ICertificateLog
    function recordBundle(uint64 epoch, bytes32[] calldata digests, bytes calldata absent, bytes calldata signature)
        external
        returns (bytes32 digest)
    {
        if (registry.paused()) revert RecordingPaused();
        // Selector and four heads; then the lengths of a list and two byte strings.
        checkLength(4 + 32 * (4 + 3) + 32 * digests.length + padded(absent.length) + padded(signature.length));
        bytes32 root = BundleTree.root(digests);
        BatchBundle memory bundle = BatchBundle({epoch: epoch, count: uint32(digests.length), root: root});
        digest = SignatureDomain.digest(bundle, address(registry));
        if (entries[digest] != 0) revert AlreadyRecorded(digest);
        CertificateLib.checkBundle(registry, epoch, digest, absent, signature);
        entries[digest] = AbsentHash.entry(absent);
        emit BundleRecorded(digest, epoch, root, digests, absent);
    }

    /// @inheritdoc ICertificateLog
    function check(Certificate calldata certificate) external view returns (bytes32 digest) {
        checkCalldata(certificate.header.payloadFingerprint, certificate.absent, certificate.signature);
        return CertificateLib.check(registry, certificate);
    }

    /// @inheritdoc ICertificateLog
    function isSigned(bytes calldata certificate) external view returns (bool) {
        return CertificateEvidence.isSigned(registry, certificate);
    }

    /// @inheritdoc ICertificateLog
    function recordedAt(bytes32 digest) public view returns (uint64) {
        return uint64(entries[digest]);
    }

    /// @inheritdoc ICertificateLog
    function absentHash(bytes32 digest) external view returns (bytes24) {
        return bytes24(bytes32(entries[digest]));
    }

    /// @inheritdoc ICertificateLog
    function bundleRecordedAt(BatchBundle calldata bundle) public view returns (uint64) {
        return recordedAt(SignatureDomain.digest(bundle, address(registry)));
    }

    /// @inheritdoc ICertificateLog
    function isRecorded(bytes32 digest, BatchBundle calldata bundle, uint256 index, bytes32[] calldata path)
        external
        view
        returns (bool)
    {
        if (index >= bundle.count || path.length != BundleTree.pathLength(index, bundle.count)) return false;
        return BundleTree.root(digest, index, bundle.count, path) == bundle.root && bundleRecordedAt(bundle) != 0;
    }

    /// @dev Checks that the call is the canonical encoding. ABI decoding ignores bytes that no
    /// offset points to. Nothing here depends on such bytes. The check gives each certificate
    /// exactly one encoding, so that code which compares calls by their bytes compares their
    /// meaning.
    function checkCalldata(bytes calldata fingerprint, bytes calldata absent, bytes calldata signature) private pure {
        // Selector and the certificate's offset; its 3 heads; the header's 10; then the lengths of
        // three byte strings.
        checkLength(
            4 + 32 * (1 + 3 + 10 + 3) + padded(fingerprint.length) + padded(absent.length) + padded(signature.length)
        );
    }

    function checkLength(uint256 expected) private pure {
        if (msg.data.length != expected) revert CalldataLength(msg.data.length, expected);
    }

    /// @dev Rounds up to whole words. A length that calldata can hold is far from overflow.
    function padded(uint256 length) private pure returns (uint256) {
        unchecked {
            return (length + 31) & ~uint256(31);
        }
    }
}
