// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

// The owner that registry and settlement contracts are meant to have, compiled with the settings of
// this project: abi/TimelockController.json. Its delay adds to those of the contracts; the pauser
// of Guarded does not wait for it.
import {TimelockController} from "@openzeppelin/contracts/governance/TimelockController.sol";
