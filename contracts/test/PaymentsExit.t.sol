// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {ExitProof, IPaymentsRollup} from "../src/interfaces/IPaymentsRollup.sol";
import {ISettlement} from "../src/interfaces/ISettlement.sol";
import {PaymentsFixture} from "./utils/PaymentsFixture.sol";
import {Reentrant, Refusing} from "./utils/Recipients.sol";
import {vm} from "./utils/Vm.sol";

/// @title Leaving with the last state
contract PaymentsExitTest is PaymentsFixture {
    /// @dev All digits in base 4 occur, at the leaves and at the top.
    uint32[6] private indices = [uint32(1), 2, 7, 4321, 65_534, 65_535];

    function setUp() public override {
        super.setUp();
        for (uint256 i = 0; i < indices.length; ++i) {
            depositBy(user(i), element("id", i), balanceOf(i));
            setAccount(indices[i], user(i), balanceOf(i));
        }
        settleLedger(none());
    }

    function testEveryoneLeavesOnce() public {
        freezeByTime();
        for (uint256 i = 0; i < indices.length; ++i) {
            ExitProof memory proof = proofAt(i);
            vm.assertFalse(rollup.exited(indices[i]));
            vm.expectEmit(true, true, true, true, address(rollup));
            emit IPaymentsRollup.Exited(indices[i], user(i), balanceOf(i));
            vm.prank(address(0xB0B));
            rollup.exit(proof);
            vm.assertTrue(rollup.exited(indices[i]));
            vm.assertEq(user(i).balance, uint256(balanceOf(i)) * 1 gwei);
            vm.expectRevert(abi.encodeWithSelector(IPaymentsRollup.AlreadyExited.selector, indices[i]));
            rollup.exit(proof);
        }
        vm.assertEq(address(rollup).balance, 0);
    }

    function testFuzzAnyAccountLeaves(uint32 index, uint64 balance) public {
        index = 1 + index % 65_535;
        setAccount(index, user(77), balance);
        settleLedger(none());
        vm.deal(address(rollup), uint256(balance) * 1 gwei);
        freezeByTime();
        rollup.exit(ledger.exitProof(index, consumedHead()));
        vm.assertEq(user(77).balance, uint256(balance) * 1 gwei);
    }

    function testNobodyLeavesBeforeAFreeze() public {
        ExitProof memory proof = proofAt(0);
        vm.expectRevert(ISettlement.NotFrozen.selector);
        rollup.exit(proof);
    }

    function testPauseStopsNoExit() public {
        pause();
        freezeByTime();
        rollup.exit(proofAt(0));
        vm.assertEq(user(0).balance, uint256(balanceOf(0)) * 1 gwei);
    }

    /// @dev A state that was final once is none to leave with, even where the account did not
    /// change.
    function testNobodyLeavesWithAStaleState() public {
        ExitProof memory stale = proofAt(3);
        bytes32 staleRoot = rollup.stateRoot();
        setAccount(indices[0], user(0), balanceOf(0) + 1);
        settleLedger(none());
        freezeByTime();
        mismatch(stale, staleRoot);
        rollup.exit(proofAt(3));
    }

    /// @dev The inbox consumed is part of the state: another head is another state.
    function testNobodyLeavesWithAnotherInbox() public {
        ExitProof memory stale = proofAt(3);
        depositBy(user(50), element("id", 50), 1);
        settleLedger(none());
        freezeByTime();
        mismatch(stale, ledger.stateRoot(rollup.inputsCommitment(6)));
        rollup.exit(proofAt(3));
    }

    function testNobodyLeavesWithMoreOrAsAnother() public {
        freezeByTime();
        for (uint256 change = 0; change < 8 + 24; ++change) {
            ExitProof memory proof = proofAt(3);
            if (change == 0) proof.balance += 1;
            else if (change == 1) proof.nonce += 1;
            else if (change == 2) proof.keyX = (proof.keyX + 1) % R;
            else if (change == 3) proof.keyY = (proof.keyY + 1) % R;
            else if (change == 4) proof.recipient = address(0xB0B);
            else if (change == 5) proof.inboxHead = (proof.inboxHead + 1) % R;
            else if (change == 6) proof.accountIndex += 1;
            else if (change == 7) proof.accountIndex ^= 0x4000;
            else proof.siblings[(change - 8) / 3][(change - 8) % 3] ^= 1;
            vm.expectPartialRevert(IPaymentsRollup.StateMismatch.selector);
            rollup.exit(proof);
        }
        rollup.exit(proofAt(3));
    }

    /// @dev An index beyond the tree has the same last digits, and so would lead to the same leaf a
    /// second time.
    function testNobodyLeavesTwiceByAnotherIndex() public {
        freezeByTime();
        rollup.exit(proofAt(3));
        uint32[3] memory beyond = [indices[3] + 65_536, indices[3] + 4 * 65_536, indices[3] + (1 << 31)];
        for (uint256 i = 0; i < beyond.length; ++i) {
            ExitProof memory proof = proofAt(3);
            proof.accountIndex = beyond[i];
            vm.expectRevert(abi.encodeWithSelector(IPaymentsRollup.AccountIndex.selector, beyond[i], 65_535));
            rollup.exit(proof);
        }
    }

    /// @dev Index 0 is what unused slots of a batch touch; it belongs to nobody.
    function testNobodyLeavesFromIndexZero() public {
        setAccount(0, user(0), 5);
        settleLedger(none());
        freezeByTime();
        ExitProof memory proof = ledger.exitProof(0, consumedHead());
        vm.expectRevert(abi.encodeWithSelector(IPaymentsRollup.AccountIndex.selector, 0, 65_535));
        rollup.exit(proof);
    }

    function testNobodyLeavesFromAnEmptyLeaf() public {
        freezeByTime();
        ExitProof memory proof = ledger.exitProof(9, consumedHead());
        vm.expectPartialRevert(IPaymentsRollup.StateMismatch.selector);
        rollup.exit(proof);
    }

    function testRefusesKeysBeyondTheField() public {
        freezeByTime();
        ExitProof memory proof = proofAt(0);
        proof.keyX += R;
        vm.expectRevert(abi.encodeWithSelector(IPaymentsRollup.NotInField.selector, proof.keyX));
        rollup.exit(proof);
        proof = proofAt(0);
        proof.keyY += R;
        vm.expectRevert(abi.encodeWithSelector(IPaymentsRollup.NotInField.selector, proof.keyY));
        rollup.exit(proof);
    }

    function testARecipientThatRefusesHarmsItselfOnly() public {
        address refusing = address(new Refusing());
        setAccount(indices[0], refusing, balanceOf(0));
        settleLedger(none());
        freezeByTime();
        ExitProof memory proof = proofAt(0);
        vm.expectRevert(abi.encodeWithSelector(IPaymentsRollup.PaymentFailed.selector, refusing));
        rollup.exit(proof);
        vm.assertFalse(rollup.exited(indices[0]));
        rollup.exit(proofAt(1));
        vm.assertEq(user(1).balance, uint256(balanceOf(1)) * 1 gwei);
    }

    function testARecipientThatCallsBackIsPaidOnce() public {
        Reentrant recipient = new Reentrant();
        setAccount(indices[0], address(recipient), balanceOf(0));
        settleLedger(none());
        freezeByTime();
        ExitProof memory proof = proofAt(0);
        recipient.prepare(address(rollup), abi.encodeCall(IPaymentsRollup.exit, (proof)));
        rollup.exit(proof);
        vm.assertEq(recipient.received(), 1);
        vm.assertFalse(recipient.succeeded());
    }

    /// @dev Deposits that the state holds leave by exits, the others by refunds, and nothing is
    /// left or lacking.
    function testExitsAndRefundsTogetherPayEverything() public {
        depositBy(user(50), element("id", 50), 123);
        vm.warp(START + FREEZE_DELAY + 1);
        rollup.freeze();
        for (uint256 i = 0; i < indices.length; ++i) {
            rollup.exit(proofAt(i));
        }
        rollup.refundDeposit(7);
        vm.assertEq(user(50).balance, 123 gwei);
        vm.assertEq(address(rollup).balance, 0);
    }

    function balanceOf(uint256 i) private pure returns (uint64) {
        return uint64(1000 + 7 * i);
    }

    function proofAt(uint256 i) private view returns (ExitProof memory) {
        return ledger.exitProof(indices[i], consumedHead());
    }

    function mismatch(ExitProof memory proof, bytes32 got) private {
        bytes32 root = rollup.stateRoot();
        vm.expectRevert(abi.encodeWithSelector(IPaymentsRollup.StateMismatch.selector, got, root));
        rollup.exit(proof);
    }
}
