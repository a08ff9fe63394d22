// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {Ownable} from "@openzeppelin/contracts/access/Ownable.sol";

import {Guarded} from "../Guarded.sol";
import {ICertificateLog} from "../interfaces/ICertificateLog.sol";
import {ISettlement} from "../interfaces/ISettlement.sol";
import {IValidityVerifier} from "../interfaces/IValidityVerifier.sol";
import {BundleTree} from "../libraries/BundleTree.sol";
import {CertificateLib} from "../libraries/CertificateLib.sol";
import {CodePin} from "../libraries/CodePin.sol";
import {Coverage, CoverageState} from "../libraries/Coverage.sol";
import {FingerprintPoints} from "../libraries/FingerprintPoints.sol";
import {BatchHeader, BundlePath, Certificate} from "../types/Certificate.sol";
import {EpochRecord} from "../types/Committee.sol";
import {PublicClaim} from "../types/PublicClaim.sol";
import {FreezeReason, Progress, Transition, VerifierProposal} from "../types/Settlement.sol";
import {BatchSequence} from "./BatchSequence.sol";

/// @title Where a rollup's batches become final: certificate and validity proof in one transaction
/// @notice See ISettlement. A rollup's contract adds its L1 inputs (inputsCommitment,
/// waitingSince), the meaning of its outputs, and the way in which users leave once it is frozen.
abstract contract Settlement is ISettlement, BatchSequence, Guarded {
    using Coverage for CoverageState;

    /// @notice The longest verifier delay: a year, in seconds, like the registry's delays.
    uint64 public constant MAX_DELAY = 365 days;
    /// @notice For how long a proposed verifier may be accepted, in seconds, once it is due.
    uint64 public constant PROPOSAL_WINDOW = 14 days;

    /// @inheritdoc ISettlement
    uint64 public immutable freezeDelay;
    /// @inheritdoc ISettlement
    uint64 public immutable exitWindow;
    /// @inheritdoc ISettlement
    uint64 public immutable verifierDelay;

    /// @inheritdoc ISettlement
    /// @dev This is the first variable, so that it shares the slot of `paused`, which is read with
    /// it.
    FreezeReason public frozenFor;
    /// @dev In the same slot, so that no batch pays for a standby that is not there.
    bool private hasStandby;
    /// @inheritdoc ISettlement
    IValidityVerifier public verifier;
    /// @inheritdoc ISettlement
    IValidityVerifier public standby;
    /// @inheritdoc ISettlement
    bytes32 public stateRoot;
    VerifierProposal private proposal;
    /// @inheritdoc ISettlement
    mapping(uint64 batchNumber => bytes32) public outputs;

    /// @param log_ the certificate log, which also determines the registry
    /// @param genesis state root before the first batch
    constructor(
        address owner_,
        ICertificateLog log_,
        IValidityVerifier verifier_,
        uint64 freezeDelay_,
        uint64 exitWindow_,
        uint64 verifierDelay_,
        bytes32 genesis
    ) BatchSequence(log_) Ownable(owner_) {
        if (freezeDelay_ == 0 || exitWindow_ == 0) revert ZeroDelay();
        if (verifierDelay_ > MAX_DELAY) revert DelayTooLong(verifierDelay_, MAX_DELAY);
        uint64 leaving = freezeDelay_ + exitWindow_;
        uint64 activationDelay = registry.activationDelay();
        if (activationDelay <= leaving) revert DelayTooShort(activationDelay, leaving);
        if (verifierDelay_ <= leaving) revert DelayTooShort(verifierDelay_, leaving);

        freezeDelay = freezeDelay_;
        exitWindow = exitWindow_;
        verifierDelay = verifierDelay_;
        stateRoot = genesis;
        progress.lastSettledAt = uint64(block.timestamp);
        coverage = Coverage.initial(block.timestamp);
        emit Started(genesis);
        CodePin.pin(address(verifier_));
        setVerifiers(verifier_, IValidityVerifier(address(0)));
    }

    modifier whenNotFrozen() {
        checkNotFrozen();
        _;
    }

    modifier whenFrozen() {
        if (frozenFor == FreezeReason.None) revert NotFrozen();
        _;
    }

    // Settling

    /// @inheritdoc ISettlement
    function settle(Certificate calldata certificate, Transition calldata transition, bytes calldata proof) external {
        BatchHeader calldata header = certificate.header;
        (Progress memory current, CoverageState memory covered) = beginBatch(header);
        bytes32 digest = digestOf(header);
        EpochRecord memory epoch =
            CertificateLib.check(registry, header, digest, certificate.absent, certificate.signature);
        finishBatch(header, digest, epoch, transition, proof, current, covered);
    }

    /// @inheritdoc ISettlement
    function settleRecorded(BatchHeader calldata header, Transition calldata transition, bytes calldata proof)
        external
    {
        (Progress memory current, CoverageState memory covered) = beginBatch(header);
        bytes32 digest = digestOf(header);
        checkRecorded(digest);
        finishBatch(header, digest, registry.epoch(header.epoch), transition, proof, current, covered);
    }

    /// @inheritdoc ISettlement
    function settleBundled(
        BatchHeader calldata header,
        BundlePath calldata place,
        Transition calldata transition,
        bytes calldata proof
    ) external {
        (Progress memory current, CoverageState memory covered) = beginBatch(header);
        bytes32 digest = digestOf(header);
        EpochRecord memory epoch = checkPlace(header, digest, place);
        finishBatch(header, digest, epoch, transition, proof, current, covered);
    }

    /// @dev Checks that a recorded bundle has the header at this place.
    function checkPlace(BatchHeader calldata header, bytes32 digest, BundlePath calldata place)
        private
        view
        returns (EpochRecord memory epoch)
    {
        checkBundle(place.bundle);
        epoch = registry.epoch(place.bundle.epoch);
        checkBundledHeader(header, place.bundle.epoch, epoch.n);
        checkRoot(BundleTree.root(digest, place.index, place.bundle.count, place.path), place.bundle);
    }

    /// @dev Checks what is cheap: that this is the rollup's next batch, and that all data live long
    /// enough.
    /// @return current progress before the batch
    /// @return covered coverage including the batch
    function beginBatch(BatchHeader calldata header)
        private
        view
        whenNotPaused
        whenNotFrozen
        returns (Progress memory current, CoverageState memory covered)
    {
        current = progress;
        uint64 needed = uint64(block.timestamp) + freezeDelay + exitWindow;
        checkNext(header, current.batchCount, needed);
        covered = coverage;
        covered.add(header.expiresAt, current.batchCount, block.timestamp, freezeDelay);
        if (covered.until() < needed) revert CoverageTooShort(covered.until(), needed);
    }

    /// @dev Checks the proof of a certified batch and makes the batch final.
    function finishBatch(
        BatchHeader calldata header,
        bytes32 digest,
        EpochRecord memory epoch,
        Transition calldata transition,
        bytes calldata proof,
        Progress memory current,
        CoverageState memory covered
    ) private {
        uint64 consumed = transition.inputsConsumed;
        if (consumed < current.inputsConsumed) revert InputsGoBack(consumed, current.inputsConsumed);
        prove(
            PublicClaim({
                oldStateRoot: stateRoot,
                newStateRoot: transition.newStateRoot,
                chainId: uint64(block.chainid),
                settlement: address(this),
                batchNumber: header.batchNumber,
                payloadLength: header.payloadLength,
                hashKind: header.hashKind,
                batchHash: header.batchHash,
                l1Inputs: inputsCommitment(consumed),
                l1Outputs: transition.outputs,
                points: FingerprintPoints.derive(header, epoch.n, epoch.k),
                payloadFingerprint: header.payloadFingerprint
            }),
            proof
        );

        stateRoot = transition.newStateRoot;
        progress = Progress({
            batchCount: header.batchNumber, inputsConsumed: consumed, lastSettledAt: uint64(block.timestamp)
        });
        covered.addCommittee(current.batchCount, epoch.n, epoch.k, epoch.q);
        coverage = covered;
        if (transition.outputs != 0) outputs[header.batchNumber] = transition.outputs;
        emit BatchSettled(
            digest,
            header.batchNumber,
            header.epoch,
            header.expiresAt,
            transition.newStateRoot,
            consumed,
            transition.outputs
        );
    }

    // Freezing

    /// @inheritdoc ISettlement
    function freeze() external whenNotFrozen {
        FreezeReason reason = freezeReason();
        if (reason == FreezeReason.None) revert NoReasonToFreeze();
        frozenFor = reason;
        emit Frozen(reason, progress.batchCount, stateRoot, progress.inputsConsumed);
    }

    /// @inheritdoc ISettlement
    function freezeReason() public view returns (FreezeReason) {
        Progress memory current = progress;
        if (coverage.until() < block.timestamp + exitWindow + freezeDelay / 2) return FreezeReason.CoverageShort;
        uint256 since = waitingSince(current.inputsConsumed);
        if (since != 0 && block.timestamp > since + freezeDelay) return FreezeReason.InputUnserved;
        // Before its first batch and its first input a rollup owes nobody anything.
        if (current.batchCount != 0 && block.timestamp > uint256(current.lastSettledAt) + freezeDelay) {
            return FreezeReason.NothingSettled;
        }
        return FreezeReason.None;
    }

    // Verifier

    /// @inheritdoc ISettlement
    function proposeVerifier(IValidityVerifier next, IValidityVerifier nextStandby) external onlyOwner {
        uint64 acceptableFrom = uint64(block.timestamp) + verifierDelay;
        proposal = VerifierProposal({
            verifier: address(next),
            acceptableFrom: acceptableFrom,
            standby: address(nextStandby),
            verifierCodeHash: CodePin.pin(address(next)),
            standbyCodeHash: address(nextStandby) == address(0) ? bytes32(0) : CodePin.pin(address(nextStandby))
        });
        emit VerifierProposed(address(next), address(nextStandby), acceptableFrom);
    }

    /// @inheritdoc ISettlement
    function cancelVerifier() external onlyOwner {
        address proposed = proposal.verifier;
        if (proposed == address(0)) revert NoProposal();
        delete proposal;
        emit VerifierProposalCancelled(proposed);
    }

    /// @inheritdoc ISettlement
    function acceptVerifier() external onlyOwner {
        VerifierProposal memory due = proposal;
        if (due.verifier == address(0)) revert NoProposal();
        if (block.timestamp < due.acceptableFrom) revert ProposalNotDue(due.acceptableFrom, block.timestamp);
        uint64 acceptableUntil = due.acceptableFrom + PROPOSAL_WINDOW;
        if (block.timestamp > acceptableUntil) revert ProposalLapsed(acceptableUntil, block.timestamp);
        checkUnchanged(due.verifier, due.verifierCodeHash);
        if (due.standby != address(0)) checkUnchanged(due.standby, due.standbyCodeHash);
        delete proposal;
        setVerifiers(IValidityVerifier(due.verifier), IValidityVerifier(due.standby));
    }

    /// @inheritdoc ISettlement
    function verifierProposal() external view returns (VerifierProposal memory) {
        return proposal;
    }

    // Pausing

    /// @inheritdoc ISettlement
    function pause() external {
        pauseByOwnerOrPauser();
    }

    /// @inheritdoc ISettlement
    function unpause() external onlyOwner {
        _unpause();
    }

    // Views

    /// @inheritdoc ISettlement
    function inputsConsumed() public view returns (uint64) {
        return progress.inputsConsumed;
    }

    /// @inheritdoc ISettlement
    function frozen() external view returns (bool) {
        return frozenFor != FreezeReason.None;
    }

    // What a rollup adds

    /// @inheritdoc ISettlement
    function inputsCommitment(uint64 count) public view virtual returns (bytes32);

    /// @notice Time of the first L1 input after the first `consumed`, or 0 if there is none.
    function waitingSince(uint64 consumed) internal view virtual returns (uint256);

    // Internals

    function checkNotFrozen() private view {
        FreezeReason reason = frozenFor;
        if (reason != FreezeReason.None) revert IsFrozen(reason);
    }

    /// @dev Checks the proof by the verifier; if that refuses it and there is a standby, by the
    /// standby, whose error is then the caller's. The verifier gets half of the gas then, lest a
    /// precompile that burns it all leaves none.
    function prove(PublicClaim memory claim, bytes calldata proof) private view {
        if (hasStandby) {
            try verifier.verify{gas: gasleft() / 2}(claim, proof) {
                return;
            } catch {
                standby.verify(claim, proof);
                return;
            }
        }
        verifier.verify(claim, proof);
    }

    function checkUnchanged(address proposed, bytes32 codeHash) private view {
        if (proposed.codehash != codeHash) revert VerifierCodeChanged(proposed);
    }

    function setVerifiers(IValidityVerifier next, IValidityVerifier nextStandby) private {
        emit VerifierChanged(address(verifier), address(next), address(nextStandby));
        verifier = next;
        standby = nextStandby;
        hasStandby = address(nextStandby) != address(0);
    }
}
