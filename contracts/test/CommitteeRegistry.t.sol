// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {Ownable} from "@openzeppelin/contracts/access/Ownable.sol";
import {Pausable} from "@openzeppelin/contracts/utils/Pausable.sol";
import {CommitteeRegistry} from "../src/CommitteeRegistry.sol";
import {Guarded} from "../src/Guarded.sol";
import {ICommitteeRegistry} from "../src/interfaces/ICommitteeRegistry.sol";
import {BLS12381, G2Point} from "../src/libraries/BLS12381.sol";
import {CommitteeKeys} from "../src/libraries/CommitteeKeys.sol";
import {SignatureDomain} from "../src/libraries/SignatureDomain.sol";
import {EpochRecord, Member, OperatorRecord, RollupRecord} from "../src/types/Committee.sol";
import {BadPoints} from "./utils/BadPoints.sol";
import {Fixture} from "./utils/Fixture.sol";
import {Signer} from "./utils/Signer.sol";
import {vm} from "./utils/Vm.sol";

contract KeysHarness {
    function signersKey(address head, bytes calldata absent) external view returns (bytes memory) {
        return abi.encode(CommitteeKeys.signersKey(head, absent));
    }
}

/// @dev Opens two epochs in one transaction, as a timelock's batch may.
contract BatchingOwner {
    function openTwo(CommitteeRegistry registry, address[] calldata seats) external {
        registry.openEpoch(seats, 1, 1);
        registry.openEpoch(seats, 1, 1);
    }
}

/// @title Registration, epochs and rollups
contract CommitteeRegistryTest is Fixture {
    address private constant ALICE = address(0xA);

    // Deployment

    function testRefusesEndlessDelays() public {
        vm.expectRevert(abi.encodeWithSelector(ICommitteeRegistry.DelayTooLong.selector, 366 days, 365 days));
        new CommitteeRegistry(OWNER, 366 days, 0);
        vm.expectRevert(abi.encodeWithSelector(ICommitteeRegistry.DelayTooLong.selector, 366 days, 365 days));
        new CommitteeRegistry(OWNER, 0, 366 days);
    }

    function testOwnershipTakesTwoSteps() public {
        vm.prank(OWNER);
        registry.transferOwnership(ALICE);
        vm.assertEq(registry.owner(), OWNER);
        vm.prank(ALICE);
        registry.acceptOwnership();
        vm.assertEq(registry.owner(), ALICE);
    }

    function testOnlyTheOwnerRules() public {
        address[] memory seats = operatorsOf(0, 2);
        bytes memory reason = abi.encodeWithSelector(Ownable.OwnableUnauthorizedAccount.selector, address(this));
        vm.expectRevert(reason);
        registry.openEpoch(seats, 1, 2);
        vm.expectRevert(reason);
        registry.admitRollup(ROLLUP, ALICE, 1, 1);
        vm.expectRevert(reason);
        registry.removeRollup(ROLLUP);
        vm.expectRevert(reason);
        registry.unpause();
        vm.expectRevert(reason);
        registry.setPauser(ALICE);
        vm.expectRevert(reason);
        registry.renounceOwnership();
        vm.expectRevert(abi.encodeWithSelector(Guarded.NotPauser.selector, address(this)));
        registry.pause();
    }

    function testThePauserCanPauseAndNothingElse() public {
        vm.prank(OWNER);
        registry.setPauser(ALICE);
        vm.assertEq(registry.pauser(), ALICE);
        vm.startPrank(ALICE);
        registry.pause();
        vm.assertTrue(registry.paused());
        bytes memory reason = abi.encodeWithSelector(Ownable.OwnableUnauthorizedAccount.selector, ALICE);
        vm.expectRevert(reason);
        registry.unpause();
        vm.expectRevert(reason);
        registry.removeRollup(ROLLUP);
        vm.stopPrank();
        vm.prank(OWNER);
        registry.unpause();
    }

    /// @dev Nobody could end the pause.
    function testNobodyRenouncesWhilePaused() public {
        vm.startPrank(OWNER);
        registry.setPauser(ALICE);
        registry.pause();
        vm.expectRevert(Pausable.EnforcedPause.selector);
        registry.renounceOwnership();
        registry.unpause();
        registry.renounceOwnership();
        vm.stopPrank();
        vm.assertEq(registry.owner(), address(0));
        vm.assertEq(registry.pauser(), address(0));
        vm.expectRevert(abi.encodeWithSelector(Guarded.NotPauser.selector, ALICE));
        vm.prank(ALICE);
        registry.pause();
    }

    // Registration

    function testRegisters() public {
        (bytes memory key, bytes memory proof) = possession(ALICE, 5);
        vm.expectEmit(true, false, false, true, address(registry));
        emit ICommitteeRegistry.OperatorRegistered(ALICE, key, "a", "b");
        vm.prank(ALICE);
        registry.register(key, proof, "a", "b");
        OperatorRecord memory record = registry.operator(ALICE);
        vm.assertEq(record.key, key);
        vm.assertEq(record.dispersalUrl, "a");
        vm.assertEq(record.retrievalUrl, "b");
        vm.assertEq(registry.operator(address(1)).key.length, 0);
    }

    function testReplacesKeyForLaterEpochsOnly() public {
        openUsual(4);
        bytes memory former = registry.members(1)[2].key;
        registerWith(operatorOf(2), Signer.secret(99));
        vm.assertEq(registry.members(1)[2].key, former);
        vm.assertEq(registry.operator(operatorOf(2)).key, Signer.publicKey(Signer.secret(99)));
        open(operatorsOf(0, 4), 2, 3);
        vm.assertEq(registry.members(2)[2].key, Signer.publicKey(Signer.secret(99)));
    }

    function testRefusesKeysAndProofsOfAnotherLength() public {
        (bytes memory key, bytes memory proof) = possession(ALICE, 5);
        bytes[3] memory keys = [bytes(""), new bytes(255), bytes.concat(key, hex"00")];
        for (uint256 i = 0; i < keys.length; ++i) {
            refuseRegistration(
                keys[i], proof, abi.encodeWithSelector(ICommitteeRegistry.KeyLength.selector, keys[i].length, 256)
            );
        }
        bytes[3] memory proofs = [bytes(""), new bytes(127), bytes.concat(proof, hex"00")];
        for (uint256 i = 0; i < proofs.length; ++i) {
            refuseRegistration(
                key,
                proofs[i],
                abi.encodeWithSelector(ICommitteeRegistry.PossessionLength.selector, proofs[i].length, 128)
            );
        }
    }

    function testRefusesInfinity() public {
        (bytes memory key, bytes memory proof) = possession(ALICE, 5);
        bytes memory infinityKey = new bytes(256);
        bytes memory infinity = new bytes(128);
        refuseRegistration(infinityKey, infinity, abi.encodeWithSelector(ICommitteeRegistry.KeyIsInfinity.selector));
        refuseRegistration(infinityKey, proof, abi.encodeWithSelector(ICommitteeRegistry.KeyIsInfinity.selector));
        refuseRegistration(key, infinity, abi.encodeWithSelector(ICommitteeRegistry.PossessionIsInfinity.selector));
    }

    function testRefusesBadPoints() public {
        (bytes memory key, bytes memory proof) = possession(ALICE, 5);
        bytes memory reason = abi.encodeWithSelector(ICommitteeRegistry.InvalidPoint.selector);
        refuseRegistration(BadPoints.g2OutsideSubgroup(), proof, reason);
        refuseRegistration(BadPoints.offCurve(key), proof, reason);
        refuseRegistration(BadPoints.notCanonical(key), proof, reason);
        refuseRegistration(BadPoints.dirtyPadding(key), proof, reason);
        refuseRegistration(key, BadPoints.g1OutsideSubgroup(), reason);
        refuseRegistration(key, BadPoints.offCurve(proof), reason);
        refuseRegistration(key, BadPoints.notCanonical(proof), reason);
        refuseRegistration(key, BadPoints.dirtyPadding(proof), reason);
    }

    function testRefusesProofsForSomebodyOrSomethingElse() public {
        bytes memory reason = abi.encodeWithSelector(ICommitteeRegistry.PossessionMismatch.selector);
        bytes memory key = Signer.publicKey(5);
        bytes32 message = registry.possessionMessage(ALICE, key);
        // Of another operator.
        (, bytes memory proof) = possession(address(0xB), 5);
        refuseRegistration(key, proof, reason);
        // By another key.
        refuseRegistration(key, Signer.sign(6, message, SignatureDomain.POSSESSION_DST), reason);
        // As an attestation.
        refuseRegistration(key, Signer.sign(5, message, SignatureDomain.SIGNATURE_DST), reason);
        // On another chain.
        proof = Signer.sign(5, message, SignatureDomain.POSSESSION_DST);
        vm.chainId(1);
        refuseRegistration(key, proof, reason);
        vm.chainId(31_337);
        // At another registry.
        CommitteeRegistry other = new CommitteeRegistry(OWNER, DELAY, GRACE);
        vm.expectRevert(reason);
        vm.prank(ALICE);
        other.register(key, proof, "a", "b");
        vm.prank(ALICE);
        registry.register(key, proof, "a", "b");
    }

    function testBoundsUrls() public {
        (bytes memory key, bytes memory proof) = possession(ALICE, 5);
        string memory longest = string(new bytes(256));
        string memory tooLong = string(new bytes(257));
        vm.prank(ALICE);
        vm.expectRevert(abi.encodeWithSelector(ICommitteeRegistry.UrlLength.selector, 0, 256));
        registry.register(key, proof, "", "b");
        vm.prank(ALICE);
        vm.expectRevert(abi.encodeWithSelector(ICommitteeRegistry.UrlLength.selector, 257, 256));
        registry.register(key, proof, "a", tooLong);
        vm.prank(ALICE);
        registry.register(key, proof, longest, longest);
        vm.prank(ALICE);
        vm.expectRevert(abi.encodeWithSelector(ICommitteeRegistry.UrlLength.selector, 257, 256));
        registry.setEndpoints(tooLong, "b");
        vm.prank(ALICE);
        vm.expectRevert(abi.encodeWithSelector(ICommitteeRegistry.UrlLength.selector, 0, 256));
        registry.setEndpoints("a", "");
    }

    function testEndpointsAreTodaysInEveryEpoch() public {
        openUsual(4);
        vm.prank(operatorOf(1));
        registry.setEndpoints("new dispersal", "new retrieval");
        Member memory member = registry.members(1)[1];
        vm.assertEq(member.dispersalUrl, "new dispersal");
        vm.assertEq(member.retrievalUrl, "new retrieval");
        vm.prank(ALICE);
        vm.expectRevert(abi.encodeWithSelector(ICommitteeRegistry.UnknownOperator.selector, ALICE));
        registry.setEndpoints("a", "b");
    }

    // Geometry

    function testFuzzGeometry(uint16 n, uint16 k, uint16 q) public {
        n = n % 9;
        k = k % 10;
        q = q % 10;
        register(0, 8);
        bool good = n >= 2 && k >= 1 && k < n && q >= k && q <= n;
        if (!good) vm.expectRevert(abi.encodeWithSelector(ICommitteeRegistry.Geometry.selector, n, k, q));
        open(operatorsOf(0, n), k, q);
        vm.assertEq(registry.epochCount(), good ? 1 : 0);
    }

    function testRefusesGeometryAtItsEdges() public {
        refuseGeometry(0, 0, 0);
        refuseGeometry(1, 1, 1);
        refuseGeometry(2, 0, 1);
        refuseGeometry(2, 0, 0);
        refuseGeometry(2, 2, 2);
        refuseGeometry(3, 2, 1);
        refuseGeometry(3, 2, 4);
        refuseGeometry(257, 86, 171);
    }

    // Epochs

    function testFirstEpochIsActiveAtOnce() public {
        vm.assertEq(registry.currentEpoch(), 0);
        vm.assertEq(registry.epochCount(), 0);
        vm.expectRevert(abi.encodeWithSelector(ICommitteeRegistry.UnknownEpoch.selector, 1, 0));
        registry.epoch(1);
        register(0, 7);
        vm.expectEmit(true, false, false, true, address(registry));
        emit ICommitteeRegistry.EpochOpened(1, 7, 3, 5, START);
        open(operatorsOf(0, 7), 3, 5);
        vm.assertEq(registry.currentEpoch(), 1);
        expectEpoch(1, 7, 3, 5, START, type(uint64).max, type(uint64).max);
        vm.expectRevert(abi.encodeWithSelector(ICommitteeRegistry.UnknownEpoch.selector, 0, 1));
        registry.members(0);
    }

    function testLaterEpochsWaitAndEndTheFormer() public {
        openUsual(7);
        vm.warp(START + 100);
        register(7, 1);
        address[] memory seats = operatorsOf(0, 7);
        seats[3] = operatorOf(7);
        vm.assertEq(open(seats, 3, 5), 2);
        uint64 change = START + 100 + DELAY;
        expectEpoch(1, 7, 3, 5, START, change - 1, change - 1 + GRACE);
        expectEpoch(2, 7, 3, 5, change, type(uint64).max, type(uint64).max);
        vm.warp(change - 1);
        vm.assertEq(registry.currentEpoch(), 1);
        vm.warp(change);
        vm.assertEq(registry.currentEpoch(), 2);
        vm.assertEq(registry.members(1)[3].operator, operatorOf(3));
        vm.assertEq(registry.members(2)[3].operator, operatorOf(7));
    }

    function testRefusesAnotherEpochWhileOneIsPending() public {
        openUsual(4);
        open(operatorsOf(0, 4), 2, 3);
        vm.warp(START + DELAY - 1);
        vm.expectRevert(abi.encodeWithSelector(ICommitteeRegistry.EpochPending.selector, 2, START + DELAY));
        open(operatorsOf(0, 4), 2, 3);
        vm.warp(START + DELAY);
        open(operatorsOf(0, 4), 2, 3);
    }

    /// @dev K and −K cancel out of the sum of keys, so that nobody sees whether they signed.
    function testRefusesOpposedKeys() public {
        register(0, 2);
        registerWith(ALICE, Signer.ORDER - Signer.secret(0));
        address[] memory seats = operatorsOf(0, 3);
        seats[2] = ALICE;
        vm.expectRevert(abi.encodeWithSelector(ICommitteeRegistry.DuplicateKey.selector, ALICE, 2));
        open(seats, 1, 2);
    }

    function testRefusesStrangersAndDuplicates() public {
        register(0, 3);
        address[] memory seats = operatorsOf(0, 3);
        seats[1] = ALICE;
        vm.expectRevert(abi.encodeWithSelector(ICommitteeRegistry.UnknownOperator.selector, ALICE));
        open(seats, 1, 2);
        seats[1] = operatorOf(0);
        vm.expectRevert(abi.encodeWithSelector(ICommitteeRegistry.DuplicateOperator.selector, operatorOf(0), 1));
        open(seats, 1, 2);
        registerWith(ALICE, Signer.secret(0));
        seats[1] = operatorOf(1);
        seats[2] = ALICE;
        vm.expectRevert(abi.encodeWithSelector(ICommitteeRegistry.DuplicateKey.selector, ALICE, 2));
        open(seats, 1, 2);
    }

    /// @dev The marks that find duplicates live as long as a transaction; the next epoch in it must
    /// not trip over them.
    function testTwoEpochsInOneTransaction() public {
        BatchingOwner owner = new BatchingOwner();
        registry = new CommitteeRegistry(address(owner), 0, 0);
        register(0, 2);
        owner.openTwo(registry, operatorsOf(0, 2));
        vm.assertEq(registry.epochCount(), 2);
        vm.assertEq(registry.currentEpoch(), 2);
    }

    function testLimitsReplacedSeats() public {
        openUsual(7);
        register(7, 3);
        address[] memory seats = operatorsOf(0, 7);
        seats[0] = operatorOf(7);
        seats[1] = operatorOf(8);
        seats[2] = operatorOf(9);
        // q − k of the former epoch is 2. The new q does not count.
        vm.expectRevert(abi.encodeWithSelector(ICommitteeRegistry.TooManySeatsReplaced.selector, 3, 2));
        open(seats, 3, 7);
        seats[2] = operatorOf(2);
        open(seats, 3, 7);
    }

    function testCountsChangedKeysAndMovedOperatorsAsReplaced() public {
        openUsual(7);
        registerWith(operatorOf(6), Signer.secret(77));
        address[] memory seats = operatorsOf(0, 7);
        (seats[0], seats[1]) = (seats[1], seats[0]);
        vm.expectRevert(abi.encodeWithSelector(ICommitteeRegistry.TooManySeatsReplaced.selector, 3, 2));
        open(seats, 3, 5);
        registerWith(operatorOf(6), Signer.secret(6));
        open(seats, 3, 5);
    }

    function testReplacesOneSeatEvenWithoutMargin() public {
        register(0, 6);
        open(operatorsOf(0, 4), 2, 2);
        address[] memory seats = operatorsOf(0, 4);
        seats[0] = operatorOf(4);
        seats[1] = operatorOf(5);
        vm.expectRevert(abi.encodeWithSelector(ICommitteeRegistry.TooManySeatsReplaced.selector, 2, 1));
        open(seats, 2, 2);
        seats[1] = operatorOf(1);
        open(seats, 2, 2);
    }

    function testAnotherGeometryIsANewCommittee() public {
        openUsual(4);
        register(10, 5);
        open(operatorsOf(10, 5), 2, 3);
        vm.warp(START + DELAY);
        open(operatorsOf(0, 4), 2, 3);
        vm.warp(START + 2 * DELAY);
        // Same n, other k.
        open(operatorsOf(10, 4), 1, 3);
    }

    // Members and their keys

    function testPagesMembers() public {
        openUsual(10);
        Member[] memory all = registry.members(1);
        vm.assertEq(all.length, 10);
        for (uint256 i = 0; i < 10; ++i) {
            vm.assertEq(all[i].operator, operatorOf(i));
            vm.assertEq(all[i].key, Signer.publicKey(Signer.secret(i)));
            vm.assertEq(all[i].dispersalUrl, DISPERSAL);
        }
        Member[] memory page = registry.members(1, 8, 5);
        vm.assertEq(page.length, 2);
        vm.assertEq(page[1].operator, operatorOf(9));
        vm.assertEq(registry.members(1, 3, 0).length, 0);
        vm.assertEq(registry.members(1, 10, 1).length, 0);
        vm.assertEq(registry.members(1, type(uint256).max, type(uint256).max).length, 0);
        vm.assertEq(registry.members(1, 1, type(uint256).max).length, 9);
    }

    /// @dev Around the borders between data contracts: 127 points, the sum among them, each.
    function testKeysOf256SeatsComeBack() public {
        openUsual(256);
        Member[] memory all = registry.members(1);
        vm.assertEq(all.length, 256);
        uint256[8] memory seats = [uint256(0), 1, 125, 126, 127, 252, 253, 255];
        bytes memory absent = new bytes(8);
        uint256 signers = signersSecret(256, "");
        for (uint256 i = 0; i < seats.length; ++i) {
            vm.assertEq(all[seats[i]].key, Signer.publicKey(Signer.secret(seats[i])));
            absent[i] = bytes1(uint8(seats[i]));
            signers = addmod(signers, Signer.ORDER - Signer.secret(seats[i]), Signer.ORDER);
        }
        (, address keys) = registry.committee(1);
        vm.assertEq(new KeysHarness().signersKey(keys, absent), Signer.publicKey(signers));
        vm.assertEq(new KeysHarness().signersKey(keys, ""), Signer.publicKey(signersSecret(256, "")));
    }

    /// @dev 126 seats fill the first data contract, 127 need a second, 253 fill two and 254 need a
    /// third.
    function testEpochsAtTheBordersOfDataContracts() public {
        KeysHarness harness = new KeysHarness();
        register(0, 254);
        uint16[4] memory sizes = [uint16(126), 127, 253, 254];
        for (uint64 i = 0; i < sizes.length; ++i) {
            uint64 number = open(operatorsOf(0, sizes[i]), 1, 1);
            vm.warp(START + (i + 1) * DELAY);
            (, address keys) = registry.committee(number);
            uint256 last = sizes[i] - 1;
            vm.assertEq(
                harness.signersKey(keys, abi.encodePacked(uint8(last))), Signer.publicKey(signersSecret(last, ""))
            );
            vm.assertEq(registry.members(number, last, 1)[0].key, Signer.publicKey(Signer.secret(last)));
        }
    }

    // Rollups

    function testAdmitsUpdatesAndRemovesRollups() public {
        vm.startPrank(OWNER);
        vm.expectEmit(true, false, false, true, address(registry));
        emit ICommitteeRegistry.RollupAdmitted(ROLLUP, ALICE, 30 days, 1 << 30);
        registry.admitRollup(ROLLUP, ALICE, 30 days, 1 << 30);
        registry.admitRollup(address(2), address(0xB), 1, 2);
        registry.admitRollup(address(3), address(0xC), 3, 4);
        registry.admitRollup(ROLLUP, address(0xD), 31 days, 1 << 31);
        vm.assertEq(registry.rollupCount(), 3);
        RollupRecord memory record = registry.rollup(ROLLUP);
        vm.assertEq(record.rollup, ROLLUP);
        vm.assertEq(record.poster, address(0xD));
        vm.assertEq(record.maxRetention, 31 days);
        vm.assertEq(record.dailyBytes, 1 << 31);
        vm.assertEq(registry.rollups(0, 2).length, 2);
        vm.assertEq(registry.rollups(2, 2).length, 1);
        vm.assertEq(registry.rollups(3, 2).length, 0);
        vm.assertEq(registry.rollups(1, 1)[0].rollup, address(2));

        vm.expectEmit(true, false, false, true, address(registry));
        emit ICommitteeRegistry.RollupRemoved(ROLLUP);
        registry.removeRollup(ROLLUP);
        vm.assertEq(registry.rollupCount(), 2);
        vm.assertEq(registry.rollup(ROLLUP).poster, address(0));
        vm.expectRevert(abi.encodeWithSelector(ICommitteeRegistry.UnknownRollup.selector, ROLLUP));
        registry.removeRollup(ROLLUP);
        vm.stopPrank();
    }

    function testRefusesIncompleteRollups() public {
        vm.startPrank(OWNER);
        bytes4 reason = ICommitteeRegistry.IncompleteRollup.selector;
        vm.expectRevert(reason);
        registry.admitRollup(address(0), ALICE, 1, 1);
        vm.expectRevert(reason);
        registry.admitRollup(ROLLUP, address(0), 1, 1);
        vm.expectRevert(reason);
        registry.admitRollup(ROLLUP, ALICE, 0, 1);
        vm.expectRevert(reason);
        registry.admitRollup(ROLLUP, ALICE, 1, 0);
        vm.stopPrank();
    }

    // Helpers

    function refuseRegistration(bytes memory key, bytes memory proof, bytes memory reason) private {
        vm.prank(ALICE);
        vm.expectRevert(reason);
        registry.register{gas: 1_000_000}(key, proof, "a", "b");
        vm.assertEq(registry.operator(ALICE).key.length, 0);
    }

    function refuseGeometry(uint256 n, uint16 k, uint16 q) private {
        vm.expectRevert(abi.encodeWithSelector(ICommitteeRegistry.Geometry.selector, n, k, q));
        open(operatorsOf(0, n), k, q);
    }

    function expectEpoch(
        uint64 number,
        uint16 n,
        uint16 k,
        uint16 q,
        uint64 activeFrom,
        uint64 activeUntil,
        uint64 postableUntil
    ) private view {
        EpochRecord memory record = registry.epoch(number);
        vm.assertEq(record.n, n);
        vm.assertEq(record.k, k);
        vm.assertEq(record.q, q);
        vm.assertEq(record.activeFrom, activeFrom);
        vm.assertEq(record.activeUntil, activeUntil);
        vm.assertEq(record.postableUntil, postableUntil);
    }
}
