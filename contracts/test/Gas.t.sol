// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {Certificate} from "../src/types/Certificate.sol";
import {Bundles} from "./utils/Bundles.sol";
import {Fixture} from "./utils/Fixture.sol";
import {Measured} from "./utils/Measured.sol";
import {Signer} from "./utils/Signer.sol";
import {vm} from "./utils/Vm.sol";

/// @title What transactions cost
/// @notice Foundry's isolation runs each call from a test as a
/// transaction of its own, so that a figure holds the intrinsic gas (21,000 and calldata) and cold
/// accounts and slots, as on a chain.
contract GasTest is Fixture, Bundles, Measured {
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

    /// @dev Sixteen seats, of which five are absent. The goals are of a batch, the whole
    /// transaction divided by the batches.
    function testGasOfBundles() public {
        uint64 epoch = openUsual(16);
        measureBundle(epoch, 1, 250_000);
        measureBundle(epoch, 100, 4000);
        measureBundle(epoch, 1000, 2000);
        measureBundle(epoch, 2048, 2000);
    }

    function measureBundle(uint64 epoch, uint256 count, uint256 goal) private {
        bytes32[] memory list = digestsFor(count);
        bytes memory absent = everyThird(5);
        bytes memory signature = signBundle(bundleOf(epoch, list), 16, absent);
        vm.record();
        log.recordBundle(epoch, list, absent, signature);
        uint256 transaction = vm.lastCallGas().gasTotalUsed;
        (, bytes32[] memory writes) = vm.accesses(address(log));
        vm.assertEq(writes.length, 1, "storage writes");
        string memory name = string.concat(vm.toString(count), count == 1 ? " batch" : " batches");
        vm.snapshotValue(group("bundle"), string.concat(name, ": transaction"), transaction);
        vm.snapshotValue(group("bundle"), string.concat(name, ": a batch"), transaction / count);
        vm.assertLe(transaction, goal * count, "goal for a bundle's transaction");
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
