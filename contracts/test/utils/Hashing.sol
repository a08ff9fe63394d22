// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IPoseidonT3, IPoseidonT4, IPoseidonT5} from "../../src/interfaces/IPoseidon.sol";
import {Hashers} from "../../src/reference/Poseidon.sol";
import {vm} from "./Vm.sol";

/// @title The Poseidon libraries, deployed from the committed files that everybody deploys
library Hashing {
    function deployAll() internal returns (Hashers memory) {
        return Hashers({
            t3: IPoseidonT3(deploy("PoseidonT3")),
            t4: IPoseidonT4(deploy("PoseidonT4")),
            t5: IPoseidonT5(deploy("PoseidonT5"))
        });
    }

    function deploy(string memory name) internal returns (address library_) {
        string memory file = vm.readFile(string.concat("abi/", name, ".json"));
        bytes memory code = vm.parseJsonBytes(file, ".bytecode");
        assembly ("memory-safe") {
            library_ := create(0, add(code, 0x20), mload(code))
        }
        require(library_ != address(0), "library not deployed");
    }
}
