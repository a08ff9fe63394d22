// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {CommitteeRegistry} from "../../src/CommitteeRegistry.sol";
import {ISettlement} from "../../src/interfaces/ISettlement.sol";
import {PaymentsRollup} from "../../src/reference/PaymentsRollup.sol";
import {BatchHeader} from "../../src/types/Certificate.sol";
import {Transition} from "../../src/types/Settlement.sol";
import {Batches, SettlementHarness} from "./Batches.sol";
import {ForgeableKey} from "./ForgeableKey.sol";
import {DigestHarness} from "./Seats.sol";

/// @title Calldata of settlements for tools/crosscheck.mjs
contract SettleDriver is Batches {
    constructor(CommitteeRegistry registry_, uint64 epoch_) {
        registry = registry_;
        epoch = epoch_;
        digests = new DigestHarness();
        harness = new SettlementHarness();
    }

    /// @dev What the Groth16 adapter's constructor takes.
    function adapterArguments() external view returns (bytes memory) {
        return abi.encode(ForgeableKey.keys(2), uint8(1));
    }

    function settleCall(address rollup_, uint256 consumed, uint256 withdrawals) external returns (bytes memory) {
        rollup = PaymentsRollup(rollup_);
        BatchHeader memory header = nextHeader();
        Transition memory transition = step(header.batchNumber);
        transition.inputsConsumed = uint64(consumed);
        if (withdrawals > 0) {
            transition.outputs = element("outputs", header.batchNumber);
            // As in the measurement: coverage is written too.
            header.expiresAt -= 1 hours;
        }
        return abi.encodeCall(ISettlement.settle, (certified(header), transition, proofOf(header, transition)));
    }
}
