// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {CertificateLog} from "../src/CertificateLog.sol";
import {ICertificateLog} from "../src/interfaces/ICertificateLog.sol";
import {ICommitteeRegistry} from "../src/interfaces/ICommitteeRegistry.sol";
import {BundleTree} from "../src/libraries/BundleTree.sol";
import {CertificateLib} from "../src/libraries/CertificateLib.sol";
import {SignatureDomain} from "../src/libraries/SignatureDomain.sol";
import {BatchBundle, Certificate} from "../src/types/Certificate.sol";
import {BadPoints} from "./utils/BadPoints.sol";
import {Bundles} from "./utils/Bundles.sol";
import {Fixture} from "./utils/Fixture.sol";
import {vm} from "./utils/Vm.sol";

/// @title Bundles in the log: every rule kept and broken
contract BundlesTest is Fixture, Bundles {
    uint256 private constant N = 7;

    uint64 private epoch;

    function setUp() public override {
        super.setUp();
        epoch = openUsual(N);
    }

    // Kept

    function testRecordsBundlesOfEverySize() public {
        uint256[6] memory sizes = [uint256(1), 2, 3, 8, 100, 2048];
        for (uint256 i = 0; i < sizes.length; ++i) {
            bytes32[] memory list = digestsFor(sizes[i]);
            BatchBundle memory bundle = bundleOf(epoch, list);
            bytes32 digest = accept(list, hex"0105");
            vm.assertEq(digest, bundleDigest(bundle));
            vm.assertEq(log.bundleRecordedAt(bundle), START);
            vm.assertEq(log.recordedAt(digest), START);
        }
    }

    function testKeepsTheHashOfTheAbsentSeatsBesideTheTime() public {
        bytes32 digest = accept(digestsFor(5), hex"0306");
        vm.assertEq(log.absentHash(digest), bytes24(keccak256(hex"0306")));
        Certificate memory certificate = certify(headerFor(epoch, N), N, hex"02");
        digest = log.record(certificate);
        vm.assertEq(log.absentHash(digest), bytes24(keccak256(hex"02")));
        vm.assertEq(log.recordedAt(digest), START);
        vm.assertEq(log.absentHash(keccak256("never recorded")), bytes24(0));
    }

    function testRecordsThroughGrace() public {
        open(operatorsOf(0, N), 3, 5);
        vm.warp(START + DELAY - 1 + GRACE);
        accept(digestsFor(3), "");
    }

    /// @dev A single record and a bundle say the same of a batch: neither spoils the other.
    function testABatchMayBeRecordedBothWays() public {
        Certificate memory certificate = certify(headerFor(epoch, N), N, "");
        bytes32 digest = log.record(certificate);
        bytes32[] memory list = new bytes32[](1);
        list[0] = digest;
        accept(list, "");
    }

    function testEveryBatchOfABundleIsFoundByItsPath() public {
        bytes32[] memory list = digestsFor(7);
        BatchBundle memory bundle = bundleOf(epoch, list);
        vm.assertFalse(log.isRecorded(list[3], bundle, 3, path(list, 3)), "not recorded yet");
        accept(list, "");
        for (uint256 i = 0; i < list.length; ++i) {
            vm.assertTrue(log.isRecorded(list[i], bundle, i, path(list, i)));
            vm.assertEq(log.recordedAt(list[i]), 0);
        }
    }

    function testIsRecordedAnswersFalseAndNeverReverts() public {
        bytes32[] memory list = digestsFor(7);
        accept(list, "");
        BatchBundle memory bundle = bundleOf(epoch, list);
        bytes32[] memory siblings = path(list, 3);
        vm.assertTrue(log.isRecorded(list[3], bundle, 3, siblings));
        vm.assertFalse(log.isRecorded(list[2], bundle, 3, siblings), "another digest");
        vm.assertFalse(log.isRecorded(list[3], bundle, 2, siblings), "another index");
        vm.assertFalse(log.isRecorded(list[3], bundle, 7, siblings), "no such index");
        vm.assertFalse(log.isRecorded(list[3], bundle, type(uint256).max, siblings), "no such index");
        vm.assertFalse(log.isRecorded(list[3], bundle, 3, new bytes32[](2)), "a path too short");
        vm.assertFalse(log.isRecorded(list[3], bundle, 3, new bytes32[](4)), "a path too long");
        bundle.count = 8;
        vm.assertFalse(log.isRecorded(list[3], bundle, 3, siblings), "another count");
        bundle.count = 0;
        vm.assertFalse(log.isRecorded(list[3], bundle, 0, new bytes32[](0)), "no batches");
        bundle = bundleOf(epoch + 1, list);
        vm.assertFalse(log.isRecorded(list[3], bundle, 3, siblings), "another epoch");
        bundle = bundleOf(epoch, list);
        bundle.root = keccak256("root");
        vm.assertFalse(log.isRecorded(list[3], bundle, 3, siblings), "another root");
    }

    function testAnInnerNodeIsNoBatch() public {
        bytes32[] memory list = digestsFor(2);
        accept(list, "");
        BatchBundle memory bundle = bundleOf(epoch, list);
        bundle.count = 1;
        vm.assertFalse(log.isRecorded(bundle.root, bundle, 0, new bytes32[](0)));
    }

    // Broken

    function testRefusesNoBatches() public {
        bytes32[] memory list = new bytes32[](0);
        refuse(list, "", "", abi.encodeWithSelector(BundleTree.EmptyBundle.selector));
    }

    function testRefusesMoreThanTheLimit() public {
        bytes32[] memory list = digestsFor(2049);
        refuse(list, "", "", abi.encodeWithSelector(BundleTree.TooManyBatches.selector, 2049, 2048));
    }

    function testRefusesDigestsOutOfOrder() public {
        bytes32[] memory list = digestsFor(4);
        (list[1], list[2]) = (list[2], list[1]);
        refuse(list, "", "", abi.encodeWithSelector(BundleTree.DigestsNotAscending.selector, 2, list[2]));
    }

    function testRefusesADigestTwice() public {
        bytes32[] memory list = digestsFor(4);
        list[3] = list[2];
        refuse(list, "", "", abi.encodeWithSelector(BundleTree.DuplicateDigest.selector, 3, list[3]));
    }

    function testRefusesABundleTwice() public {
        bytes32[] memory list = digestsFor(4);
        bytes32 digest = accept(list, hex"01");
        refuse(
            list,
            hex"02",
            signed(epoch, list, hex"02"),
            abi.encodeWithSelector(ICertificateLog.AlreadyRecorded.selector, digest)
        );
    }

    function testRefusesWhilePaused() public {
        bytes32[] memory list = digestsFor(4);
        bytes memory signature = signed(epoch, list, "");
        vm.prank(OWNER);
        registry.pause();
        refuse(list, "", signature, abi.encodeWithSelector(ICertificateLog.RecordingPaused.selector));
    }

    function testRefusesAnotherEpochsSignature() public {
        open(operatorsOf(0, N), 3, 5);
        vm.warp(START + DELAY);
        bytes32[] memory list = digestsFor(4);
        // Signed for the first epoch, posted as the second's.
        bytes memory signature = signed(epoch, list, "");
        bytes32 digest = bundleDigest(bundleOf(epoch + 1, list));
        vm.expectRevert(abi.encodeWithSelector(CertificateLib.SignatureMismatch.selector, digest));
        log.recordBundle{gas: 4_000_000}(epoch + 1, list, "", signature);
    }

    function testRefusesEpochsThatDoNotSign() public {
        bytes32[] memory list = digestsFor(4);
        bytes memory signature = signed(epoch, list, "");
        vm.expectRevert(abi.encodeWithSelector(ICommitteeRegistry.UnknownEpoch.selector, 2, 1));
        log.recordBundle(2, list, "", signature);
        open(operatorsOf(0, N), 3, 5);
        vm.expectRevert(abi.encodeWithSelector(CertificateLib.EpochNotYetActive.selector, 2, START + DELAY));
        log.recordBundle(2, list, "", signature);
        vm.warp(START + DELAY + GRACE);
        vm.expectRevert(
            abi.encodeWithSelector(CertificateLib.EpochNoLongerPostable.selector, 1, START + DELAY + GRACE - 1)
        );
        log.recordBundle(1, list, "", signature);
    }

    function testRefusesTooFewSigners() public {
        bytes32[] memory list = digestsFor(4);
        refuse(
            list,
            hex"000102",
            signed(epoch, list, hex"000102"),
            abi.encodeWithSelector(CertificateLib.TooFewSigners.selector, 4, 5)
        );
    }

    function testRefusesAbsentSeatsOutOfOrder() public {
        bytes32[] memory list = digestsFor(4);
        refuse(
            list,
            hex"0501",
            signed(epoch, list, hex"0105"),
            abi.encodeWithSelector(CertificateLib.AbsentSeatsNotAscending.selector, 1, 5)
        );
    }

    /// @dev The signature of a header is none of a bundle that holds it alone.
    function testRefusesABatchsOwnSignature() public {
        Certificate memory certificate = certify(headerFor(epoch, N), N, "");
        bytes32[] memory list = new bytes32[](1);
        list[0] = digests.digest(certificate.header, address(registry));
        bytes32 digest = bundleDigest(bundleOf(epoch, list));
        refuse(
            list, "", certificate.signature, abi.encodeWithSelector(CertificateLib.SignatureMismatch.selector, digest)
        );
    }

    function testRefusesOneDigestLess() public {
        bytes32[] memory list = digestsFor(4);
        bytes memory signature = signed(epoch, list, "");
        bytes32[] memory fewer = digestsFor(3);
        refuse(
            fewer,
            "",
            signature,
            abi.encodeWithSelector(CertificateLib.SignatureMismatch.selector, bundleDigest(bundleOf(epoch, fewer)))
        );
    }

    function testRefusesBadSignatures() public {
        bytes32[] memory list = digestsFor(4);
        bytes memory good = signed(epoch, list, "");
        refuse(list, "", new bytes(127), abi.encodeWithSelector(CertificateLib.SignatureLength.selector, 127, 128));
        refuse(list, "", new bytes(128), abi.encodeWithSelector(CertificateLib.SignatureIsInfinity.selector));
        refuse(
            list, "", BadPoints.offCurve(good), abi.encodeWithSelector(CertificateLib.InvalidSignaturePoint.selector)
        );
    }

    function testRefusesSurplusCalldata() public {
        bytes32[] memory list = digestsFor(4);
        bytes memory call = abi.encodeCall(log.recordBundle, (epoch, list, hex"01", signed(epoch, list, hex"01")));
        (bool ok, bytes memory reason) = address(log).call(bytes.concat(call, hex"00"));
        vm.assertFalse(ok);
        vm.assertEq(
            reason, abi.encodeWithSelector(ICertificateLog.CalldataLength.selector, call.length + 1, call.length)
        );
        (ok,) = address(log).call(call);
        vm.assertTrue(ok);
    }

    // Helpers

    function accept(bytes32[] memory list, bytes memory absent) private returns (bytes32 digest) {
        bytes memory signature = signed(epoch, list, absent);
        BatchBundle memory bundle = bundleOf(epoch, list);
        vm.expectEmit(true, true, true, true, address(log));
        emit ICertificateLog.BundleRecorded(bundleDigest(bundle), epoch, bundle.root, list, absent);
        return log.recordBundle(epoch, list, absent, signature);
    }

    /// @dev With gas enough for everything, but not so much that a precompile that burns it all
    /// takes a while.
    function refuse(bytes32[] memory list, bytes memory absent, bytes memory signature, bytes memory reason) private {
        vm.expectRevert(reason);
        log.recordBundle{gas: 6_000_000}(epoch, list, absent, signature);
    }

    function signed(uint64 number, bytes32[] memory list, bytes memory absent) private view returns (bytes memory) {
        return signBundle(bundleOf(number, list), N, absent);
    }
}
