// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {BLS12381} from "../src/libraries/BLS12381.sol";
import {BatchHeader, Certificate} from "../src/types/Certificate.sol";
import {BadPoints} from "./utils/BadPoints.sol";
import {Fixture} from "./utils/Fixture.sol";
import {Signer} from "./utils/Signer.sol";
import {vm} from "./utils/Vm.sol";

/// @title A certificate as evidence: answers that neither time nor gas changes
contract IsSignedTest is Fixture {
    uint256 private constant N = 7;

    uint64 private epoch;

    function setUp() public override {
        super.setUp();
        epoch = openUsual(N);
    }

    // True

    function testCertificatesAreSigned() public view {
        yes(certified(""));
        yes(certified(hex"0006"));
        for (uint8 kind = 0; kind <= 2; ++kind) {
            BatchHeader memory header = headerFor(epoch, N);
            header.hashKind = kind;
            header.payloadLength = kind == 0 ? 1 : 64 << 20;
            yes(certify(header, N, hex"03"));
        }
    }

    function testTimePauseAndGraceChangeNothing() public {
        Certificate memory certificate = certified(hex"02");
        yes(certificate);
        vm.prank(OWNER);
        registry.pause();
        open(operatorsOf(0, N), 3, 5);
        // Beyond the grace, and beyond expiry.
        vm.warp(START + DELAY + GRACE + RETENTION + 1);
        yes(certificate);
        vm.expectRevert();
        log.check{gas: 4_000_000}(certificate);
    }

    function testAPendingEpochHasSignedToo() public {
        uint64 next = open(operatorsOf(0, N), 3, 5);
        yes(certify(headerFor(next, N), N, ""));
    }

    // False

    function testHeadersThatNoCertificateHas() public view {
        BatchHeader memory header = headerFor(epoch, N);
        header.hashKind = 3;
        no(certify(header, N, ""), "hashKind");
        header = headerFor(epoch, N);
        header.payloadLength = 0;
        no(certify(header, N, ""), "no payload");
        header.payloadLength = (64 << 20) + 1;
        no(certify(header, N, ""), "payload too long");
        uint256[4] memory lengths = [uint256(0), 16, 31, 48];
        for (uint256 i = 0; i < lengths.length; ++i) {
            header = headerFor(epoch, N);
            header.payloadFingerprint = new bytes(lengths[i]);
            no(certify(header, N, ""), "fingerprint");
        }
        uint64[3] memory epochs = [uint64(0), 2, type(uint64).max];
        for (uint256 i = 0; i < epochs.length; ++i) {
            no(certify(headerFor(epochs[i], N), N, ""), "epoch");
        }
    }

    function testAbsentSeatsThatNoCertificateHas() public view {
        bytes[7] memory lists =
            [bytes(hex"000102"), hex"0100", hex"0101", hex"07", hex"00ff", hex"00010203040506", new bytes(256)];
        for (uint256 i = 0; i < lists.length; ++i) {
            Certificate memory certificate = certified("");
            certificate.absent = lists[i];
            certificate.signature = certify(certificate.header, N, hex"0001").signature;
            no(certificate, "absent seats");
        }
        Certificate memory other = certified(hex"01");
        other.absent = hex"02";
        no(other, "another seat is absent");
    }

    function testSignaturesThatNoCertificateHas() public view {
        Certificate memory certificate = certified("");
        bytes memory good = certificate.signature;
        bytes[7] memory bad = [
            new bytes(128),
            BadPoints.offCurve(good),
            BadPoints.notCanonical(good),
            BadPoints.dirtyPadding(good),
            BadPoints.g1OutsideSubgroup(),
            certified(hex"01").signature,
            new bytes(96)
        ];
        for (uint256 i = 0; i < bad.length; ++i) {
            certificate.signature = bad[i];
            no(certificate, "signature");
        }
    }

    function testEveryFieldIsSigned() public view {
        Certificate memory certificate = certified("");
        bytes memory encoded = abi.encode(certificate);
        // The last bits of rollup, number, expiry, length, hash, roots and fingerprint; their sum
        // of signatures stays.
        uint256[8] memory words = [uint256(4), 5, 7, 8, 10, 11, 12, 15];
        for (uint256 i = 0; i < words.length; ++i) {
            bytes memory changed = bytes.concat(encoded);
            changed[32 * words[i] + 31] ^= 0x01;
            no(changed, "a field");
        }
    }

    /// @dev Three keys that add up to infinity, each of which passed registration.
    function testSignersWhoseKeysAddUpToInfinity() public {
        uint256 sum = addmod(Signer.secret(20), Signer.secret(21), Signer.ORDER);
        registerWith(operatorOf(20), Signer.secret(20));
        registerWith(operatorOf(21), Signer.secret(21));
        registerWith(operatorOf(22), Signer.ORDER - sum);
        uint64 next = open(operatorsOf(20, 3), 1, 3);
        Certificate memory certificate = certify(headerFor(next, 3), 3, "");
        no(certificate, "another point");
        certificate.signature = new bytes(128);
        no(certificate, "infinity");
    }

    // Bytes that are no certificate

    function testBytesThatAreNoCertificate() public view {
        no("", "nothing");
        no(hex"00", "one byte");
        no(new bytes(17 * 32), "zeros");
        no(new bytes(100_000), "many zeros");
        bytes memory ones = new bytes(1000);
        for (uint256 i = 0; i < ones.length; ++i) {
            ones[i] = 0xff;
        }
        no(ones, "ones");
        bytes memory encoded = abi.encode(certified(hex"0106"));
        no(bytes.concat(encoded, hex"00"), "a byte too many");
        no(bytes.concat(encoded, bytes32(0)), "a word too many");
        no(abi.encode(encoded), "wrapped once more");
    }

    function testEveryPrefixIsNoCertificate() public view {
        bytes memory encoded = abi.encode(certified(hex"0106"));
        for (uint256 length = encoded.length; length > 0; --length) {
            assembly ("memory-safe") {
                mstore(encoded, sub(length, 1))
            }
            no(encoded, "a prefix");
        }
    }

    /// @dev Every single bit: offsets, lengths, padding, contents.
    function testEveryBitCounts() public view {
        bytes memory encoded = abi.encode(certified(hex"0106"));
        vm.assertTrue(log.isSigned(encoded));
        for (uint256 i = 0; i < 8 * encoded.length; ++i) {
            // Of the long values in the middle, one bit a byte.
            if (i % 8 != (i / 8) % 8) continue;
            encoded[i / 8] ^= bytes1(uint8(1 << (i % 8)));
            no(encoded, vm.toString(i));
            encoded[i / 8] ^= bytes1(uint8(1 << (i % 8)));
        }
        vm.assertTrue(log.isSigned(encoded));
    }

    /// @dev What an ABI decoder takes, and the log's calldata rule does not see: padding that is
    /// not zero, and two offsets that meet.
    function testTheEncodingIsTheOnlyOne() public view {
        bytes memory encoded = abi.encode(certified(hex"0106"));
        bytes memory changed = bytes.concat(encoded);
        // The last byte of the word of absent seats.
        changed[encoded.length - 128 - 32 - 1] = 0x01;
        no(changed, "padding");
        changed = bytes.concat(encoded);
        // The signature's offset, where the absent seats' is.
        changed[32 + 95] = changed[32 + 63];
        changed[32 + 94] = changed[32 + 62];
        no(changed, "offsets that meet");
    }

    // Gas

    /// @dev At every limit from nothing to more than enough: the right answer, or a revert.
    function testNoGasLimitChangesTheAnswer() public view {
        Certificate memory certificate = certified(hex"0106");
        sweep(abi.encode(certificate), true);
        certificate.header.batchNumber += 1;
        sweep(abi.encode(certificate), false);
        certificate.header.batchNumber -= 1;
        certificate.signature = BadPoints.offCurve(certificate.signature);
        sweep(abi.encode(certificate), false);
        certificate.signature = BadPoints.g1OutsideSubgroup();
        sweep(abi.encode(certificate), false);
    }

    function testTheStatedGasIsEnoughForTheLargestCommittee() public {
        register(0, 256);
        vm.warp(START + DELAY);
        uint64 large = open(operatorsOf(0, 256), 1, 1);
        bytes memory absent = new bytes(255);
        for (uint256 i = 0; i < 255; ++i) {
            absent[i] = bytes1(uint8(i + 1));
        }
        Certificate memory certificate = certify(headerFor(large, 256), 256, absent);
        vm.assertTrue(answerWithin(abi.encode(certificate)));
        certificate.signature = BadPoints.offCurve(certificate.signature);
        vm.assertFalse(answerWithin(abi.encode(certificate)));
        certificate.signature = BadPoints.g1OutsideSubgroup();
        vm.assertFalse(answerWithin(abi.encode(certificate)));
    }

    function testTheStatedGasIsEnoughForAnyBytes() public view {
        vm.assertFalse(answerWithin(""));
        vm.assertFalse(answerWithin(new bytes(100_000)));
    }

    function testFuzzBytes(bytes memory encoded) public view {
        vm.assertFalse(answerWithin(encoded));
    }

    /// @dev Where the pairing asks for more than it did, no answer is better than a false one.
    function testANewPriceIsNoAnswer() public {
        bytes memory encoded = abi.encode(certified(""));
        vm.mockCallRevert(address(0x0f), "", "");
        (bool ok, bytes memory output) = ask(encoded, log.isSignedGas());
        vm.assertFalse(ok);
        vm.assertEq(output, abi.encodeWithSelector(BLS12381.PrecompileFailed.selector, 0x0f));
    }

    // Helpers

    function sweep(bytes memory encoded, bool right) private view {
        bool answered = false;
        for (uint256 limit = 0; limit <= 700_000; limit += 1000) {
            (bool ok, bytes memory output) = ask(encoded, limit);
            if (ok) {
                vm.assertEq(abi.decode(output, (bool)) ? 1 : 0, right ? 1 : 0, vm.toString(limit));
                answered = true;
            } else {
                vm.assertFalse(answered, "more gas, and no answer");
            }
        }
        vm.assertTrue(answered);
    }

    function ask(bytes memory encoded, uint256 limit) private view returns (bool ok, bytes memory output) {
        return address(log).staticcall{gas: limit}(abi.encodeCall(log.isSigned, (encoded)));
    }

    function answerWithin(bytes memory encoded) private view returns (bool) {
        (bool ok, bytes memory output) = ask(encoded, log.isSignedGas());
        vm.assertTrue(ok, "it reverted");
        return abi.decode(output, (bool));
    }

    function yes(Certificate memory certificate) private view {
        vm.assertTrue(log.isSigned(abi.encode(certificate)));
    }

    function no(Certificate memory certificate, string memory why) private view {
        no(abi.encode(certificate), why);
    }

    function no(bytes memory encoded, string memory why) private view {
        vm.assertFalse(log.isSigned(encoded), why);
    }

    function certified(bytes memory absent) private view returns (Certificate memory) {
        return certify(headerFor(epoch, N), N, absent);
    }
}
