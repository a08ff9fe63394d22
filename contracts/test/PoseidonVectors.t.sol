// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {Hashers, Poseidon} from "../src/reference/Poseidon.sol";
import {AccountTree} from "../src/reference/AccountTree.sol";
import {IPoseidonT3, IPoseidonT4, IPoseidonT5} from "../src/interfaces/IPoseidon.sol";
import {Hashing} from "./utils/Hashing.sol";
import {Ledger} from "./utils/Ledger.sol";
import {VectorReader} from "./utils/VectorReader.sol";
import {vm} from "./utils/Vm.sol";

contract PoseidonHarness is AccountTree {
    constructor(Hashers memory hashers) Poseidon(hashers) {}

    function hashOf(uint256[] calldata inputs) external view returns (uint256) {
        if (inputs.length == 2) return hash(inputs[0], inputs[1]);
        if (inputs.length == 3) return hash(inputs[0], inputs[1], inputs[2]);
        require(inputs.length == 4, "no such library here");
        return hash([inputs[0], inputs[1], inputs[2], inputs[3]]);
    }

    function genesis() external pure returns (bytes32) {
        return GENESIS;
    }
}

/// @title The hash that L1, Rust and the circuit share
contract PoseidonVectorsTest {
    Hashers private hashers;

    function setUp() public {
        hashers = Hashing.deployAll();
    }

    function testVectors() public {
        PoseidonHarness harness = new PoseidonHarness(hashers);
        VectorReader reader = new VectorReader("../vectors/poseidon-v1.json");
        uint256[9] memory seen;
        for (uint256 i = 0;; ++i) {
            string memory path = string.concat("[", vm.toString(i), "]");
            if (!reader.exists(path)) break;
            uint256[] memory inputs = reader.numbers(string.concat(path, ".inputs"));
            ++seen[inputs.length];
            // L1 hashes two, three or four values.
            if (inputs.length < 2 || inputs.length > 4) continue;
            bytes32 expected = reader.word(string.concat(path, ".hash"));
            vm.assertEq(bytes32(harness.hashOf(inputs)), expected, string.concat("hash ", path));
        }
        for (uint256 count = 2; count <= 4; ++count) {
            vm.assertTrue(seen[count] > 0, "vectors for each library");
        }
    }

    function testGenesisIsTheEmptyState() public {
        vm.assertEq(new PoseidonHarness(hashers).genesis(), new Ledger(hashers).stateRoot(0));
    }

    function testRefusesLibrariesThatAreNotPoseidon() public {
        WrongLibrary wrong = new WrongLibrary();
        Hashers memory bad = hashers;
        bad.t3 = IPoseidonT3(address(wrong));
        refuse(bad, address(wrong));
        bad = hashers;
        bad.t4 = IPoseidonT4(address(wrong));
        refuse(bad, address(wrong));
        bad = hashers;
        bad.t5 = IPoseidonT5(address(wrong));
        refuse(bad, address(wrong));
    }

    function refuse(Hashers memory bad, address wrong) private {
        vm.expectRevert(abi.encodeWithSelector(Poseidon.WrongHasher.selector, wrong));
        new PoseidonHarness(bad);
    }
}

contract WrongLibrary {
    fallback(bytes calldata) external returns (bytes memory) {
        return abi.encode(1);
    }
}
