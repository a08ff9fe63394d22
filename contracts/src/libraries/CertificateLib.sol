// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {ICommitteeRegistry} from "../interfaces/ICommitteeRegistry.sol";
import {BatchHeader, Certificate, RenewalCertificate} from "../types/Certificate.sol";
import {EpochRecord} from "../types/Committee.sol";
import {BLS12381, G1Point, G2Point} from "./BLS12381.sol";
import {CommitteeKeys} from "./CommitteeKeys.sol";
import {SignatureDomain} from "./SignatureDomain.sol";

/// @title The certificate check of protocol section 7
/// @notice All code on L1 that relies on a certificate uses this check. Each rule has its own
/// error, and cheap rules come first. n, k and q come from the registry, never from the message.
library CertificateLib {
    error UnknownHashKind(uint8 got);
    /// @notice A payload must have 1 to `limit` bytes.
    error PayloadLength(uint64 got, uint64 limit);
    error PayloadFingerprintLength(uint256 got, uint256 expected);
    /// @notice `expiresAt` must lie in the future.
    error Expired(uint64 expiresAt, uint256 timestamp);
    error EpochNotYetActive(uint64 epoch, uint64 activeFrom);
    /// @notice The epoch was replaced and its grace is over.
    error EpochNoLongerPostable(uint64 epoch, uint64 postableUntil);
    error TooFewSigners(uint256 got, uint256 quorum);
    error AbsentSeatOutOfRange(uint256 seat, uint256 n);
    /// @notice Absent seats must be strictly ascending, but `seat` is not above the one before it.
    error AbsentSeatsNotAscending(uint256 seat, uint256 previous);
    error SignatureLength(uint256 got, uint256 expected);
    /// @notice The signature is the point at infinity.
    error SignatureIsInfinity();
    /// @notice The signers' keys add up to the point at infinity.
    error SignersKeyIsInfinity();
    /// @notice The signature is not a canonically encoded point of the subgroup.
    error InvalidSignaturePoint();
    /// @notice The signers' keys did not make this signature over `digest`.
    error SignatureMismatch(bytes32 digest);

    uint8 internal constant MAX_HASH_KIND = 2;
    uint64 internal constant MAX_PAYLOAD_LENGTH = 64 << 20;

    /// @notice Checks a batch's certificate at this block's time. Reverts with the error of the
    /// rule that it breaks.
    /// @return digest the batch's identity
    function check(ICommitteeRegistry registry, Certificate calldata certificate)
        internal
        view
        returns (bytes32 digest)
    {
        BatchHeader calldata header = certificate.header;
        digest = SignatureDomain.digest(header, address(registry));
        check(registry, header, digest, certificate.absent, certificate.signature);
    }

    /// @notice Checks a batch's certificate from its parts, for a caller that needs them earlier.
    /// @param digest digest of the header
    /// @return the terms of the header's epoch
    function check(
        ICommitteeRegistry registry,
        BatchHeader calldata header,
        bytes32 digest,
        bytes calldata absent,
        bytes calldata signature
    ) internal view returns (EpochRecord memory) {
        checkLengths(header);
        checkExpiry(header.expiresAt);
        (EpochRecord memory epoch, address keys) = committee(registry, header.epoch);
        checkFingerprint(header, epoch.n);
        checkSignature(epoch, keys, digest, absent, signature);
        return epoch;
    }

    /// @notice Checks a renewal's certificate at this block's time, by the same rules.
    /// @return digest the renewal's identity
    function check(ICommitteeRegistry registry, RenewalCertificate calldata certificate)
        internal
        view
        returns (bytes32 digest)
    {
        (EpochRecord memory epoch, address keys) = committeeOf(registry, certificate);
        digest = SignatureDomain.digest(certificate.renewal, address(registry));
        checkSignature(epoch, keys, digest, certificate.absent, certificate.signature);
    }

    /// @notice The first half of the check of a renewal: its expiry and its epoch's window.
    function committeeOf(ICommitteeRegistry registry, RenewalCertificate calldata certificate)
        internal
        view
        returns (EpochRecord memory epoch, address keys)
    {
        checkExpiry(certificate.renewal.expiresAt);
        return committee(registry, certificate.renewal.epoch);
    }

    /// @notice Checks the header's kind of hash and its payload's length.
    function checkLengths(BatchHeader calldata header) internal pure {
        if (header.hashKind > MAX_HASH_KIND) revert UnknownHashKind(header.hashKind);
        uint64 payloadLength = header.payloadLength;
        if (payloadLength == 0 || payloadLength > MAX_PAYLOAD_LENGTH) {
            revert PayloadLength(payloadLength, MAX_PAYLOAD_LENGTH);
        }
    }

    /// @notice Checks the length of the fingerprint of a batch of a committee of n seats.
    function checkFingerprint(BatchHeader calldata header, uint256 n) internal pure {
        uint256 expected = fingerprintLength(n);
        if (header.payloadFingerprint.length != expected) {
            revert PayloadFingerprintLength(header.payloadFingerprint.length, expected);
        }
    }

    /// @notice Checks the certificate of a bundle at this block's time: that its epoch is active or
    /// in its grace, and that a quorum signed. Of the batches in it, only their digests are known.
    /// @param digest digest of the bundle
    function checkBundle(
        ICommitteeRegistry registry,
        uint64 number,
        bytes32 digest,
        bytes calldata absent,
        bytes calldata signature
    ) internal view {
        (EpochRecord memory epoch, address keys) = committee(registry, number);
        checkSignature(epoch, keys, digest, absent, signature);
    }

    /// @notice Length in bytes of a fingerprint at t points in an n-seat epoch: 16t,
    /// t = ⌈(128 + n) / 106⌉.
    function fingerprintLength(uint256 n) internal pure returns (uint256) {
        return 16 * ((128 + n + 105) / 106);
    }

    function checkExpiry(uint64 expiresAt) private view {
        if (expiresAt <= block.timestamp) revert Expired(expiresAt, block.timestamp);
    }

    /// @dev Reads an epoch and checks that it is active or in its grace.
    function committee(ICommitteeRegistry registry, uint64 number)
        private
        view
        returns (EpochRecord memory epoch, address keys)
    {
        (epoch, keys) = registry.committee(number);
        if (block.timestamp < epoch.activeFrom) revert EpochNotYetActive(number, epoch.activeFrom);
        if (block.timestamp > epoch.postableUntil) revert EpochNoLongerPostable(number, epoch.postableUntil);
    }

    /// @notice Checks that a quorum of the epoch signed the digest: absent seats, then signature.
    function checkSignature(
        EpochRecord memory epoch,
        address keys,
        bytes32 digest,
        bytes calldata absent,
        bytes calldata signature
    ) internal view {
        checkAbsent(absent, epoch.n, epoch.q);
        if (signature.length != BLS12381.G1_LENGTH) revert SignatureLength(signature.length, BLS12381.G1_LENGTH);
        G1Point memory point = abi.decode(signature, (G1Point));
        if (BLS12381.isInfinity(point)) revert SignatureIsInfinity();
        G2Point memory key = CommitteeKeys.signersKey(keys, absent);
        if (BLS12381.isInfinity(key)) revert SignersKeyIsInfinity();
        (bool decided, bool valid) = BLS12381.verify(point, digest, SignatureDomain.SIGNATURE_DST, key);
        if (!decided) revert InvalidSignaturePoint();
        if (!valid) revert SignatureMismatch(digest);
    }

    /// @dev Checks that the seats are strictly ascending, below n, and few enough that a quorum
    /// signed.
    function checkAbsent(bytes calldata absent, uint256 n, uint256 q) private pure {
        uint256 signers = absent.length < n ? n - absent.length : 0;
        if (signers < q) revert TooFewSigners(signers, q);
        uint256 next = 0;
        for (uint256 i = 0; i < absent.length; ++i) {
            uint256 seat = uint8(absent[i]);
            if (seat < next) revert AbsentSeatsNotAscending(seat, next - 1);
            next = seat + 1;
        }
        // They ascend, so the last one is the greatest.
        if (next > n) revert AbsentSeatOutOfRange(next - 1, n);
    }
}
