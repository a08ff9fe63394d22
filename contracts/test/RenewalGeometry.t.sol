// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IBatchSequence} from "../src/interfaces/IBatchSequence.sol";
import {BatchHeader, RenewalCertificate} from "../src/types/Certificate.sol";
import {LedgerFixture} from "./utils/LedgerFixture.sol";
import {vm} from "./utils/Vm.sol";

/// @title Who can renew: a committee of the batches' own n and k, as many as their quorum
contract RenewalGeometryTest is LedgerFixture {
    uint64 private until;

    function setUp() public override {
        super.setUp();
        home.accept(certify(headerOf(1), N, ""));
        until = START + RETENTION + 10 days;
    }

    function testTheCommitteeIsKept() public {
        (uint16 n, uint16 k, uint16 q) = home.coverageGeometry();
        vm.assertEq(n, N);
        vm.assertEq(k, K);
        vm.assertEq(q, Q);
    }

    /// @dev Two promises renew nothing that takes three shards.
    function testASmallerCommitteeRenewsNothing() public {
        uint64 next = open(operatorsOf(0, 4), 1, 2);
        vm.warp(START + DELAY);
        refuse(next, 4, 1);
    }

    function testAnotherKRenewsNothing() public {
        uint64 next = open(operatorsOf(0, N), K - 1, Q);
        vm.warp(START + DELAY);
        refuse(next, N, K - 1);
    }

    /// @dev Strangers of other n and k, who never saw a shard.
    function testStrangersRenewNothing() public {
        register(20, 3);
        uint64 next = open(operatorsOf(20, 3), 1, 2);
        vm.warp(START + DELAY);
        refuse(next, 3, 1);
    }

    /// @dev The former committee still holds its shards, and may sign until its grace ends.
    function testTheFormerCommitteeRenewsInItsGrace() public {
        open(operatorsOf(0, 4), 1, 2);
        vm.warp(START + DELAY + GRACE - 1);
        home.renewCoverage(renewalOf(1, until, epoch));
        vm.assertEq(home.coverageUntil(), until);
    }

    /// @dev Batches of several n or k: nobody holds shards of all, and no group can be told apart.
    function testBatchesOfSeveralCommitteesAreRenewedByNone() public {
        uint64 next = open(operatorsOf(0, 4), 1, 2);
        vm.warp(START + DELAY);
        BatchHeader memory header = headerOf(2);
        header.epoch = next;
        home.accept(certify(header, 4, ""));
        refuse(next, 0, 0);
        RenewalCertificate memory former = renewalOf(1, until, epoch);
        vm.expectRevert(abi.encodeWithSelector(IBatchSequence.RenewalGeometry.selector, N, K, 0, 0));
        home.renewCoverage(former);
        // And it stays so with batches of the first kind.
        header = headerOf(3);
        home.accept(certify(header, N, ""));
        former = renewalOf(3, until, epoch);
        vm.expectRevert(abi.encodeWithSelector(IBatchSequence.RenewalGeometry.selector, N, K, 0, 0));
        home.renewCoverage(former);
    }

    /// @dev A quorum that was lowered since does not lower what a renewal takes.
    function testAsManySignAsCertified() public {
        uint64 next = open(operatorsOf(0, N), K, K);
        vm.warp(START + DELAY);
        RenewalCertificate memory renewal = renewalOf(1, until, next, hex"00020406");
        vm.expectRevert(abi.encodeWithSelector(IBatchSequence.RenewalQuorum.selector, 3, Q));
        home.renewCoverage(renewal);
        renewal = renewalOf(1, until, next, hex"000204");
        vm.expectRevert(abi.encodeWithSelector(IBatchSequence.RenewalQuorum.selector, 4, Q));
        home.renewCoverage(renewal);
        home.renewCoverage(renewalOf(1, until, next, hex"0002"));
        vm.assertEq(home.coverageUntil(), until);
    }

    /// @dev The greatest quorum of all settled batches counts.
    function testALaterGreaterQuorumCounts() public {
        uint64 next = open(operatorsOf(0, N), K, 6);
        vm.warp(START + DELAY);
        BatchHeader memory header = headerOf(2);
        header.epoch = next;
        home.accept(certify(header, N, ""));
        (,, uint16 q) = home.coverageGeometry();
        vm.assertEq(q, 6);
        RenewalCertificate memory renewal = renewalOf(2, until, epoch, hex"0002");
        vm.expectRevert(abi.encodeWithSelector(IBatchSequence.RenewalQuorum.selector, 5, 6));
        home.renewCoverage(renewal);
        home.renewCoverage(renewalOf(2, until, next, hex"02"));
    }

    /// @dev Refused with nothing settled since: the covered values are the batches'; 0 for several.
    function refuse(uint64 number, uint256 n, uint256 k) private {
        uint64 count = home.batchCount();
        (uint256 ownN, uint256 ownK) = n == 0 ? (4, 1) : (n, k);
        (uint256 coveredN, uint256 coveredK) = n == 0 ? (0, 0) : (N, uint256(K));
        RenewalCertificate memory renewal = renewalOf(count, until, number, "");
        vm.expectRevert(abi.encodeWithSelector(IBatchSequence.RenewalGeometry.selector, ownN, ownK, coveredN, coveredK));
        home.renewCoverage(renewal);
    }
}
