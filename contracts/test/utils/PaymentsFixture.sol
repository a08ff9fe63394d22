// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {Withdrawal} from "../../src/reference/Withdrawals.sol";
import {BatchHeader} from "../../src/types/Certificate.sol";
import {Transition} from "../../src/types/Settlement.sol";
import {Ledger} from "./Ledger.sol";
import {SettlementFixture} from "./SettlementFixture.sol";
import {vm} from "./Vm.sol";

/// @title A payments rollup with accounts on L2
abstract contract PaymentsFixture is SettlementFixture {
    Ledger internal ledger;

    function setUp() public virtual override {
        super.setUp();
        ledger = new Ledger(hashers);
    }

    function user(uint256 number) internal pure returns (address) {
        return address(uint160(0xC0FFEE0000 + number));
    }

    /// @dev Ether for the user, who deposits it.
    function depositBy(address from, bytes32 id, uint64 amount) internal {
        vm.deal(from, from.balance + uint256(amount) * 1 gwei);
        vm.prank(from);
        rollup.deposit{value: uint256(amount) * 1 gwei}(id);
    }

    function setAccount(uint32 index, address recipient, uint64 balance) internal {
        ledger.set(
            index,
            Ledger.Account({
                keyX: uint256(element("keyX", index)),
                keyY: uint256(element("keyY", index)),
                recipient: recipient,
                balance: balance,
                nonce: index % 5
            })
        );
    }

    /// @dev Settles the ledger's state, all inputs consumed, these withdrawals granted.
    function settleLedger(Withdrawal[] memory granted) internal {
        BatchHeader memory header = nextHeader();
        Transition memory transition;
        transition.inputsConsumed = rollup.inboxLength();
        transition.newStateRoot = ledger.stateRoot(rollup.inputsCommitment(transition.inputsConsumed));
        transition.outputs = commitment(granted);
        settle(header, transition);
    }

    function commitment(Withdrawal[] memory all) internal view returns (bytes32) {
        uint256 chain = 0;
        for (uint256 i = 0; i < all.length; ++i) {
            chain = hashers.t4.hash([chain, uint160(all[i].recipient), all[i].amount]);
        }
        return bytes32(chain);
    }

    function none() internal pure returns (Withdrawal[] memory) {
        return new Withdrawal[](0);
    }

    function consumedHead() internal view returns (bytes32) {
        return rollup.inputsCommitment(rollup.inputsConsumed());
    }

    function pause() internal {
        vm.prank(OWNER);
        rollup.pause();
    }
}
