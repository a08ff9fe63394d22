// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {Certificate} from "../types/Certificate.sol";
import {ICommitteeRegistry} from "./ICommitteeRegistry.sol";

/// @title The public list of certified batches
/// @notice Anyone may record a certificate, once. It makes no difference who records it first.
interface ICertificateLog {
    /// @notice A batch was certified. Auditors use the digest to fetch its record from the members.
    /// `absent` are the seats (strictly ascending, one byte each) whose signatures are not in the
    /// certificate.
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
    /// @notice The call is not the canonical ABI encoding of one certificate: it has too many or
    /// too few bytes.
    error CalldataLength(uint256 got, uint256 expected);

    function registry() external view returns (ICommitteeRegistry);

    /// @notice Checks a certificate against the registry and records it.
    function record(Certificate calldata certificate) external returns (bytes32 digest);

    /// @notice Checks a certificate without recording it. Reverts with the error of the rule that
    /// it breaks.
    function check(Certificate calldata certificate) external view returns (bytes32 digest);

    /// @notice Timestamp of the block that recorded the digest, or 0 if none did.
    function recordedAt(bytes32 digest) external view returns (uint64);
}
