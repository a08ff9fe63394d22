// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {ICertificateLog} from "./interfaces/ICertificateLog.sol";
import {ICommitteeRegistry} from "./interfaces/ICommitteeRegistry.sol";
import {CertificateLib} from "./libraries/CertificateLib.sol";
import {Certificate} from "./types/Certificate.sol";

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
        if (registry.paused()) revert RecordingPaused();
        checkCalldata(certificate);
        digest = CertificateLib.check(registry, certificate);
        if (recordedAt[digest] != 0) revert AlreadyRecorded(digest);
        recordedAt[digest] = uint64(block.timestamp);
        emit CertificateRecorded(
            digest,
            certificate.header.rollup,
            certificate.header.batchNumber,
            certificate.header.epoch,
            certificate.header.expiresAt,
            certificate.header.payloadLength,
            certificate.header.shardRoot,
            certificate.absent
        );
    }

    /// @inheritdoc ICertificateLog
    function check(Certificate calldata certificate) external view returns (bytes32 digest) {
        checkCalldata(certificate);
        return CertificateLib.check(registry, certificate);
    }

    /// @dev ABI decoding ignores bytes that no offset points to. Nothing here depends on them, but a certificate has
    /// one encoding only, so that whatever is compared by its bytes is compared by its meaning.
    function checkCalldata(Certificate calldata certificate) private pure {
        // Selector and the certificate's offset; its 3 heads; the header's 10; then the lengths of three byte strings.
        uint256 expected = 4 + 32 * (1 + 3 + 10 + 3) + padded(certificate.header.payloadFingerprint)
            + padded(certificate.absent) + padded(certificate.signature);
        if (msg.data.length != expected) revert CalldataLength(msg.data.length, expected);
    }

    function padded(bytes calldata data) private pure returns (uint256) {
        return (data.length + 31) & ~uint256(31);
    }
}
