// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IBatchSequence} from "../src/interfaces/IBatchSequence.sol";
import {ISettlement} from "../src/interfaces/ISettlement.sol";
import {CertificateLib} from "../src/libraries/CertificateLib.sol";
import {Coverage, CoverageState} from "../src/libraries/Coverage.sol";
import {BatchHeader, CoverageRenewal, RenewalCertificate} from "../src/types/Certificate.sol";
import {Transition} from "../src/types/Settlement.sol";
import {SettlementFixture} from "./utils/SettlementFixture.sol";
import {vm} from "./utils/Vm.sol";

/// @title Renewals on a real rollup
contract CoverageTest is SettlementFixture {
    uint64 private constant LONG = 100 days;

    function testRenewsAllBatches() public {
        settleNext();
        settleNext();
        RenewalCertificate memory certificate = renewalFor(2, START + LONG);
        vm.expectEmit(true, true, true, true, address(rollup));
        emit IBatchSequence.CoverageRenewed(
            harness.digest(certificate.renewal, address(registry)), 2, epoch, START + LONG, START + LONG
        );
        vm.prank(address(0xB0B));
        rollup.renewCoverage(certificate);
        vm.assertEq(rollup.coverageUntil(), START + LONG);
    }

    function testNeverShortens() public {
        settleNext();
        nothingRenewed(renewalFor(1, START + RETENTION - 1), START + RETENTION);
        nothingRenewed(renewalFor(1, START + RETENTION), START + RETENTION);
        rollup.renewCoverage(renewalFor(1, START + RETENTION + 1));
        vm.assertEq(rollup.coverageUntil(), START + RETENTION + 1);
    }

    function testARenewalCountsOnce() public {
        settleNext();
        RenewalCertificate memory certificate = renewalFor(1, START + LONG);
        rollup.renewCoverage(certificate);
        nothingRenewed(certificate, START + LONG);
    }

    function testRefusesRenewalsOfOthersAndOfBatchesThatDidNotSettle() public {
        settleNext();
        RenewalCertificate memory certificate = renewalFor(2, START + LONG);
        vm.expectRevert(abi.encodeWithSelector(IBatchSequence.RenewalAhead.selector, 2, 1));
        rollup.renewCoverage(certificate);
        certificate =
            signedRenewal(CoverageRenewal({rollup: ROLLUP, lastBatch: 1, expiresAt: START + LONG, epoch: epoch}), "");
        vm.expectRevert(abi.encodeWithSelector(IBatchSequence.WrongRollup.selector, ROLLUP, address(rollup)));
        rollup.renewCoverage(certificate);
    }

    function testRefusesRenewalsThatNoQuorumSigned() public {
        settleNext();
        CoverageRenewal memory renewal = renewalFor(1, START + LONG).renewal;
        RenewalCertificate memory certificate = signedRenewal(renewal, hex"000102");
        vm.expectRevert(abi.encodeWithSelector(CertificateLib.TooFewSigners.selector, 4, Q));
        rollup.renewCoverage(certificate);
        certificate = signedRenewal(renewal, hex"0001");
        certificate.renewal.expiresAt += 1;
        bytes32 digest = harness.digest(certificate.renewal, address(registry));
        vm.expectRevert(abi.encodeWithSelector(CertificateLib.SignatureMismatch.selector, digest));
        rollup.renewCoverage{gas: 1_000_000}(certificate);
        certificate.renewal.expiresAt -= 1;
        rollup.renewCoverage(certificate);

        renewal = renewalFor(1, START + 2 * LONG).renewal;
        renewal.epoch = 2;
        open(operatorsOf(0, N), K, Q);
        certificate = signedRenewal(renewal, "");
        vm.expectRevert(abi.encodeWithSelector(CertificateLib.EpochNotYetActive.selector, 2, START + DELAY));
        rollup.renewCoverage(certificate);
    }

    function testRefusesRenewalsThatExpired() public {
        settleNext();
        vm.warp(START + RETENTION + 2);
        RenewalCertificate memory certificate = renewalFor(1, START + RETENTION + 2);
        vm.expectRevert(
            abi.encodeWithSelector(
                CertificateLib.Expired.selector, START + RETENTION + 2, uint256(START + RETENTION + 2)
            )
        );
        rollup.renewCoverage(certificate);
    }

    /// @dev Where coverage keeps batches from settling, a renewal of all makes them settle again;
    /// nobody can get between.
    function testSettlingStopsForCoverageAndGoesOnAfterARenewal() public {
        uint64 leaving = FREEZE_DELAY + EXIT_WINDOW;
        settleKeptFor(leaving);
        vm.warp(START + 1);
        BatchHeader memory header = nextHeader();
        Transition memory transition = step(2);
        bytes memory proof = proofOf(header, transition);
        refuse(
            certified(header),
            transition,
            proof,
            abi.encodeWithSelector(ISettlement.CoverageTooShort.selector, START + leaving, START + 1 + leaving)
        );
        rollup.renewCoverage(renewalFor(1, START + 1 + leaving));
        rollup.settle(certified(header), transition, proof);
    }

    /// @dev Members sign for what has settled; an attacker, or a busy rollup, settles a batch
    /// whenever it can until the renewal arrives a whole period later. It still renews everything
    /// that had settled a period before it was signed.
    function testSettlingFastSpoilsNoRenewalInFlight() public {
        for (uint256 hour = 0; hour < 96; hour += 4) {
            vm.warp(START + hour * 1 hours);
            settleNext();
        }
        uint64 signedAt = rollup.batchCount();
        RenewalCertificate memory certificate = renewalFor(signedAt, START + LONG);
        uint256 start = START + 92 hours;
        vm.assertEq(rollup.lastSettledAt(), start);
        for (uint256 hour = 0; hour <= 48; hour += 3) {
            vm.warp(start + hour * 1 hours);
            settleNext();
        }
        vm.assertEq(rollup.lastSettledAt(), start + FREEZE_DELAY);
        vm.assertTrue(rollup.coverageMark() <= signedAt);
        vm.assertTrue(rollup.coverageMark() > 0);
        vm.assertEq(rollup.coverageUntil(), START + RETENTION);
        rollup.renewCoverage(certificate);
        // The least is now that of the first batch behind the mark, which settled two days after
        // the first.
        vm.assertEq(rollup.coverageUntil(), START + 48 hours + RETENTION);
    }

    /// @dev Left unsent for two periods it is of no use any more, and says so.
    function testOldRenewalsAreRefused() public {
        settleNext();
        RenewalCertificate memory certificate = renewalFor(1, START + LONG);
        for (uint256 day = 1; day <= 6; ++day) {
            vm.warp(START + day * 1 days);
            settleNext();
        }
        uint64 mark = rollup.coverageMark();
        vm.assertTrue(mark > 1);
        vm.expectRevert(abi.encodeWithSelector(IBatchSequence.RenewalTooOld.selector, 1, mark));
        rollup.renewCoverage(certificate);
    }

    function nothingRenewed(RenewalCertificate memory certificate, uint64 until) private {
        vm.expectRevert(abi.encodeWithSelector(IBatchSequence.NothingRenewed.selector, until));
        rollup.renewCoverage(certificate);
        vm.assertEq(rollup.coverageUntil(), until);
    }
}

/// @title Coverage against a model that remembers every batch
contract CoverageModelTest {
    using Coverage for CoverageState;

    uint64 private constant PERIOD = 100;
    uint40 private constant LONGEST = type(uint40).max;

    uint64[] private kept;
    /// @dev When each batch settled.
    uint256[] private settledAt;

    /// @dev Any sequence of settlements and renewals: the state never promises more than members
    /// did, and as soon as a renewal of all arrives, exactly what they did.
    function testFuzzNeverPromisesMoreThanMembersDid(uint256 seed) public {
        uint256 time = 1000;
        CoverageState memory state = Coverage.initial(time);
        for (uint256 i = 0; i < 60; ++i) {
            seed = uint256(keccak256(abi.encode(seed)));
            time += seed % 40;
            uint64 until = uint64(time + 50 + (seed >> 64) % 1000);
            if ((seed >> 32) % 3 != 0) {
                state.add(until, uint64(kept.length), time, PERIOD);
                kept.push(until);
                settledAt.push(time);
            } else {
                uint64 last = uint64((seed >> 128) % (kept.length + 1));
                if ((seed >> 40) % 3 == 0) last = uint64(kept.length);
                if (last < state.mark) continue;
                uint40 before = state.until();
                bool raised = state.renew(last, until, uint64(kept.length));
                vm.assertTrue(state.until() >= before, "shortened");
                vm.assertTrue(raised || state.until() == before, "raised and does not say so");
                for (uint256 j = 0; j < last; ++j) {
                    if (kept[j] < until) kept[j] = until;
                }
                if (last == kept.length && kept.length > 0) {
                    vm.assertTrue(state.until() >= until, "a renewal of all renews all");
                }
            }
            vm.assertTrue(state.until() <= least(kept.length), "more than members promised");
            vm.assertTrue(state.oldest <= least(state.mark), "oldest group");
            vm.assertTrue(state.mark <= state.next && state.next <= kept.length, "marks");
            // What settled less than a period ago lies behind the mark.
            if (state.mark > 0) vm.assertTrue(settledAt[state.mark - 1] + PERIOD <= time, "mark too young");
        }
    }

    /// @dev In any order, twice, or with others between: the same state, so that no renewal harms
    /// another.
    function testFuzzRenewalsCommute(uint64 a, uint64 b, uint64 untilA, uint64 untilB, uint256 seed) public pure {
        (CoverageState memory one, uint64 count) = some(seed);
        (CoverageState memory other,) = some(seed);
        a = uint64(one.mark + a % (count - one.mark + 1));
        b = uint64(one.mark + b % (count - one.mark + 1));
        one.renew(a, untilA, count);
        one.renew(b, untilB, count);
        other.renew(b, untilB, count);
        other.renew(a, untilA, count);
        vm.assertEq(abi.encode(one), abi.encode(other));
        vm.assertFalse(other.renew(b, untilB, count), "twice");
        vm.assertFalse(other.renew(a, untilA, count), "twice");
    }

    function testTimesBeyond40BitsAreTheGreatest() public pure {
        CoverageState memory state = Coverage.initial(0);
        state.add(type(uint64).max, 0, 1, PERIOD);
        vm.assertEq(state.until(), LONGEST);
        state.add(1000, 1, 2, PERIOD);
        state.renew(2, uint64(LONGEST) + 1, 2);
        vm.assertEq(state.until(), LONGEST);
    }

    function some(uint256 seed) private pure returns (CoverageState memory state, uint64 count) {
        uint256 time = 1000;
        state = Coverage.initial(time);
        for (count = 0; count < 20; ++count) {
            seed = uint256(keccak256(abi.encode(seed)));
            time += seed % 60;
            state.add(uint64(time + seed % 5000), count, time, PERIOD);
        }
    }

    function least(uint256 count) private view returns (uint40 time) {
        time = LONGEST;
        for (uint256 i = 0; i < count; ++i) {
            if (kept[i] < time) time = uint40(kept[i]);
        }
    }
}
