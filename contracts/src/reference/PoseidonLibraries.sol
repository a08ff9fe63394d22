// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

// Compiled here, for abi/ and the tests; called by address (Poseidon.sol). Their assembly is meant for the compiler's
// older pipeline: through the newer one they would be too long to deploy. foundry.toml keeps the two apart, which is why
// nothing else imports this file.
import {PoseidonT3} from "poseidon-solidity/PoseidonT3.sol";
import {PoseidonT4} from "poseidon-solidity/PoseidonT4.sol";
import {PoseidonT5} from "poseidon-solidity/PoseidonT5.sol";
