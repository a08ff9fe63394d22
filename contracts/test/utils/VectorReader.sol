// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {vm} from "./Vm.sol";

/// @dev Reads a field in a call of its own, which gives the memory of a whole file back.
contract VectorReader {
    string private path;

    constructor(string memory path_) {
        path = path_;
    }

    function exists(string calldata key) external view returns (bool) {
        return vm.keyExistsJson(vm.readFile(path), key);
    }

    function number(string calldata key) external view returns (uint256) {
        return vm.parseJsonUint(vm.readFile(path), key);
    }

    function numbers(string calldata key) external view returns (uint256[] memory) {
        return vm.parseJsonUintArray(vm.readFile(path), key);
    }

    function account(string calldata key) external view returns (address) {
        return vm.parseJsonAddress(vm.readFile(path), key);
    }

    function blob(string calldata key) external view returns (bytes memory) {
        return vm.parseJsonBytes(vm.readFile(path), key);
    }

    function word(string calldata key) external view returns (bytes32) {
        return vm.parseJsonBytes32(vm.readFile(path), key);
    }

    function words(string calldata key) external view returns (bytes32[] memory) {
        return vm.parseJsonBytes32Array(vm.readFile(path), key);
    }

    function typed(string calldata key, string calldata description) external view returns (bytes memory) {
        return vm.parseJsonType(vm.readFile(path), key, description);
    }

    /// @dev A list of byte strings, one after the other.
    function joined(string calldata key) external view returns (bytes memory all) {
        bytes[] memory parts = vm.parseJsonBytesArray(vm.readFile(path), key);
        for (uint256 i = 0; i < parts.length; ++i) {
            all = bytes.concat(all, parts[i]);
        }
    }
}
