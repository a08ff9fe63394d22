// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {ExitProof} from "../../src/interfaces/IPaymentsRollup.sol";
import {PaymentsRollup} from "../../src/reference/PaymentsRollup.sol";
import {Withdrawal} from "../../src/reference/Withdrawals.sol";

/// @dev Takes no ether.
contract Refusing {}

/// @dev Returns more than anyone would want to copy.
contract Verbose {
    receive() external payable {
        assembly ("memory-safe") {
            return(0, 1000000)
        }
    }
}

/// @dev Calls back with the calldata that the test gave it, and takes the payment whether that
/// works or not.
contract Reentrant {
    address private target;
    bytes private call;
    uint256 public received;
    bool public succeeded;

    function prepare(address target_, bytes calldata call_) external {
        target = target_;
        call = call_;
    }

    function forward(address to, uint256 value, bytes calldata data) external payable {
        (bool ok,) = to.call{value: value}(data);
        require(ok, "forwarded call failed");
    }

    receive() external payable {
        ++received;
        if (target == address(0)) return;
        (bool ok,) = target.call(call);
        succeeded = succeeded || ok;
    }
}
