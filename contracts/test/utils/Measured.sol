// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {vm} from "./Vm.sol";

/// @title What the tests that measure gas share
abstract contract Measured {
    /// @dev What a transaction pays before it runs: 21,000, 4 a zero byte and 16 any other. The
    /// floor of EIP-7623, 10 and 40, lies far below what a record pays in all.
    function intrinsicGas(bytes memory data) internal pure returns (uint256 gas) {
        gas = 21_000;
        for (uint256 i = 0; i < data.length; ++i) {
            gas += data[i] == 0 ? 4 : 16;
        }
    }

    function group(string memory what) internal view returns (string memory) {
        string memory profile = vm.envOr("FOUNDRY_PROFILE", "default");
        bool osaka = keccak256(bytes(profile)) == keccak256("osaka");
        return string.concat(what, osaka ? ".osaka" : ".prague");
    }
}
