// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {Ownable} from "@openzeppelin/contracts/access/Ownable.sol";
import {Pausable} from "@openzeppelin/contracts/utils/Pausable.sol";

import {CertificateLog} from "../src/CertificateLog.sol";
import {CommitteeRegistry} from "../src/CommitteeRegistry.sol";
import {Guarded} from "../src/Guarded.sol";
import {ISettlement} from "../src/interfaces/ISettlement.sol";
import {IValidityVerifier} from "../src/interfaces/IValidityVerifier.sol";
import {CodePin} from "../src/libraries/CodePin.sol";
import {PaymentsRollup} from "../src/reference/PaymentsRollup.sol";
import {BatchHeader, Certificate} from "../src/types/Certificate.sol";
import {FreezeReason, Transition, VerifierProposal} from "../src/types/Settlement.sol";
import {Groth16Adapter} from "../src/verifiers/Groth16Adapter.sol";
import {ForgeableKey} from "./utils/ForgeableKey.sol";
import {SettlementFixture} from "./utils/SettlementFixture.sol";
import {vm} from "./utils/Vm.sol";

/// @title When a rollup may be frozen, what its owner may do, and how long that takes
contract SettlementFreezeTest is SettlementFixture {
    address private constant ANYONE = address(0xB0B);
    IValidityVerifier private constant NONE = IValidityVerifier(address(0));

    // Three reasons

    function testFreezesASecondAfterNothingSettledForTheDelay() public {
        settleNext();
        vm.warp(START + FREEZE_DELAY);
        refuseFreeze();
        vm.warp(START + FREEZE_DELAY + 1);
        freezeFor(FreezeReason.NothingSettled);
    }

    /// @dev Admission may wait for a timelock, and until its first batch or input a rollup owes
    /// nobody anything.
    function testARollupThatNeverBeganIsNotFrozen() public {
        vm.warp(START + 365 days);
        refuseFreeze();
        settleNext();
        vm.warp(START + 365 days + FREEZE_DELAY);
        refuseFreeze();
        vm.warp(START + 365 days + FREEZE_DELAY + 1);
        freezeFor(FreezeReason.NothingSettled);
    }

    function testTheFirstDepositStartsTheClock() public {
        vm.warp(START + 365 days);
        rollup.deposit{value: 1 gwei}(element("depositor", 0));
        vm.warp(START + 365 days + FREEZE_DELAY);
        refuseFreeze();
        vm.warp(START + 365 days + FREEZE_DELAY + 1);
        freezeFor(FreezeReason.InputUnserved);
    }

    function testFreezesASecondAfterADepositWasUnservedForTheDelay() public {
        rollup.deposit{value: 1 gwei}(element("depositor", 0));
        unserved();
    }

    function testFreezesASecondAfterAnExitRequestWasUnservedForTheDelay() public {
        vm.prank(ANYONE);
        rollup.requestExit(1, 2, 3);
        unserved();
    }

    /// @dev The first input is made now; batches settle, but none consumes it.
    function unserved() private {
        vm.warp(START + FREEZE_DELAY - 1);
        settleNext();
        rollup.deposit{value: 1 gwei}(element("depositor", 1));
        vm.warp(START + FREEZE_DELAY);
        settleNext();
        refuseFreeze();
        vm.warp(START + FREEZE_DELAY + 1);
        freezeFor(FreezeReason.InputUnserved);
    }

    /// @dev The clock of the next input runs from when it was made, not from when it became the
    /// next.
    function testServedInputsAreNoReason() public {
        rollup.deposit{value: 1 gwei}(element("depositor", 0));
        vm.warp(START + 1 hours);
        rollup.deposit{value: 1 gwei}(element("depositor", 1));
        vm.warp(START + FREEZE_DELAY);
        BatchHeader memory header = nextHeader();
        Transition memory transition = step(1);
        transition.inputsConsumed = 1;
        settle(header, transition);
        vm.warp(START + 1 hours + FREEZE_DELAY);
        refuseFreeze();
        vm.warp(START + 1 hours + FREEZE_DELAY + 1);
        freezeFor(FreezeReason.InputUnserved);
    }

    function testFreezesASecondAfterCoverageBecameShort() public {
        settleKeptFor(FREEZE_DELAY + EXIT_WINDOW);
        vm.warp(START + FREEZE_DELAY / 2);
        refuseFreeze();
        vm.warp(START + FREEZE_DELAY / 2 + 1);
        freezeFor(FreezeReason.CoverageShort);
        vm.assertTrue(rollup.coverageUntil() >= block.timestamp + EXIT_WINDOW);
    }

    /// @dev An older batch than the last one runs out.
    function testCoverageIsThatOfTheLeastBatch() public {
        settleKeptFor(FREEZE_DELAY + EXIT_WINDOW + 1);
        vm.warp(START + 1);
        settleNext();
        vm.warp(START + 1 + FREEZE_DELAY / 2);
        refuseFreeze();
        vm.warp(START + 1 + FREEZE_DELAY / 2 + 1);
        freezeFor(FreezeReason.CoverageShort);
    }

    /// @dev Of three reasons that hold the first is reported, and renewed coverage or a late
    /// settlement takes it back.
    function testReasonsGoWhenTheyNoLongerHold() public {
        rollup.deposit{value: 1 gwei}(element("depositor", 0));
        settleKeptFor(FREEZE_DELAY + EXIT_WINDOW);
        vm.warp(START + FREEZE_DELAY + 1);
        vm.assertEq(uint256(rollup.freezeReason()), uint256(FreezeReason.CoverageShort));
        rollup.renewCoverage(renewalFor(1, START + 40 days));
        vm.assertEq(uint256(rollup.freezeReason()), uint256(FreezeReason.InputUnserved));
        BatchHeader memory header = nextHeader();
        Transition memory transition = step(2);
        transition.inputsConsumed = 1;
        settle(header, transition);
        refuseFreeze();
    }

    function testNoBatchNeedsNoCoverage() public view {
        vm.assertTrue(rollup.coverageUntil() > block.timestamp + 1000 * 365 days);
        vm.assertEq(uint256(rollup.freezeReason()), uint256(FreezeReason.None));
    }

    function testFrozenIsForGood() public {
        BatchHeader memory header = nextHeader();
        Transition memory transition = step(1);
        Certificate memory certificate = certified(header);
        log.record(certificate);
        bytes memory proof = proofOf(header, transition);
        freezeByTime();
        bytes memory reason = abi.encodeWithSelector(ISettlement.IsFrozen.selector, FreezeReason.NothingSettled);
        refuse(certificate, transition, proof, reason);
        vm.expectRevert(reason);
        rollup.settleRecorded(header, transition, proof);
        vm.expectRevert(reason);
        rollup.deposit{value: 1 gwei}(element("depositor", 0));
        vm.expectRevert(reason);
        rollup.requestExit(1, 2, 3);
        vm.expectRevert(reason);
        rollup.freeze();
    }

    // Pausing

    function testPauseStopsSettlingAndDepositsAndNothingElse() public {
        vm.deal(ANYONE, 1 ether);
        vm.prank(ANYONE);
        rollup.deposit{value: 1 gwei}(element("depositor", 0));
        settleNext();
        BatchHeader memory header = nextHeader();
        Transition memory transition = step(2);
        Certificate memory certificate = certified(header);
        log.record(certificate);
        bytes memory proof = proofOf(header, transition);

        vm.prank(OWNER);
        rollup.pause();
        bytes memory reason = abi.encodeWithSelector(Pausable.EnforcedPause.selector);
        refuse(certificate, transition, proof, reason);
        vm.expectRevert(reason);
        rollup.settleRecorded(header, transition, proof);
        vm.expectRevert(reason);
        rollup.deposit{value: 1 gwei}(element("depositor", 1));

        // The way out, all of it but claims and exits, which PaymentsRollup.t.sol makes under pause
        // too.
        rollup.requestExit(1, 2, 3);
        rollup.renewCoverage(renewalFor(1, START + 40 days));
        vm.warp(START + FREEZE_DELAY + 1);
        freezeFor(FreezeReason.InputUnserved);
        rollup.renewCoverage(renewalFor(1, START + 50 days));
        rollup.refundDeposit(1);
        vm.assertEq(ANYONE.balance, 1 ether);
    }

    function testSettlesAgainAfterAPause() public {
        vm.startPrank(OWNER);
        rollup.pause();
        rollup.unpause();
        vm.stopPrank();
        settleNext();
    }

    // Verifier

    function testVerifierChangesAfterItsDelay() public {
        Groth16Adapter next = new Groth16Adapter(ForgeableKey.keys(3), 1);
        uint64 due = START + VERIFIER_DELAY;
        vm.expectEmit(true, true, true, true, address(rollup));
        emit ISettlement.VerifierProposed(address(next), address(0), due);
        vm.prank(OWNER);
        rollup.proposeVerifier(next, NONE);
        VerifierProposal memory proposal = rollup.verifierProposal();
        vm.assertEq(proposal.verifier, address(next));
        vm.assertEq(proposal.acceptableFrom, due);

        vm.warp(due - 1);
        vm.expectRevert(abi.encodeWithSelector(ISettlement.ProposalNotDue.selector, due, due - 1));
        vm.prank(OWNER);
        rollup.acceptVerifier();
        settleNext();
        vm.warp(due);
        vm.expectEmit(true, true, true, true, address(rollup));
        emit ISettlement.VerifierChanged(address(adapter), address(next), address(0));
        vm.prank(OWNER);
        rollup.acceptVerifier();
        vm.assertEq(address(rollup.verifier()), address(next));

        // What counts is the new one, and the proposal is used up.
        BatchHeader memory header = nextHeader();
        Transition memory transition = step(2);
        refuse(
            certified(header),
            transition,
            proofOf(header, transition),
            abi.encodeWithSelector(IValidityVerifier.PointsNotSupported.selector, 2)
        );
        vm.expectRevert(ISettlement.NoProposal.selector);
        vm.prank(OWNER);
        rollup.acceptVerifier();
    }

    function testAnotherProposalStartsAnew() public {
        vm.prank(OWNER);
        rollup.proposeVerifier(adapter, NONE);
        vm.warp(START + VERIFIER_DELAY);
        Groth16Adapter next = new Groth16Adapter(ForgeableKey.keys(3), 1);
        vm.startPrank(OWNER);
        rollup.proposeVerifier(next, NONE);
        uint64 due = START + 2 * VERIFIER_DELAY;
        vm.expectRevert(abi.encodeWithSelector(ISettlement.ProposalNotDue.selector, due, START + VERIFIER_DELAY));
        rollup.acceptVerifier();
        vm.stopPrank();
    }

    function testAProposalLapses() public {
        vm.prank(OWNER);
        rollup.proposeVerifier(adapter, NONE);
        uint64 last = START + VERIFIER_DELAY + rollup.PROPOSAL_WINDOW();
        vm.warp(last + 1);
        vm.expectRevert(abi.encodeWithSelector(ISettlement.ProposalLapsed.selector, last, last + 1));
        vm.prank(OWNER);
        rollup.acceptVerifier();
        vm.warp(last);
        vm.prank(OWNER);
        rollup.acceptVerifier();
    }

    /// @dev What was announced is code, not an address.
    function testAVerifierWhoseCodeChangedIsNotAccepted() public {
        address[2] memory proposed = [address(0xC0DE1), address(0xC0DE2)];
        for (uint256 i = 0; i < 2; ++i) {
            vm.etch(proposed[0], hex"01");
            vm.etch(proposed[1], hex"01");
            vm.prank(OWNER);
            rollup.proposeVerifier(IValidityVerifier(proposed[0]), IValidityVerifier(proposed[1]));
            vm.warp(START + (i + 1) * VERIFIER_DELAY);
            vm.etch(proposed[i], hex"02");
            vm.expectRevert(abi.encodeWithSelector(ISettlement.VerifierCodeChanged.selector, proposed[i]));
            vm.prank(OWNER);
            rollup.acceptVerifier();
        }
    }

    /// @dev EIP-7702: code that its account's owner changes with a signature.
    function testADelegatedAccountIsNoVerifier() public {
        vm.etch(ANYONE, bytes.concat(hex"ef0100", bytes20(address(adapter))));
        bytes memory reason = abi.encodeWithSelector(CodePin.DelegatedAccount.selector, ANYONE);
        vm.expectRevert(reason);
        vm.prank(OWNER);
        rollup.proposeVerifier(IValidityVerifier(ANYONE), NONE);
        vm.expectRevert(reason);
        vm.prank(OWNER);
        rollup.proposeVerifier(adapter, IValidityVerifier(ANYONE));
        vm.expectRevert(reason);
        new PaymentsRollup(OWNER, log, IValidityVerifier(ANYONE), FREEZE_DELAY, EXIT_WINDOW, VERIFIER_DELAY, hashers);
    }

    /// @dev A verifier that others stopped is no death where a standby is there.
    function testAStandbySettlesWhatTheVerifierRefuses() public {
        Groth16Adapter stopped = new Groth16Adapter(ForgeableKey.keys(3), 1);
        accept(stopped, adapter);
        vm.assertEq(address(rollup.standby()), address(adapter));
        settleNext();
        vm.assertEq(rollup.batchCount(), 1);
        // The other way round, the first of them accepts.
        accept(adapter, stopped);
        settleNext();
        vm.assertEq(rollup.batchCount(), 2);
        // What neither accepts does not settle: the standby's error is told.
        BatchHeader memory header = nextHeader();
        refuse(
            certified(header),
            step(3),
            new bytes(256),
            abi.encodeWithSelector(IValidityVerifier.PointsNotSupported.selector, 2)
        );
        // A change without a standby ends the former one.
        accept(stopped, NONE);
        vm.assertEq(address(rollup.standby()), address(0));
        header = nextHeader();
        refuse(
            certified(header),
            step(3),
            proofOf(header, step(3)),
            abi.encodeWithSelector(IValidityVerifier.PointsNotSupported.selector, 2)
        );
    }

    function accept(IValidityVerifier next, IValidityVerifier nextStandby) private {
        vm.startPrank(OWNER);
        rollup.proposeVerifier(next, nextStandby);
        vm.warp(rollup.verifierProposal().acceptableFrom);
        rollup.acceptVerifier();
        vm.stopPrank();
    }

    // Pauser

    function testThePauserCanPauseAndNothingElse() public {
        vm.expectEmit(true, true, true, true, address(rollup));
        emit Guarded.PauserChanged(address(0), ANYONE);
        vm.prank(OWNER);
        rollup.setPauser(ANYONE);
        vm.assertEq(rollup.pauser(), ANYONE);
        vm.startPrank(ANYONE);
        rollup.pause();
        bytes memory reason = abi.encodeWithSelector(Ownable.OwnableUnauthorizedAccount.selector, ANYONE);
        vm.expectRevert(reason);
        rollup.unpause();
        vm.expectRevert(reason);
        rollup.setPauser(ANYONE);
        vm.expectRevert(reason);
        rollup.proposeVerifier(adapter, NONE);
        vm.stopPrank();
        vm.startPrank(OWNER);
        rollup.unpause();
        rollup.setPauser(address(0));
        vm.stopPrank();
        vm.expectRevert(abi.encodeWithSelector(Guarded.NotPauser.selector, ANYONE));
        vm.prank(ANYONE);
        rollup.pause();
    }

    function testCancelsProposals() public {
        vm.startPrank(OWNER);
        vm.expectRevert(ISettlement.NoProposal.selector);
        rollup.cancelVerifier();
        rollup.proposeVerifier(adapter, NONE);
        vm.expectEmit(true, true, true, true, address(rollup));
        emit ISettlement.VerifierProposalCancelled(address(adapter));
        rollup.cancelVerifier();
        vm.warp(START + VERIFIER_DELAY);
        vm.expectRevert(ISettlement.NoProposal.selector);
        rollup.acceptVerifier();
        vm.stopPrank();
    }

    function testOnlyTheOwner() public {
        bytes memory reason = abi.encodeWithSelector(Ownable.OwnableUnauthorizedAccount.selector, ANYONE);
        vm.startPrank(ANYONE);
        vm.expectRevert(reason);
        rollup.proposeVerifier(adapter, NONE);
        vm.expectRevert(reason);
        rollup.cancelVerifier();
        vm.expectRevert(reason);
        rollup.acceptVerifier();
        vm.expectRevert(reason);
        rollup.unpause();
        vm.expectRevert(reason);
        rollup.setPauser(ANYONE);
        vm.expectRevert(abi.encodeWithSelector(Guarded.NotPauser.selector, ANYONE));
        rollup.pause();
        vm.stopPrank();
    }

    function testRefusesAVerifierWithoutCode() public {
        vm.expectRevert(abi.encodeWithSelector(CodePin.NoContract.selector, ANYONE));
        vm.prank(OWNER);
        rollup.proposeVerifier(IValidityVerifier(ANYONE), NONE);
        vm.expectRevert(abi.encodeWithSelector(CodePin.NoContract.selector, ANYONE));
        new PaymentsRollup(OWNER, log, IValidityVerifier(ANYONE), FREEZE_DELAY, EXIT_WINDOW, VERIFIER_DELAY, hashers);
    }

    // Deployment

    function testStarts() public view {
        vm.assertEq(address(rollup.registry()), address(registry));
        vm.assertEq(address(rollup.log()), address(log));
        vm.assertEq(address(rollup.verifier()), address(adapter));
        vm.assertEq(rollup.batchCount(), 0);
        vm.assertEq(rollup.inputsConsumed(), 0);
        vm.assertEq(rollup.lastSettledAt(), START);
        vm.assertEq(rollup.freezeDelay(), FREEZE_DELAY);
        vm.assertEq(rollup.exitWindow(), EXIT_WINDOW);
        vm.assertEq(rollup.verifierDelay(), VERIFIER_DELAY);
        vm.assertEq(rollup.owner(), OWNER);
        vm.assertFalse(rollup.frozen());
    }

    /// @dev Committee and verifier must not change before users are out.
    function testRefusesDelaysThatAreTooShort() public {
        uint64 leaving = FREEZE_DELAY + EXIT_WINDOW;
        deployRefused(log, FREEZE_DELAY, EXIT_WINDOW, leaving, tooShort(leaving, leaving));
        deployRefused(log, 0, EXIT_WINDOW, VERIFIER_DELAY, abi.encodeWithSelector(ISettlement.ZeroDelay.selector));
        deployRefused(log, FREEZE_DELAY, 0, VERIFIER_DELAY, abi.encodeWithSelector(ISettlement.ZeroDelay.selector));
        deployRefused(
            log,
            FREEZE_DELAY,
            EXIT_WINDOW,
            366 days,
            abi.encodeWithSelector(ISettlement.DelayTooLong.selector, 366 days, 365 days)
        );
        deployRefused(log, FREEZE_DELAY, DELAY - FREEZE_DELAY, VERIFIER_DELAY, tooShort(DELAY, DELAY));
        CertificateLog hasty = new CertificateLog(new CommitteeRegistry(OWNER, leaving, GRACE));
        deployRefused(hasty, FREEZE_DELAY, EXIT_WINDOW, VERIFIER_DELAY, tooShort(leaving, leaving));
        CertificateLog slow = new CertificateLog(new CommitteeRegistry(OWNER, leaving + 1, GRACE));
        new PaymentsRollup(OWNER, slow, adapter, FREEZE_DELAY, EXIT_WINDOW, leaving + 1, hashers);
    }

    // Helpers

    function tooShort(uint64 got, uint64 mustExceed) private pure returns (bytes memory) {
        return abi.encodeWithSelector(ISettlement.DelayTooShort.selector, got, mustExceed);
    }

    function deployRefused(
        CertificateLog log_,
        uint64 freezeDelay,
        uint64 exitWindow,
        uint64 verifierDelay,
        bytes memory reason
    ) private {
        vm.expectRevert(reason);
        new PaymentsRollup(OWNER, log_, adapter, freezeDelay, exitWindow, verifierDelay, hashers);
    }

    function refuseFreeze() private {
        vm.assertEq(uint256(rollup.freezeReason()), uint256(FreezeReason.None));
        vm.expectRevert(ISettlement.NoReasonToFreeze.selector);
        rollup.freeze();
        vm.assertFalse(rollup.frozen());
    }

    function freezeFor(FreezeReason reason) private {
        vm.assertEq(uint256(rollup.freezeReason()), uint256(reason));
        vm.expectEmit(true, true, true, true, address(rollup));
        emit ISettlement.Frozen(reason, rollup.batchCount(), rollup.stateRoot(), rollup.inputsConsumed());
        vm.prank(ANYONE);
        rollup.freeze();
        vm.assertTrue(rollup.frozen());
        vm.assertEq(uint256(rollup.frozenFor()), uint256(reason));
    }
}
