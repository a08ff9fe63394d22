// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {CertificateLog} from "../../src/CertificateLog.sol";
import {CommitteeRegistry} from "../../src/CommitteeRegistry.sol";
import {DigestHarness, Seats} from "./Seats.sol";
import {vm} from "./Vm.sol";

/// @title A fresh registry and log
abstract contract Fixture is Seats {
    function setUp() public virtual {
        vm.warp(START);
        registry = new CommitteeRegistry(OWNER, DELAY, GRACE);
        log = new CertificateLog(registry);
        digests = new DigestHarness();
    }
}
