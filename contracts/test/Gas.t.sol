// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {Certificate} from "../src/types/Certificate.sol";
import {Fixture} from "./utils/Fixture.sol";
import {Measured} from "./utils/Measured.sol";
import {Signer} from "./utils/Signer.sol";
import {vm} from "./utils/Vm.sol";

/// @title What transactions cost
/// @notice Foundry's isolation runs each call from a test as a
/// transaction of its own, so that a figure holds the intrinsic gas (21,000 and calldata) and cold
/// accounts and slots, as on a chain.
contract GasTest is Fixture, Measured {
    /// @dev EIP-2929: a slot from zero to non-zero that was read before in the transaction.
    uint256 private constant STORAGE_WRITE = 20_000;
    /// @dev EIP-7825: no transaction may take more.
    uint256 private constant TRANSACTION_CAP = 1 << 24;

    function testGasOf4Seats() public {
        measure(4, 1, 175_000, 190_000);
    }

    function testGasOf16Seats() public {
        measure(16, 5, 175_000, 190_000);
    }

    function testGasOf64Seats() public {
        measure(64, 21, 175_000, 345_000);
    }

    function testGasOf256Seats() public {
        measure(256, 85, 175_000, 345_000);
    }

    function testGasOfRegistering() public {
        (bytes memory key, bytes memory proof) = possession(operatorOf(0), Signer.secret(0));
        vm.prank(operatorOf(0));
        registry.register(key, proof, DISPERSAL, RETRIEVAL);
        vm.snapshotValue(group("register"), "one operator", vm.lastCallGas().gasTotalUsed);
    }

    function measure(uint256 n, uint256 absent, uint256 goalAll, uint256 goalAbsent) private {
        uint64 epoch = openUsual(n);
        uint256 opening = vm.lastCallGas().gasTotalUsed;
        vm.assertLe(opening, TRANSACTION_CAP, "opening an epoch must fit one transaction");
        vm.snapshotValue(group("openEpoch"), seats(n), opening);

        open(operatorsOf(0, n), uint16(absent) + 1, 2 * uint16(absent) + 1);
        opening = vm.lastCallGas().gasTotalUsed;
        vm.assertLe(opening, TRANSACTION_CAP, "opening the next epoch must fit one transaction");
        vm.snapshotValue(group("openEpoch"), string.concat(seats(n), ", after another"), opening);

        recordAndMeasure(epoch, n, 0, goalAll);
        recordAndMeasure(epoch, n, absent, goalAbsent);
    }

    function recordAndMeasure(uint64 epoch, uint256 n, uint256 absent, uint256 goal) private {
        Certificate memory certificate = certify(headerFor(epoch, n), n, everyThird(absent));
        certificate.header.batchNumber += uint64(absent);
        certificate = certify(certificate.header, n, certificate.absent);
        vm.record();
        log.record(certificate);
        uint256 transaction = vm.lastCallGas().gasTotalUsed;
        (, bytes32[] memory writes) = vm.accesses(address(log));
        vm.assertEq(writes.length, 1, "storage writes");

        string memory name = string.concat(seats(n), ", ", vm.toString(absent), " absent");
        uint256 intrinsic = intrinsicGas(abi.encodeCall(log.record, (certificate)));
        vm.snapshotValue(group("record"), string.concat(name, ": intrinsic"), intrinsic);
        vm.snapshotValue(group("record"), string.concat(name, ": execution"), transaction - intrinsic - STORAGE_WRITE);
        vm.snapshotValue(group("record"), string.concat(name, ": storage writes"), STORAGE_WRITE);
        vm.snapshotValue(group("record"), string.concat(name, ": transaction"), transaction);
        vm.assertLe(transaction - STORAGE_WRITE, goal, "goal for a record transaction without its storage writes");
    }

    function seats(uint256 n) private pure returns (string memory) {
        return string.concat("n = ", n < 10 ? "  " : n < 100 ? " " : "", vm.toString(n));
    }
}
