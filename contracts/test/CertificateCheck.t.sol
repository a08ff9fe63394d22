// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {CertificateLog} from "../src/CertificateLog.sol";
import {CommitteeRegistry} from "../src/CommitteeRegistry.sol";
import {ICertificateLog} from "../src/interfaces/ICertificateLog.sol";
import {ICommitteeRegistry} from "../src/interfaces/ICommitteeRegistry.sol";
import {BLS12381} from "../src/libraries/BLS12381.sol";
import {CertificateLib} from "../src/libraries/CertificateLib.sol";
import {SignatureDomain} from "../src/libraries/SignatureDomain.sol";
import {BatchHeader, Certificate, CoverageRenewal, RenewalCertificate} from "../src/types/Certificate.sol";
import {EpochRecord} from "../src/types/Committee.sol";
import {BadPoints} from "./utils/BadPoints.sol";
import {Fixture} from "./utils/Fixture.sol";
import {Signer} from "./utils/Signer.sol";
import {vm} from "./utils/Vm.sol";

/// @dev What a settlement contract does with a renewal.
contract RenewalHarness {
    ICommitteeRegistry private immutable registry;

    constructor(ICommitteeRegistry registry_) {
        registry = registry_;
    }

    function check(RenewalCertificate calldata certificate) external view returns (bytes32) {
        return CertificateLib.check(registry, certificate);
    }

    function digest(CoverageRenewal calldata renewal) external view returns (bytes32) {
        return SignatureDomain.digest(renewal, address(registry));
    }
}

/// @title Every rule of the certificate check, kept and broken
contract CertificateCheckTest is Fixture {
    uint256 private constant N = 7;
    uint256 private constant K = 3;
    uint256 private constant Q = 5;

    uint64 private epoch;

    function setUp() public override {
        super.setUp();
        epoch = openUsual(N);
    }

    // Kept

    function testAcceptsEveryoneSigning() public {
        accept(certified(""));
    }

    function testAcceptsAQuorumWithoutFirstAndLastSeat() public {
        accept(certified(hex"0006"));
    }

    function testAcceptsAllHashKindsAndPayloadBounds() public {
        for (uint8 kind = 0; kind <= 2; ++kind) {
            BatchHeader memory header = headerFor(epoch, N);
            header.hashKind = kind;
            header.payloadLength = kind == 0 ? 1 : 64 << 20;
            accept(certify(header, N, ""));
        }
    }

    function testAcceptsUntilTheLastSecond() public {
        BatchHeader memory header = headerFor(epoch, N);
        header.expiresAt = uint64(block.timestamp) + 1;
        accept(certify(header, N, ""));
    }

    function testAcceptsThroughGrace() public {
        Certificate memory certificate = certified("");
        address[] memory seats = operatorsOf(0, N);
        open(seats, uint16(K), uint16(Q));
        vm.warp(START + DELAY - 1 + GRACE);
        accept(certificate);
    }

    // Header

    function testRefusesUnknownHashKind() public {
        BatchHeader memory header = headerFor(epoch, N);
        header.hashKind = 3;
        refuse(certify(header, N, ""), abi.encodeWithSelector(CertificateLib.UnknownHashKind.selector, 3));
    }

    function testRefusesEmptyPayload() public {
        BatchHeader memory header = headerFor(epoch, N);
        header.payloadLength = 0;
        refuse(certify(header, N, ""), abi.encodeWithSelector(CertificateLib.PayloadLength.selector, 0, 64 << 20));
    }

    function testRefusesPayloadOver64MiB() public {
        BatchHeader memory header = headerFor(epoch, N);
        header.payloadLength = (64 << 20) + 1;
        refuse(
            certify(header, N, ""),
            abi.encodeWithSelector(CertificateLib.PayloadLength.selector, (64 << 20) + 1, 64 << 20)
        );
    }

    function testRefusesFingerprintOfAnotherLength() public {
        uint256[4] memory lengths = [uint256(0), 16, 31, 48];
        for (uint256 i = 0; i < lengths.length; ++i) {
            BatchHeader memory header = headerFor(epoch, N);
            header.payloadFingerprint = new bytes(lengths[i]);
            refuse(
                certify(header, N, ""),
                abi.encodeWithSelector(CertificateLib.PayloadFingerprintLength.selector, lengths[i], 32)
            );
        }
    }

    function testRefusesExpiryNowOrPast() public {
        for (uint64 ago = 0; ago < 2; ++ago) {
            BatchHeader memory header = headerFor(epoch, N);
            header.expiresAt = START - ago;
            refuse(
                certify(header, N, ""),
                abi.encodeWithSelector(CertificateLib.Expired.selector, START - ago, uint256(START))
            );
        }
    }

    // Epoch, chain, registry

    function testRefusesUnknownEpochs() public {
        uint64[3] memory numbers = [uint64(0), 2, type(uint64).max];
        for (uint256 i = 0; i < numbers.length; ++i) {
            refuse(
                certify(headerFor(numbers[i], N), N, ""),
                abi.encodeWithSelector(ICommitteeRegistry.UnknownEpoch.selector, numbers[i], 1)
            );
        }
    }

    function testRefusesEpochNotYetActive() public {
        open(operatorsOf(0, N), uint16(K), uint16(Q));
        Certificate memory certificate = certify(headerFor(2, N), N, "");
        vm.warp(START + DELAY - 1);
        refuse(certificate, abi.encodeWithSelector(CertificateLib.EpochNotYetActive.selector, 2, START + DELAY));
        vm.warp(START + DELAY);
        accept(certificate);
    }

    function testRefusesEpochPastItsGrace() public {
        Certificate memory certificate = certified("");
        open(operatorsOf(0, N), uint16(K), uint16(Q));
        vm.warp(START + DELAY + GRACE);
        refuse(
            certificate,
            abi.encodeWithSelector(CertificateLib.EpochNoLongerPostable.selector, 1, START + DELAY - 1 + GRACE)
        );
    }

    function testRefusesSignatureOfAnotherEpoch() public {
        open(operatorsOf(0, N), uint16(K), uint16(Q));
        vm.warp(START + DELAY);
        Certificate memory certificate = certified("");
        certificate.header.epoch = 2;
        refuseSignature(certificate);
    }

    function testRefusesSignatureForAnotherChain() public {
        Certificate memory certificate = certified("");
        vm.chainId(1);
        refuseSignature(certificate);
        vm.chainId(31_337);
        accept(certificate);
    }

    function testRefusesSignatureForAnotherRegistry() public {
        Certificate memory certificate = certified("");
        registry = new CommitteeRegistry(OWNER, DELAY, GRACE);
        log = new CertificateLog(registry);
        openUsual(N);
        refuseSignature(certificate);
    }

    function testRefusesEveryChangedHeaderField() public {
        bytes memory signature = certified("").signature;
        for (uint256 field = 0; field < 9; ++field) {
            BatchHeader memory header = headerFor(epoch, N);
            if (field == 0) header.rollup = address(1);
            else if (field == 1) header.batchNumber += 1;
            else if (field == 2) header.expiresAt += 1;
            else if (field == 3) header.payloadLength -= 1;
            else if (field == 4) header.hashKind = 1;
            else if (field == 5) header.batchHash = 0;
            else if (field == 6) header.shardRoot = 0;
            else if (field == 7) header.fingerprintsHash = 0;
            else header.payloadFingerprint[31] ^= 0x80;
            refuseSignature(Certificate({header: header, absent: "", signature: signature}));
        }
    }

    // Absent seats

    function testRefusesTooFewSigners() public {
        refuse(certified(hex"000102"), abi.encodeWithSelector(CertificateLib.TooFewSigners.selector, 4, Q));
    }

    function testRefusesNobodySigning() public {
        Certificate memory certificate = certified(hex"0001");
        certificate.absent = hex"00010203040506";
        refuse(certificate, abi.encodeWithSelector(CertificateLib.TooFewSigners.selector, 0, Q));
        certificate.absent = new bytes(256);
        refuse(certificate, abi.encodeWithSelector(CertificateLib.TooFewSigners.selector, 0, Q));
    }

    function testRefusesDuplicateAbsentSeat() public {
        Certificate memory certificate = certified(hex"03");
        certificate.absent = hex"0303";
        refuse(certificate, abi.encodeWithSelector(CertificateLib.AbsentSeatsNotAscending.selector, 3, 3));
    }

    function testRefusesUnsortedAbsentSeats() public {
        Certificate memory certificate = certified(hex"0204");
        certificate.absent = hex"0402";
        refuse(certificate, abi.encodeWithSelector(CertificateLib.AbsentSeatsNotAscending.selector, 2, 4));
    }

    function testRefusesAbsentSeatOutOfRange() public {
        Certificate memory certificate = certified(hex"02");
        certificate.absent = hex"0207";
        refuse(certificate, abi.encodeWithSelector(CertificateLib.AbsentSeatOutOfRange.selector, 7, N));
        certificate.absent = hex"02ff";
        refuse(certificate, abi.encodeWithSelector(CertificateLib.AbsentSeatOutOfRange.selector, 255, N));
    }

    function testRefusesTrailingByteInAbsent() public {
        Certificate memory certificate = certified(hex"02");
        certificate.absent = hex"0200";
        refuse(certificate, abi.encodeWithSelector(CertificateLib.AbsentSeatsNotAscending.selector, 0, 2));
    }

    function testRefusesAnAbsentSetThatIsNotTheSigned() public {
        Certificate memory certificate = certified(hex"02");
        certificate.absent = hex"03";
        refuseSignature(certificate);
        certificate.absent = "";
        refuseSignature(certificate);
        certificate.absent = hex"0203";
        refuseSignature(certificate);
    }

    /// @dev All strictly ascending sets are accepted exactly when they leave a quorum; all else is
    /// refused.
    function testFuzzAbsentRules(bytes calldata raw) public view {
        bytes memory absent = raw.length > 9 ? raw[:9] : raw;
        for (uint256 i = 0; i < absent.length; ++i) {
            // Mostly seats that exist, so that the rules meet.
            absent[i] = bytes1(uint8(absent[i]) % 9);
        }
        checkAbsentRules(absent);
    }

    function testFuzzAscendingAbsentSeats(uint256 bits) public view {
        uint256 count = 0;
        for (uint256 seat = 0; seat < N + 1; ++seat) {
            count += (bits >> seat) & 1;
        }
        bytes memory absent = new bytes(count);
        count = 0;
        for (uint256 seat = 0; seat < N + 1; ++seat) {
            if ((bits >> seat) & 1 == 1) absent[count++] = bytes1(uint8(seat));
        }
        checkAbsentRules(absent);
    }

    function checkAbsentRules(bytes memory absent) private view {
        bool ascending = true;
        bool inRange = true;
        for (uint256 i = 0; i < absent.length; ++i) {
            if (i > 0 && absent[i] <= absent[i - 1]) ascending = false;
            if (uint8(absent[i]) >= N) inRange = false;
        }
        bool expected = ascending && inRange && absent.length <= N - Q;
        Certificate memory certificate = certified(ascending && inRange ? absent : bytes(""));
        certificate.absent = absent;
        try log.check{gas: 1_000_000}(certificate) {
            vm.assertTrue(expected, "accepted a broken absent set");
        } catch (bytes memory reason) {
            vm.assertFalse(expected, "refused a good absent set");
            bytes4 rule = bytes4(reason);
            vm.assertTrue(
                (rule == CertificateLib.TooFewSigners.selector && absent.length > N - Q)
                    || (rule == CertificateLib.AbsentSeatsNotAscending.selector && !ascending)
                    || (rule == CertificateLib.AbsentSeatOutOfRange.selector && !inRange),
                "refused by the wrong rule"
            );
        }
    }

    // Signature

    function testRefusesSignatureOfAnotherLength() public {
        bytes memory good = certified("").signature;
        bytes[5] memory bad =
            [bytes(""), hex"00", new bytes(127), bytes.concat(good, hex"00"), bytes.concat(good, good)];
        for (uint256 i = 0; i < bad.length; ++i) {
            Certificate memory certificate = certified("");
            certificate.signature = bad[i];
            refuse(certificate, abi.encodeWithSelector(CertificateLib.SignatureLength.selector, bad[i].length, 128));
        }
    }

    function testRefusesInfinity() public {
        Certificate memory certificate = certified("");
        certificate.signature = new bytes(128);
        refuse(certificate, abi.encodeWithSelector(CertificateLib.SignatureIsInfinity.selector));
    }

    function testRefusesBadSignaturePoints() public {
        Certificate memory certificate = certified("");
        bytes memory good = certificate.signature;
        bytes[4] memory bad = [
            BadPoints.g1OutsideSubgroup(),
            BadPoints.offCurve(good),
            BadPoints.notCanonical(good),
            BadPoints.dirtyPadding(good)
        ];
        for (uint256 i = 0; i < bad.length; ++i) {
            certificate.signature = bad[i];
            refuse(certificate, abi.encodeWithSelector(CertificateLib.InvalidSignaturePoint.selector));
        }
    }

    function testRefusesSignatureUnderThePossessionTag() public {
        Certificate memory certificate = certified("");
        bytes32 digest = digests.digest(certificate.header, address(registry));
        certificate.signature = Signer.sign(signersSecret(N, ""), digest, SignatureDomain.POSSESSION_DST);
        refuseSignature(certificate);
    }

    function testRefusesNegatedSignature() public {
        Certificate memory certificate = certified("");
        bytes32 digest = digests.digest(certificate.header, address(registry));
        certificate.signature = Signer.sign(Signer.ORDER - signersSecret(N, ""), digest, SignatureDomain.SIGNATURE_DST);
        refuseSignature(certificate);
    }

    /// @dev Two keys of one owner may cancel out; then infinity would be everybody's signature.
    function testRefusesSignersWhoseKeysCancelOut() public {
        // Three of four: the registry sees a pair of opposed keys, and no longer relation.
        uint256 sum = addmod(Signer.secret(1000), Signer.secret(1001), Signer.ORDER);
        address[] memory seats = operatorsOf(1000, 4);
        registerWith(seats[0], Signer.secret(1000));
        registerWith(seats[1], Signer.secret(1001));
        registerWith(seats[2], Signer.ORDER - sum);
        registerWith(seats[3], Signer.secret(1002));
        uint64 number = open(seats, 1, 2);
        vm.warp(START + DELAY);
        Certificate memory certificate = certified("");
        certificate.header = headerFor(number, 4);
        certificate.absent = hex"03";
        refuse(certificate, abi.encodeWithSelector(CertificateLib.SignersKeyIsInfinity.selector));
    }

    // Log

    function testRecordsOnce() public {
        Certificate memory certificate = certified(hex"01");
        bytes32 digest = digests.digest(certificate.header, address(registry));
        vm.assertEq(log.recordedAt(digest), 0);
        vm.expectEmit(true, true, true, true, address(log));
        emit ICertificateLog.CertificateRecorded(
            digest,
            ROLLUP,
            certificate.header.batchNumber,
            epoch,
            certificate.header.expiresAt,
            certificate.header.payloadLength,
            certificate.header.shardRoot,
            hex"01"
        );
        vm.assertEq(log.record(certificate), digest);
        vm.assertEq(log.recordedAt(digest), START);

        // By anyone, with any set of signers: once.
        vm.warp(START + 60);
        Certificate memory other = certified(hex"02");
        other.header = certificate.header;
        other = certify(other.header, N, hex"02");
        vm.expectRevert(abi.encodeWithSelector(ICertificateLog.AlreadyRecorded.selector, digest));
        vm.prank(address(0xB0B));
        log.record(other);
        vm.assertEq(log.recordedAt(digest), START);
        vm.assertEq(log.check(other), digest);
    }

    function testPauseStopsRecordsAndNothingElse() public {
        Certificate memory certificate = certified("");
        vm.prank(OWNER);
        registry.pause();
        vm.expectRevert(ICertificateLog.RecordingPaused.selector);
        log.record(certificate);
        log.check(certificate);
        vm.prank(OWNER);
        registry.unpause();
        log.record(certificate);
    }

    function testCheckRefusesSurplusCalldataToo() public view {
        bytes memory call = abi.encodeCall(ICertificateLog.check, (certified(hex"0001")));
        (bool ok, bytes memory reason) = address(log).staticcall(bytes.concat(call, hex"00"));
        vm.assertFalse(ok);
        vm.assertEq(
            reason, abi.encodeWithSelector(ICertificateLog.CalldataLength.selector, call.length + 1, call.length)
        );
        (ok,) = address(log).staticcall(call);
        vm.assertTrue(ok);
    }

    /// @dev On a chain without EIP-2537 a call of a precompile succeeds and says nothing. Each of
    /// them is missed by itself.
    function testAnEmptyAnswerOfAPrecompileIsNone() public {
        Certificate memory certificate = certified(hex"0001");
        uint160[4] memory precompiles = [uint160(0x10), 0x0b, 0x0d, 0x0f];
        for (uint256 i = 0; i < 4; ++i) {
            vm.mockCall(address(precompiles[i]), "", "");
            if (i == 3) vm.expectRevert(CertificateLib.InvalidSignaturePoint.selector);
            else vm.expectRevert(abi.encodeWithSelector(BLS12381.PrecompileFailed.selector, precompiles[i]));
            log.record(certificate);
            vm.clearMockedCalls();
        }
        log.record(certificate);
    }

    function testRefusesTrailingAndMissingCalldata() public {
        bytes memory call = abi.encodeCall(ICertificateLog.record, (certified(hex"0001")));
        (bool ok, bytes memory reason) = address(log).call(bytes.concat(call, hex"00"));
        vm.assertFalse(ok);
        vm.assertEq(
            reason,
            abi.encodeWithSelector(ICertificateLog.CalldataLength.selector, call.length + 1, call.length),
            "one byte more"
        );
        (ok,) = address(log).call(bytes.concat(call, new bytes(32)));
        vm.assertFalse(ok, "one word more");
        bytes memory shorter = bytes.concat(call);
        assembly ("memory-safe") {
            mstore(shorter, sub(mload(shorter), 32))
        }
        (ok,) = address(log).call(shorter);
        vm.assertFalse(ok, "one word less");
        (ok,) = address(log).call(call);
        vm.assertTrue(ok);
    }

    function testRefusesDirtyIntegers() public {
        bytes memory call = abi.encodeCall(ICertificateLog.record, (certified("")));
        // The batch number is the header's second word: selector, offset, 3 heads, rollup.
        call[4 + 32 * 5] = 0x01;
        (bool ok,) = address(log).call(call);
        vm.assertFalse(ok);
    }

    // Renewals

    function testChecksRenewalsByTheSameRules() public {
        RenewalHarness harness = new RenewalHarness(registry);
        CoverageRenewal memory renewal =
            CoverageRenewal({rollup: ROLLUP, lastBatch: 7, expiresAt: START + RETENTION, epoch: epoch});
        bytes32 digest = harness.digest(renewal);
        RenewalCertificate memory certificate = RenewalCertificate({
            renewal: renewal,
            absent: hex"05",
            signature: Signer.sign(signersSecret(N, hex"05"), digest, SignatureDomain.SIGNATURE_DST)
        });
        vm.assertEq(harness.check(certificate), digest);

        certificate.absent = hex"050607";
        vm.expectRevert(abi.encodeWithSelector(CertificateLib.TooFewSigners.selector, 4, Q));
        harness.check(certificate);
        certificate.absent = hex"05";
        certificate.renewal.lastBatch = 8;
        vm.expectRevert(
            abi.encodeWithSelector(CertificateLib.SignatureMismatch.selector, harness.digest(certificate.renewal))
        );
        harness.check(certificate);
        certificate.renewal.lastBatch = 7;
        vm.warp(START + RETENTION);
        vm.expectRevert(
            abi.encodeWithSelector(CertificateLib.Expired.selector, START + RETENTION, uint256(START + RETENTION))
        );
        harness.check(certificate);
    }

    // Helpers

    function certified(bytes memory absent) private view returns (Certificate memory) {
        return certify(headerFor(epoch, N), N, absent);
    }

    function accept(Certificate memory certificate) private {
        bytes32 digest = digests.digest(certificate.header, address(registry));
        vm.assertEq(log.check(certificate), digest);
        log.record(certificate);
        vm.assertEq(log.recordedAt(digest), block.timestamp);
    }

    /// @dev With a million gas, so that a precompile that burns what it gets leaves enough for the
    /// typed error.
    function refuse(Certificate memory certificate, bytes memory reason) private {
        vm.expectRevert(reason);
        log.check{gas: 1_000_000}(certificate);
        vm.expectRevert(reason);
        log.record{gas: 1_000_000}(certificate);
        vm.assertEq(log.recordedAt(digests.digest(certificate.header, address(registry))), 0);
    }

    function refuseSignature(Certificate memory certificate) private {
        bytes32 digest = digests.digest(certificate.header, address(registry));
        refuse(certificate, abi.encodeWithSelector(CertificateLib.SignatureMismatch.selector, digest));
    }
}
