// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {TimelockController} from "@openzeppelin/contracts/governance/TimelockController.sol";
import {CertificateLog} from "../src/CertificateLog.sol";
import {CommitteeRegistry} from "../src/CommitteeRegistry.sol";
import {Guarded} from "../src/Guarded.sol";
import {ICertificateLog} from "../src/interfaces/ICertificateLog.sol";
import {ICommitteeRegistry} from "../src/interfaces/ICommitteeRegistry.sol";
import {Certificate} from "../src/types/Certificate.sol";
import {Fixture} from "./utils/Fixture.sol";
import {vm} from "./utils/Vm.sol";

/// @title A registry whose owner is a timelock, and whose pauser does not wait for it
contract TimelockTest is Fixture {
    address private constant GUARDIAN = address(0x6A4D);
    uint256 private constant WAIT = 3 days;

    TimelockController private timelock;

    function setUp() public override {
        super.setUp();
        address[] memory team = new address[](1);
        team[0] = OWNER;
        timelock = new TimelockController(WAIT, team, team, address(0));
        registry = new CommitteeRegistry(address(timelock), DELAY, GRACE);
        log = new CertificateLog(registry);
        register(0, 4);
    }

    function testTheTimelockOpensAnEpoch() public {
        through(abi.encodeCall(ICommitteeRegistry.openEpoch, (operatorsOf(0, 4), 2, 3)));
        vm.assertEq(registry.currentEpoch(), 1);
        log.record(certify(headerFor(1, 4), 4, ""));
    }

    function testThePauseDoesNotWaitForTheTimelock() public {
        through(abi.encodeCall(ICommitteeRegistry.openEpoch, (operatorsOf(0, 4), 2, 3)));
        through(abi.encodeCall(Guarded.setPauser, (GUARDIAN)));
        Certificate memory certificate = certify(headerFor(1, 4), 4, "");
        vm.prank(GUARDIAN);
        registry.pause();
        vm.expectRevert(ICertificateLog.RecordingPaused.selector);
        log.record{gas: 4_000_000}(certificate);
        through(abi.encodeCall(ICommitteeRegistry.unpause, ()));
        log.record(certificate);
    }

    /// @dev Schedules, waits and executes.
    function through(bytes memory call) private {
        vm.startPrank(OWNER);
        timelock.schedule(address(registry), 0, call, 0, 0, WAIT);
        vm.expectRevert();
        timelock.execute(address(registry), 0, call, 0, 0);
        uint256 due = timelock.getTimestamp(timelock.hashOperation(address(registry), 0, call, 0, 0));
        vm.warp(due);
        timelock.execute(address(registry), 0, call, 0, 0);
        vm.stopPrank();
    }
}
