// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {BatchBundle, Certificate} from "../types/Certificate.sol";
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

    /// @notice The batches of a bundle were certified. Each digest says no more than that a quorum
    /// signed it in this epoch. Auditors use it to fetch the batch's record from the members.
    /// @param digest digest of the bundle, which its members signed
    /// @param digests the batches' digests, strictly ascending
    /// @param absent seats whose signatures are not in the certificate, as above
    event BundleRecorded(
        bytes32 indexed digest, uint64 indexed epoch, bytes32 indexed root, bytes32[] digests, bytes absent
    );

    /// @notice The registry's owner has paused the committee.
    error RecordingPaused();
    /// @param digest digest of the batch or of the bundle
    error AlreadyRecorded(bytes32 digest);
    /// @notice The call is not the canonical ABI encoding of its arguments: it has too many or
    /// too few bytes.
    error CalldataLength(uint256 got, uint256 expected);

    function registry() external view returns (ICommitteeRegistry);

    /// @notice Checks a certificate against the registry and records it.
    function record(Certificate calldata certificate) external returns (bytes32 digest);

    /// @notice Checks one signature over many batches of an epoch and records them together. The
    /// log never sees their headers: who relies on a batch checks its header's rules.
    /// @param digests the batches' digests, strictly ascending, 1 to 2048
    /// @return digest digest of the bundle
    function recordBundle(uint64 epoch, bytes32[] calldata digests, bytes calldata absent, bytes calldata signature)
        external
        returns (bytes32 digest);

    /// @notice Checks a certificate without recording it. Reverts with the error of the rule that
    /// it breaks.
    function check(Certificate calldata certificate) external view returns (bytes32 digest);

    /// @notice Whether a quorum signed this certificate, ignoring time, pause and grace, for
    /// disputes that are decided later. It is false for bytes that are not the one ABI encoding of
    /// a certificate, for points off the curve and the like.
    /// @dev It never answers `false` for want of gas: it reverts then. With isSignedGas() it never
    /// reverts for any bytes; a caller that must not be led astray demands that much.
    function isSigned(bytes calldata certificate) external view returns (bool);

    /// @notice Gas with which `isSigned` never reverts, at the prices of Prague and Osaka.
    function isSignedGas() external view returns (uint256);

    /// @notice Timestamp of the block that recorded the digest, of a batch or of a bundle, or 0 if
    /// none did. A batch that was recorded in a bundle alone has none: see isRecorded.
    function recordedAt(bytes32 digest) external view returns (uint64);

    /// @notice First 24 bytes of keccak256(absent) of the certificate with which a digest, of a
    /// batch or of a bundle, was recorded; zero if none was. With the list of absent seats it tells
    /// later who signed.
    function absentHash(bytes32 digest) external view returns (bytes24);

    /// @notice Timestamp of the block that recorded the bundle, or 0 if none did.
    function bundleRecordedAt(BatchBundle calldata bundle) external view returns (uint64);

    /// @notice Whether the bundle is recorded and contains the digest. It never reverts: a path
    /// that cannot be one is no proof.
    /// @param index index of the digest in the bundle, from 0
    /// @param path siblings from the leaf upwards
    function isRecorded(bytes32 digest, BatchBundle calldata bundle, uint256 index, bytes32[] calldata path)
        external
        view
        returns (bool);
}
