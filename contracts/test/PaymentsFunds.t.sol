// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {ExitProof} from "../src/interfaces/IPaymentsRollup.sol";
import {InboxEntry} from "../src/reference/Inbox.sol";
import {Withdrawal} from "../src/reference/Withdrawals.sol";
import {Ledger} from "./utils/Ledger.sol";
import {PaymentsFixture} from "./utils/PaymentsFixture.sol";
import {vm} from "./utils/Vm.sol";

/// @title The contract always holds what it owes, and pays all of it
/// @notice An honest
/// operator's ledger beside the contract: random deposits, exit requests, transfers, withdrawals
/// and claims, then a freeze at a random point, after which everybody leaves and nothing may be
/// left.
contract PaymentsFundsTest is PaymentsFixture {
    uint32 private constant ACCOUNTS = 6;

    struct Granted {
        uint64 batch;
        Withdrawal[] all;
    }

    /// @dev gwei that L2 owes; gwei granted and not claimed; gwei deposited and not consumed.
    uint256 private onL2;
    uint256 private unclaimed;
    uint256 private waiting;

    Granted[] private grants;
    Withdrawal[] private pending;
    /// @dev Of each input, from 1: the account that it concerns.
    mapping(uint64 number => uint32) private accountOf;

    function setUp() public override {
        super.setUp();
        for (uint32 index = 1; index <= ACCOUNTS; ++index) {
            setAccount(index, user(index), 0);
        }
    }

    /// forge-config: default.fuzz.runs = 40
    function testFuzzHoldsWhatItOwes(uint256 seed) public {
        for (uint256 i = 0; i < 24; ++i) {
            seed = uint256(keccak256(abi.encode(seed)));
            uint256 action = seed % 8;
            uint32 index = 1 + uint32((seed >> 16) % ACCOUNTS);
            if (action < 3) deposit(index, uint64(1 + (seed >> 32) % 1000));
            else if (action == 3) requestExit(index);
            else if (action < 6) batch(seed >> 64);
            else claim(seed >> 64);
            check();
        }
        vm.warp(START + FREEZE_DELAY + 1);
        rollup.freeze();
        payOut();
    }

    // Before the freeze

    function deposit(uint32 index, uint64 amount) private {
        depositBy(user(index), bytes32(ledger.idOf(ledger.account(index))), amount);
        accountOf[rollup.inboxLength()] = index;
        waiting += amount;
    }

    function requestExit(uint32 index) private {
        Ledger.Account memory entry = ledger.account(index);
        vm.prank(entry.recipient);
        rollup.requestExit(entry.keyX, entry.keyY, index);
        accountOf[rollup.inboxLength()] = index;
    }

    /// @dev All inputs, then a transfer and perhaps a withdrawal.
    function batch(uint256 seed) private {
        for (uint64 number = rollup.inputsConsumed() + 1; number <= rollup.inboxLength(); ++number) {
            InboxEntry memory input = rollup.inboxEntry(number);
            Ledger.Account memory entry = ledger.account(accountOf[number]);
            if (input.amount > 0) {
                entry.balance += input.amount;
                waiting -= input.amount;
                onL2 += input.amount;
            } else {
                grant(entry, entry.balance);
            }
            ledger.set(accountOf[number], entry);
        }
        (uint32 from, uint32 to) = (1 + uint32(seed % ACCOUNTS), 1 + uint32((seed >> 8) % ACCOUNTS));
        Ledger.Account memory sender = ledger.account(from);
        uint64 amount = sender.balance == 0 ? 0 : uint64((seed >> 16) % sender.balance);
        sender.nonce += 1;
        if (seed >> 128 & 1 == 0) {
            grant(sender, amount);
            ledger.set(from, sender);
        } else {
            sender.balance -= amount;
            ledger.set(from, sender);
            Ledger.Account memory receiver = ledger.account(to);
            receiver.balance += amount;
            ledger.set(to, receiver);
        }
        settleLedger(pending);
        if (pending.length > 0) {
            Granted storage granted = grants.push();
            granted.batch = rollup.batchCount();
            granted.all = pending;
            delete pending;
        }
    }

    function grant(Ledger.Account memory entry, uint64 amount) private {
        if (amount == 0) return;
        pending.push(Withdrawal({recipient: entry.recipient, amount: amount}));
        entry.balance -= amount;
        onL2 -= amount;
        unclaimed += amount;
    }

    function claim(uint256 seed) private {
        if (grants.length == 0) return;
        Granted storage granted = grants[seed % grants.length];
        claimOne(granted, (seed >> 64) % granted.all.length);
    }

    function claimOne(Granted storage granted, uint256 which) private {
        if (rollup.claimed(granted.batch, which)) return;
        rollup.claimWithdrawal(granted.batch, granted.all, which);
        unclaimed -= granted.all[which].amount;
    }

    function check() private view {
        vm.assertEq(address(rollup).balance, (onL2 + unclaimed + waiting) * 1 gwei, "what it owes");
    }

    // After it

    function payOut() private {
        for (uint32 index = 1; index <= ACCOUNTS; ++index) {
            ExitProof memory proof = ledger.exitProof(index, consumedHead());
            // Without a batch there is no state with accounts in it.
            if (rollup.batchCount() == 0) continue;
            rollup.exit(proof);
            onL2 -= proof.balance;
            check();
        }
        for (uint64 number = rollup.inputsConsumed() + 1; number <= rollup.inboxLength(); ++number) {
            uint64 amount = rollup.inboxEntry(number).amount;
            if (amount == 0) continue;
            rollup.refundDeposit(number);
            waiting -= amount;
            check();
        }
        for (uint256 i = 0; i < grants.length; ++i) {
            for (uint256 which = 0; which < grants[i].all.length; ++which) {
                claimOne(grants[i], which);
                check();
            }
        }
        vm.assertEq(address(rollup).balance, 0, "all paid");
    }
}
