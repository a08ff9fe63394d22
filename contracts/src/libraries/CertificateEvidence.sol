// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {ICommitteeRegistry} from "../interfaces/ICommitteeRegistry.sol";
import {BatchHeader} from "../types/Certificate.sol";
import {EpochRecord} from "../types/Committee.sol";
import {BLS12381, G1Point, G2Point} from "./BLS12381.sol";
import {CertificateLib} from "./CertificateLib.sol";
import {CommitteeKeys} from "./CommitteeKeys.sol";
import {SignatureDomain} from "./SignatureDomain.sol";

/// @title A certificate as evidence: was it signed at some time?
/// @notice The rules of CertificateLib without those that speak of time (expiry, the epoch's
/// window), for disputes that are decided later. It answers for any bytes and reverts for want of
/// gas alone, so that who chooses the gas cannot choose the answer.
/// @dev Three things can run out of gas: code of ours, which then reverts; the registry and the
/// precompiles that cannot refuse their input, whose failure is passed on; and the pairing, which
/// burns what it is given to refuse a point. See BLS12381.verifyWithin.
library CertificateEvidence {
    /// @dev Words before the three byte strings' contents: the certificate's offset, its 3 heads,
    /// the header's 10, and three lengths.
    uint256 private constant FIXED_LENGTH = 32 * (1 + 3 + 10 + 3);
    /// @dev Where the certificate's heads begin, and its header.
    uint256 private constant HEADS_AT = 32;
    uint256 private constant HEADER_AT = 128;
    /// @dev Offset of the fingerprint, counted from the header's beginning.
    uint256 private constant FINGERPRINT_OFFSET = 10 * 32;
    /// @dev t is at most 4.
    uint256 private constant MAX_FINGERPRINT_LENGTH = 64;
    uint256 private constant MAX_ABSENT_LENGTH = 256;

    /// @param encoded the ABI encoding of one Certificate
    function isSigned(ICommitteeRegistry registry, bytes calldata encoded) internal view returns (bool) {
        (bool canonical, BatchHeader calldata header, bytes calldata absent, bytes calldata signature) = parts(encoded);
        if (!canonical || header.hashKind > CertificateLib.MAX_HASH_KIND) return false;
        uint64 payloadLength = header.payloadLength;
        if (payloadLength == 0 || payloadLength > CertificateLib.MAX_PAYLOAD_LENGTH) return false;
        return isSigned(registry, header, absent, signature);
    }

    function isSigned(
        ICommitteeRegistry registry,
        BatchHeader calldata header,
        bytes calldata absent,
        bytes calldata signature
    ) private view returns (bool) {
        uint64 number = header.epoch;
        // Without this, the registry would revert for an unknown epoch, as it does for want of gas.
        if (number == 0 || number > registry.epochCount()) return false;
        (EpochRecord memory epoch, address keys) = registry.committee(number);
        if (header.payloadFingerprint.length != CertificateLib.fingerprintLength(epoch.n)) return false;
        if (!isQuorumWithout(absent, epoch.n, epoch.q)) return false;
        return isSigned(SignatureDomain.digest(header, address(registry)), keys, absent, signature);
    }

    function isSigned(bytes32 digest, address keys, bytes calldata absent, bytes calldata signature)
        private
        view
        returns (bool)
    {
        G1Point memory point = abi.decode(signature, (G1Point));
        if (BLS12381.isInfinity(point)) return false;
        G2Point memory key = CommitteeKeys.signersKey(keys, absent);
        if (BLS12381.isInfinity(key)) return false;
        return BLS12381.verifyWithin(point, digest, SignatureDomain.SIGNATURE_DST, key);
    }

    /// @dev Splits the encoding, if it is the only one of its certificate: offsets in their order
    /// without gaps, integers within their types, zeros as padding, nothing behind.
    function parts(bytes calldata encoded)
        private
        pure
        returns (bool canonical, BatchHeader calldata header, bytes calldata absent, bytes calldata signature)
    {
        // These are empty until they are known to lie within the bytes.
        absent = encoded[0:0];
        signature = encoded[0:0];
        assembly ("memory-safe") {
            header := add(encoded.offset, HEADER_AT)
        }
        if (encoded.length < FIXED_LENGTH) return (false, header, absent, signature);

        uint256 fingerprintAt = HEADER_AT + FINGERPRINT_OFFSET;
        uint256 length = word(encoded, fingerprintAt);
        if (length > MAX_FINGERPRINT_LENGTH) return (false, header, absent, signature);
        canonical = word(encoded, 0) == HEADS_AT && word(encoded, HEADS_AT) == HEADER_AT - HEADS_AT
            && word(encoded, HEADER_AT + 9 * 32) == FINGERPRINT_OFFSET && hasTypedIntegers(encoded);

        uint256 absentAt = fingerprintAt + 32 + padded(length);
        if (encoded.length < absentAt + 64) return (false, header, absent, signature);
        canonical = canonical && isPadded(encoded, fingerprintAt, length)
            && word(encoded, HEADS_AT + 32) == absentAt - HEADS_AT;
        length = word(encoded, absentAt);
        if (length > MAX_ABSENT_LENGTH) return (false, header, absent, signature);

        uint256 signatureAt = absentAt + 32 + padded(length);
        if (encoded.length != signatureAt + 32 + BLS12381.G1_LENGTH) return (false, header, absent, signature);
        canonical = canonical && isPadded(encoded, absentAt, length)
            && word(encoded, HEADS_AT + 64) == signatureAt - HEADS_AT
            && word(encoded, signatureAt) == BLS12381.G1_LENGTH;
        absent = encoded[absentAt + 32:absentAt + 32 + length];
        signature = encoded[signatureAt + 32:];
    }

    /// @dev Whether the header's address and integers have no bit above their types.
    function hasTypedIntegers(bytes calldata encoded) private pure returns (bool) {
        uint256 above = word(encoded, HEADER_AT) >> 160;
        for (uint256 i = 1; i <= 4; ++i) {
            above |= word(encoded, HEADER_AT + 32 * i) >> 64;
        }
        return (above | (word(encoded, HEADER_AT + 32 * 5) >> 8)) == 0;
    }

    /// @dev Whether zeros follow the contents of a byte string, up to a whole word. The caller has
    /// checked that they lie within the bytes.
    /// @param place where its length stands
    function isPadded(bytes calldata encoded, uint256 place, uint256 length) private pure returns (bool) {
        uint256 used = length % 32;
        if (used == 0) return true;
        return word(encoded, place + 32 + length - used) << (8 * used) == 0;
    }

    /// @dev The checks of CertificateLib.checkAbsent.
    function isQuorumWithout(bytes calldata absent, uint256 n, uint256 q) private pure returns (bool) {
        if (absent.length + q > n) return false;
        uint256 next = 0;
        for (uint256 i = 0; i < absent.length; ++i) {
            uint256 seat = uint8(absent[i]);
            if (seat < next) return false;
            next = seat + 1;
        }
        return next <= n;
    }

    function word(bytes calldata encoded, uint256 place) private pure returns (uint256 value) {
        assembly ("memory-safe") {
            value := calldataload(add(encoded.offset, place))
        }
    }

    function padded(uint256 length) private pure returns (uint256) {
        return (length + 31) & ~uint256(31);
    }
}
