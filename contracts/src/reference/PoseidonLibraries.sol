// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

// The libraries are compiled here for abi/ and the tests; contracts call them by address
// (Poseidon.sol). Their assembly is written for the compiler's older pipeline; the newer one makes
// them too long to deploy. foundry.toml keeps the two apart, so no other file imports this one.
import {PoseidonT3} from "poseidon-solidity/PoseidonT3.sol";
import {PoseidonT4} from "poseidon-solidity/PoseidonT4.sol";
import {PoseidonT5} from "poseidon-solidity/PoseidonT5.sol";
