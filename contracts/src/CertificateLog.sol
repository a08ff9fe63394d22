// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {ICertificateLog} from "./interfaces/ICertificateLog.sol";
import {ICommitteeRegistry} from "./interfaces/ICommitteeRegistry.sol";
import {CertificateLib} from "./libraries/CertificateLib.sol";
import {SignatureDomain} from "./libraries/SignatureDomain.sol";
import {BatchHeader, Certificate} from "./types/Certificate.sol";

/// @title The public list of certified batches
/// @notice See ICertificateLog.
contract CertificateLog is ICertificateLog {
    ICommitteeRegistry public immutable registry;

    /// @inheritdoc ICertificateLog
    mapping(bytes32 digest => uint64) public recordedAt;

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
        if (recordedAt[digest] != 0) revert AlreadyRecorded(digest);
        CertificateLib.check(registry, header, digest, absent, signature);
        recordedAt[digest] = uint64(block.timestamp);
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
    function check(Certificate calldata certificate) external view returns (bytes32 digest) {
        checkCalldata(certificate.header.payloadFingerprint, certificate.absent, certificate.signature);
        return CertificateLib.check(registry, certificate);
    }

    /// @dev Checks that the call is the canonical encoding. ABI decoding ignores bytes that no
    /// offset points to. Nothing here depends on such bytes. The check gives each certificate
    /// exactly one encoding, so that code which compares calls by their bytes compares their
    /// meaning.
    function checkCalldata(bytes calldata fingerprint, bytes calldata absent, bytes calldata signature) private pure {
        // Selector and the certificate's offset; its 3 heads; the header's 10; then the lengths of
        // three byte strings.
        uint256 expected =
            4 + 32 * (1 + 3 + 10 + 3) + padded(fingerprint.length) + padded(absent.length) + padded(signature.length);
        if (msg.data.length != expected) revert CalldataLength(msg.data.length, expected);
    }

    /// @dev Rounds up to whole words. A length that calldata can hold is far from overflow.
    function padded(uint256 length) private pure returns (uint256) {
        unchecked {
            return (length + 31) & ~uint256(31);
        }
    }
}
