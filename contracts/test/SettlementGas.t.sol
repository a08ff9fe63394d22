// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {ExitProof} from "../src/interfaces/IPaymentsRollup.sol";
import {Withdrawal} from "../src/reference/Withdrawals.sol";
import {BatchHeader, Certificate, RenewalCertificate} from "../src/types/Certificate.sol";
import {Transition} from "../src/types/Settlement.sol";
import {Ledger} from "./utils/Ledger.sol";
import {Measured} from "./utils/Measured.sol";
import {SettlementFixture} from "./utils/SettlementFixture.sol";
import {vm} from "./utils/Vm.sol";

/// @title What a rollup's transactions cost, with the Groth16 adapter and a committee of seven
/// @notice Whole transactions, as in Gas.t.sol: intrinsic gas, cold accounts and slots included.
contract SettlementGasTest is SettlementFixture, Measured {
    uint256 private constant SETTLE_GOAL = 480_000;

    Ledger private ledger;
    address private constant USER = address(0xCAFE);

    function setUp() public override {
        super.setUp();
        ledger = new Ledger(hashers);
        // Not the first deposit or batch: slots that every later one finds in use are in use.
        vm.deal(USER, 1 ether);
        vm.prank(USER);
        rollup.deposit{value: 1 gwei}(element("depositor", 0));
        settleNext();
        vm.warp(START + 1 hours);
    }

    function testGasOfSettling() public {
        rollup.deposit{value: 1 gwei}(element("depositor", 1));
        BatchHeader memory header = nextHeader();
        Transition memory transition = step(2);
        transition.inputsConsumed = 1;
        transition.outputs = element("outputs", 2);
        // Shorter than what is covered, so that coverage is written too: a batch can't cost more.
        header.expiresAt = START + RETENTION - 1;
        Certificate memory certificate = certified(header);
        bytes memory proof = proofOf(header, transition);
        rollup.settle(certificate, transition, proof);
        bytes memory call = abi.encodeCall(rollup.settle, (certificate, transition, proof));
        uint256 used = recordSettling("one input, one withdrawal", call);
        vm.assertLe(used, SETTLE_GOAL, "goal for settling");
    }

    function testGasOfSettlingNothingOnL1() public {
        BatchHeader memory header = nextHeader();
        Transition memory transition = step(2);
        Certificate memory certificate = certified(header);
        bytes memory proof = proofOf(header, transition);
        rollup.settle(certificate, transition, proof);
        recordSettling("no input, no withdrawal", abi.encodeCall(rollup.settle, (certificate, transition, proof)));
    }

    function testGasOfSettlingRecorded() public {
        BatchHeader memory header = nextHeader();
        Transition memory transition = step(2);
        transition.outputs = element("outputs", 2);
        log.record(certified(header));
        bytes memory proof = proofOf(header, transition);
        rollup.settleRecorded(header, transition, proof);
        bytes memory call = abi.encodeCall(rollup.settleRecorded, (header, transition, proof));
        recordSettling("recorded before, one withdrawal", call);
    }

    function testGasOfRenewing() public {
        RenewalCertificate memory certificate = renewalFor(1, START + 60 days);
        rollup.renewCoverage(certificate);
        record("rollup", "renewCoverage");
    }

    function testGasOfInputs() public {
        rollup.deposit{value: 1 gwei}(element("depositor", 1));
        record("rollup", "deposit");
        rollup.requestExit(1, 2, 3);
        record("rollup", "requestExit");
    }

    function testGasOfClaiming() public {
        uint256[2] memory counts = [uint256(1), 20];
        for (uint256 i = 0; i < counts.length; ++i) {
            Withdrawal[] memory all = new Withdrawal[](counts[i]);
            uint256 chain = 0;
            for (uint256 j = 0; j < all.length; ++j) {
                all[j] = Withdrawal({recipient: address(uint160(0xF00D + j)), amount: 5});
                chain = hashers.t4.hash([chain, uint160(all[j].recipient), all[j].amount]);
            }
            BatchHeader memory header = nextHeader();
            Transition memory transition = step(header.batchNumber);
            transition.outputs = bytes32(chain);
            settle(header, transition);
            vm.deal(address(rollup), 1 ether);
            rollup.claimWithdrawal(header.batchNumber, all, 0);
            record("rollup", i == 0 ? "claimWithdrawal, the only one" : "claimWithdrawal, one of 20");
        }
    }

    function testGasOfLeaving() public {
        ledger.set(
            4321, Ledger.Account({keyX: uint256(element("key", 0)), keyY: 2, recipient: USER, balance: 7, nonce: 3})
        );
        BatchHeader memory header = nextHeader();
        Transition memory transition = step(2);
        transition.newStateRoot = ledger.stateRoot(0);
        settle(header, transition);
        vm.deal(address(rollup), 1 ether);
        vm.warp(rollup.lastSettledAt() + FREEZE_DELAY + 1);
        rollup.freeze();
        record("rollup", "freeze");
        ExitProof memory proof = ledger.exitProof(4321, 0);
        rollup.exit(proof);
        record("rollup", "exit");
        rollup.refundDeposit(1);
        record("rollup", "refundDeposit");
    }

    function recordSettling(string memory name, bytes memory call) private returns (uint256 used) {
        used = record("settle", string.concat(name, ": transaction"));
        uint256 intrinsic = intrinsicGas(call);
        vm.snapshotValue(group("settle"), string.concat(name, ": intrinsic"), intrinsic);
        vm.snapshotValue(group("settle"), string.concat(name, ": execution and storage"), used - intrinsic);
    }

    function record(string memory what, string memory name) private returns (uint256 used) {
        used = vm.lastCallGas().gasTotalUsed;
        vm.snapshotValue(group(what), name, used);
    }
}
