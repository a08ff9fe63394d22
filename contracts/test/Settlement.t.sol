// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {ICertificateLog} from "../src/interfaces/ICertificateLog.sol";
import {IBatchSequence} from "../src/interfaces/IBatchSequence.sol";
import {ISettlement} from "../src/interfaces/ISettlement.sol";
import {IValidityVerifier} from "../src/interfaces/IValidityVerifier.sol";
import {ICommitteeRegistry} from "../src/interfaces/ICommitteeRegistry.sol";
import {BundleTree} from "../src/libraries/BundleTree.sol";
import {CertificateLib} from "../src/libraries/CertificateLib.sol";
import {BatchHeader, BundlePath, Certificate} from "../src/types/Certificate.sol";
import {PublicClaim} from "../src/types/PublicClaim.sol";
import {Transition} from "../src/types/Settlement.sol";
import {PaymentsRollup} from "../src/reference/PaymentsRollup.sol";
import {Bundles} from "./utils/Bundles.sol";
import {SettlementFixture} from "./utils/SettlementFixture.sol";
import {vm} from "./utils/Vm.sol";

/// @title Every rule of settling, kept and broken
contract SettlementTest is SettlementFixture, Bundles {
    bytes private constant INVALID = abi.encodeWithSelector(IValidityVerifier.InvalidProof.selector);

    // Kept

    function testSettlesBatchAfterBatch() public {
        for (uint64 number = 1; number <= 3; ++number) {
            vm.warp(START + number * 1 hours);
            BatchHeader memory header = nextHeader();
            Transition memory transition = step(number);
            if (number == 2) transition.outputs = element("outputs", 2);
            Certificate memory certificate = certified(header);
            bytes memory proof = proofOf(header, transition);
            bytes32 digest = digests.digest(header, address(registry));
            vm.expectEmit(true, true, true, true, address(rollup));
            emit IBatchSequence.BatchSettled(
                digest, number, epoch, header.expiresAt, transition.newStateRoot, 0, transition.outputs
            );
            vm.prank(address(uint160(0xB0B + number)));
            rollup.settle(certificate, transition, proof);
            vm.assertEq(rollup.batchCount(), number);
            vm.assertEq(rollup.stateRoot(), transition.newStateRoot);
            vm.assertEq(rollup.outputs(number), transition.outputs);
            vm.assertEq(rollup.lastSettledAt(), block.timestamp);
            vm.assertEq(rollup.coverageUntil(), START + 1 hours + RETENTION);
        }
    }

    function testSettlesARecordedBatch() public {
        BatchHeader memory header = nextHeader();
        Transition memory transition = step(1);
        bytes memory proof = proofOf(header, transition);
        bytes32 digest = digests.digest(header, address(registry));
        vm.expectRevert(abi.encodeWithSelector(IBatchSequence.NotRecorded.selector, digest));
        rollup.settleRecorded(header, transition, proof);
        log.record(certified(header));
        rollup.settleRecorded(header, transition, proof);
        vm.assertEq(rollup.batchCount(), 1);
        vm.assertEq(rollup.stateRoot(), transition.newStateRoot);
    }

    /// @dev A batch that was recorded first settles inline too: that form does not ask the log.
    function testSettlesInlineWhatIsRecorded() public {
        BatchHeader memory header = nextHeader();
        log.record(certified(header));
        settle(header, step(1));
    }

    /// @dev Recorded in time is certified; what follows from the committee's later changes is up to
    /// the batch's lifetime.
    function testSettlesARecordedBatchOfAnEpochBeyondGrace() public {
        BatchHeader memory header = nextHeader();
        log.record(certified(header));
        open(operatorsOf(0, N), K, Q);
        vm.warp(START + DELAY + GRACE);
        Transition memory transition = step(1);
        rollup.settleRecorded(header, transition, proofOf(header, transition));
    }

    /// @dev The points are those of the n and k of the batch's own epoch, not of the current one.
    function testARecordedBatchIsProvedAtThePointsOfItsOwnEpoch() public {
        BatchHeader memory header = nextHeader();
        log.record(certified(header));
        open(operatorsOf(0, N), K - 1, Q);
        vm.warp(START + DELAY);
        vm.assertEq(registry.currentEpoch(), epoch + 1);
        Transition memory transition = step(1);
        bytes memory proof = proofOf(header, transition);
        PublicClaim memory claim = claimOf(header, transition);
        claim.points = pointsOf(header, N, K - 1);
        bytes memory elsewhere = prove(claim);
        vm.expectRevert(IValidityVerifier.InvalidProof.selector);
        rollup.settleRecorded{gas: 4_000_000}(header, transition, elsewhere);
        rollup.settleRecorded(header, transition, proof);
    }

    function testSettlesInlineThroughGrace() public {
        BatchHeader memory header = nextHeader();
        open(operatorsOf(0, N), K, Q);
        vm.warp(START + DELAY - 1 + GRACE);
        settle(header, step(1));
    }

    function testTheStateMayStay() public {
        BatchHeader memory header = nextHeader();
        Transition memory transition = step(1);
        transition.newStateRoot = rollup.stateRoot();
        settle(header, transition);
        vm.assertEq(rollup.stateRoot(), transition.newStateRoot);
    }

    // Bundles

    function testSettlesABundledBatch() public {
        BatchHeader memory header = nextHeader();
        BundlePath memory place = bundledAmong(header, 6);
        Transition memory transition = step(1);
        bytes memory proof = proofOf(header, transition);
        bytes32 digest = bundleDigest(place.bundle);
        vm.expectRevert(abi.encodeWithSelector(IBatchSequence.NotRecorded.selector, digest));
        rollup.settleBundled(header, place, transition, proof);
        recordBundle(header, 6);
        rollup.settleBundled(header, place, transition, proof);
        vm.assertEq(rollup.stateRoot(), transition.newStateRoot);
        vm.expectRevert(abi.encodeWithSelector(IBatchSequence.BatchAlreadySettled.selector, 1, 1));
        rollup.settleBundled(header, place, transition, proof);
    }

    function testRefusesAnotherPlaceInABundle() public {
        BatchHeader memory header = nextHeader();
        BundlePath memory place = bundledAmong(header, 6);
        recordBundle(header, 6);
        Transition memory transition = step(1);
        bytes memory proof = proofOf(header, transition);
        place.index ^= 1;
        vm.expectPartialRevert(IBatchSequence.NotInBundle.selector);
        rollup.settleBundled(header, place, transition, proof);
        place.index = 7;
        vm.expectRevert(abi.encodeWithSelector(BundleTree.IndexOutOfRange.selector, 7, 7));
        rollup.settleBundled(header, place, transition, proof);
        place = bundledAmong(header, 6);
        place.path = new bytes32[](4);
        vm.expectPartialRevert(BundleTree.PathLength.selector);
        rollup.settleBundled(header, place, transition, proof);
        place = bundledAmong(header, 6);
        place.bundle.count += 1;
        bytes32 digest = bundleDigest(place.bundle);
        vm.expectRevert(abi.encodeWithSelector(IBatchSequence.NotRecorded.selector, digest));
        rollup.settleBundled(header, place, transition, proof);
        place.bundle.count -= 1;
        header.payloadLength += 1;
        vm.expectPartialRevert(IBatchSequence.NotInBundle.selector);
        rollup.settleBundled(header, place, transition, proof);
    }

    /// @dev What the log, which sees digests alone, could not check.
    function testRefusesBundledHeadersThatBreakTheRulesOfACertificate() public {
        BatchHeader memory header = nextHeader();
        header.hashKind = 3;
        refuseBundled(header, abi.encodeWithSelector(CertificateLib.UnknownHashKind.selector, 3));
        header = nextHeader();
        header.payloadLength = (64 << 20) + 1;
        refuseBundled(header, abi.encodeWithSelector(CertificateLib.PayloadLength.selector, (64 << 20) + 1, 64 << 20));
        header = nextHeader();
        header.payloadFingerprint = new bytes(16);
        refuseBundled(header, abi.encodeWithSelector(CertificateLib.PayloadFingerprintLength.selector, 16, 32));
        header = nextHeader();
        header.epoch = epoch + 1;
        refuseBundled(header, abi.encodeWithSelector(IBatchSequence.NotOfBundlesEpoch.selector, epoch + 1, epoch));
        header = nextHeader();
        header.expiresAt = START + FREEZE_DELAY + EXIT_WINDOW - 1;
        refuseBundled(
            header,
            abi.encodeWithSelector(
                IBatchSequence.LifetimeTooShort.selector, header.expiresAt, START + FREEZE_DELAY + EXIT_WINDOW
            )
        );
    }

    function refuseBundled(BatchHeader memory header, bytes memory reason) private {
        BundlePath memory place = bundledAmong(header, 2);
        recordBundle(header, 2);
        Transition memory transition = step(1);
        vm.expectRevert(reason);
        rollup.settleBundled(header, place, transition, "");
    }

    /// @dev The header's batch and so many with greater digests.
    function listWith(BatchHeader memory header, uint256 others) private view returns (bytes32[] memory list) {
        list = new bytes32[](others + 1);
        list[0] = digests.digest(header, address(registry));
        for (uint256 i = 1; i <= others; ++i) {
            list[i] = bytes32(type(uint256).max - others + i);
        }
    }

    function bundledAmong(BatchHeader memory header, uint256 others) private view returns (BundlePath memory) {
        bytes32[] memory list = listWith(header, others);
        return BundlePath({bundle: bundleOf(epoch, list), index: 0, path: path(list, 0)});
    }

    function recordBundle(BatchHeader memory header, uint256 others) private {
        bytes32[] memory list = listWith(header, others);
        log.recordBundle(epoch, list, "", signBundle(bundleOf(epoch, list), N, ""));
    }

    // Which batch

    function testRefusesABatchOfAnotherRollup() public {
        BatchHeader memory header = nextHeader();
        header.rollup = ROLLUP;
        refuseBatch(header, abi.encodeWithSelector(IBatchSequence.WrongRollup.selector, ROLLUP, address(rollup)));
    }

    function testRefusesReplay() public {
        BatchHeader memory header = nextHeader();
        Transition memory transition = step(1);
        Certificate memory certificate = certified(header);
        bytes memory proof = proofOf(header, transition);
        rollup.settle(certificate, transition, proof);
        bytes memory reason = abi.encodeWithSelector(IBatchSequence.BatchAlreadySettled.selector, 1, 1);
        refuse(certificate, transition, proof, reason);
        log.record(certificate);
        vm.expectRevert(reason);
        rollup.settleRecorded(header, transition, proof);
    }

    function testRefusesBatchZero() public {
        BatchHeader memory header = nextHeader();
        header.batchNumber = 0;
        refuseBatch(header, abi.encodeWithSelector(IBatchSequence.BatchAlreadySettled.selector, 0, 0));
    }

    function testRefusesSkippedNumbers() public {
        settleNext();
        uint64[2] memory numbers = [uint64(3), type(uint64).max];
        for (uint256 i = 0; i < numbers.length; ++i) {
            BatchHeader memory header = nextHeader();
            header.batchNumber = numbers[i];
            refuseBatch(header, abi.encodeWithSelector(IBatchSequence.BatchNumberSkipped.selector, numbers[i], 2));
        }
    }

    // Certificate

    function testRefusesExpiredAndExpiring() public {
        uint64 needed = START + FREEZE_DELAY + EXIT_WINDOW;
        uint64[3] memory times = [needed - 1, START, START - 1];
        for (uint256 i = 0; i < times.length; ++i) {
            BatchHeader memory header = nextHeader();
            header.expiresAt = times[i];
            refuseBatch(header, abi.encodeWithSelector(IBatchSequence.LifetimeTooShort.selector, times[i], needed));
        }
        settleKeptFor(FREEZE_DELAY + EXIT_WINDOW);
        vm.assertEq(rollup.coverageUntil(), needed);
    }

    function testRefusesAnEpochBeyondGrace() public {
        BatchHeader memory header = nextHeader();
        open(operatorsOf(0, N), K, Q);
        vm.warp(START + DELAY + GRACE);
        refuseBatch(
            header, abi.encodeWithSelector(CertificateLib.EpochNoLongerPostable.selector, 1, START + DELAY - 1 + GRACE)
        );
    }

    function testRefusesUnknownAndFutureEpochs() public {
        BatchHeader memory header = nextHeader();
        header.epoch = 2;
        refuseBatch(header, abi.encodeWithSelector(ICommitteeRegistry.UnknownEpoch.selector, 2, 1));
        open(operatorsOf(0, N), K, Q);
        refuseBatch(header, abi.encodeWithSelector(CertificateLib.EpochNotYetActive.selector, 2, START + DELAY));
    }

    function testRefusesTooFewSigners() public {
        BatchHeader memory header = nextHeader();
        Transition memory transition = step(1);
        refuse(
            certify(header, N, hex"010203"),
            transition,
            proofOf(header, transition),
            abi.encodeWithSelector(CertificateLib.TooFewSigners.selector, 4, Q)
        );
    }

    function testRefusesASignatureOverAnotherHeader() public {
        BatchHeader memory header = nextHeader();
        Transition memory transition = step(1);
        Certificate memory certificate = certified(header);
        header.shardRoot = keccak256("other shards");
        certificate.header = header;
        refuse(
            certificate,
            transition,
            proofOf(header, transition),
            abi.encodeWithSelector(CertificateLib.SignatureMismatch.selector, digests.digest(header, address(registry)))
        );
    }

    function testRefusesRecordedHeadersWithAChangedField() public {
        BatchHeader memory header = nextHeader();
        log.record(certified(header));
        Transition memory transition = step(1);
        for (uint256 field = 0; field < 8; ++field) {
            BatchHeader memory changed = abi.decode(abi.encode(header), (BatchHeader));
            if (field == 0) changed.epoch += 1;
            else if (field == 1) changed.expiresAt += 1;
            else if (field == 2) changed.payloadLength -= 1;
            else if (field == 3) changed.hashKind = 1;
            else if (field == 4) changed.batchHash = 0;
            else if (field == 5) changed.shardRoot = 0;
            else if (field == 6) changed.fingerprintsHash = 0;
            else changed.payloadFingerprint[31] ^= 0x80;
            bytes memory proof = proofOf(changed, transition);
            bytes32 digest = digests.digest(changed, address(registry));
            vm.expectRevert(abi.encodeWithSelector(IBatchSequence.NotRecorded.selector, digest));
            rollup.settleRecorded(changed, transition, proof);
        }
    }

    // Hash kind, points

    function testRefusesKindsThatTheAdapterDoesNotAllow() public {
        for (uint8 kind = 1; kind <= 2; ++kind) {
            BatchHeader memory header = nextHeader();
            header.hashKind = kind;
            refuseBatch(header, abi.encodeWithSelector(IValidityVerifier.HashKindNotAllowed.selector, kind));
        }
        BatchHeader memory unknown = nextHeader();
        unknown.hashKind = 3;
        refuseBatch(unknown, abi.encodeWithSelector(CertificateLib.UnknownHashKind.selector, 3));
    }

    function testRefusesAnEpochWithAnotherNumberOfPoints() public {
        register(N, 85 - N);
        uint64 large = open(operatorsOf(0, 85), 29, 57);
        vm.warp(START + DELAY);
        BatchHeader memory header = headerFor(large, 85);
        header.rollup = address(rollup);
        header.batchNumber = 1;
        header.batchHash = element("batch", 1);
        Transition memory transition = step(1);
        refuse(
            certify(header, 85, ""),
            transition,
            new bytes(256),
            abi.encodeWithSelector(IValidityVerifier.PointsNotSupported.selector, 3)
        );
    }

    // Proof

    /// @dev A proof of a claim that differs in one field, against the certificate that says
    /// otherwise.
    function testRefusesAProofOfAnyOtherClaim() public {
        BatchHeader memory header = nextHeader();
        Transition memory transition = step(1);
        Certificate memory certificate = certified(header);
        for (uint256 field = 0; field < 11; ++field) {
            PublicClaim memory claim = claimOf(header, transition);
            if (field == 0) claim.oldStateRoot = element("other", 0);
            else if (field == 1) claim.newStateRoot = element("other", 1);
            else if (field == 2) claim.chainId += 1;
            else if (field == 3) claim.settlement = address(uint160(address(rollup)) ^ 1);
            else if (field == 4) claim.batchNumber += 1;
            else if (field == 5) claim.payloadLength -= 1;
            else if (field == 6) claim.batchHash = element("other", 6);
            else if (field == 7) claim.l1Inputs = element("other", 7);
            else if (field == 8) claim.l1Outputs = element("other", 8);
            else if (field == 9) claim.points[31] ^= 0x01;
            else claim.payloadFingerprint[0] ^= 0x01;
            refuse(certificate, transition, prove(claim), INVALID);
        }
        rollup.settle(certificate, transition, proofOf(header, transition));
    }

    /// @dev The members' shards decode to another payload than the prover used: its fingerprint, or
    /// its length, is another, and what was proved of the prover's is of no use.
    function testRefusesACertificateOfAnotherPayload() public {
        BatchHeader memory proved = nextHeader();
        Transition memory transition = step(1);
        bytes memory proof = proofOf(proved, transition);

        BatchHeader memory header = nextHeader();
        header.payloadFingerprint[7] ^= 0x10;
        refuse(certified(header), transition, proof, INVALID);

        // Other shards have other points, even where all else is equal.
        header = nextHeader();
        header.shardRoot = keccak256("other shards");
        refuse(certified(header), transition, proof, INVALID);

        // One byte more or less, which zero padding would hide.
        for (uint64 delta = 0; delta <= 2; delta += 2) {
            header = nextHeader();
            header.payloadLength = header.payloadLength - 1 + delta;
            refuse(certified(header), transition, proof, INVALID);
        }
    }

    function testRefusesTransitionsThatWereNotProved() public {
        BatchHeader memory header = nextHeader();
        Transition memory transition = step(1);
        Certificate memory certificate = certified(header);
        bytes memory proof = proofOf(header, transition);
        deposit(1);
        for (uint256 field = 0; field < 3; ++field) {
            Transition memory other = step(1);
            if (field == 0) other.newStateRoot = element("other", 0);
            else if (field == 1) other.inputsConsumed = 1;
            else other.outputs = element("other", 2);
            refuse(certificate, other, proof, INVALID);
        }
    }

    /// @dev Two contracts over one committee, in the same state.
    function testRefusesProofAndCertificateForAnotherContract() public {
        BatchHeader memory header = nextHeader();
        Transition memory transition = step(1);
        bytes memory proof = proofOf(header, transition);
        PaymentsRollup former = rollup;
        rollup = newRollup();
        refuse(
            certified(header),
            transition,
            proof,
            abi.encodeWithSelector(IBatchSequence.WrongRollup.selector, address(former), address(rollup))
        );
        BatchHeader memory own = nextHeader();
        refuse(certified(own), transition, proof, INVALID);
    }

    function testRefusesProofForAnotherChain() public {
        BatchHeader memory header = nextHeader();
        Transition memory transition = step(1);
        bytes memory proof = proofOf(header, transition);
        vm.chainId(1);
        refuse(certified(header), transition, proof, INVALID);
        vm.chainId(31_337);
        rollup.settle(certified(header), transition, proof);
    }

    function testRefusesRootsBeyondTheField() public {
        BatchHeader memory header = nextHeader();
        Transition memory transition = step(1);
        bytes memory proof = proofOf(header, transition);
        transition.newStateRoot = bytes32(uint256(transition.newStateRoot) + R);
        refuse(
            certified(header),
            transition,
            proof,
            abi.encodeWithSelector(IValidityVerifier.InputNotInField.selector, 1, uint256(transition.newStateRoot))
        );
    }

    // Inputs

    function testConsumesInputsInOrderAndNeverBack() public {
        deposit(3);
        BatchHeader memory header = nextHeader();
        Transition memory transition = step(1);
        transition.inputsConsumed = 2;
        settle(header, transition);
        vm.assertEq(rollup.inputsConsumed(), 2);

        header = nextHeader();
        transition = step(2);
        transition.inputsConsumed = 1;
        Certificate memory certificate = certified(header);
        bytes memory proof = proofOf(header, transition);
        refuse(certificate, transition, proof, abi.encodeWithSelector(ISettlement.InputsGoBack.selector, 1, 2));
        transition.inputsConsumed = 4;
        refuse(certificate, transition, proof, abi.encodeWithSelector(ISettlement.InputsNotThere.selector, 4, 3));
        transition.inputsConsumed = type(uint64).max;
        refuse(
            certificate,
            transition,
            proof,
            abi.encodeWithSelector(ISettlement.InputsNotThere.selector, type(uint64).max, 3)
        );
        transition.inputsConsumed = 3;
        settle(header, transition);
        vm.assertEq(rollup.inputsConsumed(), 3);
    }

    // Registry

    /// @dev The committee's pause is about new batches; a certificate made before it settles.
    function testSettlesWhileTheCommitteeIsPaused() public {
        vm.prank(OWNER);
        registry.pause();
        BatchHeader memory header = nextHeader();
        Certificate memory certificate = certified(header);
        vm.expectRevert(ICertificateLog.RecordingPaused.selector);
        log.record(certificate);
        settle(header, step(1));
    }

    // Helpers

    function refuseBatch(BatchHeader memory header, bytes memory reason) private {
        Transition memory transition = step(1);
        refuse(certified(header), transition, proofOf(header, transition), reason);
    }

    function deposit(uint256 count) private {
        for (uint256 i = 0; i < count; ++i) {
            rollup.deposit{value: 1 gwei}(element("depositor", i));
        }
    }
}
