// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {Certificate} from "../types/Certificate.sol";
import {ICommitteeRegistry} from "./ICommitteeRegistry.sol";

/// @title The public list of certified batches
/// @notice Anyone may record a certificate, once. Who records first makes no difference to anybody.
interface ICertificateLog {
    /// @notice A batch was certified. Auditors fetch its record from the members by digest; `absent` are the seats
    /// (strictly ascending, one byte each) whose attestation is not part of the certificate.
    event CertificateRecorded(
        bytes32 indexed digest,
        address indexed rollup,
        uint64 indexed batchNumber,
        uint64 epoch,
        uint64 expiresAt,
        uint64 payloadLength,
        bytes32 shardRoot,
        bytes absent
    );

    /// @notice The registry's owner has paused the committee.
    error RecordingPaused();
    error AlreadyRecorded(bytes32 digest);
    /// @notice The call is not the canonical ABI encoding of one certificate: bytes were appended or left out.
    error CalldataLength(uint256 got, uint256 expected);

    function registry() external view returns (ICommitteeRegistry);

    /// @notice Check a certificate against the registry and record it.
    function record(Certificate calldata certificate) external returns (bytes32 digest);

    /// @notice Check a certificate without recording it. Reverts with the rule that it breaks.
    function check(Certificate calldata certificate) external view returns (bytes32 digest);

    /// @notice Timestamp of the block that recorded the digest; 0 if none did.
    function recordedAt(bytes32 digest) external view returns (uint64);
}
