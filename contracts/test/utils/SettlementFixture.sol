// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {SignatureDomain} from "../../src/libraries/SignatureDomain.sol";
import {ClaimEncoding} from "../../src/libraries/ClaimEncoding.sol";
import {Hashers} from "../../src/reference/Poseidon.sol";
import {PaymentsRollup} from "../../src/reference/PaymentsRollup.sol";
import {BatchHeader, Certificate, CoverageRenewal, RenewalCertificate} from "../../src/types/Certificate.sol";
import {PublicClaim} from "../../src/types/PublicClaim.sol";
import {FreezeReason, Transition} from "../../src/types/Settlement.sol";
import {Groth16Adapter} from "../../src/verifiers/Groth16Adapter.sol";
import {Fixture} from "./Fixture.sol";
import {ForgeableKey} from "./ForgeableKey.sol";
import {Hashing} from "./Hashing.sol";
import {Signer} from "./Signer.sol";
import {vm} from "./Vm.sol";

/// @dev Gives claims and renewals in memory the calldata that libraries ask for.
contract SettlementHarness {
    function pointCount(PublicClaim calldata claim) external pure returns (uint256) {
        return ClaimEncoding.pointCount(claim);
    }

    function encode(PublicClaim calldata claim) external pure returns (bytes memory) {
        return ClaimEncoding.encode(claim);
    }

    function fields(PublicClaim calldata claim) external pure returns (uint256[] memory) {
        return ClaimEncoding.fields(claim, ClaimEncoding.pointCount(claim));
    }

    function domain(uint64 chainId, address settlement) external pure returns (bytes16) {
        return ClaimEncoding.domain(chainId, settlement);
    }

    function digest(CoverageRenewal calldata renewal, address registry) external view returns (bytes32) {
        return SignatureDomain.digest(renewal, registry);
    }
}

/// @title A payments rollup over a committee of seven, with a verifier whose key is forgeable
abstract contract SettlementFixture is Fixture {
    uint64 internal constant FREEZE_DELAY = 2 days;
    uint64 internal constant EXIT_WINDOW = 4 days;
    uint64 internal constant VERIFIER_DELAY = 8 days;
    uint256 internal constant N = 7;
    uint16 internal constant K = 3;
    uint16 internal constant Q = 5;
    uint256 internal constant R = ForgeableKey.R;

    PaymentsRollup internal rollup;
    Groth16Adapter internal adapter;
    Hashers internal hashers;
    SettlementHarness internal harness;
    uint64 internal epoch;

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

    /// @dev A header for the rollup's next batch.
    function nextHeader() internal view returns (BatchHeader memory header) {
        header = headerFor(epoch, N);
        header.rollup = address(rollup);
        header.batchNumber = rollup.batchCount() + 1;
        header.batchHash = element("batch", header.batchNumber);
    }

    /// @dev To another state, without inputs or outputs.
    function step(uint64 number) internal view returns (Transition memory) {
        return Transition({
            newStateRoot: element("state", number), inputsConsumed: rollup.inputsConsumed(), outputs: bytes32(0)
        });
    }

    function certified(BatchHeader memory header) internal view returns (Certificate memory) {
        return certify(header, N, hex"0105");
    }

    /// @dev The claim that the contract has to come to, put together apart from it.
    function claimOf(BatchHeader memory header, Transition memory transition)
        internal
        view
        returns (PublicClaim memory)
    {
        return PublicClaim({
            oldStateRoot: rollup.stateRoot(),
            newStateRoot: transition.newStateRoot,
            chainId: uint64(block.chainid),
            settlement: address(rollup),
            batchNumber: rollup.batchCount() + 1,
            payloadLength: header.payloadLength,
            hashKind: header.hashKind,
            batchHash: header.batchHash,
            l1Inputs: rollup.inputsCommitment(transition.inputsConsumed),
            l1Outputs: transition.outputs,
            points: pointsOf(header, N, K),
            payloadFingerprint: bytes.concat(header.payloadFingerprint)
        });
    }

    function pointsOf(BatchHeader memory header, uint256 n, uint256 k) internal pure returns (bytes memory points) {
        bytes32 seed = sha256(
            bytes.concat(
                "dac/v1/points",
                header.shardRoot,
                header.batchHash,
                bytes8(header.payloadLength),
                bytes2(uint16(n)),
                bytes2(uint16(k))
            )
        );
        for (uint256 j = 0; j < header.payloadFingerprint.length / 16; ++j) {
            points = bytes.concat(points, bytes16(sha256(bytes.concat("dac/v1/point", seed, bytes1(uint8(j))))));
        }
    }

    function prove(PublicClaim memory claim) internal view returns (bytes memory) {
        return ForgeableKey.prove(claim.points.length / 16, harness.fields(claim));
    }

    function proofOf(BatchHeader memory header, Transition memory transition) internal view returns (bytes memory) {
        return prove(claimOf(header, transition));
    }

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

    /// @dev With gas enough for everything, but not so much that a precompile that burns it all takes a while.
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
        vm.warp(rollup.lastSettledAt() + FREEZE_DELAY + 1);
        rollup.freeze();
        vm.assertEq(uint256(rollup.frozenFor()), uint256(FreezeReason.NothingSettled));
    }

    /// @dev Some element of the field.
    function element(string memory what, uint256 number) internal pure returns (bytes32) {
        return bytes32(uint256(keccak256(abi.encode(what, number))) % R);
    }
}
