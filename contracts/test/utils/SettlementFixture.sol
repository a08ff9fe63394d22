// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {SignatureDomain} from "../../src/libraries/SignatureDomain.sol";
import {PaymentsRollup} from "../../src/reference/PaymentsRollup.sol";
import {Hashers} from "../../src/reference/Poseidon.sol";
import {BatchHeader, Certificate, CoverageRenewal, RenewalCertificate} from "../../src/types/Certificate.sol";
import {FreezeReason, Transition} from "../../src/types/Settlement.sol";
import {Groth16Adapter} from "../../src/verifiers/Groth16Adapter.sol";
import {Batches, SettlementHarness} from "./Batches.sol";
import {Fixture} from "./Fixture.sol";
import {ForgeableKey} from "./ForgeableKey.sol";
import {Hashing} from "./Hashing.sol";
import {Signer} from "./Signer.sol";
import {vm} from "./Vm.sol";

/// @title A payments rollup over a committee of seven, with a verifier whose key is forgeable
abstract contract SettlementFixture is Fixture, Batches {
    uint64 internal constant FREEZE_DELAY = 2 days;
    uint64 internal constant EXIT_WINDOW = 4 days;
    uint64 internal constant VERIFIER_DELAY = 8 days;

    Groth16Adapter internal adapter;
    Hashers internal hashers;

    function setUp() public virtual override {
        super.setUp();
        harness = new SettlementHarness();
        epoch = openUsual(N);
        hashers = Hashing.deployAll();
        adapter = new Groth16Adapter(ForgeableKey.keys(2), 1);
        rollup = newRollup();
    }

    function newRollup() internal returns (PaymentsRollup) {
        return new PaymentsRollup(OWNER, log, adapter, FREEZE_DELAY, EXIT_WINDOW, VERIFIER_DELAY, hashers);
    }

    // Batches

    function settle(BatchHeader memory header, Transition memory transition) internal {
        Certificate memory certificate = certified(header);
        bytes memory proof = proofOf(header, transition);
        rollup.settle(certificate, transition, proof);
    }

    function settleNext() internal {
        settleKeptFor(RETENTION);
    }

    /// @dev The next batch, kept for so many seconds from now.
    function settleKeptFor(uint64 lifetime) internal {
        BatchHeader memory header = nextHeader();
        header.expiresAt = uint64(block.timestamp) + lifetime;
        settle(header, step(header.batchNumber));
    }

    /// @dev With gas enough for everything, but not so much that a precompile that burns it all
    /// takes a while.
    function refuse(
        Certificate memory certificate,
        Transition memory transition,
        bytes memory proof,
        bytes memory reason
    ) internal {
        bytes32 root = rollup.stateRoot();
        uint64 count = rollup.batchCount();
        vm.expectRevert(reason);
        rollup.settle{gas: 4_000_000}(certificate, transition, proof);
        vm.assertEq(rollup.stateRoot(), root);
        vm.assertEq(rollup.batchCount(), count);
    }

    // Renewals

    function renewalFor(uint64 lastBatch, uint64 expiresAt) internal view returns (RenewalCertificate memory) {
        return signedRenewal(
            CoverageRenewal({rollup: address(rollup), lastBatch: lastBatch, expiresAt: expiresAt, epoch: epoch}), ""
        );
    }

    function signedRenewal(CoverageRenewal memory renewal, bytes memory absent)
        internal
        view
        returns (RenewalCertificate memory)
    {
        bytes32 digest = harness.digest(renewal, address(registry));
        bytes memory signature = Signer.sign(signersSecret(N, absent), digest, SignatureDomain.SIGNATURE_DST);
        return RenewalCertificate({renewal: renewal, absent: absent, signature: signature});
    }

    // Freezing

    /// @dev Lets so much time pass that nothing settled for too long.
    function freezeByTime() internal {
        if (rollup.batchCount() == 0) settleNext();
        vm.warp(rollup.lastSettledAt() + FREEZE_DELAY + 1);
        rollup.freeze();
        vm.assertEq(uint256(rollup.frozenFor()), uint256(FreezeReason.NothingSettled));
    }
}
