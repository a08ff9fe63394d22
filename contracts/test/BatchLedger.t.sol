// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IBatchLedger} from "../src/interfaces/IBatchLedger.sol";
import {IBatchLedgerFactory} from "../src/interfaces/IBatchLedgerFactory.sol";
import {IBatchSequence} from "../src/interfaces/IBatchSequence.sol";
import {BundleTree} from "../src/libraries/BundleTree.sol";
import {CertificateLib} from "../src/libraries/CertificateLib.sol";
import {BatchLedger} from "../src/settlement/BatchLedger.sol";
import {BatchLedgerFactory} from "../src/settlement/BatchLedgerFactory.sol";
import {BatchBundle, BatchHeader, Certificate, RenewalCertificate} from "../src/types/Certificate.sol";
import {LedgerFixture} from "./utils/LedgerFixture.sol";
import {vm} from "./utils/Vm.sol";

/// @title A ledger: order, lifetime, bundles, look-ups; every rule kept and broken
contract BatchLedgerTest is LedgerFixture {
    // Kept

    function testAcceptsBatchesInTheirOrder() public {
        for (uint64 number = 1; number <= 3; ++number) {
            BatchHeader memory header = headerOf(number);
            bytes32 digest = digestOf(header);
            vm.expectEmit(true, true, true, true, address(home));
            emit IBatchSequence.BatchSettled(digest, number, epoch, header.expiresAt, 0, 0, 0);
            vm.expectEmit(true, true, true, true, address(home));
            emit IBatchLedger.BatchAccepted(header.batchHash, number, digest);
            home.accept(certify(header, N, hex"0105"));
            vm.assertEq(home.batchCount(), number);
        }
        vm.assertEq(home.lastSettledAt(), START);
    }

    function testAcceptsRecordedBatches() public {
        BatchHeader[] memory headers = headersFrom(1, 3);
        for (uint256 i = 0; i < 3; ++i) {
            log.record(certify(headers[i], N, ""));
        }
        home.acceptRecorded(headers);
        vm.assertEq(home.batchCount(), 3);
    }

    /// @dev Its own batches among others', of which its digests are scattered.
    function testAcceptsBundledBatches() public {
        for (uint256 count = 1; count <= 9; ++count) {
            uint64 first = home.batchCount() + 1;
            BatchHeader[] memory headers = headersFrom(first, count);
            acceptBundle(bundled(headers, 20));
            vm.assertEq(home.batchCount(), first - 1 + count);
        }
    }

    function testAnyoneAcceptsOnceRecordedBeyondGrace() public {
        BatchHeader[] memory headers = headersFrom(1, 2);
        Bundled memory all = bundled(headers, 3);
        record(all);
        open(operatorsOf(0, N), K, Q);
        vm.warp(START + DELAY + GRACE);
        vm.prank(address(0xB0B));
        submit(all);
        vm.assertEq(home.batchCount(), 2);
    }

    // Order, rollup, lifetime: each way to accept

    function testRefusesAGap() public {
        bytes memory reason = abi.encodeWithSelector(IBatchSequence.BatchNumberSkipped.selector, 2, 1);
        refuseEveryWay(headerOf(2), reason);
    }

    function testRefusesReplay() public {
        home.accept(certify(headerOf(1), N, ""));
        refuseEveryWay(headerOf(1), abi.encodeWithSelector(IBatchSequence.BatchAlreadySettled.selector, 1, 1));
    }

    function testRefusesAnotherRollup() public {
        BatchHeader memory header = headerOf(1);
        header.rollup = ROLLUP;
        refuseEveryWay(header, abi.encodeWithSelector(IBatchSequence.WrongRollup.selector, ROLLUP, address(home)));
    }

    function testRefusesALifeTooShort() public {
        BatchHeader memory header = headerOf(1);
        header.expiresAt = START + LIFETIME - 1;
        bytes memory reason =
            abi.encodeWithSelector(IBatchSequence.LifetimeTooShort.selector, header.expiresAt, START + LIFETIME);
        refuseEveryWay(header, reason);
        header.expiresAt = START + LIFETIME;
        home.accept(certify(header, N, ""));
    }

    function testRefusesAnExpiredBatch() public {
        BatchHeader[] memory headers = headersFrom(1, 1);
        Bundled memory all = bundled(headers, 3);
        record(all);
        uint64 later = headers[0].expiresAt + 1;
        vm.warp(later);
        vm.expectRevert(
            abi.encodeWithSelector(IBatchSequence.LifetimeTooShort.selector, headers[0].expiresAt, later + LIFETIME)
        );
        submit(all);
    }

    function testRefusesAGapWithinAList() public {
        BatchHeader[] memory headers = headersFrom(1, 2);
        headers[1].batchNumber = 3;
        Bundled memory all = bundled(headers, 5);
        record(all);
        bytes memory reason = abi.encodeWithSelector(IBatchSequence.BatchNumberSkipped.selector, 3, 2);
        vm.expectRevert(reason);
        submit(all);
        for (uint256 i = 0; i < 2; ++i) {
            log.record(certify(headers[i], N, ""));
        }
        vm.expectRevert(reason);
        home.acceptRecorded(headers);
        vm.assertEq(home.batchCount(), 0);
    }

    function testRefusesEmptyLists() public {
        vm.expectRevert(IBatchLedger.NoBatches.selector);
        home.acceptRecorded(new BatchHeader[](0));
        BatchBundle memory bundle;
        vm.expectRevert(IBatchLedger.NoBatches.selector);
        home.acceptBundled(new BatchHeader[](0), bundle, new uint256[](0), new uint256[](0), new bytes32[](0));
    }

    // Certificates and records

    function testRefusesBadCertificates() public {
        Certificate memory certificate = certify(headerOf(1), N, "");
        certificate.absent = hex"000102";
        vm.expectRevert(abi.encodeWithSelector(CertificateLib.TooFewSigners.selector, 4, Q));
        home.accept(certificate);
    }

    function testRefusesWhatIsNotRecorded() public {
        BatchHeader[] memory headers = headersFrom(1, 1);
        bytes32 digest = digestOf(headers[0]);
        vm.expectRevert(abi.encodeWithSelector(IBatchSequence.NotRecorded.selector, digest));
        home.acceptRecorded(headers);
        Bundled memory all = bundled(headers, 3);
        vm.expectRevert(abi.encodeWithSelector(IBatchSequence.NotRecorded.selector, bundleDigest(all.bundle)));
        submit(all);
    }

    // Bundles

    function testRefusesAHeaderThatIsNotInTheBundle() public {
        Bundled memory all = bundled(headersFrom(1, 2), 6);
        record(all);
        all.headers[1].payloadLength += 1;
        vm.expectPartialRevert(IBatchSequence.NotInBundle.selector);
        submit(all);
    }

    function testRefusesAnotherPlace() public {
        Bundled memory all = bundled(headersFrom(1, 2), 6);
        record(all);
        (all.ascending[0], all.ascending[1]) = (all.ascending[1], all.ascending[0]);
        vm.expectPartialRevert(IBatchSequence.NotInBundle.selector);
        submit(all);
        // One header twice does not stand for two.
        all.ascending[0] = all.ascending[1];
        vm.expectPartialRevert(IBatchSequence.NotInBundle.selector);
        submit(all);
        all.ascending[0] = 2;
        vm.expectRevert(abi.encodeWithSelector(IBatchLedger.PositionOutOfRange.selector, 2, 2));
        submit(all);
    }

    function testRefusesIndicesOutOfOrderOrRange() public {
        Bundled memory all = bundled(headersFrom(1, 2), 6);
        record(all);
        uint256 first = all.indices[0];
        all.indices[0] = all.indices[1];
        vm.expectRevert(abi.encodeWithSelector(BundleTree.IndicesNotAscending.selector, all.indices[1], all.indices[1]));
        submit(all);
        all.indices[0] = first;
        all.indices[1] = 8;
        vm.expectRevert(abi.encodeWithSelector(BundleTree.IndexOutOfRange.selector, 8, 8));
        submit(all);
    }

    function testRefusesListsOfOtherLengths() public {
        Bundled memory all = bundled(headersFrom(1, 2), 6);
        record(all);
        uint256[] memory one = new uint256[](1);
        vm.expectRevert(abi.encodeWithSelector(IBatchLedger.BundleLengths.selector, 2, 1, 2));
        home.acceptBundled(all.headers, all.bundle, one, all.ascending, all.proof);
        vm.expectRevert(abi.encodeWithSelector(IBatchLedger.BundleLengths.selector, 2, 2, 1));
        home.acceptBundled(all.headers, all.bundle, all.indices, one, all.proof);
        bytes32[] memory longer = new bytes32[](all.proof.length + 1);
        for (uint256 i = 0; i < all.proof.length; ++i) {
            longer[i] = all.proof[i];
        }
        vm.expectRevert(abi.encodeWithSelector(BundleTree.PathLength.selector, longer.length, all.proof.length));
        home.acceptBundled(all.headers, all.bundle, all.indices, all.ascending, longer);
    }

    /// @dev Members sign digests: only the header says its epoch.
    function testRefusesAHeaderOfAnotherEpoch() public {
        BatchHeader[] memory headers = headersFrom(1, 1);
        headers[0].epoch = epoch + 1;
        open(operatorsOf(0, N), K, Q);
        Bundled memory all = bundled(headers, 3);
        record(all);
        vm.expectRevert(abi.encodeWithSelector(IBatchSequence.NotOfBundlesEpoch.selector, epoch + 1, epoch));
        submit(all);
    }

    /// @dev What a certificate of its own would have been refused for.
    function testRefusesHeadersThatBreakTheRulesOfACertificate() public {
        BatchHeader[] memory headers = headersFrom(1, 1);
        headers[0].hashKind = 3;
        refuseBundled(headers, abi.encodeWithSelector(CertificateLib.UnknownHashKind.selector, 3));
        headers = headersFrom(1, 1);
        headers[0].payloadLength = 0;
        refuseBundled(headers, abi.encodeWithSelector(CertificateLib.PayloadLength.selector, 0, 64 << 20));
        headers = headersFrom(1, 1);
        headers[0].payloadFingerprint = new bytes(48);
        refuseBundled(headers, abi.encodeWithSelector(CertificateLib.PayloadFingerprintLength.selector, 48, 32));
    }

    // Renewals, look-ups

    function testFindsABatchByItsHash() public {
        BatchHeader memory header = headerOf(1);
        vm.assertEq(home.availableUntil(0, header.batchHash), 0);
        home.accept(certify(header, N, ""));
        vm.assertEq(home.availableUntil(0, header.batchHash), header.expiresAt);
        vm.assertEq(home.availableUntil(1, header.batchHash), 0, "another kind");

        // The same hash again, for a shorter time: what lives longer counts.
        BatchHeader memory second = headerOf(2);
        second.batchHash = header.batchHash;
        second.expiresAt = header.expiresAt - 1 days;
        home.accept(certify(second, N, ""));
        vm.assertEq(home.availableUntil(0, header.batchHash), header.expiresAt);
        second = headerOf(3);
        second.batchHash = header.batchHash;
        second.expiresAt = header.expiresAt + 1 days;
        home.accept(certify(second, N, ""));
        vm.assertEq(home.availableUntil(0, header.batchHash), header.expiresAt + 1 days);
    }

    function testRenewalsMakeItAvailableLonger() public {
        BatchHeader memory first = headerOf(1);
        home.accept(certify(first, N, ""));
        uint64 until = first.expiresAt + 20 days;
        RenewalCertificate memory renewal = renewalOf(1, until, epoch);
        bytes32 digest = harness.digest(renewal.renewal, address(registry));
        vm.assertEq(home.renewedAt(digest), 0);
        home.renewCoverage(renewal);
        vm.assertEq(home.coverageUntil(), until);
        vm.assertEq(home.availableUntil(0, first.batchHash), until);
        vm.assertEq(home.renewedAt(digest), START);
        vm.assertEq(home.renewalAbsentHash(digest), bytes24(keccak256(renewal.absent)));

        // A later batch lives as long as it says, and groups that merge shorten no promise.
        for (uint64 number = 2; number <= 6; ++number) {
            vm.warp(START + (number - 1) * LIFETIME / 3);
            BatchHeader memory header = headerOf(number);
            header.expiresAt = first.expiresAt + number;
            home.accept(certify(header, N, ""));
            vm.assertEq(home.availableUntil(0, header.batchHash), header.expiresAt);
            vm.assertEq(home.availableUntil(0, first.batchHash), until);
        }
        vm.assertTrue(home.coverageMark() >= 1);
        vm.assertEq(home.coverageUntil(), first.expiresAt + 2);
    }

    function testALedgerWithoutLookups() public {
        BatchLedger plain = BatchLedger(address(factory.deploy(1, "plain", LIFETIME, false)));
        vm.assertFalse(plain.lookups());
        BatchHeader memory header = headerOf(1);
        header.rollup = address(plain);
        plain.accept(certify(header, N, ""));
        vm.expectRevert(IBatchLedger.NoLookups.selector);
        plain.availableUntil(0, header.batchHash);
    }

    // Factory

    function testTheAddressIsKnownBefore() public {
        address expected = factory.ledgerOf(42, "salt", LIFETIME, true);
        vm.assertEq(expected.code.length, 0);
        vm.expectEmit(true, true, true, true, address(factory));
        emit IBatchLedgerFactory.LedgerDeployed(expected, 42, "salt", LIFETIME, true);
        vm.prank(address(0xB0B));
        BatchLedger made = BatchLedger(address(factory.deploy(42, "salt", LIFETIME, true)));
        vm.assertEq(address(made), expected);
        vm.assertEq(address(made.log()), address(log));
        vm.assertEq(address(made.registry()), address(registry));
        vm.assertEq(made.rollupChainId(), 42);
        vm.assertEq(made.minimumLifetime(), LIFETIME);
        vm.assertTrue(made.lookups());
        vm.assertEq(made.batchCount(), 0);
        vm.expectRevert();
        factory.deploy(42, "salt", LIFETIME, true);
    }

    /// @dev Nobody occupies a team's address with other terms.
    function testEveryTermIsInTheAddress() public {
        address[5] memory all = [
            factory.ledgerOf(42, "salt", LIFETIME, true),
            factory.ledgerOf(43, "salt", LIFETIME, true),
            factory.ledgerOf(42, "pepper", LIFETIME, true),
            factory.ledgerOf(42, "salt", LIFETIME + 1, true),
            factory.ledgerOf(42, "salt", LIFETIME, false)
        ];
        for (uint256 i = 0; i < 5; ++i) {
            for (uint256 j = 0; j < i; ++j) {
                vm.assertTrue(all[i] != all[j]);
            }
        }
    }

    function testRefusesLifetimesOutOfRange() public {
        uint64[4] memory lifetimes = [uint64(0), 2, 365 days + 1, type(uint64).max];
        for (uint256 i = 0; i < 4; ++i) {
            vm.expectRevert(
                abi.encodeWithSelector(IBatchLedgerFactory.LifetimeOutOfRange.selector, lifetimes[i], 3, 365 days)
            );
            factory.deploy(1, "salt", lifetimes[i], true);
        }
    }

    /// @dev The code that clones run is no ledger.
    function testTheImplementationAcceptsNothing() public {
        BatchLedger code = BatchLedger(factory.implementation());
        BatchHeader memory header = headerOf(1);
        header.rollup = address(code);
        Certificate memory certificate = certify(header, N, "");
        vm.expectRevert();
        code.accept(certificate);
    }

    // Helpers

    function refuseEveryWay(BatchHeader memory header, bytes memory reason) private {
        Certificate memory certificate = certify(header, N, "");
        vm.expectRevert(reason);
        home.accept(certificate);
        BatchHeader[] memory headers = new BatchHeader[](1);
        headers[0] = header;
        log.record(certificate);
        vm.expectRevert(reason);
        home.acceptRecorded(headers);
        refuseBundled(headers, reason);
    }

    function refuseBundled(BatchHeader[] memory headers, bytes memory reason) private {
        Bundled memory all = bundled(headers, 5);
        record(all);
        vm.expectRevert(reason);
        submit(all);
    }
}
