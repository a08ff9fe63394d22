// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IPaymentsRollup} from "../src/interfaces/IPaymentsRollup.sol";
import {ISettlement} from "../src/interfaces/ISettlement.sol";
import {Inbox, InboxEntry} from "../src/reference/Inbox.sol";
import {Withdrawal} from "../src/reference/Withdrawals.sol";
import {PaymentsFixture} from "./utils/PaymentsFixture.sol";
import {Reentrant, Refusing, Verbose} from "./utils/Recipients.sol";
import {vm} from "./utils/Vm.sol";

/// @title Deposits, exit requests, withdrawals and refunds
contract PaymentsRollupTest is PaymentsFixture {
    // Deposits

    function testDepositsChain() public {
        bytes32 head = 0;
        for (uint64 number = 1; number <= 3; ++number) {
            bytes32 id = element("id", number);
            uint64 amount = number == 3 ? type(uint64).max : number;
            bytes32 next = bytes32(hashers.t4.hash([uint256(head), uint256(id), amount]));
            vm.deal(user(number), uint256(amount) * 1 gwei);
            vm.warp(START + number);
            vm.expectEmit(true, true, true, true, address(rollup));
            emit Inbox.InputAppended(number, id, amount, next);
            vm.prank(user(number));
            rollup.deposit{value: uint256(amount) * 1 gwei}(id);
            head = next;
            vm.assertEq(rollup.inboxLength(), number);
            vm.assertEq(rollup.inputsCommitment(number), head);
            InboxEntry memory entry = rollup.inboxEntry(number);
            vm.assertEq(entry.account, user(number));
            vm.assertEq(entry.amount, amount);
            vm.assertEq(entry.time, START + number);
        }
        vm.assertEq(rollup.inputsCommitment(0), bytes32(0));
        vm.expectRevert(abi.encodeWithSelector(ISettlement.InputsNotThere.selector, 4, 3));
        rollup.inputsCommitment(4);
    }

    function testRefusesAmountsThatAreNotWholeGwei() public {
        vm.deal(address(this), 1 << 128);
        uint256[5] memory amounts = [0, 1, uint256(1 gwei) - 1, uint256(1 gwei) + 1, (1 << 64) * uint256(1 gwei)];
        for (uint256 i = 0; i < amounts.length; ++i) {
            vm.expectRevert(abi.encodeWithSelector(IPaymentsRollup.DepositAmount.selector, amounts[i]));
            rollup.deposit{value: amounts[i]}(element("id", 0));
        }
    }

    function testRefusesIdentitiesThatAreNone() public {
        uint256[3] memory ids = [0, R, type(uint256).max];
        for (uint256 i = 0; i < ids.length; ++i) {
            vm.expectRevert(abi.encodeWithSelector(IPaymentsRollup.AccountIdentity.selector, ids[i]));
            rollup.deposit{value: 1 gwei}(bytes32(ids[i]));
        }
        rollup.deposit{value: 1 gwei}(bytes32(R - 1));
    }

    function testTakesNoOtherEther() public {
        vm.deal(address(this), 1 ether);
        (bool ok,) = address(rollup).call{value: 1 gwei}("");
        vm.assertFalse(ok);
        (ok,) = address(rollup).call{value: 1 gwei}(abi.encodeCall(IPaymentsRollup.requestExit, (1, 2, 3)));
        vm.assertFalse(ok);
    }

    // Exit requests

    function testRequestsExit() public {
        rollup.deposit{value: 1 gwei}(element("id", 1));
        (uint256 x, uint256 y) = (R - 1, 0);
        uint256 id = hashers.t4.hash([x, y, uint160(user(1))]);
        uint256 word = 2 ** 224 + 65_535 * 2 ** 160 + uint160(user(1));
        bytes32 head = bytes32(hashers.t4.hash([uint256(rollup.inputsCommitment(1)), id, word]));
        vm.expectEmit(true, true, true, true, address(rollup));
        emit Inbox.InputAppended(2, bytes32(id), word, head);
        vm.prank(user(1));
        rollup.requestExit(x, y, 65_535);
        vm.assertEq(rollup.inputsCommitment(2), head);
        InboxEntry memory entry = rollup.inboxEntry(2);
        vm.assertEq(entry.account, user(1));
        vm.assertEq(entry.amount, 0);
        vm.assertEq(entry.time, START);
    }

    function testRefusesRequestsThatAreNone() public {
        uint32[3] memory indices = [uint32(0), 65_536, type(uint32).max];
        for (uint256 i = 0; i < indices.length; ++i) {
            vm.expectRevert(abi.encodeWithSelector(IPaymentsRollup.AccountIndex.selector, indices[i], 65_535));
            rollup.requestExit(1, 2, indices[i]);
        }
        vm.expectRevert(abi.encodeWithSelector(IPaymentsRollup.NotInField.selector, R));
        rollup.requestExit(R, 2, 3);
        vm.expectRevert(abi.encodeWithSelector(IPaymentsRollup.NotInField.selector, R + 2));
        rollup.requestExit(1, R + 2, 3);
    }

    // Withdrawals

    function testClaimsEachWithdrawalOnce() public {
        fund(100);
        Withdrawal[] memory all = threeWithdrawals();
        settleLedger(all);
        for (uint256 i = 0; i < 3; ++i) {
            vm.assertFalse(rollup.claimed(1, i));
            vm.expectEmit(true, true, true, true, address(rollup));
            emit IPaymentsRollup.WithdrawalClaimed(1, i, all[i].recipient, all[i].amount);
            vm.prank(address(0xB0B));
            rollup.claimWithdrawal(1, all, i);
            vm.assertTrue(rollup.claimed(1, i));
            vm.expectRevert(abi.encodeWithSelector(IPaymentsRollup.AlreadyClaimed.selector, 1, i));
            rollup.claimWithdrawal(1, all, i);
        }
        // The first and the third went to the same address.
        vm.assertEq(user(1).balance, 40 gwei);
        vm.assertEq(user(2).balance, 20 gwei);
        vm.assertEq(address(rollup).balance, 40 gwei);
    }

    function testClaimsTheSameAgainFromAnotherBatch() public {
        fund(200);
        Withdrawal[] memory all = threeWithdrawals();
        settleLedger(all);
        settleLedger(all);
        rollup.claimWithdrawal(1, all, 0);
        rollup.claimWithdrawal(2, all, 0);
        vm.assertEq(user(1).balance, 20 gwei);
    }

    function testClaimsAreToldApartPastAWord() public {
        fund(1000);
        Withdrawal[] memory all = new Withdrawal[](260);
        for (uint256 i = 0; i < all.length; ++i) {
            all[i] = Withdrawal({recipient: user(i), amount: 1});
        }
        settleLedger(all);
        rollup.claimWithdrawal(1, all, 3);
        vm.assertFalse(rollup.claimed(1, 259));
        rollup.claimWithdrawal(1, all, 259);
        vm.expectRevert(abi.encodeWithSelector(IPaymentsRollup.AlreadyClaimed.selector, 1, 259));
        rollup.claimWithdrawal(1, all, 259);
        vm.assertEq(user(3).balance + user(259).balance, 2 gwei);
    }

    function testRefusesWithdrawalsThatWereNotGranted() public {
        fund(100);
        Withdrawal[] memory all = threeWithdrawals();
        settleLedger(all);
        settleLedger(none());
        for (uint256 change = 0; change < 6; ++change) {
            Withdrawal[] memory other = threeWithdrawals();
            if (change == 0) other[0].amount += 1;
            else if (change == 1) other[0].recipient = address(0xB0B);
            else if (change == 2) (other[0], other[1]) = (other[1], other[0]);
            else if (change == 3) other = new Withdrawal[](1);
            else if (change == 4) other = twice(other);
            else other = none();
            mismatch(1, other, commitment(all));
        }
        // Batches that granted nothing, and batches that never were.
        mismatch(2, all, 0);
        mismatch(3, all, 0);
        vm.expectRevert(abi.encodeWithSelector(IPaymentsRollup.NoSuchWithdrawal.selector, 0, 0));
        rollup.claimWithdrawal(2, none(), 0);
        vm.expectRevert(abi.encodeWithSelector(IPaymentsRollup.NoSuchWithdrawal.selector, 3, 3));
        rollup.claimWithdrawal(1, all, 3);
        vm.expectRevert(abi.encodeWithSelector(IPaymentsRollup.NoSuchWithdrawal.selector, 1 << 255, 3));
        rollup.claimWithdrawal(1, all, 1 << 255);
    }

    function testClaimsWhilePausedAndFrozen() public {
        fund(100);
        Withdrawal[] memory all = threeWithdrawals();
        settleLedger(all);
        pause();
        rollup.claimWithdrawal(1, all, 0);
        freezeByTime();
        rollup.claimWithdrawal(1, all, 1);
        vm.assertEq(user(1).balance + user(2).balance, 30 gwei);
    }

    function testARecipientThatRefusesHarmsItselfOnly() public {
        fund(100);
        address refusing = address(new Refusing());
        address verbose = address(new Verbose());
        Withdrawal[] memory all = threeWithdrawals();
        all[0].recipient = refusing;
        all[2].recipient = verbose;
        settleLedger(all);
        vm.expectRevert(abi.encodeWithSelector(IPaymentsRollup.PaymentFailed.selector, refusing));
        rollup.claimWithdrawal(1, all, 0);
        vm.assertFalse(rollup.claimed(1, 0));
        rollup.claimWithdrawal(1, all, 1);
        rollup.claimWithdrawal{gas: 5_000_000}(1, all, 2);
        vm.assertEq(user(2).balance, 20 gwei);
        vm.assertEq(verbose.balance, 30 gwei);
    }

    function testARecipientThatCallsBackIsPaidOnce() public {
        fund(100);
        Reentrant recipient = new Reentrant();
        Withdrawal[] memory all = threeWithdrawals();
        all[0].recipient = address(recipient);
        settleLedger(all);
        recipient.prepare(address(rollup), abi.encodeCall(IPaymentsRollup.claimWithdrawal, (1, all, 0)));
        rollup.claimWithdrawal(1, all, 0);
        vm.assertEq(recipient.received(), 1);
        vm.assertFalse(recipient.succeeded());
        vm.assertEq(address(recipient).balance, 10 gwei);
    }

    // Refunds

    function testRefundsWhatWasNotConsumedOnceAndToTheDepositor() public {
        depositBy(user(1), element("id", 1), 10);
        settleLedger(none());
        depositBy(user(2), element("id", 2), 20);
        depositBy(user(3), element("id", 3), 30);
        vm.prank(user(3));
        rollup.requestExit(1, 2, 3);
        vm.expectRevert(ISettlement.NotFrozen.selector);
        rollup.refundDeposit(2);
        pause();
        freezeUnserved();

        vm.expectRevert(abi.encodeWithSelector(IPaymentsRollup.DepositConsumed.selector, 1, 1));
        rollup.refundDeposit(1);
        vm.expectRevert(abi.encodeWithSelector(IPaymentsRollup.DepositConsumed.selector, 0, 1));
        rollup.refundDeposit(0);
        for (uint64 number = 3; number >= 2; --number) {
            vm.expectEmit(true, true, true, true, address(rollup));
            emit IPaymentsRollup.DepositRefunded(number, user(number), 10 * number);
            vm.prank(address(0xB0B));
            rollup.refundDeposit(number);
            nothingToRefund(number);
            vm.assertEq(user(number).balance, uint256(number) * 10 gwei);
        }
        nothingToRefund(4);
        nothingToRefund(5);
        nothingToRefund(type(uint64).max);
        vm.assertEq(address(rollup).balance, 10 gwei);
    }

    function testADepositorThatRefusesOrCallsBack() public {
        Reentrant depositor = new Reentrant();
        vm.deal(address(this), 1 ether);
        depositor.forward{value: 10 gwei}(
            address(rollup), 10 gwei, abi.encodeCall(IPaymentsRollup.deposit, (element("id", 1)))
        );
        depositBy(user(2), element("id", 2), 20);
        freezeUnserved();
        depositor.prepare(address(rollup), abi.encodeCall(IPaymentsRollup.refundDeposit, (1)));
        rollup.refundDeposit(1);
        vm.assertEq(address(depositor).balance, 10 gwei);
        vm.assertFalse(depositor.succeeded());
        rollup.refundDeposit(2);
        vm.assertEq(user(2).balance, 20 gwei);
    }

    // Helpers

    /// @dev When the delay is over since the first deposit.
    function freezeUnserved() private {
        vm.warp(START + FREEZE_DELAY + 1);
        rollup.freeze();
    }

    function fund(uint64 amount) private {
        depositBy(user(999), element("id", 999), amount);
    }

    function threeWithdrawals() private pure returns (Withdrawal[] memory all) {
        all = new Withdrawal[](3);
        all[0] = Withdrawal({recipient: user(1), amount: 10});
        all[1] = Withdrawal({recipient: user(2), amount: 20});
        all[2] = Withdrawal({recipient: user(1), amount: 30});
    }

    function twice(Withdrawal[] memory all) private pure returns (Withdrawal[] memory more) {
        more = new Withdrawal[](2 * all.length);
        for (uint256 i = 0; i < more.length; ++i) {
            more[i] = all[i % all.length];
        }
    }

    function mismatch(uint64 number, Withdrawal[] memory all, bytes32 granted) private {
        bytes32 got = commitment(all);
        vm.expectRevert(abi.encodeWithSelector(IPaymentsRollup.WithdrawalsMismatch.selector, got, granted));
        rollup.claimWithdrawal(number, all, 0);
    }

    function nothingToRefund(uint64 number) private {
        vm.expectRevert(abi.encodeWithSelector(IPaymentsRollup.NothingToRefund.selector, number));
        rollup.refundDeposit(number);
    }
}
