// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {BatchLedger} from "../src/settlement/BatchLedger.sol";
import {BatchHeader, Certificate, RenewalCertificate} from "../src/types/Certificate.sol";
import {LedgerFixture} from "./utils/LedgerFixture.sol";
import {Measured} from "./utils/Measured.sol";
import {vm} from "./utils/Vm.sol";

/// @title What a ledger's transactions cost; the goals are of a batch
contract LedgerGasTest is LedgerFixture, Measured {
    function testGasOfBundles() public {
        measure("with look-ups", 38_000);
        home = BatchLedger(address(factory.deploy(10, "plain", LIFETIME, false)));
        measure("without look-ups", 15_000);
    }

    function testGasOfSingleBatches() public {
        Certificate memory first = certify(headerOf(1), N, hex"0105");
        home.accept(first);
        Certificate memory second = certify(headerOf(2), N, hex"0105");
        home.accept(second);
        keep("accept, with look-ups");
        RenewalCertificate memory renewal = renewalOf(2, second.header.expiresAt + 1 days, epoch);
        home.renewCoverage(renewal);
        keep("renewCoverage");
        factory.deploy(7, "measured", LIFETIME, true);
        keep("deploy");
    }

    /// @dev A hundred batches of a bundle of a thousand, behind a first one that fills the slots
    /// that every later one finds full.
    function measure(string memory what, uint256 goal) private {
        home.accept(certify(headerOf(1), N, ""));
        Bundled memory all = bundled(headersFrom(2, 100), 900);
        record(all);
        submit(all);
        uint256 transaction = vm.lastCallGas().gasTotalUsed;
        vm.snapshotValue(group("ledger"), string.concat("acceptBundled, 100 of 1000, ", what), transaction);
        vm.assertLe(transaction, 100 * goal, "goal for a ledger's batches");
    }

    function keep(string memory what) private {
        vm.snapshotValue(group("ledger"), what, vm.lastCallGas().gasTotalUsed);
    }
}
